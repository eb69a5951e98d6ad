/* Explain: which route a request takes, which not and why. */
#include <ctype.h>
#include <string.h>

#include "decide.h"
#include "rpc.h"

enum { HEADERS_MAX = 128, TEXT_MAX = 8192 };

/* NULL when it is longer than any proxy takes. */
static char *lower(struct chassis_arena *arena, const char *text)
{
    if (strlen(text) > TEXT_MAX) {
        return NULL;
    }
    char *copy = chassis_arena_strdup(arena, text);
    for (char *c = copy; *c != '\0'; c++) {
        *c = (char)tolower((unsigned char)*c);
    }
    return copy;
}

/* Without ":port", which proxies leave out of the comparison. */
static void strip_port(char *host)
{
    char *colon = strrchr(host, ':');
    const char *bracket = strrchr(host, ']');
    if (colon != NULL && (bracket != NULL ? colon > bracket : strchr(host, ':') == colon)) {
        *colon = '\0';
    }
}

static int request_of(const ROUTING(ExplainRequest) * req, struct chassis_arena *arena,
                      struct fuse_request *ret_request, struct chassis_error *err)
{
    struct fuse_request r = {.method = req->method[0] != '\0' ? req->method : "GET",
                             .path = req->path};
    char *host = lower(arena, req->host);
    if (req->path[0] != '/' || strlen(req->path) > TEXT_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "path: begins with '/', at most %d bytes", TEXT_MAX);
    }
    if (host == NULL || req->n_headers > HEADERS_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 host == NULL ? "host: at most %d bytes" : "headers: at most %d",
                                 host == NULL ? TEXT_MAX : HEADERS_MAX);
    }
    strip_port(host);
    struct fuse_header *headers = chassis_arena_alloc(arena, (HEADERS_MAX + 1) * sizeof *headers);
    for (size_t i = 0; i < req->n_headers; i++) {
        headers[i].name = lower(arena, req->headers[i]->name);
        headers[i].value = req->headers[i]->value;
        if (headers[i].name == NULL || strlen(headers[i].value) > TEXT_MAX) {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                     "headers[%zu]: at most %d bytes", i, TEXT_MAX);
        }
    }
    r.host = host;
    r.headers = headers;
    r.n_headers = (unsigned)req->n_headers;
    *ret_request = r;
    return 0;
}

static void reply(struct fuse_job *job, const struct fuse_decision *decision,
                  struct chassis_arena *arena)
{
    ROUTING(ExplainResponse) res = ROUTING_INIT(EXPLAIN_RESPONSE);
    res.verdicts = chassis_arena_alloc(arena, (decision->n_verdicts + 1) * sizeof *res.verdicts);
    for (unsigned i = 0; i < decision->n_verdicts; i++) {
        const struct fuse_verdict *v = &decision->verdicts[i];
        ROUTING(Verdict) *verdict = chassis_arena_alloc(arena, sizeof *verdict);
        draft__routing__v1__verdict__init(verdict);
        verdict->route = (char *)(uintptr_t)v->entry->route->name;
        verdict->version = v->entry->version;
        verdict->outcome = (ROUTING(Verdict__Outcome))v->outcome;
        verdict->reason = (char *)(uintptr_t)(v->reason != NULL ? v->reason : "");
        res.verdicts[res.n_verdicts++] = verdict;
    }
    res.virtual_host = (char *)(uintptr_t)decision->host;
    if (decision->winner != NULL) {
        const struct fuse_route *route = decision->winner->route;
        res.winner = (char *)(uintptr_t)route->name;
        res.targets = fuse_message_targets(arena, job->views->model, route, &res.n_targets);
        res.rewritten_path = (char *)(uintptr_t)decision->rewritten_path;
    }
    routing_explain_reply(job->call, &res);
}

static void run_explain(struct fuse_job *job)
{
    const ROUTING(ExplainRequest) *req = job->request;
    struct fuse_views *views = job->views;
    struct fuse_request request;
    struct fuse_decision decision = {0};
    struct chassis_error err = {0};
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    if (request_of(req, &arena, &request, &err) != 0) {
        chassis_call_fail_error(job->call, &err);
        chassis_arena_fini(&arena);
        return;
    }
    struct fuse_view *known = views->view(views->data, req->group);
    struct fuse_view *view = known != NULL ? known : fuse_view_new(views->model, req->group);
    fuse_decide_explain(view, req->listener[0] != '\0' ? req->listener : "default", &request,
                        &arena, &decision);
    reply(job, &decision, &arena);
    if (known == NULL) {
        fuse_view_free(view);
    }
    chassis_arena_fini(&arena);
}

void fuse_rpc_explain(struct chassis_call *call, const ROUTING(ExplainRequest) * req)
{
    struct fuse_job *job = fuse_job_new(call, req, run_explain);
    if (job != NULL) {
        fuse_job_start(job);
    }
}
