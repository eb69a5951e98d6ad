/* The last requests and the last slow ones, for the admin page.
 *
 * Invariants: two rings of fixed size; a record is never torn.
 * Threads: any. Ownership: entries are copies.
 */
#ifndef CHASSIS_RPC_RECENT_H
#define CHASSIS_RPC_RECENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chassis_recent;

enum { CHASSIS_RECENT_MAX = 256 };

struct chassis_recent_entry {
    const char *path;      /* "/package.Service/Method"; lives as long as the server */
    const char *transport; /* "grpc", "json", "connect" */
    int64_t ended_ns;      /* wall clock */
    uint64_t duration_ns;
    uint64_t request_bytes, response_bytes; /* of all messages */
    uint32_t messages_in, messages_out;
    int code;
    char trace_id[33];
    char peer[48]; /* address; empty for quick successful calls, where nobody asked for it */
    char text[96]; /* of a failure */
};

struct chassis_recent *chassis_recent_new(void);
void chassis_recent_free(struct chassis_recent *recent);
void chassis_recent_add(struct chassis_recent *recent, const struct chassis_recent_entry *entry,
                        bool slow);
/* Newest first; returns how many were written, at most CHASSIS_RECENT_MAX. */
size_t chassis_recent_list(struct chassis_recent *recent, bool slow,
                           struct chassis_recent_entry *out, size_t max);

#endif
