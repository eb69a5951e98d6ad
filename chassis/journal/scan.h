/* Reading a journal's files from the start: what open and verify share.
 *
 * Threads: one. Blocking.
 */
#ifndef CHASSIS_JOURNAL_SCAN_H
#define CHASSIS_JOURNAL_SCAN_H

#include "journal/format.h"

enum { JOURNAL_PATH_MAX = 4096 };

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

struct scan_segment {
    uint32_t number, size;
    struct chassis_file *file;
};

struct journal_scan {
    struct chassis_disk *disk;
    const char *directory;
    /* A valid record, in order; negative ends the scan with that code. */
    int (*each)(struct journal_scan *scan, const struct record_header *header, uint32_t segment,
                uint32_t offset, struct chassis_error *err);
    void *data;

    struct high_water high_water;
    bool is_new; /* nothing there yet */
    struct scan_segment *segments;
    unsigned n_segments;
    uint64_t last_sequence; /* of the last valid record */
    unsigned tail;          /* segments[tail] holds the end of the log … */
    uint32_t tail_offset;   /* … here */
    bool clean;             /* the last record is a mark of a clean shutdown */
    bool torn;              /* something that is no record stands behind the tail */
};

void journal_path(char out[JOURNAL_PATH_MAX], const char *directory, const char *name);
void journal_segment_path(char out[JOURNAL_PATH_MAX], const char *directory, uint32_t number);
/* Find the files, check their headers, read the high-water mark. */
int journal_scan_files(struct journal_scan *scan, bool writable, struct chassis_error *err);
/* Read all records and decide whether what ends the log is a torn tail (0) or damage of something
 * that was durable (CHASSIS_CORRUPT, naming segment and offset). */
int journal_scan_records(struct journal_scan *scan, struct chassis_error *err);
void journal_scan_fini(struct journal_scan *scan); /* closes the files left in `segments` */

#endif
