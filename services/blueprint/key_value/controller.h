/* The rules of key_value: what is valid, how it is proposed and read, who watches, when old
 * revisions are compacted away, and the `leader` record.
 *
 * Invariants: nothing is proposed that passes a limit; a read is linearizable unless it is stale.
 * Threads: checks, proposals and reads from any role; start, stop, leadership and the feed on the
 * loop role.
 * Ownership: requests are caller's memory until their callback.
 */
#ifndef BP_KEY_VALUE_CONTROLLER_H
#define BP_KEY_VALUE_CONTROLLER_H

#include <chassis/consensus.h>
#include <chassis/log.h>

#include "os/os.h"
#include "watch.h"

struct bp_kv_options {
    struct chassis_consensus *consensus;
    struct chassis_executor *loop;
    struct chassis_executor *readers; /* where reads run; NULL = where consensus answers */
    struct chassis_clock *clock;      /* NULL = the machine's */
    const char *scheme;               /* of the leader record's URL; NULL = "http" */
    uint64_t keep_revisions;          /* compaction leaves at least these; 0 = 10,000 */
    uint64_t keep_ms;                 /* and everything younger; 0 = 1 hour */
    uint64_t compact_step;            /* revisions of one compaction; 0 = 1,000 */
};

struct bp_kv {
    struct bp_kv_options options;
    struct chassis_logger *log;
    struct bp_feed feed;
    bool leader, stopping;
    struct chassis_timer timer; /* compaction and leader record, while leading */
    bool proposing;             /* one of our own proposals is under way */
    bool leader_recorded;
    struct chassis_proposal proposal;
    uint64_t compacting_to;
    /* Compaction stops at this revision (UINT64_MAX: does not), for as many as HOLD_MAX. */
    uint64_t hold;
};

void bp_kv_start(struct bp_kv *kv, const struct bp_kv_options *options);
/* Ends the watchers. */
/* End the watches: clients go on at another node. */
void bp_kv_drain(struct bp_kv *kv);
void bp_kv_stop(struct bp_kv *kv);
/* From the state machine: loop role; any role. */
void bp_kv_leadership(struct bp_kv *kv, bool leader);
void bp_kv_committed(struct bp_kv *kv);

/* White space around a key does not count. */
struct chassis_view bp_kv_trim(struct chassis_view text);
/* INVALID_ARGUMENT naming the limit. Keys are expected to be trimmed. */
int bp_kv_check_key(struct chassis_view key, struct chassis_error *err);
int bp_kv_check_kind(struct chassis_view kind, struct chassis_error *err);
int bp_kv_check_prefix(struct chassis_view prefix, struct chassis_error *err);
int bp_kv_check_op(const struct bp_kv_op *op, struct chassis_error *err);
int bp_kv_check_txn(const struct bp_kv_txn *txn, struct chassis_error *err);

/* Encode into proposal->command; the caller proposes. */
void bp_kv_encode_write(const struct bp_kv_write *write, struct chassis_buf *out);
void bp_kv_encode_txn(const struct bp_kv_txn *txn, struct chassis_buf *out);

/* Run `read` with a read transaction on the present store. Blocking, any role. */
int bp_read(struct chassis_consensus *consensus,
            int (*read)(struct chassis_txn *txn, void *data, struct chassis_error *err), void *data,
            struct chassis_error *err);
/* The source of a feed over the consensus' store. */
struct bp_source bp_consensus_source(struct chassis_consensus *consensus);

/* Page tokens: bound to revision, kind and prefix. */
void bp_kv_token_make(uint64_t revision, struct chassis_view kind, struct chassis_view prefix,
                      struct chassis_view last_key, struct chassis_buf *out);
int bp_kv_token_parse(struct chassis_view token, struct chassis_view kind,
                      struct chassis_view prefix, uint64_t *ret_revision,
                      struct chassis_view *ret_last_key, struct chassis_error *err);

#endif
