/* dctl events produce: events from options, files or standard input, acknowledged in order. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "connect.h"
#include "event.h"
#include "meter.h"

typedef Draft__Events__V1__PublishRequest publish_request;
typedef Draft__Events__V1__PublishResponse publish_response;

enum { BATCH_MAX = 1000, OUTSTANDING_MAX = 1024, WAIT_MS = 200, ID_MAX = 256 };

static const struct dctl_column columns[] = {{"ID", "id", 36},
                                             {"SEQUENCE", "sequence", 10},
                                             {"ACCEPTED", "accepted", 8},
                                             {"DUPLICATES", "duplicates", 10},
                                             {"REFUSED", "refused", 0},
                                             {0}};

/* Main thread: the batch being filled. Both: what the meter's mutex guards. */
struct producing {
    struct dctl *d;
    struct dctl_duplex *stream;
    struct chassis_arena arena; /* of the batch */
    cloud_event **events;
    size_t n_events, batch_max;
    char *stream_name;
    uint64_t sent; /* batches */
    bool broken;
    struct dctl_meter meter; /* its mutex guards what follows */
    uint64_t answered;
    uint64_t refused;
    char ids[OUTSTANDING_MAX][ID_MAX]; /* of the last event of each batch under way */
    uint64_t bytes[OUTSTANDING_MAX];
    bool quiet;
};

static void show_refusals(struct producing *p, const publish_response *res)
{
    for (size_t i = 0; i < res->n_refusals; i++) {
        fprintf(p->d->err, "dctl: event '%s' was refused: %s\n", res->refusals[i]->id,
                res->refusals[i]->text);
    }
    p->refused += res->n_refusals;
}

static bool on_answer(struct dctl_follower *f, const void *message, struct chassis_view encoded)
{
    const publish_response *res = message;
    struct producing *p = f->data;
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    dctl_meter_begin(&p->meter);
    show_refusals(p, res);
    unsigned slot = (unsigned)(p->answered % OUTSTANDING_MAX);
    if (!p->quiet) {
        struct dctl_node *row = dctl_map(&arena);
        dctl_add_text(&arena, row, "id", p->ids[slot]);
        dctl_add_u64(&arena, row, "sequence", res->last_sequence);
        dctl_add_u64(&arena, row, "accepted", res->accepted);
        dctl_add_u64(&arena, row, "duplicates", res->duplicates);
        dctl_add_u64(&arena, row, "refused", res->n_refusals);
        dctl_print_next(p->d, row, columns);
    }
    p->answered++;
    dctl_meter_end(&p->meter, res->accepted, p->bytes[slot]);
    chassis_arena_fini(&arena);
    dctl_duplex_poke(f->duplex);
    return true;
}

static uint64_t under_way(struct producing *p)
{
    pthread_mutex_lock(&p->meter.mutex);
    uint64_t n = p->sent - p->answered;
    pthread_mutex_unlock(&p->meter.mutex);
    return n;
}

/* Send the batch; waits while too many are under way. False when the stream is over. */
static bool flush(struct producing *p)
{
    publish_request req = DRAFT__EVENTS__V1__PUBLISH_REQUEST__INIT;
    Core__MessageBroker__Actors__V1__CloudEventBatch batch =
        CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT_BATCH__INIT;
    if (p->n_events == 0 || p->broken) {
        return !p->broken;
    }
    while (under_way(p) == OUTSTANDING_MAX && !p->broken) {
        p->broken = !dctl_duplex_wait(p->stream, WAIT_MS);
        dctl_meter_show(&p->meter);
    }
    batch.events = p->events;
    batch.n_events = p->n_events;
    req.stream = p->stream_name != NULL ? p->stream_name : req.stream;
    req.batch = &batch;
    req.request = p->sent + 1;
    pthread_mutex_lock(&p->meter.mutex);
    unsigned slot = (unsigned)(p->sent++ % OUTSTANDING_MAX);
    snprintf(p->ids[slot], ID_MAX, "%s", p->events[p->n_events - 1]->id);
    p->bytes[slot] = chassis_message_size(&batch.base);
    pthread_mutex_unlock(&p->meter.mutex);
    p->broken = p->broken || !dctl_duplex_send(p->stream, &req);
    p->n_events = 0;
    chassis_arena_fini(&p->arena);
    chassis_arena_init(&p->arena, NULL, 0, 0);
    return !p->broken;
}

/* One event, of an input that is data when --type is given, else the event itself. */
static int add_event(struct producing *p, struct chassis_view input, struct chassis_error *err)
{
    cloud_event *e;
    bool whole = dctl_string(p->d, "type") == NULL;
    int rc = whole ? dctl_event_parse(p->d, &p->arena, input, &e, err)
                   : dctl_event_of_data(p->d, &p->arena, input, &e, err);
    if (rc != 0) {
        return rc;
    }
    p->events[p->n_events++] = e;
    if (p->n_events == p->batch_max && !flush(p)) {
        return CHASSIS_UNAVAILABLE; /* why is in the stream's status */
    }
    return 0;
}

/* Every JSON value of a text that holds whole events; a list is a batch of them. */
static int add_all(struct producing *p, struct chassis_view text, struct chassis_error *err)
{
    size_t n = 0;
    for (;;) {
        struct chassis_view value = dctl_json_next(&text);
        if (value.len == 0) {
            return n != 0 ? 0 : chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "no event");
        }
        n++;
        if (value.data[0] == '[' && value.len >= 2) {
            struct chassis_view list = chassis_view(value.data + 1, value.len - 2);
            int rc = 0;
            while (rc == 0 && (value = dctl_json_next(&list)).len != 0) {
                rc = value.len == 1 && value.data[0] == ',' ? 0 : add_event(p, value, err);
            }
            if (rc != 0) {
                return rc;
            }
        } else {
            int rc = add_event(p, value, err);
            if (rc != 0) {
                return chassis_error_wrap(err, "event %zu", n);
            }
        }
    }
}

static int produce_argument(struct producing *p, const char *argument, struct chassis_error *err)
{
    struct chassis_view text;
    int rc = dctl_read_input(p->d, argument, &text, err);
    if (rc != 0) {
        return rc;
    }
    return dctl_string(p->d, "type") != NULL ? add_event(p, text, err) : add_all(p, text, err);
}

/* Standard input, line by line: each is sent when it is read. */
static int produce_lines(struct producing *p, struct chassis_error *err)
{
    char *line = NULL;
    size_t cap = 0, number = 0;
    ssize_t len;
    int rc = 0;
    while (rc == 0 && (len = getline(&line, &cap, stdin)) >= 0) {
        number++;
        while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r')) {
            len--;
        }
        if (len > 0) {
            rc = add_event(p, chassis_view(line, (size_t)len), err);
        }
        dctl_meter_show(&p->meter);
    }
    free(line);
    return rc == 0 || err->code == 0 ? rc : chassis_error_wrap(err, "line %zu", number);
}

/* Everything that was asked for, --count times. */
static int produce_all(struct producing *p, int argc, char **argv, struct chassis_error *err)
{
    const char *data;
    uint64_t times = dctl_number(p->d, "count", 1);
    bool given = argc != 0 || dctl_string(p->d, "data") != NULL;
    if (!given && (dctl_string(p->d, "count") == NULL || !isatty(STDIN_FILENO))) {
        return produce_lines(p, err);
    }
    int rc = 0;
    for (uint64_t i = 0; rc == 0 && i < times; i++) {
        if (!given) {
            rc = add_event(p, chassis_view(NULL, 0), err);
        }
        for (int k = 0; rc == 0 && k < argc; k++) {
            rc = produce_argument(p, argv[k], err);
        }
        for (unsigned k = 0; rc == 0 && (data = dctl_repeated(p->d, "data", k)) != NULL; k++) {
            rc = produce_argument(p, data, err);
        }
    }
    return rc;
}

static int finish(struct producing *p, int rc, struct chassis_error *err)
{
    if (rc == 0) {
        flush(p);
    }
    while (!p->broken && under_way(p) != 0) {
        p->broken = !dctl_duplex_wait(p->stream, WAIT_MS);
        dctl_meter_show(&p->meter);
    }
    uint64_t lost = under_way(p);
    struct chassis_error status = {0};
    int ended = dctl_duplex_close(p->stream, false, &status);
    dctl_meter_fini(&p->meter);
    bool local = rc != 0 && err->code != 0;
    if (local) {
        return rc;
    }
    if (ended != 0 || lost != 0) {
        chassis_error_set(err, ended != 0 ? ended : CHASSIS_UNAVAILABLE, "%s",
                          ended != 0 ? chassis_error_text(&status) : "the server ended the stream");
        return chassis_error_wrap(err, "%llu batches were not acknowledged",
                                  (unsigned long long)lost);
    }
    return 0;
}

int dctl_events_produce(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    uint64_t batch_max = dctl_number(d, "batch", 1);
    const char *stream = dctl_string(d, "stream");
    if (batch_max == 0 || batch_max > BATCH_MAX) {
        return dctl_usage(d, "--batch is 1 to %d", BATCH_MAX);
    }
    if (dctl_string(d, "id") != NULL && dctl_number(d, "count", 1) != 1) {
        return dctl_usage(d, "--id is of one event, and --count makes several");
    }
    if (dctl_events_client(d, &err) == NULL) {
        return dctl_fail(d, &err);
    }
    struct producing *p = chassis_arena_zalloc(&d->arena, sizeof *p);
    p->d = d;
    p->batch_max = (size_t)batch_max;
    p->events = chassis_arena_alloc(&d->arena, (size_t)batch_max * sizeof *p->events);
    p->stream_name = stream != NULL ? chassis_arena_strdup(&d->arena, stream) : NULL;
    p->quiet = dctl_flag(d, "quiet");
    chassis_arena_init(&p->arena, NULL, 0, 0);
    dctl_meter_init(&p->meter, d, "produced");
    struct dctl_follower follower = {.message = on_answer, .d = d, .data = p};
    struct chassis_call_options options = dctl_call_options(d, 0);
    int rc = dctl_duplex_open(d, &events_event_service_publish_stream_method, &options, &follower,
                              &p->stream, &err);
    if (rc != 0) {
        return dctl_fail(d, &err);
    }
    rc = produce_all(p, argc, argv, &err);
    rc = finish(p, rc, &err);
    chassis_arena_fini(&p->arena);
    if (rc != 0) {
        int code = dctl_fail(d, &err);
        return rc == CHASSIS_INVALID_ARGUMENT || rc == CHASSIS_MALFORMED ? DCTL_USAGE : code;
    }
    return p->refused != 0 ? DCTL_FAILED : DCTL_OK;
}
