#include "expiry.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"

enum {
    BUCKETS_FIRST = 256,
    READ_MAX = 2000, /* processes or transitions read in one scan */
    LOOK_MAX = 2000, /* entries looked at */
};

struct bp_seen {
    struct bp_seen *next;
    size_t at;        /* in the heap */
    uint64_t look_ns; /* when to look at it; UINT64_MAX: its removal is proposed */
    uint64_t seen_ns; /* monotonic; of the last report, or when this leader first heard of it */
    int64_t wall_ns;  /* 0 = no report since this node leads */
    uint64_t gone_ns; /* since when it is known to be disconnected; 0 = it is not */
    size_t pid_len;
    char pid[BP_SD_PID_MAX];
};

void bp_expiry_init(struct bp_expiry *expiry, const struct bp_expiry_limits *limits)
{
    memset(expiry, 0, sizeof *expiry);
    expiry->limits = *limits;
    expiry->walking = true;
}

void bp_expiry_reset(struct bp_expiry *e)
{
    for (size_t i = 0; i < e->n; i++) {
        free(e->heap[i]);
    }
    free(e->heap);
    free(e->buckets);
    bp_expiry_init(
        e, &(struct bp_expiry_limits){e->limits.ttl_ns, e->limits.first_ns, e->limits.forget_ns});
}

void bp_expiry_fini(struct bp_expiry *expiry)
{
    bp_expiry_reset(expiry);
}

/* --- the heap --- */

static void put(struct bp_expiry *e, size_t at, struct bp_seen *s)
{
    e->heap[at] = s;
    s->at = at;
}

/* The entry's time has changed: to its place. */
static void settle_in(struct bp_expiry *e, struct bp_seen *s)
{
    size_t at = s->at;
    while (at != 0 && e->heap[(at - 1) / 2]->look_ns > s->look_ns) {
        put(e, at, e->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        size_t least = 2 * at + 1;
        if (least + 1 < e->n && e->heap[least + 1]->look_ns < e->heap[least]->look_ns) {
            least++;
        }
        if (least >= e->n || e->heap[least]->look_ns >= s->look_ns) {
            break;
        }
        put(e, at, e->heap[least]);
        at = least;
    }
    put(e, at, s);
}

static void look_at_ns(struct bp_expiry *e, struct bp_seen *s, uint64_t ns)
{
    s->look_ns = ns;
    settle_in(e, s);
}

/* --- the table --- */

static struct bp_seen **find(const struct bp_expiry *e, struct chassis_view pid)
{
    struct bp_seen **at = &e->buckets[chassis_fnv1a(pid.data, pid.len) & (e->n_buckets - 1)];
    while (*at != NULL && !chassis_view_eq(chassis_view((*at)->pid, (*at)->pid_len), pid)) {
        at = &(*at)->next;
    }
    return at;
}

static struct bp_seen *lookup(const struct bp_expiry *e, struct chassis_view pid)
{
    return e->n != 0 ? *find(e, pid) : NULL;
}

static void grow(struct bp_expiry *e)
{
    if (e->n == e->cap_heap) {
        e->cap_heap = e->cap_heap != 0 ? e->cap_heap * 2 : 64;
        e->heap = chassis_base_realloc(e->heap, e->cap_heap * sizeof(struct bp_seen *));
    }
    if (e->n < e->n_buckets) {
        return;
    }
    free(e->buckets);
    e->n_buckets = e->n_buckets != 0 ? e->n_buckets * 2 : BUCKETS_FIRST;
    e->buckets = chassis_base_zalloc(e->n_buckets * sizeof(struct bp_seen *));
    for (size_t i = 0; i < e->n; i++) {
        struct bp_seen *s = e->heap[i];
        struct bp_seen **at = find(e, chassis_view(s->pid, s->pid_len));
        s->next = *at; /* NULL: it is the last of its chain */
        *at = s;
    }
}

static struct bp_seen *find_or_add(struct bp_expiry *e, struct chassis_view pid, uint64_t now_ns)
{
    struct bp_seen *s = lookup(e, pid);
    if (s == NULL) {
        CHASSIS_ASSERT(pid.len <= BP_SD_PID_MAX);
        const struct bp_expiry_limits *l = &e->limits;
        grow(e);
        s = chassis_base_zalloc(sizeof *s);
        s->seen_ns = now_ns;
        s->pid_len = pid.len;
        memcpy(s->pid, pid.data, pid.len);
        *find(e, pid) = s;
        put(e, e->n++, s);
        look_at_ns(e, s, now_ns + (l->ttl_ns < l->first_ns ? l->ttl_ns : l->first_ns));
    }
    return s;
}

static void drop(struct bp_expiry *e, struct bp_seen *s)
{
    struct bp_seen **at = find(e, chassis_view(s->pid, s->pid_len));
    struct bp_seen *last = e->heap[--e->n];
    *at = s->next;
    if (last != s) {
        put(e, s->at, last);
        settle_in(e, last);
    }
    free(s);
}

void bp_expiry_touch(struct bp_expiry *e, struct chassis_view pid, uint64_t now_ns, int64_t wall_ns)
{
    if (pid.len == 0 || pid.len > BP_SD_PID_MAX ||
        (e->n >= 2 * (size_t)BP_SD_PROCESSES_MAX && lookup(e, pid) == NULL)) {
        return;
    }
    struct bp_seen *s = find_or_add(e, pid, now_ns);
    s->seen_ns = now_ns;
    s->wall_ns = wall_ns;
    s->gone_ns = 0;
    if (s->look_ns != UINT64_MAX && s->look_ns > now_ns + e->limits.ttl_ns) {
        look_at_ns(e, s, now_ns + e->limits.ttl_ns); /* it was gone and is back */
    }
}

int64_t bp_expiry_last(const struct bp_expiry *expiry, struct chassis_view pid)
{
    const struct bp_seen *s = lookup(expiry, pid);
    return s != NULL ? s->wall_ns : 0;
}

/* Looked at again by the next scan: by then it is gone, or to be removed still. */
void bp_expiry_settled(struct bp_expiry *e, struct chassis_view pid)
{
    struct bp_seen *s = lookup(e, pid);
    if (s != NULL) {
        look_at_ns(e, s, e->now_ns + 1);
    }
}

/* --- who is registered --- */

/* The next piece of the store; who registers meanwhile is among the transitions behind `tail`. */
static int walk(struct bp_expiry *e, struct chassis_txn *txn)
{
    struct chassis_cursor *cursor;
    struct chassis_view k, v;
    int r = 0;
    if (!e->begun) {
        r = chassis_cursor_open(txn, BP_TABLE_TRANSITIONS, &cursor);
        if (r != 0) {
            return r;
        }
        r = chassis_cursor_last(cursor, &k, &v);
        e->tail = r == 0 ? bp_position_of(k) : (struct bp_position){0, 0};
        chassis_cursor_close(cursor);
        if (r != 0 && r != CHASSIS_NOT_FOUND) {
            return r;
        }
        e->begun = true;
        e->walked.len = 0;
    }
    r = chassis_cursor_open(txn, BP_TABLE_PROCESSES, &cursor);
    if (r != 0) {
        return r;
    }
    struct chassis_view from = e->walked.len != 0 ? bp_key_view(&e->walked) : chassis_view("\0", 1);
    r = chassis_cursor_seek(cursor, from, &k, &v);
    for (unsigned n = 0; r == 0 && n < READ_MAX; n++) {
        find_or_add(e, k, e->now_ns);
        e->walked.len = 0;
        bp_key_append(&e->walked, k.data, k.len);
        r = chassis_cursor_next(cursor, &k, &v);
    }
    e->walking = r == 0;
    chassis_cursor_close(cursor);
    return r == CHASSIS_NOT_FOUND ? 0 : r;
}

/* Whether transitions behind `tail` may have been dropped. */
static int missed(const struct bp_expiry *e, struct chassis_txn *txn, bool *ret_missed)
{
    struct chassis_cursor *cursor;
    struct chassis_view k, v;
    int r = chassis_cursor_open(txn, BP_TABLE_TRANSITIONS, &cursor);
    if (r != 0) {
        return r;
    }
    r = chassis_cursor_seek(cursor, chassis_view("\0", 1), &k, &v);
    *ret_missed = r == 0 && bp_position_of(k).revision > e->tail.revision &&
                  chassis_txn_count(txn, BP_TABLE_TRANSITIONS) >= BP_SD_TRANSITIONS_MAX;
    chassis_cursor_close(cursor);
    return r == CHASSIS_NOT_FOUND ? 0 : r;
}

static int follow(struct bp_expiry *e, struct chassis_txn *txn, struct chassis_error *err)
{
    struct chassis_cursor *cursor;
    struct chassis_view k, v;
    struct bp_key key;
    struct chassis_arena arena;
    int r = chassis_cursor_open(txn, BP_TABLE_TRANSITIONS, &cursor);
    if (r != 0) {
        return r;
    }
    bp_key_position(&key, (struct bp_position){e->tail.revision, e->tail.sub + 1});
    r = chassis_cursor_seek(cursor, bp_key_view(&key), &k, &v);
    for (unsigned n = 0; r == 0 && n < READ_MAX; n++) {
        struct bp_sd_transition t;
        chassis_arena_init(&arena, NULL, 0, 0);
        r = bp_store_unseal(BP_TABLE_TRANSITIONS, k, v, &bp_sd_layout_transition, &arena, &t, err);
        if (r == 0) {
            find_or_add(e, t.process.pid, e->now_ns);
            e->tail = bp_position_of(k);
        }
        chassis_arena_fini(&arena);
        r = r == 0 ? chassis_cursor_next(cursor, &k, &v) : r;
    }
    chassis_cursor_close(cursor);
    return r == CHASSIS_NOT_FOUND ? 0 : r;
}

static int discover(struct bp_expiry *e, struct chassis_txn *txn, struct chassis_error *err)
{
    bool lost = false;
    int r = e->walking ? 0 : missed(e, txn, &lost);
    if (r != 0) {
        return r;
    }
    if (lost) {
        e->walking = true;
        e->begun = false;
    }
    return e->walking ? walk(e, txn) : follow(e, txn, err);
}

/* --- what is due --- */

/* When `process` is to be removed, how and why. */
static uint64_t verdict(const struct bp_expiry *e, struct bp_seen *s,
                        const struct bp_sd_process *process, enum bp_sd_removal *ret_removal,
                        const char **ret_reason)
{
    *ret_removal = BP_SD_FORGOTTEN;
    if (process->left_ns != 0) {
        s->gone_ns = s->gone_ns != 0 ? s->gone_ns : e->now_ns;
        *ret_reason = "disconnected for too long";
        return s->gone_ns + e->limits.forget_ns;
    }
    s->gone_ns = 0;
    if (!process->reported) {
        *ret_reason = "never reported";
        return s->seen_ns + e->limits.first_ns;
    }
    *ret_removal = BP_SD_EXPIRED;
    *ret_reason = "silent beyond its time to live";
    return s->seen_ns + e->limits.ttl_ns;
}

int bp_expiry_scan(struct bp_expiry *e, struct chassis_txn *txn, uint64_t now_ns,
                   void (*due)(const struct bp_sd_process *process, enum bp_sd_removal removal,
                               const char *reason, void *data),
                   void *data, struct chassis_error *err)
{
    e->now_ns = now_ns;
    int r = discover(e, txn, err);
    for (unsigned n = 0; r == 0 && n < LOOK_MAX && e->n != 0 && e->heap[0]->look_ns <= now_ns;
         n++) {
        struct bp_seen *s = e->heap[0];
        struct bp_sd_process process;
        struct chassis_arena arena;
        enum bp_sd_removal removal;
        const char *reason;
        e->looked++;
        if (s->wall_ns != 0 && s->gone_ns == 0 && s->seen_ns + e->limits.ttl_ns > now_ns) {
            look_at_ns(e, s, s->seen_ns + e->limits.ttl_ns); /* it reported */
            continue;
        }
        chassis_arena_init(&arena, NULL, 0, 0);
        r = bp_sd_get(txn, chassis_view(s->pid, s->pid_len), &arena, &process, err);
        if (r == CHASSIS_NOT_FOUND) {
            drop(e, s);
            r = 0;
        } else if (r == 0) {
            uint64_t at_ns = verdict(e, s, &process, &removal, &reason);
            bool now = at_ns <= now_ns;
            look_at_ns(e, s, now ? UINT64_MAX : at_ns);
            if (now) {
                due(&process, removal, reason, data);
            }
        }
        chassis_arena_fini(&arena);
    }
    return r;
}

bool bp_expiry_more(const struct bp_expiry *e)
{
    return e->walking || (e->n != 0 && e->heap[0]->look_ns <= e->now_ns);
}
