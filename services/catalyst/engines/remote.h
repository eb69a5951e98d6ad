/* An engine on a client library whose calls block: what a plugin has to say, and the rest of log.h
 * made of it.
 *
 * Two threads of its own keep the loop free: one stores, in order, one reads and manages. The
 * library's own threads may call cat_remote_stored.
 *
 * Invariants: `stored` once for every event given to `store`; appends complete in their order; the
 * loop never waits for the network, but for the end of the threads in close.
 * Threads: as marked. Ownership: a backend's streams are closed before it is disconnected.
 */
#ifndef CAT_ENGINES_REMOTE_H
#define CAT_ENGINES_REMOTE_H

#include "catalyst/engines/plugin.h"

enum {
    CAT_REMOTE_NAME_MAX = 256,
    CAT_REMOTE_PENDING_MAX = 64 << 20, /* bytes of events not yet answered, per stream */
};

struct cat_backend;        /* a connection */
struct cat_backend_stream; /* one stream there */
struct cat_stored;         /* an event on its way */

struct cat_backend_ops {
    const char *name; /* "nats" */
    /* The manager's thread, but for `store`. All may block. */
    int (*connect)(const char *url, struct chassis_logger *log, struct cat_backend **ret_backend,
                   struct chassis_error *err);
    void (*disconnect)(struct cat_backend *backend);
    /* Found or made. Times and bytes of the state may be 0 where the library does not know. */
    int (*open)(struct cat_backend *backend, const char *name,
                struct cat_backend_stream **ret_stream, struct cat_log_state *ret_state,
                struct chassis_error *err);
    void (*close)(struct cat_backend_stream *stream);
    int (*destroy)(struct cat_backend_stream *stream, struct chassis_error *err); /* closes too */
    /* The events from `from` on, until `each` returns non-zero or there are no more; CHASSIS_NOT_FOUND
     * when `from` is not kept. */
    int (*read)(struct cat_backend_stream *stream, uint64_t from, uint32_t events_max,
                int (*each)(void *data, const struct cat_log_event *event), void *data,
                struct chassis_error *err);
    int (*at_time)(struct cat_backend_stream *stream, int64_t time_ns, uint64_t *ret_sequence,
                   struct chassis_error *err);
    int (*trim)(struct cat_backend_stream *stream, uint64_t through, struct chassis_error *err);
    /* The storer's thread. The library copies the event; cat_remote_stored comes from any thread. */
    void (*store)(struct cat_backend_stream *stream, struct chassis_view event, int64_t time_ns,
                  struct cat_stored *stored);
    /* After the last event of a turn: what is buffered goes out. May be NULL. */
    void (*flush)(struct cat_backend_stream *stream);
};

/* What became of an event: stored as `sequence`, or not (`status`, `text`). Any thread. */
void cat_remote_stored(struct cat_stored *stored, uint64_t sequence, int status, const char *text);

int cat_remote_open(const struct cat_backend_ops *ops,
                    const struct cat_engine_plugin_options *options,
                    struct cat_log_engine **ret_engine, struct chassis_error *err);

/* A stream's name as the others' rules want it: '.' becomes '='. */
void cat_remote_name(struct chassis_view name, const char *prefix, char out[CAT_REMOTE_NAME_MAX]);

#endif
