/* Events by sequence, and what a start means as a sequence. */
#include <stdlib.h>

#include "catalyst/broker/internal.h"

enum { FETCH_BYTES = 256 << 10 };

static struct stream *stream_of(const struct cat_fetch *fetch)
{
    return fetch->broker;
}

static void finish(struct cat_fetch *fetch, int status, const struct chassis_error *err)
{
    struct stream *s = stream_of(fetch);
    if (s != NULL) {
        chassis_list_remove(&fetch->link);
        s->log->ops->cancel(s->log, &fetch->read);
        s->broker->n_reading--;
        cat_broker_close_if_idle(s->broker);
    }
    fetch->broker = NULL;
    fetch->done(fetch, status, fetch->next, err);
}

static int on_event(struct cat_read *read, const struct cat_log_event *stored)
{
    struct cat_fetch *fetch = chassis_container_of(read, struct cat_fetch, read);
    if (fetch->sequences != NULL) {
        while (fetch->place < fetch->n_sequences &&
               fetch->sequences[fetch->place] < stored->sequence) {
            fetch->place++; /* it is gone */
        }
        if (fetch->place == fetch->n_sequences ||
            fetch->sequences[fetch->place] != stored->sequence) {
            return -1; /* a hole: the next read begins behind it */
        }
    }
    size_t len = stored->bytes.len;
    if (fetch->place != 0 && len > fetch->bytes_left) {
        fetch->bytes_left = 0;
        return -1;
    }
    fetch->bytes_left -= len < fetch->bytes_left ? len : fetch->bytes_left;
    fetch->place++;
    fetch->next = stored->sequence + 1;
    fetch->event(fetch, stored);
    return 0;
}

/* How many are wanted in a row, from which one on; 0 = no more. */
static uint32_t wanted(struct cat_fetch *fetch, const struct stream *s, uint64_t *ret_from)
{
    if (fetch->bytes_left == 0) {
        return 0;
    }
    if (fetch->sequences == NULL) {
        *ret_from = fetch->next > s->first ? fetch->next : s->first;
        return *ret_from <= s->readable ? fetch->events_max - fetch->place : 0;
    }
    while (fetch->place < fetch->n_sequences && fetch->sequences[fetch->place] < s->first) {
        fetch->place++;
    }
    if (fetch->place == fetch->n_sequences || fetch->sequences[fetch->place] > s->readable) {
        return 0;
    }
    uint32_t n = 1, left = fetch->n_sequences - fetch->place;
    const uint64_t *sequences = fetch->sequences + fetch->place;
    while (n < left && sequences[n] == sequences[0] + n) {
        n++;
    }
    *ret_from = sequences[0];
    return n;
}

static void go_on(struct cat_fetch *fetch);

static void on_done(struct cat_read *read, int status, uint64_t next,
                    const struct chassis_error *err)
{
    struct cat_fetch *fetch = chassis_container_of(read, struct cat_fetch, read);
    struct stream *s = stream_of(fetch);
    if (status == CHASSIS_NOT_FOUND && s->first < next) {
        s->first = next;
    } else if (status < 0 && fetch->busy) {
        fetch->status = status;
        fetch->err = *err;
    } else if (status < 0) {
        finish(fetch, status, err);
        return;
    }
    fetch->again = true;
    if (!fetch->busy) {
        go_on(fetch);
    }
}

/* Reads that are done at once come round in this loop, not deeper and deeper. */
static void go_on(struct cat_fetch *fetch)
{
    struct stream *s = stream_of(fetch);
    fetch->busy = true;
    do {
        uint64_t from = 0;
        uint32_t n = fetch->status == 0 ? wanted(fetch, s, &from) : 0;
        fetch->again = false;
        if (n == 0) {
            struct chassis_error err = fetch->err; /* `done` may free the fetch */
            finish(fetch, fetch->status, fetch->status < 0 ? &err : NULL);
            return;
        }
        fetch->read.from = from;
        fetch->read.events_max = n;
        fetch->read.bytes_max = fetch->bytes_left < FETCH_BYTES ? fetch->bytes_left : FETCH_BYTES;
        fetch->read.event = on_event;
        fetch->read.done = on_done;
        s->log->ops->read(s->log, &fetch->read);
    } while (fetch->again);
    fetch->busy = false;
}

void cat_fetch(struct cat_broker *b, struct cat_fetch *fetch)
{
    struct chassis_error err = {0};
    struct stream *s = cat_model_open_stream(b, fetch->stream);
    memset(&fetch->read, 0, sizeof fetch->read);
    fetch->place = 0;
    fetch->next = fetch->from;
    fetch->bytes_left = fetch->bytes_max != 0 ? fetch->bytes_max : SIZE_MAX;
    fetch->busy = fetch->again = false;
    fetch->status = 0;
    fetch->broker = NULL;
    if (s == NULL || b->closing) {
        int rc = s == NULL
                     ? cat_stream_missing(b, fetch->stream, &err)
                     : chassis_error_set(&err, CHASSIS_SHUTTING_DOWN, "the broker is closing");
        fetch->done(fetch, rc, fetch->next, &err);
        return;
    }
    fetch->broker = s;
    b->n_reading++;
    chassis_list_init(&fetch->link);
    chassis_list_append(&s->fetches, &fetch->link);
    go_on(fetch);
}

void cat_fetches_end(struct stream *s, int status, const struct chassis_error *err)
{
    while (!chassis_list_empty(&s->fetches)) {
        struct cat_fetch *fetch = chassis_list_entry(s->fetches.next, struct cat_fetch, link);
        finish(fetch, status, err);
    }
}

/* ---- places ---- */

struct resolving {
    struct cat_broker *broker;
    uint32_t number;
    void (*resolved)(void *data, int status, uint64_t sequence, const struct chassis_error *err);
    void *data;
};

static void on_place(void *data, int status, uint64_t sequence)
{
    struct resolving *r = data;
    const struct stream *s = cat_model_by_number(r->broker, r->number);
    struct chassis_error err = {0};
    if (status < 0 && status != CHASSIS_NOT_FOUND) {
        chassis_error_code(&err, status, "look for the first event at a time");
    } else if (s == NULL) {
        status = chassis_error_set(&err, CHASSIS_NOT_FOUND, "the stream was deleted");
    } else {
        sequence =
            status == CHASSIS_NOT_FOUND || sequence > s->readable + 1 ? s->readable + 1 : sequence;
        sequence = sequence < s->first ? s->first : sequence;
        status = 0;
    }
    r->broker->n_reading--;
    cat_broker_close_if_idle(r->broker);
    r->resolved(r->data, status, sequence, status < 0 ? &err : NULL);
    free(r);
}

void cat_resolve(struct cat_broker *b, struct chassis_view stream, struct cat_start start,
                 void (*resolved)(void *data, int status, uint64_t sequence,
                                  const struct chassis_error *err),
                 void *data)
{
    struct chassis_error err = {0};
    struct stream *s = cat_model_open_stream(b, stream);
    if (s == NULL) {
        resolved(data, cat_stream_missing(b, stream, &err), 0, &err);
        return;
    }
    switch (start.kind) {
    case CAT_START_NEW:
        resolved(data, 0, s->readable + 1, NULL);
        break;
    case CAT_START_EARLIEST:
        resolved(data, 0, s->first, NULL);
        break;
    case CAT_START_SEQUENCE:
        resolved(data, 0, start.sequence != 0 ? start.sequence : 1, NULL);
        break;
    case CAT_START_TIME: {
        struct resolving *r = chassis_base_zalloc(sizeof *r);
        *r = (struct resolving){b, s->number, resolved, data};
        b->n_reading++;
        s->log->ops->at_time(s->log, start.time_ns, on_place, r);
        break;
    }
    }
}
