/* Seeded crashes: what was acknowledged is there, as far as was asked for (a sync: always, a write: after
 * a kill), what is read meanwhile is what was appended, and each stream is what it was after some
 * prefix of the changes made to it. */
#include "tests/unit/journal/rig.h"

#include <chassis/metrics.h>

#include "os/os.h"

enum { STREAMS = 5, INDEX_MAX = 16384, OPS_MAX = 4096, CYCLES = 12 };

struct op {
    bool reset;
    uint64_t index, value; /* reset: index = last */
};
struct model {
    uint64_t first, last, floor;
    uint64_t values[INDEX_MAX];
    struct op ops[OPS_MAX];
    size_t n_ops; /* since the last opening */
    size_t synced, written,
        done;     /* of these: what survives a loss of power, a kill; acknowledged */
    size_t acked; /* what had to survive */
};
struct pending {
    struct chassis_journal_append base;
    struct model *model;
    size_t n_ops; /* of the stream once this is done */
};
static struct model models[STREAMS];
static struct rig rig;
static struct pending *all[100000];
static size_t n_all;
static uint64_t next_value;
static char seed_text[24]; /* SEED=n runs one alone, SEEDS=n so many */
static unsigned long crashes, records_checked, appended;
static struct { /* as the owner sees it now, including what is not durable */
    uint64_t first, last;
    uint64_t values[INDEX_MAX];
    size_t ops[INDEX_MAX];             /* after so many operations the record was there */
    struct chassis_journal_scan *scan; /* on the way through it, or NULL */
    uint64_t scan_next;
} now[STREAMS];
static struct chassis_journal_scratch scratch;
static unsigned long scanned, read_live;
static bool lazy; /* some appends do not wait for a sync */

static size_t payload_of(uint64_t value, uint8_t out[1200])
{
    size_t len = 8 + value * 2654435761U % (value % 17 == 0 ? 1100 : 120);
    memset(out, (int)(value & 0xff), len);
    memcpy(out, &value, 8);
    return len;
}

static void on_done(struct chassis_journal_append *base)
{
    struct pending *p = (struct pending *)base;
    switch (base->durability) {
    case CHASSIS_JOURNAL_NONE:
        return;
    case CHASSIS_JOURNAL_SYNC:
        p->model->synced = p->n_ops;
        break;
    case CHASSIS_JOURNAL_INTERVAL:
        p->model->written = p->n_ops;
        break;
    }
    assert_true(p->n_ops > p->model->done); /* in order */
    p->model->done = p->n_ops;
}

static void append_some(unsigned s)
{
    struct chassis_prng *prng = chassis_sim_prng(rig.sim);
    struct model *m = &models[s];
    size_t n = 1 + chassis_prng_below(prng, 4);
    uint64_t index = now[s].last + 1;
    if (chassis_prng_chance(prng, 0.15) && now[s].last >= now[s].first) {
        index = now[s].first + chassis_prng_below(prng, now[s].last - now[s].first + 1);
    }
    struct chassis_journal_record records[4];
    uint8_t payloads[4][1200];
    for (size_t i = 0; i < n; i++) {
        uint64_t value = ++next_value;
        size_t len = payload_of(value, payloads[i]);
        records[i] = (struct chassis_journal_record){
            .index = index + i, .term = value, .payload = chassis_view(payloads[i], len)};
        m->ops[m->n_ops++] = (struct op){false, index + i, value};
        now[s].values[index + i] = value;
        now[s].ops[index + i] = m->n_ops;
    }
    struct pending *p = calloc(1, sizeof *p);
    all[n_all++] = p;
    p->base.stream = s;
    p->base.records = records;
    p->base.n_records = n;
    p->base.done = on_done;
    if (lazy && chassis_prng_chance(prng, 0.7)) {
        p->base.durability =
            chassis_prng_chance(prng, 0.5) ? CHASSIS_JOURNAL_INTERVAL : CHASSIS_JOURNAL_NONE;
    }
    p->model = m;
    p->n_ops = m->n_ops;
    assert_int_equal(chassis_journal_append(rig.journal, &p->base, &rig.err), 0);
    now[s].last = index + n - 1;
    appended += n;
}

/* ---- what is read while it goes on ---- */

struct look {
    unsigned stream;
    uint64_t next;
    unsigned long n;
};

static int see(const struct chassis_journal_record *record, void *data)
{
    struct look *l = data;
    uint8_t want[1200];
    uint64_t value = now[l->stream].values[record->index];
    assert_int_equal(record->index, l->next);
    assert_int_equal(record->term, value);
    assert_int_equal(record->payload.len, payload_of(value, want));
    assert_memory_equal(record->payload.data, want, record->payload.len);
    l->next++;
    l->n++;
    return 0;
}

static void look_as_owner(void *data)
{
    unsigned s = *(unsigned *)data;
    struct look l = {s, now[s].first, 0};
    while (l.next <= now[s].last) {
        size_t max = 1 + chassis_prng_below(chassis_sim_prng(rig.sim), 4000);
        if (chassis_journal_read(rig.journal, s, l.next, max, see, &l, &rig.err) != 0) {
            fail_msg("seed %s: %s", seed_text, rig.err.text);
        }
    }
    read_live += l.n;
}

static void move_scan(void *data)
{
    unsigned s = *(unsigned *)data;
    if (now[s].scan != NULL) {
        int rc = chassis_journal_scan_refresh(now[s].scan, &rig.err);
        assert_true(rc == 0 || (rc == CHASSIS_NOT_FOUND && now[s].scan_next < now[s].first) ||
                    (rc == CHASSIS_ABORTED && now[s].scan_next > 1));
        if (rc != 0 || chassis_prng_chance(chassis_sim_prng(rig.sim), 0.1)) {
            chassis_journal_scan_close(now[s].scan);
            now[s].scan = NULL;
        }
    } else if (now[s].last != 0) {
        now[s].scan_next = now[s].first + chassis_prng_below(chassis_sim_prng(rig.sim),
                                                             now[s].last - now[s].first + 2);
        assert_int_equal(
            chassis_journal_scan_open(rig.journal, s, now[s].scan_next, &now[s].scan, &rig.err), 0);
    }
}

static void look_as_scan(void *data)
{
    unsigned s = *(unsigned *)data;
    struct look l = {s, now[s].scan_next, 0};
    size_t max = 1 + chassis_prng_below(chassis_sim_prng(rig.sim), 6000);
    if (chassis_journal_scan_read(now[s].scan, &scratch, max, see, &l, &rig.err) != 0) {
        fail_msg("seed %s: %s", seed_text, rig.err.text);
    }
    now[s].scan_next = l.next;
    assert_int_equal(chassis_journal_scan_next(now[s].scan), l.next);
    scanned += l.n;
}

static void look(unsigned s)
{
    struct chassis_prng *prng = chassis_sim_prng(rig.sim);
    if (chassis_prng_chance(prng, 0.2)) {
        chassis_sim_call(rig.options.owner, look_as_owner, &s);
    }
    if (now[s].scan == NULL || chassis_prng_chance(prng, 0.4)) {
        chassis_sim_call(rig.options.owner, move_scan, &s);
    }
    if (now[s].scan != NULL) {
        chassis_sim_call(chassis_sim_executor(rig.host, "worker", 0), look_as_scan, &s);
    }
}

/* What the journal says must survive, besides what it acknowledged. */
static void note_claims(void *data)
{
    bool power = *(bool *)data;
    for (unsigned s = 0; s < STREAMS; s++) {
        struct model *m = &models[s];
        struct chassis_journal_stream info = chassis_journal_stream(rig.journal, s);
        uint64_t index = power ? info.durable_index : info.written_index;
        assert_true(info.durable_index <= info.written_index);
        assert_true(info.written_index <= info.last_index);
        m->acked = power || m->synced > m->written ? m->synced : m->written;
        if (index >= now[s].first && index <= now[s].last && now[s].ops[index] > m->acked) {
            m->acked = now[s].ops[index];
        }
    }
}

static void close_scans(void *data)
{
    for (unsigned s = 0; s < STREAMS; s++) {
        chassis_journal_scan_close(now[s].scan);
        now[s].scan = NULL;
    }
}

static void change(void *data)
{
    struct chassis_prng *prng = chassis_sim_prng(rig.sim);
    unsigned s = (unsigned)chassis_prng_below(prng, STREAMS);
    struct model *m = &models[s];
    double what = chassis_prng_unit(prng);
    if (what < 0.85 || now[s].last < 3) {
        append_some(s);
    } else if (what < 0.97) {
        uint64_t through = now[s].first + chassis_prng_below(prng, now[s].last - now[s].first + 2);
        if (through > now[s].last || chassis_prng_chance(prng, 0.5)) {
            through = now[s].last; /* all of it: only the stream's state is left */
        }
        chassis_journal_trim(rig.journal, s, through);
        if (through >= now[s].first) {
            now[s].first = through + 1;
            m->floor =
                through + 1 > m->floor ? through + 1 : m->floor; /* a stream may begin again */
        }
    } else if (what < 0.975) {
        chassis_journal_forget(rig.journal, s);
        m->ops[m->n_ops++] = (struct op){true, 0, 0};
        now[s].first = 1;
        now[s].last = 0;
    } else {
        uint64_t next = now[s].last + 1 + chassis_prng_below(prng, 20);
        chassis_journal_reset(rig.journal, s, next, 1);
        m->ops[m->n_ops++] = (struct op){true, next - 1, 0};
        now[s].first = next;
        now[s].last = next - 1;
    }
}

static void apply(struct model *m, const struct op *op)
{
    assert_true(op->index < INDEX_MAX);
    m->last = op->index;
    if (op->reset) {
        m->first = op->index + 1;
    } else {
        m->first = op->index < m->first ? op->index : m->first;
        m->values[op->index] = op->value;
    }
}

struct got {
    uint64_t values[INDEX_MAX], next;
};
static struct got got;

static int take(const struct chassis_journal_record *record, void *data)
{
    uint8_t want[1200];
    uint64_t value;
    assert_int_equal(record->index, got.next);
    memcpy(&value, record->payload.data, 8);
    size_t len = payload_of(value, want);
    assert_int_equal(record->payload.len, len);
    assert_memory_equal(record->payload.data, want, len);
    assert_int_equal(record->term, value);
    got.values[got.next++] = value;
    records_checked++;
    return 0;
}

static bool matches(const struct model *m, const struct chassis_journal_stream *info)
{
    if (m->last != info->last_index) {
        return false;
    }
    uint64_t floor = m->floor > m->last + 1 ? m->last + 1 : m->floor;
    uint64_t first = m->first > floor ? m->first : floor;
    if (info->first_index > first) {
        return false;
    }
    for (uint64_t i = first; i <= m->last; i++) {
        if (got.values[i] != m->values[i]) {
            return false;
        }
    }
    return true;
}

static void check_stream(unsigned s)
{
    struct model *m = &models[s];
    struct chassis_journal_stream info = chassis_journal_stream(rig.journal, s);
    if (info.first_index == 0) {
        info.first_index = 1; /* never written, as far as the disk knows */
    }
    memset(&got, 0, sizeof got);
    got.next = info.first_index;
    while (got.next <= info.last_index) {
        size_t max = 1 + chassis_prng_below(chassis_sim_prng(rig.sim), 4000);
        if (chassis_journal_read(rig.journal, s, got.next, max, take, NULL, &rig.err) != 0) {
            fail_msg("%s", rig.err.text);
        }
    }
    size_t k = 0;
    for (; k < m->acked; k++) {
        apply(m, &m->ops[k]);
    }
    while (!matches(m, &info)) {
        if (k == m->n_ops) {
            fail_msg("seed %s: stream %u: %llu … %llu is no prefix of its changes", seed_text, s,
                     (unsigned long long)info.first_index, (unsigned long long)info.last_index);
        }
        apply(m, &m->ops[k++]);
    }
    m->n_ops = m->acked = m->synced = m->written = m->done = 0;
    memset(now[s].ops, 0, sizeof now[s].ops);
    m->first = info.first_index;
    memcpy(&m->values, &got.values, sizeof m->values);
    memcpy(&now[s].values, &got.values, sizeof now[s].values);
    m->floor = 0;
    now[s].first = info.first_index;
    now[s].last = info.last_index;
    assert_int_equal(info.durable_index, info.last_index);
}

static void check(void *data)
{
    for (unsigned s = 0; s < STREAMS; s++) {
        check_stream(s);
    }
}

static void live(uint64_t seed)
{
    rig_init(&rig, seed, seed % 3 == 0 ? 4096 : 16384);
    rig.options.cache_bytes_per_stream = seed % 2 == 0 ? 1000 : 0;
    rig.options.live_percent = seed % 5 == 0 ? 0 : 30 + seed % 70;
    rig.options.sync_interval_ms = 1 + seed % 13;
    lazy = seed % 7 < 4;
    memset(models, 0, sizeof models);
    next_value = seed * 1000; /* equal seeds give equal runs */
    for (unsigned s = 0; s < STREAMS; s++) {
        models[s].first = 1;
        now[s].first = 1;
        now[s].last = 0;
    }
    assert_int_equal(rig_open(&rig), 0);
    struct chassis_prng *prng = chassis_sim_prng(rig.sim);
    for (int cycle = 0; cycle < CYCLES; cycle++) {
        unsigned n = (unsigned)chassis_prng_below(prng, 60);
        for (unsigned i = 0; i < n; i++) {
            chassis_sim_call(rig.options.owner, change, NULL);
            if (chassis_prng_chance(prng, 0.5)) {
                rig_run(&rig, chassis_prng_below(prng, 400000));
            }
            if (chassis_prng_chance(prng, 0.3)) {
                look((unsigned)chassis_prng_below(prng, STREAMS));
            }
        }
        if (chassis_prng_chance(prng, 0.3)) {
            rig_run(&rig, 20 * CHASSIS_NS_PER_MS); /* idle */
        }
        int rc;
        if (chassis_prng_chance(prng, 0.5)) {
            chassis_sim_call(rig.options.owner, close_scans, NULL); /* else they outlive it */
        }
        bool power = chassis_prng_chance(prng, 0.7);
        chassis_sim_call(rig.options.owner, note_claims, &power);
        if (chassis_prng_chance(prng, 0.1)) {
            rig_close(&rig);
            for (unsigned s = 0; s < STREAMS; s++) {
                models[s].acked = models[s].n_ops;
            }
            rc = rig_open(&rig);
        } else {
            rc = rig_crash(&rig, power);
        }
        if (rc != 0) {
            fail_msg("seed %llu cycle %d: %s", (unsigned long long)seed, cycle, rig.err.text);
        }
        crashes++;
        close_scans(NULL);
        for (size_t i = 0; i < n_all; i++) {
            free(all[i]);
        }
        n_all = 0;
        chassis_sim_call(rig.options.owner, check, NULL);
    }
    rig_fini(&rig);
}

static void ten_thousand_crashes_lose_nothing_that_was_acknowledged(void **state)
{
    const char *one = getenv("SEED");
    uint64_t from = one != NULL ? strtoull(one, NULL, 10) : 0;
    const char *many = getenv("SEEDS");
    uint64_t to = one != NULL ? from + 1 : many != NULL ? strtoull(many, NULL, 10) : 900;
    static const uint64_t kept[] = {1083, 1587, 2259, 9237}; /* failed once */
    uint64_t begin = chassis_os_monotonic_ns();
    for (unsigned i = 0; one == NULL && i < sizeof kept / sizeof kept[0]; i++) {
        snprintf(seed_text, sizeof seed_text, "%llu", (unsigned long long)kept[i]);
        live(kept[i]);
    }
    for (uint64_t seed = from; seed < to; seed++) {
        snprintf(seed_text, sizeof seed_text, "%llu", (unsigned long long)seed);
        live(seed);
    }
    chassis_journal_scratch_fini(&scratch);
    struct chassis_counter *copied =
        chassis_counter("chassis_journal_copied_bytes_total", "", NULL, 0);
    print_message(
        "%lu crashes, %lu records appended, %lu read back, %lu read and %lu scanned before, "
        "%llu bytes copied forward, %.1f s\n",
        crashes, appended, records_checked, read_live, scanned,
        (unsigned long long)chassis_counter_value(copied),
        (double)(chassis_os_monotonic_ns() - begin) / 1e9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_crashes_lose_nothing_that_was_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
