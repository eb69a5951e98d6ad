/* The inside of a consensus node: one struct, owned by the loop role, and the parts that work on it.
 *
 *   core.c      one event into libraft, its obligations out in order
 *   log.c       raft entries <-> journal; what is durable
 *   peer.c      messages to and from the other members
 *   propose.c   commands of this node: queued, submitted or forwarded, resubmitted, timed out
 *   read.c      shared read-index rounds
 *   ask.c       questions to the leader
 *   apply.c     committed entries on their way to the state machine and back
 *   apply_run.c … in its hands (the apply role)
 *   snapshot.c  when a checkpoint is due, who writes it, what follows
 *   catchup.c   a checkpoint sent to, or fetched by, a node that is too far behind
 *   open.c      what the last run left;  node.c  start, turns, close
 *   status.c    what others may see; handing over leadership
 *
 * Invariants: raft_step is never re-entered (core_step asserts it); nothing is applied that is not
 * committed and durable here; `generation` counts truncations and installs, and a completion of an
 * older generation tells libraft nothing.
 * Threads: loop, but for what is marked.
 */
#ifndef CHASSIS_CONSENSUS_NODE_H
#define CHASSIS_CONSENSUS_NODE_H

#include <pthread.h>
#include <raft.h>
#include <stdatomic.h>

#include <chassis/metrics.h>

#include "base/list.h"
#include "consensus/checkpoint.h"
#include "consensus/dedupe.h"
#include "consensus/envelope.h"
#include "consensus/frame.h"
#include "consensus/identity.h"
#include "consensus/options.h"
#include "journal/journal.h"
#include "journal/slots.h"
#include "os/queue.h"

#if RAFT_VERSION_NUMBER != 2201
#error "libraft must be 0.22.1: ownership of entries and snapshots differs in other versions"
#endif

enum {
    NODE_STREAM = 1, /* of the journal */
    NODE_SUBMIT_ENTRIES = 1024,
    NODE_SUBMIT_BYTES = 1024 * 1024,
    NODE_APPLY_BATCHES = 8,    /* on their way to the apply role */
    NODE_APPLY_WAIT = 256,     /* entries for which a follower in no hurry waits, or NODE_PACE_MS */
    NODE_PACE_MS = 5,          /* under load nobody waits for: apply, tell at most so often */
    NODE_STORE_MS = 20,        /* … and store, if nobody watches */
    NODE_STORE_ENTRIES = 4096, /* most in one transaction of the store */
    NODE_STORE_BYTES = 4 << 20, /* … and their bytes */
    NODE_PEER_QUEUE_BYTES = 16 * 1024 * 1024,
    NODE_INFLIGHT_ENTRIES = 4096,
    NODE_INFLIGHT_BYTES = 8 * 1024 * 1024,
    NODE_TICK_MS = 10,
};

/* What lies in chassis_proposal.internal. */
struct proposal_state {
    struct chassis_list link; /* queue or sent */
    struct chassis_proposal *next_in_bucket;
    uint64_t sequence;
    uint64_t deadline_ns;
    uint64_t floor; /* applied index when first submitted */
    struct chassis_consensus *node;
    uint32_t held_bytes; /* of the permit */
    uint32_t attempts;   /* ways on which it may have got into a log: the outcome may be unknown */
};
_Static_assert(sizeof(struct proposal_state) <= sizeof(((struct chassis_proposal *)0)->internal),
               "internal of chassis_proposal is too small");
static inline struct proposal_state *proposal_state(struct chassis_proposal *p)
{
    return (struct proposal_state *)(void *)p->internal;
}
static inline struct chassis_proposal *proposal_of(struct chassis_list *link)
{
    return (struct chassis_proposal *)(void *)((char *)link -
                                               offsetof(struct chassis_proposal, internal));
}

/* A read waiting, here or (peer != 0) on a follower that asked us. */
struct read_item {
    struct chassis_list link;
    struct chassis_read *read; /* NULL for a follower's */
    struct chassis_consensus *node;
    uint64_t index; /* to be applied first; known once the round was confirmed */
    uint64_t deadline_ns;
    uint64_t sequence;  /* of a follower's question */
    uint64_t peer_boot; /* peer number << 56 | its boot; 0 = local */
};
_Static_assert(sizeof(struct read_item) <= sizeof(((struct chassis_read *)0)->internal),
               "internal of chassis_read is too small");

struct ask_state {
    struct chassis_list link;
    struct chassis_consensus *node;
    uint64_t sequence, deadline_ns, peer;
};
_Static_assert(sizeof(struct ask_state) <= sizeof(((struct chassis_ask *)0)->internal),
               "internal of chassis_ask is too small");

/* A forwarded command waiting to be submitted. */
struct foreign {
    struct chassis_list link;
    uint64_t peer, boot, sequence;
    struct chassis_buf envelope;
};

struct peer_frame {
    struct peer_frame *next;
    struct chassis_buf data;
};

/* A checkpoint this node is sending. */
struct checkpoint_sender {
    struct chassis_file *file;
    uint64_t index, term, size;
};

struct peer {
    struct chassis_consensus_member *member;
    bool up, announced;
    bool store_low; /* it said so last: what is committed must also be applied there */
    uint64_t boot;
    uint32_t version;
    struct peer_frame *first, **last;
    struct chassis_buf open; /* the frame being filled */
    size_t queued_bytes;
    uint64_t dropped;
    uint64_t commit_told;  /* highest commit index in a message to it */
    uint64_t commit_asked; /* somebody there waits to hear of this one */
    uint64_t told_ns;      /* when a message was sent for nothing else */
    struct checkpoint_sender sender;
};

/* One journal append on its way. */
struct log_append {
    struct chassis_journal_append append;
    struct chassis_list link; /* of all that are not done */
    struct chassis_consensus *node;
    uint64_t generation;
    uint64_t begun_ns;
    struct log_append *next;                /* of the stalled ones */
    struct chassis_journal_record *records; /* copies, while stalled */
    struct chassis_buf bytes;
};

struct apply_entry {
    struct chassis_entry entry;
    struct envelope envelope;
    struct chassis_proposal *proposal; /* ours, to be completed; or NULL */
    unsigned type;                     /* enum raft_entry_type */
    size_t offset, len;                /* of the payload in the batch */
};
struct apply_batch {
    struct chassis_task task;
    struct chassis_consensus *node;
    unsigned n;
    uint64_t last_index, last_term;
    struct chassis_buf payloads;
    struct apply_entry entries[NODE_SUBMIT_ENTRIES];
};

struct snapshot_job; /* snapshot.c */
struct transfer;     /* status.c */

/* A checkpoint being fetched from the leader. */
enum fetch_state {
    FETCH_IDLE,
    FETCH_RUNNING,
    FETCH_PAUSED,    /* the sender is gone; goes on with the next offer */
    FETCH_DONE,      /* every byte is here */
    FETCH_VERIFYING, /* a worker syncs and checks it */
    FETCH_COMPLETE,  /* waiting to be installed */
};
struct fetch {
    enum fetch_state state;
    uint64_t peer, index, term, size, offset;
    uint64_t asked_ns; /* when the last chunk was asked for */
    struct chassis_file *file;
    uint64_t conf_index;
    struct chassis_buf conf;
};

struct node_metrics {
    struct chassis_gauge *term, *role, *commit, *applied, *outstanding;
    struct chassis_counter *elections, *dropped, *checkpoints, *installs, *resubmitted, *duplicates;
    struct chassis_histogram *proposal, *batch, *sync;
};

struct chassis_consensus {
    struct chassis_consensus_options o;
    char directory[384], store_directory[400];
    char boot_id[40];
    struct chassis_buf secret;
    struct identity identity;
    struct chassis_logger *log;
    struct chassis_disk *disk;
    const char **tables; /* the machine's, then ours */
    unsigned n_tables, own_table;
    struct node_metrics metrics;

    /* core */
    struct raft raft;
    bool raft_open, stepping, started;
    enum raft_state role;
    uint64_t leader; /* known leader, 0 = none */
    uint64_t term;
    struct chassis_slots *slots;
    struct chassis_timer raft_timer;

    /* log */
    struct chassis_journal *journal;
    uint64_t generation, last_index, durable;
    uint64_t log_bytes; /* since the last checkpoint */
    uint64_t average_bytes;
    struct log_append *stalled, **stalled_last;
    unsigned appends_out;
    struct chassis_list appends;
    int64_t last_time_ns;
    struct chassis_journal_record *records;
    struct raft_entry *entries;
    struct frame_entry *frame_entries;

    /* turn */
    struct chassis_task turn;
    struct chassis_timer tick;
    bool ticking;
    bool space_low, store_low;
    uint64_t space_checked_ns;
    uint64_t space_bytes; /* appended since then */

    /* peers, by id - 1 */
    struct peer peers[CHASSIS_CONSENSUS_NODES_MAX];

    /* proposals */
    struct {
        pthread_mutex_t lock;
        struct chassis_queue tasks; /* under lock: of proposals any role handed over */
        bool gathering;             /* under lock: the loop looks by itself soon; written by it */
        bool posted;                /* under lock: `task` stands in the loop's queue */
        struct chassis_task task;
    } arriving;
    struct chassis_list queue, sent, foreign;
    uint64_t next_sequence;
    uint64_t forward_after_ns; /* the supposed leader refused: wait a little */
    struct chassis_proposal **buckets;
    atomic_uint outstanding; /* any thread */
    atomic_ullong outstanding_bytes;
    atomic_bool refusing; /* any thread: closing */
    unsigned n_foreign;

    /* reads */
    struct chassis_list reads_waiting, reads_round, reads_apply;
    uint64_t round, round_term, round_index, round_mask, round_ns;
    uint64_t read_floor; /* as leader: reads wait for this index */
    uint64_t ask_sequence;
    bool asking; /* as follower: a READ_ASK is out */
    uint64_t asked_ns;

    /* asks */
    struct chassis_list asks;

    /* apply */
    uint64_t commit;
    uint64_t apply_next;    /* to be sent to the apply role */
    uint64_t applied;       /* in the store, visible to a read transaction that begins now */
    uint64_t apply_wanted;  /* somebody waits until this index is applied */
    uint64_t applied_at_ns; /* when a batch was sent to the apply role last */
    bool pacing;            /* `pace` is armed */
    struct chassis_timer pace;
    unsigned batches_out;
    bool apply_held; /* a fetched checkpoint is about to be installed */
    struct apply_batch *batches_running[NODE_APPLY_BATCHES];
    struct apply_batch *batches_free[NODE_APPLY_BATCHES];
    unsigned n_batches_free;
    bool leading; /* the machine was told that it leads */
    uint64_t leading_term;
    chassis_consensus_ready_cb ready;
    void *ready_data;
    struct {
        struct dedupe *dedupe;
        uint64_t applied, term;  /* of the newest entry, stored or in `txn` */
        struct chassis_txn *txn; /* what is applied and not stored yet; NULL = nothing */
        uint64_t stored_ns;      /* when it was stored last */
        uint64_t store_ns;       /* what that took */
        unsigned entries;        /* in txn, as the bytes */
        size_t bytes;
        bool armed; /* `timer` */
        struct chassis_timer timer;
    } role_apply;                    /* the apply role's own */
    _Atomic uint64_t stored;         /* apply role -> loop: index of the store */
    _Atomic uint64_t store_wanted;   /* loop -> apply role: store this much at once */
    struct chassis_task stored_task; /* apply role -> loop */
    struct chassis_task store_task;  /* loop -> apply role */
    struct chassis_task flush_task;  /* to and fro, when the node closes */
    bool apply_flushing, apply_flushed;
    uint64_t ready_index;            /* a follower is ready when this is applied */
    atomic_bool stored_on, store_on; /* the task stands in a queue */
    struct chassis_store *store;
    atomic_uint store_users;
    atomic_bool distrusted; /* any role: a damaged record was met */
    uint64_t begun_ns;
    unsigned crashes; /* ends without a clean stop in a row, before this start */

    /* checkpoints */
    uint64_t checkpoint_index, checkpoint_term, checkpoint_conf_index;
    struct chassis_buf checkpoint_conf;
    uint64_t conf_index;       /* of the newest committed configuration */
    uint64_t checkpoint_retry; /* applied index when one failed */
    struct snapshot_job *job;  /* one at a time: writing or installing */
    struct chassis_list checkpoint_requests;
    struct raft_snapshot_metadata installing; /* index != 0 while the core waits for it */
    struct fetch fetch;

    /* close */
    bool closing, answered, stopping_transport, journal_closing;
    uint64_t close_deadline_ns;
    void (*closed)(void *data);
    void *closed_data;
    struct chassis_task start_task, close_task;
    bool transport_started;
    struct bootstrap *bootstrap;
    struct chassis_file *lock;
    atomic_uint agreed_version; /* any thread */

    struct {
        pthread_mutex_t lock;
        uint64_t boots[CHASSIS_CONSENSUS_NODES_MAX]; /* by id - 1; under lock */
        bool dirty;                                  /* under lock */
        bool writing;
        struct chassis_task task;
    } known;
    struct chassis_list transfers;
    struct chassis_list posted; /* under status_lock: transfers on their way to the loop */

    /* what others see */
    pthread_mutex_t status_lock;
    struct chassis_consensus_status status;
};

static inline uint64_t node_now(struct chassis_consensus *n)
{
    return chassis_now_ns(n->o.loop);
}
enum { NODE_CAPACITY_STORE_LOW = 1 }; /* as capacity of an APPEND_RESULT; libraft's is not used */
/* NULL, or why no command is accepted: once committed it must be durable and applied everywhere. */
const char *node_no_space(const struct chassis_consensus *n);
static inline bool node_alone(const struct chassis_consensus *n)
{
    return n->identity.n_members == 1;
}
/* Something happened: close the turn's batches at its end. */
static inline void node_touch(struct chassis_consensus *n)
{
    chassis_defer(n->o.loop, &n->turn);
}
/* Have a turn after `delay_ns`, or sooner: for what is put off while nobody waits for it. */
void node_pace(struct chassis_consensus *n, uint64_t delay_ns);
/* Log and end the process: what follows cannot be trusted. */
_Noreturn void node_fatal(struct chassis_consensus *n, const char *what,
                          const struct chassis_error *err);
/* A waiting close goes on once nothing is under way. */
void node_close_step(struct chassis_consensus *n);

/* open.c, on the loop: do store, checkpoint and log overlap? */
int node_check_pieces(struct chassis_consensus *n, struct chassis_error *err);
void node_init_tasks(struct chassis_consensus *n);
void node_free(struct chassis_consensus *n);
/* open.c: write the mark that tells whether the store can be believed at the next start. */
int node_mark(struct chassis_consensus *n, bool clean, struct chassis_error *err);

/* core.c */
int core_open(struct chassis_consensus *n, struct chassis_error *err);
void core_start(struct chassis_consensus *n);
void core_close(struct chassis_consensus *n);
/* `event` needs type and its own fields only. Returns libraft's code; obligations are met. */
int core_step(struct chassis_consensus *n, struct raft_event *event);
int core_configuration(const struct chassis_consensus *n, struct raft_configuration *ret);
void core_receive(struct chassis_consensus *n, uint64_t peer, const struct frame_message *m);

/* log.c */
void log_append_entries(struct chassis_consensus *n, uint64_t index, const struct raft_entry *e,
                        unsigned count);
void log_turn(struct chassis_consensus *n);
uint64_t log_term(struct chassis_consensus *n, uint64_t index);
void log_reset(struct chassis_consensus *n, uint64_t index, uint64_t term);
void log_fini(struct chassis_consensus *n);

/* peer.c */
void peer_init(struct chassis_consensus *n);
void peer_fini(struct chassis_consensus *n);
struct peer *peer_find(struct chassis_consensus *n, uint64_t id);
/* Queue a message; false (and it is lost) when the peer is down or its queue is full. */
bool peer_send(struct chassis_consensus *n, uint64_t id, const struct frame_message *m);
void peer_send_raft(struct chassis_consensus *n, const struct raft_message *m);
void peer_flush(struct chassis_consensus *n);
/* On the leader: tell followers that would not hear of it otherwise what is committed. */
void peer_tell_commit(struct chassis_consensus *n);
/* Somebody at the peer waits until `index` is known to be committed. */
void peer_want_commit(struct chassis_consensus *n, uint64_t id, uint64_t index);
extern const struct chassis_transport_events peer_events;

/* known.c */
int known_open(struct chassis_consensus *n, struct chassis_error *err);
void known_turn(struct chassis_consensus *n);
int known_admit(void *data, uint64_t peer, uint64_t boot, struct chassis_error *err);

/* propose.c */
void propose_init(struct chassis_consensus *n);
void propose_turn(struct chassis_consensus *n);
void propose_tick(struct chassis_consensus *n, uint64_t now);
/* The node closes: everybody is answered, nobody waits for a write. */
void propose_stop(struct chassis_consensus *n);
void propose_leader_changed(struct chassis_consensus *n);
/* The session to `peer` began anew: what was forwarded may be lost. */
void propose_peer_reset(struct chassis_consensus *n, uint64_t peer);
void propose_receive(struct chassis_consensus *n, uint64_t peer, const struct frame_message *m);
/* Take a proposal of ours out of the table because its entry is being applied; NULL if unknown. */
struct chassis_proposal *propose_take(struct chassis_consensus *n, uint64_t sequence);
/* Any role: end it and give the permit back. */
void propose_finish(struct chassis_consensus *n, struct chassis_proposal *p);
void propose_fail_all(struct chassis_consensus *n, int status);
/* After a checkpoint was installed: entries of ours may have been jumped over. */
void propose_installed(struct chassis_consensus *n);
void propose_fini(struct chassis_consensus *n);

/* read.c */
void read_turn(struct chassis_consensus *n);
void read_tick(struct chassis_consensus *n, uint64_t now);
void read_leader_changed(struct chassis_consensus *n);
void read_receive(struct chassis_consensus *n, uint64_t peer, const struct frame_message *m);
void read_applied(struct chassis_consensus *n);
void read_fail_all(struct chassis_consensus *n, int status);
void read_fini(struct chassis_consensus *n);

/* ask.c */
void ask_tick(struct chassis_consensus *n, uint64_t now);
void ask_peer_reset(struct chassis_consensus *n, uint64_t peer);
void ask_receive(struct chassis_consensus *n, uint64_t peer, const struct frame_message *m);
void ask_fail_all(struct chassis_consensus *n, int status);

/* apply.c */
/* Somebody waits until `index` is applied here and stored: make no pause. */
void apply_want(struct chassis_consensus *n, uint64_t index);
/* At the close: the apply role stores what it has; true once it has nothing left to do. */
bool apply_flush(struct chassis_consensus *n);
int apply_open(struct chassis_consensus *n, struct chassis_error *err);
void apply_fini(struct chassis_consensus *n);
void apply_turn(struct chassis_consensus *n);
/* What the store says was applied; index 0 if nothing. CHASSIS_CORRUPT. */
int apply_read_meta(struct chassis_consensus *n, struct chassis_txn *txn, uint64_t *ret_index,
                    uint64_t *ret_term, struct chassis_error *err);
/* apply_run.c, on the apply role */
void apply_batch_run(struct chassis_task *task);
void apply_store_run(struct chassis_task *task);
void apply_flush_run(struct chassis_task *task);
void apply_timer_run(struct chassis_timer *timer);
/* The node is abandoned: forget what is not stored. */
void apply_abandon(struct chassis_consensus *n);
/* Fill the store from a checkpoint file, in one transaction. */
int apply_install_run(struct chassis_consensus *n, const char *path,
                      struct checkpoint_header *ret_header, struct chassis_error *err);

/* apply.c, on the loop: a batch was run; more may be stored now */
void apply_batch_done(struct chassis_task *task);
void apply_stored(struct chassis_task *task);
void apply_flushed(struct chassis_task *task);

/* snapshot.c */
void snapshot_turn(struct chassis_consensus *n);
int snapshot_begin(struct chassis_consensus *n, void (*done)(int, uint64_t, void *), void *data);
/* The core wants the fetched file installed. */
void snapshot_install(struct chassis_consensus *n, const struct raft_snapshot_metadata *metadata);
/* A worker checks the fetched file; false if another job is under way. */
bool snapshot_verify(struct chassis_consensus *n);
void snapshot_fail_all(struct chassis_consensus *n, int status);
void snapshot_fini(struct chassis_consensus *n);

/* catchup.c */
void catchup_receive(struct chassis_consensus *n, uint64_t peer, const struct frame_message *m);
void catchup_tick(struct chassis_consensus *n, uint64_t now);
void catchup_try_install(struct chassis_consensus *n);
void catchup_verified(struct chassis_consensus *n, struct checkpoint_header *header);
void catchup_done(struct chassis_consensus *n);
void catchup_path(struct chassis_consensus *n, char out[512]);
void catchup_peer_reset(struct chassis_consensus *n, uint64_t peer);
void catchup_fini(struct chassis_consensus *n);

/* status.c */
void status_turn(struct chassis_consensus *n);
void status_tell(struct chassis_consensus *n, uint64_t peer);
void status_told(struct chassis_consensus *n, uint64_t peer, struct chassis_view address);
void transfer_turn(struct chassis_consensus *n);
void transfer_fini(struct chassis_consensus *n);
void transfer_fail_all(struct chassis_consensus *n, int status, const char *text);

#endif
