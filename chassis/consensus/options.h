/* Opening a consensus node: what the runtime, the tests and the simulation give it.
 *
 * A node is opened (blocking: files are read and checked), started (from then on it lives on its
 * executors) and closed (a state machine that ends in `closed`) or abandoned (a crash).
 *
 * Invariants: the member list is fixed at first start; a node started with another list later is
 * refused. Every node of the list starts by itself with the same first log entry, which is safe
 * because the list is the same everywhere (its digest is the cluster id, and strangers are refused).
 * Threads: open, start and abandon from the thread that boots; everything else as in
 * <chassis/consensus.h>. Ownership: what the options point to must outlive the node, except texts,
 * which are copied.
 */
#ifndef CHASSIS_CONSENSUS_OPTIONS_H
#define CHASSIS_CONSENSUS_OPTIONS_H

#include <chassis/consensus.h>
#include <chassis/log.h>

#include "consensus/transport.h"
#include "os/disk.h"
#include "os/os.h"

/* The chassis' own table of the store, behind the machine's. */
#define CHASSIS_CONSENSUS_TABLE "chassis"

/* Bugs planted on purpose, so that a test can show that the simulation finds them. Never set
 * outside tests. */
enum chassis_consensus_planted {
    CHASSIS_PLANTED_NONE = 0,
    CHASSIS_PLANTED_ACK_BEFORE_SYNC = 1, /* entries count as durable when handed to the journal */
    CHASSIS_PLANTED_FORGOTTEN_VOTE = 2,  /* term and vote are not written */
    CHASSIS_PLANTED_STALE_READ = 4,      /* reads are confirmed without asking the others */
    CHASSIS_PLANTED_NO_GENERATION = 8,   /* completions of truncated writes count */
    CHASSIS_PLANTED_NO_DEDUPE = 16,      /* a resubmitted command is applied twice */
};

struct chassis_consensus_options {
    const char *name;           /* of this node; must be in the list */
    const char *const *members; /* "name@host:port"; the same list, in any order, on all nodes */
    unsigned n_members;         /* 1 … CHASSIS_CONSENSUS_NODES_MAX */
    struct chassis_view secret; /* of the cluster; part of the cluster id; may be empty */

    const char *directory;       /* identity, term, checkpoints, journal/ */
    const char *store_directory; /* NULL = directory/store */
    struct chassis_disk *disk;
    struct chassis_clock *clock;
    struct chassis_executor *loop, *writer, *preparer, *apply, *worker;
    const struct chassis_repository *repository;
    uint64_t store_bytes_max;
    const struct chassis_state_machine *machine;
    struct chassis_transport *transport; /* may be NULL with one member */
    struct chassis_logger *log;          /* NULL = module "consensus" */

    unsigned election_ms;  /* 0 = 1000 */
    unsigned heartbeat_ms; /* 0 = 100 */

    uint64_t checkpoint_entries; /* applied since the last one; 0 = 100,000 */
    uint64_t checkpoint_bytes;   /* of log since the last one; 0 = 64 MiB */
    uint64_t trailing_entries;   /* kept in the log behind a checkpoint; 0 = 8,192 */
    uint64_t trailing_bytes;     /* 0 = 16 MiB */
    uint64_t segment_bytes;      /* of the journal; 0 = its default */
    uint64_t reserve_bytes;      /* free space below which proposals are refused; 0 = journal's */

    unsigned proposals_max;       /* outstanding; 0 = 16,384 */
    uint64_t proposals_bytes_max; /* 0 = 64 MiB */
    uint32_t command_bytes_max;   /* 0 = 2 MiB */
    uint32_t chunk_bytes;         /* of a checkpoint being sent; 0 = 256 KiB */

    uint64_t seed;       /* of election jitter; 0 = random */
    const char *boot_id; /* NULL = the kernel's; simulations give their own */
    unsigned planted;    /* enum chassis_consensus_planted; tests only */
};

/* Read identity, term and vote, checkpoint, store and journal; refuse what is damaged, naming file
 * and offset. Nothing runs yet (whether the pieces fit is seen at start, on the loop). */
int chassis_consensus_open(const struct chassis_consensus_options *options,
                           struct chassis_consensus **ret_node, struct chassis_error *err);
/* Begin to take part. `ready` (may be NULL) runs once on the loop role: with 0 when a leader is known
 * and what was committed before has been applied here; with an error and its text if log, checkpoint
 * and store do not fit one another: the node then does nothing until it is closed. */
typedef void (*chassis_consensus_ready_cb)(int status, const char *text, void *data);
void chassis_consensus_start(struct chassis_consensus *node, chassis_consensus_ready_cb ready,
                             void *data);
/* Hand over leadership if it is ours, end what is outstanding, write the clean-shutdown marks, free.
 * `closed` runs on the loop role. Call from any role, once. */
void chassis_consensus_close(struct chassis_consensus *node, void (*closed)(void *data),
                             void *data);
/* Free everything without writing, as a crash would: after the executors of the node are gone. */
void chassis_consensus_abandon(struct chassis_consensus *node);

/* Before start: where this node, which stands alone, can be reached, when its entry in the list does
 * not say it (port 0). */
void chassis_consensus_set_address(struct chassis_consensus *node, const char *address);

/* Before start: where this node serves clients, when that is not where peers dial it. The others are
 * told when they connect. */
void chassis_consensus_set_service_address(struct chassis_consensus *node, const char *address);

/* A damaged record was met in the store: durable, so that the next start drops the store and fills
 * it from checkpoint and log. From any role; blocks for a write. The caller sees to it that the
 * process ends soon. */
void chassis_consensus_distrust(struct chassis_consensus *node, const char *why);

/* The newest command version that every member has announced (its own if it stands alone). */
uint32_t chassis_consensus_version(struct chassis_consensus *node);

/* Have what is applied by now in a checkpoint, after the one that may be under way. `done` runs on
 * the loop role with the index it covers, when status and path say so too; CHASSIS_ALREADY_EXISTS if
 * nothing was applied since the last. */
void chassis_consensus_checkpoint(struct chassis_consensus *node,
                                  void (*done)(int status, uint64_t index, void *data), void *data);
/* Path of the newest checkpoint, "" if none; for backups. */
void chassis_consensus_checkpoint_path(struct chassis_consensus *node, char out[512]);

#endif
