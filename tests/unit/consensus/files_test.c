#include "test.h"

#include "base/bytes.h"
#include "consensus/checkpoint.h"
#include "consensus/dedupe.h"
#include "consensus/identity.h"
#include "os/sim.h"

static const char *const tables[] = {"one", "two"};

struct fixture {
    struct chassis_sim *sim;
    struct chassis_sim_host *host;
    struct chassis_disk *disk;
    struct chassis_store *store;
};

static void setup(struct fixture *f)
{
    struct chassis_repository_options o = {.path = "x", .tables = tables, .n_tables = 2};
    f->sim = chassis_sim_new(1);
    f->host = chassis_sim_host_new(f->sim, "h");
    f->disk = chassis_sim_disk(f->host);
    assert_int_equal(f->disk->ops->mkdir(f->disk, "/d"), 0);
    assert_int_equal(chassis_repository_memory.open(&o, &f->store, NULL), 0);
}
static void teardown(struct fixture *f)
{
    chassis_store_close(f->store);
    chassis_sim_free(f->sim);
}

static void fill(struct fixture *f, unsigned n)
{
    struct chassis_txn *txn;
    char key[32];
    assert_int_equal(chassis_store_begin(f->store, true, &txn, NULL), 0);
    for (unsigned i = 0; i < n; i++) {
        snprintf(key, sizeof key, "key-%06u", i);
        assert_int_equal(chassis_txn_put(txn, i % 2, chassis_view_str(key), chassis_view_str(key)),
                         0);
    }
    assert_int_equal(chassis_txn_commit(txn, NULL), 0);
}

static int write_one(struct fixture *f, struct chassis_error *err)
{
    struct checkpoint_header h = {.index = 42, .term = 3, .configuration_index = 1};
    struct chassis_txn *txn;
    chassis_buf_append_str(&h.configuration, "configuration");
    assert_int_equal(chassis_store_begin(f->store, false, &txn, NULL), 0);
    int rc = checkpoint_write(f->disk, "/d", &h, txn, err);
    chassis_txn_abort(txn);
    checkpoint_header_fini(&h);
    return rc;
}

static void a_checkpoint_gives_back_the_store(void **state)
{
    struct fixture f;
    struct chassis_error err = {0};
    struct checkpoint_header h = {0};
    struct chassis_txn *txn;
    struct chassis_view v;
    uint64_t newest = 0;
    char path[512];
    setup(&f);
    fill(&f, 5000); /* several blocks */
    assert_int_equal(write_one(&f, &err), 0);
    assert_int_equal(checkpoint_newest(f.disk, "/d", false, &newest, &err), 0);
    assert_int_equal(newest, 42);
    checkpoint_path("/d", 42, path);
    assert_int_equal(chassis_store_begin(f.store, true, &txn, NULL), 0);
    chassis_txn_put(txn, 0, chassis_view_str("zzz"), chassis_view_str("to be gone"));
    assert_int_equal(checkpoint_load(f.disk, path, txn, &h, &err), 0);
    assert_int_equal(h.index, 42);
    assert_int_equal(chassis_txn_count(txn, 0), 2500);
    assert_int_equal(chassis_txn_get(txn, 1, chassis_view_str("key-004999"), &v), 0);
    assert_int_equal(chassis_txn_get(txn, 0, chassis_view_str("zzz"), &v), CHASSIS_NOT_FOUND);
    chassis_txn_abort(txn);
    checkpoint_header_fini(&h);
    teardown(&f);
}

static void every_flipped_bit_of_a_checkpoint_is_refused_with_its_place(void **state)
{
    struct fixture f;
    struct chassis_error err = {0};
    struct chassis_buf data = {0};
    char path[512];
    setup(&f);
    fill(&f, 40);
    assert_int_equal(write_one(&f, &err), 0);
    checkpoint_path("/d", 42, path);
    assert_int_equal(chassis_disk_read_file(f.disk, path, 1 << 20, &data, &err), 0);
    for (uint64_t bit = 0; bit < data.len * 8; bit++) {
        assert_int_equal(chassis_sim_disk_flip(f.host, path, bit), 0);
        chassis_error_clear(&err);
        int rc = checkpoint_load(f.disk, path, NULL, NULL, &err);
        assert_true(rc == CHASSIS_CORRUPT || rc == CHASSIS_BAD_VERSION);
        assert_non_null(strstr(err.text, path));
        assert_int_equal(chassis_sim_disk_flip(f.host, path, bit), 0);
    }
    assert_int_equal(checkpoint_load(f.disk, path, NULL, NULL, &err), 0);
    chassis_buf_fini(&data);
    teardown(&f);
}

static void write_under_fault(void *data)
{
    struct fixture *f = data;
    struct chassis_error err = {0};
    uint64_t newest = 0;
    char path[512];
    bool before = checkpoint_newest(f->disk, "/d", false, &newest, NULL) == 0 && newest != 0;
    int rc = write_one(f, &err);
    checkpoint_path("/d", 42, path);
    if (rc == 0) {
        assert_int_equal(checkpoint_load(f->disk, path, NULL, NULL, &err), 0);
    } else {
        assert_true(err.text[0] != '\0');
        assert_false(before); /* a failed write never leaves a file under the final name */
    }
}

static void a_failing_disk_leaves_no_half_checkpoint(void **state)
{
    struct fixture f;
    setup(&f);
    fill(&f, 2000);
    assert_true(test_each_fault("consensus.checkpoint.", write_under_fault, &f) >= 4);
    teardown(&f);
}

static void small_files_are_refused_when_damaged(void **state)
{
    struct fixture f;
    struct chassis_error err = {0};
    struct chassis_buf out = {0};
    setup(&f);
    assert_int_equal(small_file_read(f.disk, "/d/s", "MAGICMAG", 1, &out, &err), CHASSIS_NOT_FOUND);
    assert_int_equal(
        small_file_write(f.disk, "/d/s", "MAGICMAG", 1, chassis_view_str("payload"), &err), 0);
    assert_int_equal(small_file_read(f.disk, "/d/s", "MAGICMAG", 1, &out, &err), 0);
    assert_string_equal((const char *)out.data, "payload");
    assert_int_equal(small_file_read(f.disk, "/d/s", "MAGICMAG", 0, &out, &err),
                     CHASSIS_BAD_VERSION);
    for (uint64_t bit = 0; bit < 27 * 8; bit++) {
        assert_int_equal(chassis_sim_disk_flip(f.host, "/d/s", bit), 0);
        int rc = small_file_read(f.disk, "/d/s", "MAGICMAG", 1, &out, &err);
        assert_true(rc == CHASSIS_CORRUPT || rc == CHASSIS_BAD_VERSION);
        assert_non_null(strstr(err.text, "/d/s"));
        assert_int_equal(chassis_sim_disk_flip(f.host, "/d/s", bit), 0);
    }
    chassis_buf_fini(&out);
    teardown(&f);
}

static void the_memory_of_ids_survives_and_forgets_in_log_order(void **state)
{
    struct fixture f;
    struct chassis_txn *txn;
    struct dedupe_entry e;
    char id[16];
    setup(&f);
    struct dedupe *d = dedupe_new(1);
    assert_int_equal(chassis_store_begin(f.store, true, &txn, NULL), 0);
    uint64_t last = DEDUPE_WINDOW + 1000;
    for (uint64_t i = 1; i <= last; i++) {
        snprintf(id, sizeof id, "id-%llu", (unsigned long long)i);
        dedupe_advance(d, i - 1);
        assert_false(dedupe_find(d, chassis_view_str(id), &e));
        dedupe_add(d, i, chassis_view_str(id), (int)(i % 7), chassis_view_str(id));
        if (i % 100 == 0 || i == last) {
            assert_int_equal(dedupe_store(d, txn, i), 0);
        }
    }
    for (int round = 0; round < 2; round++) {
        assert_false(dedupe_find(d, chassis_view_str("id-900"), &e));
        assert_true(dedupe_find(d, chassis_view_str("id-1100"), &e));
        assert_int_equal(e.index, 1100);
        assert_int_equal(e.status, 1100 % 7);
        assert_true(chassis_view_eq(e.result, chassis_view_str("id-1100")));
        dedupe_free(d);
        d = dedupe_new(1);
        assert_int_equal(dedupe_restore(d, txn, last, NULL), 0);
    }
    dedupe_free(d);
    chassis_txn_abort(txn);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_gives_back_the_store),
        cmocka_unit_test(every_flipped_bit_of_a_checkpoint_is_refused_with_its_place),
        cmocka_unit_test(a_failing_disk_leaves_no_half_checkpoint),
        cmocka_unit_test(small_files_are_refused_when_damaged),
        cmocka_unit_test(the_memory_of_ids_survives_and_forgets_in_log_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
