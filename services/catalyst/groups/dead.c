/* Dead letters are stored: read the events, make letters of them, publish those into the group's
 * dead-letter stream, and only then count the events as done. What a crash interrupts is done again,
 * and (source, id) tells the stream that it has the letter already. If what has that source and id is
 * another letter, or the same but replayed since, this one gets another id, which is the same whenever
 * it is made again; what came back from a letter has one from the start, since the stream may have
 * forgotten that letter by then. */
#include <stdlib.h>

#include "base/hash.h"
#include "catalyst/groups/internal.h"
#include "catalyst/groups/letter.h"

enum { LETTERS = 32, LETTERS_BYTES = 4 << 20, RENAMES_MAX = 1000, LETTERS_DEDUPE_MS = 3600000 };

enum progress {
    UNREAD,  /* its event is not there yet */
    TO_SEND, /* bytes are to be published */
    CLASHES, /* another event stands at `clash` with its source and id */
    STORED,
    GONE,   /* the stream removed the event before */
    FAILED, /* again later */
};
struct item {
    struct cat_letter letter;
    char *reason;
    struct chassis_buf source, bytes; /* the event; the letter */
    struct cat_letter_form form;
    enum progress progress;
    uint64_t clash;
};
struct cat_burial {
    struct cat_work work;
    uint64_t generation;
    struct chassis_buf stream, own_stream, own_group; /* names, whatever happens to the group */
    bool made;                                        /* the stream was made, or tried to */
    struct cat_fetch fetch;
    uint64_t sequences[LETTERS];
    struct cat_publish publish;
    struct cat_publish_order order;
    struct cat_publish_event events[LETTERS];
    uint32_t of[LETTERS]; /* which item each event is */
    uint32_t n;
    struct item items[LETTERS];
};

void cat_dead_letter_stream(const struct cat_group_config *config, struct chassis_buf *buf)
{
    if (config->dead_letter_stream.len != 0) {
        chassis_buf_append_view(buf, config->dead_letter_stream);
        return;
    }
    size_t from = buf->len;
    chassis_buf_printf(buf, "%.*s.%.*s", CHASSIS_VIEW_ARG(config->stream),
                       CHASSIS_VIEW_ARG(config->name));
    const size_t room = CAT_NAME_MAX - (sizeof ".dead" - 1);
    if (buf->len - from > room) { /* two long names: cut, told apart by a hash of the whole */
        uint64_t hash = chassis_fnv1a(buf->data + from, buf->len - from);
        buf->len = from + room - 17;
        chassis_buf_printf(buf, ".%016llx", (unsigned long long)hash);
    }
    chassis_buf_append_str(buf, ".dead");
}

/* ---- the end ---- */

static const char *const causes[CAT_CAUSES] = {
    [CAT_CAUSE_NONE] = "",
    [CAT_CAUSE_UNANSWERED] = "no answer within the ack wait",
    [CAT_CAUSE_NACKED] = "negative answer",
    [CAT_CAUSE_TERMINATED] = "terminated by its consumer",
    [CAT_CAUSE_LEFT] = "its consumer left",
};

static void burial_free(struct cat_burial *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        free(b->items[i].reason);
        chassis_buf_fini(&b->items[i].source);
        chassis_buf_fini(&b->items[i].bytes);
    }
    chassis_buf_fini(&b->stream);
    chassis_buf_fini(&b->own_stream);
    chassis_buf_fini(&b->own_group);
    free(b);
}

static void burial_abandon(struct cat_work *work)
{
    burial_free(chassis_container_of(work, struct cat_burial, work));
}

static void settle(struct cat_group *g, const struct item *item)
{
    uint64_t now = cat_groups_now(g->all);
    struct cat_entry *e = cat_place_find(&g->place, item->letter.sequence);
    if (e == NULL || e->state != CAT_ENTRY_STORING) {
        return;
    }
    switch (item->progress) {
    case STORED:
        g->dead_lettered++;
        cat_group_measure(g, CAT_MEASURE_DEAD, 1);
        cat_place_done(&g->place, e, now);
        break;
    case GONE:
        g->lost++;
        cat_group_measure(g, CAT_MEASURE_LOST, 1);
        cat_place_done(&g->place, e, now);
        break;
    case UNREAD: /* not reached: at once */
        cat_place_bury_failed(&g->place, e, now, 0);
        break;
    case TO_SEND:
    case CLASHES:
    case FAILED:
        cat_place_bury_failed(&g->place, e, now, CAT_RETRY_MS * CHASSIS_NS_PER_MS);
        break;
    }
}

static void finish(struct cat_burial *b)
{
    struct cat_group *g = b->work.group;
    g->burial = NULL;
    if (g->state == CAT_GROUP_LIVE && g->generation == b->generation) {
        for (uint32_t i = 0; i < b->n; i++) {
            settle(g, &b->items[i]);
        }
        cat_group_dirty(g);
    }
    cat_group_touch(g);
    cat_work_end(&b->work, g->all);
    burial_free(b);
}

/* Nothing more can be done now. */
static void give_up(struct cat_burial *b, const struct chassis_error *err)
{
    struct cat_group *g = b->work.group;
    if (!g->burial_fails) {
        chassis_log_warn(g->all->options.log, "cannot store dead letters now",
                         chassis_f_view("stream", chassis_buf_view(&b->own_stream)),
                         chassis_f_view("group", chassis_buf_view(&b->own_group)),
                         chassis_f_view("dead-letter stream", chassis_buf_view(&b->stream)),
                         chassis_f_str("error", chassis_error_text(err)));
    }
    g->burial_fails = true;
    finish(b);
}

/* ---- publishing ---- */

static void send(struct cat_burial *b);

static bool make_letter(struct item *item)
{
    struct cat_event event, letter;
    chassis_buf_clear(&item->bytes);
    if (cat_event_parse(chassis_buf_view(&item->source), &event, NULL) != 0) {
        return false;
    }
    cat_letter_build(&event, &item->letter, item->form, &item->bytes);
    if (cat_event_parse(chassis_buf_view(&item->bytes), &letter, NULL) == 0) {
        return true;
    }
    if (item->form.bare) {
        return false;
    }
    item->form.bare = true; /* too many attributes with ours */
    return make_letter(item);
}

static void remake(struct item *item)
{
    item->progress = make_letter(item) ? TO_SEND : FAILED;
}

static void rename_letter(struct item *item)
{
    if (++item->form.renames <= RENAMES_MAX) {
        remake(item);
    } else {
        item->progress = FAILED;
    }
}

static void stream_made(void *data, int status, const struct chassis_error *err)
{
    struct cat_burial *b = data;
    if (status != 0 && status != CHASSIS_ALREADY_EXISTS) {
        give_up(b, err);
        return;
    }
    chassis_log_info(b->work.group->all->options.log, "made a dead-letter stream",
                     chassis_f_view("stream", chassis_buf_view(&b->stream)));
    send(b);
}

static void make_stream(struct cat_burial *b)
{
    struct cat_stream_config config = {
        .name = chassis_buf_view(&b->stream),
        .durability = CAT_FSYNC,
        .dedupe_ms = LETTERS_DEDUPE_MS,
        .event_bytes_max = CAT_EVENT_BYTES_MAX,
        .when_full = CAT_DISCARD_OLD,
        .description = chassis_view_str("dead letters"),
    };
    b->made = true;
    cat_stream_create(b->work.group->all->options.broker, &config, stream_made, b);
}

static void compared(struct cat_fetch *fetch, const struct cat_log_event *stored)
{
    struct cat_burial *b = chassis_container_of(fetch, struct cat_burial, fetch);
    struct cat_event event;
    struct cat_letter there;
    bool letter = cat_event_parse(stored->bytes, &event, NULL) == 0 &&
                  cat_letter_read(&event, &there) &&
                  !cat_runs_has(&b->work.group->replayed, stored->sequence);
    for (uint32_t i = 0; i < b->n; i++) {
        struct item *item = &b->items[i];
        if (item->progress == CLASHES && item->clash == stored->sequence && letter &&
            cat_letter_same(&there, &item->letter)) {
            item->progress = STORED;
        }
    }
}

static void compare_done(struct cat_fetch *fetch, int status, uint64_t next,
                         const struct chassis_error *err)
{
    struct cat_burial *b = chassis_container_of(fetch, struct cat_burial, fetch);
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->items[i].progress == CLASHES) {
            rename_letter(&b->items[i]);
        }
    }
    send(b);
}

static int rising(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* Is what stands there the same letter, stored before a crash, or another one? */
static bool compare(struct cat_burial *b)
{
    uint32_t n = 0, kept = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->items[i].progress == CLASHES) {
            b->sequences[n++] = b->items[i].clash;
        }
    }
    if (n == 0) {
        return false;
    }
    qsort(b->sequences, n, sizeof b->sequences[0], rising);
    for (uint32_t i = 0; i < n; i++) {
        if (kept == 0 || b->sequences[kept - 1] != b->sequences[i]) {
            b->sequences[kept++] = b->sequences[i];
        }
    }
    b->fetch = (struct cat_fetch){
        .stream = chassis_buf_view(&b->stream),
        .sequences = b->sequences,
        .n_sequences = kept,
        .events_max = kept,
        .bytes_max = (size_t)kept * (CAT_EVENT_BYTES_MAX + 4096),
        .event = compared,
        .done = compare_done,
    };
    cat_fetch(b->work.group->all->options.broker, &b->fetch);
    return true;
}

static void judge(struct item *item, const struct cat_publish_event *event)
{
    if (event->status != 0 && chassis_status_class(event->status) == CHASSIS_CLASS_CALLER &&
        !item->form.bare) {
        item->form.bare = true;
        remake(item);
    } else if (event->status != 0) {
        item->progress = FAILED;
    } else if (!event->duplicate) {
        item->progress = STORED;
    } else if (event->sequence != 0) {
        item->progress = CLASHES;
        item->clash = event->sequence;
    } else {
        rename_letter(item);
    }
}

static void published(struct cat_publish *publish)
{
    struct cat_burial *b = chassis_container_of(publish, struct cat_burial, publish);
    if (publish->status == CHASSIS_NOT_FOUND && !b->made) {
        make_stream(b);
        return;
    }
    if (publish->status != 0) {
        give_up(b, &publish->err);
        return;
    }
    b->work.group->burial_fails = false;
    for (uint32_t i = 0; i < publish->n_events; i++) {
        judge(&b->items[b->of[i]], &b->events[i]);
    }
    if (!compare(b)) {
        send(b);
    }
}

/* Publish what is to be sent; nothing is: that was it. */
static void send(struct cat_burial *b)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        struct item *item = &b->items[i];
        if (item->progress != TO_SEND) {
            continue;
        }
        b->events[n] = (struct cat_publish_event){0};
        int rc = cat_event_parse(chassis_buf_view(&item->bytes), &b->events[n].event, NULL);
        CHASSIS_ASSERT(rc == 0);
        b->of[n++] = i;
    }
    struct chassis_error err = {0};
    if (n == 0) {
        finish(b);
    } else if (CHASSIS_FAULT("catalyst.groups.dead.publish")) {
        chassis_error_set(&err, CHASSIS_NO_SPACE, "fault point");
        give_up(b, &err);
    } else {
        b->publish = (struct cat_publish){
            .stream = chassis_buf_view(&b->stream),
            .events = b->events,
            .n_events = n,
            .order = &b->order,
            .copy = true,
            .done = published,
        };
        cat_publish(b->work.group->all->options.broker, &b->publish);
    }
}

/* ---- the events ---- */

static void source_event(struct cat_fetch *fetch, const struct cat_log_event *stored)
{
    struct cat_burial *b = chassis_container_of(fetch, struct cat_burial, fetch);
    for (uint32_t i = 0; i < b->n; i++) {
        struct item *item = &b->items[i];
        if (item->letter.sequence == stored->sequence && item->progress == UNREAD) {
            chassis_buf_append_view(&item->source, stored->bytes);
            item->progress = make_letter(item) ? TO_SEND : GONE;
        }
    }
}

static void source_done(struct cat_fetch *fetch, int status, uint64_t next,
                        const struct chassis_error *err)
{
    struct cat_burial *b = chassis_container_of(fetch, struct cat_burial, fetch);
    bool failed = status != 0 && status != CHASSIS_NOT_FOUND;
    uint32_t gone = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        struct item *item = &b->items[i];
        if (item->progress == UNREAD && failed) {
            item->progress = FAILED;
        } else if (item->progress == UNREAD &&
                   !(status == 0 && next != 0 && item->letter.sequence >= next)) {
            item->progress = GONE;
            gone++;
        }
    }
    if (gone != 0) {
        chassis_log_warn(b->work.group->all->options.log,
                         "the stream removed events before they were stored as dead letters",
                         chassis_f_view("stream", chassis_buf_view(&b->own_stream)),
                         chassis_f_view("group", chassis_buf_view(&b->own_group)),
                         chassis_f_u64("events", gone));
    }
    if (failed) {
        give_up(b, err);
    } else {
        send(b);
    }
}

static void add_item(struct cat_burial *b, const struct cat_entry *e, int64_t wall_ms)
{
    struct item *item = &b->items[b->n];
    item->reason = chassis_base_strdup(e->reason != NULL ? e->reason : causes[e->cause]);
    item->letter = (struct cat_letter){
        .reason = chassis_view_str(item->reason),
        .stream = chassis_buf_view(&b->own_stream),
        .group = chassis_buf_view(&b->own_group),
        .sequence = e->sequence,
        .came_back_from = e->letter,
        .attempts = e->attempts,
        .first_ms = e->first_ms,
        .dead_ms = wall_ms,
    };
    b->sequences[b->n++] = e->sequence;
}

void cat_group_bury(struct cat_group *g)
{
    /* While letters are replayed it is not durable yet which of them still stand. */
    if (g->burial != NULL || g->walking || g->place.dead.n == 0) {
        return;
    }
    struct cat_burial *b = chassis_base_zalloc(sizeof *b);
    b->generation = g->generation;
    cat_dead_letter_stream(&g->config, &b->stream);
    chassis_buf_append_view(&b->own_stream, g->config.stream);
    chassis_buf_append_view(&b->own_group, g->config.name);
    for (struct cat_entry *e; b->n < LETTERS && (e = cat_place_bury(&g->place)) != NULL;) {
        add_item(b, e, cat_groups_wall_ms(g->all));
    }
    b->fetch = (struct cat_fetch){
        .stream = chassis_buf_view(&b->own_stream),
        .sequences = b->sequences,
        .n_sequences = b->n,
        .events_max = b->n,
        .bytes_max = LETTERS_BYTES,
        .event = source_event,
        .done = source_done,
    };
    g->burial = b;
    cat_work_begin(&b->work, g->all, g, burial_abandon);
    cat_fetch(g->all->options.broker, &b->fetch);
}
