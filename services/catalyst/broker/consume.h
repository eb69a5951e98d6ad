/* The template of Consumer.Consume: an event that says what to subscribe to.
 *
 * Threads: any. Ownership: borrows from the request.
 */
#ifndef CAT_BROKER_CONSUME_H
#define CAT_BROKER_CONSUME_H

#include <chassis/call.h>

#include "catalyst/broker/broker.h"
#include "core/message_broker/actors/v1/actors.pb-c.h"

struct cat_template {
    struct chassis_view source, type, subject; /* patterns; empty = any */
    struct chassis_view stream, group, sql;
    struct cat_start start;
    bool has_start;
};

/* NULL = everything. CHASSIS_INVALID_ARGUMENT names the field or attribute. */
int cat_template_of(const Core__MessageBroker__Actors__V1__CloudEvent *message,
                    struct cat_template *ret_template, struct chassis_error *err);
bool cat_template_fits(const struct cat_template *t, const struct cat_event *event);

/* With the option `group` (groups/consume.c). Takes the call over, or refuses. */
int cat_consume_as_member(struct chassis_call *call, const struct cat_template *t,
                          struct chassis_error *err);

#endif
