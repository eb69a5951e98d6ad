/* Copying forward, and streams whose few records lie far apart. */
#include "tests/unit/journal/rig.h"

#include <chassis/metrics.h>

#include "base/bytes.h"
#include "journal/format.h"

enum { SLOW = 1, FAST = 2, SLOW_RECORDS = 12 };
static char big[700];

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
static uint64_t copied(void)
{
    return chassis_counter_value(
        chassis_counter("chassis_journal_copied_bytes_total", "", NULL, 0));
}
static void put_text(struct rig *r, uint32_t stream, uint64_t index, uint64_t term)
{
    char text[32];
    snprintf(text, sizeof text, "%u/%llu", stream, (unsigned long long)index);
    assert_int_equal(rig_put(r, stream, index, 1, term, chassis_view_str(text)), 0);
}

static int is_text(const struct chassis_journal_record *record, void *data)
{
    struct rig_look *l = data;
    char text[32];
    int len = snprintf(text, sizeof text, "%u/%llu", l->stream, (unsigned long long)record->index);
    assert_int_equal(record->index, l->index + l->n);
    assert_int_equal(record->payload.len, len);
    assert_memory_equal(record->payload.data, text, (size_t)len);
    assert_int_equal(record->time_ns, 99);
    assert_int_equal(record->type, 7);
    l->n++;
    return 0;
}
static void read_now(void *data)
{
    struct rig_look *l = data;
    l->rc = chassis_journal_read(l->rig->journal, l->stream, l->index, SIZE_MAX, is_text, l,
                                 &l->rig->err);
}
static uint64_t read_texts(struct rig *r, uint32_t stream, uint64_t index)
{
    struct rig_look l = {.rig = r, .stream = stream, .index = index};
    chassis_sim_call(r->options.owner, read_now, &l);
    if (l.rc != 0) {
        fail_msg("%s", r->err.text);
    }
    return l.n;
}

/* A slow stream among a fast one, of which only the newest records are kept. */
static void run_fast(struct rig *r, uint64_t from, uint64_t n)
{
    for (uint64_t i = from; i < from + n; i++) {
        assert_int_equal(rig_put(r, FAST, i, 1, 0, chassis_view(big, sizeof big)), 0);
        if (i > 5) {
            rig_trim(r, FAST, i - 5);
        }
    }
    rig_run(r, 50 * CHASSIS_NS_PER_MS);
}
static uint64_t make_slow(struct rig *r, unsigned live_percent)
{
    rig_init(r, 1, 4096);
    r->options.live_percent = live_percent;
    r->options.cache_bytes_per_stream = 1;
    assert_int_equal(rig_open(r), 0);
    uint64_t fast = 1;
    for (uint64_t i = 1; i <= SLOW_RECORDS; i++, fast += 3) {
        put_text(r, SLOW, i, 1 + i / 4);
        run_fast(r, fast, 3);
    }
    return fast;
}

static void a_slow_stream_does_not_keep_the_segments_of_a_fast_one(void **state)
{
    struct rig r;
    uint64_t fast = make_slow(&r, 0);
    run_fast(&r, fast, 200);
    assert_true(segments(&r) > 40); /* what happens without */
    rig_fini(&r);
    fast = make_slow(&r, 50);
    uint64_t before = copied();
    for (unsigned round = 0; round < 3; round++) {
        run_fast(&r, fast, 200);
        fast += 200;
        assert_in_range(segments(&r), 2, 9);
        assert_int_equal(read_texts(&r, SLOW, 1), SLOW_RECORDS);
        assert_int_equal(read_texts(&r, SLOW, 7), SLOW_RECORDS - 6);
        if (round == 1) {
            rig_close(&r);
            assert_int_equal(rig_open(&r), 0);
        } else {
            assert_int_equal(rig_crash(&r, true), 0);
        }
        struct rig_look l = rig_read(&r, SLOW, 1, SIZE_MAX);
        assert_int_equal(l.info.first_index, 1);
        assert_int_equal(l.info.last_index, SLOW_RECORDS);
        assert_int_equal(l.info.durable_index, SLOW_RECORDS);
        assert_int_equal(l.info.last_term, 1 + SLOW_RECORDS / 4);
        assert_int_equal(read_texts(&r, SLOW, 1), SLOW_RECORDS);
    }
    assert_true(copied() > before);
    rig_trim(&r, SLOW, 5);
    put_text(&r, SLOW, SLOW_RECORDS + 1, 9); /* it goes on behind its copies */
    run_fast(&r, fast, 100);
    assert_int_equal(rig_crash(&r, true), 0);
    assert_in_range(segments(&r), 2, 9);
    assert_int_equal(read_texts(&r, SLOW, 6), SLOW_RECORDS - 4);
    rig_fini(&r);
}

struct ask_term {
    struct rig *rig;
    uint64_t index, term;
};
static void term_now(void *data)
{
    struct ask_term *a = data;
    a->term = chassis_journal_term(a->rig->journal, SLOW, a->index);
}
static void copies_keep_their_terms(void **state)
{
    struct rig r;
    uint64_t fast = make_slow(&r, 50);
    for (unsigned round = 0; round < 4; round++) {
        run_fast(&r, fast, 7 + round * 30); /* some copied, then all */
        fast += 7 + round * 30;
        for (unsigned again = 0; again < 2; again++) {
            for (uint64_t i = 1; i <= SLOW_RECORDS; i++) {
                struct ask_term a = {&r, i, 0};
                chassis_sim_call(r.options.owner, term_now, &a);
                assert_int_equal(a.term, 1 + i / 4);
            }
            assert_int_equal(rig_crash(&r, true), 0);
        }
    }
    rig_fini(&r);
}

/* Dense records are copied in pieces, in the middle of which anything may happen. */
static void only_what_is_needed_is_copied(void **state)
{
    struct rig r;
    rig_init(&r, 1, 16384);
    r.options.live_percent = 60;
    r.options.cache_bytes_per_stream = 1;
    assert_int_equal(rig_open(&r), 0);
    for (uint64_t i = 1; i <= 100; i++) {
        put_text(&r, SLOW, i, 0);
    }
    rig_trim(&r, SLOW, 60);
    for (uint64_t i = 91; i <= 95; i++) { /* 91 … 100 are replaced by 91 … 95 */
        put_text(&r, SLOW, i, 0);
    }
    uint64_t before = copied();
    run_fast(&r, 1, 110);
    assert_int_equal(copied() - before, 35 * (RECORD_HEADER_SIZE + 8));
    assert_int_equal(read_texts(&r, SLOW, 61), 35);
    assert_int_equal(rig_crash(&r, true), 0);
    struct rig_look l = rig_read(&r, SLOW, 61, SIZE_MAX);
    assert_int_equal(l.info.first_index, 61);
    assert_int_equal(l.info.last_index, 95);
    assert_int_equal(read_texts(&r, SLOW, 61), 35);
    rig_fini(&r);
}

/* A disk that counts what is read. */
static const struct chassis_disk_ops *real_ops;
static struct chassis_disk_ops counting_ops;
static uint64_t bytes_read;
static int counting_read(struct chassis_file *file, uint64_t offset, void *out, size_t len,
                         size_t *ret_len)
{
    bytes_read += len;
    return real_ops->read(file, offset, out, len, ret_len);
}

static void records_far_apart_are_read_without_what_lies_between(void **state)
{
    enum { FAR = 12, BETWEEN = 300 };
    struct rig r;
    rig_init(&r, 1, 1 << 20);
    r.options.cache_bytes_per_stream = 1;
    assert_int_equal(rig_open(&r), 0);
    uint64_t fast = 1;
    for (uint64_t i = 1; i <= FAR; i++) {
        put_text(&r, SLOW, i, 0);
        for (unsigned k = 0; k < BETWEEN; k++) {
            assert_int_equal(rig_put(&r, FAST, fast++, 1, 0, chassis_view(big, sizeof big)), 0);
        }
    }
    for (unsigned round = 0; round < 2; round++) {
        struct chassis_disk *disk = r.options.disk;
        real_ops = disk->ops;
        counting_ops = *real_ops;
        counting_ops.read = counting_read;
        disk->ops = &counting_ops;
        bytes_read = 0;
        assert_int_equal(read_texts(&r, SLOW, 1), FAR);
        assert_in_range(bytes_read, 1, FAR * 16384); /* of the 230 KiB between any two */
        disk->ops = real_ops;
        rig_close(&r);
        assert_int_equal(rig_open(&r), 0);
    }
    rig_fini(&r);
}

struct scan_call {
    struct rig *rig;
    struct chassis_journal_scan *scan;
    struct chassis_journal_scratch scratch;
    struct rig_look look;
    uint64_t index;
    size_t max;
};
static void scan_open_now(void *data)
{
    struct scan_call *c = data;
    assert_int_equal(
        chassis_journal_scan_open(c->rig->journal, SLOW, c->index, &c->scan, &c->rig->err), 0);
}
static void scan_read_now(void *data)
{
    struct scan_call *c = data;
    c->look.n = 0;
    c->look.index = chassis_journal_scan_next(c->scan);
    assert_int_equal(
        chassis_journal_scan_read(c->scan, &c->scratch, c->max, is_text, &c->look, &c->rig->err),
        0);
}
static void scan_refresh_now(void *data)
{
    struct scan_call *c = data;
    assert_int_equal(chassis_journal_scan_refresh(c->scan, &c->rig->err), 0);
}
static void scan_close_now(void *data)
{
    struct scan_call *c = data;
    chassis_journal_scan_close(c->scan);
    chassis_journal_scratch_fini(&c->scratch);
}

static void a_scan_goes_on_while_its_records_are_copied(void **state)
{
    for (unsigned refreshed = 0; refreshed < 2; refreshed++) {
        struct rig r;
        uint64_t fast = make_slow(&r, 50);
        struct scan_call c = {.rig = &r, .index = 1, .max = 1};
        c.look = (struct rig_look){.rig = &r, .stream = SLOW};
        chassis_sim_call(r.options.owner, scan_open_now, &c);
        struct chassis_executor *worker = chassis_sim_executor(r.host, "worker", 0);
        for (uint64_t i = 1; i <= SLOW_RECORDS; i++, fast += 4) {
            chassis_sim_call(worker, scan_read_now, &c);
            assert_int_equal(c.look.n, 1);
            run_fast(&r, fast, 4);
            if (refreshed == 1) {
                chassis_sim_call(r.options.owner, scan_refresh_now, &c);
            }
        }
        chassis_sim_call(r.options.owner, scan_close_now, &c);
        assert_in_range(segments(&r), 2, 9);
        rig_fini(&r);
    }
}

static void damage_stops_the_copying_and_nothing_else(void **state)
{
    struct rig r;
    rig_init(&r, 1, 4096);
    r.options.live_percent = 50;
    r.options.cache_bytes_per_stream = 1;
    assert_int_equal(rig_open(&r), 0);
    put_text(&r, SLOW, 1, 0);
    put_text(&r, SLOW, 2, 0); /* the first is no longer in memory */
    chassis_sim_disk_flip(r.host, "d/j/0000000000000001.seg", (512 + 65) * 8);
    uint64_t before = copied();
    run_fast(&r, 1, 100);
    assert_int_equal(copied(), before);
    assert_true(segments(&r) > 20); /* nothing is thrown away */
    assert_int_equal(rig_read(&r, SLOW, 1, 1).rc, CHASSIS_CORRUPT);
    assert_int_equal(rig_read(&r, FAST, 100, 1).rc, 0);
    rig_fini(&r);
}

static void a_failed_read_stops_the_copying_and_nothing_else(void **state)
{
    struct rig r;
    rig_init(&r, 1, 4096);
    r.options.live_percent = 50;
    assert_int_equal(rig_open(&r), 0);
    put_text(&r, SLOW, 1, 0);
    chassis_fault_arm("journal.copy.read", 1);
    run_fast(&r, 1, 100);
    chassis_fault_disarm();
    assert_true(segments(&r) > 20);
    assert_int_equal(read_texts(&r, SLOW, 1), 1);
    rig_close(&r);
    assert_int_equal(rig_open(&r), 0); /* the next process tries again */
    run_fast(&r, 101, 20);
    assert_in_range(segments(&r), 2, 9);
    assert_int_equal(read_texts(&r, SLOW, 1), 1);
    rig_fini(&r);
}

static void copying_makes_room_on_a_full_disk(void **state)
{
    struct rig r;
    uint64_t fast = make_slow(&r, 50);
    chassis_sim_disk_limit(r.host, chassis_sim_disk_used(r.host) + 3 * 4096);
    for (unsigned i = 0; i < 300; i++) { /* appends that are refused are tried again */
        if (rig_put(&r, FAST, fast, 1, 0, chassis_view(big, sizeof big)) == 0) {
            rig_trim(&r, FAST, fast++);
        }
        rig_run(&r, 200 * CHASSIS_NS_PER_MS);
    }
    assert_true(fast > 150);
    assert_int_equal(read_texts(&r, SLOW, 1), SLOW_RECORDS);
    rig_close(&r);
    rig_fini(&r);
}

/* The record formats in the files: only copies need the newer one. */
static void formats(struct rig *r, bool *ret_old, bool *ret_new)
{
    struct chassis_disk *disk = chassis_sim_disk(r->host);
    *ret_old = *ret_new = false;
    for (unsigned n = 1; n < 400; n++) {
        char path[64];
        struct chassis_file *file;
        static uint8_t bytes[4096];
        size_t got;
        snprintf(path, sizeof path, "d/j/%016x.seg", n);
        if (disk->ops->open(disk, path, CHASSIS_DISK_READ, &file) != 0) {
            continue;
        }
        disk->ops->read(file, 0, bytes, sizeof bytes, &got);
        disk->ops->close(file);
        assert_int_equal(chassis_get_le16(bytes + 8), 1);
        struct record_header h;
        for (size_t at = SEGMENT_HEADER_SIZE;
             at + RECORD_HEADER_SIZE <= got && record_header_decode(bytes + at, &h);
             at += record_size(h.length)) {
            assert_int_equal(h.format, h.kind == RECORD_COPY ? 2 : 1);
            *(h.format == 1 ? ret_old : ret_new) = true;
        }
    }
}
static void a_journal_without_copies_is_of_the_old_format(void **state)
{
    struct rig r;
    bool old, new;
    uint64_t fast = make_slow(&r, 0);
    run_fast(&r, fast, 50);
    formats(&r, &old, &new);
    assert_true(old && !new);
    rig_close(&r);
    r.options.live_percent = 50; /* and the newer program goes on with it */
    assert_int_equal(rig_open(&r), 0);
    run_fast(&r, fast + 50, 20);
    assert_in_range(segments(&r), 2, 9);
    formats(&r, &old, &new);
    assert_true(old && new);
    assert_int_equal(read_texts(&r, SLOW, 1), SLOW_RECORDS);
    rig_fini(&r);
}

static void each_fault_body(void *data)
{
    struct rig r;
    bool armed = chassis_fault_armed;
    chassis_fault_armed = false;
    uint64_t fast = make_slow(&r, 50);
    run_fast(&r, fast, 60);
    rig_trim(&r, SLOW, 3);
    chassis_sim_host_crash(r.host, true);
    chassis_journal_abandon(r.journal);
    chassis_fault_armed = armed;
    int rc = rig_open(&r);
    chassis_fault_armed = false;
    if (rc != 0) {
        assert_string_not_equal(r.err.text, "");
        assert_int_equal(rig_open(&r), 0);
    }
    assert_int_equal(read_texts(&r, SLOW, 4), SLOW_RECORDS - 3);
    rig_fini(&r);
    chassis_fault_armed = armed;
}
static void any_failure_while_opening_a_journal_with_copies_is_harmless(void **state)
{
    assert_true(test_each_fault("", each_fault_body, NULL) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_stream_does_not_keep_the_segments_of_a_fast_one),
        cmocka_unit_test(copies_keep_their_terms),
        cmocka_unit_test(only_what_is_needed_is_copied),
        cmocka_unit_test(records_far_apart_are_read_without_what_lies_between),
        cmocka_unit_test(a_scan_goes_on_while_its_records_are_copied),
        cmocka_unit_test(damage_stops_the_copying_and_nothing_else),
        cmocka_unit_test(a_failed_read_stops_the_copying_and_nothing_else),
        cmocka_unit_test(copying_makes_room_on_a_full_disk),
        cmocka_unit_test(a_journal_without_copies_is_of_the_old_format),
        cmocka_unit_test(any_failure_while_opening_a_journal_with_copies_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
