#include "tests/unit/journal/rig.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "os/os.h"

static struct chassis_view text(const char *t)
{
    return chassis_view_str(t);
}

static void a_record_replaces_what_follows_it(void **state)
{
    struct rig r;
    rig_init(&r, 1, 1 << 16);
    r.options.cache_bytes_per_stream = 1; /* read from the disk */
    assert_int_equal(rig_open(&r), 0);
    assert_int_equal(rig_put(&r, 1, 1, 10, 1, text("old")), 0);
    assert_int_equal(rig_put(&r, 2, 1, 3, 1, text("other")), 0);
    assert_int_equal(rig_put(&r, 1, 5, 2, 2, text("new")), 0);
    for (int round = 0; round < 2; round++) {
        struct rig_look l = rig_read(&r, 1, 4, 3);
        assert_string_equal(l.text, "old");
        assert_int_equal(l.term, 1);
        assert_int_equal(l.last_seen, 4);
        assert_int_equal(l.info.last_index, 6);
        assert_int_equal(l.info.durable_index, 6);
        assert_int_equal(l.info.last_term, 2);
        l = rig_read(&r, 1, 5, 1000);
        assert_string_equal(l.text, "new");
        assert_int_equal(l.n, 2);
        assert_int_equal(rig_read(&r, 1, 7, 1).rc, CHASSIS_NOT_FOUND);
        assert_int_equal(rig_read(&r, 3, 1, 1).rc, CHASSIS_NOT_FOUND);
        assert_int_equal(rig_read(&r, 2, 1, 1000).n, 3);
        rig_close(&r);
        assert_int_equal(rig_open(&r), 0);
    }
    rig_fini(&r);
}

static void an_index_that_does_not_follow_is_refused(void **state)
{
    struct rig r;
    rig_init(&r, 1, 1 << 16);
    assert_int_equal(rig_open(&r), 0);
    assert_int_equal(rig_put(&r, 1, 2, 1, 1, text("x")), CHASSIS_OUT_OF_RANGE);
    assert_int_equal(rig_put(&r, 1, 1, 3, 1, text("x")), 0);
    assert_int_equal(rig_put(&r, 1, 5, 1, 1, text("x")), CHASSIS_OUT_OF_RANGE);
    rig_trim(&r, 1, 2);
    assert_int_equal(rig_put(&r, 1, 2, 1, 1, text("x")), CHASSIS_OUT_OF_RANGE);
    static uint8_t big[1 << 16];
    assert_int_equal(rig_put(&r, 1, 4, 1, 1, chassis_view(big, sizeof big)), CHASSIS_TOO_LARGE);
    rig_reset(&r, 1, 100);
    assert_int_equal(rig_put(&r, 1, 4, 1, 1, text("x")), CHASSIS_OUT_OF_RANGE);
    assert_int_equal(rig_put(&r, 1, 100, 1, 4, text("x")), 0);
    struct rig_look l = rig_read(&r, 1, 100, 1);
    assert_int_equal(l.info.first_index, 100);
    assert_int_equal(l.info.last_index, 100);
    rig_fini(&r);
}

static int count_segments(const char *name, void *data)
{
    *(unsigned *)data += strstr(name, ".seg") != NULL;
    return 0;
}
static unsigned segments(struct rig *r)
{
    unsigned n = 0;
    r->options.disk->ops->list(r->options.disk, "d/j", count_segments, &n);
    return n;
}

static void trimmed_segments_go_and_an_empty_stream_keeps_its_place(void **state)
{
    struct rig r;
    char payload[900] = {'a'};
    rig_init(&r, 1, 4096);
    assert_int_equal(rig_open(&r), 0);
    assert_int_equal(rig_put(&r, 9, 1, 7, 5, text("x")), 0);
    for (uint64_t i = 1; i <= 100; i++) {
        assert_int_equal(rig_put(&r, 1, i, 1, 1, chassis_view(payload, sizeof payload)), 0);
    }
    assert_true(segments(&r) > 20);
    rig_trim(&r, 1, 95);
    rig_run(&r, 50 * CHASSIS_NS_PER_MS);
    assert_true(segments(&r) > 20); /* stream 9 still needs the first */
    rig_trim(&r, 9, 7);
    rig_run(&r, 50 * CHASSIS_NS_PER_MS);
    assert_in_range(segments(&r), 1, 5);
    for (int round = 0; round < 2; round++) {
        struct rig_look l = rig_read(&r, 9, 1, 1);
        assert_int_equal(l.rc, CHASSIS_NOT_FOUND);
        assert_int_equal(l.info.last_index, 7);
        assert_int_equal(l.info.first_index, 8);
        assert_int_equal(l.info.last_term, 5);
        assert_int_equal(rig_read(&r, 1, 96, 1 << 20).n, 5);
        assert_int_equal(rig_crash(&r, true), 0);
    }
    assert_int_equal(rig_put(&r, 9, 8, 1, 5, text("x")), 0);
    rig_fini(&r);
}

static void a_full_disk_refuses_appends_serves_reads_and_recovers(void **state)
{
    struct rig r;
    static uint8_t payload[1000];
    rig_init(&r, 1, 16384);
    chassis_sim_disk_limit(r.host, 200000);
    assert_int_equal(rig_open(&r), 0);
    uint64_t i = 1;
    int rc = 0;
    for (; rc == 0 && i < 1000; i++) {
        rc = rig_put(&r, 1, i, 1, 1, chassis_view(payload, sizeof payload));
    }
    assert_int_equal(rc, CHASSIS_NO_SPACE);
    assert_non_null(strstr(r.err.text, "free"));
    assert_int_equal(rig_read(&r, 1, 1, 1 << 20).n, i - 2);
    rig_run(&r, CHASSIS_NS_PER_S);
    assert_int_equal(rig_put(&r, 1, i - 1, 1, 1, text("x")), CHASSIS_NO_SPACE);
    assert_int_equal(rig_put_urgent(&r, 2, 1, text("makes room")), 0);
    rig_trim(&r, 1, i - 5);
    rig_run(&r, CHASSIS_NS_PER_S);
    assert_int_equal(rig_put(&r, 1, i - 1, 1, 1, text("x")), 0);
    chassis_sim_disk_limit(r.host, chassis_sim_disk_used(r.host) + 100);
    rig_run(&r, 2 * CHASSIS_NS_PER_S);
    rig_put(&r, 1, i, 1, 1, text("x"));
    rig_run(&r, 2 * CHASSIS_NS_PER_S);
    assert_int_equal(rig_put(&r, 1, i + 1, 1, 1, text("x")), CHASSIS_NO_SPACE);
    assert_int_equal(rig_crash(&r, true), 0); /* a full node starts and serves reads */
    assert_int_equal(rig_read(&r, 1, i, 1).rc, 0);
    assert_int_equal(rig_put(&r, 1, i + 1, 1, 1, text("x")), CHASSIS_NO_SPACE);
    chassis_sim_disk_limit(r.host, 0);
    rig_run(&r, CHASSIS_NS_PER_S);
    assert_int_equal(rig_put(&r, 1, i + 1, 1, 1, text("x")), 0);
    rig_close(&r);
    rig_fini(&r);
}

static void too_much_pending_is_busy(void **state)
{
    struct rig r;
    rig_init(&r, 1, 1 << 16);
    r.options.pending_bytes_max = 1000;
    assert_int_equal(rig_open(&r), 0);
    struct rig_append a = {.base.stream = 1, .rig = &r, .index = 1, .n = 10, .payload = text("x")};
    struct rig_append b = {.base.stream = 1, .rig = &r, .index = 11, .n = 10, .payload = text("x")};
    chassis_sim_call(r.options.owner, rig_append_now, &a);
    chassis_sim_call(r.options.owner, rig_append_now, &b);
    assert_int_equal(a.rc, 0);
    assert_int_equal(b.rc, CHASSIS_BUSY);
    rig_run(&r, CHASSIS_NS_PER_S);
    assert_true(a.done && !b.done);
    assert_int_equal(rig_put(&r, 1, 11, 10, 1, text("x")), 0);
    rig_fini(&r);
}

static void one_sync_carries_what_arrived_meanwhile(void **state)
{
    enum { N = 400 };
    struct rig r;
    static struct rig_append appends[N];
    rig_init(&r, 1, 1 << 20);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, CHASSIS_NS_PER_S);
    uint64_t before = chassis_sim_disk_syncs(r.host);
    for (unsigned i = 0; i < N; i++) {
        appends[i] = (struct rig_append){
            .base.stream = i, .rig = &r, .index = 1, .n = 1, .payload = text("x")};
        chassis_sim_call(r.options.owner, rig_append_now, &appends[i]);
    }
    rig_run(&r, 3 * CHASSIS_NS_PER_MS);
    for (unsigned i = 0; i < N; i++) {
        assert_true(appends[i].done);
    }
    assert_in_range(chassis_sim_disk_syncs(r.host) - before, 1, 5);
    rig_fini(&r);
}

struct lazy {
    struct rig_append append;
    struct rig_look look;
    uint64_t syncs;
};
/* Append, and see what is known at the end of that turn, of the write and of the sync. */
static void assert_known(struct lazy *l, bool done, bool written, bool durable, unsigned syncs)
{
    struct rig *r = l->append.rig;
    l->look = rig_read(r, 1, l->append.index, 1);
    assert_int_equal(l->append.done, done);
    assert_int_equal(l->look.rc, 0);
    assert_int_equal(l->look.info.last_index, l->append.index);
    assert_int_equal(l->look.info.written_index, l->append.index - (written ? 0 : 1));
    assert_int_equal(l->look.info.durable_index, l->append.index - (durable ? 0 : 1));
    assert_int_equal(chassis_sim_disk_syncs(r->host) - l->syncs, syncs);
}
static void an_append_waits_for_no_more_than_it_asks_for(void **state)
{
    static const enum chassis_journal_durability kinds[] = {
        CHASSIS_JOURNAL_SYNC, CHASSIS_JOURNAL_INTERVAL, CHASSIS_JOURNAL_NONE};
    for (unsigned i = 0; i < 3; i++) {
        bool lazy = kinds[i] != CHASSIS_JOURNAL_SYNC;
        struct rig r;
        rig_init(&r, 1, 1 << 16);
        r.options.sync_interval_ms = 100;
        assert_int_equal(rig_open(&r), 0);
        assert_int_equal(rig_put(&r, 2, 1, 1, 0, text("x")), 0); /* the next segment is made */
        for (uint64_t index = 1; index <= 3; index++) {
            rig_run(&r, 300 * CHASSIS_NS_PER_MS); /* idle */
            struct lazy l = {.append = {.rig = &r, .index = index, .n = 1, .payload = text("x")},
                             .syncs = chassis_sim_disk_syncs(r.host)};
            l.append.base.stream = 1;
            l.append.base.durability = kinds[i];
            chassis_sim_call(r.options.owner, rig_append_now, &l.append);
            assert_int_equal(l.append.rc, 0);
            rig_run(&r, 1000); /* less than a sync takes; it is written if the writer was idle */
            bool written = rig_read(&r, 1, index, 1).info.written_index == index;
            bool done = kinds[i] == CHASSIS_JOURNAL_NONE || (lazy && written);
            assert_known(&l, done, written, false, 0);
            rig_run(&r, 3 * CHASSIS_NS_PER_MS);
            assert_known(&l, true, true, !lazy, lazy ? 0 : 1);
            rig_run(&r, 110 * CHASSIS_NS_PER_MS); /* with a mark that says so, in any case */
            assert_known(&l, true, true, true, lazy ? 1 : 2);
        }
        assert_int_equal(rig_crash(&r, true), 0);
        assert_int_equal(rig_read(&r, 1, 1, 1000).n, 3);
        rig_fini(&r);
    }
}

static void under_load_syncs_come_at_the_interval(void **state)
{
    enum { N = 600 };
    static struct rig_append appends[N];
    struct rig r;
    rig_init(&r, 1, 1 << 20);
    r.options.sync_interval_ms = 100;
    assert_int_equal(rig_open(&r), 0);
    assert_int_equal(rig_put(&r, 2, 1, 1, 0, text("x")), 0);
    rig_run(&r, CHASSIS_NS_PER_S);
    uint64_t before = chassis_sim_disk_syncs(r.host);
    for (unsigned i = 0; i < N; i++) { /* one a millisecond */
        appends[i] = (struct rig_append){.base.stream = 1,
                                         .base.durability = CHASSIS_JOURNAL_INTERVAL,
                                         .rig = &r,
                                         .index = i + 1,
                                         .n = 1,
                                         .payload = text("x")};
        chassis_sim_call(r.options.owner, rig_append_now, &appends[i]);
        rig_run(&r, CHASSIS_NS_PER_MS);
        uint64_t durable = rig_read(&r, 1, i + 1, 1).info.durable_index;
        assert_in_range(durable, i > 115 ? i - 115 : 0, i + 1);
    }
    assert_in_range(chassis_sim_disk_syncs(r.host) - before, 4, 7);
    rig_fini(&r);
}

static void a_sync_covers_what_did_not_ask_for_it(void **state)
{
    struct rig r;
    rig_init(&r, 1, 4096);
    r.options.sync_interval_ms = 100000;
    assert_int_equal(rig_open(&r), 0);
    char payload[500] = {0};
    static struct rig_append lazy[20];
    for (uint64_t i = 0; i < 20; i++) { /* over several segments */
        lazy[i] = (struct rig_append){.rig = &r,
                                      .index = i + 1,
                                      .n = 1,
                                      .payload = chassis_view(payload, sizeof payload),
                                      .base = {.stream = 1, .durability = i % 2 + 1}};
        chassis_sim_call(r.options.owner, rig_append_now, &lazy[i]);
        rig_run(&r, 5 * CHASSIS_NS_PER_MS);
    }
    assert_int_equal(rig_read(&r, 1, 1, 1).info.durable_index, 0);
    assert_int_equal(rig_read(&r, 1, 1, 1).info.written_index, 20);
    assert_int_equal(rig_put(&r, 2, 1, 1, 0, text("x")), 0);
    assert_int_equal(rig_read(&r, 1, 1, 1).info.durable_index, 20);
    assert_int_equal(rig_crash(&r, true), 0);
    assert_int_equal(rig_read(&r, 1, 1, 1 << 20).n, 20);
    rig_fini(&r);
}

static void forget_now(void *data)
{
    struct rig_cut *c = data;
    chassis_journal_forget(c->rig->journal, c->stream);
}
static void count_stream(uint32_t stream, void *data)
{
    *(uint64_t *)data += stream;
}
static void sum_streams(void *data)
{
    struct rig_cut *c = data;
    c->index = 0;
    chassis_journal_each_stream(c->rig->journal, count_stream, &c->index);
}

static void a_forgotten_stream_is_gone_and_its_number_may_begin_again(void **state)
{
    struct rig r;
    char payload[900] = {'a'};
    rig_init(&r, 1, 4096);
    assert_int_equal(rig_open(&r), 0);
    uint64_t sum = 0;
    for (uint32_t s = 1; s <= 40; s++) {
        assert_int_equal(rig_put(&r, s, 1, 3, 5, chassis_view(payload, sizeof payload)), 0);
        sum += s;
    }
    rig_trim(&r, 7, 3); /* one whose state alone is kept */
    for (uint32_t s = 1; s <= 39; s++) {
        struct rig_cut c = {&r, s, 0};
        chassis_sim_call(r.options.owner, forget_now, &c);
        sum -= s;
        chassis_sim_call(r.options.owner, sum_streams, &c);
        assert_int_equal(c.index, sum);
        assert_int_equal(rig_read(&r, s, 1, 1).rc, CHASSIS_NOT_FOUND);
        assert_int_equal(rig_read(&r, 40, 1, SIZE_MAX).n, 3);
    }
    rig_run(&r, 50 * CHASSIS_NS_PER_MS);
    assert_in_range(segments(&r), 1, 4);
    assert_int_equal(rig_put(&r, 5, 2, 1, 6, text("x")), CHASSIS_OUT_OF_RANGE);
    assert_int_equal(rig_put(&r, 5, 1, 1, 6, text("again")), 0);
    for (unsigned round = 0; round < 3; round++) {
        struct rig_look l = rig_read(&r, 5, 1, SIZE_MAX);
        assert_int_equal(l.n, 1);
        assert_string_equal(l.text, "again");
        assert_int_equal(l.info.durable_index, 1);
        assert_int_equal(rig_read(&r, 6, 1, 1).info.last_index, 0);
        struct rig_cut c = {&r, 0, 0};
        chassis_sim_call(r.options.owner, sum_streams, &c);
        assert_int_equal(c.index, 45);
        assert_int_equal(rig_crash(&r, true), 0);
    }
    rig_fini(&r);
}

/* What is appended while the stream is forgotten and made again counts for the one it went to. */
static void appends_under_way_do_not_count_for_a_stream_begun_again(void **state)
{
    struct rig r;
    rig_init(&r, 1, 1 << 16);
    assert_int_equal(rig_open(&r), 0);
    struct rig_append a = {.base.stream = 1, .rig = &r, .index = 1, .n = 9, .payload = text("a")};
    struct rig_append b = {.base.stream = 1, .rig = &r, .index = 1, .n = 9, .payload = text("b")};
    struct rig_cut c = {&r, 1, 0};
    chassis_sim_call(r.options.owner, rig_append_now, &a);
    rig_run(&r, 1000); /* it is being written */
    chassis_sim_call(r.options.owner, forget_now, &c);
    chassis_sim_call(r.options.owner, rig_append_now, &b);
    while (!a.done) {
        rig_run(&r, 1000);
    }
    assert_false(b.done);
    assert_int_equal(rig_read(&r, 1, 1, 1).info.written_index, 0);
    assert_int_equal(rig_read(&r, 1, 1, 1).info.durable_index, 0);
    rig_run(&r, 4 * CHASSIS_NS_PER_MS);
    assert_true(b.done);
    assert_int_equal(rig_read(&r, 1, 1, 1).info.durable_index, 9);
    rig_fini(&r);
}

static void fault_body(void *data)
{
    struct rig r;
    bool armed = chassis_fault_armed;
    chassis_fault_armed = false;
    rig_init(&r, 1, 4096);
    assert_int_equal(rig_open(&r), 0);
    assert_int_equal(rig_put(&r, 1, 1, 5, 1, text("kept")), 0);
    if (data != NULL) { /* a torn tail to be cut */
        chassis_sim_disk_flip(r.host, "d/j/0000000000000001.seg", 3000 * 8);
    }
    chassis_sim_host_crash(r.host, false);
    chassis_journal_abandon(r.journal);
    chassis_fault_armed = armed;
    int rc = rig_open(&r);
    chassis_fault_armed = false;
    if (rc != 0) {
        assert_string_not_equal(r.err.text, "");
        assert_int_equal(rig_open(&r), 0); /* nothing was left locked or half-done */
    }
    assert_int_equal(rig_read(&r, 1, 1, 1000).n, 5);
    rig_fini(&r);
    chassis_fault_armed = armed;
}

static void any_failure_while_opening_is_an_error_and_harmless(void **state)
{
    assert_true(test_each_fault("", fault_body, NULL) > 10);
    assert_true(test_each_fault("", fault_body, "torn") > 14);
}

static void a_failed_write_or_sync_ends_the_process(void **state)
{
    static const char *const points[] = {"journal.write", "journal.sync", "journal.segment.create"};
    for (unsigned i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0) {
            struct rig r;
            signal(SIGABRT, SIG_DFL);
            freopen("/dev/null", "w", stderr);
            rig_init(&r, 1, 4096);
            rig_open(&r);
            chassis_fault_arm(points[i], 1);
            rig_put(&r, 1, 1, 45, 1, text("x")); /* until the next segment is due */
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

/* Bytes of a file; -1 if there is none. */
static int64_t size_of(struct rig *r, const char *path)
{
    struct chassis_file *file;
    uint64_t size;
    if (r->options.disk->ops->open(r->options.disk, path, 0, &file) != 0) {
        return -1;
    }
    assert_int_equal(r->options.disk->ops->size(file, &size), 0);
    r->options.disk->ops->close(file);
    return (int64_t)size;
}

/* About 100 KB. */
static void put_some(struct rig *r, uint64_t *index)
{
    static uint8_t payload[2000];
    assert_int_equal(rig_put(r, 1, *index, 50, 1, chassis_view(payload, sizeof payload)), 0);
    *index += 50;
    rig_run(r, 10 * CHASSIS_NS_PER_MS);
}

static void the_next_segment_grows_with_the_one_that_is_written(void **state)
{
    static const char tmp[] = "d/j/next.tmp";
    struct rig r;
    uint64_t index = 1;
    int64_t size, before = -1;
    rig_init(&r, 1, 8 << 20); /* 4 MiB, then 8 */
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, CHASSIS_NS_PER_S);
    assert_int_equal(size_of(&r, tmp), -1); /* idle: no zeros ahead */
    while (size_of(&r, "d/j/0000000000000002.seg") < 0) {
        size = size_of(&r, tmp);
        assert_true(size >= before && size <= (int64_t)index * 2100 * 3);
        before = size;
        put_some(&r, &index);
    }
    assert_in_range(index * 2064, 2 << 20, 3 << 20); /* whole at two thirds of 4 MiB */
    assert_int_equal(size_of(&r, "d/j/0000000000000002.seg"), 8 << 20);
    assert_int_equal(size_of(&r, tmp), -1);
    while (size_of(&r, tmp) < 4 << 20) { /* the third, half made */
        put_some(&r, &index);
    }
    assert_int_equal(rig_crash(&r, true), 0);
    while (size_of(&r, "d/j/0000000000000003.seg") < 0) { /* begun anew */
        put_some(&r, &index);
    }
    assert_int_equal(size_of(&r, "d/j/0000000000000003.seg"), 8 << 20);
    while (size_of(&r, tmp) < 0) {
        put_some(&r, &index);
    }
    rig_close(&r);
    assert_int_equal(size_of(&r, tmp), -1); /* nothing is left of what is not needed */
    assert_int_equal(rig_open(&r), 0);
    assert_int_equal(rig_read(&r, 1, 1, 1000).info.last_index, index - 1);
    rig_fini(&r);
}

static size_t allocated(void)
{
    return mallinfo2().uordblks; /* zero where a sanitizer has its own allocator */
}
static void append_many(void *data)
{
    static struct rig_append appends[100000];
    struct rig *r = data;
    for (uint32_t i = 0; i < 100000; i++) {
        appends[i] = (struct rig_append){
            .base.stream = i, .rig = r, .index = 1, .n = 1, .payload = text("payload")};
        rig_append_now(&appends[i]);
        assert_int_equal(appends[i].rc, 0);
    }
}

static void a_hundred_thousand_streams_cost_little(void **state)
{
    struct rig r;
    rig_init(&r, 1, 1 << 20);
    assert_int_equal(rig_open(&r), 0);
    chassis_sim_call(r.options.owner, append_many, &r);
    rig_run(&r, CHASSIS_NS_PER_S);
    rig_close(&r);
    size_t before = allocated();
    assert_int_equal(rig_open(&r), 0);
    size_t each = (allocated() - before) / 100000;
    print_message("%zu bytes per stream after opening\n", each);
    assert_in_range(each, 0, 400);
    assert_int_equal(rig_read(&r, 77777, 1, 1).n, 1);
    rig_fini(&r);
}

/* ---- on the machine's own disk and threads ---- */

static struct {
    struct chassis_journal_options options;
    struct chassis_journal *journal;
    struct chassis_task task, close;
    struct chassis_journal_append append;
    uint64_t next, limit;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool finished;
} real = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static void real_signal(void *data)
{
    pthread_mutex_lock(&real.lock);
    real.finished = true;
    pthread_cond_signal(&real.cond);
    pthread_mutex_unlock(&real.lock);
}
static void real_wait(void)
{
    pthread_mutex_lock(&real.lock);
    while (!real.finished) {
        pthread_cond_wait(&real.cond, &real.lock);
    }
    real.finished = false;
    pthread_mutex_unlock(&real.lock);
}
static void real_next(struct chassis_journal_append *append)
{
    if (real.next > real.limit) {
        chassis_journal_close(real.journal, real_signal, NULL);
        return;
    }
    static char payload[3000];
    struct chassis_journal_record record = {.index = real.next++,
                                            .payload = chassis_view(payload, sizeof payload)};
    append->records = &record;
    append->n_records = 1;
    append->done = real_next;
    append->stream = 1;
    assert_int_equal(chassis_journal_append(real.journal, append, NULL), 0);
    if (record.index % 50 == 0) {
        chassis_journal_trim(real.journal, 1, record.index - 30);
    }
}
static void real_start(struct chassis_task *task)
{
    real_next(&real.append);
}
static void real_check(struct chassis_task *task)
{
    struct rig r = {.journal = real.journal};
    struct rig_look l = {.rig = &r, .stream = 1, .index = real.limit - 10, .max = 1 << 20};
    rig_look_now(&l);
    assert_int_equal(l.rc, 0);
    assert_int_equal(l.n, 11);
    assert_int_equal(l.info.durable_index, real.limit);
    chassis_journal_close(real.journal, real_signal, NULL);
}

static void it_works_on_real_threads_and_files(void **state)
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
    real.next = 1;
    real.limit = 500;
    struct chassis_journal *second;
    assert_int_equal(chassis_journal_open(&real.options, &real.journal, NULL), 0);
    assert_int_equal(chassis_journal_open(&real.options, &second, NULL), -EBUSY);
    real.task.run = real_start;
    chassis_post(real.options.owner, &real.task);
    real_wait();
    assert_int_equal(chassis_journal_open(&real.options, &real.journal, NULL), 0);
    real.task.run = real_check;
    chassis_post(real.options.owner, &real.task);
    real_wait();
    chassis_os_thread_stop(real.options.owner);
    chassis_os_thread_stop(real.options.writer);
    chassis_os_thread_stop(real.options.preparer);
    test_rmtree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_replaces_what_follows_it),
        cmocka_unit_test(an_index_that_does_not_follow_is_refused),
        cmocka_unit_test(trimmed_segments_go_and_an_empty_stream_keeps_its_place),
        cmocka_unit_test(a_full_disk_refuses_appends_serves_reads_and_recovers),
        cmocka_unit_test(too_much_pending_is_busy),
        cmocka_unit_test(one_sync_carries_what_arrived_meanwhile),
        cmocka_unit_test(an_append_waits_for_no_more_than_it_asks_for),
        cmocka_unit_test(under_load_syncs_come_at_the_interval),
        cmocka_unit_test(a_sync_covers_what_did_not_ask_for_it),
        cmocka_unit_test(a_forgotten_stream_is_gone_and_its_number_may_begin_again),
        cmocka_unit_test(appends_under_way_do_not_count_for_a_stream_begun_again),
        cmocka_unit_test(any_failure_while_opening_is_an_error_and_harmless),
        cmocka_unit_test(a_failed_write_or_sync_ends_the_process),
        cmocka_unit_test(the_next_segment_grows_with_the_one_that_is_written),
        cmocka_unit_test(a_hundred_thousand_streams_cost_little),
        cmocka_unit_test(it_works_on_real_threads_and_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
