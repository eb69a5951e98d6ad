/* Push subscriptions: a group with a push URL has one member, this one, that posts each event there by
 * HTTP (CloudEvents binding, binary or structured mode).
 *
 *     2xx                    acknowledged
 *     429, 503               again after Retry-After, else as every failure
 *     410                    the endpoint is gone: nothing more is sent until the group is updated
 *     anything else, none    again, after the group's backoff; without one after 1 s, 2 s … 60 s by
 *                            the number of attempts. After deliveries_max it is a dead letter
 *
 * Invariants: at most `concurrency` requests of a group are under way; a request ends before its
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
};

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
