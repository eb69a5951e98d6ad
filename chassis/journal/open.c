/* Opening: recover, cut a torn tail, make durable what was found. */
#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "journal/internal.h"

void journal_free(struct chassis_journal *j)
{
    journal_scans_detach(j);
    journal_copy_fini(j);
    for (uint32_t i = 0; i < j->n_segments; i++) {
        journal_segment_unref(j->disk, j->segments[i]);
    }
    free(j->segments);
    journal_waiting_free(j);
    journal_files_free(j, &j->unsynced);
    journal_files_free(j, &j->write.files);
    journal_streams_free(j);
    j->disk->ops->close(j->high_water_file);
    j->disk->ops->close(j->lock);
    free(j->directory);
    free(j);
}

static int does_not_follow(struct journal_walk *walk, const struct record_header *h,
                           struct place at, struct chassis_error *err)
{
    char path[JOURNAL_PATH_MAX];
    journal_segment_path(path, walk->directory, at.segment);
    return chassis_error_set(err, CHASSIS_CORRUPT,
                             "segment '%s' is damaged at offset %u: record %llu of stream %u does "
                             "not follow the one before; %s",
                             path, at.offset, (unsigned long long)h->index, h->stream,
                             JOURNAL_REPAIR);
}

/* One valid record while scanning: what it does to its stream. */
static int replay(struct journal_walk *walk, const struct record_header *h, uint32_t segment,
                  uint32_t offset, struct chassis_error *err)
{
    struct chassis_journal *j = walk->data;
    journal_segment(j, segment)->end = offset + (uint32_t)record_size(h->length);
    if (h->kind == RECORD_MARKER) {
        return 0;
    }
    struct stream *s = journal_stream_find(j, h->stream);
    bool ok = h->index <= INDEX_VALUE_MAX;
    if (ok && h->kind == RECORD_DATA) {
        ok = h->index != 0 && (s == NULL || !s->known || h->index <= s->last + 1);
    } else if (ok && h->kind == RECORD_COPY) {
        ok = h->index != 0 && (s == NULL || !s->known || h->index <= s->last);
    } else {
        ok = ok && h->kind == RECORD_RESET;
    }
    struct place at = {segment, offset};
    if (ok && h->kind == RECORD_RESET && h->type == 1) {
        if (s != NULL) {
            journal_stream_forget(j, s);
        }
        return 0;
    }
    s = ok ? journal_stream_make(j, h->stream) : NULL;
    if (ok && h->kind == RECORD_DATA) {
        journal_stream_add(j, s, h, at, NULL);
    } else if (ok && h->kind == RECORD_COPY) {
        ok = journal_stream_copied(j, s, h, at);
    } else if (ok) {
        journal_stream_reset(j, s, h, segment);
    }
    return ok ? 0 : does_not_follow(walk, h, at, err);
}

/* Zero what stands behind the tail: a record that survived there must never be taken for one of the
 * log when the new records happen to end just before it. */
static int cut_tail(struct chassis_journal *j, struct journal_walk *walk)
{
    enum { CHUNK = 1 << 20 };
    const struct walk_segment *tail = &walk->segments[walk->tail];
    uint8_t *zeros = chassis_base_zalloc(CHUNK);
    int rc = 0;
    for (uint32_t at = walk->tail_offset; rc == 0 && at < tail->size;) {
        uint32_t len = tail->size - at < CHUNK ? tail->size - at : CHUNK;
        rc = j->disk->ops->write(tail->file, at, zeros, len);
        at += len;
    }
    free(zeros);
    /* Later segments: empty ones are as good as new, others are made again. */
    while (rc == 0 && walk->n_segments > walk->tail + 1) {
        char path[JOURNAL_PATH_MAX];
        struct walk_segment *last = &walk->segments[walk->n_segments - 1];
        journal_segment_path(path, j->directory, last->number);
        rc = j->disk->ops->unlink(j->disk, path);
        if (rc == 0) {
            j->disk->ops->close(last->file);
            walk->n_segments--;
        }
    }
    return rc == 0 ? j->disk->ops->dir_sync(j->disk, j->directory) : rc;
}

static int write_high_water(struct chassis_journal *j, struct journal_walk *walk,
                            struct chassis_error *err)
{
    char path[JOURNAL_PATH_MAX];
    uint8_t bytes[HIGH_WATER_SIZE];
    struct high_water *hw = &j->write.high_water;
    *hw = (struct high_water){.segment = walk->segments[walk->tail].number,
                              .offset = walk->tail_offset,
                              .sequence = walk->last_sequence,
                              .first_segment = walk->segments[0].number};
    high_water_encode(bytes, hw);
    journal_path(path, j->directory, "high-water");
    int rc = chassis_disk_replace_file(j->disk, path, chassis_view(bytes, sizeof bytes), err);
    if (rc < 0) {
        return rc;
    }
    rc = j->disk->ops->open(j->disk, path, CHASSIS_DISK_WRITE, &j->high_water_file);
    return rc < 0 ? chassis_error_code(err, rc, "open '%s'", path) : 0;
}

/* The high-water mark comes first, so that a crash in between leaves an empty journal. */
static int make_first(struct chassis_journal *j, struct journal_walk *walk,
                      struct chassis_error *err)
{
    uint32_t number = 1;
    if (walk->is_new) {
        walk->high_water = (struct high_water){.segment = number, .first_segment = number};
        char path[JOURNAL_PATH_MAX];
        uint8_t bytes[HIGH_WATER_SIZE];
        high_water_encode(bytes, &walk->high_water);
        journal_path(path, j->directory, "high-water");
        int rc = chassis_disk_replace_file(j->disk, path, chassis_view(bytes, sizeof bytes), err);
        if (rc < 0) {
            return rc;
        }
    }
    struct chassis_file *file = NULL;
    uint32_t size = journal_segment_size(j, number);
    int rc = journal_segment_create(j->disk, j->directory, number, size, &file);
    if (rc < 0) {
        return chassis_error_code(err, rc == -ENOSPC ? CHASSIS_NO_SPACE : rc,
                                  "make the first segment in '%s'", j->directory);
    }
    walk->segments = chassis_base_realloc(walk->segments, sizeof walk->segments[0]);
    walk->segments[0] = (struct walk_segment){number, size, file};
    walk->n_segments = 1;
    return 0;
}

/* Behind the mark of a clean shutdown nothing is looked for, so it must not be the last record when
 * what is written next is torn. */
static int end_clean(struct chassis_journal *j, struct journal_walk *walk)
{
    const struct walk_segment *tail = &walk->segments[walk->tail];
    if (!walk->clean || tail->size - walk->tail_offset < RECORD_HEADER_SIZE) {
        return 0;
    }
    struct record_header h = {.format = JOURNAL_FORMAT_OLDEST,
                              .kind = RECORD_MARKER,
                              .sequence = walk->last_sequence + 1,
                              .durable = walk->last_sequence};
    struct chassis_buf bytes = {0};
    record_encode(&bytes, &h, chassis_view(NULL, 0));
    int rc = j->disk->ops->write(tail->file, walk->tail_offset, bytes.data, bytes.len);
    if (rc == 0) {
        rc = j->disk->ops->sync(tail->file);
    }
    walk->tail_offset += (uint32_t)bytes.len;
    walk->last_sequence++;
    chassis_buf_fini(&bytes);
    return rc;
}

static int recover(struct chassis_journal *j, struct journal_walk *walk, struct chassis_error *err)
{
    int rc = journal_walk_files(walk, true, err);
    if (rc == 0 && walk->n_segments == 0) {
        rc = make_first(j, walk, err);
    }
    if (rc < 0) {
        return rc;
    }
    for (unsigned i = 0; i < walk->n_segments; i++) {
        journal_segment_add(j, walk->segments[i].number, walk->segments[i].size);
    }
    rc = journal_walk_records(walk, err);
    if (rc < 0) {
        return rc;
    }
    uint32_t tail = walk->segments[walk->tail].number;
    if (walk->torn) {
        chassis_log_warn(j->log, "cut a torn tail: records that were never acknowledged",
                         chassis_f_str("directory", j->directory), chassis_f_u64("segment", tail),
                         chassis_f_u64("offset", walk->tail_offset));
        rc = cut_tail(j, walk);
    }
    /* What a killed process wrote may not have been synced, and will be reported as durable. */
    for (unsigned i = 0; rc == 0 && !walk->clean && i < walk->n_segments; i++) {
        if (walk->segments[i].number + 1 >= walk->high_water.segment) {
            rc = j->disk->ops->sync(walk->segments[i].file);
        }
    }
    rc = rc == 0 ? end_clean(j, walk) : rc;
    return rc == 0 ? write_high_water(j, walk, err)
                   : chassis_error_code(err, rc, "recover the journal in '%s'", j->directory);
}

/* Hand the files over from the walk. */
static void adopt(struct chassis_journal *j, struct journal_walk *walk)
{
    while (j->n_segments > walk->n_segments) {
        free(j->segments[--j->n_segments]);
    }
    for (unsigned i = 0; i < walk->n_segments; i++) {
        j->segments[i]->file = walk->segments[i].file;
        walk->segments[i].file = NULL;
    }
    j->tail_segment = walk->segments[walk->tail].number;
    for (unsigned i = 0; i < walk->tail; i++) {
        j->full_bytes += j->segments[i]->end;
    }
    j->tail_offset = walk->tail_offset;
    j->last_sequence = j->written_sequence = j->synced_sequence = walk->last_sequence;
    j->last_is_marker = true;
    uint64_t free_bytes = 0;
    j->no_space = j->disk->ops->space(j->disk, j->directory, &free_bytes) == 0 &&
                  free_bytes < j->reserve_bytes;
    for (uint32_t i = 0; i < j->cap_table; i++) {
        if (j->table[i] != NULL) {
            journal_stream_settle(j, j->table[i]);
        }
    }
}

static struct chassis_journal *journal_new(const struct chassis_journal_options *o)
{
    struct chassis_journal *j = chassis_base_zalloc(sizeof *j);
    j->disk = o->disk;
    j->directory = chassis_base_strdup(o->directory);
    j->owner = o->owner;
    j->writer = o->writer;
    j->preparer = o->preparer;
    j->log = o->log;
    j->bytes_written = chassis_counter("chassis_journal_written_bytes_total",
                                       "Bytes written to segments.", NULL, 0);
    j->bytes_copied = chassis_counter("chassis_journal_copied_bytes_total",
                                      "Bytes of old records written again.", NULL, 0);
    j->batches = chassis_counter("chassis_journal_batches_total",
                                 "Batches of records made durable together.", NULL, 0);
    j->sync_seconds = chassis_histogram("chassis_journal_sync_seconds",
                                        "Time fdatasync takes for a batch.", NULL, 0, NULL, 0);
    j->segment_bytes = o->segment_bytes != 0 ? o->segment_bytes : 64 << 20;
    j->reserve_bytes = o->reserve_bytes != 0 ? o->reserve_bytes : 2 * j->segment_bytes;
    j->live_percent = o->live_percent;
    j->sync_interval_ns =
        (o->sync_interval_ms != 0 ? o->sync_interval_ms : 1000) * CHASSIS_NS_PER_MS;
    j->pending_bytes_max = o->pending_bytes_max != 0 ? o->pending_bytes_max : 64 << 20;
    j->cache_bytes_per_stream =
        o->cache_bytes_per_stream != 0 ? o->cache_bytes_per_stream : 8 << 20;
    chassis_list_init(&j->cached);
    chassis_list_init(&j->scans);
    return j;
}

static int open_directory(struct chassis_journal *j, struct chassis_error *err)
{
    char parent[JOURNAL_PATH_MAX];
    const char *slash = strrchr(j->directory, '/');
    size_t len = slash != NULL ? (size_t)(slash - j->directory) : 0;
    memcpy(parent,
           slash == NULL           ? "."
           : slash == j->directory ? "/"
                                   : j->directory,
           slash == NULL || len == 0 ? 2 : len);
    parent[len != 0 ? len : 1] = '\0';
    int rc = j->disk->ops->mkdir(j->disk, j->directory);
    if (rc == 0) {
        rc = j->disk->ops->dir_sync(j->disk, parent);
    }
    if (rc < 0) {
        return chassis_error_code(err, rc, "make the journal's directory '%s'", j->directory);
    }
    rc = j->disk->ops->lock(j->disk, j->directory, &j->lock);
    if (rc < 0) {
        return rc == -EBUSY
                   ? chassis_error_set(err, rc, "journal '%s' is in use by another process",
                                       j->directory)
                   : chassis_error_code(err, rc, "lock journal '%s'", j->directory);
    }
    return 0;
}

int chassis_journal_open(const struct chassis_journal_options *options,
                         struct chassis_journal **ret_journal, struct chassis_error *err)
{
    if (strlen(options->directory) > JOURNAL_PATH_MAX - 64) {
        return chassis_error_code(err, -ENAMETOOLONG, "open journal");
    }
    CHASSIS_ASSERT(options->segment_bytes == 0 ||
                   (options->segment_bytes >= 4096 && options->segment_bytes <= 1 << 30 &&
                    options->segment_bytes % 512 == 0));
    struct chassis_journal *j = journal_new(options);
    struct journal_walk walk = {
        .disk = j->disk, .directory = j->directory, .each = replay, .data = j};
    int rc = open_directory(j, err);
    if (rc == 0) {
        rc = recover(j, &walk, err);
    }
    if (rc == 0) {
        adopt(j, &walk);
        journal_init_tasks(j);
        chassis_log_info(j->log, "journal open", chassis_f_str("directory", j->directory),
                         chassis_f_u64("segments", j->n_segments),
                         chassis_f_u64("streams", j->n_streams),
                         chassis_f_u64("sequence", j->last_sequence));
    }
    journal_walk_fini(&walk);
    if (rc < 0) {
        journal_free(j);
        return rc;
    }
    *ret_journal = j;
    return 0;
}

/* ---- verify ---- */

struct verify {
    void (*fault)(const char *text, void *data);
    void *data;
};

static int only_look(struct journal_walk *walk, const struct record_header *h, uint32_t segment,
                     uint32_t offset, struct chassis_error *err)
{
    return 0;
}

int chassis_journal_verify(struct chassis_disk *disk, const char *directory,
                           void (*fault)(const char *text, void *data), void *data,
                           struct chassis_error *err)
{
    if (strlen(directory) > JOURNAL_PATH_MAX - 64) {
        return chassis_error_code(err, -ENAMETOOLONG, "verify journal");
    }
    struct journal_walk walk = {.disk = disk, .directory = directory, .each = only_look};
    struct chassis_error found = {0};
    int rc = journal_walk_files(&walk, false, &found);
    if (rc == 0 && !walk.is_new) {
        rc = journal_walk_records(&walk, &found);
    }
    journal_walk_fini(&walk);
    if (rc == CHASSIS_CORRUPT || rc == CHASSIS_BAD_VERSION) {
        fault(found.text, data);
        return 0;
    }
    if (rc < 0 && err != NULL) {
        *err = found;
    }
    return rc;
}
