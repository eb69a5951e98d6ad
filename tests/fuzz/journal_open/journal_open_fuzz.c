/* Opens a journal whose files are the input: never a crash, never more than is there, and what opens
 * can be read, appended to and opened again.
 *
 * Input: one byte of options, then for each of up to three files a 16-bit length and its bytes. The
 * first is the high-water mark, the others are segments 1 and 2 (padded with zeros to 8,192). With
 * bit 0 of the options checksums are made right, so that the fuzzer gets past them.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "journal/format.h"
#include "os/sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEGMENT = 8192 };
static const char *const paths[] = {"d/j/high-water", "d/j/0000000000000001.seg",
                                    "d/j/0000000000000002.seg"};

static void seal(uint8_t *bytes, size_t size)
{
    chassis_put_le32(bytes, SEGMENT_MAGIC);
    chassis_put_le16(bytes + 8, JOURNAL_FORMAT);
    chassis_put_le32(bytes + 12, (uint32_t)size);
    chassis_put_le32(bytes + 4, chassis_crc32c(0, bytes + 8, 24));
    for (size_t at = SEGMENT_HEADER_SIZE; at + RECORD_HEADER_SIZE <= size;) {
        uint8_t *p = bytes + at;
        uint32_t length = chassis_get_le32(p + 20) % 600;
        if (chassis_get_le32(p + 8) == 0 || at + record_size(length) > size) {
            break;
        }
        chassis_put_le32(p, RECORD_MAGIC);
        chassis_put_le16(p + 8, JOURNAL_FORMAT);
        chassis_put_le32(p + 20, length);
        chassis_put_le32(p + 4, chassis_crc32c(0, p + 8, RECORD_HEADER_SIZE - 8 + (size_t)length));
        at += record_size(length);
    }
}

static void write_file(struct chassis_disk *disk, unsigned which, struct chassis_view content,
                       bool sealed)
{
    struct chassis_file *file;
    uint8_t bytes[SEGMENT] = {0};
    size_t len = content.len < SEGMENT ? content.len : SEGMENT;
    memcpy(bytes, content.data, len);
    if (which != 0) {
        len = SEGMENT;
    }
    if (sealed && which == 0 && len >= HIGH_WATER_SIZE) {
        len = HIGH_WATER_SIZE;
        chassis_put_le32(bytes, HIGH_WATER_MAGIC);
        chassis_put_le16(bytes + 8, JOURNAL_FORMAT);
        chassis_put_le32(bytes + 4, chassis_crc32c(0, bytes + 8, HIGH_WATER_SIZE - 8));
    }
    if (sealed && which != 0) {
        seal(bytes, SEGMENT);
    }
    if (disk->ops->open(disk, paths[which], CHASSIS_DISK_WRITE | CHASSIS_DISK_CREATE, &file) == 0) {
        disk->ops->write(file, 0, bytes, len);
        disk->ops->close(file);
    }
}

static struct chassis_journal *journal;
static unsigned delivered;
static struct chassis_journal_append append;
static bool appended;

static int each(const struct chassis_journal_record *record, void *data)
{
    delivered++;
    return 0;
}
static void on_done(struct chassis_journal_append *a)
{
    appended = true;
}
/* A scan sees what the owner sees. */
static void scan(uint32_t stream, uint64_t first, unsigned want)
{
    struct chassis_journal_scan *scan;
    struct chassis_journal_scratch scratch = {0};
    struct chassis_error err = {0};
    uint64_t index;
    CHASSIS_ASSERT(chassis_journal_at_time(journal, stream, 50, &index, &err) == 0 &&
                   index >= first);
    delivered = 0;
    CHASSIS_ASSERT(chassis_journal_scan_open(journal, stream, first, &scan, &err) == 0);
    while (delivered < want) {
        CHASSIS_ASSERT(chassis_journal_scan_refresh(scan, &err) == 0 &&
                       chassis_journal_scan_read(scan, &scratch, 1000, each, NULL, &err) == 0);
    }
    CHASSIS_ASSERT(delivered == want);
    chassis_journal_scan_close(scan);
    chassis_journal_scratch_fini(&scratch);
}

static void use(void *data)
{
    for (uint32_t s = 0; s < 4; s++) {
        struct chassis_journal_stream info = chassis_journal_stream(journal, s);
        struct chassis_error err = {0};
        delivered = 0;
        int rc = chassis_journal_read(journal, s, info.first_index, SIZE_MAX, each, NULL, &err);
        bool empty = info.first_index > info.last_index || info.first_index == 0;
        CHASSIS_ASSERT(empty ? rc == CHASSIS_NOT_FOUND
                             : rc == 0 && delivered == info.last_index - info.first_index + 1);
        if (!empty) {
            scan(s, info.first_index, delivered);
        }
    }
    struct chassis_journal_stream info = chassis_journal_stream(journal, 1);
    if (info.last_index < UINT64_MAX - 2) {
        struct chassis_journal_record record = {.index = info.last_index + 1};
        append = (struct chassis_journal_append){
            .stream = 1, .records = &record, .n_records = 1, .done = on_done};
        appended = false;
        chassis_journal_append(journal, &append, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chassis_sim *sim = chassis_sim_new(1);
    struct chassis_sim_host *host = chassis_sim_host_new(sim, "a");
    struct chassis_disk *disk = chassis_sim_disk(host);
    chassis_log_set_level("", CHASSIS_LOG_OFF);
    struct chassis_reader r = chassis_reader(chassis_view(data, size));
    uint8_t options = chassis_read_byte(&r);
    for (unsigned i = 0; i < 3 && chassis_reader_left(&r) >= 2; i++) {
        size_t len = chassis_read_byte(&r);
        len |= (size_t)chassis_read_byte(&r) << 8;
        len = len < chassis_reader_left(&r) ? len : chassis_reader_left(&r);
        write_file(disk, i, chassis_read_bytes(&r, len), (options & 1) != 0);
    }
    for (int round = 0; round < 2; round++) {
        struct chassis_journal_options o = {
            .disk = disk,
            .directory = "d/j",
            .owner = chassis_sim_executor(host, "loop", 0),
            .writer = chassis_sim_executor(host, "journal", 0),
            .preparer = chassis_sim_executor(host, "prepare", 0),
            .log = chassis_log_module("journal"),
            .segment_bytes = SEGMENT,
        };
        struct chassis_error err = {0};
        int rc = chassis_journal_open(&o, &journal, &err);
        /* With right checksums one can forge records behind a clean end, which a later opening meets:
         * then a refusal is right. Without, what opened once opens again. */
        bool may_refuse = round == 0 || (options & 1) != 0;
        CHASSIS_ASSERT(rc == 0 || (may_refuse && err.text[0] != '\0'));
        if (rc != 0) {
            break;
        }
        chassis_sim_call(o.owner, use, NULL);
        chassis_sim_run(sim, CHASSIS_NS_PER_S, NULL, NULL);
        chassis_sim_host_crash(host, (options & 2) != 0);
        chassis_journal_abandon(journal);
    }
    chassis_sim_free(sim);
    return 0;
}
