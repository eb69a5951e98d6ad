#include "catalyst/broker/rebuild.h"

#include <stdlib.h>

enum { REBUILD_EVENTS = 1024, REBUILD_BYTES = 256 << 10 };

struct rebuild {
    struct cat_read read;
    struct stream *stream;
    uint64_t next, dedupe_ms;
    int64_t since_ns;
    bool reading;
};

static void finish(struct rebuild *r, int status, const struct chassis_error *err)
{
    struct stream *s = r->stream;
    s->log->ops->cancel(s->log, &r->read);
    s->rebuild = NULL;
    /* Tried again at the next publish, if it failed or the window was widened meanwhile. */
    s->dedupe_stale = status != 0 || s->config->is.dedupe_ms > r->dedupe_ms;
    free(r);
    cat_publish_release(s, status, err);
}

static int on_event(struct cat_read *read, const struct cat_log_event *stored)
{
    struct rebuild *r = chassis_container_of(read, struct rebuild, read);
    struct cat_broker *b = r->stream->broker;
    if (stored->time_ns >= r->since_ns && cat_event_parse(stored->bytes, &b->parsed, NULL) == 0) {
        struct fingerprint print =
            cat_dedupe_fingerprint(b->dedupe_key, b->parsed.source, b->parsed.id);
        uint64_t entry = cat_dedupe_add(r->stream->dedupe, print, stored->time_ns);
        cat_dedupe_set_sequence(r->stream->dedupe, entry, stored->sequence);
    }
    return 0;
}

static void read_on(struct rebuild *r);

static void on_done(struct cat_read *read, int status, uint64_t next,
                    const struct chassis_error *err)
{
    struct rebuild *r = chassis_container_of(read, struct rebuild, read);
    if (status == 0 || status == CHASSIS_NOT_FOUND) { /* the latter: trimmed meanwhile */
        r->next = next;
        read_on(r);
    } else {
        finish(r, status, err);
    }
}

static void read_on(struct rebuild *r)
{
    struct stream *s = r->stream;
    if (r->next > s->readable) {
        finish(r, 0, NULL);
        return;
    }
    r->read.from = r->next;
    r->read.events_max = REBUILD_EVENTS;
    r->read.bytes_max = REBUILD_BYTES;
    r->read.event = on_event;
    r->read.done = on_done;
    s->log->ops->read(s->log, &r->read);
}

static void on_place(void *data, int status, uint64_t sequence)
{
    struct stream *s = data;
    struct cat_broker *b = s->broker;
    struct rebuild *r = s->rebuild;
    stream_answered(s);
    if (--s->n_places != 0 || r == NULL) { /* cancelled meanwhile, perhaps begun anew */
        cat_stream_free_if_unused(s);
        cat_broker_close_if_idle(b);
        return;
    }
    if (status < 0 && status != CHASSIS_NOT_FOUND) {
        struct chassis_error err = {0};
        chassis_error_code(&err, status, "look for the events of the dedupe window");
        finish(r, status, &err);
        return;
    }
    uint64_t oldest =
        s->readable > CAT_DEDUPE_EVENTS_MAX ? s->readable + 1 - CAT_DEDUPE_EVENTS_MAX : 1;
    r->next = status == 0 && sequence > oldest ? sequence : oldest;
    read_on(r);
}

void cat_rebuild_go_on(struct stream *s)
{
    struct rebuild *r = s->rebuild;
    if (r->reading) {
        return;
    }
    r->reading = true;
    struct cat_log_state state = s->log->ops->state(s->log);
    bool older = state.last_time_ns != 0 && state.last_time_ns < r->since_ns; /* 0: not known */
    if (state.first > state.readable || older) {
        finish(r, 0, NULL);
    } else {
        s->n_places++;
        stream_ask(s);
        s->log->ops->at_time(s->log, r->since_ns, on_place, s);
    }
}

bool cat_rebuild_start(struct stream *s, int64_t now_ns)
{
    if (s->n_batches == 0 && s->gathering == NULL && s->readable == 0) {
        return true;
    }
    s->rebuild = chassis_base_zalloc(sizeof *s->rebuild);
    s->rebuild->stream = s;
    s->rebuild->dedupe_ms = s->config->is.dedupe_ms;
    s->rebuild->since_ns = now_ns - (int64_t)(s->config->is.dedupe_ms * 1000000);
    if (s->n_batches == 0 && s->gathering == NULL) {
        cat_rebuild_go_on(s);
    }
    return s->rebuild == NULL;
}

void cat_rebuild_cancel(struct stream *s)
{
    if (s->rebuild != NULL) {
        s->log->ops->cancel(s->log, &s->rebuild->read);
        free(s->rebuild);
        s->rebuild = NULL;
        s->dedupe_stale = true;
    }
}
