/* Consensus: any service replicated by giving the chassis a state machine.
 *
 * A state machine is a pure function over a store transaction: the same commands in the same order
 * give the same records on every node. The chassis orders commands (Raft, Ongaro and Ousterhout
 * 2014, by libraft), makes them durable on a majority (journal), applies them in batches, each batch
 * one store transaction that also carries the applied index, writes checkpoints of the store and
 * brings nodes that were away up to date.
 *
 * Invariants: `done` of a proposal or read is called exactly once; after CHASSIS_OK the command is
 * durable on a majority and applied on the node it was proposed at; the state machine has no clock of its
 * own: time comes with the entry.
 * Threads: propose, read and status from any; `apply` and `committed` on the apply role;
 * `leadership` on the loop role; `done` on the executor named in the request.
 * Ownership: a request is caller's memory until `done`; its command buffer is taken.
 */
#ifndef CHASSIS_CONSENSUS_H
#define CHASSIS_CONSENSUS_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/buf.h>
#include <chassis/error.h>
#include <chassis/executor.h>
#include <chassis/plugin/repository.h>

struct chassis_consensus;

struct chassis_entry {
    uint64_t index, term;
    int64_t time_ns;             /* wall clock of the leader when proposed; same on all nodes */
    struct chassis_view command; /* borrowed for the call */
};

struct chassis_state_machine_ops {
    /* Apply one command inside `txn`. The return value and `ret_result` go to the proposer and into
     * the de-duplication table; a negative value is a refusal by the rules (nothing may have been
     * changed then), not a failure to apply: what cannot be applied (a full store, damage) must
     * abort the process. */
    int (*apply)(void *data, struct chassis_txn *txn, const struct chassis_entry *entry,
                 struct chassis_buf *ret_result);
    /* The batch up to `applied` is committed and visible to new read transactions. May be NULL. */
    void (*committed)(void *data, uint64_t applied);
    /* Somebody waits for `committed`: it comes within 1 to 5 ms then, else within 20. On the apply role.
     * NULL: nobody does. */
    bool (*watched)(void *data);
    /* The store was replaced by a checkpoint: forget everything derived from it. May be NULL. */
    void (*restored)(void *data);
    /* Read every record of a store that was opened: CHASSIS_CORRUPT for one that is damaged, and the
     * store is dropped and filled again from checkpoint and log before anything of it is served.
     * NULL: records are believed. */
    int (*verify)(void *data, struct chassis_store *store, struct chassis_error *err);
    /* This node became or ceased to be leader of `term`. May be NULL. */
    void (*leadership)(void *data, bool leader, uint64_t term);
    /* A question of another node (or this one) to the leader, answered from memory without
     * replication, on the leader's loop role. NULL: CHASSIS_UNIMPLEMENTED. */
    int (*ask)(void *data, uint64_t from, struct chassis_view question,
               struct chassis_buf *ret_answer);
    /* A question to this very node, whoever leads; on its loop role. NULL: CHASSIS_UNIMPLEMENTED. */
    int (*ask_node)(void *data, uint64_t from, struct chassis_view question,
                    struct chassis_buf *ret_answer);
    /* The newest command version the code understands; a node proposes only what all announce. */
    uint32_t version;
};
struct chassis_state_machine {
    const struct chassis_state_machine_ops *ops;
    void *data;
    const char *const *tables; /* the store's tables, static; the chassis adds its own */
    unsigned n_tables;
};

/* A command to be ordered. Fill the first part, zero the rest. */
struct chassis_proposal {
    struct chassis_buf command;        /* taken */
    struct chassis_view request_id;    /* the client's draft-request-id, may be empty; borrowed
                                           until done; ≤ 64 bytes */
    uint64_t timeout_ns;               /* 0 = 10 s; then CHASSIS_OUTCOME_UNKNOWN or NO_QUORUM */
    struct chassis_executor *executor; /* where done runs; NULL = the apply (or loop) role */
    /* `done` may run before a read transaction begun on this node sees what was changed (20 ms
     * at most; a linearizable read waits for it). The result is final either way. */
    bool early;
    void (*done)(struct chassis_proposal *proposal);
    /* results */
    int status;                /* of the state machine, or of the way there */
    struct chassis_buf result; /* caller's to free */
    uint64_t index;
    struct chassis_error error;
    /* consensus' own */
    struct chassis_task task;
    uint64_t internal[8];
};
/* The command is forwarded to the leader in one hop when this node is not it. */
void chassis_consensus_propose(struct chassis_consensus *node, struct chassis_proposal *proposal);

/* A linearizable read: `done` with status 0 means that a read transaction begun now sees everything
 * acknowledged before the read was asked for. All waiting reads share one round. */
struct chassis_read {
    uint64_t timeout_ns; /* 0 = 10 s */
    struct chassis_executor *executor;
    void (*done)(struct chassis_read *read);
    int status; /* CHASSIS_NO_QUORUM, CHASSIS_SHUTTING_DOWN … */
    struct chassis_error error;
    struct chassis_task task;
    uint64_t internal[8];
};
void chassis_consensus_read(struct chassis_consensus *node, struct chassis_read *read);

/* Ask a state machine something that is not replicated: the present leader's (ops->ask) heartbeats
 * and what only its memory knows, or any node's (ops->ask_node) what it says of itself. Goes the way
 * of the peers' messages. Best effort within the timeout: never retried, CHASSIS_NOT_LEADER or
 * CHASSIS_UNAVAILABLE when there is nobody to ask. */
struct chassis_ask {
    struct chassis_buf question; /* taken */
    uint64_t timeout_ns;         /* 0 = 2 s */
    struct chassis_executor *executor;
    void (*done)(struct chassis_ask *ask);
    int status;
    struct chassis_buf answer; /* caller's to free */
    struct chassis_error error;
    struct chassis_task task;
    uint64_t internal[8];
};
void chassis_consensus_ask_leader(struct chassis_consensus *node, struct chassis_ask *ask);
void chassis_consensus_ask_node(struct chassis_consensus *node, uint64_t member,
                                struct chassis_ask *ask);

/* The store the state machine is applied to, for read transactions on any role. The pointer may
 * change when a checkpoint is installed: hold it (acquire) only while reading, then release. */
struct chassis_store *chassis_consensus_store_acquire(struct chassis_consensus *node);
void chassis_consensus_store_release(struct chassis_consensus *node, struct chassis_store *store);

enum { CHASSIS_CONSENSUS_NODES_MAX = 9, CHASSIS_CONSENSUS_ADDRESS_MAX = 256 };

enum chassis_consensus_role {
    CHASSIS_ROLE_STARTING,
    CHASSIS_ROLE_FOLLOWER,
    CHASSIS_ROLE_CANDIDATE,
    CHASSIS_ROLE_LEADER,
};

struct chassis_consensus_member {
    uint64_t id;
    char name[64];                               /* raft.node-id */
    char address[CHASSIS_CONSENSUS_ADDRESS_MAX]; /* host:port that peers dial */
    char service[CHASSIS_CONSENSUS_ADDRESS_MAX]; /* where it serves clients, as it said when it
                                                    connected; `address` until then */
    bool connected;                              /* as seen from this node */
    uint64_t match_index;                        /* on the leader only */
};
struct chassis_consensus_status {
    uint64_t id, leader_id; /* leader 0 = none known */
    enum chassis_consensus_role role;
    uint64_t term, commit, applied, last_index, checkpoint_index;
    uint8_t cluster_id[16];
    unsigned n_members;
    struct chassis_consensus_member members[CHASSIS_CONSENSUS_NODES_MAX];
};
void chassis_consensus_status(struct chassis_consensus *node,
                              struct chassis_consensus_status *ret_status);

/* Hand leadership to `target` (0 = the most advanced follower). Only on the leader, else
 * CHASSIS_NOT_LEADER. `done` runs on the loop role when another leader is known or it failed. */
void chassis_consensus_transfer(struct chassis_consensus *node, uint64_t target,
                                void (*done)(int status, const char *text, void *data), void *data);

#endif
