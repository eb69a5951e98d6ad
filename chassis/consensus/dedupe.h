/* What was applied lately: the ids of the last 65,536 log entries with their results, so that a
 * command that arrives twice is applied once and answered alike.
 *
 * In the store's own table a row holds the ids of 64 consecutive log indexes, in log order, so the
 * rows are the same on all nodes; in memory a ring by index and a hash table by id.
 *
 * Invariants: memory and rows say the same at every commit; what stands here depends on the log
 * alone. Threads: the apply role.
 */
#ifndef CHASSIS_CONSENSUS_DEDUPE_H
#define CHASSIS_CONSENSUS_DEDUPE_H

#include <chassis/plugin/repository.h>

enum {
    DEDUPE_WINDOW = 65536,
    DEDUPE_ROW_ENTRIES = 64,
    DEDUPE_RESULT_MAX = 1024, /* a larger result is not kept: a duplicate learns only its status */
};

struct dedupe;

struct dedupe_entry {
    uint64_t index;
    int status;
    bool result_dropped;
    struct chassis_view result; /* borrowed until the next change */
};

struct dedupe *dedupe_new(unsigned table);
void dedupe_free(struct dedupe *dedupe);
/* Forget everything and read the rows `txn` sees; `applied` is the last applied index. */
int dedupe_restore(struct dedupe *dedupe, struct chassis_txn *txn, uint64_t applied,
                   struct chassis_error *err);
bool dedupe_find(const struct dedupe *dedupe, struct chassis_view id, struct dedupe_entry *ret);
/* The window reaches back to (does not include) this index: anything above is remembered. */
uint64_t dedupe_floor(const struct dedupe *dedupe);
/* The window ends at `applied`: to be called before each entry, so that what counts as remembered
 * depends on the log alone and not on how it was cut into batches. */
void dedupe_advance(struct dedupe *dedupe, uint64_t applied);
/* Remember the outcome of the entry at `index`, in log order; indexes may be skipped. */
void dedupe_add(struct dedupe *dedupe, uint64_t index, struct chassis_view id, int status,
                struct chassis_view result);
/* Put the rows changed since the last call; `applied` moves the window. */
int dedupe_store(struct dedupe *dedupe, struct chassis_txn *txn, uint64_t applied);

#endif
