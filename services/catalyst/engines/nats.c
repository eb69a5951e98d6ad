/* Streams in JetStream, by libnats: one JetStream stream each, "draft-<name>", one subject. An event
 * is one message, its sequence JetStream's. The only user of <nats/nats.h>.
 */
#include <nats/nats.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "catalyst/engines/remote.h"

enum {
    UNANSWERED_MAX = 1 << 20, /* messages; remote.c bounds the bytes */
    ANSWER_MS = 5000,
    NEXT_MS = 2000, /* for an event that is known to be there */
    FLUSH_MS = 1000,
    CURSORS = 4,    /* readers at different places of one stream */
    WAITING = 4096, /* buckets */
};

/* A message whose answer is awaited: the library gives the message back, not whose it was. */
struct waiting {
    struct waiting *next;
    const natsMsg *message;
    struct cat_stored *stored;
};

/* A subscription that was given up and is to be destroyed. */
struct ended {
    struct ended *next;
    natsSubscription *subscription;
};

struct cat_backend {
    natsConnection *connection;
    jsCtx *js;
    struct ended *ended;  /* the manager's */
    pthread_mutex_t lock; /* of `waiting` */
    struct waiting *waiting[WAITING];
};

struct cursor {
    natsSubscription *subscription; /* NULL = unused */
    uint64_t next;
    uint64_t used;
};

struct cat_backend_stream {
    struct cat_backend *backend;
    char name[CAT_REMOTE_NAME_MAX], subject[CAT_REMOTE_NAME_MAX];
    struct cursor cursors[CURSORS];
    uint64_t uses;
};

static int status_from_nats(natsStatus status)
{
    switch ((int)status) { /* most of the others mean that the servers are not there */
    case NATS_OK:
        return 0;
    case NATS_TIMEOUT:
        return CHASSIS_DEADLINE_EXCEEDED;
    case NATS_NOT_FOUND:
        return CHASSIS_NOT_FOUND;
    case NATS_INVALID_ARG:
        return CHASSIS_INVALID_ARGUMENT;
    case NATS_NOT_PERMITTED:
    case NATS_CONNECTION_AUTH_FAILED:
        return CHASSIS_PERMISSION_DENIED;
    case NATS_INSUFFICIENT_BUFFER:
        return CHASSIS_BUSY;
    default:
        return CHASSIS_UNAVAILABLE;
    }
}

static int failed(natsStatus status, struct chassis_error *err, const char *what, const char *name)
{
    const char *last = nats_GetLastError(NULL);
    return chassis_error_set(err, status_from_nats(status), "%s '%s': %s%s%s", what, name,
                             natsStatus_GetText(status), last != NULL ? ": " : "",
                             last != NULL ? last : "");
}

/* ---- storing ---- */

static struct waiting **bucket(struct cat_backend *backend, const natsMsg *message)
{
    return &backend->waiting[((uintptr_t)message >> 5) % WAITING];
}

static void wait_for(struct cat_backend *backend, const natsMsg *message, struct cat_stored *stored)
{
    struct waiting *w = chassis_base_alloc(sizeof *w);
    pthread_mutex_lock(&backend->lock);
    struct waiting **head = bucket(backend, message);
    *w = (struct waiting){.next = *head, .message = message, .stored = stored};
    *head = w;
    pthread_mutex_unlock(&backend->lock);
}

static struct cat_stored *answered(struct cat_backend *backend, const natsMsg *message)
{
    struct cat_stored *stored = NULL;
    pthread_mutex_lock(&backend->lock);
    for (struct waiting **at = bucket(backend, message); *at != NULL; at = &(*at)->next) {
        if ((*at)->message == message) {
            struct waiting *w = *at;
            stored = w->stored;
            *at = w->next;
            free(w);
            break;
        }
    }
    pthread_mutex_unlock(&backend->lock);
    return stored;
}

static void on_answer(jsCtx *js, natsMsg *message, jsPubAck *ack, jsPubAckErr *error, void *closure)
{
    struct cat_stored *stored = answered(closure, message);
    if (stored != NULL && ack != NULL) {
        cat_remote_stored(stored, ack->Sequence, 0, NULL);
    } else if (stored != NULL) {
        const char *text = error != NULL && error->ErrText != NULL ? error->ErrText : "no answer";
        cat_remote_stored(stored, 0, status_from_nats(error != NULL ? error->Err : NATS_TIMEOUT),
                          text);
    }
    natsMsg_Destroy(message);
}

static void backend_store(struct cat_backend_stream *stream, struct chassis_view event,
                          int64_t time_ns, struct cat_stored *stored)
{
    struct cat_backend *backend = stream->backend;
    natsMsg *message = NULL;
    natsStatus status =
        natsMsg_Create(&message, stream->subject, NULL, (const char *)event.data, (int)event.len);
    if (status == NATS_OK) {
        const natsMsg *key = message;
        jsPubOptions options;
        jsPubOptions_Init(&options);
        options.MaxWait = ANSWER_MS;
        wait_for(backend, key, stored);
        status = js_PublishMsgAsync(backend->js, &message, &options);
        if (status == NATS_OK || answered(backend, key) == NULL) {
            return; /* the answer came or will come to on_answer */
        }
        natsMsg_Destroy(message);
    }
    cat_remote_stored(stored, 0, status_from_nats(status), natsStatus_GetText(status));
}

/* ---- ends of subscriptions ---- */

static void destroy_ended(struct cat_backend *backend)
{
    while (backend->ended != NULL) {
        struct ended *ended = backend->ended;
        backend->ended = ended->next;
        natsSubscription_Destroy(ended->subscription);
        free(ended);
    }
}

/* libnats before 3.6 lets the thread that reads the connection work on a subscription that another
 * one destroys (nats.c#637). So it is taken away first, and destroyed when the server has answered
 * what was sent after that: by then nothing for it is on its way. */
static void subscription_end(struct cat_backend *backend, natsSubscription *subscription)
{
    if (subscription == NULL) {
        return;
    }
    struct ended *ended = chassis_base_alloc(sizeof *ended);
    *ended = (struct ended){.next = backend->ended, .subscription = subscription};
    backend->ended = ended;
    natsSubscription_Unsubscribe(subscription);
    if (natsConnection_FlushTimeout(backend->connection, FLUSH_MS) == NATS_OK) {
        destroy_ended(backend); /* else with the next one that ends, or with the connection */
    }
}

/* ---- streams ---- */

static int backend_connect(const char *url, struct chassis_logger *log,
                           struct cat_backend **ret_backend, struct chassis_error *err)
{
    struct cat_backend *backend = chassis_base_alloc(sizeof *backend);
    memset(backend, 0, sizeof *backend);
    pthread_mutex_init(&backend->lock, NULL);
    natsOptions *options = NULL;
    natsStatus status = natsOptions_Create(&options);
    if (status == NATS_OK) {
        status = natsOptions_SetURL(options, url);
    }
    if (status == NATS_OK) {
        natsOptions_SetMaxReconnect(options, -1);
        natsOptions_SetReconnectWait(options, 250);
        natsOptions_SetName(options, "catalyst");
        status = natsConnection_Connect(&backend->connection, options);
    }
    natsOptions_Destroy(options);
    if (status == NATS_OK) {
        jsOptions js;
        jsOptions_Init(&js);
        js.PublishAsync.MaxPending = UNANSWERED_MAX;
        js.PublishAsync.AckHandler = on_answer;
        js.PublishAsync.AckHandlerClosure = backend;
        status = natsConnection_JetStream(&backend->js, backend->connection, &js);
    }
    if (status != NATS_OK) {
        natsConnection_Destroy(backend->connection);
        pthread_mutex_destroy(&backend->lock);
        free(backend);
        return failed(status, err, "connect to", url);
    }
    *ret_backend = backend;
    return 0;
}

static void backend_disconnect(struct cat_backend *backend)
{
    jsCtx_Destroy(backend->js);
    natsConnection_Close(backend->connection);
    destroy_ended(backend);
    natsConnection_Destroy(backend->connection);
    for (size_t i = 0; i < WAITING; i++) {
        while (backend->waiting[i] != NULL) {
            struct waiting *w = backend->waiting[i];
            backend->waiting[i] = w->next;
            free(w);
        }
    }
    pthread_mutex_destroy(&backend->lock);
    free(backend);
}

static int stream_state(struct cat_backend_stream *stream, struct cat_log_state *ret_state,
                        struct chassis_error *err)
{
    jsStreamInfo *info = NULL;
    natsStatus status = js_GetStreamInfo(&info, stream->backend->js, stream->name, NULL, NULL);
    if (status != NATS_OK) {
        return failed(status, err, "ask for stream", stream->name);
    }
    const jsStreamState *state = &info->State;
    *ret_state = (struct cat_log_state){
        .first = state->FirstSeq != 0 ? state->FirstSeq : state->LastSeq + 1,
        .last = state->LastSeq,
        .readable = state->LastSeq,
        .bytes = state->Bytes,
        .first_time_ns = state->Msgs != 0 ? state->FirstTime : 0,
        .last_time_ns = state->LastSeq != 0 ? state->LastTime : 0,
    };
    if (state->Msgs == 0) {
        ret_state->first = state->LastSeq + 1;
    }
    jsStreamInfo_Destroy(info);
    return 0;
}

static int backend_open(struct cat_backend *backend, const char *name,
                        struct cat_backend_stream **ret_stream, struct cat_log_state *ret_state,
                        struct chassis_error *err)
{
    struct cat_backend_stream *stream = chassis_base_alloc(sizeof *stream);
    memset(stream, 0, sizeof *stream);
    stream->backend = backend;
    snprintf(stream->name, sizeof stream->name, "%s", name);
    snprintf(stream->subject, sizeof stream->subject, "draft.events.%.200s", name);
    int rc = stream_state(stream, ret_state, err);
    if (rc == CHASSIS_NOT_FOUND) {
        const char *subjects[] = {stream->subject};
        jsStreamConfig config;
        jsStreamConfig_Init(&config);
        config.Name = stream->name;
        config.Subjects = subjects;
        config.SubjectsLen = 1;
        config.Storage = js_FileStorage;
        natsStatus status = js_AddStream(NULL, backend->js, &config, NULL, NULL);
        chassis_error_clear(err);
        rc = status != NATS_OK ? failed(status, err, "make stream", name)
                               : stream_state(stream, ret_state, err);
    }
    if (rc != 0) {
        free(stream);
        return rc;
    }
    *ret_stream = stream;
    return 0;
}

static void cursor_close(struct cat_backend *backend, struct cursor *cursor)
{
    subscription_end(backend, cursor->subscription);
    cursor->subscription = NULL;
}

static void backend_close(struct cat_backend_stream *stream)
{
    for (size_t i = 0; i < CURSORS; i++) {
        cursor_close(stream->backend, &stream->cursors[i]);
    }
    free(stream);
}

static int backend_destroy(struct cat_backend_stream *stream, struct chassis_error *err)
{
    natsStatus status = js_DeleteStream(stream->backend->js, stream->name, NULL, NULL);
    int rc = status == NATS_OK || status == NATS_NOT_FOUND
                 ? 0
                 : failed(status, err, "remove stream", stream->name);
    backend_close(stream);
    return rc;
}

static int backend_trim(struct cat_backend_stream *stream, uint64_t through,
                        struct chassis_error *err)
{
    jsOptions options;
    jsOptions_Init(&options);
    options.Stream.Purge.Sequence = through + 1;
    natsStatus status = js_PurgeStream(stream->backend->js, stream->name, &options, NULL);
    return status == NATS_OK ? 0 : failed(status, err, "purge stream", stream->name);
}

/* ---- reading ---- */

/* An ordered consumer from a place or a time on. */
static natsStatus subscribe(struct cat_backend_stream *stream, uint64_t from, int64_t time_ns,
                            natsSubscription **ret_subscription)
{
    jsSubOptions options;
    jsSubOptions_Init(&options);
    options.Stream = stream->name;
    options.Ordered = true;
    if (from != 0) {
        options.Config.DeliverPolicy = js_DeliverByStartSequence;
        options.Config.OptStartSeq = from;
    } else {
        options.Config.DeliverPolicy = js_DeliverByStartTime;
        options.Config.OptStartTime = time_ns;
    }
    return js_SubscribeSync(ret_subscription, stream->backend->js, stream->subject, NULL, &options,
                            NULL);
}

/* The cursor that stands at `from`, else a new one in place of the one that was not used longest. */
static natsStatus cursor_at(struct cat_backend_stream *stream, uint64_t from,
                            struct cursor **ret_cursor)
{
    struct cursor *oldest = &stream->cursors[0];
    for (size_t i = 0; i < CURSORS; i++) {
        struct cursor *cursor = &stream->cursors[i];
        if (cursor->subscription != NULL && cursor->next == from) {
            cursor->used = ++stream->uses;
            *ret_cursor = cursor;
            return NATS_OK;
        }
        if (cursor->subscription == NULL || cursor->used < oldest->used) {
            oldest = cursor;
        }
    }
    cursor_close(stream->backend, oldest);
    oldest->next = from;
    oldest->used = ++stream->uses;
    *ret_cursor = oldest;
    return subscribe(stream, from, 0, &oldest->subscription);
}

static natsStatus next_event(natsSubscription *subscription, natsMsg **ret_message,
                             struct cat_log_event *ret_event)
{
    natsMsg *message = NULL;
    jsMsgMetaData *meta = NULL;
    natsStatus status = natsSubscription_NextMsg(&message, subscription, NEXT_MS);
    if (status == NATS_OK) {
        status = natsMsg_GetMetaData(&meta, message);
    }
    if (status != NATS_OK) {
        natsMsg_Destroy(message);
        return status;
    }
    *ret_event = (struct cat_log_event){
        .sequence = meta->Sequence.Stream,
        .time_ns = meta->Timestamp,
        .bytes = chassis_view(natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message)),
    };
    jsMsgMetaData_Destroy(meta);
    *ret_message = message;
    return NATS_OK;
}

static int backend_read(struct cat_backend_stream *stream, uint64_t from, uint32_t events_max,
                        int (*each)(void *data, const struct cat_log_event *event), void *data,
                        struct chassis_error *err)
{
    struct cat_log_state state;
    struct cursor *cursor = NULL;
    int rc = stream_state(stream, &state, err);
    if (rc != 0) {
        return rc;
    }
    if (from < state.first) {
        return chassis_error_set(
            err, CHASSIS_NOT_FOUND, "event %llu of stream '%s' is gone: the first kept is %llu",
            (unsigned long long)from, stream->name, (unsigned long long)state.first);
    }
    natsStatus status = cursor_at(stream, from, &cursor);
    bool more = true;
    for (uint32_t n = 0; status == NATS_OK && more && n < events_max && cursor->next <= state.last;
         n++) {
        struct cat_log_event event;
        natsMsg *message;
        status = next_event(cursor->subscription, &message, &event);
        if (status == NATS_OK) {
            more = each(data, &event) == 0;
            cursor->next = event.sequence + 1;
            natsMsg_Destroy(message);
        }
    }
    if (!more || status != NATS_OK) { /* one event was taken from it that the reader has not had */
        cursor_close(stream->backend, cursor);
    }
    return status == NATS_OK ? 0 : failed(status, err, "read stream", stream->name);
}

static int backend_at_time(struct cat_backend_stream *stream, int64_t time_ns,
                           uint64_t *ret_sequence, struct chassis_error *err)
{
    struct cat_log_state state;
    int rc = stream_state(stream, &state, err);
    if (rc != 0) {
        return rc;
    }
    if (state.first > state.last || time_ns > state.last_time_ns) {
        *ret_sequence = state.last + 1;
        return 0;
    }
    natsSubscription *subscription = NULL;
    natsMsg *message = NULL;
    struct cat_log_event event;
    natsStatus status = subscribe(stream, 0, time_ns > 0 ? time_ns : 1, &subscription);
    if (status == NATS_OK) {
        status = next_event(subscription, &message, &event);
    }
    if (status == NATS_OK) {
        *ret_sequence = event.sequence;
        natsMsg_Destroy(message);
    }
    subscription_end(stream->backend, subscription);
    return status == NATS_OK ? 0 : failed(status, err, "find a time in stream", stream->name);
}

static const struct cat_backend_ops ops = {
    .name = "nats",
    .connect = backend_connect,
    .disconnect = backend_disconnect,
    .open = backend_open,
    .close = backend_close,
    .destroy = backend_destroy,
    .read = backend_read,
    .at_time = backend_at_time,
    .trim = backend_trim,
    .store = backend_store,
};

int cat_engine_plugin_open(const struct cat_engine_plugin_options *options,
                           struct cat_log_engine **ret_engine, struct chassis_error *err)
{
    return cat_remote_open(&ops, options, ret_engine, err);
}
