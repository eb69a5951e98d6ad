/* Publishing: an outbox, batches under way on one stream, sent again after a broken connection.
 *
 *   outbox ──taken──▶ batches ──sent──▶ acknowledged ──▶ done
 *                        ▲── not sent ◀── stream closed
 */
#include <stdio.h>

#include "base/fault.h"
#include "broker/internal.h"

typedef Draft__Events__V1__PublishResponse publish_response;

static void outgoing_free(struct broker_outgoing *o)
{
    chassis_buf_fini(&o->encoded);
    free(o->stream);
    free(o);
}

static void finish(struct catalyst_broker *b, struct broker_outgoing *o, int status,
                   const char *text)
{
    pthread_mutex_lock(&b->mutex);
    b->events--;
    b->bytes -= o->encoded.len;
    if (b->events == 0) {
        pthread_cond_broadcast(&b->changed);
    }
    pthread_mutex_unlock(&b->mutex);
    chassis_gauge_add(b->waiting, -1);
    chassis_counter_add(status == 0 ? b->published : b->refused, 1);
    if (o->done != NULL) {
        o->done(status, text, o->data);
    } else if (status != 0) {
        chassis_log_warn(b->log, "an event was not stored", chassis_f_code(status),
                         chassis_f_str("text", text));
    }
    outgoing_free(o);
}

static void batch_fail(struct catalyst_broker *b, struct broker_batch *batch, int status,
                       const char *text)
{
    chassis_list_remove(&batch->link);
    b->publisher.n_batches--;
    chassis_list_foreach_safe (it, &batch->events) {
        chassis_list_remove(it);
        finish(b, chassis_list_entry(it, struct broker_outgoing, link), status, text);
    }
    free(batch);
}

/* --- sending --- */

static void append_varint(struct chassis_buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        chassis_buf_append_byte(out, (uint8_t)(value | 0x80));
    }
    chassis_buf_append_byte(out, (uint8_t)value);
}

/* A PublishRequest around events that are encoded already. */
static void encode_batch(const struct broker_batch *batch, struct chassis_buf *out)
{
    enum { STREAM = 0x0a, BATCH = 0x12, REQUEST = 0x18, EVENTS = 0x0a }; /* number << 3 | type */
    const char *stream =
        chassis_list_entry(batch->events.next, struct broker_outgoing, link)->stream;
    struct chassis_buf events = {0};
    chassis_list_foreach (it, &batch->events) {
        const struct broker_outgoing *o = chassis_list_entry(it, struct broker_outgoing, link);
        chassis_buf_append_byte(&events, EVENTS);
        append_varint(&events, o->encoded.len);
        chassis_buf_append_view(&events, chassis_buf_view(&o->encoded));
    }
    if (stream != NULL) {
        chassis_buf_append_byte(out, STREAM);
        append_varint(out, strlen(stream));
        chassis_buf_append_str(out, stream);
    }
    chassis_buf_append_byte(out, BATCH);
    append_varint(out, events.len);
    chassis_buf_append_view(out, chassis_buf_view(&events));
    chassis_buf_append_byte(out, REQUEST);
    append_varint(out, batch->request);
    chassis_buf_fini(&events);
}

static bool same_stream(const struct broker_outgoing *a, const struct broker_outgoing *b)
{
    return a->stream == NULL || b->stream == NULL ? a->stream == b->stream
                                                  : strcmp(a->stream, b->stream) == 0;
}

/* The next events of one stream, in order; NULL when there are none. */
static struct broker_batch *take_batch(struct catalyst_broker *b)
{
    struct broker_batch *batch = NULL;
    struct broker_outgoing *first = NULL;
    size_t bytes = 0;
    pthread_mutex_lock(&b->mutex);
    while (!chassis_list_empty(&b->outbox)) {
        struct broker_outgoing *o =
            chassis_list_entry(b->outbox.next, struct broker_outgoing, link);
        if (batch != NULL &&
            (batch->n_events == BROKER_BATCH_EVENTS ||
             bytes + o->encoded.len > BROKER_BATCH_BYTES || !same_stream(first, o))) {
            break;
        }
        if (batch == NULL) {
            batch = chassis_base_zalloc(sizeof *batch);
            chassis_list_init(&batch->events);
            first = o;
        }
        chassis_list_remove(&o->link);
        chassis_list_append(&batch->events, &o->link);
        batch->n_events++;
        bytes += o->encoded.len;
    }
    pthread_mutex_unlock(&b->mutex);
    return batch;
}

/* False when the stream takes no more for now. */
static bool send_batch(struct catalyst_broker *b, struct broker_batch *batch)
{
    struct chassis_buf bytes = {0};
    encode_batch(batch, &bytes);
    int rc = chassis_stream_send_bytes(b->publisher.stream, chassis_buf_view(&bytes));
    chassis_buf_fini(&bytes);
    batch->sent = rc == 0;
    return rc == 0; /* full: `writable` comes; over: `closed` does */
}

static void open_stream(struct catalyst_broker *b);

/* Send whatever may be sent, on the loop. */
static void pump(struct catalyst_broker *b)
{
    struct broker_publisher *p = &b->publisher;
    if (b->halted || p->backoff.timer.due_ns != 0) {
        return;
    }
    if (p->stream == NULL) {
        pthread_mutex_lock(&b->mutex);
        bool work = b->events != 0;
        pthread_mutex_unlock(&b->mutex);
        if (work) {
            open_stream(b);
        }
        if (p->stream == NULL) {
            return;
        }
    }
    chassis_list_foreach (it, &p->batches) {
        struct broker_batch *batch = chassis_list_entry(it, struct broker_batch, link);
        if (!batch->sent && !send_batch(b, batch)) {
            return;
        }
    }
    while (p->n_batches < BROKER_BATCHES_MAX) {
        struct broker_batch *batch = take_batch(b);
        if (batch == NULL) {
            return;
        }
        batch->request = ++p->request;
        chassis_list_append(&p->batches, &batch->link);
        p->n_batches++;
        if (!send_batch(b, batch)) {
            return;
        }
    }
}

static void run_pump(struct chassis_task *task)
{
    struct catalyst_broker *b = chassis_container_of(task, struct catalyst_broker, pump);
    pthread_mutex_lock(&b->mutex);
    b->pump_posted = false;
    pthread_mutex_unlock(&b->mutex);
    pump(b);
}

static void on_timer(struct chassis_timer *timer)
{
    struct catalyst_broker *b =
        chassis_container_of(timer, struct catalyst_broker, publisher.backoff.timer);
    pump(b);
}

/* --- the stream --- */

/* The answer to the oldest batch under way. */
static void on_response(struct chassis_client_stream *stream, const void *message,
                        struct chassis_view encoded, void *data)
{
    struct catalyst_broker *b = data;
    const publish_response *res = message;
    struct broker_publisher *p = &b->publisher;
    struct broker_batch *batch =
        chassis_list_empty(&p->batches)
            ? NULL
            : chassis_list_entry(p->batches.next, struct broker_batch, link);
    if (batch == NULL || !batch->sent || res->request != batch->request) {
        chassis_log_error(b->log, "an answer to nothing that was asked: connecting anew",
                          chassis_f_u64("request", res->request));
        chassis_stream_cancel(stream);
        return;
    }
    broker_connected(b, &p->backoff, "publishing");
    p->progress = true;
    chassis_list_remove(&batch->link);
    p->n_batches--;
    size_t refusal = 0;
    unsigned index = 0;
    chassis_list_foreach_safe (it, &batch->events) {
        bool refused = refusal < res->n_refusals && res->refusals[refusal]->index == index;
        const Draft__Events__V1__Refusal *why = refused ? res->refusals[refusal++] : NULL;
        chassis_list_remove(it);
        int code = refused ? chassis_status_from_grpc((int)why->code) : 0;
        finish(b, chassis_list_entry(it, struct broker_outgoing, link),
               refused && code == 0 ? CHASSIS_UNKNOWN : code, refused ? why->text : "");
        index++;
    }
    free(batch);
    pump(b);
}

static void on_writable(struct chassis_client_stream *stream, void *data)
{
    pump(data);
}

/* Closed for a reason that the batch itself must be: it would close every stream. */
static bool batch_is_to_blame(const struct broker_publisher *p, int code)
{
    enum chassis_error_class class = chassis_status_class(code);
    return !p->progress && (class == CHASSIS_CLASS_CALLER || class == CHASSIS_CLASS_GONE) &&
           code != CHASSIS_UNIMPLEMENTED && code != CHASSIS_UNAUTHENTICATED &&
           code != CHASSIS_PERMISSION_DENIED;
}

static void on_closed(struct chassis_client_stream *stream, const struct chassis_reply *status,
                      void *data)
{
    struct catalyst_broker *b = data;
    struct broker_publisher *p = &b->publisher;
    p->stream = NULL;
    chassis_list_foreach (it, &p->batches) {
        chassis_list_entry(it, struct broker_batch, link)->sent = false;
    }
    if (!b->halted) {
        if (batch_is_to_blame(p, status->code) && !chassis_list_empty(&p->batches)) {
            batch_fail(b, chassis_list_entry(p->batches.next, struct broker_batch, link),
                       status->code, status->text);
        }
        broker_wait(b, &p->backoff, "publishing", status->code, status->text);
    }
    broker_stream_closed(b);
}

static void open_stream(struct catalyst_broker *b)
{
    static const struct chassis_stream_handlers handlers = {
        .message = on_response, .writable = on_writable, .closed = on_closed};
    struct broker_publisher *p = &b->publisher;
    struct chassis_error err = {0};
    int rc = CHASSIS_FAULT("broker.open")
                 ? chassis_error_set(&err, CHASSIS_UNAVAILABLE, "fault injected")
                 : events_event_service_publish_stream_open(b->client, NULL, &handlers, b,
                                                            &p->stream, &err);
    p->progress = false;
    if (rc != 0) {
        p->stream = NULL;
        broker_wait(b, &p->backoff, "publishing", rc, chassis_error_text(&err));
        return;
    }
    broker_stream_opened(b);
}

/* --- from any thread --- */

static int put(struct catalyst_broker *b, struct broker_outgoing *o, struct chassis_error *err)
{
    int rc = 0;
    pthread_mutex_lock(&b->mutex);
    if (b->closing) {
        rc = chassis_error_set(err, CHASSIS_SHUTTING_DOWN, "the broker is closed");
    } else if (b->events == b->outbox_events_max ||
               b->bytes + o->encoded.len > b->outbox_bytes_max) {
        rc = chassis_error_set(err, CHASSIS_RESOURCE_EXHAUSTED,
                               "%u events wait to be published already: try later, or see why "
                               "broker '%s' does not take them",
                               b->events, b->url);
    } else {
        chassis_list_append(&b->outbox, &o->link);
        b->events++;
        b->bytes += o->encoded.len;
        if (!b->pump_posted) {
            b->pump_posted = true;
            chassis_post(b->loop, &b->pump);
        }
    }
    pthread_mutex_unlock(&b->mutex);
    return rc;
}

int publisher_publish(struct chassis_broker *broker, const struct chassis_event *event,
                      const struct chassis_publish_options *options, chassis_published_cb done,
                      void *data, struct chassis_error *err)
{
    struct catalyst_broker *b = chassis_container_of(broker, struct catalyst_broker, broker);
    struct broker_outgoing *o = chassis_base_zalloc(sizeof *o);
    chassis_list_init(&o->link);
    int rc = broker_encode(event, b->source, &o->encoded, err);
    if (rc == 0) {
        o->stream = options != NULL && options->stream != NULL
                        ? chassis_base_strdup(options->stream)
                        : NULL;
        o->done = done;
        o->data = data;
        chassis_gauge_add(b->waiting, 1); /* before it can be done */
        rc = put(b, o, err);
        if (rc != 0) {
            chassis_gauge_add(b->waiting, -1);
        }
    }
    if (rc != 0) {
        outgoing_free(o);
    }
    return rc;
}

void publisher_init(struct catalyst_broker *b)
{
    chassis_list_init(&b->outbox);
    chassis_list_init(&b->publisher.batches);
    b->publisher.backoff.timer.run = on_timer;
    b->pump.run = run_pump;
}

void publisher_halt(struct catalyst_broker *b)
{
    chassis_cancel(b->loop, &b->publisher.backoff.timer);
    if (b->publisher.stream != NULL) {
        chassis_stream_cancel(b->publisher.stream);
    }
}

void publisher_fail_all(struct catalyst_broker *b, int status)
{
    struct broker_publisher *p = &b->publisher;
    while (!chassis_list_empty(&p->batches)) {
        batch_fail(b, chassis_list_entry(p->batches.next, struct broker_batch, link), status,
                   "not acknowledged before the broker was closed");
    }
    struct broker_batch *rest;
    while ((rest = take_batch(b)) != NULL) {
        chassis_list_append(&p->batches, &rest->link);
        p->n_batches++;
        batch_fail(b, rest, status, "not sent before the broker was closed");
    }
}
