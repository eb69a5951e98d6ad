/* The client of a run, and streams followed to their end. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "connect.h"
#include "context.h"
#include "core/registry/key_value/v1/key_value.chassis.h"
#include "os/os.h"

enum { TOKEN_BYTES_MAX = 4096, DEFAULT_TIMEOUT_MS = 10000 };

static struct chassis_executor *callbacks; /* one thread for all streams of the process */

/* The first word of the file; NULL when `path` is. */
static int read_token(struct dctl *d, const char *path, const char **ret_token,
                      struct chassis_error *err)
{
    char text[TOKEN_BYTES_MAX + 1];
    if (path == NULL) {
        *ret_token = NULL;
        return 0;
    }
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "--token-file: cannot open '%s'",
                                 path);
    }
    size_t n = fread(text, 1, TOKEN_BYTES_MAX, f);
    fclose(f);
    text[n] = '\0';
    text[strcspn(text, " \t\r\n")] = '\0';
    *ret_token = chassis_arena_strdup(&d->arena, text);
    return 0;
}

/* The option, else what the context says, else NULL. */
static const char *first_of(const struct dctl *d, const char *option, const char *from_context)
{
    const char *given = dctl_string(d, option);
    return given != NULL ? given : from_context;
}

static struct chassis_client *client_open(struct dctl *d, const struct dctl_context *context,
                                          const char *target, struct chassis_error *err)
{
    struct chassis_tls_files tls = {
        .ca = first_of(d, "ca", context->ca),
        .certificate = first_of(d, "cert", context->certificate),
        .key = first_of(d, "key", context->key),
        .server_name = first_of(d, "server-name", context->server_name),
    };
    const char *token;
    if (read_token(d, dctl_string(d, "token-file"), &token, err) != 0) {
        return NULL;
    }
    if (callbacks == NULL) {
        int rc = chassis_os_thread_start("dctl", &callbacks);
        if (rc != 0) {
            chassis_error_code(err, rc, "start a thread");
            return NULL;
        }
    }
    struct chassis_client_options options = {
        .target = target,
        .tls = tls.ca != NULL || tls.certificate != NULL ? &tls : NULL,
        .executor = callbacks,
        .timeout_ms = dctl_duration_ms(d, "timeout", DEFAULT_TIMEOUT_MS),
        .response_bytes_max = 64 << 20,
        .token = token,
        .cluster_secret_file = first_of(d, "cluster-secret", context->cluster_secret),
    };
    struct chassis_client *client;
    return chassis_client_new(&options, &client, err) == 0 ? client : NULL;
}

struct chassis_client *dctl_client(struct dctl *d, struct chassis_error *err)
{
    struct dctl_context context;
    if (d->client != NULL) {
        return d->client;
    }
    if (dctl_context_find(d, &context, err) != 0) {
        return NULL;
    }
    const char *target = dctl_string(d, "endpoint");
    if (target == NULL) {
        target = getenv("DRAFT_ENDPOINT");
    }
    if (target == NULL || target[0] == '\0') {
        target = context.endpoint != NULL ? context.endpoint : "127.0.0.1:2221";
    }
    d->client = client_open(d, &context, target, err);
    return d->client;
}

/* Blueprint as the environment or the context name it; NULL: neither does. */
static const char *platform_of(const struct dctl_context *context)
{
    const char *platform = getenv("DRAFT_ENDPOINT");
    return platform != NULL && platform[0] != '\0' ? platform : context->endpoint;
}

/* A Blueprint is named by the environment or by the context: it knows where the broker is. */
static int events_by_name(struct dctl *d, const struct dctl_context *context,
                          struct chassis_error *err)
{
    const char *platform = platform_of(context);
    if (platform == NULL) {
        return dctl_client_at(d, "127.0.0.1:2220", err);
    }
    int rc = dctl_client_at(d, platform, err);
    rc = rc == 0 ? dctl_client_switch(d, "catalyst", err) : rc;
    return rc == 0 ? 0 : chassis_error_wrap(err, "find the broker by its registered name");
}

/* Of a Fuse that is not registered, the address it wrote down. */
static int routes_by_record(struct dctl *d, struct chassis_error *err)
{
    Core__Registry__KeyValue__V1__GetRequest req = CORE__REGISTRY__KEY_VALUE__V1__GET_REQUEST__INIT;
    Core__Registry__KeyValue__V1__GetResponse *res;
    Core__Registry__KeyValue__V1__Value *value;
    Google__Protobuf__Any kind = GOOGLE__PROTOBUF__ANY__INIT;
    struct chassis_call_options options = dctl_call_options(d, 0);
    options.idempotent = true;
    kind.type_url = (char *)(uintptr_t) "type.googleapis.com/core.registry.key_value.v1.Value";
    req.key = (char *)(uintptr_t) "fuse_address";
    req.value = &kind;
    int rc = key_value_get_sync(d->client, &req, &options, &d->arena, &res, err);
    if (rc != 0) {
        return rc;
    }
    struct chassis_view bytes = res->value != NULL
                                    ? chassis_view(res->value->value.data, res->value->value.len)
                                    : chassis_view(NULL, 0);
    rc = core__registry__key_value__v1__value__decode(bytes, &d->arena, &value, err);
    if (rc != 0) {
        return rc;
    }
    const char *host = strstr(value->data, "://");
    host = host != NULL ? host + 3 : value->data;
    return dctl_client_at(d, chassis_arena_strndup(&d->arena, host, strcspn(host, "/")), err);
}

static int routes_by_name(struct dctl *d, const struct dctl_context *context,
                          struct chassis_error *err)
{
    const char *platform = platform_of(context);
    if (platform == NULL) {
        return dctl_client_at(d, "127.0.0.1:18000", err);
    }
    int rc = dctl_client_at(d, platform, err);
    rc = rc == 0 ? dctl_client_switch(d, "fuse", err) : rc;
    if (rc == CHASSIS_NOT_FOUND) {
        struct chassis_error why = {0};
        rc = routes_by_record(d, &why);
        rc = rc == CHASSIS_NOT_FOUND ? chassis_error_set(err, CHASSIS_UNAVAILABLE,
                                                         "no process of 'fuse' is registered, and "
                                                         "there is no record 'fuse_address'")
             : rc != 0               ? chassis_error_set(err, rc, "%s", chassis_error_text(&why))
                                     : 0;
    }
    return rc == 0 ? 0 : chassis_error_wrap(err, "find Fuse");
}

struct chassis_client *dctl_events_client(struct dctl *d, struct chassis_error *err)
{
    struct dctl_context context;
    if (d->client != NULL) {
        return d->client;
    }
    if (dctl_context_find(d, &context, err) != 0) {
        return NULL;
    }
    const char *target = dctl_string(d, "endpoint");
    target = target != NULL ? target : getenv("DRAFT_EVENTS_ENDPOINT");
    target = target != NULL && target[0] != '\0' ? target : context.events_endpoint;
    int rc = target != NULL ? dctl_client_at(d, target, err) : events_by_name(d, &context, err);
    return rc == 0 ? d->client : NULL;
}

struct chassis_client *dctl_routes_client(struct dctl *d, struct chassis_error *err)
{
    struct dctl_context context;
    if (d->client != NULL) {
        return d->client;
    }
    if (dctl_context_find(d, &context, err) != 0) {
        return NULL;
    }
    const char *target = dctl_string(d, "endpoint");
    target = target != NULL ? target : getenv("DRAFT_ROUTES_ENDPOINT");
    target = target != NULL && target[0] != '\0' ? target : context.routes_endpoint;
    int rc = target != NULL ? dctl_client_at(d, target, err) : routes_by_name(d, &context, err);
    return rc == 0 ? d->client : NULL;
}

bool dctl_worth_another_try(int code)
{
    enum chassis_error_class c = chassis_status_class(code);
    return (c == CHASSIS_CLASS_RETRY || c == CHASSIS_CLASS_REDIRECT) &&
           code != CHASSIS_DEADLINE_EXCEEDED && code != CHASSIS_RESOURCE_EXHAUSTED;
}

int dctl_client_at(struct dctl *d, const char *target, struct chassis_error *err)
{
    struct dctl_context context;
    int rc = dctl_context_find(d, &context, err);
    if (rc != 0) {
        return rc;
    }
    struct chassis_client *client = client_open(d, &context, target, err);
    if (client == NULL) {
        return err->code;
    }
    chassis_client_free(d->client);
    d->client = client;
    return 0;
}

int dctl_client_switch(struct dctl *d, const char *service, struct chassis_error *err)
{
    const char *target;
    int rc = dctl_resolve(d, service, &target, err);
    return rc != 0 ? rc : dctl_client_at(d, target, err);
}

struct chassis_call_options dctl_call_options(const struct dctl *d, uint64_t otherwise_ms)
{
    return (struct chassis_call_options){.timeout_ms =
                                             dctl_duration_ms(d, "timeout", otherwise_ms)};
}

/* One stream being followed. The main thread waits for `done`; the rest belongs to the executor
 * thread until then. */
struct following {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct dctl_follower *follower;
    struct chassis_error status;
    bool stopped; /* by the follower */
    bool let_go;  /* the main thread does not touch the stream any more */
    bool done, writable;
};

static void on_message(struct chassis_client_stream *stream, const void *message,
                       struct chassis_view encoded, void *data)
{
    struct following *f = data;
    if (f->stopped) {
        return;
    }
    f->follower->messages++;
    if (!f->follower->message(f->follower, message, encoded)) {
        pthread_mutex_lock(&f->mutex);
        f->stopped = true;
        if (f->let_go) { /* else it is the main thread's to cancel: it may be sending */
            chassis_stream_cancel(stream);
        }
        pthread_mutex_unlock(&f->mutex);
    }
}

static void on_writable(struct chassis_client_stream *stream, void *data)
{
    struct following *f = data;
    pthread_mutex_lock(&f->mutex);
    f->writable = true;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->mutex);
}

static void on_closed(struct chassis_client_stream *stream, const struct chassis_reply *status,
                      void *data)
{
    struct following *f = data;
    pthread_mutex_lock(&f->mutex);
    if (status->code != 0 && !f->stopped) {
        chassis_error_set(&f->status, status->code, "%s",
                          status->text[0] != '\0' ? status->text
                                                  : chassis_status_text(status->code));
    }
    f->done = true;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->mutex);
}

static const struct chassis_stream_handlers stream_handlers = {
    .message = on_message, .writable = on_writable, .closed = on_closed};

static void following_init(struct following *f, struct dctl_follower *follower)
{
    *f = (struct following){.follower = follower};
    pthread_mutex_init(&f->mutex, NULL);
    pthread_cond_init(&f->changed, NULL);
    follower->messages = 0;
}

/* All is sent. Under the mutex, which `closed` needs too, so the stream is there. */
static void let_go(struct following *f, struct chassis_client_stream *stream)
{
    pthread_mutex_lock(&f->mutex);
    f->let_go = true;
    if (f->stopped) {
        chassis_stream_cancel(stream);
    } else {
        chassis_stream_half_close(stream);
    }
    pthread_mutex_unlock(&f->mutex);
}

/* Wait for the end; afterwards nothing of `f` is used by the other thread. */
static int following_end(struct following *f, int opened, struct chassis_error *err)
{
    if (opened == 0) {
        pthread_mutex_lock(&f->mutex);
        while (!f->done) {
            pthread_cond_wait(&f->changed, &f->mutex);
        }
        pthread_mutex_unlock(&f->mutex);
    }
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->mutex);
    if (opened != 0) {
        return opened;
    }
    return f->status.code != 0 ? chassis_error_set(err, f->status.code, "%s", f->status.text) : 0;
}

int dctl_follow(struct dctl *d, const struct chassis_method *method, const void *request,
                const struct chassis_call_options *options, struct dctl_follower *follower,
                struct chassis_error *err)
{
    struct following f;
    struct chassis_client_stream *stream;
    struct chassis_client *client = dctl_client(d, err);
    if (client == NULL) {
        return err->code;
    }
    following_init(&f, follower);
    int rc = chassis_stream_open(client, method, options, &stream_handlers, &f, &stream, err);
    if (rc == 0) {
        /* The queue is empty, so it is refused only when the call is over: `closed` tells why. */
        (void)chassis_stream_send(stream, request);
        let_go(&f, stream);
    }
    return following_end(&f, rc, err);
}

/* Send, waiting for room in the queue; false when the stream is over. */
static bool send_waiting(struct following *f, struct chassis_client_stream *stream,
                         struct chassis_view message)
{
    for (;;) {
        pthread_mutex_lock(&f->mutex);
        bool done = f->done;
        f->writable = false;
        pthread_mutex_unlock(&f->mutex);
        int rc = done ? CHASSIS_CANCELLED : chassis_stream_send_bytes(stream, message);
        if (rc != CHASSIS_RESOURCE_EXHAUSTED) {
            return rc == 0;
        }
        pthread_mutex_lock(&f->mutex);
        while (!f->done && !f->writable) {
            pthread_cond_wait(&f->changed, &f->mutex);
        }
        pthread_mutex_unlock(&f->mutex);
    }
}

int dctl_follow_path(struct dctl *d, const char *path, const struct chassis_view *requests,
                     size_t n_requests, const struct chassis_call_options *options,
                     struct dctl_follower *follower, struct chassis_error *err)
{
    struct following f;
    struct chassis_client_stream *stream;
    struct chassis_client *client = dctl_client(d, err);
    if (client == NULL) {
        return err->code;
    }
    following_init(&f, follower);
    struct chassis_call_options held =
        options != NULL ? *options : (struct chassis_call_options){0};
    held.closed_after_half_close = true; /* sent here, received on the executor */
    int rc = chassis_stream_open_path(client, path, &held, &stream_handlers, &f, &stream, err);
    if (rc == 0) {
        bool open = true;
        for (size_t i = 0; i < n_requests && open; i++) {
            open = send_waiting(&f, stream, requests[i]);
        }
        let_go(&f, stream);
    }
    return following_end(&f, rc, err);
}

void dctl_pause(unsigned attempt)
{
    uint64_t ms = attempt > 5 ? 3000 : 100ULL << attempt;
    struct timespec pause = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
}
