/* draft.events.v1 to plain structs and back; shared by the views' files.
 *
 * Threads: any. Ownership: what is made lies in the arena and points into what was given.
 */
#ifndef CAT_BROKER_CONVERT_H
#define CAT_BROKER_CONVERT_H

#include "catalyst/broker/broker.h"
#include "draft/events/v1/events.chassis.h"

#define EV(name)      Draft__Events__V1__##name
#define EV_INIT(name) DRAFT__EVENTS__V1__##name##__INIT

struct cat_groups;

enum { CAT_BATCH_DEFAULT = 256, CAT_BATCH_MAX = 10000, CAT_MESSAGE_BYTES = 1 << 20 };

/* `text` as a C string. */
char *cat_text(struct chassis_arena *arena, struct chassis_view text);

/* Defaults are filled in; ranges are the broker's to check. CHASSIS_INVALID_ARGUMENT: there is none,
 * an enumerator nobody knows. */
int cat_stream_config_of(struct chassis_arena *arena, const EV(StreamConfig) * config,
                         struct cat_stream_config *ret_config, struct chassis_error *err);
EV(Stream) * cat_stream_message(struct chassis_arena *arena, const struct cat_stream_info *info,
                                struct cat_groups *groups);

/* NULL = new. */
int cat_start_of(const EV(Start) * start, struct cat_start *ret_start, struct chassis_error *err);
/* All of the list must match; none gives NULL. */
int cat_filter_of(struct chassis_arena *arena, EV(Filter) *const *filters, size_t n,
                  struct cat_filter **ret_filter, struct chassis_error *err);
/* `value`, or `preset` if it is 0; CHASSIS_INVALID_ARGUMENT names the field and its limit. */
int cat_limit_of(const char *field, uint64_t value, uint64_t preset, uint64_t max,
                 uint32_t *ret_value, struct chassis_error *err);

/* ---- messages by hand: the hot path ---- */

/* Append one Delivery as field 1 of a message, the event's bytes as they are. `attempt` 0 = unset. */
void cat_put_delivery(struct chassis_buf *out, const struct cat_log_event *stored,
                      uint32_t attempt);
void cat_put_varint(struct chassis_buf *out, uint32_t field, uint64_t value); /* 0 = nothing */
void cat_put_block(struct chassis_buf *out, uint32_t field, struct chassis_view bytes);
/* A Gap as `field`. */
void cat_put_gap(struct chassis_buf *out, uint32_t field, uint64_t from, uint64_t to);

/* ---- publishing (publish.c, produce.c) ---- */

struct cat_intake;
struct cat_intake_options;
/* All events of an encoded PublishRequest. *ret_request as far as it could be read. */
int cat_publish_request_of(const struct cat_intake_options *options, struct chassis_view encoded,
                           struct cat_intake **ret_intake, uint64_t *ret_request,
                           struct chassis_error *err);
/* Append the PublishResponse of a finished intake. */
void cat_put_publish_response(struct chassis_buf *out, const struct cat_intake *intake);
/* The event of an encoded ProduceRequest (produce.c). */
int cat_produce_request_of(struct chassis_view request, struct chassis_view *ret_event,
                           struct chassis_error *err);
/* PublishStream is a producer of batches (produce.c). */
void cat_publish_stream_open(struct chassis_call *call);
void cat_publish_stream_message(struct chassis_call *call, const EV(PublishRequest) * req);
void cat_publish_stream_end(struct chassis_call *call);

/* Subscribe (subscribe.c), Read (read.c). */
void cat_subscribe_open(struct chassis_call *call);
void cat_subscribe_message(struct chassis_call *call, const EV(SubscribeRequest) * req);
void cat_subscribe_end(struct chassis_call *call);
void cat_rpc_read(struct chassis_call *call, const EV(ReadRequest) * req);

#endif
