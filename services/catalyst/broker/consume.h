/* What both kinds of Consumer.Consume share: the template, an event that says what to subscribe to, and
 * what was missed.
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

/* Gaps that a consumer has not been told of: fields of its next ConsumeResponse. Zeroed = none. */
struct cat_gaps {
    struct chassis_buf fields;
    uint32_t n;
};
void cat_gaps_add(struct cat_gaps *gaps, struct chassis_view stream, uint64_t from, uint64_t to);
/* They are told, or nobody wants to hear. */
void cat_gaps_clear(struct cat_gaps *gaps);

/* With the option `group` (groups/consume.c). Takes the call over, or refuses. */
int cat_consume_as_member(struct chassis_call *call, const struct cat_template *t,
                          struct chassis_error *err);

#endif
