/* Answers of one turn leave in one segment a connection.
 *
 * gRPC writes to the socket at the end of every batch it is given: one system call, one packet and one
 * wake-up of the client for each answer. Between begin and end what this thread writes to a socket is
 * marked "more follows" (MSG_MORE): the kernel takes it and waits. At the end it is sent.
 *
 * Nothing is kept here but numbers of sockets, so there is nothing to lose: a socket that is full says
 * so, one that is closed first sends what it has, and a number that stands for something else by then
 * is told once more what gRPC told it (TCP_NODELAY) or refuses. A kernel that knows no such mark sends at
 * once.
 *
 * Invariants: every turn that begins ends before the thread waits for anything.
 * Threads: each has its own.
 */
#ifndef CHASSIS_RPC_BURST_H
#define CHASSIS_RPC_BURST_H

void rpc_burst_begin(void);
/* The next write is the last one: it takes along what waits on its connection. May be left out. */
void rpc_burst_last(void);
void rpc_burst_end(void);

#endif
