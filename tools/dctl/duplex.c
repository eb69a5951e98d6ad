/* Streams one sends on while answers arrive: see connect.h. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "connect.h"

/* Owner: the main thread. The executor thread works on what the mutex guards, and on the follower.
 * The stream is held open for the sender, so its end shows first as a `writable` nobody waits for. */
struct dctl_duplex {
    struct chassis_client_stream *stream;
    struct dctl_follower *follower;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    struct chassis_error status;
    bool done, poked;
    bool sending, writable; /* the main thread is in dctl_duplex_send */
    bool over;              /* the server ended it */
    bool enough;            /* the follower wants no more */
};

static void on_message(struct chassis_client_stream *stream, const void *message,
                       struct chassis_view encoded, void *data)
{
    struct dctl_duplex *x = data;
    if (x->enough) {
        return; /* set by this thread only */
    }
    x->follower->messages++;
    if (!x->follower->message(x->follower, message, encoded)) {
        pthread_mutex_lock(&x->mutex);
        x->enough = true;
        pthread_cond_signal(&x->changed);
        pthread_mutex_unlock(&x->mutex);
    }
}

static void on_writable(struct chassis_client_stream *stream, void *data)
{
    struct dctl_duplex *x = data;
    pthread_mutex_lock(&x->mutex);
    x->writable = x->sending;
    x->over = x->over || !x->sending;
    pthread_cond_signal(&x->changed);
    pthread_mutex_unlock(&x->mutex);
}

static void on_closed(struct chassis_client_stream *stream, const struct chassis_reply *status,
                      void *data)
{
    struct dctl_duplex *x = data;
    pthread_mutex_lock(&x->mutex);
    if (status->code != 0) {
        chassis_error_set(&x->status, status->code, "%s",
                          status->text[0] != '\0' ? status->text
                                                  : chassis_status_text(status->code));
    }
    x->done = true;
    pthread_cond_signal(&x->changed);
    pthread_mutex_unlock(&x->mutex);
}

static void duplex_free(struct dctl_duplex *x)
{
    pthread_cond_destroy(&x->changed);
    pthread_mutex_destroy(&x->mutex);
    free(x);
}

int dctl_duplex_open(struct dctl *d, const struct chassis_method *method,
                     const struct chassis_call_options *options, struct dctl_follower *f,
                     struct dctl_duplex **ret_duplex, struct chassis_error *err)
{
    static const struct chassis_stream_handlers handlers = {
        .message = on_message, .writable = on_writable, .closed = on_closed};
    struct chassis_call_options held = *options;
    pthread_condattr_t monotonic;
    CHASSIS_ASSERT(d->client != NULL);
    struct dctl_duplex *x = chassis_base_zalloc(sizeof *x);
    x->follower = f;
    f->messages = 0;
    f->duplex = x;
    pthread_mutex_init(&x->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&x->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    held.closed_after_half_close = true; /* sent here, received on the executor */
    int rc = chassis_stream_open(d->client, method, &held, &handlers, x, &x->stream, err);
    if (rc != 0) {
        duplex_free(x);
        return rc;
    }
    *ret_duplex = x;
    return 0;
}

bool dctl_duplex_send(struct dctl_duplex *x, const void *message)
{
    int rc;
    pthread_mutex_lock(&x->mutex);
    x->sending = true;
    x->writable = false;
    pthread_mutex_unlock(&x->mutex);
    while ((rc = chassis_stream_send(x->stream, message)) == CHASSIS_RESOURCE_EXHAUSTED) {
        pthread_mutex_lock(&x->mutex);
        while (!x->writable) {
            pthread_cond_wait(&x->changed, &x->mutex);
        }
        x->writable = false;
        pthread_mutex_unlock(&x->mutex);
    }
    pthread_mutex_lock(&x->mutex);
    x->sending = false;
    x->over = x->over || x->writable || rc != 0;
    pthread_mutex_unlock(&x->mutex);
    return rc == 0;
}

void dctl_duplex_poke(struct dctl_duplex *x)
{
    pthread_mutex_lock(&x->mutex);
    x->poked = true;
    pthread_cond_signal(&x->changed);
    pthread_mutex_unlock(&x->mutex);
}

bool dctl_duplex_wait(struct dctl_duplex *x, uint64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + ms * 1000000;
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_mutex_lock(&x->mutex);
    while (!x->over && !x->enough && !x->poked &&
           pthread_cond_timedwait(&x->changed, &x->mutex, &until) == 0) {
    }
    x->poked = false;
    bool open = !x->over && !x->enough;
    pthread_mutex_unlock(&x->mutex);
    return open;
}

int dctl_duplex_close(struct dctl_duplex *x, bool cancel, struct chassis_error *err)
{
    if (cancel) {
        chassis_stream_cancel(x->stream);
    } else {
        chassis_stream_half_close(x->stream);
    }
    pthread_mutex_lock(&x->mutex);
    while (!x->done) {
        pthread_cond_wait(&x->changed, &x->mutex);
    }
    pthread_mutex_unlock(&x->mutex);
    bool asked = x->enough || cancel;
    int rc = x->status.code != 0 && !(asked && x->status.code == CHASSIS_CANCELLED)
                 ? chassis_error_set(err, x->status.code, "%s", x->status.text)
                 : 0;
    duplex_free(x);
    return rc;
}
