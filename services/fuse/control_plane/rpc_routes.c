/* Reading routes: lists, one route, its versions. */
#include <chassis/message.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "diff.h"
#include "proto/wire.h"
#include "record.h"
#include "rpc.h"

/* ---- ListRoutes: the bytes of the routes, one after the other ---- */

struct list {
    struct chassis_buf out;
    uint32_t limit, n;
    const char *last;
    bool more;
};

static bool add_route(const struct fuse_entry *entry, void *data)
{
    struct list *list = data;
    struct chassis_view encoded = entry->route->encoded;
    enum { ROUTES = 1 }; /* of ListRoutesResponse */
    if ((list->limit != 0 && list->n == list->limit) ||
        (list->n != 0 && list->out.len + encoded.len > FUSE_ANSWER_MAX)) {
        list->more = true;
        return false;
    }
    wire_append_tag(&list->out, ROUTES, WIRE_BYTES);
    chassis_buf_append_varint(&list->out, encoded.len);
    chassis_buf_append_view(&list->out, encoded);
    list->last = entry->route->name;
    list->n++;
    return true;
}

static void run_list(struct fuse_job *job)
{
    const NET(ListRoutesRequest) *req = job->request;
    enum { NEXT_PAGE_TOKEN = 100 };
    struct list list = {.limit = req->limit};
    fuse_model_each_route_after(job->views->model, req->page_token, add_route, &list);
    if (list.more && req->limit == 0) {
        chassis_buf_fini(&list.out);
        chassis_call_fail(job->call, CHASSIS_RESOURCE_EXHAUSTED,
                          "%u routes take more than %d bytes, the limit of an answer: ask with "
                          "limit, then go on with next_page_token",
                          fuse_model_n_routes(job->views->model), FUSE_ANSWER_MAX);
        return;
    }
    if (list.more) {
        wire_append_tag(&list.out, NEXT_PAGE_TOKEN, WIRE_BYTES);
        chassis_buf_append_varint(&list.out, strlen(list.last));
        chassis_buf_append_str(&list.out, list.last);
    }
    chassis_call_reply_bytes(job->call, chassis_buf_view(&list.out));
    chassis_buf_fini(&list.out);
}

void fuse_rpc_list_routes(struct chassis_call *call, const NET(ListRoutesRequest) * req)
{
    struct fuse_job *job = fuse_job_new(call, req, run_list);
    if (job != NULL) {
        fuse_job_start(job);
    }
}

/* ---- GetRoute ---- */

/* Who asked for this version; the route's own record says which Fuse wrote it. */
static const char *actor_of(const struct fuse_stored_version *versions, unsigned n,
                            uint64_t version, struct chassis_arena *arena)
{
    struct fuse_record record;
    for (unsigned i = 0; i < n; i++) {
        if (versions[i].version == version &&
            fuse_record_decode(versions[i].encoded, &record, NULL) == 0) {
            return chassis_arena_strndup(arena, record.actor.data, record.actor.len);
        }
    }
    return NULL;
}

/* Without the versions (Blueprint is away) what is known here must do. */
static void on_got(int code, const struct chassis_error *err,
                   const struct fuse_stored_version *versions, unsigned n, void *data)
{
    struct fuse_job *job = data;
    const ROUTING(GetRouteRequest) *req = job->request;
    const struct fuse_entry *entry = fuse_model_route(job->views->model, req->name);
    struct chassis_arena arena;
    if (entry == NULL) {
        chassis_call_fail(job->call, CHASSIS_NOT_FOUND, "there is no route '%.160s'", req->name);
        return;
    }
    chassis_arena_init(&arena, NULL, 0, 0);
    ROUTING(RouteState) *state =
        fuse_message_state(&arena, job->views, entry, FUSE_WITH_PROBLEMS | FUSE_WITH_TARGETS);
    const char *actor = actor_of(versions, code == 0 ? n : 0, entry->version, &arena);
    state->actor = (char *)(uintptr_t)(actor != NULL ? actor : entry->actor);
    routing_get_route_reply(job->call, state);
    chassis_arena_fini(&arena);
}

static void run_get(struct fuse_job *job)
{
    const ROUTING(GetRouteRequest) *req = job->request;
    struct fuse_store *store = job->views->store;
    if (fuse_model_route(job->views->model, req->name) == NULL) {
        chassis_call_fail(job->call, CHASSIS_NOT_FOUND, "there is no route '%.160s'", req->name);
        return;
    }
    store->ops->versions(store, req->name, on_got, job);
}

void fuse_rpc_get_route(struct chassis_call *call, const ROUTING(GetRouteRequest) * req)
{
    struct fuse_job *job = fuse_job_new(call, req, run_get);
    if (job != NULL) {
        fuse_job_start(job);
    }
}

/* ---- History and Diff ---- */

static bool versions_failed(struct fuse_job *job, int code, const struct chassis_error *err,
                            unsigned n, const char *name)
{
    if (code != 0) {
        chassis_call_fail_error(job->call, err);
    } else if (n == 0) {
        chassis_call_fail(job->call, CHASSIS_NOT_FOUND,
                          "there is no route '%s', and no version of one", name);
    }
    return code != 0 || n == 0;
}

static ROUTING(RouteVersion) * version_message(struct fuse_job *job,
                                               const struct fuse_stored_version *stored,
                                               struct chassis_arena *arena)
{
    ROUTING(RouteVersion) * message;
    struct chassis_error err = {0};
    if (draft__routing__v1__route_version__decode(stored->encoded, arena, &message, &err) != 0) {
        chassis_log_error(job->views->log, "a version of a route cannot be read",
                          chassis_f_u64("version", stored->version), chassis_f_err(&err));
        return NULL;
    }
    message->version = stored->version;
    return message;
}

static void on_history(int code, const struct chassis_error *err,
                       const struct fuse_stored_version *versions, unsigned n, void *data)
{
    struct fuse_job *job = data;
    const ROUTING(HistoryRequest) *req = job->request;
    if (versions_failed(job, code, err, n, req->name)) {
        return;
    }
    struct chassis_arena arena;
    ROUTING(HistoryResponse) res = ROUTING_INIT(HISTORY_RESPONSE);
    size_t bytes = 0;
    chassis_arena_init(&arena, NULL, 0, 0);
    n = req->limit != 0 && req->limit < n ? req->limit : n;
    res.versions = chassis_arena_alloc(&arena, n * sizeof *res.versions);
    for (unsigned i = 0; i < n && bytes + versions[i].encoded.len <= FUSE_ANSWER_MAX; i++) {
        ROUTING(RouteVersion) *version = version_message(job, &versions[i], &arena);
        bytes += versions[i].encoded.len + 16;
        if (version != NULL) {
            res.versions[res.n_versions++] = version;
        }
    }
    routing_history_reply(job->call, &res);
    chassis_arena_fini(&arena);
}

static void run_history(struct fuse_job *job)
{
    struct fuse_store *store = job->views->store;
    const ROUTING(HistoryRequest) *req = job->request;
    store->ops->versions(store, req->name, on_history, job);
}

/* Which of the versions; n when it is not among them. */
static unsigned place_of(const struct fuse_stored_version *versions, unsigned n, uint64_t version)
{
    unsigned i = 0;
    while (i < n && versions[i].version != version) {
        i++;
    }
    return i;
}

/* A deleted route's content is none. */
static const ProtobufCMessage *content_of(const ROUTING(RouteVersion) * version)
{
    bool none = version == NULL || version->route == NULL ||
                version->change == DRAFT__ROUTING__V1__ROUTE_VERSION__CHANGE__DELETED;
    return none ? NULL : &version->route->base;
}

static void reply_diff(struct fuse_job *job, const struct fuse_stored_version *from,
                       const struct fuse_stored_version *to)
{
    struct chassis_arena arena;
    ROUTING(DiffResponse) res = ROUTING_INIT(DIFF_RESPONSE);
    chassis_arena_init(&arena, NULL, 0, 0);
    struct fuse_differences found = {.arena = &arena};
    fuse_diff(content_of(from != NULL ? version_message(job, from, &arena) : NULL),
              content_of(version_message(job, to, &arena)), &found);
    res.from_version = from != NULL ? from->version : 0;
    res.to_version = to->version;
    res.changes = chassis_arena_alloc(&arena, (found.n + 1) * sizeof *res.changes);
    for (unsigned i = 0; i < found.n; i++) {
        ROUTING(FieldChange) *change = chassis_arena_alloc(&arena, sizeof *change);
        draft__routing__v1__field_change__init(change);
        change->field = (char *)(uintptr_t)found.items[i].field;
        change->from = (char *)(uintptr_t)found.items[i].from;
        change->to = (char *)(uintptr_t)found.items[i].to;
        res.changes[res.n_changes++] = change;
    }
    routing_diff_reply(job->call, &res);
    chassis_arena_fini(&arena);
}

static void on_diff(int code, const struct chassis_error *err,
                    const struct fuse_stored_version *versions, unsigned n, void *data)
{
    struct fuse_job *job = data;
    const ROUTING(DiffRequest) *req = job->request;
    if (versions_failed(job, code, err, n, req->name)) {
        return;
    }
    unsigned to = req->to_version != 0 ? place_of(versions, n, req->to_version) : 0;
    unsigned from = req->from_version != 0 ? place_of(versions, n, req->from_version) : to + 1;
    if (to >= n || (from >= n && req->from_version != 0)) {
        chassis_call_fail(job->call, CHASSIS_NOT_FOUND,
                          "version %llu of route '%s' is not among the %u that are kept",
                          (unsigned long long)(to >= n ? req->to_version : req->from_version),
                          req->name, n);
        return;
    }
    reply_diff(job, from < n ? &versions[from] : NULL, &versions[to]);
}

static void run_diff(struct fuse_job *job)
{
    struct fuse_store *store = job->views->store;
    const ROUTING(DiffRequest) *req = job->request;
    store->ops->versions(store, req->name, on_diff, job);
}

static void start_checked(struct chassis_call *call, const void *req, const char *name,
                          void (*run)(struct fuse_job *job))
{
    const char *problem = fuse_check_name(name);
    if (problem != NULL) {
        chassis_call_fail(call, CHASSIS_INVALID_ARGUMENT, "name '%.160s': %s", name, problem);
        return;
    }
    struct fuse_job *job = fuse_job_new(call, req, run);
    if (job != NULL) {
        fuse_job_start(job);
    }
}

void fuse_rpc_history(struct chassis_call *call, const ROUTING(HistoryRequest) * req)
{
    start_checked(call, req, req->name, run_history);
}

void fuse_rpc_diff(struct chassis_call *call, const ROUTING(DiffRequest) * req)
{
    start_checked(call, req, req->name, run_diff);
}
