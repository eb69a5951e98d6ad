/* Ends a listener's connections before gRPC does.
 *
 * A gRPC 1.51 server that shuts down answers what it reads between its first moment and the GOAWAY with
 * CANCELLED, which clients do not try again. So nothing is left to be answered: listening ends, what
 * was answered so far leaves, and after it the end of the connection (FIN), which every client reports
 * as UNAVAILABLE. Calls that come later meet a socket that cannot carry an answer.
 *
 * Sockets are found by their local address among the process's own (/proc/self/fd): gRPC tells
 * no numbers. A port belongs to one listener of the process.
 *
 * Threads: any. Ownership: the sockets stay gRPC's; what is kept are duplicates.
 */
#ifndef CHASSIS_RPC_HANG_UP_H
#define CHASSIS_RPC_HANG_UP_H

#include <poll.h>
#include <stdint.h>

#include <chassis/error.h>

struct rpc_hang_up {
    struct pollfd *sockets; /* duplicates */
    unsigned n;
};

/* No more connections at the address, "host:…" with its port, or "unix:…". */
int rpc_hang_up_listening(const char *address, int port, struct chassis_error *err);
/* End what is sent on the connections to it, and add them to `h` (zeroed at first). Those that were
 * accepted before rpc_hang_up_listening are found if their numbers are given out by now. */
int rpc_hang_up_connections(struct rpc_hang_up *h, const char *address, int port,
                            struct chassis_error *err);
/* Wait until the other sides have hung up as well, but not longer; then let go. */
void rpc_hang_up_fini(struct rpc_hang_up *h, uint64_t wait_ms);

#endif
