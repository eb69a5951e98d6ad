/* The built-in engine: streams are streams of the node's journal, an event is a record whose index is
 * its sequence and whose type holds its marks.
 *
 * What is in the journal's memory is read at once; the rest is read by workers, a few at a time, into
 * a span: a piece of the stream copied out of the journal, so that whoever gets the events may call
 * anything from there. A span that its taker left half way is kept for the next read of the same
 * taker, a limited number of them at a time.
 *
 * Threads: the loop role; journal_read.c says what runs on workers. Ownership: the engine frees logs.
 */
#ifndef CAT_BROKER_JOURNAL_LOG_H
#define CAT_BROKER_JOURNAL_LOG_H

#include <chassis/executor.h>

#include "base/list.h"
#include "catalyst/broker/log.h"
#include "catalyst/broker/weights.h"
#include "journal/journal.h"

/* Reads that would block run on `workers`. */
struct cat_log_engine *cat_journal_engine_new(struct chassis_journal *journal,
                                              struct chassis_executor *loop,
                                              struct chassis_executor *workers);
/* Free everything, as a crash would: for simulations, after the host crashed. */
void cat_journal_engine_abandon(struct cat_log_engine *engine);

enum { CAT_JOURNAL_SYNC_MS = 100 }; /* the journal's sync_interval_ms */

/* ---- shared by journal_log.c and journal_read.c ---- */

enum { CAT_READS_MAX = 4 }; /* on workers at a time */

struct span_event {
    uint64_t sequence;
    int64_t time_ns;
    size_t offset;
    uint32_t len;
    uint16_t marks;
};
struct span {
    struct span *next;
    struct chassis_buf bytes;
    struct span_event *events;
    uint32_t n, cap, at; /* at: the next to be given */
};
struct put { /* an append on its way */
    struct chassis_journal_append append;
    struct cat_append *of;
    struct journal_log *log;
    struct put *next; /* free */
    struct chassis_list link;
};
struct journal_engine {
    struct cat_log_engine base;
    struct chassis_journal *journal;
    struct chassis_executor *loop, *workers;
    struct put *free_puts;
    struct chassis_journal_record *records; /* of the append that is made */
    uint32_t cap_records;
    struct chassis_list puts, logs;
    struct span *free_spans;
    uint32_t n_free_spans;
    struct chassis_list waiting; /* reads for a worker */
    struct chassis_list halfway; /* reads that hold a span, oldest first */
    struct chassis_list jobs;    /* all reads */
    uint32_t n_running, n_halfway, n_jobs;
    struct chassis_journal_scratch *scratches[CAT_READS_MAX]; /* from n_running on: free */
    void (*closed)(void *data);
    void *closed_data;
    bool closing;
};
struct journal_log {
    struct cat_log base;
    struct chassis_list link;
    struct journal_engine *engine;
    uint32_t number;
    bool times_known;
    enum cat_durability durability;
    uint32_t interval_ms;
    uint32_t n_puts;
    bool closing;
    int64_t last_time_ns, first_time_ns;
    struct weights weights;
    uint64_t first_time_of; /* the sequence that first_time_ns belongs to */
};

/* The newest that readers may see: as durable as the stream promises. */
uint64_t cat_journal_readable(const struct journal_log *log,
                              const struct chassis_journal_stream *s);
void cat_journal_read_init(struct journal_engine *engine);
void cat_journal_read_fini(struct journal_engine *engine);
void cat_journal_log_read(struct cat_log *log, struct cat_read *read);
void cat_journal_log_cancel(struct cat_log *log, struct cat_read *read);
/* Free the engine if it is closing and nothing is under way. */
void cat_journal_engine_end_if_idle(struct journal_engine *engine);

#endif
