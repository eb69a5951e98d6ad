/* Blueprint under simulation: its own commands, state machine, controllers and feeds as a workload.
 *
 * Clients set, delete, compare and swap registers, alone and in transactions, read them in every way
 * there is, and run a process each that registers, reports, leases records, leaves or falls silent.
 * Every node runs the production controllers: expiry, heartbeats, compaction, leader record, keys.
 * Watch clients (watches.h) hang on the feeds; truth.h says what all of them must have seen.
 */
#ifndef DRAFT_SIM_BLUEPRINT_WORKLOAD_H
#define DRAFT_SIM_BLUEPRINT_WORKLOAD_H

#include "auth/auth.h"
#include "cluster.h"
#include "watches.h"

enum load_planted {
    LOAD_SKIP = 1,      /* the feed leaves out a revision now and then */
    LOAD_DUPLICATE = 2, /* it shows one twice */
    LOAD_REORDER = 4,   /* after somebody caught up from behind, it swaps neighbours */
};
enum { LOAD_KEYS = 5, LOAD_CLIENTS = SIM_CLIENTS_MAX };

struct replica { /* one start of one node */
    struct load *load;
    struct chassis_state_machine machine, inner;
    struct blueprint blueprint;
    struct chassis_executor *loop;
    unsigned node;
    bool serving;
    uint64_t seen[LOAD_CLIENTS]; /* newest revision a client saw here */
};
struct process { /* what a client runs */
    enum { P_NONE, P_JOINING, P_THERE, P_SILENT } state;
    uint64_t nonce, tries, incarnation, reports;
    char pid[40];
};
struct load {
    struct sim_workload base;
    unsigned planted;
    uint64_t next_value, next_nonce, acknowledged; /* newest revision anybody was told */
    struct replica *replicas[SIM_NODES_MAX];       /* the present start of each node */
    struct truth truth;
    struct watch watches[WATCHES];
    struct process processes[LOAD_CLIENTS];
    struct {
        uint64_t value, revision;
    } known[LOAD_CLIENTS][LOAD_KEYS]; /* what a client read last */
    struct chassis_auth_key *keys[SIM_NODES_MAX];
    struct chassis_prng *prng; /* during a tick */
    uint64_t compactions, operations[16];
};

enum load_flavour {
    F_GET,
    F_LIST,
    F_AT, /* of an older revision */
    F_SET,
    F_DELETE,
    F_CAS_VALUE,    /* a transaction that compares a value */
    F_CAS_REVISION, /* a write that names the revision */
    F_TXN,          /* two registers at once */
    F_REGISTER,
    F_REPORT,
    F_HEALTH,
    F_LEASE, /* a record that goes with its process */
    F_FINALIZE,
    F_SILENT, /* the process dies without a word */
    FLAVOURS,
};

struct sim_workload *sim_blueprint_new(unsigned planted);
void sim_blueprint_free(struct sim_workload *w);
void sim_blueprint_summary(void);

/* clients.c */
void load_next(struct sim_workload *w, struct chassis_prng *prng, struct sim_op *op,
               struct chassis_buf *ret_command);
bool load_wrote(struct sim_workload *w, struct sim_op *op, int status, struct chassis_view result);
/* reads.c */
bool load_read(struct sim_workload *w, struct chassis_store *store, struct sim_op *op);
/* replicas.c */
struct chassis_state_machine *load_machine_new(struct sim_workload *w, unsigned node);
void load_machine_free(struct sim_workload *w, struct chassis_state_machine *machine);
void load_started(struct sim_workload *w, const struct sim_replica *replica);
void load_stopped(struct sim_workload *w, struct chassis_state_machine *machine);
void load_tick(struct sim_workload *w, struct chassis_prng *prng);

static inline struct load *load_of(struct sim_workload *w)
{
    return (struct load *)w;
}

#endif
