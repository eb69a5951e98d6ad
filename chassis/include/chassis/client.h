/* Calling other services.
 *
 * A client stands for a service: fixed addresses ("127.0.0.1:2221,127.0.0.1:2222") or a name resolved
 * through the registry ("draft:///echo"). It balances round-robin over the healthy endpoints, retries
 * within a budget, and always sets a deadline: the one given, cut to what is left of the call on
 * whose behalf it is made.
 *
 * Invariants: `done` runs exactly once per call; a method that is not idempotent is retried only if
 * it was never sent or carries a request id.
 * Threads: any; callbacks run on the executor given in the options, else on a completion-queue
 * thread, where they must not block. The _sync forms block: only on workers and in tools.
 * Ownership: requests are encoded before the function returns; a response lives during the callback.
 */
#ifndef CHASSIS_CLIENT_H
#define CHASSIS_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/arena.h>
#include <chassis/buf.h>
#include <chassis/error.h>
#include <chassis/executor.h>
#include <chassis/service.h>

struct chassis_client;
struct chassis_client_stream;
struct chassis_call;

struct chassis_tls_files {
    const char *ca, *certificate, *key; /* PEM, read again when they change; NULL = none */
    const char *server_name;            /* to expect in the server's certificate; NULL = the host */
};

struct chassis_resolver; /* rpc/resolver.h; the registry module implements it */

struct chassis_client_options {
    const char *target;
    const struct chassis_tls_files *tls; /* NULL = plaintext */
    struct chassis_resolver *resolver;   /* needed for draft:///; runtime fills it in */
    struct chassis_executor *executor;   /* where callbacks run; NULL = completion-queue thread */
    uint64_t timeout_ms;                 /* default deadline; 0 = 10,000 */
    uint32_t attempts_max;               /* 0 = 3 */
    size_t response_bytes_max;           /* 0 = 4 MiB */
    const char *token;                   /* sent as "authorization: Bearer …"; NULL = none */
    /* Instead: appends the token of the moment, or nothing. From any thread, may not block. */
    void (*token_now)(void *data, struct chassis_buf *out);
    void *token_data;
    const char *cluster_secret_file; /* prove operator rights with it; NULL = do not */
};
int chassis_client_new(const struct chassis_client_options *options,
                       struct chassis_client **ret_client, struct chassis_error *err);
/* Calls under way end with CHASSIS_CANCELLED first. NULL is fine. */
void chassis_client_free(struct chassis_client *client);

struct chassis_metadata {
    const char *key, *value;
};
struct chassis_call_options {
    uint64_t timeout_ms; /* 0 = the client's */
    /* Deadline and trace context are taken from it; may be NULL. */
    const struct chassis_call *parent;
    bool idempotent; /* may be retried after it was sent */
    const struct chassis_metadata *metadata;
    size_t n_metadata;
    /* Streams: `closed` comes only after the opener half-closed or cancelled, so that one thread may
     * send while callbacks run on another: sends give CHASSIS_CANCELLED once the stream has ended,
     * and who waits for `writable` is called. Do either before the client is freed, or that waits for
     * ever. Server streams are always so. */
    bool closed_after_half_close;
};

struct chassis_reply {
    int code;            /* 0 or a chassis status */
    const char *text;    /* the server's words; "" if none */
    const void *message; /* protobuf-c struct, NULL on failure or when called with raw bytes */
    struct chassis_view encoded; /* the message as it came */
    struct chassis_view details; /* google.rpc.Status bytes, if the server sent any */
    const char *endpoint;        /* the address that answered */
    const char *(*trailer)(const struct chassis_reply *reply, const char *key); /* NULL if absent */
};
typedef void (*chassis_reply_cb)(const struct chassis_reply *reply, void *data);

/* `request` is a protobuf-c struct of method->request. */
void chassis_client_call(struct chassis_client *client, const struct chassis_method *method,
                         const void *request, const struct chassis_call_options *options,
                         chassis_reply_cb done, void *data);
/* Blocks. The response is decoded into `arena`. */
int chassis_client_call_sync(struct chassis_client *client, const struct chassis_method *method,
                             const void *request, const struct chassis_call_options *options,
                             struct chassis_arena *arena, void **ret_response,
                             struct chassis_error *err);
/* Any method by path with encoded messages: for tools and proxies. */
void chassis_client_call_bytes(struct chassis_client *client, const char *path,
                               struct chassis_view request,
                               const struct chassis_call_options *options, chassis_reply_cb done,
                               void *data);

/* Streams of the three kinds. For a server stream send one message, then half_close. */
struct chassis_stream_handlers {
    /* `message` is NULL for a stream opened by path. Runs one at a time, in order. */
    void (*message)(struct chassis_client_stream *stream, const void *message,
                    struct chassis_view encoded, void *data);
    /* A refused send may be tried again. May be NULL. */
    void (*writable)(struct chassis_client_stream *stream, void *data);
    /* The last callback; the stream is gone when it returns. */
    void (*closed)(struct chassis_client_stream *stream, const struct chassis_reply *status,
                   void *data);
};
/* options->timeout_ms 0 means no deadline for a stream. */
int chassis_stream_open(struct chassis_client *client, const struct chassis_method *method,
                        const struct chassis_call_options *options,
                        const struct chassis_stream_handlers *handlers, void *data,
                        struct chassis_client_stream **ret_stream, struct chassis_error *err);
int chassis_stream_open_path(struct chassis_client *client, const char *path,
                             const struct chassis_call_options *options,
                             const struct chassis_stream_handlers *handlers, void *data,
                             struct chassis_client_stream **ret_stream, struct chassis_error *err);
/* 0, CHASSIS_CANCELLED, or CHASSIS_RESOURCE_EXHAUSTED (queue full: wait for writable). */
int chassis_stream_send(struct chassis_client_stream *stream, const void *message);
int chassis_stream_send_bytes(struct chassis_client_stream *stream, struct chassis_view encoded);
void chassis_stream_half_close(struct chassis_client_stream *stream);
/* `closed` still follows. */
void chassis_stream_cancel(struct chassis_client_stream *stream);

#endif
