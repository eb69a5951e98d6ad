/* The journal: one segmented, checksummed, group-committed append-only log of many streams.
 *
 * All streams of a node share the segments, so one fdatasync carries a whole batch across streams
 * and a stream costs an index entry, no file and no thread. Used by consensus and by Catalyst.
 *
 * Invariants:
 *  - within a stream indexes are consecutive; a record whose index is ≤ the stream's last replaces
 *    that record and drops everything after it (truncation is an append, so there is no race);
 *  - `done` of an append is called once, in order, only after the bytes were synced, unless it asked
 *    for less (enum chassis_journal_durability);
 *  - one write + one sync is in flight at a time, what arrives meanwhile joins the next batch;
 *  - a failed write or sync ends the process; a nearly full disk refuses appends before writing
 *    (CHASSIS_NO_SPACE) while reads go on, and recovers by itself;
 *  - on open a torn tail after the last synced record is cut and logged; damage before it is a
 *    refusal (CHASSIS_CORRUPT) that names file and offset.
 * Threads: everything is called on the owner's executor (`owner`), but for chassis_journal_scan_read;
 * writes run on `writer`, segments are prepared on `preparer`; `done` runs on `owner`.
 * Ownership: payloads are copied by append.
 */
#ifndef CHASSIS_JOURNAL_JOURNAL_H
#define CHASSIS_JOURNAL_JOURNAL_H

#include <chassis/buf.h>
#include <chassis/error.h>
#include <chassis/executor.h>
#include <chassis/log.h>

#include "os/disk.h"

struct chassis_journal;

struct chassis_journal_options {
    struct chassis_disk *disk;
    const char *directory; /* made if absent */
    struct chassis_executor *owner, *writer, *preparer;
    struct chassis_logger *log;
    uint64_t segment_bytes;        /* 0 = 64 MiB */
    uint64_t reserve_bytes;        /* refuse appends when less is free; 0 = two segments */
    unsigned sync_interval_ms;     /* of appends that do not wait for a sync; 0 = 1,000 */
    size_t pending_bytes_max;      /* accepted but not yet written; 0 = 64 MiB */
    size_t cache_bytes_per_stream; /* newest payloads kept in memory for read; 0 = 8 MiB */
    /* When less of the log than this is still needed (in percent, 50 is a good value), and it has more
     * than four segments, what is needed of the oldest is copied forward, so that old records of a
     * slow stream do not keep whole segments of fast ones. 0 = never. */
    unsigned live_percent;
};

struct chassis_journal_record {
    uint64_t index;
    uint64_t term;   /* 0 outside consensus */
    int64_t time_ns; /* of the proposal, since the epoch; 0 = none */
    uint16_t type;   /* the owner's */
    struct chassis_view payload;
};

/* What `done` waits for. A sync covers all that was written before it, whatever was asked. */
enum chassis_journal_durability {
    CHASSIS_JOURNAL_SYNC = 0, /* the fdatasync: survives a loss of power */
    CHASSIS_JOURNAL_INTERVAL, /* the write: survives a kill; a sync follows within sync_interval_ms */
    CHASSIS_JOURNAL_NONE, /* the end of the owner's turn; the write and the sync follow as above */
};

/* One append of consecutive records to one stream; caller's memory until `done`. Among appends that
 * ask for NONE `done` is in order, and among the others. */
struct chassis_journal_append {
    uint32_t stream;
    enum chassis_journal_durability durability;
    bool urgent; /* taken when the disk is nearly full too: small ones that make room */
    const struct chassis_journal_record *records; /* only read during the call */
    size_t n_records;
    void (*done)(struct chassis_journal_append *append);
    uint64_t last_index;                 /* set by append: index of its last record */
    struct chassis_journal_append *next; /* journal's own */
    uint64_t batch;                      /* journal's own */
};

struct chassis_journal_stream {
    uint64_t first_index; /* of the oldest record kept; last_index + 1 if none is */
    uint64_t last_index;  /* accepted */
    uint64_t
        written_index; /* what a scan may read: appends up to here got what they asked for, or more */
    uint64_t durable_index; /* synced */
    uint64_t last_term;
    uint64_t bytes; /* of the records kept, with their headers; an estimate after trims */
};

/* Recover and open. Blocking; run at boot. CHASSIS_CORRUPT names segment and offset and says how to
 * repair. CHASSIS_BAD_VERSION for a newer format, naming both. */
int chassis_journal_open(const struct chassis_journal_options *options,
                         struct chassis_journal **ret_journal, struct chassis_error *err);
/* Accept nothing more (CHASSIS_SHUTTING_DOWN); what was accepted may be written into the reserve. For
 * those who must hear of all their appends before they let the journal close. */
void chassis_journal_drain(struct chassis_journal *journal);
/* Write what is pending, sync, write a clean-shutdown marker, close. `closed` runs on the owner. */
void chassis_journal_close(struct chassis_journal *journal, void (*closed)(void *data), void *data);
/* Free without writing anything, as a crash would: for simulations, after the host crashed. */
void chassis_journal_abandon(struct chassis_journal *journal);

/* Accept an append. CHASSIS_NO_SPACE or CHASSIS_BUSY (pending_bytes_max) are refusals: nothing was
 * accepted and `done` will not run. The batch is written at the end of the owner's turn. */
int chassis_journal_append(struct chassis_journal *journal, struct chassis_journal_append *append,
                           struct chassis_error *err);

/* What is known of a stream; zeros for one never written. */
struct chassis_journal_stream chassis_journal_stream(struct chassis_journal *journal,
                                                     uint32_t stream);
/* The term of a kept record, 0 if it is not there. */
uint64_t chassis_journal_term(struct chassis_journal *journal, uint32_t stream, uint64_t index);

/* Whether a read from `index` on would come from memory alone, so that it does not block. */
bool chassis_journal_cached(struct chassis_journal *journal, uint32_t stream, uint64_t index);
/* The first index whose record has time_ns ≥ `time_ns`, last_index + 1 if all are older, for a stream
 * whose times do not fall. CHASSIS_NOT_FOUND if nothing is kept. Reads at most what lies between two
 * entries of the index (256 KiB of log, more when there are very many streams): may block. */
int chassis_journal_at_time(struct chassis_journal *journal, uint32_t stream, int64_t time_ns,
                            uint64_t *ret_index, struct chassis_error *err);
/* Call `each` for the records from `index` on, until `bytes_max` of payload (at least one record) or
 * `each` returns non-zero. From the cache or the disk, checksums verified (CHASSIS_CORRUPT).
 * CHASSIS_NOT_FOUND if `index` is not kept. Views live during the call. Blocks when not cached. */
int chassis_journal_read(struct chassis_journal *journal, uint32_t stream, uint64_t index,
                         size_t bytes_max,
                         int (*each)(const struct chassis_journal_record *record, void *data),
                         void *data, struct chassis_error *err);

/* Records of `stream` with index ≤ `through` are no longer needed; whole segments that no stream
 * needs are recycled or removed. */
void chassis_journal_trim(struct chassis_journal *journal, uint32_t stream, uint64_t through);
/* Drop everything and let the stream go on at `next_index` (after installing a checkpoint);
 * durable with the next append. */
void chassis_journal_reset(struct chassis_journal *journal, uint32_t stream, uint64_t next_index,
                           uint64_t last_term);

/* The stream is gone for good, and with it where it ended; its number may be used again, from index 1.
 * Durable with the next append: a crash before brings it back as it was. */
void chassis_journal_forget(struct chassis_journal *journal, uint32_t stream);
/* Every stream there is, in no order; `each` changes nothing. */
void chassis_journal_each_stream(struct chassis_journal *journal,
                                 void (*each)(uint32_t stream, void *data), void *data);

/* ---- reading away from the owner ----
 *
 * A scan is opened, refreshed and closed on the owner and read on any other role, one call at a time
 * (the hand-over is the caller's: a message each way). It sees the records from `index` up to a
 * bound noted at open and refresh, at most written_index. The segments up to there stay open, whatever is trimmed
 * meanwhile; a record that was replaced is not delivered any more: the scan then ends before it.
 *
 *     owner: open ─▶ worker: read, read … next == end ─▶ owner: refresh ─▶ … ─▶ owner: close
 */
struct chassis_journal_scan;
/* Memory to read into: one per reading role, shared by all scans read there. Zeroed is ready. */
struct chassis_journal_scratch {
    struct chassis_buf bytes;
    uint64_t scan, start;
    uint32_t version, segment;
};
void chassis_journal_scratch_fini(struct chassis_journal_scratch *scratch);

/* Owner. `index` from first_index to last_index + 1; CHASSIS_NOT_FOUND if it is not kept: the text
 * names the first that is. */
int chassis_journal_scan_open(struct chassis_journal *journal, uint32_t stream, uint64_t index,
                              struct chassis_journal_scan **ret_scan, struct chassis_error *err);
/* Any role. As chassis_journal_read; `each` gets views into `scratch`, valid during its call. No
 * record, and 0, at the bound. */
int chassis_journal_scan_read(struct chassis_journal_scan *scan,
                              struct chassis_journal_scratch *scratch, size_t bytes_max,
                              int (*each)(const struct chassis_journal_record *record, void *data),
                              void *data, struct chassis_error *err);
/* Where the scan stands: the index read next, and the bound (one beyond the last it may read). When
 * they are equal it wants a refresh. While a read runs, nobody else may ask. */
uint64_t chassis_journal_scan_next(const struct chassis_journal_scan *scan);
uint64_t chassis_journal_scan_end(const struct chassis_journal_scan *scan);
/* Owner. Move the bound forward and let go of what was passed. CHASSIS_NOT_FOUND if the next record
 * was trimmed meanwhile (the text names the first kept), CHASSIS_ABORTED if records that were already
 * read have been replaced, CHASSIS_SHUTTING_DOWN once the journal is closed; the scan then stays as it
 * was. A bound may lie before written_index: at
 * most so many segments are held at once. */
int chassis_journal_scan_refresh(struct chassis_journal_scan *scan, struct chassis_error *err);
/* Owner. NULL is fine; also after the journal was closed or abandoned. */
void chassis_journal_scan_close(struct chassis_journal_scan *scan);

/* Check every segment of a closed journal without changing it; each fault is reported by `fault`. */
int chassis_journal_verify(struct chassis_disk *disk, const char *directory,
                           void (*fault)(const char *text, void *data), void *data,
                           struct chassis_error *err);

#endif
