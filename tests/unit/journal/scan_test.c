/* Reading away from the owner. */
#include "tests/unit/journal/rig.h"

#include <pthread.h>
#include <stdatomic.h>

#include "os/os.h"

struct walk { /* one scan and what it gave */
    struct rig *rig;
    struct chassis_executor *worker;
    struct chassis_journal_scan *scan;
    struct chassis_journal_scratch scratch;
    uint32_t stream;
    uint64_t index;
    size_t max;
    int rc;
    uint64_t n, first, last;
    char text[16]; /* of the last record */
};

static void open_now(void *data)
{
    struct walk *w = data;
    chassis_error_clear(&w->rig->err);
    w->rc = chassis_journal_scan_open(w->rig->journal, w->stream, w->index, &w->scan, &w->rig->err);
}
static int open_at(struct walk *w, struct rig *r, uint32_t stream, uint64_t index)
{
    *w = (struct walk){.rig = r, .stream = stream, .index = index};
    w->worker = chassis_sim_executor(r->host, "worker", 0);
    chassis_sim_call(r->options.owner, open_now, w);
    return w->rc;
}
static int see(const struct chassis_journal_record *record, void *data)
{
    struct walk *w = data;
    if (w->n++ == 0) {
        w->first = record->index;
    } else {
        assert_int_equal(record->index, w->last + 1);
    }
    w->last = record->index;
    assert_int_equal(record->type, 7);
    snprintf(w->text, sizeof w->text, "%.*s", CHASSIS_VIEW_ARG(record->payload));
    return 0;
}
static void read_now(void *data)
{
    struct walk *w = data;
    w->n = w->first = 0;
    w->rc = chassis_journal_scan_read(w->scan, &w->scratch, w->max, see, w, &w->rig->err);
}
static uint64_t read_some(struct walk *w, size_t max)
{
    w->max = max;
    chassis_sim_call(w->worker, read_now, w);
    return w->n;
}
static void refresh_now(void *data)
{
    struct walk *w = data;
    w->rc = chassis_journal_scan_refresh(w->scan, &w->rig->err);
}
static int refresh(struct walk *w)
{
    chassis_sim_call(w->rig->options.owner, refresh_now, w);
    return w->rc;
}
static void close_now(void *data)
{
    struct walk *w = data;
    chassis_journal_scan_close(w->scan);
    chassis_journal_scratch_fini(&w->scratch);
}
static void close_scan(struct walk *w)
{
    chassis_sim_call(w->rig->options.owner, close_now, w);
}

/* `n` records of two streams in turn. */
static void put_mixed(struct rig *r, uint64_t from, uint64_t n, const char *text)
{
    for (uint64_t i = from; i < from + n; i++) {
        assert_int_equal(rig_put(r, 1, i, 1, 1, chassis_view_str(text)), 0);
        assert_int_equal(rig_put(r, 2, i, 1, 1, chassis_view_str("other")), 0);
    }
}

static void a_scan_reads_in_pieces_and_goes_on_after_a_refresh(void **state)
{
    struct rig r;
    struct walk w;
    rig_init(&r, 1, 4096); /* 25 records a segment */
    assert_int_equal(rig_open(&r), 0);
    put_mixed(&r, 1, 100, "one");
    assert_int_equal(open_at(&w, &r, 1, 1), 0);
    uint64_t n = 0;
    while (chassis_journal_scan_next(w.scan) < chassis_journal_scan_end(w.scan)) {
        assert_in_range(read_some(&w, 20), 1, 6);
        assert_int_equal(w.rc, 0);
        assert_int_equal(w.first, n + 1);
        n += w.n;
    }
    assert_int_equal(n, 100);
    assert_int_equal(read_some(&w, 1000), 0);
    for (uint64_t more = 101; more < 130; more++) { /* in the same segment and in new ones */
        put_mixed(&r, more, 1, "two");
        assert_int_equal(read_some(&w, 1000), 0); /* not before the refresh */
        assert_int_equal(refresh(&w), 0);
        assert_int_equal(read_some(&w, 1000), 1);
        assert_int_equal(w.last, more);
        assert_string_equal(w.text, "two");
    }
    close_scan(&w);
    for (uint64_t from = 2; from < 129; from += 9) {
        assert_int_equal(open_at(&w, &r, 2, from), 0);
        assert_int_equal(read_some(&w, SIZE_MAX), 130 - from);
        assert_int_equal(w.first, from);
        assert_string_equal(w.text, "other");
        close_scan(&w);
    }
    rig_fini(&r);
}

static void a_scan_may_begin_where_records_are_or_will_be(void **state)
{
    struct rig r;
    struct walk w;
    rig_init(&r, 1, 4096);
    assert_int_equal(rig_open(&r), 0);
    assert_int_equal(open_at(&w, &r, 1, 2), CHASSIS_NOT_FOUND);
    assert_int_equal(open_at(&w, &r, 1, 1), 0);
    put_mixed(&r, 1, 50, "x");
    assert_int_equal(refresh(&w), 0);
    assert_int_equal(read_some(&w, SIZE_MAX), 50);
    close_scan(&w);
    rig_trim(&r, 1, 20);
    assert_int_equal(open_at(&w, &r, 1, 20), CHASSIS_NOT_FOUND);
    assert_non_null(strstr(r.err.text, "first kept is 21"));
    assert_int_equal(open_at(&w, &r, 1, 52), CHASSIS_NOT_FOUND);
    assert_non_null(strstr(r.err.text, "last is 50"));
    assert_int_equal(open_at(&w, &r, 1, 51), 0);
    assert_int_equal(read_some(&w, SIZE_MAX), 0);
    assert_int_equal(w.rc, 0);
    close_scan(&w);
    rig_fini(&r);
}

static void what_is_trimmed_under_a_scan_can_still_be_read(void **state)
{
    struct rig r;
    struct walk w;
    rig_init(&r, 1, 4096);
    assert_int_equal(rig_open(&r), 0);
    put_mixed(&r, 1, 200, "x");
    assert_int_equal(open_at(&w, &r, 1, 1), 0);
    assert_int_equal(read_some(&w, 10), 10);
    uint64_t used = chassis_sim_disk_used(r.host);
    rig_trim(&r, 1, 150);
    rig_trim(&r, 2, 150);
    rig_run(&r, 50 * CHASSIS_NS_PER_MS);
    uint64_t end = chassis_journal_scan_end(w.scan);
    assert_int_equal(read_some(&w, SIZE_MAX), end - 11);
    assert_int_equal(w.rc, 0);
    assert_true(end > 60);
    close_scan(&w);
    assert_true(chassis_sim_disk_used(r.host) < used / 2); /* and then the space is free */
    assert_int_equal(open_at(&w, &r, 1, 151), 0);
    rig_trim(&r, 1, 170);
    assert_int_equal(refresh(&w), CHASSIS_NOT_FOUND);
    assert_non_null(strstr(r.err.text, "first kept is 171"));
    close_scan(&w);
    rig_fini(&r);
}

static void a_replaced_record_is_never_delivered(void **state)
{
    struct rig r;
    struct walk w, ahead;
    rig_init(&r, 1, 4096);
    assert_int_equal(rig_open(&r), 0);
    put_mixed(&r, 1, 60, "old");
    assert_int_equal(open_at(&w, &r, 1, 1), 0);
    assert_int_equal(open_at(&ahead, &r, 1, 1), 0);
    assert_int_equal(read_some(&w, 3 * 10), 10);
    assert_int_equal(read_some(&ahead, 3 * 45), 45);
    assert_int_equal(rig_put(&r, 1, 31, 5, 2, chassis_view_str("new")), 0);
    assert_int_equal(read_some(&w, SIZE_MAX), 20); /* 11 … 30 */
    assert_string_equal(w.text, "old");
    assert_int_equal(read_some(&w, SIZE_MAX), 0);
    assert_int_equal(refresh(&w), 0);
    assert_int_equal(read_some(&w, SIZE_MAX), 5);
    assert_string_equal(w.text, "new");
    assert_int_equal(read_some(&ahead, SIZE_MAX), 0);
    assert_int_equal(refresh(&ahead), CHASSIS_ABORTED);
    close_scan(&ahead);
    rig_reset(&r, 1, 36); /* a purge: nothing is kept, the stream goes on */
    rig_run(&r, 50 * CHASSIS_NS_PER_MS);
    assert_int_equal(refresh(&w), 0);
    assert_int_equal(read_some(&w, SIZE_MAX), 0);
    assert_int_equal(rig_put(&r, 1, 36, 1, 2, chassis_view_str("next")), 0);
    assert_int_equal(refresh(&w), 0);
    assert_int_equal(read_some(&w, SIZE_MAX), 1);
    assert_string_equal(w.text, "next");
    close_scan(&w);
    rig_fini(&r);
}

static void a_scan_outlives_its_journal(void **state)
{
    struct rig r;
    struct walk w;
    rig_init(&r, 1, 4096);
    assert_int_equal(rig_open(&r), 0);
    put_mixed(&r, 1, 30, "x");
    assert_int_equal(open_at(&w, &r, 1, 1), 0);
    rig_close(&r);
    assert_int_equal(read_some(&w, 10), 10);
    assert_int_equal(refresh(&w), CHASSIS_SHUTTING_DOWN);
    assert_int_equal(read_some(&w, SIZE_MAX), 20);
    close_scan(&w);
    rig_fini(&r);
}

static void damage_is_an_error_that_names_the_place(void **state)
{
    struct rig r;
    struct walk w;
    for (unsigned bit = 0; bit < 66 * 8; bit += 3) {
        rig_init(&r, 1, 4096);
        assert_int_equal(rig_open(&r), 0);
        assert_int_equal(rig_put(&r, 1, 1, 20, 1, chassis_view_str("xy")), 0);
        assert_int_equal(open_at(&w, &r, 1, 1), 0);
        chassis_sim_disk_flip(r.host, "d/j/0000000000000001.seg", (512 + 4 * 72) * 8 + bit);
        read_some(&w, SIZE_MAX);
        /* Damage of the next record is met first where that of the stream's number hides this one. */
        assert_int_equal(w.n, 4);
        assert_int_equal(w.rc, CHASSIS_CORRUPT);
        assert_non_null(strstr(r.err.text, "0000000000000001.seg"));
        close_scan(&w);
        rig_fini(&r);
    }
}

/* ---- by time ---- */

struct at_time {
    struct rig *rig;
    int64_t time_ns;
    uint64_t index;
    int rc;
};
static void put_times(void *data)
{
    struct rig *r = data;
    static struct chassis_journal_append appends[300];
    char payload[100] = {0};
    for (uint64_t i = 1; i <= 300; i++) { /* pairs of equal times: 10, 10, 20, 20 … */
        struct chassis_journal_record record = {.index = i,
                                                .time_ns = (int64_t)((i + 1) / 2 * 10),
                                                .payload = chassis_view(payload, sizeof payload)};
        appends[i - 1] =
            (struct chassis_journal_append){.stream = 1, .records = &record, .n_records = 1};
        appends[i - 1].done = rig_ignore;
        assert_int_equal(chassis_journal_append(r->journal, &appends[i - 1], &r->err), 0);
    }
}
static void at_time_now(void *data)
{
    struct at_time *a = data;
    a->rc = chassis_journal_at_time(a->rig->journal, 1, a->time_ns, &a->index, &a->rig->err);
}
static void a_time_is_found(void **state)
{
    for (unsigned cache = 0; cache < 3; cache++) { /* nothing, a part, everything in memory */
        struct rig r;
        rig_init(&r, 1, 4096);
        r.options.cache_bytes_per_stream = cache == 0 ? 1 : cache == 1 ? 8000 : 0;
        assert_int_equal(rig_open(&r), 0);
        struct at_time a = {.rig = &r};
        chassis_sim_call(r.options.owner, at_time_now, &a);
        assert_int_equal(a.rc, CHASSIS_NOT_FOUND);
        chassis_sim_call(r.options.owner, put_times, &r);
        rig_run(&r, 50 * CHASSIS_NS_PER_MS);
        for (uint64_t first = 1; first <= 301; first += 50) {
            if (first != 1) {
                rig_trim(&r, 1, first - 1);
            }
            for (a.time_ns = 0; a.time_ns <= 1520 && first <= 300; a.time_ns++) {
                chassis_sim_call(r.options.owner, at_time_now, &a);
                assert_int_equal(a.rc, 0);
                uint64_t want = a.time_ns == 0 ? 1 : (uint64_t)((a.time_ns - 1) / 10 * 2 + 1);
                want = want < first ? first : want > 301 ? 301 : want;
                assert_int_equal(a.index, want);
            }
        }
        chassis_sim_call(r.options.owner, at_time_now, &a);
        assert_int_equal(a.rc, CHASSIS_NOT_FOUND); /* all trimmed */
        rig_fini(&r);
    }
}

static void cached_now(void *data)
{
    struct at_time *a = data;
    a->rc = chassis_journal_cached(a->rig->journal, 1, a->index);
}
static void the_owner_knows_what_is_in_memory(void **state)
{
    struct rig r;
    rig_init(&r, 1, 1 << 16);
    r.options.cache_bytes_per_stream = 50;
    assert_int_equal(rig_open(&r), 0);
    assert_int_equal(rig_put(&r, 1, 1, 10, 1, chassis_view_str("0123456789")), 0);
    assert_int_equal(rig_put(&r, 1, 11, 1, 1, chassis_view_str("0123456789")), 0);
    struct at_time a = {.rig = &r};
    for (a.index = 1; a.index <= 12; a.index++) {
        chassis_sim_call(r.options.owner, cached_now, &a);
        assert_int_equal(a.rc, a.index >= 7);
    }
    rig_fini(&r);
}

/* ---- on real threads ---- */

enum { LIMIT = 40000 };
static struct {
    struct chassis_journal_options options;
    struct chassis_executor *worker;
    struct chassis_journal *journal;
    struct chassis_journal_scan *scan;
    struct chassis_journal_scratch scratch;
    struct chassis_task start, read, refresh;
    struct chassis_journal_append append;
    uint64_t written, next_read, rounds;
    struct chassis_error err;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool finished;
} real = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static void real_finish(void *data)
{
    pthread_mutex_lock(&real.lock);
    real.finished = true;
    pthread_cond_signal(&real.cond);
    pthread_mutex_unlock(&real.lock);
}
static void real_append(struct chassis_journal_append *a)
{
    char payload[100];
    struct chassis_journal_record records[50];
    if (real.written == LIMIT) {
        return;
    }
    for (unsigned i = 0; i < 50; i++) {
        snprintf(payload, sizeof payload, "%llu", (unsigned long long)real.written);
        records[i] = (struct chassis_journal_record){.index = ++real.written,
                                                     .payload = chassis_view(payload, 100)};
    }
    a->stream = 3;
    a->records = records;
    a->n_records = 50;
    a->done = real_append;
    assert_int_equal(chassis_journal_append(real.journal, a, &real.err), 0);
}
static int real_see(const struct chassis_journal_record *record, void *data)
{
    assert_int_equal(record->index, real.next_read + 1);
    real.next_read++;
    return 0;
}
static void real_read(struct chassis_task *task)
{
    for (int i = 0; i < 3; i++) {
        if (chassis_journal_scan_read(real.scan, &real.scratch, 20000, real_see, NULL, &real.err)) {
            fail_msg("%s", real.err.text);
        }
    }
    chassis_post(real.options.owner, &real.refresh);
}
static void real_refresh(struct chassis_task *task)
{
    real.rounds++;
    if (real.next_read == LIMIT) {
        chassis_journal_scan_close(real.scan);
        chassis_journal_close(real.journal, real_finish, NULL);
        return;
    }
    assert_int_equal(chassis_journal_scan_refresh(real.scan, &real.err), 0);
    if (real.next_read > 200) {
        chassis_journal_trim(real.journal, 3, real.next_read - 100);
    }
    chassis_post(real.worker, &real.read);
}
static void real_start(struct chassis_task *task)
{
    real_append(&real.append);
    assert_int_equal(chassis_journal_scan_open(real.journal, 3, 1, &real.scan, &real.err), 0);
    chassis_post(real.worker, &real.read);
}

static void it_works_beside_an_owner_that_appends_and_trims(void **state)
{
    char dir[256], path[300];
    test_tmpdir(dir);
    snprintf(path, sizeof path, "%s/journal", dir);
    real.options = (struct chassis_journal_options){.disk = chassis_disk_posix(),
                                                    .directory = path,
                                                    .log = chassis_log_module("journal"),
                                                    .segment_bytes = 65536};
    assert_int_equal(chassis_os_thread_start("loop", &real.options.owner), 0);
    assert_int_equal(chassis_os_thread_start("journal", &real.options.writer), 0);
    assert_int_equal(chassis_os_thread_start("prepare", &real.options.preparer), 0);
    assert_int_equal(chassis_os_thread_start("worker", &real.worker), 0);
    assert_int_equal(chassis_journal_open(&real.options, &real.journal, NULL), 0);
    real.start.run = real_start;
    real.read.run = real_read;
    real.refresh.run = real_refresh;
    chassis_post(real.options.owner, &real.start);
    pthread_mutex_lock(&real.lock);
    while (!real.finished) {
        pthread_cond_wait(&real.cond, &real.lock);
    }
    pthread_mutex_unlock(&real.lock);
    assert_true(real.rounds > 10);
    chassis_os_thread_stop(real.worker);
    chassis_os_thread_stop(real.options.owner);
    chassis_os_thread_stop(real.options.writer);
    chassis_os_thread_stop(real.options.preparer);
    chassis_journal_scratch_fini(&real.scratch);
    test_rmtree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scan_reads_in_pieces_and_goes_on_after_a_refresh),
        cmocka_unit_test(a_scan_may_begin_where_records_are_or_will_be),
        cmocka_unit_test(what_is_trimmed_under_a_scan_can_still_be_read),
        cmocka_unit_test(a_replaced_record_is_never_delivered),
        cmocka_unit_test(a_scan_outlives_its_journal),
        cmocka_unit_test(damage_is_an_error_that_names_the_place),
        cmocka_unit_test(a_time_is_found),
        cmocka_unit_test(the_owner_knows_what_is_in_memory),
        cmocka_unit_test(it_works_beside_an_owner_that_appends_and_trims),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
