/* What a watch of service_discovery sees: events are struct bp_sd_transition; the marks SYNCED and
 * RESYNC have no process.
 *
 * Threads, ownership: as feed.h. */
#ifndef BP_SERVICE_DISCOVERY_WATCH_H
#define BP_SERVICE_DISCOVERY_WATCH_H

#include "../feed.h"
#include "model.h"

extern const struct bp_feed_ops bp_sd_feed_ops;
void bp_sd_watch_filter(const struct bp_sd_filter *filter, struct chassis_buf *out);

#endif
