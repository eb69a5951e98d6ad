/* One bit flipped anywhere: refused with file, offset and how to repair, or found harmless and
 * everything acknowledged is still there. */
#include "tests/unit/journal/rig.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "journal/slots.h"

#define SEG1 "d/j/0000000000000001.seg"
enum { RECORDS = 5, PAYLOAD = 40, RECORD = 64 + PAYLOAD, BASE = 512 };

/* Five acknowledged records in a journal that was killed: they stand at 512, 616 … */
static void make(struct rig *r, bool clean)
{
    rig_init(r, 1, 4096);
    assert_int_equal(rig_open(r), 0);
    char payload[PAYLOAD];
    memset(payload, 'p', sizeof payload);
    for (uint64_t i = 1; i <= RECORDS; i++) {
        assert_int_equal(rig_put(r, 1, i, 1, 1, chassis_view(payload, PAYLOAD)), 0);
    }
    if (clean) {
        rig_close(r);
    } else {
        chassis_sim_host_crash(r->host, false);
        chassis_journal_abandon(r->journal);
        r->journal = NULL;
    }
}

static void assert_refused(struct rig *r, int code, const char *file, long offset)
{
    char text[32];
    int rc = rig_open(r);
    if (rc != code) {
        fail_msg("opened with %d (%s) instead of %d", rc, r->err.text, code);
    }
    assert_non_null(strstr(r->err.text, file));
    if (offset >= 0) {
        snprintf(text, sizeof text, "offset %ld", offset);
        assert_non_null(strstr(r->err.text, text));
    }
    if (code == CHASSIS_CORRUPT) {
        assert_non_null(strstr(r->err.text, "restore this node"));
    }
    rig_fini(r);
}

static void a_flip_in_any_durable_record_is_refused_with_its_offset(void **state)
{
    for (unsigned record = 0; record < RECORDS; record++) {
        for (unsigned bit = 0; bit < RECORD * 8; bit += 5) {
            struct rig r;
            make(&r, record % 2 == 0);
            long offset = BASE + (long)record * RECORD;
            assert_int_equal(chassis_sim_disk_flip(r.host, SEG1, (uint64_t)offset * 8 + bit), 0);
            assert_refused(&r, CHASSIS_CORRUPT, SEG1, offset);
        }
    }
}

static void a_flip_in_the_segment_header_or_the_high_water_mark_is_refused(void **state)
{
    for (unsigned bit = 0; bit < 32 * 8; bit++) {
        struct rig r;
        make(&r, false);
        chassis_sim_disk_flip(r.host, SEG1, bit);
        assert_refused(&r, CHASSIS_CORRUPT, SEG1, 0);
    }
    for (unsigned bit = 0; bit < 48 * 8; bit++) {
        struct rig r;
        make(&r, false);
        chassis_sim_disk_flip(r.host, "d/j/high-water", bit);
        assert_refused(&r, CHASSIS_CORRUPT, "d/j/high-water", 0);
    }
}

static void junk_behind_the_tail_is_cut_and_everything_durable_is_there(void **state)
{
    for (uint64_t at = BASE + RECORDS * RECORD + 64; at < 4096; at += 61) {
        struct rig r;
        make(&r, false);
        assert_int_equal(chassis_sim_disk_flip(r.host, SEG1, at * 8), 0);
        assert_int_equal(rig_open(&r), 0);
        struct rig_look l = rig_read(&r, 1, 1, 100000);
        assert_int_equal(l.rc, 0);
        assert_int_equal(l.n, RECORDS);
        assert_int_equal(rig_put(&r, 1, RECORDS + 1, 3, 1, chassis_view_str("next")), 0);
        assert_int_equal(rig_crash(&r, true), 0);
        assert_int_equal(rig_read(&r, 1, 1, 100000).n, RECORDS + 3);
        rig_fini(&r);
    }
}

static struct chassis_file *open_file(struct rig *r, const char *path)
{
    struct chassis_file *file;
    struct chassis_disk *disk = chassis_sim_disk(r->host);
    assert_int_equal(disk->ops->open(disk, path, CHASSIS_DISK_WRITE, &file), 0);
    return file;
}

static void a_lost_tail_is_damage_not_a_torn_tail(void **state)
{
    struct rig r;
    make(&r, false);
    struct chassis_disk *disk = chassis_sim_disk(r.host);
    struct chassis_file *file = open_file(&r, SEG1);
    uint8_t zeros[RECORD] = {0};
    disk->ops->write(file, BASE + (RECORDS - 1) * RECORD, zeros, sizeof zeros);
    disk->ops->close(file);
    assert_refused(&r, CHASSIS_CORRUPT, SEG1, BASE + (RECORDS - 1) * RECORD);
    /* The same with a stale mark: a record further on tells. */
    make(&r, false);
    uint8_t mark[48];
    size_t n;
    file = open_file(&r, "d/j/high-water");
    disk = chassis_sim_disk(r.host);
    disk->ops->read(file, 0, mark, sizeof mark, &n);
    chassis_put_le64(mark + 32, 1);
    chassis_put_le32(mark + 4, chassis_crc32c(0, mark + 8, 40));
    disk->ops->write(file, 0, mark, sizeof mark);
    disk->ops->close(file);
    chassis_sim_disk_flip(r.host, SEG1, (BASE + 2 * RECORD) * 8 + 300);
    assert_refused(&r, CHASSIS_CORRUPT, SEG1, BASE + 2 * RECORD);
}

static void cut_off_and_missing_files_are_refused(void **state)
{
    struct rig r;
    make(&r, true);
    struct chassis_disk *disk = chassis_sim_disk(r.host);
    struct chassis_file *file = open_file(&r, SEG1);
    disk->ops->truncate(file, 700);
    disk->ops->close(file);
    assert_refused(&r, CHASSIS_CORRUPT, SEG1, 700);
    make(&r, true);
    disk = chassis_sim_disk(r.host);
    disk->ops->unlink(disk, SEG1);
    assert_refused(&r, CHASSIS_CORRUPT, SEG1, -1);
    make(&r, true);
    disk = chassis_sim_disk(r.host);
    disk->ops->unlink(disk, "d/j/high-water");
    assert_refused(&r, CHASSIS_CORRUPT, "d/j/high-water", -1);
    /* The middle one of many. */
    rig_init(&r, 1, 4096);
    assert_int_equal(rig_open(&r), 0);
    for (uint64_t i = 1; i < 40; i++) {
        char text[500] = "x";
        rig_put(&r, 1, i, 1, 1, chassis_view(text, sizeof text));
    }
    rig_close(&r);
    disk = chassis_sim_disk(r.host);
    assert_int_equal(disk->ops->unlink(disk, "d/j/0000000000000003.seg"), 0);
    assert_refused(&r, CHASSIS_CORRUPT, "d/j/0000000000000003.seg", -1);
}

static void newer(struct rig *r, const char *path, uint64_t at, uint64_t crc_at, size_t crc_len)
{
    uint8_t bytes[RECORD];
    size_t n;
    struct chassis_disk *disk = chassis_sim_disk(r->host);
    struct chassis_file *file = open_file(r, path);
    disk->ops->read(file, at, bytes, crc_len + 8, &n);
    chassis_put_le16(bytes + 8, 3);
    chassis_put_le32(bytes + 4, chassis_crc32c(0, bytes + 8, crc_len));
    disk->ops->write(file, at, bytes, crc_len + 8);
    disk->ops->close(file);
}

static void a_newer_format_is_refused_naming_both(void **state)
{
    static const struct {
        const char *path;
        uint64_t at;
        size_t len;
    } files[] = {{SEG1, 0, 24}, {"d/j/high-water", 0, 40}, {SEG1, BASE, RECORD - 8}};
    for (unsigned i = 0; i < 3; i++) {
        struct rig r;
        make(&r, true);
        newer(&r, files[i].path, files[i].at, 4, files[i].len);
        assert_int_equal(rig_open(&r), CHASSIS_BAD_VERSION);
        assert_non_null(strstr(r.err.text, "format 3"));
        assert_non_null(strstr(r.err.text, "up to 2"));
        rig_fini(&r);
    }
}

static void count_fault(const char *text, void *data)
{
    ++*(int *)data;
}

static void verify_reports_what_open_would_refuse_and_changes_nothing(void **state)
{
    struct rig r;
    int faults = 0;
    make(&r, true);
    struct chassis_disk *disk = chassis_sim_disk(r.host);
    assert_int_equal(chassis_journal_verify(disk, "d/j", count_fault, &faults, NULL), 0);
    assert_int_equal(faults, 0);
    chassis_sim_disk_flip(r.host, SEG1, (BASE + RECORD) * 8 + 100);
    assert_int_equal(chassis_journal_verify(disk, "d/j", count_fault, &faults, NULL), 0);
    assert_int_equal(faults, 1);
    chassis_sim_disk_flip(r.host, SEG1, (BASE + RECORD) * 8 + 100);
    assert_int_equal(rig_open(&r), 0);
    rig_fini(&r);
}

static void damage_met_while_reading_is_an_error_with_its_place(void **state)
{
    struct rig r;
    make(&r, true);
    assert_int_equal(rig_open(&r), 0);
    chassis_sim_disk_flip(r.host, SEG1, (BASE + 2 * RECORD) * 8 + 600);
    struct rig_look l = rig_read(&r, 1, 1, 100000);
    assert_int_equal(l.rc, CHASSIS_CORRUPT);
    assert_int_equal(l.n, 2);
    assert_non_null(strstr(r.err.text, SEG1));
    assert_non_null(strstr(r.err.text, "offset 720"));
    rig_fini(&r);
}

static void a_vote_is_never_forgotten(void **state)
{
    for (uint64_t seed = 0; seed < 3000; seed++) {
        struct chassis_sim *sim = chassis_sim_new(seed);
        struct chassis_sim_host *host = chassis_sim_host_new(sim, "a");
        struct chassis_disk *disk = chassis_sim_disk(host);
        struct chassis_slots *slots;
        struct chassis_buf value;
        struct chassis_error err = {0};
        uint64_t synced = 0;
        for (int cycle = 0; cycle < 4; cycle++) {
            if (chassis_slots_open(disk, "d/term", &slots, &value, &err) != 0) {
                fail_msg("%s", err.text);
            }
            uint64_t got = value.len != 0 ? chassis_get_le64(value.data) : 0;
            assert_in_range(got, synced, synced + 1);
            chassis_buf_fini(&value);
            synced = got;
            for (uint64_t n = chassis_prng_below(chassis_sim_prng(sim), 4); n > 0; n--) {
                uint8_t bytes[8];
                chassis_put_le64(bytes, ++synced);
                assert_int_equal(chassis_slots_write(slots, chassis_view(bytes, 8), &err), 0);
            }
            /* One more whose sync never happened. */
            chassis_fault_arm("disk.sync", 1);
            uint8_t bytes[8];
            chassis_put_le64(bytes, synced + 1);
            assert_int_equal(chassis_slots_write(slots, chassis_view(bytes, 8), &err), -EIO);
            chassis_fault_disarm();
            chassis_sim_host_crash(host, seed % 4 != 0);
            chassis_slots_close(slots);
        }
        uint64_t bit = chassis_prng_below(chassis_sim_prng(sim), 1024 * 8);
        bit = bit < 512 * 8 ? bit : 4096 * 8 + bit - 512 * 8;
        assert_int_equal(chassis_sim_disk_flip(host, "d/term", bit), 0);
        assert_int_equal(chassis_slots_open(disk, "d/term", &slots, &value, &err), CHASSIS_CORRUPT);
        assert_non_null(strstr(err.text, "d/term"));
        chassis_sim_free(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flip_in_any_durable_record_is_refused_with_its_offset),
        cmocka_unit_test(a_flip_in_the_segment_header_or_the_high_water_mark_is_refused),
        cmocka_unit_test(junk_behind_the_tail_is_cut_and_everything_durable_is_there),
        cmocka_unit_test(a_lost_tail_is_damage_not_a_torn_tail),
        cmocka_unit_test(cut_off_and_missing_files_are_refused),
        cmocka_unit_test(a_newer_format_is_refused_naming_both),
        cmocka_unit_test(verify_reports_what_open_would_refuse_and_changes_nothing),
        cmocka_unit_test(damage_met_while_reading_is_an_error_with_its_place),
        cmocka_unit_test(a_vote_is_never_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
