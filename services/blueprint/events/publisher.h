/* The publisher put together: controller and link over the chassis.
 *
 * Threads: init on the main thread before the run, start and stop on the loop role.
 */
#ifndef BP_EVENTS_PUBLISHER_H
#define BP_EVENTS_PUBLISHER_H

#include <chassis/chassis.h>

#include "../machine.h"
#include "controller.h"
#include "link.h"

struct bp_publisher {
    struct bp_events events;
    struct bp_link link;
    bool on; /* brokers.catalyst.url is set, and a stream named */
};

/* Before bp_blueprint_start. `stream` NULL or empty: nothing is published. */
int bp_publisher_start(struct bp_publisher *publisher, struct chassis *c,
                       struct blueprint *blueprint, const char *stream, struct chassis_error *err);
void bp_publisher_stop(struct bp_publisher *publisher);

#endif
