/* The journal's own structures. All belong to the owner's executor, but for what a job hands to the
 * writer or the preparer and takes back when it is done.
 */
#ifndef CHASSIS_JOURNAL_INTERNAL_H
#define CHASSIS_JOURNAL_INTERNAL_H

#include <chassis/metrics.h>

#include "base/assert.h"
#include "base/list.h"
#include "journal/format.h"
#include "journal/walk.h"

enum {
    SEGMENTS_AHEAD = 1,         /* prepared beyond the one that is written */
    SEGMENT_STEP = 512 << 10,   /* zeros written and synced at once */
    SEGMENT_FIRST = 4 << 20,    /* the first is small, each further one twice as large */
    RECORD_MAX = 4 << 20,       /* header included, where segments are not smaller */
    ALONE_BYTES = 4 << 10,      /* of a job that takes the owner less time than waking it */
    CACHE_TOTAL = 64 << 20,     /* payload bytes kept in memory over all streams */
    INDEX_SPACING = 256 << 10,  /* bytes of log between two entries of a stream's index */
    INDEX_SPACING_FIRST = 1024, /* … while it has few, once it has more than … */
    INDEX_FEW = 16,             /* … so many, each for one record */
    INDEX_TOTAL = 4 << 20,      /* entries over all streams; then an equal share, at least … */
    INDEX_MIN = 32,             /* … so many each */
    INDEX_MAX = 8192,
};
#define INDEX_VALUE_MAX   (1ULL << 62)
#define INDEX_SPACING_MAX (1ULL << 40)
#define IDLE_NS           (5 * CHASSIS_NS_PER_MS)
#define SPACE_CHECK_NS    CHASSIS_NS_PER_S          /* while there is room */
#define SPACE_RETRY_NS    (100 * CHASSIS_NS_PER_MS) /* while there is none */

struct segment {
    uint32_t number, size;
    uint32_t end;              /* of its last record, once the log went on in the next */
    struct chassis_file *file; /* NULL until prepared */
    unsigned refs;             /* of the journal and of scans */
    unsigned n_live;           /* entries of streams that point here */
    struct chassis_list empty; /* streams without records, whose state stands here */
};

struct term_run {
    uint64_t first_index, term;
};

struct cached {
    struct chassis_list link; /* of all cached records, oldest first */
    struct stream *stream;
    uint64_t sequence, index, term;
    int64_t time_ns;
    uint32_t length;
    uint16_t type;
    uint8_t bytes[];
};

struct stream {
    uint32_t id;
    uint32_t state_segment; /* of its last record of any kind */
    uint64_t first, last, written, durable;
    uint64_t last_term;
    uint64_t rewrite_sequence; /* last record that replaced others; 0 = none in flight */
    uint64_t rewrite_index;    /* lowest index replaced since */
    uint64_t bytes;            /* its records on disk, an estimate after trims */
    struct segment *home;      /* that holds its state, while it has no records */
    struct chassis_list link;  /* of home->empty */

    struct entry *entries;
    uint32_t n_entries, cap_entries;
    uint32_t n_terms, cap_terms;
    struct term_run *terms;
    struct stream *next_unsynced;
    uint64_t spacing; /* of the entries, in bytes of log */
    bool is_unsynced; /* in the list of those written since the last sync */
    bool known;       /* at open: a record that says what the last one is was met */

    struct cached **cache; /* a ring over the newest records, without gaps up to `last` */
    uint32_t cache_head, cache_n, cache_cap;
    size_t cache_bytes;

    uint64_t next_read; /* where the last read from disk ended: 0, or the index at next_place */
    struct place next_place;
};

struct part { /* bytes for one segment */
    struct part *next;
    struct segment *segment;
    uint32_t offset;
    uint64_t last_sequence;
    struct chassis_buf bytes;
};

/* Segments written since they were last synced, held open. */
struct files {
    struct segment **list;
    uint32_t n, cap;
};

struct write_job {
    struct chassis_task task, sync, done;
    bool busy;
    struct part *parts;
    struct files files; /* to be synced */
    struct high_water high_water;
    bool synced; /* whether it ends with a sync */
    bool alone;  /* little, with nothing behind it: its end waits for no other thread */
    bool sync_high_water;
};

/* A segment on its way: next.tmp, zeros up to `filled`, synced. The preparer's while the job is busy. */
struct segment_making {
    struct chassis_file *file; /* NULL: not begun */
    uint32_t number, size, filled;
};

struct prepare_job {
    struct chassis_task task, done;
    bool busy;
    struct segment_making making;
    uint32_t number, to;       /* fill it up to here; 0: nothing to prepare */
    bool hurry;                /* records wait for it */
    struct chassis_file *file; /* result, once it is whole */
    uint32_t unlink_from, unlink_to;
    uint64_t reserve_bytes;
    uint64_t free_bytes; /* result */
    int rc;              /* result of preparing */
    bool failed;         /* no room even for a journal that closes */
};

/* A record that was put a second time. */
struct move {
    struct record_header header;
    struct place from, to;
};

struct copy_job {
    struct chassis_task task, done;
    bool busy;               /* the preparer reads */
    bool stopped;            /* met damage */
    struct segment *segment; /* the oldest, being copied; NULL: none */
    uint32_t offset;
    struct chassis_buf bytes; /* from `offset` on */
    size_t want;
    int rc;
    struct move *moves; /* put, not yet written */
    uint32_t n_moves, cap_moves;
};

struct chassis_journal {
    struct chassis_disk *disk;
    char *directory;
    struct chassis_executor *owner, *writer, *preparer;
    struct chassis_logger *log;
    struct chassis_counter *bytes_written, *bytes_copied, *batches;
    struct chassis_histogram *sync_seconds;
    uint64_t segment_bytes, reserve_bytes;
    size_t pending_bytes_max, cache_bytes_per_stream;
    struct chassis_file *lock, *high_water_file;

    struct segment **segments; /* [0] is the first kept */
    uint32_t n_segments, cap_segments;
    uint32_t tail_segment, tail_offset;
    uint64_t last_sequence;    /* given to a record */
    uint64_t written_sequence; /* can be read from the files */
    uint64_t synced_sequence;  /* durable */
    uint64_t sync_through;     /* what waits for a sync */
    bool sync_due;             /* the interval has passed */
    struct files unsynced;
    struct stream *unsynced_streams;
    bool last_is_marker;

    struct stream **table; /* open addressing by id */
    uint32_t n_streams, cap_table;
    uint64_t n_entries; /* of their indexes */
    struct chassis_list cached;
    size_t cached_bytes;

    struct part *pending, **pending_tail, *newest;
    size_t pending_bytes; /* accepted and not durable */
    struct chassis_journal_append *waiting, **waiting_tail;
    struct chassis_journal_append *accepted, **accepted_tail; /* wait for the end of the turn */
    struct write_job write;
    struct prepare_job prepare;
    struct chassis_task flush;
    struct chassis_timer idle, space, sync;
    uint64_t sync_interval_ns;
    uint64_t space_checked_ns;
    bool no_space;
    bool urgent; /* something was taken that may use the reserve */
    bool reading;
    struct chassis_list scans;

    struct copy_job copy;
    unsigned live_percent; /* copy forward when less of the log is needed; 0 = never */
    uint64_t live_bytes;   /* of all streams, an estimate */
    uint64_t full_bytes;   /* of the segments from free_to to the one that is written */

    uint32_t free_to;       /* segments below are free once … */
    uint64_t free_after;    /* … this sequence is durable */
    uint32_t durable_first; /* first segment in the synced high-water mark */

    bool draining; /* accepts nothing more, and may use the reserve */
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

/* streams.c */
struct stream *journal_stream_find(struct chassis_journal *j, uint32_t id);
struct stream *journal_stream_make(struct chassis_journal *j, uint32_t id);
/* A record now stands at `at`; it replaces what follows. `payload` NULL: not to be cached. */
void journal_stream_add(struct chassis_journal *j, struct stream *s, const struct record_header *h,
                        struct place at, const struct chassis_view *payload);
void journal_stream_reset(struct chassis_journal *j, struct stream *s,
                          const struct record_header *h, uint32_t segment);
/* At open, and once a copy was written: a record stands at another place now. False if the stream
 * cannot have it. */
bool journal_stream_copied(struct chassis_journal *j, struct stream *s,
                           const struct record_header *h, struct place at);
/* All was read at open. */
void journal_stream_settle(struct chassis_journal *j, struct stream *s);
void journal_stream_forget(struct chassis_journal *j, struct stream *s);
void journal_stream_trim(struct chassis_journal *j, struct stream *s, uint64_t through);
/* What was appended up to `index` with this sequence is written, and synced if that is. */
void journal_stream_written(struct chassis_journal *j, struct stream *s, uint64_t index,
                            uint64_t sequence);
/* All that was written is synced. */
void journal_streams_synced(struct chassis_journal *j);
void journal_cache_evict(struct chassis_journal *j);
void journal_streams_free(struct chassis_journal *j);
struct cached *journal_cached(const struct stream *s, uint64_t index);

/* index.c */
/* The last entry not beyond `index`, NULL if there is none. */
const struct entry *journal_entry(const struct stream *s, uint64_t index);
/* The stream's next record. */
void journal_entries_add(struct chassis_journal *j, struct stream *s, const struct record_header *h,
                         struct place at, bool forced);
void journal_entries_cut(struct chassis_journal *j, struct stream *s, uint64_t index);
/* Keep what leads to the records from `first` on, which is there. */
void journal_entries_trim(struct chassis_journal *j, struct stream *s, uint64_t first);
/* One record stands elsewhere now. */
void journal_entries_move(struct chassis_journal *j, struct stream *s,
                          const struct record_header *h, struct place at);
/* The records from `index` on are not known of yet; one beyond is added next. */
void journal_entries_hole(struct chassis_journal *j, struct stream *s, uint64_t index);
/* Drop what lies before a hole: the first index kept. */
uint64_t journal_entries_settle(struct chassis_journal *j, struct stream *s);
/* What still points into a segment none of whose records it needs shall point to the next one. */
void journal_entries_leave(struct chassis_journal *j, struct segment *seg);

/* copy.c */
/* Go on copying records forward, or begin to, if that is worth it. */
void journal_copy(struct chassis_journal *j);
void journal_copy_init(struct chassis_journal *j);
void journal_copy_fini(struct chassis_journal *j);

/* scan.c */
/* The stream's records from `index` on are not to be read any more; from `replaced` on there are, or
 * will be, others. */
void journal_scans_cut(struct chassis_journal *j, uint32_t stream, uint64_t index,
                       uint64_t replaced);
void journal_scans_detach(struct chassis_journal *j);

/* segments.c */
struct segment *journal_segment(struct chassis_journal *j, uint32_t number);
struct segment *journal_segment_add(struct chassis_journal *j, uint32_t number, uint32_t size);
/* Close and free it when it was the last. */
void journal_segment_unref(struct chassis_disk *disk, struct segment *segment);
uint32_t journal_segment_size(const struct chassis_journal *j, uint32_t number);
/* Make one segment, zero-filled and durable. Blocking. */
/* Forget a segment that is half made, with its file. */
void journal_making_drop(struct chassis_disk *disk, const char *directory,
                         struct segment_making *making);
int journal_segment_create(struct chassis_disk *disk, const char *directory, uint32_t number,
                           uint32_t size, struct chassis_file **ret_file);
/* Start whatever the preparer has to do now. */
void journal_prepare(struct chassis_journal *j);
/* See which segments nobody needs any more. */
void journal_collect(struct chassis_journal *j);
void journal_prepare_init(struct chassis_journal *j);

/* open.c */
void journal_free(struct chassis_journal *j);

/* journal.c */
uint64_t journal_put(struct chassis_journal *j, struct record_header *h,
                     struct chassis_view payload, struct place *ret_at);
void journal_flush_soon(struct chassis_journal *j);
void journal_waiting_free(struct chassis_journal *j);
void journal_files_free(struct chassis_journal *j, struct files *files);
void journal_init_tasks(struct chassis_journal *j);

#endif
