/* Who was heard of when: the leader's memory, on its monotonic clock.
 *
 * A process that is silent beyond its time to live expires, one that never reported is removed after
 * two minutes, an expired one is forgotten later. A new leader knows nothing and gives everybody one
 * full time to live.
 *
 * Invariants: nothing is decided by wall clock; what is proposed names the incarnation it is about.
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
enum { BP_EXPIRY_BUCKETS = 1024 };
struct bp_expiry {
    struct bp_expiry_limits limits;
    struct bp_seen *buckets[BP_EXPIRY_BUCKETS];
    size_t n;
    uint64_t round;
};

void bp_expiry_init(struct bp_expiry *expiry, const struct bp_expiry_limits *limits);
void bp_expiry_fini(struct bp_expiry *expiry);
/* Forget everything: another node led meanwhile. */
void bp_expiry_reset(struct bp_expiry *expiry);
void bp_expiry_touch(struct bp_expiry *expiry, struct chassis_view pid, uint64_t now_ns,
                     int64_t wall_ns);
/* Wall clock of the last report, 0 if none was seen. */
int64_t bp_expiry_last(const struct bp_expiry *expiry, struct chassis_view pid);
/* Look at every process; `due` is called for what has to be removed. While its proposal is under
 * way (until bp_expiry_settled) a process is not named again. */
int bp_expiry_scan(struct bp_expiry *expiry, struct chassis_txn *txn, uint64_t now_ns,
                   void (*due)(const struct bp_sd_process *process, enum bp_sd_removal removal,
                               const char *reason, void *data),
                   void *data, struct chassis_error *err);
void bp_expiry_settled(struct bp_expiry *expiry, struct chassis_view pid);

#endif
