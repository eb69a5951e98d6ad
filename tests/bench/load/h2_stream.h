/* Long-lived gRPC streams over bare HTTP/2 (libnghttp2): one connection and one stream each, many of
 * them on one thread, for benchmarks that need many clients or the time something was written.
 *
 * Threads: one. Ownership: a stream lives until h2_stream_close; messages during the callback.
 */
#ifndef DRAFT_TESTS_BENCH_H2_STREAM_H
#define DRAFT_TESTS_BENCH_H2_STREAM_H

#include <stddef.h>
#include <stdint.h>

struct h2_stream;

typedef void (*h2_stream_message_cb)(struct h2_stream *stream, const uint8_t *message, size_t len,
                                     void *data);
/* Connect and begin a call of `path`; a failure ends the program with 1. */
struct h2_stream *h2_stream_open(const char *address, const char *path,
                                 h2_stream_message_cb message, void *data);
void h2_stream_close(struct h2_stream *stream);
/* One message, written to the socket before this returns, or, from `message`, when that returns. */
void h2_stream_send(struct h2_stream *stream, const uint8_t *message, size_t len);
/* Wait up to `timeout_ms` for I/O of all streams and handle it. */
void h2_streams_poll(int timeout_ms);
/* Bytes of DATA received on all streams so far. */
uint64_t h2_streams_received(void);

#endif
