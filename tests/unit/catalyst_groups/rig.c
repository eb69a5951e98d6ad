#include "rig.h"

struct world w;

static int64_t wall_ns(void *data)
{
    return INT64_C(1700000000000000000) + (int64_t)chassis_sim_now_ns(w.rig.sim);
}

static int make_filter(struct chassis_view encoded, struct cat_filter **ret_filter,
                       struct chassis_error *err)
{
    return cat_filter_compile_json(encoded, ret_filter, err);
}

static void on_push(void *data, struct chassis_view stream, struct chassis_view name,
                    const struct cat_group_config *config)
{
    w.pushes++;
    snprintf(w.pushed, sizeof w.pushed, "%.*s",
             CHASSIS_VIEW_ARG(config != NULL ? config->push.url : chassis_view_str("gone")));
}

static void call(void (*fn)(void *data), void *data)
{
    chassis_sim_call(w.rig.options.owner, fn, data);
}

static void open_now(void *data)
{
    struct cat_broker_options broker = {.journal = w.rig.journal,
                                        .loop = w.rig.options.owner,
                                        .workers = w.worker,
                                        .log = chassis_log_module("broker"),
                                        .wall_ns = wall_ns};
    w.rc = cat_broker_open(&broker, &w.broker, &w.err);
    if (w.rc == 0) {
        struct cat_groups_options groups = {.broker = w.broker,
                                            .loop = w.rig.options.owner,
                                            .log = chassis_log_module("groups"),
                                            .wall_ns = wall_ns,
                                            .filter = make_filter,
                                            .push = on_push,
                                            .entries_max = w.entries_max};
        w.rc = cat_groups_open(&groups, &w.groups, &w.err);
    }
}

static void open_all(void)
{
    w.worker = chassis_sim_executor(w.rig.host, "worker", 100000);
    call(open_now, NULL);
    if (w.rc != 0) {
        fail_msg("open: %s", w.err.text);
    }
}

void world_init(uint64_t seed)
{
    memset(&w, 0, sizeof w);
    rig_init(&w.rig, seed, 1 << 20);
    assert_int_equal(rig_open(&w.rig), 0);
    open_all();
}

/* The journal first: it still looks at appends that lie in the others' memory. */
static void abandon(void)
{
    chassis_journal_abandon(w.rig.journal);
    cat_groups_abandon(w.groups);
    cat_broker_abandon(w.broker);
    w.groups = NULL;
    w.broker = NULL;
}

void world_fini(void)
{
    chassis_sim_host_crash(w.rig.host, false);
    abandon();
    chassis_sim_free(w.rig.sim);
}

void world_crash(bool power)
{
    chassis_sim_host_crash(w.rig.host, power);
    abandon();
    assert_int_equal(rig_open(&w.rig), 0);
    open_all();
}

void world_run(uint64_t ms)
{
    rig_run(&w.rig, ms * MS);
}

static bool is_done(void *data)
{
    return w.done;
}

void world_wait(void)
{
    assert_true(chassis_sim_run(w.rig.sim, 60 * CHASSIS_NS_PER_S, is_done, NULL));
}

static void on_closed(void *data)
{
    w.done = true;
}
static void close_groups(void *data)
{
    cat_groups_close(w.groups, on_closed, NULL);
}
static void close_broker(void *data)
{
    cat_broker_close(w.broker, on_closed, NULL);
}

void world_restart(void)
{
    w.done = false;
    call(close_groups, NULL);
    world_wait();
    w.done = false;
    call(close_broker, NULL);
    world_wait();
    rig_close(&w.rig);
    chassis_sim_host_crash(w.rig.host, false);
    assert_int_equal(rig_open(&w.rig), 0);
    open_all();
}

/* ---- calls that end in w.done ---- */

static void on_done(void *data, int status, const struct chassis_error *err)
{
    w.done = true;
    w.rc = status;
    chassis_error_clear(&w.err);
    if (status != 0) {
        assert_non_null(err);
        w.err = *err;
    }
}
static void on_count(void *data, int status, uint64_t count, const struct chassis_error *err)
{
    on_done(data, status, err);
    w.count = count;
}

struct request {
    void (*stream_change)(struct cat_broker *broker, const struct cat_stream_config *config,
                          cat_done_cb done, void *data);
    const struct cat_stream_config *stream_config;
    void (*group_change)(struct cat_groups *groups, const struct cat_group_config *config,
                         cat_done_cb done, void *data);
    const struct cat_group_config *group_config;
    const char *stream, *group;
    struct cat_start start;
    const uint64_t *sequences;
    uint32_t n;
    uint64_t number;
};

static int request(void (*fn)(void *data), struct request *r)
{
    w.done = false;
    call(fn, r);
    world_wait();
    return w.rc;
}

static void stream_now(void *data)
{
    struct request *r = data;
    r->stream_change(w.broker, r->stream_config, on_done, NULL);
}
int make_stream(const struct cat_stream_config *config)
{
    return request(stream_now,
                   &(struct request){.stream_change = cat_stream_create, .stream_config = config});
}

static void group_now(void *data)
{
    struct request *r = data;
    r->group_change(w.groups, r->group_config, on_done, NULL);
}
int make_group(const struct cat_group_config *config)
{
    return request(group_now,
                   &(struct request){.group_change = cat_group_create, .group_config = config});
}
int update_group(const struct cat_group_config *config)
{
    return request(group_now,
                   &(struct request){.group_change = cat_group_update, .group_config = config});
}

static void delete_group_now(void *data)
{
    struct request *r = data;
    cat_group_delete(w.groups, V(r->stream), V(r->group), on_done, NULL);
}
int delete_group(const char *stream, const char *group)
{
    return request(delete_group_now, &(struct request){.stream = stream, .group = group});
}
static void delete_stream_now(void *data)
{
    struct request *r = data;
    cat_stream_delete(w.broker, V(r->stream), on_done, NULL);
}
int delete_stream(const char *stream)
{
    return request(delete_stream_now, &(struct request){.stream = stream});
}
static void purge_now(void *data)
{
    struct request *r = data;
    cat_stream_purge(w.broker, V(r->stream), r->number, 0, on_count, NULL);
}
int purge_stream(const char *stream, uint64_t keep_from)
{
    return request(purge_now, &(struct request){.stream = stream, .number = keep_from});
}
static void seek_now(void *data)
{
    struct request *r = data;
    cat_group_seek(w.groups, V(r->stream), V(r->group), r->start, on_done, NULL);
}
int seek_group(const char *stream, const char *group, struct cat_start start)
{
    return request(seek_now, &(struct request){.stream = stream, .group = group, .start = start});
}
static void replay_now(void *data)
{
    struct request *r = data;
    cat_dead_letter_replay(w.groups, V(r->stream), V(r->group), r->sequences, r->n, on_count, NULL);
}
int replay(const char *stream, const char *group, const uint64_t *sequences, uint32_t n)
{
    return request(
        replay_now,
        &(struct request){.stream = stream, .group = group, .sequences = sequences, .n = n});
}
static void purge_letters_now(void *data)
{
    struct request *r = data;
    cat_dead_letter_purge(w.groups, V(r->stream), V(r->group), r->number, on_count, NULL);
}
int purge_letters(const char *stream, const char *group, uint64_t through)
{
    return request(purge_letters_now,
                   &(struct request){.stream = stream, .group = group, .number = through});
}

struct info_request {
    const char *stream, *group;
    struct cat_group_info group_info;
    struct cat_stream_info stream_info;
};
static void group_info_now(void *data)
{
    struct info_request *r = data;
    w.rc = cat_group_get(w.groups, V(r->stream), V(r->group), &r->group_info, &w.err);
}
struct cat_group_info group_info(const char *stream, const char *group)
{
    struct info_request r = {.stream = stream, .group = group};
    call(group_info_now, &r);
    return r.group_info;
}
static void stream_info_now(void *data)
{
    struct info_request *r = data;
    w.rc = cat_stream_get(w.broker, V(r->stream), &r->stream_info, &w.err);
}
struct cat_stream_info stream_info(const char *stream)
{
    struct info_request r = {.stream = stream};
    call(stream_info_now, &r);
    return r.stream_info;
}

/* ---- publishing ---- */

struct publishing {
    struct cat_publish base;
    struct chassis_buf *bytes;
};

static void on_published(struct cat_publish *publish)
{
    w.done = true;
    w.rc = publish->status;
    w.err = publish->err;
}
static void publish_now(void *data)
{
    cat_publish(w.broker, data);
}

int publish(const char *stream, const char *prefix, unsigned n, const char *subject,
            const struct cat_attribute *more, size_t n_more)
{
    struct cat_publish p = {.stream = V(stream), .n_events = n, .done = on_published};
    struct chassis_buf *bytes = calloc(n, sizeof *bytes);
    struct cat_attribute attributes[8] = {{V("subject"), cat_value_string(V(subject))}};
    size_t first = subject != NULL ? 0 : 1;
    for (size_t i = 0; i < n_more; i++) {
        attributes[1 + i] = more[i];
    }
    p.events = calloc(n, sizeof *p.events);
    for (unsigned i = 0; i < n; i++) {
        char id[TEXT_MAX];
        snprintf(id, sizeof id, "%s%u", prefix, i + 1);
        struct cat_event_parts parts = {.id = V(id),
                                        .source = V("/test"),
                                        .type = V("test.event"),
                                        .attributes = attributes + first,
                                        .attribute_count = 1 - first + n_more,
                                        .data_kind = CAT_DATA_TEXT,
                                        .data = V("data")};
        cat_event_build(&parts, &bytes[i]);
        if (cat_event_parse(chassis_buf_view(&bytes[i]), &p.events[i].event, &w.err) != 0) {
            fail_msg("%s", w.err.text);
        }
    }
    w.done = false;
    call(publish_now, &p);
    world_wait();
    for (unsigned i = 0; i < n; i++) {
        w.rc = w.rc != 0 ? w.rc : p.events[i].status;
        chassis_buf_fini(&bytes[i]);
    }
    free(bytes);
    free(p.events);
    return w.rc;
}

/* ---- members ---- */

static void note(struct seen *seen, const struct cat_log_event *stored, uint32_t attempt)
{
    struct cat_event event;
    assert_int_equal(cat_event_parse(stored->bytes, &event, NULL), 0);
    *seen = (struct seen){stored->sequence, chassis_sim_now_ns(w.rig.sim), attempt, ""};
    snprintf(seen->id, sizeof seen->id, "%.*s", CHASSIS_VIEW_ARG(event.id));
}

static void on_deliver(void *data, const struct cat_log_event *stored, uint32_t attempt)
{
    struct consumer *c = data;
    assert_true(c->n < SEEN_MAX);
    assert_true(c->credit != 0);
    c->credit--;
    note(&c->seen[c->n++], stored, attempt);
    if (c->policy != HOLD) {
        c->waiting[c->n_waiting++] = stored->sequence;
    }
}
static void on_flush(void *data)
{
    struct consumer *c = data;
    c->flushes++;
    for (unsigned i = 0; i < c->n_waiting; i++) {
        struct cat_answer a = {.sequence = c->waiting[i], .delay_ms = c->delay_ms};
        a.kind = c->policy == ANSWER_ACK ? CAT_ACK : c->policy == ANSWER_NACK ? CAT_NACK : CAT_TERM;
        a.reason = a.kind == CAT_TERM ? V("cannot be used") : chassis_view(NULL, 0);
        assert_int_equal(cat_member_answer(c->member, &a), 0);
    }
    if (c->refill && c->n_waiting != 0) {
        c->credit += c->n_waiting;
        cat_member_credit(c->member, c->n_waiting);
    }
    c->n_waiting = 0;
}
static void on_ended(void *data, int status, const struct chassis_error *err)
{
    struct consumer *c = data;
    assert_non_null(err);
    c->ended = status;
    c->member = NULL;
}
static void on_gap(void *data, uint64_t from, uint64_t to)
{
    struct consumer *c = data;
    c->gaps++;
    c->gap_from = from;
    c->gap_to = to;
}

static const struct cat_member_ops member_ops = {on_deliver, on_flush, on_ended, on_gap};

static void join_now(void *data)
{
    struct consumer *c = data;
    struct cat_member_options options = {.stream = V(c->stream),
                                         .group = V(c->group),
                                         .name = V(c->name),
                                         .address = V("here:1"),
                                         .push = c->push,
                                         .ops = &member_ops,
                                         .data = c};
    c->ended = 0;
    c->n_waiting = 0;
    c->rc = cat_member_join(w.groups, &options, &c->member, &c->next, &w.err);
    if (c->rc == 0) {
        cat_member_credit(c->member, c->credit);
    }
}
int join(struct consumer *c)
{
    call(join_now, c);
    return c->rc;
}
static void leave_now(void *data)
{
    struct consumer *c = data;
    cat_member_leave(c->member);
    c->member = NULL;
}
void leave(struct consumer *c)
{
    call(leave_now, c);
}

struct credit {
    struct consumer *c;
    uint32_t more;
};
static void credit_now(void *data)
{
    struct credit *credit = data;
    credit->c->credit += credit->more;
    cat_member_credit(credit->c->member, credit->more);
}
void give_credit(struct consumer *c, uint32_t more)
{
    call(credit_now, &(struct credit){c, more});
}

struct answering {
    struct consumer *c;
    struct cat_answer answer;
    int rc;
};
static void answer_now(void *data)
{
    struct answering *a = data;
    a->rc = cat_member_answer(a->c->member, &a->answer);
}
int answer(struct consumer *c, uint64_t sequence, enum cat_answer_kind kind, uint32_t delay_ms,
           const char *reason)
{
    struct answering a = {
        c, {.sequence = sequence, .kind = kind, .delay_ms = delay_ms, .reason = V(reason)}, 0};
    call(answer_now, &a);
    return a.rc;
}
int answer_through(struct consumer *c, uint64_t sequence)
{
    struct answering a = {c, {.sequence = sequence, .kind = CAT_ACK, .through = true}, 0};
    call(answer_now, &a);
    return a.rc;
}

unsigned saw(const struct consumer *c, uint64_t sequence)
{
    unsigned n = 0;
    for (unsigned i = 0; i < c->n; i++) {
        n += c->seen[i].sequence == sequence;
    }
    return n;
}

/* ---- looking ---- */

struct looking {
    struct cat_fetch fetch;
    struct letters *out;
    const char *stream, *group;
    uint64_t from;
    uint32_t limit;
};

static void keep(struct letters *out, const struct cat_log_event *stored)
{
    struct cat_event event;
    struct cat_letter letter;
    assert_true(out->n < 256);
    note(&out->seen[out->n], stored, 0);
    assert_int_equal(cat_event_parse(stored->bytes, &event, NULL), 0);
    out->letter[out->n].is = cat_letter_read(&event, &letter);
    if (out->letter[out->n].is) {
        snprintf(out->letter[out->n].reason, 300, "%.*s", CHASSIS_VIEW_ARG(letter.reason));
        snprintf(out->letter[out->n].group, TEXT_MAX, "%.*s", CHASSIS_VIEW_ARG(letter.group));
        out->letter[out->n].sequence = letter.sequence;
        out->letter[out->n].attempts = letter.attempts;
    }
    out->n++;
}
static void on_look(struct cat_fetch *fetch, const struct cat_log_event *stored)
{
    keep(chassis_container_of(fetch, struct looking, fetch)->out, stored);
}
static void on_looked(struct cat_fetch *fetch, int status, uint64_t next,
                      const struct chassis_error *err)
{
    w.done = true;
    w.rc = status;
}
static void look_now(void *data)
{
    struct looking *l = data;
    l->fetch = (struct cat_fetch){
        .stream = V(l->stream), .from = 1, .events_max = 256, .event = on_look, .done = on_looked};
    cat_fetch(w.broker, &l->fetch);
}
void read_stream(const char *stream, struct letters *out)
{
    struct looking l = {.stream = stream, .out = out};
    out->n = 0;
    w.done = false;
    call(look_now, &l);
    world_wait();
}

static void on_peek(void *data, const struct cat_log_event *stored)
{
    keep(data, stored);
}
static void on_peeked(void *data, int status, uint64_t next, const struct chassis_error *err)
{
    w.done = true;
    w.rc = status;
    w.count = next;
}
static void peek_now(void *data)
{
    struct looking *l = data;
    cat_dead_letter_peek(w.groups, V(l->stream), V(l->group), l->from, l->limit, on_peek, on_peeked,
                         l->out);
}
void peek_letters(const char *stream, const char *group, uint64_t from, uint32_t limit,
                  struct letters *out)
{
    struct looking l = {.stream = stream, .group = group, .from = from, .limit = limit, .out = out};
    out->n = 0;
    w.done = false;
    call(peek_now, &l);
    world_wait();
}
