/* Window updates wait until they matter.
 *
 * A reader that waits for a message makes gRPC 1.51 send a WINDOW_UPDATE for each one that arrives: a
 * packet of 26 bytes and a wake-up of the other side, on a stream of small messages as dear as the message.
 * A write that is nothing else is left in the kernel (TCP_CORK) until 16 KiB are to be given back, some
 * other write follows on the socket, or 200 ms are over, which the kernel sees to. The windows are 64 KiB
 * and more, so nobody who sends waits for it.
 *
 * Nothing is kept but a count for each number of a socket: where it is out of date, a socket is uncorked
 * that was not corked. What TLS has encrypted is not recognised and leaves at once.
 *
 * Threads: any; those that write to one socket at the same time (gRPC has one) would only hold less.
 */
#ifndef CHASSIS_RPC_WINDOW_H
#define CHASSIS_RPC_WINDOW_H

#include <stdbool.h>
#include <sys/socket.h>

/* Before a write to `fd`: true if rpc_window_release is to be called after it. */
bool rpc_window_hold(int fd, const struct msghdr *message);
/* Leaves errno alone. */
void rpc_window_release(int fd);

#endif
