/* One suite for every repository: what it promises in plugin/repository.h. */
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include <chassis/plugin/repository.h>

#include "base/prng.h"
#include "os/os.h"

static const char *const tables[] = {"alpha", "beta", "gamma"};
static const struct chassis_repository *repository;
static char directory[256];
static uint64_t size_max;
static struct chassis_store *store;

static void open_store(void)
{
    struct chassis_error err = {0};
    struct chassis_repository_options options = {
        .path = directory, .size_max_bytes = size_max, .tables = tables, .n_tables = 3};
    if (repository->open(&options, &store, &err) != 0) {
        fail_msg("%s", err.text);
    }
}
static int setup(void **state)
{
    test_tmpdir(directory);
    size_max = 1 << 28;
    open_store();
    return 0;
}
static int teardown(void **state)
{
    chassis_store_close(store);
    test_rmtree(directory);
    return 0;
}

static struct chassis_txn *begin(bool write)
{
    struct chassis_txn *txn = NULL;
    assert_int_equal(chassis_store_begin(store, write, &txn, NULL), 0);
    return txn;
}
static void commit(struct chassis_txn *txn)
{
    assert_int_equal(chassis_txn_commit(txn, NULL), 0);
}
static int put(struct chassis_txn *txn, unsigned table, const char *key, const char *value)
{
    return chassis_txn_put(txn, table, chassis_view_str(key), chassis_view_str(value));
}
static const char *get(struct chassis_txn *txn, unsigned table, const char *key)
{
    static char text[64];
    struct chassis_view value;
    int rc = chassis_txn_get(txn, table, chassis_view_str(key), &value);
    if (rc != 0) {
        assert_int_equal(rc, CHASSIS_NOT_FOUND);
        return "-";
    }
    snprintf(text, sizeof text, "%.*s", CHASSIS_VIEW_ARG(value));
    return text;
}

static void a_commit_is_seen_and_an_abort_is_not(void **state)
{
    struct chassis_txn *txn = begin(true);
    assert_int_equal(put(txn, 0, "a", "1"), 0);
    assert_string_equal(get(txn, 0, "a"), "1");
    commit(txn);
    txn = begin(true);
    put(txn, 0, "a", "2");
    put(txn, 0, "b", "2");
    assert_int_equal(chassis_txn_del(txn, 0, chassis_view_str("nothing")), CHASSIS_NOT_FOUND);
    chassis_txn_abort(txn);
    txn = begin(false);
    assert_string_equal(get(txn, 0, "a"), "1");
    assert_string_equal(get(txn, 0, "b"), "-");
    assert_string_equal(get(txn, 1, "a"), "-");
    assert_int_equal(chassis_txn_count(txn, 0), 1);
    chassis_txn_abort(txn);
}

static void a_reader_sees_one_moment_while_writers_go_on(void **state)
{
    struct chassis_txn *txn = begin(true);
    put(txn, 0, "a", "old");
    put(txn, 1, "a", "old");
    commit(txn);
    struct chassis_txn *before = begin(false);
    txn = begin(true);
    put(txn, 0, "a", "new");
    chassis_txn_clear(txn, 1);
    struct chassis_txn *during = begin(false);
    commit(txn);
    struct chassis_txn *after = begin(false);
    assert_string_equal(get(before, 0, "a"), "old");
    assert_string_equal(get(during, 1, "a"), "old");
    assert_string_equal(get(after, 0, "a"), "new");
    assert_string_equal(get(after, 1, "a"), "-");
    assert_int_equal(chassis_txn_count(before, 1), 1);
    chassis_txn_abort(before);
    chassis_txn_abort(after);
    assert_int_equal(chassis_txn_commit(during, NULL), 0);
}

static void keys_have_a_size(void **state)
{
    char big[CHASSIS_STORE_KEY_MAX + 1];
    memset(big, 'k', sizeof big);
    struct chassis_view longest = chassis_view(big, CHASSIS_STORE_KEY_MAX);
    struct chassis_view too_long = chassis_view(big, sizeof big), value;
    struct chassis_txn *txn = begin(true);
    struct chassis_view v = chassis_view_str("v"), none = chassis_view_str("");
    assert_int_equal(chassis_txn_put(txn, 0, longest, v), 0);
    assert_int_equal(chassis_txn_put(txn, 0, too_long, v), CHASSIS_TOO_LARGE);
    assert_int_equal(chassis_txn_append(txn, 0, too_long, v), CHASSIS_TOO_LARGE);
    assert_int_equal(chassis_txn_get(txn, 0, too_long, &value), CHASSIS_TOO_LARGE);
    assert_int_equal(chassis_txn_del(txn, 0, too_long), CHASSIS_TOO_LARGE);
    assert_int_equal(chassis_txn_put(txn, 0, none, v), CHASSIS_INVALID_ARGUMENT);
    assert_int_equal(chassis_txn_get(txn, 0, none, &value), CHASSIS_INVALID_ARGUMENT);
    assert_int_equal(chassis_txn_get(txn, 0, longest, &value), 0);
    assert_int_equal(put(txn, 0, "empty", ""), 0);
    assert_int_equal(chassis_txn_get(txn, 0, chassis_view_str("empty"), &value), 0);
    assert_int_equal(value.len, 0);
    struct chassis_cursor *c;
    assert_int_equal(chassis_cursor_open(txn, 0, &c), 0);
    assert_int_equal(chassis_cursor_seek(c, too_long, &value, &value), CHASSIS_TOO_LARGE);
    chassis_cursor_close(c);
    commit(txn);
}

static void append_takes_rising_keys_only(void **state)
{
    struct chassis_txn *txn = begin(true);
    for (int i = 0; i < 5000; i++) {
        char key[16];
        snprintf(key, sizeof key, "%08d", i);
        assert_int_equal(chassis_txn_append(txn, 2, chassis_view_str(key), chassis_view_str("v")),
                         0);
    }
    assert_int_equal(
        chassis_txn_append(txn, 2, chassis_view_str("00004999"), chassis_view_str("v")),
        CHASSIS_INVALID_ARGUMENT);
    assert_int_equal(chassis_txn_append(txn, 2, chassis_view_str("0"), chassis_view_str("v")),
                     CHASSIS_INVALID_ARGUMENT);
    assert_int_equal(chassis_txn_count(txn, 2), 5000);
    commit(txn);
}

/* Where the cursor went, as "key=value", or the name of the error. */
static const char *at(int rc, struct chassis_view key, struct chassis_view value)
{
    static char text[64];
    if (rc != 0) {
        return chassis_status_name(rc);
    }
    snprintf(text, sizeof text, "%.*s=%.*s", CHASSIS_VIEW_ARG(key), CHASSIS_VIEW_ARG(value));
    return text;
}
#define SEEK(k) at(chassis_cursor_seek(c, chassis_view_str(k), &key, &value), key, value)
#define NEXT()  at(chassis_cursor_next(c, &key, &value), key, value)
#define PREV()  at(chassis_cursor_prev(c, &key, &value), key, value)
#define LAST()  at(chassis_cursor_last(c, &key, &value), key, value)

static void a_cursor_walks_both_ways_and_turns_at_the_ends(void **state)
{
    struct chassis_view key = {0}, value = {0};
    struct chassis_cursor *c;
    struct chassis_txn *txn = begin(true);
    assert_int_equal(chassis_cursor_open(txn, 0, &c), 0);
    assert_string_equal(NEXT(), "NOT_FOUND");
    assert_string_equal(LAST(), "NOT_FOUND");
    assert_string_equal(SEEK(""), "NOT_FOUND");
    chassis_cursor_close(c);
    put(txn, 0, "b", "2");
    put(txn, 0, "d", "4");
    put(txn, 0, "f", "6");
    commit(txn);
    txn = begin(false);
    assert_int_equal(chassis_cursor_open(txn, 0, &c), 0);
    assert_string_equal(NEXT(), "b=2"); /* from nowhere */
    assert_string_equal(SEEK("c"), "d=4");
    assert_string_equal(NEXT(), "f=6");
    assert_string_equal(NEXT(), "NOT_FOUND");
    assert_string_equal(NEXT(), "NOT_FOUND");
    assert_string_equal(PREV(), "f=6");
    assert_string_equal(PREV(), "d=4");
    assert_string_equal(SEEK(""), "b=2");
    assert_string_equal(PREV(), "NOT_FOUND");
    assert_string_equal(PREV(), "NOT_FOUND");
    assert_string_equal(NEXT(), "b=2");
    assert_string_equal(SEEK("g"), "NOT_FOUND");
    assert_string_equal(NEXT(), "NOT_FOUND");
    assert_string_equal(PREV(), "f=6");
    assert_string_equal(LAST(), "f=6");
    assert_string_equal(SEEK("d"), "d=4");
    chassis_cursor_close(c);
    assert_int_equal(chassis_cursor_open(txn, 0, &c), 0);
    assert_string_equal(PREV(), "f=6"); /* from nowhere */
    chassis_cursor_close(c);
    chassis_txn_abort(txn);
}

static void a_cursor_goes_on_from_its_key_when_the_table_changes(void **state)
{
    struct chassis_view key = {0}, value = {0};
    struct chassis_cursor *c;
    struct chassis_txn *txn = begin(true);
    for (char k = 'a'; k <= 'j'; k++) {
        char text[2] = {k, 0};
        put(txn, 0, text, text);
    }
    assert_int_equal(chassis_cursor_open(txn, 0, &c), 0);
    assert_string_equal(SEEK("c"), "c=c");
    chassis_txn_del(txn, 0, chassis_view_str("c"));
    assert_string_equal(NEXT(), "d=d");
    put(txn, 0, "da", "new");
    assert_string_equal(NEXT(), "da=new");
    chassis_txn_del(txn, 0, chassis_view_str("da"));
    assert_string_equal(PREV(), "d=d");
    chassis_txn_del(txn, 0, chassis_view_str("b"));
    assert_string_equal(PREV(), "a=a");
    assert_string_equal(LAST(), "j=j");
    chassis_txn_del(txn, 0, chassis_view_str("j"));
    assert_string_equal(PREV(), "i=i");
    chassis_txn_del(txn, 0, chassis_view_str("i"));
    assert_string_equal(NEXT(), "NOT_FOUND");
    chassis_txn_clear(txn, 0);
    assert_string_equal(PREV(), "NOT_FOUND");
    chassis_cursor_close(c);
    commit(txn);
}

/* The model: a sorted array of keys with values. */
enum { MODEL_KEYS = 600 };
struct model {
    bool there[MODEL_KEYS];
    uint32_t value[MODEL_KEYS];
};
static void model_key(int i, char out[32])
{
    memset(out, 'x', 32);
    snprintf(out, 32, "%0*d", 3 + i % 7, i);
}
static int by_key(const void *a, const void *b)
{
    char x[32], y[32];
    model_key(*(const int *)a, x);
    model_key(*(const int *)b, y);
    return strcmp(x, y);
}
static int order[MODEL_KEYS];

static void compare_all(struct chassis_txn *txn, const struct model *m)
{
    struct chassis_cursor *c;
    struct chassis_view key, value;
    uint64_t n = 0;
    assert_int_equal(chassis_cursor_open(txn, 1, &c), 0);
    for (int i = 0; i < MODEL_KEYS; i++) {
        if (m->there[order[i]]) {
            char want[32];
            model_key(order[i], want);
            n++;
            assert_int_equal(chassis_cursor_next(c, &key, &value), 0);
            assert_true(chassis_view_eq(key, chassis_view_str(want)));
            assert_true(value.len >= 4 && memcmp(value.data, &m->value[order[i]], 4) == 0);
        }
    }
    assert_int_equal(chassis_cursor_next(c, &key, &value), CHASSIS_NOT_FOUND);
    for (int i = MODEL_KEYS - 1; i >= 0; i--) {
        if (m->there[order[i]]) {
            char want[32];
            model_key(order[i], want);
            assert_int_equal(chassis_cursor_prev(c, &key, &value), 0);
            assert_true(chassis_view_eq(key, chassis_view_str(want)));
        }
    }
    assert_int_equal(chassis_txn_count(txn, 1), n);
    chassis_cursor_close(c);
}

static void change_at_random(struct chassis_txn *txn, struct chassis_prng *prng, struct model *m,
                             unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char key[32];
        uint8_t bytes[300] = {0};
        int k = (int)chassis_prng_below(prng, MODEL_KEYS);
        model_key(k, key);
        if (chassis_prng_chance(prng, 0.55)) {
            m->there[k] = true;
            m->value[k] = (uint32_t)chassis_prng_next(prng);
            memcpy(bytes, &m->value[k], 4);
            size_t len = 4 + chassis_prng_below(prng, sizeof bytes - 4);
            assert_int_equal(
                chassis_txn_put(txn, 1, chassis_view_str(key), chassis_view(bytes, len)), 0);
        } else {
            assert_int_equal(chassis_txn_del(txn, 1, chassis_view_str(key)),
                             m->there[k] ? 0 : CHASSIS_NOT_FOUND);
            m->there[k] = false;
        }
    }
    if (chassis_prng_chance(prng, 0.02)) {
        assert_int_equal(chassis_txn_clear(txn, 1), 0);
        memset(m->there, 0, sizeof m->there);
    }
}

static void random_changes_match_a_sorted_array(void **state)
{
    for (int i = 0; i < MODEL_KEYS; i++) {
        order[i] = i;
    }
    qsort(order, MODEL_KEYS, sizeof order[0], by_key);
    struct chassis_prng prng;
    chassis_prng_init(&prng, 42);
    static struct model now, draft, old;
    memset(&now, 0, sizeof now);
    memset(&old, 0, sizeof old);
    struct chassis_txn *reader = NULL;
    for (int round = 0; round < 400; round++) {
        struct chassis_txn *txn = begin(true);
        draft = now;
        change_at_random(txn, &prng, &draft, 1 + (unsigned)chassis_prng_below(&prng, 200));
        if (round % 10 == 0) {
            compare_all(txn, &draft);
        }
        if (chassis_prng_chance(&prng, 0.2)) {
            chassis_txn_abort(txn);
        } else {
            commit(txn);
            now = draft;
        }
        if (round % 13 == 0) { /* a reader that lasts several rounds */
            if (reader != NULL) {
                compare_all(reader, &old);
                chassis_txn_abort(reader);
            }
            reader = begin(false);
            old = now;
        }
    }
    chassis_txn_abort(reader);
    struct chassis_txn *txn = begin(false);
    compare_all(txn, &now);
    chassis_txn_abort(txn);
}

static void a_full_store_says_so_and_stays_usable(void **state)
{
    chassis_store_close(store);
    test_rmtree(directory);
    size_max = 1 << 20;
    open_store();
    static uint8_t value[2000];
    struct chassis_txn *txn = begin(true);
    int rc = 0, n = 0;
    for (; rc == 0 && n < 10000; n++) {
        rc = chassis_txn_put(txn, 0, chassis_view(&n, sizeof n), chassis_view(value, sizeof value));
    }
    assert_int_equal(rc, CHASSIS_NO_SPACE);
    chassis_txn_abort(txn);
    txn = begin(true);
    assert_int_equal(put(txn, 0, "small", "fits"), 0);
    commit(txn);
    struct chassis_store_space space;
    assert_int_equal(store->ops->space(store, &space), 0);
    assert_int_equal(space.limit_bytes, 1 << 20);
    assert_in_range(space.used_bytes, 1, 100000);
}

static void deleted_data_is_free_space_again(void **state)
{
    static uint8_t value[2000];
    struct chassis_store_space empty, full, again;
    store->ops->space(store, &empty);
    struct chassis_txn *txn = begin(true);
    for (int i = 0; i < 1000; i++) {
        chassis_txn_put(txn, 0, chassis_view(&i, sizeof i), chassis_view(value, sizeof value));
    }
    commit(txn);
    store->ops->space(store, &full);
    txn = begin(true);
    chassis_txn_clear(txn, 0);
    commit(txn);
    txn = begin(true);
    put(txn, 0, "a", "b");
    commit(txn);
    store->ops->space(store, &again);
    assert_true(full.used_bytes > empty.used_bytes + 1000000);
    assert_true(again.used_bytes < empty.used_bytes + 200000);
}

static void *read_all_the_time(void *data)
{
    for (int i = 0; i < 2000; i++) {
        struct chassis_txn *txn = begin(false);
        struct chassis_view a, b;
        uint64_t x = 0, y = 0;
        if (chassis_txn_get(txn, 0, chassis_view_str("x"), &a) == 0) {
            memcpy(&x, a.data, 8);
            if (chassis_txn_get(txn, 1, chassis_view_str("x"), &b) == 0) {
                memcpy(&y, b.data, 8);
            }
            if (x != y) {
                return data;
            }
        }
        chassis_txn_abort(txn);
    }
    return NULL;
}

static void readers_on_other_threads_never_see_half_a_commit(void **state)
{
    pthread_t readers[3];
    for (int i = 0; i < 3; i++) {
        pthread_create(&readers[i], NULL, read_all_the_time, "torn");
    }
    for (uint64_t i = 1; i < 2000; i++) {
        struct chassis_txn *txn = begin(true);
        chassis_txn_put(txn, 0, chassis_view_str("x"), chassis_view(&i, sizeof i));
        chassis_txn_put(txn, 1, chassis_view_str("x"), chassis_view(&i, sizeof i));
        commit(txn);
    }
    for (int i = 0; i < 3; i++) {
        void *torn;
        pthread_join(readers[i], &torn);
        assert_null(torn);
    }
}

static void fault_body(void *data)
{
    struct chassis_error err = {0};
    struct chassis_txn *txn;
    if (chassis_store_begin(store, true, &txn, &err) != 0) {
        assert_string_not_equal(err.text, "");
        return;
    }
    if (put(txn, 0, "k", "v") != 0) {
        chassis_txn_abort(txn);
        return;
    }
    if (chassis_txn_commit(txn, &err) != 0) {
        assert_string_not_equal(err.text, "");
        return;
    }
    assert_true(chassis_store_sync(store, &err) == 0 || err.text[0] != '\0');
}

static void a_failing_engine_is_an_error_and_nothing_is_held(void **state)
{
    assert_int_equal(test_each_fault("store.", fault_body, NULL), 4);
    struct chassis_txn *txn = begin(true);
    assert_string_equal(get(txn, 0, "k"), "v");
    commit(txn);
}

static void puts_are_fast_enough_for_a_simulation(void **state)
{
    enum { N = 300000 };
    struct chassis_prng prng;
    chassis_prng_init(&prng, 1);
    uint8_t value[64] = {0};
    uint64_t start = chassis_os_monotonic_ns();
    for (int i = 0; i < N;) {
        struct chassis_txn *txn = begin(true);
        for (int j = 0; j < 64; j++, i++) {
            uint64_t key = chassis_prng_next(&prng);
            chassis_txn_put(txn, 0, chassis_view(&key, 8), chassis_view(value, sizeof value));
        }
        commit(txn);
    }
    print_message("%s: %.0f thousand random puts/s\n", repository->kind,
                  N / 1e3 / ((double)(chassis_os_monotonic_ns() - start) / 1e9));
}

static void a_store_keeps_its_data_and_a_damaged_one_is_refused(void **state)
{
    struct chassis_txn *txn = begin(true);
    put(txn, 0, "a", "kept");
    commit(txn);
    assert_int_equal(chassis_store_sync(store, NULL), 0);
    chassis_store_close(store);
    open_store();
    txn = begin(false);
    assert_string_equal(get(txn, 0, "a"), "kept");
    chassis_txn_abort(txn);
    chassis_store_close(store);
    store = NULL;
    char path[300];
    snprintf(path, sizeof path, "%s/data.mdb", directory);
    int fd = open(path, O_WRONLY);
    static const char junk[8192] = "this is no store";
    assert_int_equal(pwrite(fd, junk, sizeof junk, 0), sizeof junk);
    close(fd);
    struct chassis_error err = {0};
    struct chassis_repository_options options = {
        .path = directory, .tables = tables, .n_tables = 3};
    assert_int_equal(repository->open(&options, &store, &err), CHASSIS_CORRUPT);
    assert_non_null(strstr(err.text, directory));
    options.path = "/proc/none/such";
    assert_int_equal(repository->open(&options, &store, &err), -ENOENT);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest both[] = {
        T(a_commit_is_seen_and_an_abort_is_not),
        T(a_reader_sees_one_moment_while_writers_go_on),
        T(keys_have_a_size),
        T(append_takes_rising_keys_only),
        T(a_cursor_walks_both_ways_and_turns_at_the_ends),
        T(a_cursor_goes_on_from_its_key_when_the_table_changes),
        T(random_changes_match_a_sorted_array),
        T(a_full_store_says_so_and_stays_usable),
        T(deleted_data_is_free_space_again),
        T(readers_on_other_threads_never_see_half_a_commit),
        T(a_failing_engine_is_an_error_and_nothing_is_held),
        T(puts_are_fast_enough_for_a_simulation),
    };
    const struct CMUnitTest on_disk[] = {
        T(a_store_keeps_its_data_and_a_damaged_one_is_refused),
    };
    repository = &chassis_repository_memory;
    int failed = cmocka_run_group_tests_name("memory", both, NULL, NULL);
    repository = &chassis_repository_lmdb;
    failed += cmocka_run_group_tests_name("lmdb", both, NULL, NULL);
    return failed + cmocka_run_group_tests_name("lmdb on disk", on_disk, NULL, NULL);
}
