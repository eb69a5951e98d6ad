#include "fixture.h"

struct fixture f;
struct chassis_error change_err;
static unsigned turns;

static int64_t wall_ns(void *data)
{
    return chassis_wall_ns(f.clock);
}

void fixture_call(void (*fn)(void *data), void *data)
{
    chassis_sim_call(f.rig.options.owner, fn, data);
}

void fixture_run_ms(uint64_t ms)
{
    rig_run(&f.rig, ms * CHASSIS_NS_PER_MS);
}

static void open_now(void *data)
{
    f.broker = NULL;
    f.rc = cat_broker_open(&f.options, &f.broker, &f.rig.err);
}

int fixture_open(void)
{
    f.rig.options.sync_interval_ms = 100;
    f.rig.options.live_percent = 50;
    int rc = rig_open(&f.rig);
    if (rc < 0) {
        return rc;
    }
    f.clock = chassis_sim_clock(f.rig.host);
    const struct cat_broker_options before = f.options;
    f.options = (struct cat_broker_options){
        .journal = f.rig.journal,
        .loop = f.rig.options.owner,
        .workers = chassis_sim_executor(f.rig.host, "worker", 100000),
        .log = f.rig.options.log,
        .wall_ns = wall_ns,
        .publish_bytes_max = before.publish_bytes_max,
        .engine = before.engine,
    };
    fixture_call(open_now, NULL);
    return f.rc;
}

int fixture_try_begin(uint64_t seed, uint64_t segment_bytes)
{
    memset(&f, 0, sizeof f);
    turns = 0;
    rig_init(&f.rig, seed, segment_bytes);
    return fixture_open();
}

void fixture_begin(uint64_t seed, uint64_t segment_bytes)
{
    assert_int_equal(fixture_try_begin(seed, segment_bytes), 0);
}

void fixture_end(void)
{
    chassis_sim_host_crash(f.rig.host, false);
    chassis_journal_abandon(f.rig.journal);
    cat_broker_abandon(f.broker);
    chassis_sim_free(f.rig.sim);
}

static void on_closed(void *data)
{
    f.closed = true;
}

static void close_now(void *data)
{
    cat_broker_close(f.broker, on_closed, NULL);
}

static bool is_closed(void *data)
{
    return f.closed;
}

static void crash_and_open(bool power)
{
    chassis_sim_host_crash(f.rig.host, power);
    chassis_journal_abandon(f.rig.journal);
    cat_broker_abandon(f.broker);
    if (fixture_open() != 0) {
        fail_msg("%s", f.rig.err.text);
    }
}

void fixture_kill(void)
{
    crash_and_open(false);
}

void fixture_reopen(bool crash)
{
    if (crash) {
        crash_and_open(true);
        return;
    }
    f.closed = false;
    fixture_call(close_now, NULL);
    assert_true(chassis_sim_run(f.rig.sim, 60 * CHASSIS_NS_PER_S, is_closed, NULL));
    rig_close(&f.rig);
    if (fixture_open() != 0) {
        fail_msg("%s", f.rig.err.text);
    }
}

/* ---- publishing ---- */

static void on_done(struct cat_publish *publish)
{
    struct post *post = chassis_container_of(publish, struct post, publish);
    assert_false(post->done);
    post->done = true;
    post->turn = ++turns;
}

static void on_refused(struct cat_publish *publish, uint32_t event, const char *text)
{
    struct post *post = chassis_container_of(publish, struct post, publish);
    assert_false(post->done);
    snprintf(post->why[event], sizeof post->why[event], "%s", text);
}

struct post *post_new(const char *stream)
{
    struct post *post = calloc(1, sizeof *post);
    snprintf(post->stream, sizeof post->stream, "%s", stream);
    post->publish.stream = chassis_view_str(post->stream);
    post->publish.events = post->events;
    post->publish.refused = on_refused;
    post->publish.done = on_done;
    return post;
}

void post_free(struct post *post)
{
    for (uint32_t i = 0; i < post->publish.n_events; i++) {
        chassis_buf_fini(&post->bytes[i]);
    }
    free(post);
}

void post_add(struct post *post, const char *id, const char *type,
              const struct cat_attribute *attributes, size_t n)
{
    uint32_t i = post->publish.n_events++;
    assert_true(i < EVENTS_MAX);
    struct cat_event_parts parts = {
        .id = chassis_view_str(id),
        .source = chassis_view_str("/test"),
        .type = chassis_view_str(type != NULL ? type : "a.b"),
        .attributes = attributes,
        .attribute_count = n,
        .data_kind = CAT_DATA_TEXT,
        .data = chassis_view_str("data"),
    };
    cat_event_build(&parts, &post->bytes[i]);
    struct chassis_error err = {0};
    int rc = cat_event_parse(chassis_buf_view(&post->bytes[i]), &post->events[i].event, &err);
    if (rc != 0) {
        fail_msg("%s", err.text);
    }
}

static void send_now(void *data)
{
    struct post *post = data;
    cat_publish(f.broker, &post->publish);
}

void post_send(struct post *post)
{
    fixture_call(send_now, post);
}

static bool post_is_done(void *data)
{
    return ((struct post *)data)->done;
}

void post_wait(struct post *post)
{
    assert_true(chassis_sim_run(f.rig.sim, 10 * CHASSIS_NS_PER_S, post_is_done, post));
}

int post_one(const char *stream, const char *id, uint64_t *ret_sequence)
{
    struct post *post = post_new(stream);
    post_add(post, id, NULL, NULL, 0);
    post_send(post);
    post_wait(post);
    int rc = post->publish.status != 0 ? post->publish.status : post->events[0].status;
    if (ret_sequence != NULL) {
        *ret_sequence = post->events[0].sequence;
    }
    post_free(post);
    return rc;
}

void publish_many(const char *stream, unsigned first, unsigned n, unsigned batch)
{
    for (unsigned i = 0; i < n; i += batch) {
        struct post *post = post_new(stream);
        for (unsigned k = i; k < i + batch && k < n; k++) {
            char id[16];
            snprintf(id, sizeof id, "%u", first + k);
            post_add(post, id, NULL, NULL, 0);
        }
        post_send(post);
        post_wait(post);
        assert_int_equal(post->publish.status, 0);
        post_free(post);
    }
}

/* ---- reading ---- */

static int seen_event(void *data, struct chassis_view stream, const struct cat_log_event *stored,
                      const struct cat_event *event)
{
    struct seen *s = data;
    assert_int_equal(s->ended, 0);
    if (s->room == 0) {
        return 1;
    }
    s->room--;
    assert_true(s->n < 4096);
    snprintf(s->ids[s->n], TEXT_MAX, "%.*s", CHASSIS_VIEW_ARG(event->id));
    s->times[s->n] = stored->time_ns;
    s->sequences[s->n++] = stored->sequence;
    return 0;
}

static void seen_pause(void *data, uint64_t next)
{
    struct seen *s = data;
    s->pauses++;
    s->next = next;
}

static void seen_gap(void *data, struct chassis_view stream, uint64_t from, uint64_t to)
{
    struct seen *s = data;
    s->gaps++;
    s->gap_from = from;
    snprintf(s->gap_stream, sizeof s->gap_stream, "%.*s", CHASSIS_VIEW_ARG(stream));
    s->gap_to = to;
}

static void seen_ended(void *data, int status, const struct chassis_error *err)
{
    struct seen *s = data;
    assert_int_equal(s->ended, 0);
    s->ended = status;
    s->err = *err;
}

static void seen_open_now(void *data)
{
    struct seen *s = data;
    static const struct cat_reader_ops ops = {seen_event, seen_pause, seen_gap, seen_ended};
    s->options.ops = &ops;
    s->options.data = s;
    s->rc = cat_reader_open(f.broker, &s->options, &s->reader, &s->err);
    if (s->rc == 0) {
        cat_reader_wake(s->reader);
    }
}

struct seen *seen_open(const char *stream, struct cat_start start, unsigned room)
{
    struct seen *s = calloc(1, sizeof *s);
    snprintf(s->stream, sizeof s->stream, "%s", stream);
    s->options.stream = chassis_view_str(s->stream);
    s->options.start = start;
    s->room = room;
    fixture_call(seen_open_now, s);
    return s;
}

static void seen_wake_now(void *data)
{
    cat_reader_wake(((struct seen *)data)->reader);
}

void seen_more(struct seen *s, unsigned room)
{
    s->room = room;
    fixture_call(seen_wake_now, s);
}

static void seen_close_now(void *data)
{
    cat_reader_close(((struct seen *)data)->reader);
}

void seen_close(struct seen *s)
{
    if (s->rc == 0 && s->reader != NULL) {
        fixture_call(seen_close_now, s);
    }
    free(s);
}

struct enough {
    struct seen *seen;
    unsigned n;
};

static bool seen_enough(void *data)
{
    struct enough *e = data;
    return e->seen->n >= e->n;
}

bool seen_wait(struct seen *s, unsigned n)
{
    struct enough e = {s, n};
    return chassis_sim_run(f.rig.sim, 10 * CHASSIS_NS_PER_S, seen_enough, &e) && s->n == n;
}

/* ---- streams ---- */

struct cat_stream_config named(const char *name)
{
    return (struct cat_stream_config){.name = chassis_view_str(name)};
}

struct change {
    const struct cat_stream_config *config;
    const char *name;
    uint64_t keep_from, keep_events, purged;
    int kind, status;
    bool done;
};

static void on_change(void *data, int status, const struct chassis_error *err)
{
    struct change *c = data;
    assert_false(c->done);
    c->done = true;
    c->status = status;
    if (status != 0) {
        change_err = *err;
    }
}

static void on_purged(void *data, int status, uint64_t purged, const struct chassis_error *err)
{
    ((struct change *)data)->purged = purged;
    on_change(data, status, err);
}

static void change_now(void *data)
{
    struct change *c = data;
    switch (c->kind) {
    case 0:
        cat_stream_create(f.broker, c->config, on_change, c);
        break;
    case 1:
        cat_stream_update(f.broker, c->config, on_change, c);
        break;
    case 2:
        cat_stream_delete(f.broker, chassis_view_str(c->name), on_change, c);
        break;
    default:
        cat_stream_purge(f.broker, chassis_view_str(c->name), c->keep_from, c->keep_events,
                         on_purged, c);
    }
}

static bool change_is_done(void *data)
{
    return ((struct change *)data)->done;
}

static int change(struct change *c)
{
    chassis_error_clear(&change_err);
    fixture_call(change_now, c);
    assert_true(chassis_sim_run(f.rig.sim, 10 * CHASSIS_NS_PER_S, change_is_done, c));
    return c->status;
}

int stream_create(const struct cat_stream_config *config)
{
    struct change c = {.kind = 0, .config = config};
    return change(&c);
}

int stream_update(const struct cat_stream_config *config)
{
    struct change c = {.kind = 1, .config = config};
    return change(&c);
}

int stream_delete(const char *name)
{
    struct change c = {.kind = 2, .name = name};
    return change(&c);
}

int stream_purge(const char *name, uint64_t keep_from, uint64_t keep_events, uint64_t *ret_purged)
{
    struct change c = {.kind = 3, .name = name, .keep_from = keep_from, .keep_events = keep_events};
    int rc = change(&c);
    if (ret_purged != NULL) {
        *ret_purged = c.purged;
    }
    return rc;
}

struct get {
    const char *name;
    struct cat_stream_info *info;
    int rc;
};

static void get_now(void *data)
{
    struct get *g = data;
    g->rc = cat_stream_get(f.broker, chassis_view_str(g->name), g->info, &f.rig.err);
}

int stream_get(const char *name, struct cat_stream_info *ret_info)
{
    struct get g = {name, ret_info, 0};
    fixture_call(get_now, &g);
    return g.rc;
}
