/* Reading a journal's files from the start: what open and verify share.
 *
 * Threads: one. Blocking.
 */
#ifndef CHASSIS_JOURNAL_WALK_H
#define CHASSIS_JOURNAL_WALK_H

#include "journal/reader.h"

enum { JOURNAL_PATH_MAX = 4096 };

struct walk_segment {
    uint32_t number, size;
    struct chassis_file *file;
};

struct journal_walk {
    struct chassis_disk *disk;
    const char *directory;
    /* A valid record, in order; negative ends the walk with that code. */
    int (*each)(struct journal_walk *walk, const struct record_header *header, uint32_t segment,
                uint32_t offset, struct chassis_error *err);
    void *data;

    struct high_water high_water;
    bool is_new; /* nothing there yet */
    struct walk_segment *segments;
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
int journal_walk_files(struct journal_walk *walk, bool writable, struct chassis_error *err);
/* Read all records and decide whether what ends the log is a torn tail (0) or damage of something
 * that was durable (CHASSIS_CORRUPT, naming segment and offset). */
int journal_walk_records(struct journal_walk *walk, struct chassis_error *err);
void journal_walk_fini(struct journal_walk *walk); /* closes the files left in `segments` */

#endif
