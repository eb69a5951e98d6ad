/* CloudEvents as people and scripts read and write them: the CloudEvents JSON format and the rows of
 * a table, to and from the protobuf format on the wire; places in a stream; filters.
 *
 * Threads: one at a time. Ownership: results live in the arena given, or in dctl->arena.
 */
#ifndef DCTL_EVENT_H
#define DCTL_EVENT_H

#include "draft/events/v1/events.chassis.h"
#include "value.h"

typedef Core__MessageBroker__Actors__V1__CloudEvent cloud_event;
typedef Draft__Events__V1__Delivery event_delivery;

/* An event of the CloudEvents JSON format, or what `events consume -o json` prints around one. What
 * --id, --source, --type, --subject and --extension say fills in what is missing. */
int dctl_event_parse(struct dctl *d, struct chassis_arena *arena, struct chassis_view json,
                     cloud_event **ret_event, struct chassis_error *err);
/* An event whose data is `data` and whose attributes are all given by options: --type is. */
int dctl_event_of_data(struct dctl *d, struct chassis_arena *arena, struct chassis_view data,
                       cloud_event **ret_event, struct chassis_error *err);
/* The event in the CloudEvents JSON format. */
struct dctl_node *dctl_event_node(struct chassis_arena *arena, const cloud_event *event);
/* {"sequence", "time", "attempt", "event"}; for tables also type, source, subject and data. */
struct dctl_node *dctl_delivery_node(struct dctl *d, struct chassis_arena *arena,
                                     const event_delivery *delivery);
extern const struct dctl_column dctl_delivery_columns[];

/* "new", "earliest", a sequence, an RFC 3339 time, or a duration ago ("10m"). NULL without a text. */
int dctl_start_parse(struct dctl *d, const char *text, Draft__Events__V1__Start **ret_start,
                     struct chassis_error *err);
/* What --source, --type, --subject and --sql ask for: *ret_n filters that must all match. */
void dctl_filters(struct dctl *d, Draft__Events__V1__Filter ***ret_filters, size_t *ret_n);
/* "STREAM/GROUP", or a group of "default". */
void dctl_group_name(struct dctl *d, const char *text, char **ret_stream, char **ret_group);

#endif
