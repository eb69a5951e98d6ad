/* Sockets of the event load generator: one thread, one epoll, buffered both ways.
 *
 * What is queued is written in as few system calls as fit, for every protocol alike.
 * Threads: one. Ownership: a wire lives until wire_close.
 */
#ifndef DRAFT_TESTS_BENCH_WIRE_H
#define DRAFT_TESTS_BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire {
    int fd;
    bool want_write;
    uint8_t *in, *out;
    size_t in_len, in_cap, out_len, out_sent, out_cap;
    /* Handle what came; the number of bytes that are done with. */
    size_t (*parse)(struct wire *wire, const uint8_t *data, size_t len);
    /* Queue what stands ready; NULL = nothing to do. */
    void (*before_write)(struct wire *wire);
    void *data;
    struct wire *next;
};

uint64_t now_ns(void);
/* Print and end with 1. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

void wire_open(struct wire *wire, const char *address);
void wire_close(struct wire *wire);
/* Room for `n` more bytes at the end of `out`; the caller adds what it used to out_len. */
uint8_t *wire_room(struct wire *wire, size_t n);
void wire_put(struct wire *wire, const void *data, size_t n);
/* Write what is queued on every wire, wait up to `timeout_ms`, read and parse. */
void wires_poll(int timeout_ms);
/* The same in nanoseconds, to be kept to a few microseconds. */
void wires_poll_ns(uint64_t timeout_ns);

#endif
