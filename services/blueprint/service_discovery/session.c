/* Synchronize: one stream of one process.
 *
 * A report is handled in three places, one after the other: the handler on a worker decodes and
 * verifies the token, the loop compares with what is stored and proposes a change if there is one,
 * and answers; only then the next report is read.
 *
 *      IDLE --message--> BUSY --answered--> IDLE
 *       | gone            | gone
 *       v                 v
 *     ENDED <--answered-- CANCELLED
 *
 * Whoever takes the state to ENDED ends the call. Everything lies in the call's arena: when the
 * server itself ends a stream (a malformed message) nothing is left behind.
 */
#include <pthread.h>
#include <stdio.h>

#include "../key_value/controller.h"
#include "convert.h"
#include "rpc/transport.h"

enum state { IDLE, BUSY, CANCELLED, ENDED };

struct session {
    struct chassis_list link; /* under the controller's sessions_lock */
    pthread_mutex_t lock;     /* of state */
    enum state state;
    struct chassis_call *call;
    struct bp_sd *sd;
    char token[CHASSIS_AUTH_TOKEN_MAX];
    struct chassis_auth_claims claims; /* of the token; process empty until it was verified */
    bool refreshed;                    /* a linearizable read was made for this report */
    /* the report under way */
    struct chassis_task task;
    struct chassis_arena arena;
    struct bp_sd_report report;
    struct chassis_proposal proposal;
    struct chassis_read read;
};

static bool take(struct session *s, enum state from, enum state to)
{
    pthread_mutex_lock(&s->lock);
    bool ok = s->state == from;
    if (ok) {
        s->state = to;
    }
    pthread_mutex_unlock(&s->lock);
    return ok;
}

static void on_cancel(struct chassis_call *call, void *data)
{
    struct session *s = data;
    if (take(s, IDLE, ENDED)) {
        chassis_call_fail(call, CHASSIS_CANCELLED, "the process went away");
    } else {
        take(s, BUSY, CANCELLED);
    }
}

static const char shutting_down[] = "the node is shutting down: report to another";

static void on_end(struct chassis_call *call, void *data)
{
    struct session *s = data;
    pthread_mutex_lock(&s->sd->sessions_lock);
    chassis_list_remove(&s->link);
    chassis_list_init(&s->link);
    pthread_mutex_unlock(&s->sd->sessions_lock);
}

/* Clients know by it that they may go on at another node at once. */
static void set_not_run(struct session *s)
{
    chassis_call_set_trailer(s->call, CHASSIS_NOT_RUN_TRAILER, chassis_view_str("1"));
}

/* End the streams that wait for a report; the others end after their answer. */
static void end_sessions(struct bp_sd *sd)
{
    struct chassis_error err = {0};
    chassis_error_set(&err, CHASSIS_SHUTTING_DOWN, "%s", shutting_down);
    for (;;) {
        pthread_mutex_lock(&sd->sessions_lock);
        struct session *s = chassis_list_empty(&sd->sessions)
                                ? NULL
                                : chassis_list_entry(sd->sessions.next, struct session, link);
        if (s != NULL) {
            chassis_list_remove(&s->link);
            chassis_list_init(&s->link);
            chassis_call_ref(s->call); /* it has not ended: on_end waits for the lock */
        }
        pthread_mutex_unlock(&sd->sessions_lock);
        if (s == NULL) {
            return;
        }
        struct chassis_call *call = s->call;
        if (take(s, IDLE, ENDED)) {
            set_not_run(s);
            chassis_call_abort(call, &err); /* the server may be faster, with a malformed message */
        }
        chassis_call_unref(call);
    }
}

void bp_sd_sync_open(struct chassis_call *call)
{
    struct session *s = chassis_arena_zalloc(chassis_call_arena(call), sizeof *s);
    if (s == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return;
    }
    pthread_mutex_init(&s->lock, NULL);
    s->call = call;
    s->sd = chassis_call_data(call);
    chassis_call_set_state(call, s);
    chassis_list_init(&s->link);
    pthread_mutex_lock(&s->sd->sessions_lock);
    chassis_list_append(&s->sd->sessions, &s->link);
    s->sd->end_sessions = end_sessions;
    pthread_mutex_unlock(&s->sd->sessions_lock);
    chassis_call_on_end(call, on_end, s);
    chassis_call_on_cancel(call, on_cancel, s);
}

/* The report is done with: the session is not BUSY afterwards. */
static void report_fini(struct session *s)
{
    chassis_arena_fini(&s->arena);
    memset(&s->report, 0, sizeof s->report);
}

static void fail(struct session *s, const struct chassis_error *err)
{
    report_fini(s);
    pthread_mutex_lock(&s->lock);
    s->state = ENDED;
    pthread_mutex_unlock(&s->lock);
    chassis_call_fail_error(s->call, err);
}

static void fail_code(struct session *s, int code, const char *text)
{
    struct chassis_error err = {0};
    chassis_error_set(&err, code, "%s", text);
    fail(s, &err);
}

/* A fresh token, when the present one has lived half its life. */
static void add_token(struct session *s, SD(ClusterDetails) * m)
{
    if (!bp_sd_token_aging(s->sd, &s->claims)) {
        return;
    }
    char *token = chassis_arena_alloc(&s->arena, CHASSIS_AUTH_TOKEN_MAX);
    struct chassis_error err = {0};
    if (bp_sd_token_make(s->sd, s->report.pid, chassis_view_str(s->claims.name),
                         s->claims.incarnation, token, &err) != 0) {
        chassis_log_error(s->sd->log, "cannot renew a token", chassis_f_err(&err));
        return;
    }
    m->token = chassis_arena_alloc(&s->arena, sizeof *m->token);
    core__registry__service_discovery__v1__token__init(m->token);
    m->token->id = s->sd->key_id;
    m->token->jwt = token;
}

static void answer(struct session *s)
{
    bp_sd_heartbeat(s->sd, s->report.pid);
    SD(ClusterDetails) *m = bp_sd_cluster_message(s->sd, &s->arena);
    add_token(s, m);
    /* Answers are one per report; a client that reads none is not read on for ever: the queue is
     * bounded by the server, and a refused answer only means that the next one will be newer. */
    (void)chassis_call_send(s->call, m);
    if (s->sd->draining) { /* the list was ended while this report was under way */
        set_not_run(s);
        fail_code(s, CHASSIS_SHUTTING_DOWN, shutting_down);
        return;
    }
    report_fini(s);
    pthread_mutex_lock(&s->lock);
    bool cancelled = s->state == CANCELLED;
    s->state = cancelled ? ENDED : IDLE;
    if (!cancelled) {
        chassis_call_resume(s->call); /* inside: on_cancel must not end the call meanwhile */
    }
    pthread_mutex_unlock(&s->lock);
    if (cancelled) {
        chassis_call_fail(s->call, CHASSIS_CANCELLED, "the process went away");
    }
}

static void proposal_done(struct chassis_proposal *proposal)
{
    struct session *s = chassis_container_of(proposal, struct session, proposal);
    struct chassis_buf result = chassis_buf_move(&proposal->result);
    struct chassis_error err = {0};
    int status = proposal->status;
    if (status != 0) {
        if (result.len != 0) {
            chassis_error_set(&err, status, "%.*s", CHASSIS_VIEW_ARG(chassis_buf_view(&result)));
        } else {
            chassis_error_code(&err, status, "record the report");
        }
    }
    chassis_buf_fini(&result);
    if (status != 0) {
        fail(s, &err);
    } else {
        answer(s);
    }
}

struct lookup {
    struct session *session;
    bool same;
};

static int compare(struct chassis_txn *txn, void *data, struct chassis_error *err)
{
    struct lookup *lookup = data;
    struct session *s = lookup->session;
    struct bp_sd_process process;
    int r = bp_sd_get(txn, s->report.pid, &s->arena, &process, err);
    if (r == 0 && process.incarnation != s->claims.incarnation) {
        r = chassis_error_set(err, CHASSIS_UNAUTHENTICATED,
                              "the token is of incarnation %llu, the process has %llu: "
                              "initialize again",
                              (unsigned long long)s->claims.incarnation,
                              (unsigned long long)process.incarnation);
    }
    lookup->same = r == 0 && process.reported && process.left_ns == 0 &&
                   bp_sd_details_equal(&process.details, &s->report.details);
    return r;
}

static void handle(struct session *s);

static void refreshed(struct chassis_read *read)
{
    struct session *s = chassis_container_of(read, struct session, read);
    if (read->status != 0) {
        chassis_error_code(&read->error, read->status, "look up the process");
        fail(s, &read->error);
        return;
    }
    s->refreshed = true;
    handle(s);
}

/* What this node does not know yet another one may have registered a moment ago. */
static void refresh(struct session *s)
{
    memset(&s->read, 0, sizeof s->read);
    s->read.executor = s->sd->options.loop;
    s->read.done = refreshed;
    chassis_consensus_read(s->sd->options.consensus, &s->read);
}

static int authenticate(struct session *s, struct chassis_error *err)
{
    if (s->claims.process[0] != '\0') {
        return 0; /* done for this report, on the worker */
    }
    struct chassis_auth_claims claims;
    int r = bp_sd_token_check(s->sd, s->token, &claims, err);
    if (r == 0 && !chassis_view_eq(chassis_view_str(claims.process), s->report.pid)) {
        r = chassis_error_set(err, CHASSIS_UNAUTHENTICATED,
                              "the token is another process's than '%.*s'",
                              CHASSIS_VIEW_ARG(s->report.pid));
    }
    if (r == 0) {
        s->claims = claims;
    }
    return r;
}

/* On the loop. */
static void handle(struct session *s)
{
    struct chassis_error err = {0};
    int r = authenticate(s, &err);
    struct lookup lookup = {s, false};
    if (r == 0) {
        r = bp_read(s->sd->options.consensus, compare, &lookup, &err);
    }
    if (r == CHASSIS_NOT_FOUND && !s->refreshed) {
        refresh(s);
        return;
    }
    if (r != 0) {
        if (r == CHASSIS_NOT_FOUND && s->claims.process[0] == '\0') {
            err.code = CHASSIS_UNAUTHENTICATED; /* no node has the key that signed it */
        }
        fail(s, &err);
        return;
    }
    if (lookup.same) {
        answer(s);
        return;
    }
    memset(&s->proposal, 0, sizeof s->proposal);
    s->report.incarnation = s->claims.incarnation;
    bp_codec_encode(&bp_sd_layout_report, BP_CODEC_VERSION, &s->report, &s->proposal.command);
    s->proposal.executor = s->sd->options.loop;
    s->proposal.done = proposal_done;
    chassis_consensus_propose(s->sd->options.consensus, &s->proposal);
}

static void run(struct chassis_task *task)
{
    struct session *s = chassis_container_of(task, struct session, task);
    if (s->sd->draining) {
        set_not_run(s);
        fail_code(s, CHASSIS_SHUTTING_DOWN, shutting_down);
        return;
    }
    handle(s);
}

/* Copies the report into the session's arena: the message goes when the handler returns. */
static int keep(struct session *s, const SD(ClientDetails) * req, struct chassis_error *err)
{
    struct chassis_arena scratch;
    struct chassis_buf encoded = {0};
    struct bp_sd_report report = {
        .actor = bp_sd_actor(s->call),
        .pid = chassis_view_str(req->pid),
        .reason = chassis_view_str("reported"),
    };
    chassis_arena_init(&scratch, NULL, 0, 1 << 20);
    int r = report.pid.len == 0 || report.pid.len > BP_SD_PID_MAX
                ? chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                    "the pid has %zu bytes, 1 to %d are allowed", report.pid.len,
                                    BP_SD_PID_MAX)
                : bp_sd_details_of(req, &scratch, &report.details, err);
    if (r == 0) {
        bp_codec_encode(&bp_sd_layout_report, BP_CODEC_VERSION, &report, &encoded);
        struct chassis_view copy = chassis_arena_copy(&s->arena, chassis_buf_view(&encoded));
        r = bp_codec_decode(&bp_sd_layout_report, copy, &s->arena, &s->report, err);
    }
    chassis_buf_fini(&encoded);
    chassis_arena_fini(&scratch);
    return r;
}

void bp_sd_sync_message(struct chassis_call *call, const SD(ClientDetails) * req)
{
    struct session *s = chassis_call_state(call);
    if (!take(s, IDLE, BUSY)) {
        return; /* it ended meanwhile */
    }
    chassis_call_hold(call);
    struct chassis_error err = {0};
    chassis_arena_init(&s->arena, NULL, 0, 4 << 20);
    s->refreshed = false;
    int r = keep(s, req, &err);
    if (r == 0 && strlen(req->token) >= sizeof s->token) {
        r = chassis_error_set(&err, CHASSIS_UNAUTHENTICATED,
                              "the token has %zu bytes, the limit is %zu", strlen(req->token),
                              sizeof s->token - 1);
    }
    if (r == 0) {
        /* The signature is checked here, not on the loop; each time, for it may have expired. */
        snprintf(s->token, sizeof s->token, "%s", req->token);
        memset(&s->claims, 0, sizeof s->claims);
        r = authenticate(s, &err);
        if (r == CHASSIS_NOT_FOUND) {
            r = 0; /* the key may not have arrived here: the loop asks for it */
        }
    }
    if (r != 0) {
        fail(s, &err);
        return;
    }
    s->task.run = run;
    chassis_post(s->sd->options.loop, &s->task);
}

void bp_sd_sync_end(struct chassis_call *call)
{
    struct session *s = chassis_call_state(call);
    if (take(s, IDLE, ENDED)) {
        chassis_call_finish(call);
    }
}
