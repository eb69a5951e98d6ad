/* A journal on a simulated machine. */
#ifndef TESTS_JOURNAL_RIG_H
#define TESTS_JOURNAL_RIG_H

#include "tests/test.h"

#include <errno.h>

#include "journal/journal.h"
#include "os/sim.h"

struct rig {
    struct chassis_sim *sim;
    struct chassis_sim_host *host;
    struct chassis_journal_options options;
    struct chassis_journal *journal;
    struct chassis_error err;
    bool closed;
};

static inline int rig_open(struct rig *r)
{
    r->options.disk = chassis_sim_disk(r->host);
    r->options.directory = "d/j";
    r->options.owner = chassis_sim_executor(r->host, "loop", 0);
    r->options.writer = chassis_sim_executor(r->host, "journal", 200000);
    r->options.preparer = chassis_sim_executor(r->host, "prepare", 500000);
    r->options.log = chassis_log_module("journal");
    chassis_error_clear(&r->err);
    r->journal = NULL;
    return chassis_journal_open(&r->options, &r->journal, &r->err);
}
static inline void rig_init(struct rig *r, uint64_t seed, uint64_t segment_bytes)
{
    chassis_log_set_level("", CHASSIS_LOG_OFF);
    memset(r, 0, sizeof *r);
    r->sim = chassis_sim_new(seed);
    r->host = chassis_sim_host_new(r->sim, "a");
    r->options.segment_bytes = segment_bytes;
}
static inline void rig_fini(struct rig *r)
{
    chassis_sim_host_crash(r->host, false);
    chassis_journal_abandon(r->journal);
    chassis_sim_free(r->sim);
}
/* Crash and open again. */
static inline int rig_crash(struct rig *r, bool power)
{
    chassis_sim_host_crash(r->host, power);
    chassis_journal_abandon(r->journal);
    return rig_open(r);
}
static inline void rig_on_closed(void *data)
{
    ((struct rig *)data)->closed = true;
}
static inline void rig_close_now(void *data)
{
    struct rig *r = data;
    chassis_journal_close(r->journal, rig_on_closed, r);
}
static inline bool rig_is_closed(void *data)
{
    return ((struct rig *)data)->closed;
}
static inline void rig_close(struct rig *r)
{
    r->closed = false;
    chassis_sim_call(r->options.owner, rig_close_now, r);
    assert_true(chassis_sim_run(r->sim, 60 * CHASSIS_NS_PER_S, rig_is_closed, r));
    r->journal = NULL;
}
static inline void rig_run(struct rig *r, uint64_t ns)
{
    chassis_sim_run(r->sim, ns, NULL, NULL);
}

/* An append of records with the same text, and whether it was acknowledged. */
struct rig_append {
    struct chassis_journal_append base;
    struct rig *rig;
    uint64_t index, term;
    size_t n;
    struct chassis_view payload;
    int rc;
    bool done;
};
static inline void rig_on_done(struct chassis_journal_append *base)
{
    struct rig_append *a = (struct rig_append *)base;
    assert_false(a->done);
    a->done = true;
}
static inline void rig_ignore(struct chassis_journal_append *base)
{
}
static inline void rig_append_now(void *data)
{
    struct rig_append *a = data;
    struct chassis_journal_record records[64];
    for (size_t i = 0; i < a->n; i++) {
        records[i] = (struct chassis_journal_record){.index = a->index + i,
                                                     .term = a->term,
                                                     .type = 7,
                                                     .time_ns = 99,
                                                     .payload = a->payload};
    }
    a->base.records = records;
    a->base.n_records = a->n;
    a->base.done = rig_on_done;
    a->rc = chassis_journal_append(a->rig->journal, &a->base, &a->rig->err);
}
/* Append and wait until it is durable; the result of the append. */
static inline int rig_put(struct rig *r, uint32_t stream, uint64_t index, size_t n, uint64_t term,
                          struct chassis_view payload)
{
    struct rig_append a = {
        .base.stream = stream, .rig = r, .index = index, .n = n, .term = term, .payload = payload};
    chassis_sim_call(r->options.owner, rig_append_now, &a);
    if (a.rc == 0) {
        rig_run(r, 4 * CHASSIS_NS_PER_MS);
        assert_true(a.done);
    }
    return a.rc;
}
/* The same with an append that may use the reserve. */
static inline int rig_put_urgent(struct rig *r, uint32_t stream, uint64_t index,
                                 struct chassis_view payload)
{
    struct rig_append a = {.base.stream = stream,
                           .base.urgent = true,
                           .rig = r,
                           .index = index,
                           .n = 1,
                           .term = 1,
                           .payload = payload};
    chassis_sim_call(r->options.owner, rig_append_now, &a);
    if (a.rc == 0) {
        rig_run(r, 4 * CHASSIS_NS_PER_MS);
        assert_true(a.done);
    }
    return a.rc;
}
struct rig_look {
    struct rig *rig;
    uint32_t stream;
    uint64_t index;
    size_t max;
    int rc;
    struct chassis_journal_stream info;
    uint64_t n, last_seen, term;
    char text[64];
};
static inline int rig_each(const struct chassis_journal_record *record, void *data)
{
    struct rig_look *l = data;
    if (l->n++ == 0) {
        snprintf(l->text, sizeof l->text, "%.*s", CHASSIS_VIEW_ARG(record->payload));
        l->term = record->term;
    }
    l->last_seen = record->index;
    return 0;
}
static inline void rig_look_now(void *data)
{
    struct rig_look *l = data;
    l->info = chassis_journal_stream(l->rig->journal, l->stream);
    l->rc = chassis_journal_read(l->rig->journal, l->stream, l->index, l->max, rig_each, l,
                                 &l->rig->err);
}
static inline struct rig_look rig_read(struct rig *r, uint32_t stream, uint64_t index, size_t max)
{
    struct rig_look l = {.rig = r, .stream = stream, .index = index, .max = max};
    chassis_sim_call(r->options.owner, rig_look_now, &l);
    return l;
}
struct rig_cut {
    struct rig *rig;
    uint32_t stream;
    uint64_t index;
};
static inline void rig_trim_now(void *data)
{
    struct rig_cut *c = data;
    chassis_journal_trim(c->rig->journal, c->stream, c->index);
}
static inline void rig_trim(struct rig *r, uint32_t stream, uint64_t through)
{
    struct rig_cut c = {r, stream, through};
    chassis_sim_call(r->options.owner, rig_trim_now, &c);
}
static inline void rig_reset_now(void *data)
{
    struct rig_cut *c = data;
    chassis_journal_reset(c->rig->journal, c->stream, c->index, 3);
}
static inline void rig_reset(struct rig *r, uint32_t stream, uint64_t next)
{
    struct rig_cut c = {r, stream, next};
    chassis_sim_call(r->options.owner, rig_reset_now, &c);
}

#endif
