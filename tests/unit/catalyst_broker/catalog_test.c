/* The catalog on a simulated machine: what was committed is there after any crash. */
#include "tests/unit/journal/rig.h"

#include "catalyst/broker/catalog.h"

enum { KEYS = 40, PENDING_MAX = 64 };

struct world {
    struct rig rig;
    struct cat_catalog *catalog;
    int rc;
    /* The model: value number of each key, 0 = none. */
    uint32_t acked[KEYS], wanted[KEYS][PENDING_MAX + 1];
    unsigned n_wanted[KEYS];
    uint32_t next_value;
    unsigned done;
};
static struct world w;

struct pending {
    struct cat_commit commit;
    unsigned keys[3], n;
    uint32_t values[3];
    struct pending *next;
};
static struct pending *all;

static struct chassis_view key_of(unsigned key)
{
    static char text[16];
    snprintf(text, sizeof text, "key-%u", key);
    return chassis_view_str(text);
}

static struct chassis_view value_of(uint32_t value, char out[300])
{
    int len = snprintf(out, 300, "%u:%*s", value, (int)(value * 7 % 250), "");
    return chassis_view(out, (size_t)len);
}

static void open_now(void *data)
{
    w.catalog = NULL;
    w.rc = cat_catalog_open(w.rig.journal, w.rig.options.log, &w.catalog, &w.rig.err);
}

static void on_done(struct cat_commit *commit)
{
    struct pending *p = chassis_container_of(commit, struct pending, commit);
    for (unsigned i = 0; i < p->n; i++) {
        unsigned k = p->keys[i];
        assert_int_equal(w.wanted[k][0], p->values[i]); /* in order */
        memmove(w.wanted[k], w.wanted[k] + 1, --w.n_wanted[k] * sizeof w.wanted[k][0]);
        w.acked[k] = p->values[i];
        char text[300];
        struct chassis_view value;
        int rc = cat_catalog_get(w.catalog, CAT_ROW_GROUP, key_of(k), &value);
        assert_int_equal(rc, p->values[i] == 0 ? CHASSIS_NOT_FOUND : 0);
        assert_true(rc != 0 || chassis_view_eq(value, value_of(p->values[i], text)));
    }
    w.done++;
}

static void change_now(void *data)
{
    struct chassis_prng *prng = chassis_sim_prng(w.rig.sim);
    struct pending *p = calloc(1, sizeof *p);
    struct cat_change changes[3];
    static char keys[3][16], values[3][300];
    p->next = all;
    all = p;
    p->n = 1 + (unsigned)chassis_prng_below(prng, 3);
    unsigned first = (unsigned)chassis_prng_below(prng, KEYS);
    for (unsigned i = 0; i < p->n; i++) {
        unsigned k = (first + i) % KEYS;
        p->keys[i] = k;
        p->values[i] = chassis_prng_chance(prng, 0.2) ? 0 : ++w.next_value;
        snprintf(keys[i], sizeof keys[i], "key-%u", k);
        changes[i] =
            (struct cat_change){CAT_ROW_GROUP, chassis_view_str(keys[i]), chassis_view(NULL, 0)};
        if (p->values[i] != 0) {
            changes[i].value = value_of(p->values[i], values[i]);
        }
        if (w.n_wanted[k] == PENDING_MAX) {
            return;
        }
    }
    p->commit.done = on_done;
    if (cat_catalog_commit(w.catalog, changes, p->n, &p->commit, &w.rig.err) != 0) {
        return;
    }
    for (unsigned i = 0; i < p->n; i++) {
        w.wanted[p->keys[i]][w.n_wanted[p->keys[i]]++] = p->values[i];
    }
}

/* What is there is what was acknowledged, or what was on its way. */
static void check_now(void *data)
{
    for (unsigned k = 0; k < KEYS; k++) {
        struct chassis_view value;
        char text[300];
        uint32_t found = 0;
        if (cat_catalog_get(w.catalog, CAT_ROW_GROUP, key_of(k), &value) == 0) {
            found = (uint32_t)strtoul((const char *)value.data, NULL, 10);
            assert_true(chassis_view_eq(value, value_of(found, text)));
        }
        bool ok = found == w.acked[k];
        for (unsigned i = 0; i < w.n_wanted[k]; i++) {
            ok = ok || found == w.wanted[k][i];
        }
        assert_true(ok);
        w.acked[k] = found;
        w.n_wanted[k] = 0;
    }
}

static void forget_pending(void)
{
    while (all != NULL) {
        struct pending *next = all->next;
        chassis_buf_fini(&all->commit.payload);
        free(all);
        all = next;
    }
}

static void begin(uint64_t seed, uint64_t segment_bytes)
{
    memset(&w, 0, sizeof w);
    rig_init(&w.rig, seed, segment_bytes);
    assert_int_equal(rig_open(&w.rig), 0);
    chassis_sim_call(w.rig.options.owner, open_now, NULL);
    assert_int_equal(w.rc, 0);
}

static void again(bool crash)
{
    if (crash) {
        cat_catalog_close(w.catalog);
        assert_int_equal(rig_crash(&w.rig, true), 0);
    } else {
        rig_close(&w.rig);
        cat_catalog_close(w.catalog);
        assert_int_equal(rig_open(&w.rig), 0);
    }
    forget_pending();
    chassis_sim_call(w.rig.options.owner, open_now, NULL);
    if (w.rc != 0) {
        fail_msg("%s", w.rig.err.text);
    }
}

static void end(void)
{
    cat_catalog_close(w.catalog);
    rig_fini(&w.rig);
    forget_pending();
}

static void what_was_committed_is_there_after_crashes(void **state)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        begin(seed, 16384);
        struct chassis_prng *prng = chassis_sim_prng(w.rig.sim);
        for (unsigned cycle = 0; cycle < 12; cycle++) {
            unsigned n = (unsigned)chassis_prng_below(prng, 80);
            for (unsigned i = 0; i < n; i++) {
                chassis_sim_call(w.rig.options.owner, change_now, NULL);
                if (chassis_prng_chance(prng, 0.4)) {
                    rig_run(&w.rig, chassis_prng_below(prng, 600000));
                }
            }
            again(chassis_prng_chance(prng, 0.8));
            chassis_sim_call(w.rig.options.owner, check_now, NULL);
        }
        end();
    }
}

static int count_one(void *data, struct chassis_view key, struct chassis_view value)
{
    ++*(unsigned *)data;
    return 0;
}

static void log_size_now(void *data)
{
    struct chassis_journal_stream s = chassis_journal_stream(w.rig.journal, CAT_CATALOG_STREAM);
    *(uint64_t *)data = s.last_index + 1 - s.first_index;
}

static void the_log_of_a_changing_table_stays_small(void **state)
{
    begin(7, 1 << 20);
    for (unsigned i = 0; i < 30000; i++) {
        chassis_sim_call(w.rig.options.owner, change_now, NULL);
        if (i % 16 == 15) {
            rig_run(&w.rig, 2 * CHASSIS_NS_PER_MS);
        }
    }
    uint64_t records = 0;
    rig_run(&w.rig, CHASSIS_NS_PER_S);
    assert_true(w.done > 10000);
    chassis_sim_call(w.rig.options.owner, log_size_now, &records);
    assert_in_range(records, 1, 5000);
    unsigned before = 0, after = 0;
    cat_catalog_each(w.catalog, CAT_ROW_GROUP, count_one, &before);
    again(true);
    chassis_sim_call(w.rig.options.owner, check_now, NULL);
    cat_catalog_each(w.catalog, CAT_ROW_GROUP, count_one, &after);
    assert_int_equal(before, after);
    end();
}

static void keep_cold_now(void *data)
{
    struct pending *p = calloc(1, sizeof *p);
    p->next = all;
    all = p;
    struct cat_change change = {CAT_ROW_FLOOR, chassis_view_str("cold"), chassis_view_str("value")};
    p->commit.done = on_done;
    assert_int_equal(cat_catalog_commit(w.catalog, &change, 1, &p->commit, &w.rig.err), 0);
}

static void find_cold_now(void *data)
{
    struct chassis_view value;
    assert_int_equal(cat_catalog_get(w.catalog, CAT_ROW_FLOOR, chassis_view_str("cold"), &value),
                     0);
    assert_true(chassis_view_eq(value, chassis_view_str("value")));
}

static void a_row_that_never_changes_does_not_pin_the_log(void **state)
{
    begin(8, 1 << 20);
    chassis_sim_call(w.rig.options.owner, keep_cold_now, NULL);
    for (unsigned i = 0; i < 10000; i++) {
        chassis_sim_call(w.rig.options.owner, change_now, NULL);
        if (i % 16 == 15) {
            rig_run(&w.rig, 2 * CHASSIS_NS_PER_MS);
        }
    }
    rig_run(&w.rig, CHASSIS_NS_PER_S);
    uint64_t records = 0;
    chassis_sim_call(w.rig.options.owner, log_size_now, &records);
    assert_in_range(records, 1, 5000);
    again(true);
    chassis_sim_call(w.rig.options.owner, find_cold_now, NULL);
    end();
}

static void append_newer_now(void *data)
{
    static struct rig_append a;
    a = (struct rig_append){.base.stream = CAT_CATALOG_STREAM, .rig = &w.rig, .n = 1};
    a.index = chassis_journal_stream(w.rig.journal, CAT_CATALOG_STREAM).last_index + 1;
    struct chassis_journal_record record = {
        .index = a.index, .type = 1, .payload = chassis_view("\x09\x00", 2)};
    a.base.records = &record;
    a.base.n_records = 1;
    a.base.done = rig_on_done;
    assert_int_equal(chassis_journal_append(w.rig.journal, &a.base, &w.rig.err), 0);
}

static void a_newer_format_is_refused_naming_both(void **state)
{
    begin(1, 16384);
    chassis_sim_call(w.rig.options.owner, append_newer_now, NULL);
    rig_close(&w.rig);
    cat_catalog_close(w.catalog);
    assert_int_equal(rig_open(&w.rig), 0);
    chassis_sim_call(w.rig.options.owner, open_now, NULL);
    assert_int_equal(w.rc, CHASSIS_BAD_VERSION);
    assert_non_null(strstr(w.rig.err.text, "format 9"));
    assert_non_null(strstr(w.rig.err.text, "up to 1"));
    rig_fini(&w.rig);
}

static void fault_body(void *data)
{
    begin(3, 16384);
    for (unsigned i = 0; i < 20; i++) {
        chassis_sim_call(w.rig.options.owner, change_now, NULL);
        rig_run(&w.rig, 300000);
    }
    again(true);
    chassis_sim_call(w.rig.options.owner, check_now, NULL);
    end();
}

static void a_refused_commit_leaves_nothing(void **state)
{
    assert_int_equal(test_each_fault("catalyst.catalog", fault_body, NULL), 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_committed_is_there_after_crashes),
        cmocka_unit_test(the_log_of_a_changing_table_stays_small),
        cmocka_unit_test(a_row_that_never_changes_does_not_pin_the_log),
        cmocka_unit_test(a_newer_format_is_refused_naming_both),
        cmocka_unit_test(a_refused_commit_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
