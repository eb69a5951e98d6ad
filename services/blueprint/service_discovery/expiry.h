/* Who was heard of when: the leader's memory, on its monotonic clock.
 *
 * A process that is silent beyond its time to live expires, one that never reported is removed after
 * two minutes, an expired one is forgotten later. A new leader knows nothing and gives everybody one
 * full time to live.
 *
 * Every process has an entry in a heap ordered by when it has to be looked at. A report only notes
 * the time; an entry whose time has come without reason goes back to its place. So a scan costs what
 * is due, not what is registered: who is registered is read once from the store, in pieces, and then
 * followed by the transitions.
 *
 * Invariants: nothing is decided by wall clock or without the record in the store; what is proposed
 * names the incarnation it is about.
 * Threads: one executor. Ownership: entries are the table's.
 */
#ifndef BP_EXPIRY_H
#define BP_EXPIRY_H

#include "model.h"

struct bp_expiry_limits {
    uint64_t ttl_ns;    /* silence of a process that has reported */
    uint64_t first_ns;  /* until the first report */
    uint64_t forget_ns; /* from expiry to removal */
};
struct bp_seen;
struct bp_expiry {
    struct bp_expiry_limits limits;
    struct bp_seen **buckets; /* by pid */
    size_t n_buckets, n;
    struct bp_seen **heap; /* by time, n of them */
    size_t cap_heap;
    uint64_t now_ns;         /* of the last scan */
    bool walking;            /* the store is being read */
    bool begun;              /* `tail` counts */
    struct bp_key walked;    /* the last pid that was read */
    struct bp_position tail; /* of the last transition that was read */
    uint64_t looked;         /* entries looked at, for tests */
};

void bp_expiry_init(struct bp_expiry *expiry, const struct bp_expiry_limits *limits);
void bp_expiry_fini(struct bp_expiry *expiry);
/* Forget everything: another node led meanwhile. */
void bp_expiry_reset(struct bp_expiry *expiry);
void bp_expiry_touch(struct bp_expiry *expiry, struct chassis_view pid, uint64_t now_ns,
                     int64_t wall_ns);
/* Wall clock of the last report, 0 if none was seen. */
int64_t bp_expiry_last(const struct bp_expiry *expiry, struct chassis_view pid);
/* `due` is called for what has to be removed. While its proposal is under way (until
 * bp_expiry_settled) a process is not named again. A bounded piece of work: bp_expiry_more says
 * whether there is more of it now. */
int bp_expiry_scan(struct bp_expiry *expiry, struct chassis_txn *txn, uint64_t now_ns,
                   void (*due)(const struct bp_sd_process *process, enum bp_sd_removal removal,
                               const char *reason, void *data),
                   void *data, struct chassis_error *err);
bool bp_expiry_more(const struct bp_expiry *expiry);
void bp_expiry_settled(struct bp_expiry *expiry, struct chassis_view pid);

#endif
