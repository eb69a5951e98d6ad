/* Consumers: readers that go on where they were, slow and quick ones, and members of groups that
 * answer late, badly or not at all. Checked: readers see every event of their stream once and in
 * order, or are told of the gap; a group's events are delivered until they are acknowledged, of one
 * key one at a time and in order where that was asked for.
 */
#include "world.h"

enum { HELD_MAX = 64, ACK_WAIT_MS = 400, GROUPS = 2, SOME = 256 };

struct consumer {
    unsigned stream;
    struct cat_reader *reader;
    uint64_t next; /* everything before was seen, or told gone */
    unsigned room;
    bool slow, ended;
    int rc;
};
struct held {
    uint64_t sequence;
    uint64_t until_ns;
    bool unanswered; /* until it is too late */
    bool lost;       /* planted: answered, but nobody saw it */
};
struct member {
    unsigned group;
    struct cat_member *member;
    bool ended;
    int rc;
    struct held held[HELD_MAX];
    unsigned n_held;
};
static const struct {
    const char *name;
    unsigned stream;
    bool ordered;
} groups[GROUPS] = {{"workers", 0, false}, {"in-order", 2, true}};

static struct consumer consumers[CONSUMERS];
static struct member members[MEMBERS];
static bool group_done[GROUPS][SEQUENCES]; /* acknowledged, and the answer was taken */
static bool hungry;
static uint64_t now_ns(void)
{
    return chassis_sim_now_ns(w.sim);
}

/* ---- readers ---- */

static int on_event(void *data, struct chassis_view stream, const struct cat_log_event *stored,
                    const struct cat_event *event)
{
    struct consumer *c = data;
    if (c->room == 0) {
        return 1;
    }
    c->room--;
    w.report.delivered++;
    if (w.planted == PLANT_SKIP && chance(0.0005)) {
        c->next++;
    }
    if (stored->sequence != c->next) {
        wrong("a reader of %s got %" PRIu64 " instead of %" PRIu64, stream_names[c->stream],
              stored->sequence, c->next);
    }
    learn(c->stream, stored->sequence, id_of(event->id));
    c->next = stored->sequence + 1;
    if (w.planted == PLANT_DOUBLE && chance(0.0005)) {
        c->next--;
    }
    return 0;
}

static void on_gap(void *data, struct chassis_view stream, uint64_t from, uint64_t to)
{
    struct consumer *c = data;
    w.report.gaps++;
    if (from != c->next || c->stream != 1) {
        wrong("a reader of %s at %" PRIu64 " was told of a gap %" PRIu64 " … %" PRIu64,
              stream_names[c->stream], c->next, from, to);
    }
    c->next = to;
}

static void on_pause(void *data, uint64_t next)
{
    const struct consumer *c = data;
    if (next != c->next) {
        wrong("a reader of %s at %" PRIu64 " was told %" PRIu64, stream_names[c->stream], c->next,
              next);
    }
}

static void on_ended(void *data, int status, const struct chassis_error *err)
{
    struct consumer *c = data;
    c->ended = true;
    if (status != CHASSIS_SHUTTING_DOWN) {
        wrong("a reader of %s ended: %s", stream_names[c->stream], err->text);
    }
}

static void open_reader_now(void *data)
{
    struct consumer *c = data;
    static const struct cat_reader_ops ops = {on_event, on_pause, on_gap, on_ended};
    struct cat_reader_options options = {
        .stream = chassis_view_str(stream_names[c->stream]),
        .start = {.kind = CAT_START_SEQUENCE, .sequence = c->next},
        .ops = &ops,
        .data = c,
    };
    c->ended = false;
    c->rc = cat_reader_open(w.broker, &options, &c->reader, NULL);
}

static void wake_reader_now(void *data)
{
    cat_reader_wake(((struct consumer *)data)->reader);
}

static void close_reader_now(void *data)
{
    struct consumer *c = data;
    cat_reader_close(c->reader);
    c->reader = NULL;
}

static void reader_act(struct consumer *c)
{
    if (c->reader != NULL && (c->ended || (!hungry && chance(0.01)))) {
        world_call(close_reader_now, c);
    }
    if (c->reader == NULL) {
        world_call(open_reader_now, c);
        if (c->rc != 0) {
            c->reader = NULL; /* the stream is not there yet */
            return;
        }
    }
    if (hungry || chance(c->slow ? 0.05 : 0.5)) {
        c->room = hungry ? 10000 : (unsigned)chassis_prng_below(prng(), c->slow ? 10 : 200);
        world_call(wake_reader_now, c);
    }
}

/* ---- members ---- */

static void on_deliver(void *data, const struct cat_log_event *stored, uint32_t attempt)
{
    struct member *m = data;
    unsigned stream = groups[m->group].stream;
    w.report.redelivered += attempt > 1;
    struct cat_event event;
    if (cat_event_parse(stored->bytes, &event, NULL) != 0) {
        wrong("a group got what is no event");
        return;
    }
    learn(stream, stored->sequence, id_of(event.id));
    if (m->n_held == HELD_MAX) {
        wrong("more deliveries than credit");
        return;
    }
    m->held[m->n_held++] =
        (struct held){stored->sequence,
                      now_ns() + chassis_prng_below(prng(), hungry ? 1 : 30 * CHASSIS_NS_PER_MS),
                      !hungry && chance(0.02), w.planted == PLANT_GROUP_SKIP && chance(0.001)};
}

static void on_member_ended(void *data, int status, const struct chassis_error *err)
{
    struct member *m = data;
    m->ended = true;
    if (status != CHASSIS_SHUTTING_DOWN) {
        wrong("a member of %s ended: %s", groups[m->group].name, err->text);
    }
}

static void on_flush(void *data)
{
}

static void on_group_made(void *data, int status, const struct chassis_error *err)
{
}

static void join_now(void *data)
{
    struct member *m = data;
    static const struct cat_member_ops ops = {on_deliver, on_flush, on_member_ended, NULL};
    struct cat_member_options options = {
        .stream = chassis_view_str(stream_names[groups[m->group].stream]),
        .group = chassis_view_str(groups[m->group].name),
        .name = chassis_view_str("member"),
        .ops = &ops,
        .data = m,
    };
    uint64_t next;
    m->ended = false;
    m->n_held = 0;
    m->rc = cat_member_join(w.groups, &options, &m->member, &next, NULL);
    if (m->rc == CHASSIS_NOT_FOUND) {
        struct cat_group_config config = {
            .stream = options.stream,
            .name = options.group,
            .start = {.kind = CAT_START_EARLIEST},
            .ack_wait_ms = ACK_WAIT_MS,
            .deliveries_max = 1000,
            .ordered_by_key = groups[m->group].ordered,
        };
        cat_group_create(w.groups, &config, on_group_made, NULL);
    }
    if (m->rc == 0) {
        cat_member_credit(m->member, HELD_MAX);
    }
}

static void answer_now(void *data)
{
    struct member *m = data;
    for (unsigned i = 0; i < m->n_held;) {
        struct held h = m->held[i];
        if (now_ns() < h.until_ns || (h.unanswered && !hungry)) {
            i++;
            continue;
        }
        struct cat_answer answer = {.sequence = h.sequence, .kind = CAT_ACK};
        if (!hungry && chance(0.05)) {
            answer.kind = CAT_NACK;
        }
        m->held[i] = m->held[--m->n_held];
        cat_member_credit(m->member, 1);
        if (cat_member_answer(m->member, &answer) == 0 && answer.kind == CAT_ACK && !h.lost) {
            group_done[m->group][h.sequence] = true;
            w.report.acked++;
        }
    }
}

static void leave_now(void *data)
{
    struct member *m = data;
    cat_member_leave(m->member);
    m->member = NULL;
    m->n_held = 0;
}

static void member_act(struct member *m)
{
    if (m->member != NULL && !m->ended && !hungry && chance(0.004)) {
        world_call(leave_now, m);
    }
    if (m->member != NULL && m->ended) {
        world_call(leave_now, m);
    }
    if (m->member == NULL) {
        if (hungry || chance(0.1)) {
            world_call(join_now, m);
        }
        return;
    }
    world_call(answer_now, m);
}

/* ---- all ---- */

void consumers_init(void)
{
    memset(consumers, 0, sizeof consumers);
    memset(members, 0, sizeof members);
    memset(group_done, 0, sizeof group_done);
    hungry = false;
    for (unsigned i = 0; i < CONSUMERS; i++) {
        consumers[i].stream = i % STREAMS;
        consumers[i].next = 1;
        consumers[i].slow = i >= STREAMS;
    }
    for (unsigned i = 0; i < MEMBERS; i++) {
        members[i].group = i % GROUPS;
    }
}

void consumers_act(void)
{
    for (unsigned i = 0; i < CONSUMERS && w.up; i++) {
        reader_act(&consumers[i]);
    }
    for (unsigned i = 0; i < MEMBERS && w.up; i++) {
        member_act(&members[i]);
    }
}

void consumers_lost(void)
{
    for (unsigned i = 0; i < CONSUMERS; i++) {
        if (consumers[i].ended) { /* told so: it is ours to free */
            cat_reader_close(consumers[i].reader);
        }
        consumers[i].reader = NULL;
        consumers[i].ended = false;
    }
    for (unsigned i = 0; i < MEMBERS; i++) {
        members[i].member = NULL;
        members[i].n_held = 0;
        members[i].ended = false;
    }
}

void consumers_hungry(void)
{
    hungry = true;
}

bool consumers_done(void)
{
    for (unsigned i = 0; i < CONSUMERS; i++) {
        if (consumers[i].next <= w.last_seen[consumers[i].stream]) {
            return false;
        }
    }
    for (unsigned g = 0; g < GROUPS; g++) {
        for (uint64_t n = 1; n <= w.last_seen[groups[g].stream]; n++) {
            if (!group_done[g][n]) {
                return false;
            }
        }
    }
    return true;
}

static int count_open(void *data, const struct cat_group_info *info)
{
    *(uint64_t *)data += info->lag + info->in_flight + info->waiting;
    return 0;
}

static void look_at_groups_now(void *data)
{
    cat_group_list(w.groups, chassis_view("", 0), chassis_view("", 0), chassis_view("", 0),
                   count_open, data);
}

void consumers_check(void)
{
    uint64_t open = 0;
    for (unsigned s = 0; s < STREAMS; s++) { /* readers of all of it saw every sequence */
        for (uint64_t n = 1; n <= w.last_seen[s]; n++) {
            if (w.truth[s][n].number == 0 && s != 1) {
                wrong("stream %s has a hole at %" PRIu64, stream_names[s], n);
            }
        }
    }
    struct event_id seen = {0};
    for (unsigned s = 0; s < STREAMS; s++) { /* no event stands twice */
        static uint8_t there[PRODUCERS + 1][SEQUENCES];
        memset(there, 0, sizeof there);
        for (uint64_t n = 1; n <= w.last_seen[s]; n++) {
            seen = w.truth[s][n];
            if (seen.number != 0 && there[seen.producer][seen.number]++ != 0) {
                wrong("stream %s: event %u:%u stands twice", stream_names[s], seen.producer,
                      seen.number);
            }
        }
    }
    world_call(look_at_groups_now, &open);
    if (open != 0) {
        wrong("all events were acknowledged, but groups have %" PRIu64 " open", open);
    }
}

void consumers_fini(void)
{
}
