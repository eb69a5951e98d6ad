#include "expiry.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"

struct bp_seen {
    struct bp_seen *next;
    uint64_t seen_ns; /* monotonic; of the last report, or when this leader first saw it */
    int64_t wall_ns;  /* 0 = no report since this node leads */
    uint64_t gone_ns; /* since when it is known to be disconnected; 0 = it is not */
    uint64_t round;   /* of the scan that found it registered */
    bool settling;    /* its removal is proposed */
    size_t pid_len;
    char pid[BP_SD_PID_MAX];
};

void bp_expiry_init(struct bp_expiry *expiry, const struct bp_expiry_limits *limits)
{
    memset(expiry, 0, sizeof *expiry);
    expiry->limits = *limits;
}

void bp_expiry_reset(struct bp_expiry *expiry)
{
    for (size_t i = 0; i < BP_EXPIRY_BUCKETS; i++) {
        while (expiry->buckets[i] != NULL) {
            struct bp_seen *s = expiry->buckets[i];
            expiry->buckets[i] = s->next;
            free(s);
        }
    }
    expiry->n = 0;
}

void bp_expiry_fini(struct bp_expiry *expiry)
{
    bp_expiry_reset(expiry);
}

static struct bp_seen **find(const struct bp_expiry *expiry, struct chassis_view pid)
{
    struct bp_seen **at = (struct bp_seen **)(uintptr_t)&expiry
                              ->buckets[chassis_fnv1a(pid.data, pid.len) % BP_EXPIRY_BUCKETS];
    while (*at != NULL && !chassis_view_eq(chassis_view((*at)->pid, (*at)->pid_len), pid)) {
        at = &(*at)->next;
    }
    return at;
}

static struct bp_seen *find_or_add(struct bp_expiry *expiry, struct chassis_view pid,
                                   uint64_t now_ns)
{
    struct bp_seen **at = find(expiry, pid);
    if (*at == NULL) {
        CHASSIS_ASSERT(pid.len <= BP_SD_PID_MAX);
        struct bp_seen *s = chassis_base_zalloc(sizeof *s);
        s->seen_ns = now_ns;
        s->round = expiry->round;
        s->pid_len = pid.len;
        memcpy(s->pid, pid.data, pid.len);
        *at = s;
        expiry->n++;
    }
    return *at;
}

void bp_expiry_touch(struct bp_expiry *expiry, struct chassis_view pid, uint64_t now_ns,
                     int64_t wall_ns)
{
    if (pid.len == 0 || pid.len > BP_SD_PID_MAX ||
        (expiry->n >= 2 * (size_t)BP_SD_PROCESSES_MAX && *find(expiry, pid) == NULL)) {
        return;
    }
    struct bp_seen *s = find_or_add(expiry, pid, now_ns);
    s->seen_ns = now_ns;
    s->wall_ns = wall_ns;
}

int64_t bp_expiry_last(const struct bp_expiry *expiry, struct chassis_view pid)
{
    const struct bp_seen *s = *find(expiry, pid);
    return s != NULL ? s->wall_ns : 0;
}

void bp_expiry_settled(struct bp_expiry *expiry, struct chassis_view pid)
{
    struct bp_seen *s = *find(expiry, pid);
    if (s != NULL) {
        s->settling = false;
    }
}

struct scan {
    struct bp_expiry *expiry;
    uint64_t now_ns;
    void (*due)(const struct bp_sd_process *process, enum bp_sd_removal removal, const char *reason,
                void *data);
    void *data;
};

static int look_at(const struct bp_sd_process *p, void *data)
{
    struct scan *scan = data;
    const struct bp_expiry_limits *limits = &scan->expiry->limits;
    struct bp_seen *s = find_or_add(scan->expiry, p->pid, scan->now_ns);
    uint64_t silent = scan->now_ns - s->seen_ns;
    s->round = scan->expiry->round;
    if (p->left_ns == 0) {
        s->gone_ns = 0;
    } else if (s->gone_ns == 0) {
        s->gone_ns = scan->now_ns;
    }
    if (s->settling) {
        return 0;
    }
    if (p->left_ns != 0) {
        if (scan->now_ns - s->gone_ns >= limits->forget_ns) {
            s->settling = true;
            scan->due(p, BP_SD_FORGOTTEN, "disconnected for too long", scan->data);
        }
    } else if (!p->reported) {
        if (silent >= limits->first_ns) {
            s->settling = true;
            scan->due(p, BP_SD_FORGOTTEN, "never reported", scan->data);
        }
    } else if (silent >= limits->ttl_ns) {
        s->settling = true;
        scan->due(p, BP_SD_EXPIRED, "silent beyond its time to live", scan->data);
    }
    return 0;
}

int bp_expiry_scan(struct bp_expiry *expiry, struct chassis_txn *txn, uint64_t now_ns,
                   void (*due)(const struct bp_sd_process *process, enum bp_sd_removal removal,
                               const char *reason, void *data),
                   void *data, struct chassis_error *err)
{
    struct scan scan = {expiry, now_ns, due, data};
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    expiry->round++;
    int r = bp_sd_each(txn, &arena, look_at, &scan, err);
    chassis_arena_fini(&arena);
    for (size_t i = 0; i < BP_EXPIRY_BUCKETS && r == 0; i++) {
        for (struct bp_seen **at = &expiry->buckets[i]; *at != NULL;) {
            struct bp_seen *s = *at;
            /* Two rounds: a process may be heard of before its registration is applied here. */
            if (s->round + 2 < expiry->round) {
                *at = s->next;
                free(s);
                expiry->n--;
            } else {
                at = &s->next;
            }
        }
    }
    return r;
}
