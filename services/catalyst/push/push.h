/* Push subscriptions: a group with a push URL has one member, this one, that posts each event there by
 * HTTP (CloudEvents binding, binary or structured mode).
 *
 *     2xx                    acknowledged
 *     429, 503               again after Retry-After, and nothing else before; without it as every
 *                            failure
 *     410                    the endpoint is gone: nothing more is sent until the group is updated
 *     415                    a dead letter
 *     anything else, none    again, after the group's backoff; without one after 1 s, 2 s … 60 s by
 *                            the number of attempts. After deliveries_max it is a dead letter
 *
 * Before that the endpoint is asked for its permission (CloudEvents webhooks, abuse protection): OPTIONS
 * with WebHook-Request-Origin, answered with WebHook-Allowed-Origin; again after every start and when
 * the URL or the rate of the group changes, and with growing waits until it gives it.
 *
 * Invariants: nothing is posted to an endpoint that has not allowed it, nor more often than it does;
 * at most `concurrency` requests of a group are under way; a request ends before its
 * event's ack_wait does, so that it is not sent beside its own repetition; redirects are not followed.
 * Threads: the loop role. Ownership: configurations are copied.
 */
#ifndef CAT_PUSH_PUSH_H
#define CAT_PUSH_PUSH_H

#include "catalyst/groups/groups.h"

struct cat_push;

struct cat_push_options {
    struct chassis_executor *loop;
    struct chassis_logger *log;
    const char *
        directory; /* of the plugin; NULL or empty = lib/draft beside the program's bin. Borrowed */
    /* The text of a secret by name; may be NULL. */
    int (*secret)(void *data, const char *name, struct chassis_buf *ret_secret,
                  struct chassis_error *err);
    void *secret_data;
    const char *origin; /* who we are to endpoints; NULL or empty = the host's name */
    const char *const *unvalidated_hosts; /* not asked: "host", "host:port", "*" = all. Borrowed */
    size_t n_unvalidated_hosts;
};

/* The origin may be used. */
int cat_push_check_origin(const char *origin, struct chassis_error *err);
struct cat_push *cat_push_new(const struct cat_push_options *options);
/* For cat_groups_options.push; `data` is the cat_push. */
void cat_push_group(void *data, struct chassis_view stream, struct chassis_view name,
                    const struct cat_group_config *config);
/* The groups are open: what was told so far begins. */
void cat_push_start(struct cat_push *push, struct cat_groups *groups);
/* What is under way is broken off; `closed` when all of it has ended. Before the groups are closed.
 * Then free. */
void cat_push_close(struct cat_push *push, void (*closed)(void *data), void *data);
void cat_push_free(struct cat_push *push);

#endif
