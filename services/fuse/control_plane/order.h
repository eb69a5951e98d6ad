/* Precedence: the one place that knows which of two routes comes first.
 *
 * Hosts: the name itself before "*.suffix" (longest first) before "*". Among the routes of a host:
 * priority, exact path, longest prefix, regex, most conditions, oldest, name.
 * Threads: any.
 */
#ifndef FUSE_CONTROL_PLANE_ORDER_H
#define FUSE_CONTROL_PLANE_ORDER_H

#include "model.h"

/* Negative when `a` comes first; 0 only for the same entry. */
int fuse_order(const struct fuse_entry *a, const struct fuse_entry *b);
/* Why `a` comes before `b`, in words: "its priority 10 is higher than 0". */
void fuse_order_reason(const struct fuse_entry *a, const struct fuse_entry *b,
                       struct chassis_buf *out);
/* Negative when host `a` is the more exact one. */
int fuse_order_hosts(const char *a, const char *b);
bool fuse_host_matches(const char *pattern, const char *host);

#endif
