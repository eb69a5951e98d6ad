/* Reading records from segments: a window over a file, and the run over one stream's records that the
 * owner's reads and scans share.
 *
 * Threads: one at a time. Blocking.
 */
#ifndef CHASSIS_JOURNAL_READER_H
#define CHASSIS_JOURNAL_READER_H

#include "journal/format.h"

/* A window over one file, so that records are read in large pieces. Zeroed is ready for use. */
struct journal_window {
    struct chassis_disk *disk;
    struct chassis_file *file;
    uint64_t start;
    struct chassis_buf bytes;
};
/* `len` bytes at `offset`; CHASSIS_EOF_REACHED if the file is shorter. Valid until the next call. */
int journal_window_get(struct journal_window *w, uint64_t offset, size_t len,
                       const uint8_t **ret_bytes);
void journal_window_move(struct journal_window *w, struct chassis_file *file);

struct place {
    uint32_t segment;
    uint32_t offset;
};

/* Where the records of a stream from `index` on stand, up to the next entry: reading on from the place
 * one meets them in order. Entries rise in index and in place; readers jump from one to the next. One
 * that is `forced` stands at a truncation: older records of the same index lie before it. */
struct entry {
    uint64_t index;
    int64_t time_ns;
    uint32_t segment;
    uint32_t offset : 31;
    uint32_t forced : 1;
};

/* A segment as a reader sees it. */
struct source {
    uint32_t number, size;
    uint32_t end; /* of its last record; 0: nothing is known to follow it in the next */
    struct chassis_file *file;
};

struct journal_reader {
    const char *directory;
    uint32_t stream;
    uint32_t n_runs, run; /* runs[run] covers `index` */
    const struct entry *runs;
    bool (*source)(void *context, uint32_t number, struct source *ret_source);
    void *context;
    struct journal_window window;
    struct source in;  /* position: the next record to look at stands here … */
    uint32_t offset;   /* … at this offset */
    uint64_t sequence; /* of the record before it; 0 = not known */
    uint64_t index;    /* next to be delivered */
    size_t left;       /* bytes the caller still wants */
    bool any;          /* at least one record is always delivered */
    bool enough;       /* the caller wants no more */
    int (*each)(const struct chassis_journal_record *record, void *data);
    void *data;
};
/* Stand at a place, keeping what the window holds of that segment. */
int journal_reader_go(struct journal_reader *r, struct place at, struct chassis_error *err);
/* Deliver the record at `index` and those that follow, below `end`, until enough. */
int journal_reader_run(struct journal_reader *r, uint64_t end, struct chassis_error *err);
/* Hand one record over and count it. */
void journal_reader_deliver(struct journal_reader *r, const struct chassis_journal_record *record);

#endif
