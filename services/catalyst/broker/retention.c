/* What a stream keeps. Readers see nothing before `first`. It is raised in memory at once; the row that
 * makes it durable follows within seconds, many streams at a time, and only then the engine may give
 * the space back: otherwise events that were gone could come back after a crash.
 */
#include <stdlib.h>

#include "catalyst/broker/codec.h"
#include "catalyst/broker/internal.h"

enum { FLOORS_PER_COMMIT = 256, AGE_CHECK_MS_MIN = 100 };
#define FLOORS_DELAY_NS (2 * CHASSIS_NS_PER_S)
#define AGE_CHECK_NS    (60 * CHASSIS_NS_PER_S)

struct floors { /* a commit of floors */
    struct cat_commit commit;
    struct chassis_list link;
    struct cat_broker *broker;
    uint32_t n;
    struct {
        uint32_t number;
        uint64_t floor;
    } of[FLOORS_PER_COMMIT];
};

static void on_floors_durable(struct cat_commit *commit)
{
    struct floors *f = chassis_container_of(commit, struct floors, commit);
    struct cat_broker *b = f->broker;
    for (uint32_t i = 0; i < f->n; i++) {
        struct stream *s = cat_model_by_number(b, f->of[i].number);
        if (s != NULL && s->floor_durable < f->of[i].floor) {
            s->floor_durable = f->of[i].floor;
            s->log->ops->trim(s->log, s->floor_durable - 1);
        }
    }
    chassis_list_remove(&f->link);
    free(f);
    cat_broker_close_if_idle(b);
}

static int commit_some(struct cat_broker *b)
{
    struct floors *f = chassis_base_zalloc(sizeof *f);
    struct cat_change changes[FLOORS_PER_COMMIT];
    struct cat_number_key keys[FLOORS_PER_COMMIT];
    struct cat_number_row rows[FLOORS_PER_COMMIT];
    f->broker = b;
    f->commit.done = on_floors_durable;
    chassis_list_foreach (link, &b->dirty) {
        const struct stream *s = chassis_list_entry(link, struct stream, dirty);
        if (f->n == FLOORS_PER_COMMIT) {
            break;
        }
        if (s->changing) {
            continue; /* perhaps a delete: its floor must not come back */
        }
        keys[f->n] = cat_number_key(s->number);
        rows[f->n] = cat_number_row(s->first);
        changes[f->n] =
            (struct cat_change){CAT_ROW_FLOOR, chassis_view(keys[f->n].bytes, sizeof keys[0].bytes),
                                chassis_view(rows[f->n].bytes, sizeof rows[0].bytes)};
        f->of[f->n].number = s->number;
        f->of[f->n++].floor = s->first;
    }
    int rc = f->n != 0 ? cat_catalog_commit(b->catalog, changes, f->n, &f->commit, NULL)
                       : CHASSIS_NOT_FOUND;
    if (rc < 0) {
        free(f);
        return rc;
    }
    chassis_list_append(&b->floor_commits, &f->link);
    for (uint32_t i = 0; i < f->n; i++) {
        chassis_list_remove(&cat_model_by_number(b, f->of[i].number)->dirty);
    }
    return 0;
}

void cat_retention_flush(struct cat_broker *b)
{
    if (b->closing) {
        return;
    }
    while (!chassis_list_empty(&b->dirty)) {
        if (commit_some(b) < 0) {
            chassis_post_after(b->loop, &b->floors, FLOORS_DELAY_NS); /* later, then */
            return;
        }
    }
}

static void on_floors_timer(struct chassis_timer *timer)
{
    cat_retention_flush(chassis_container_of(timer, struct cat_broker, floors));
}

void cat_retention_raise(struct stream *s, uint64_t first)
{
    struct cat_broker *b = s->broker;
    if (first <= s->first) {
        return;
    }
    s->first = first;
    if (s->floor_durable < s->first && chassis_list_empty(&s->dirty)) {
        if (chassis_list_empty(&b->dirty) && !b->closing) {
            chassis_post_after(b->loop, &b->floors, FLOORS_DELAY_NS);
        }
        chassis_list_append(&b->dirty, &s->dirty);
    }
}

/* ---- limits ---- */

void cat_retention_check(struct stream *s)
{
    const struct cat_stream_config *c = &s->config->is;
    uint64_t end = s->readable + 1;
    if (c->when_full == CAT_REFUSE_NEW) {
        return; /* they were never let in; age has its timer */
    }
    if (c->events_max != 0 && end > s->first && end - s->first > c->events_max) {
        cat_retention_raise(s, end - c->events_max);
    }
    if (c->bytes_max != 0) {
        uint64_t first = s->log->ops->at_bytes(s->log, c->bytes_max);
        cat_retention_raise(s, first < end ? first : end);
    }
}

const char *cat_retention_refuses(const struct stream *s, size_t bytes)
{
    const struct cat_stream_config *c = &s->config->is;
    uint64_t gathered = s->gathering != NULL ? s->gathering->n : 0;
    uint64_t gathered_bytes = s->gathering != NULL ? s->gathering->bytes : 0;
    if (c->events_max != 0 && s->last + 1 - s->first + gathered >= c->events_max) {
        return "events_max";
    }
    if (c->bytes_max == 0) {
        return NULL;
    }
    uint64_t more = bytes + gathered_bytes;
    bool full =
        more > c->bytes_max || s->log->ops->at_bytes(s->log, c->bytes_max - more) > s->first;
    return full ? "bytes_max" : NULL;
}

/* ---- ages ---- */

struct aged {
    struct chassis_timer timer;
    struct stream *stream;
};

static void arm_in(struct stream *s, uint64_t delay_ns)
{
    uint64_t least = AGE_CHECK_MS_MIN * CHASSIS_NS_PER_MS;
    delay_ns = delay_ns < least ? least : delay_ns;
    chassis_post_after(s->broker->loop, s->age, delay_ns < AGE_CHECK_NS ? delay_ns : AGE_CHECK_NS);
}

static void on_oldest_kept(void *data, int status, uint64_t sequence)
{
    struct stream *s = data;
    struct cat_broker *b = s->broker;
    stream_answered(s);
    if (status == 0 && s->phase == STREAM_OPEN) {
        cat_retention_raise(s, sequence <= s->readable ? sequence : s->readable + 1);
    }
    cat_stream_free_if_unused(s);
    cat_broker_close_if_idle(b);
}

static void on_age(struct chassis_timer *timer)
{
    struct stream *s = chassis_container_of(timer, struct aged, timer)->stream;
    uint64_t age_ns = s->config->is.age_max_ms * CHASSIS_NS_PER_MS;
    int64_t now_ns = broker_now(s->broker);
    if (s->first <= s->readable) {
        struct cat_log_state state = s->log->ops->state(s->log);
        if (state.first_time_ns < now_ns - (int64_t)age_ns) {
            stream_ask(s);
            s->log->ops->at_time(s->log, now_ns - (int64_t)age_ns, on_oldest_kept, s);
        }
    }
    arm_in(s, age_ns / 8);
}

void cat_retention_arm(struct stream *s)
{
    if (s->config->is.age_max_ms == 0 || s->broker->closing) {
        cat_retention_disarm(s);
        return;
    }
    if (s->age == NULL) {
        struct aged *aged = chassis_base_zalloc(sizeof *aged);
        aged->timer.run = on_age;
        aged->stream = s;
        s->age = &aged->timer;
    }
    arm_in(s, 0);
}

void cat_retention_free(struct stream *s)
{
    if (s->age != NULL) {
        free(chassis_container_of(s->age, struct aged, timer));
        s->age = NULL;
    }
    chassis_list_remove(&s->dirty);
}

void cat_retention_disarm(struct stream *s)
{
    if (s->age != NULL) {
        chassis_cancel(s->broker->loop, s->age);
    }
    cat_retention_free(s);
}

void cat_retention_init(struct cat_broker *b)
{
    chassis_list_init(&b->dirty);
    chassis_list_init(&b->floor_commits);
    b->floors.run = on_floors_timer;
}

void cat_retention_fini(struct cat_broker *b)
{
    chassis_cancel(b->loop, &b->floors);
}

void cat_retention_abandon(struct cat_broker *b)
{
    chassis_list_foreach_safe (link, &b->floor_commits) {
        struct floors *f = chassis_list_entry(link, struct floors, link);
        chassis_buf_fini(&f->commit.payload);
        free(f);
    }
}
