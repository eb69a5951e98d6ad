/* What an endpoint allows: its answer in the validation handshake of the CloudEvents webhook
 * specification, and how often requests may go by it. Pure.
 *
 *     OPTIONS /hook                          204
 *     webhook-request-origin: broker.org     webhook-allowed-origin: broker.org   (or *)
 *     webhook-request-rate: 120              webhook-allowed-rate: 100            (or *)
 *
 * Invariants: within any minute no more than `per_minute` are taken.
 * Threads: any. `now` is monotonic nanoseconds.
 */
#ifndef CAT_PUSH_PERMIT_H
#define CAT_PUSH_PERMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cat_permit_answer {
    unsigned status;                           /* 0 = none */
    const char *allowed_origin, *allowed_rate; /* "" = no such header */
    const char *text;                          /* why there was none */
};
/* The endpoint allows it: requests per minute into *ret_per_minute, 0 = any number. Otherwise false,
 * and why not. */
bool cat_permit_read(const char *origin, const struct cat_permit_answer *answer,
                     uint32_t *ret_per_minute, char *why, size_t why_size);

/* The host of this URL is one of these ("host", "host:port" as in the URL; "*" = every one). A URL with
 * a user name or anything unusual before its path never is. */
bool cat_permit_exempt(const char *const *hosts, size_t n_hosts, const char *url);

/* A name that may stand for this broker: 1 to 253 letters, digits, '.', '-', '_' and ':'. */
bool cat_permit_origin_valid(const char *origin);

struct cat_rate {
    uint64_t interval_ns; /* 0 = no limit */
    uint64_t slack_ns;    /* so much before its turn one may go, so that timers need not be exact */
    uint64_t turn_ns;     /* of the next one */
};
void cat_rate_init(struct cat_rate *rate, uint32_t per_minute);
/* How many may go now, at least; UINT32_MAX without a limit. */
uint32_t cat_rate_allows(const struct cat_rate *rate, uint64_t now);
/* When the next one may go. */
uint64_t cat_rate_due(const struct cat_rate *rate);
/* One goes; it was allowed. */
void cat_rate_take(struct cat_rate *rate, uint64_t now);

#endif
