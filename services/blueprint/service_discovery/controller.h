/* The rules of service_discovery: nonces, tokens, heartbeats and expiry.
 *
 * Heartbeats are not replicated: the node that holds a process's stream sends the pids it heard of
 * to the leader, at most once in 200 ms; the leader keeps them on its monotonic clock. Only changes
 * are commands.
 *
 * Threads: start, stop, leadership, ask, heartbeat and the feed on the loop role; checks, tokens and
 * encoding from any.
 * Ownership: requests are caller's memory until their callback.
 */
#ifndef BP_SERVICE_DISCOVERY_CONTROLLER_H
#define BP_SERVICE_DISCOVERY_CONTROLLER_H

#include <chassis/consensus.h>
#include <chassis/log.h>

#include "auth/auth.h"
#include "expiry.h"
#include "os/os.h"
#include <pthread.h>

#include "watch.h"

struct bp_sd_options {
    struct chassis_consensus *consensus;
    struct chassis_executor *loop;
    struct chassis_executor *readers;   /* where reads run; NULL = where consensus answers */
    struct chassis_clock *clock;        /* NULL = the machine's */
    const struct chassis_auth_key *key; /* signs tokens */
    const char *legacy_nonce;           /* accepted again and again; NULL = none */
    uint64_t ttl_ms;                    /* 0 = 15 s */
    uint64_t interval_ms;               /* asked of processes; 0 = 5 s */
    uint64_t first_report_ms;           /* 0 = 2 min */
    uint64_t forget_ms;                 /* 0 = 10 min */
    uint64_t token_ms;                  /* 0 = 24 h */
};

struct bp_sd {
    struct bp_sd_options options;
    struct chassis_logger *log;
    struct bp_feed feed;
    struct bp_expiry expiry;
    char key_id[BP_SD_KEY_ID_MAX + 1];
    uint8_t public_key[CHASSIS_AUTH_PUBLIC_KEY_LEN];
    bool leader, draining, stopping;
    pthread_mutex_t sessions_lock; /* of the list of Synchronize streams */
    struct chassis_list sessions;
    void (*end_sessions)(struct bp_sd *sd); /* the view's; NULL before the first stream */
    struct chassis_timer scan_timer, beat_timer, key_timer;
    unsigned removals; /* proposals under way */
    /* heartbeats on their way to the leader */
    struct bp_sd_text *outbox;
    size_t n_outbox, cap_outbox;
    struct chassis_arena outbox_arena;
    struct chassis_ask ask;
    bool asking;
    struct chassis_proposal key_proposal;
    bool key_published, key_proposing;
};

void bp_sd_start(struct bp_sd *sd, const struct bp_sd_options *options);
/* End watches and Synchronize streams: clients go on at another node. */
void bp_sd_drain(struct bp_sd *sd);
void bp_sd_stop(struct bp_sd *sd);
void bp_sd_leadership(struct bp_sd *sd, bool leader);
void bp_sd_committed(struct bp_sd *sd);
/* The leader's answer from memory; see chassis_state_machine_ops.ask. */
int bp_sd_ask(struct bp_sd *sd, struct chassis_view question, struct chassis_buf *ret_answer);
/* A process was heard of at this node. */
void bp_sd_heartbeat(struct bp_sd *sd, struct chassis_view pid);

/* INVALID_ARGUMENT naming the limit. */
int bp_sd_check_register(const struct bp_sd *sd, struct bp_sd_register *reg,
                         struct chassis_error *err);
int bp_sd_check_details(const struct bp_sd_details *details, struct chassis_error *err);

int bp_sd_token_make(const struct bp_sd *sd, struct chassis_view pid, struct chassis_view name,
                     uint64_t incarnation, char ret_token[CHASSIS_AUTH_TOKEN_MAX],
                     struct chassis_error *err);
/* Against the key it names, as this node's store knows it: CHASSIS_UNAUTHENTICATED with the reason;
 * CHASSIS_NOT_FOUND when the key is not known here (yet). */
int bp_sd_token_check(const struct bp_sd *sd, const char *token,
                      struct chassis_auth_claims *ret_claims, struct chassis_error *err);
/* Less than half of its life is left. */
bool bp_sd_token_aging(const struct bp_sd *sd, const struct chassis_auth_claims *claims);

#endif
