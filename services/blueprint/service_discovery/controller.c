#include "controller.h"

#include <stdio.h>
#include <stdlib.h>

#include "../key_value/controller.h"
#include "base/assert.h"

enum {
    TTL_MS = 15000,
    INTERVAL_MS = 5000,
    FIRST_REPORT_MS = 120 * 1000,
    FORGET_MS = 600 * 1000,
    TOKEN_MS = 24 * 3600 * 1000,
    BEAT_MS = 200,
    KEY_RETRY_MS = 1000,
    SCAN_MS_MAX = 1000,
    SCAN_MORE_MS = 10,
    REMOVALS_MAX = 256, /* proposed at one time; the rest at the next scan */
};

/* --- limits --- */

static int check_text(struct chassis_view text, const char *what, size_t min, size_t max,
                      struct chassis_error *err)
{
    if (text.len < min || text.len > max) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "%s has %zu bytes, %zu to %zu are allowed", what, text.len, min,
                                 max);
    }
    if (!bp_text_valid(text)) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "%s is not valid UTF-8", what);
    }
    return 0;
}

int bp_sd_check_register(const struct bp_sd *sd, struct bp_sd_register *reg,
                         struct chassis_error *err)
{
    reg->name = bp_kv_trim(reg->name);
    int r = check_text(reg->name, "the name", 1, BP_SD_NAME_MAX, err);
    if (r != 0) {
        return r;
    }
    if (sd->options.legacy_nonce != NULL && sd->options.legacy_nonce[0] != '\0' &&
        chassis_view_eq(reg->nonce, chassis_view_str(sd->options.legacy_nonce))) {
        reg->any_nonce = true;
        return check_text(reg->nonce, "the nonce", 1, BP_SD_NONCE_MAX, err);
    }
    return check_text(reg->nonce, "the nonce", BP_SD_NONCE_MIN, BP_SD_NONCE_MAX, err);
}

int bp_sd_check_details(const struct bp_sd_details *details, struct chassis_error *err)
{
    if (details->running == 0 || details->running > BP_SD_DISCONNECTED) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "running_state %u is not one",
                                 details->running);
    }
    if (details->health > BP_SD_UNHEALTHY || details->kind > 2) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "health_state %u or process_kind %u is not one", details->health,
                                 details->kind);
    }
    if (details->metadata.n > BP_SD_METADATA_MAX || details->services.n > BP_SD_SERVICES_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "%zu metadata entries and %zu RPC services, the limits are %d "
                                 "and %d",
                                 details->metadata.n, details->services.n, BP_SD_METADATA_MAX,
                                 BP_SD_SERVICES_MAX);
    }
    const struct bp_sd_metadata *metadata = details->metadata.items;
    int r = check_text(details->address, "advertise_address", 0, BP_SD_ADDRESS_MAX, err);
    for (size_t i = 0; i < details->metadata.n && r == 0; i++) {
        r = check_text(metadata[i].key, "a metadata key", 1, BP_SD_METADATA_KEY_MAX, err);
        if (r == 0) {
            r = check_text(metadata[i].value, "a metadata value", 0, BP_SD_METADATA_VALUE_MAX, err);
        }
    }
    return r;
}

/* --- tokens --- */

static int64_t now_s(const struct bp_sd *sd)
{
    return chassis_wall_ns(sd->options.clock) / 1000000000;
}

static void copy_text(char *out, size_t size, struct chassis_view text)
{
    CHASSIS_ASSERT(text.len < size);
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
}

int bp_sd_token_make(const struct bp_sd *sd, struct chassis_view pid, struct chassis_view name,
                     uint64_t incarnation, char ret_token[CHASSIS_AUTH_TOKEN_MAX],
                     struct chassis_error *err)
{
    struct chassis_auth_claims claims = {.incarnation = incarnation, .issued_s = now_s(sd)};
    claims.expires_s = claims.issued_s + (int64_t)(sd->options.token_ms / 1000);
    copy_text(claims.process, sizeof claims.process, pid);
    copy_text(claims.name, sizeof claims.name, name);
    copy_text(claims.key_id, sizeof claims.key_id, chassis_view_str(sd->key_id));
    return chassis_auth_token_sign(sd->options.key, &claims, ret_token, err);
}

struct key_lookup {
    struct chassis_view key_id;
    uint8_t public_key[CHASSIS_AUTH_PUBLIC_KEY_LEN];
};

static int find_key(struct chassis_txn *txn, void *data, struct chassis_error *err)
{
    struct key_lookup *lookup = data;
    return bp_sd_key_get(txn, lookup->key_id, lookup->public_key, err);
}

int bp_sd_token_check(const struct bp_sd *sd, const char *token,
                      struct chassis_auth_claims *ret_claims, struct chassis_error *err)
{
    struct chassis_auth_claims claims;
    if (token == NULL || token[0] == '\0') {
        return chassis_error_set(err, CHASSIS_UNAUTHENTICATED,
                                 "the report carries no token: send the one Initialize gave");
    }
    if (chassis_auth_token_peek(token, &claims, err) != 0) {
        if (err != NULL) {
            err->code = CHASSIS_UNAUTHENTICATED;
        }
        return CHASSIS_UNAUTHENTICATED;
    }
    struct key_lookup lookup = {.key_id = chassis_view_str(claims.key_id)};
    if (strcmp(claims.key_id, sd->key_id) == 0) {
        memcpy(lookup.public_key, sd->public_key, sizeof lookup.public_key);
    } else {
        int r = bp_read(sd->options.consensus, find_key, &lookup, err);
        if (r != 0) {
            return r;
        }
    }
    return chassis_auth_token_verify(token, lookup.public_key, now_s(sd), ret_claims, err);
}

bool bp_sd_token_aging(const struct bp_sd *sd, const struct chassis_auth_claims *claims)
{
    return now_s(sd) > claims->issued_s + (claims->expires_s - claims->issued_s) / 2;
}

/* --- this node's key --- */

static void arm_key(struct bp_sd *sd, uint64_t delay_ms)
{
    if (!sd->stopping && !sd->key_published && !sd->key_proposing) {
        chassis_post_after(sd->options.loop, &sd->key_timer, delay_ms * CHASSIS_NS_PER_MS);
    }
}

static void key_done(struct chassis_proposal *proposal)
{
    struct bp_sd *sd = chassis_container_of(proposal, struct bp_sd, key_proposal);
    sd->key_proposing = false;
    sd->key_published = proposal->status == 0;
    if (proposal->status == CHASSIS_ALREADY_EXISTS) {
        chassis_log_error(sd->log, "another node's key has the id of ours",
                          chassis_f_str("key_id", sd->key_id));
    }
    chassis_buf_fini(&proposal->result);
    arm_key(sd, KEY_RETRY_MS);
}

static void publish_key(struct chassis_timer *timer)
{
    struct bp_sd *sd = chassis_container_of(timer, struct bp_sd, key_timer);
    struct bp_sd_node_key command = {
        .actor = chassis_view_str(sd->key_id),
        .key_id = chassis_view_str(sd->key_id),
        .public_key = chassis_view(sd->public_key, sizeof sd->public_key),
    };
    memset(&sd->key_proposal, 0, sizeof sd->key_proposal);
    bp_codec_encode(&bp_sd_layout_node_key, BP_CODEC_VERSION, &command, &sd->key_proposal.command);
    sd->key_proposal.executor = sd->options.loop;
    sd->key_proposal.done = key_done;
    sd->key_proposing = true;
    chassis_consensus_propose(sd->options.consensus, &sd->key_proposal);
}

/* --- heartbeats --- */

static void touch(struct bp_sd *sd, struct chassis_view pid)
{
    bp_expiry_touch(&sd->expiry, pid, chassis_now_ns(sd->options.loop),
                    chassis_wall_ns(sd->options.clock));
}

static void beats_done(struct chassis_ask *ask)
{
    struct bp_sd *sd = chassis_container_of(ask, struct bp_sd, ask);
    /* What did not arrive is not sent again: the next report of each process comes soon enough,
     * and the leader that is missing gives everybody a full time to live when it is there. */
    sd->asking = false;
    chassis_buf_fini(&ask->answer);
    if (sd->n_outbox != 0 && !sd->stopping) {
        chassis_post_after(sd->options.loop, &sd->beat_timer, BEAT_MS * CHASSIS_NS_PER_MS);
    }
}

static void send_beats(struct chassis_timer *timer)
{
    struct bp_sd *sd = chassis_container_of(timer, struct bp_sd, beat_timer);
    struct bp_sd_heartbeats beats = {{sd->outbox, sd->n_outbox}};
    if (sd->n_outbox == 0 || sd->asking || sd->stopping) {
        return;
    }
    memset(&sd->ask, 0, sizeof sd->ask);
    bp_codec_encode(&bp_sd_layout_heartbeats, BP_CODEC_VERSION, &beats, &sd->ask.question);
    sd->n_outbox = 0;
    chassis_arena_fini(&sd->outbox_arena);
    chassis_arena_init(&sd->outbox_arena, NULL, 0, 0);
    sd->ask.executor = sd->options.loop;
    sd->ask.done = beats_done;
    sd->asking = true;
    chassis_consensus_ask_leader(sd->options.consensus, &sd->ask);
}

void bp_sd_heartbeat(struct bp_sd *sd, struct chassis_view pid)
{
    if (sd->leader) {
        touch(sd, pid);
        return;
    }
    if (sd->n_outbox == BP_SD_HEARTBEATS_MAX || sd->stopping) {
        return;
    }
    if (sd->n_outbox == sd->cap_outbox) {
        sd->cap_outbox = sd->cap_outbox != 0 ? sd->cap_outbox * 2 : 64;
        sd->outbox = chassis_base_realloc(sd->outbox, sd->cap_outbox * sizeof *sd->outbox);
    }
    sd->outbox[sd->n_outbox++].text = chassis_arena_copy(&sd->outbox_arena, pid);
    if (sd->n_outbox == 1 && !sd->asking) {
        chassis_post_after(sd->options.loop, &sd->beat_timer, BEAT_MS * CHASSIS_NS_PER_MS);
    }
}

static void answer_last_seen(struct bp_sd *sd, const struct bp_sd_heartbeats *of,
                             struct chassis_arena *arena, struct chassis_buf *ret_answer)
{
    const struct bp_sd_text *pids = of->pids.items;
    struct bp_sd_seen *seen = chassis_arena_alloc(arena, (of->pids.n + 1) * sizeof *seen);
    for (size_t i = 0; i < of->pids.n; i++) {
        seen[i] = (struct bp_sd_seen){pids[i].text, bp_expiry_last(&sd->expiry, pids[i].text)};
    }
    struct bp_sd_last_seen answer = {{seen, of->pids.n}};
    bp_codec_encode(&bp_sd_layout_last_seen, BP_CODEC_VERSION, &answer, ret_answer);
}

int bp_sd_ask(struct bp_sd *sd, struct chassis_view question, struct chassis_buf *ret_answer)
{
    if (!sd->leader) {
        return CHASSIS_NOT_LEADER;
    }
    bool beats = bp_codec_id(question) == BP_SD_HEARTBEATS;
    struct bp_sd_heartbeats of;
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 64 << 20);
    int r = bp_codec_decode(beats ? &bp_sd_layout_heartbeats : &bp_sd_layout_ask_last_seen,
                            question, &arena, &of, NULL);
    const struct bp_sd_text *pids = r == 0 ? of.pids.items : NULL;
    for (size_t i = 0; r == 0 && beats && i < of.pids.n; i++) {
        touch(sd, pids[i].text);
    }
    if (r == 0 && !beats) {
        answer_last_seen(sd, &of, &arena, ret_answer);
    }
    chassis_arena_fini(&arena);
    return r;
}

/* --- expiry --- */

struct removal {
    struct chassis_proposal proposal;
    struct bp_sd *sd;
    struct chassis_buf pid;
};

static void removal_done(struct chassis_proposal *proposal)
{
    struct removal *removal = chassis_container_of(proposal, struct removal, proposal);
    struct bp_sd *sd = removal->sd;
    sd->removals--;
    bp_expiry_settled(&sd->expiry, chassis_buf_view(&removal->pid));
    chassis_buf_fini(&proposal->result);
    chassis_buf_fini(&removal->pid);
    free(removal);
}

static void due(const struct bp_sd_process *process, enum bp_sd_removal kind, const char *reason,
                void *data)
{
    struct bp_sd *sd = data;
    if (sd->removals >= REMOVALS_MAX) {
        bp_expiry_settled(&sd->expiry, process->pid);
        return;
    }
    chassis_log_info(sd->log, "process is gone", chassis_f_view("pid", process->pid),
                     chassis_f_view("name", process->name), chassis_f_str("reason", reason));
    struct removal *removal = chassis_base_zalloc(sizeof *removal);
    struct bp_sd_remove command = {
        .actor = chassis_view_str(sd->key_id),
        .pid = process->pid,
        .reason = chassis_view_str(reason),
        .incarnation = process->incarnation,
        .removal = kind,
    };
    removal->sd = sd;
    chassis_buf_append_view(&removal->pid, process->pid);
    bp_codec_encode(&bp_sd_layout_remove, BP_CODEC_VERSION, &command, &removal->proposal.command);
    removal->proposal.executor = sd->options.loop;
    removal->proposal.done = removal_done;
    sd->removals++;
    chassis_consensus_propose(sd->options.consensus, &removal->proposal);
}

static int scan_store(struct chassis_txn *txn, void *data, struct chassis_error *err)
{
    struct bp_sd *sd = data;
    return bp_expiry_scan(&sd->expiry, txn, chassis_now_ns(sd->options.loop), due, sd, err);
}

static void arm_scan(struct bp_sd *sd)
{
    uint64_t period = sd->options.ttl_ms / 4 < SCAN_MS_MAX ? sd->options.ttl_ms / 4 : SCAN_MS_MAX;
    if (bp_expiry_more(&sd->expiry) && period > SCAN_MORE_MS) {
        period = SCAN_MORE_MS; /* in pieces: the loop has others to serve */
    }
    chassis_post_after(sd->options.loop, &sd->scan_timer,
                       (period != 0 ? period : 1) * CHASSIS_NS_PER_MS);
}

static void scan(struct chassis_timer *timer)
{
    struct bp_sd *sd = chassis_container_of(timer, struct bp_sd, scan_timer);
    if (!sd->leader || sd->stopping) {
        return;
    }
    struct chassis_error err = {0};
    if (bp_read(sd->options.consensus, scan_store, sd, &err) != 0) {
        chassis_log_error(sd->log, "cannot look for silent processes", chassis_f_err(&err));
    }
    arm_scan(sd);
}

/* --- life --- */

#define DEFAULT(field, value)                                                                      \
    sd->options.field = sd->options.field != 0 ? sd->options.field : (value)

void bp_sd_start(struct bp_sd *sd, const struct bp_sd_options *options)
{
    memset(sd, 0, sizeof *sd);
    sd->options = *options;
    sd->options.clock = options->clock != NULL ? options->clock : chassis_clock_posix();
    DEFAULT(ttl_ms, TTL_MS);
    DEFAULT(interval_ms, INTERVAL_MS);
    DEFAULT(first_report_ms, FIRST_REPORT_MS);
    DEFAULT(forget_ms, FORGET_MS);
    DEFAULT(token_ms, TOKEN_MS);
    sd->log = chassis_log_module("blueprint.service_discovery");
    struct bp_expiry_limits limits = {
        .ttl_ns = sd->options.ttl_ms * CHASSIS_NS_PER_MS,
        .first_ns = sd->options.first_report_ms * CHASSIS_NS_PER_MS,
        .forget_ns = sd->options.forget_ms * CHASSIS_NS_PER_MS,
    };
    bp_expiry_init(&sd->expiry, &limits);
    chassis_arena_init(&sd->outbox_arena, NULL, 0, 0);
    pthread_mutex_init(&sd->sessions_lock, NULL);
    chassis_list_init(&sd->sessions);
    sd->scan_timer.run = scan;
    sd->beat_timer.run = send_beats;
    sd->key_timer.run = publish_key;
    struct bp_source source = bp_consensus_source(options->consensus);
    bp_feed_init(&sd->feed, &bp_sd_feed_ops, &source, options->loop, sd->log);
    chassis_auth_key_public(options->key, sd->public_key);
    /* The id of a key is its first 16 bytes: as good as the key itself at telling keys apart. */
    for (size_t i = 0; i < 16; i++) {
        snprintf(sd->key_id + 2 * i, 3, "%02x", sd->public_key[i]);
    }
    arm_key(sd, 0);
}

void bp_sd_drain(struct bp_sd *sd)
{
    struct chassis_error err = {0};
    sd->draining = true;
    chassis_error_set(&err, CHASSIS_SHUTTING_DOWN, "the node is shutting down: watch at another");
    bp_feed_close(&sd->feed, &err);
    pthread_mutex_lock(&sd->sessions_lock);
    void (*end_sessions)(struct bp_sd *) = sd->end_sessions;
    pthread_mutex_unlock(&sd->sessions_lock);
    if (end_sessions != NULL) {
        end_sessions(sd);
    }
}

void bp_sd_stop(struct bp_sd *sd)
{
    sd->stopping = true;
    chassis_cancel(sd->options.loop, &sd->scan_timer);
    chassis_cancel(sd->options.loop, &sd->beat_timer);
    chassis_cancel(sd->options.loop, &sd->key_timer);
    bp_sd_drain(sd);
    bp_feed_fini(&sd->feed);
    bp_expiry_fini(&sd->expiry);
    chassis_arena_fini(&sd->outbox_arena);
    pthread_mutex_destroy(&sd->sessions_lock);
    free(sd->outbox);
    sd->outbox = NULL;
    sd->n_outbox = sd->cap_outbox = 0;
}

void bp_sd_leadership(struct bp_sd *sd, bool leader)
{
    sd->leader = leader;
    bp_expiry_reset(&sd->expiry);
    if (leader && !sd->stopping) {
        arm_scan(sd);
    } else {
        chassis_cancel(sd->options.loop, &sd->scan_timer);
    }
    if (!sd->key_published && !sd->key_proposing) {
        arm_key(sd, 0);
    }
}

void bp_sd_committed(struct bp_sd *sd)
{
    bp_feed_notify(&sd->feed);
}
