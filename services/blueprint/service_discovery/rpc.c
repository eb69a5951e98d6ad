#include "rpc.h"

#include <strings.h>

#include "../deadline.h"
#include "../key_value/controller.h"
#include "../watch_call.h"
#include "base/prng.h"
#include "convert.h"

/* --- one command per call --- */

struct command {
    struct chassis_proposal proposal;
    struct chassis_call *call;
    struct bp_sd *sd;
    struct chassis_view name, pid;
    char new_pid[37];
    /* Finalize: the caller's token, and the read that brings the key it was signed with. */
    const char *token;
    struct chassis_read read;
    void (*reply)(struct command *command, struct chassis_view result);
};

static struct command *command_new(struct chassis_call *call)
{
    struct command *c = chassis_arena_zalloc(chassis_call_arena(call), sizeof *c);
    if (c == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return NULL;
    }
    c->call = call;
    c->sd = chassis_call_data(call);
    return c;
}

static void done(struct chassis_proposal *proposal)
{
    struct command *c = chassis_container_of(proposal, struct command, proposal);
    struct chassis_buf result = chassis_buf_move(&proposal->result);
    if (proposal->status == 0) {
        c->reply(c, chassis_buf_view(&result));
    } else if (result.len != 0) {
        chassis_call_fail(c->call, proposal->status, "%.*s",
                          CHASSIS_VIEW_ARG(chassis_buf_view(&result)));
    } else {
        if (proposal->error.code == 0) {
            chassis_error_code(&proposal->error, proposal->status, "propose the change");
        }
        chassis_call_fail_error(c->call, &proposal->error);
    }
    chassis_buf_fini(&result);
}

static void propose(struct command *c, const struct bp_layout *layout, const void *message,
                    void (*reply)(struct command *command, struct chassis_view result))
{
    bp_codec_encode(layout, BP_CODEC_VERSION, message, &c->proposal.command);
    c->reply = reply;
    c->proposal.timeout_ns = bp_timeout_ns(c->call);
    c->proposal.executor = c->sd->options.readers;
    c->proposal.done = done;
    chassis_consensus_propose(c->sd->options.consensus, &c->proposal);
}

/* --- Initialize --- */

static const char *own_address(struct bp_sd *sd, struct chassis_consensus_status *status)
{
    chassis_consensus_status(sd->options.consensus, status);
    for (unsigned i = 0; i < status->n_members; i++) {
        if (status->members[i].id == status->id) {
            return status->members[i].service;
        }
    }
    return "";
}

static void reply_registered(struct command *c, struct chassis_view encoded)
{
    struct chassis_arena *arena = chassis_call_arena(c->call);
    struct bp_sd_register_result result;
    struct chassis_error err = {0};
    char token[CHASSIS_AUTH_TOKEN_MAX];
    int r = bp_codec_decode(&bp_sd_layout_register_result, encoded, arena, &result, &err);
    if (r == 0) {
        r = bp_sd_token_make(c->sd, result.pid, c->name, result.incarnation, token, &err);
    }
    if (r != 0) {
        chassis_call_fail_error(c->call, &err);
        return;
    }
    struct chassis_consensus_status status;
    SD(Token) jwt = SD_INIT(TOKEN);
    SD(ProcessIdentity) identity = SD_INIT(PROCESS_IDENTITY);
    SD(StartupConfiguration) configuration = SD_INIT(STARTUP_CONFIGURATION);
    SD(InitializeResponse) res = SD_INIT(INITIALIZE_RESPONSE);
    jwt.id = c->sd->key_id;
    jwt.jwt = token;
    identity.pid = chassis_arena_strndup(arena, result.pid.data, result.pid.len);
    identity.registry_address = (char *)(uintptr_t)own_address(c->sd, &status);
    identity.token = &jwt;
    res.process_identity = &identity;
    res.configuration = &configuration;
    service_discovery_initialize_reply(c->call, &res);
}

static void rpc_initialize(struct chassis_call *call, const SD(InitializeRequest) * req)
{
    struct command *c = command_new(call);
    if (c == NULL) {
        return;
    }
    struct chassis_error err = {0};
    chassis_base_uuid(c->new_pid);
    struct bp_sd_register reg = {
        .actor = bp_sd_actor(call),
        .pid = chassis_view_str(c->new_pid),
        .name = chassis_view_str(req->name),
        .nonce = chassis_view_str(req->nonce),
    };
    if (bp_sd_check_register(c->sd, &reg, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    c->name = reg.name;
    propose(c, &bp_sd_layout_register, &reg, reply_registered);
}

/* --- Finalize, ReportHealth --- */

static void reply_finalized(struct command *c, struct chassis_view result)
{
    SD(FinalizeResponse) res = SD_INIT(FINALIZE_RESPONSE);
    res.pid = chassis_arena_strndup(chassis_call_arena(c->call), c->pid.data, c->pid.len);
    service_discovery_finalize_reply(c->call, &res);
}

static int check_pid(struct chassis_view pid, struct chassis_error *err)
{
    return pid.len != 0 && pid.len <= BP_SD_PID_MAX && bp_text_valid(pid)
               ? 0
               : chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                   "the pid has %zu bytes, 1 to %d are allowed", pid.len,
                                   BP_SD_PID_MAX);
}

/* Only who has the token of a process may end it; 0 when the removal is on its way. */
static int finalize(struct command *c, struct chassis_error *err)
{
    struct chassis_auth_claims claims;
    int r = bp_sd_token_check(c->sd, c->token, &claims, err);
    if (r == 0 && !chassis_view_eq(chassis_view_str(claims.process), c->pid)) {
        r = chassis_error_set(err, CHASSIS_UNAUTHENTICATED,
                              "the token is another process's than '%.*s'",
                              CHASSIS_VIEW_ARG(c->pid));
    }
    if (r == 0) {
        struct bp_sd_remove remove = {
            .actor = bp_sd_actor(c->call),
            .pid = c->pid,
            .reason = chassis_view_str("finalized"),
            .incarnation = claims.incarnation,
            .removal = BP_SD_FINALIZED,
        };
        propose(c, &bp_sd_layout_remove, &remove, reply_finalized);
    }
    return r;
}

static void finalize_refreshed(struct chassis_read *read)
{
    struct command *c = chassis_container_of(read, struct command, read);
    struct chassis_error err = {0};
    int r = read->status != 0
                ? chassis_error_code(&err, read->status, "look up the key of the token")
                : finalize(c, &err);
    if (r == CHASSIS_NOT_FOUND) {
        err.code = CHASSIS_UNAUTHENTICATED; /* no node has the key that signed it */
    }
    if (r != 0) {
        chassis_call_fail_error(c->call, &err);
    }
}

static void rpc_finalize(struct chassis_call *call, const SD(FinalizeRequest) * req)
{
    struct chassis_error err = {0};
    struct chassis_view pid = chassis_view_str(req->pid);
    const char *header = chassis_call_metadata(call, "authorization");
    int r = check_pid(pid, &err);
    if (r == 0 && (header == NULL || strncasecmp(header, "bearer ", 7) != 0)) {
        r = chassis_error_set(&err, CHASSIS_UNAUTHENTICATED,
                              "only process '%s' itself may end: send its token, as Initialize "
                              "or Synchronize gave it, as 'authorization: Bearer …'",
                              req->pid);
    }
    struct command *c = r == 0 ? command_new(call) : NULL;
    if (c != NULL) {
        c->pid = pid;
        c->token = header + 7;
        r = finalize(c, &err);
        if (r == CHASSIS_NOT_FOUND) { /* the key may not have arrived here */
            c->read.executor = c->sd->options.readers;
            c->read.done = finalize_refreshed;
            chassis_consensus_read(c->sd->options.consensus, &c->read);
            return;
        }
    }
    if (r != 0) {
        chassis_call_fail_error(call, &err);
    }
}

struct find {
    struct chassis_view pid;
    struct chassis_call *call;
};

static int reply_process(struct chassis_txn *txn, void *data, struct chassis_error *err)
{
    struct find *find = data;
    struct bp_sd_process process;
    struct chassis_arena *arena = chassis_call_arena(find->call);
    int r = bp_sd_get(txn, find->pid, arena, &process, err);
    if (r == 0) {
        SD(ReportHealthResponse) res = SD_INIT(REPORT_HEALTH_RESPONSE);
        res.process = bp_sd_process_message(arena, &process, 0);
        service_discovery_report_health_reply(find->call, &res);
    }
    return r;
}

/* Applied on the leader; here maybe not yet: read as everybody does. */
struct health_read {
    struct chassis_read read;
    struct find find;
    struct bp_sd *sd;
};

static void health_read_done(struct chassis_read *read)
{
    struct health_read *h = chassis_container_of(read, struct health_read, read);
    if (read->status != 0) {
        chassis_error_code(&read->error, read->status, "read the process");
        chassis_call_fail_error(h->find.call, &read->error);
        return;
    }
    struct chassis_error err = {0};
    if (bp_read(h->sd->options.consensus, reply_process, &h->find, &err) != 0) {
        chassis_call_fail_error(h->find.call, &err);
    }
}

static void reply_health(struct command *c, struct chassis_view result)
{
    struct health_read *h = chassis_arena_zalloc(chassis_call_arena(c->call), sizeof *h);
    if (h == NULL) {
        chassis_call_fail(c->call, CHASSIS_RESOURCE_EXHAUSTED,
                          "the call's memory limit is reached");
        return;
    }
    h->find = (struct find){c->pid, c->call};
    h->sd = c->sd;
    h->read.executor = c->sd->options.readers;
    h->read.done = health_read_done;
    chassis_consensus_read(c->sd->options.consensus, &h->read);
}

static void rpc_report_health(struct chassis_call *call, const SD(ReportHealthRequest) * req)
{
    struct chassis_error err = {0};
    struct bp_sd_set_health set = {
        .actor = bp_sd_actor(call),
        .pid = chassis_view_str(req->pid),
        .reason = chassis_view_str(req->reason),
        .incarnation = req->incarnation,
        .health = (uint32_t)req->health_state,
    };
    int r = check_pid(set.pid, &err);
    if (r == 0 && set.reason.len > BP_SD_REASON_MAX) {
        r = chassis_error_set(&err, CHASSIS_INVALID_ARGUMENT,
                              "the reason has %zu bytes, the limit is %d", set.reason.len,
                              BP_SD_REASON_MAX);
    }
    if (r == 0 && set.health != BP_SD_HEALTHY && set.health != BP_SD_UNHEALTHY) {
        r = chassis_error_set(&err, CHASSIS_INVALID_ARGUMENT, "health_state %u is not one",
                              set.health);
    }
    if (r != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    struct command *c = command_new(call);
    if (c != NULL) {
        c->pid = set.pid;
        propose(c, &bp_sd_layout_set_health, &set, reply_health);
    }
}

static void rpc_watch(struct chassis_call *call, const SD(WatchRequest) * req)
{
    struct bp_sd *sd = chassis_call_data(call);
    struct bp_sd_filter filter;
    struct chassis_error err = {0};
    if (bp_sd_filter_of(req->filter, &filter, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    struct chassis_buf bytes = {0};
    bp_sd_watch_filter(&filter, &bytes);
    struct bp_watch_options options = {
        .feed = &sd->feed,
        .filter = chassis_buf_view(&bytes),
        .begin_with_snapshot = true,
        .encode = bp_sd_encode_batch,
    };
    bp_watch_call_open(call, &options);
    chassis_buf_fini(&bytes);
}

static const struct service_discovery_handlers handlers = {
    .initialize = rpc_initialize,
    .synchronize = {.open = bp_sd_sync_open, .message = bp_sd_sync_message, .end = bp_sd_sync_end},
    .finalize = rpc_finalize,
    .report_health = rpc_report_health,
    .query = bp_sd_rpc_query,
    .watch = rpc_watch,
};

/* Public: who may connect may register (listeners are on loopback unless configured otherwise).
 * Synchronize proves itself by its token; signatures are checked on workers. */
static const struct chassis_method_options options[] = {
    {.method = "Query", .access = CHASSIS_ACCESS_PUBLIC, .idempotent = true},
    {.method = "Watch", .access = CHASSIS_ACCESS_PUBLIC, .never_blocks = true, .idempotent = true},
    {.method = "Initialize", .access = CHASSIS_ACCESS_PUBLIC, .idempotent = true}, /* the nonce */
    {.method = "*", .access = CHASSIS_ACCESS_PUBLIC},
    {0},
};

struct chassis_service bp_sd_service(struct bp_sd *sd)
{
    struct chassis_service service = service_discovery_service(&handlers, sd);
    service.options = options;
    return service;
}
