/* The load generator of every gRPC benchmark: a bare HTTP/2 client (libnghttp2) that costs little
 * and treats both sides alike.
 *
 * Split in two: h2_client.c speaks HTTP/2 and gRPC framing, h2_load.c says what to ask, when, and
 * prints the result.
 * Threads: one.
 */
#ifndef DRAFT_TESTS_BENCH_H2_LOAD_H
#define DRAFT_TESTS_BENCH_H2_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct h2_client;
struct h2_connection;

/* One request under way. */
struct h2_request {
    uint64_t started_ns;
    uint64_t key;  /* what it asked for, to check the answer */
    uint8_t *body; /* framed message */
    size_t body_len, body_sent;
    uint64_t messages; /* complete gRPC messages received */
    uint64_t message_bytes;
    uint8_t first[2048]; /* start of the first message */
    size_t first_len;
    uint8_t prefix[5]; /* of the message being received */
    size_t prefix_len, left;
    int grpc_status; /* -1 until the trailer came */
    struct h2_connection *connection;
    struct h2_request *next_free;
};

struct h2_options {
    const char *const *addresses; /* host:port, used round-robin by connection */
    size_t n_addresses;
    unsigned connections;
    const char *path;
    /* A request ended; request memory is reused after the call. */
    void (*done)(struct h2_request *request, void *data);
    /* Write the framed message of the next request into `out` (64 KiB there); its length. */
    size_t (*fill)(struct h2_request *request, uint8_t *out, void *data);
    void *data;
};

struct h2_client *h2_client_open(const struct h2_options *options);
void h2_client_close(struct h2_client *client);
/* Start one request on the connection with the fewest under way. */
void h2_client_start(struct h2_client *client);
/* Wait up to `timeout_ms` for I/O and handle it; -1 when a connection broke. */
int h2_client_poll(struct h2_client *client, int timeout_ms);
unsigned h2_client_under_way(const struct h2_client *client);
uint64_t h2_now_ns(void);

#endif
