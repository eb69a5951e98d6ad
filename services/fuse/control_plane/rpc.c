/* The services' tables, a call's way to the loop, and what changes routes. */
#include "rpc.h"

#include <chassis/metrics.h>
#include <stdio.h>
#include <stdlib.h>

#include "convert.h"
#include "shadow.h"

static void run_job(struct chassis_task *task)
{
    struct fuse_job *job = chassis_container_of(task, struct fuse_job, task);
    if (!job->views->ready(job->views->data)) {
        fuse_route_unref(job->route);
        chassis_call_fail(job->call, CHASSIS_UNAVAILABLE,
                          "Fuse has not read all routes and processes from Blueprint yet");
        return;
    }
    job->run(job);
}

struct fuse_job *fuse_job_new(struct chassis_call *call, const void *request,
                              void (*run)(struct fuse_job *job))
{
    struct fuse_job *job = chassis_arena_zalloc(chassis_call_arena(call), sizeof *job);
    if (job == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return NULL;
    }
    job->task.run = run_job;
    job->call = call;
    job->views = chassis_call_data(call);
    job->request = request;
    job->run = run;
    return job;
}

void fuse_job_start(struct fuse_job *job)
{
    chassis_post(job->views->loop, &job->task);
}

static const char *actor_of(const struct fuse_job *job)
{
    return chassis_call_peer(job->call)->actor;
}

/* ---- a route that was sent: conversion ---- */

typedef NET(Route) route_message;

/* What it lacks is known of its sender, if that is a registered process: on the loop. */
static bool needs_its_sender(const route_message *m, struct chassis_call *call)
{
    bool has_target =
        m->n_targets != 0 ||
        (m->endpoint != NULL && (m->endpoint->host[0] != '\0' || m->endpoint->port != 0));
    return chassis_call_peer(call)->process[0] != '\0' && (m->name[0] == '\0' || !has_target);
}

static void convert(struct fuse_job *job, const route_message *message, bool ask_sender)
{
    struct fuse_route_defaults defaults = {"", ""};
    char name[FUSE_NAME_MAX * 2 + 2];
    const char *pid = chassis_call_peer(job->call)->process;
    const struct fuse_instance *sender =
        ask_sender ? fuse_model_instance(job->views->model, pid) : NULL;
    if (sender != NULL) {
        bool has_group = sender->group[0] != '\0';
        snprintf(name, sizeof name, "%s%s%s", sender->group, has_group ? "-" : "", sender->service);
        defaults = (struct fuse_route_defaults){name, sender->service};
    }
    job->route = fuse_route_of_message(message, &defaults, job->problems);
}

static int begin(struct fuse_job *job, const route_message *message)
{
    job->problems = chassis_arena_zalloc(chassis_call_arena(job->call), sizeof *job->problems);
    if (job->problems == NULL) {
        chassis_call_fail(job->call, CHASSIS_RESOURCE_EXHAUSTED,
                          "the call's memory limit is reached");
        return CHASSIS_RESOURCE_EXHAUSTED;
    }
    if (message == NULL) {
        fuse_problem_error(job->problems, "route", "is missing");
    } else if (!needs_its_sender(message, job->call)) {
        convert(job, message, false); /* here, not on the loop */
    }
    return 0;
}

/* On the loop. False when the route is refused. */
static bool converted(struct fuse_job *job, const route_message *message)
{
    if (job->route == NULL && job->problems->n_errors == 0) {
        convert(job, message, true);
    }
    return job->route != NULL;
}

static void route_done(struct fuse_job *job)
{
    fuse_route_unref(job->route);
    job->route = NULL;
}

/* ---- AddRoute ---- */

static char **problem_texts(struct chassis_arena *arena, const struct fuse_problems *const *lists,
                            unsigned n_lists, size_t *ret_n)
{
    char **texts = chassis_arena_alloc(arena, n_lists * FUSE_PROBLEMS_MAX * sizeof *texts);
    size_t n = 0;
    for (unsigned k = 0; k < n_lists; k++) {
        for (unsigned i = 0; i < lists[k]->n; i++) {
            const struct fuse_problem *p = &lists[k]->items[i];
            texts[n++] = chassis_arena_printf(arena, "%s%s%s", p->field,
                                              p->field[0] != '\0' ? ": " : "", p->text);
        }
    }
    *ret_n = n;
    return texts;
}

static void reply_added(struct fuse_job *job, const char *name, bool ok, uint64_t version,
                        const struct fuse_problems *more)
{
    struct chassis_arena arena;
    const struct fuse_problems *lists[] = {job->problems, more};
    NET(AddRouteResponse) res = NET_INIT(ADD_ROUTE_RESPONSE);
    chassis_arena_init(&arena, NULL, 0, 0);
    res.code = ok ? CORE__CONTROL_PLANE__NETWORKING__V1__ADD_ROUTE_RESPONSE_CODE__OK
                  : CORE__CONTROL_PLANE__NETWORKING__V1__ADD_ROUTE_RESPONSE_CODE__INVALID_REQUEST;
    res.name = chassis_arena_strdup(&arena, name);
    res.version = version;
    res.problems = problem_texts(&arena, lists, more != NULL ? 2 : 1, &res.n_problems);
    route_done(job);
    networking_add_route_reply(job->call, &res);
    chassis_arena_fini(&arena);
}

static void on_added(const struct fuse_result *result, void *data)
{
    struct fuse_job *job = data;
    if (result->code == 0 || result->code == CHASSIS_INVALID_ARGUMENT) {
        reply_added(job, job->route->name, result->code == 0, result->version, result->problems);
    } else {
        route_done(job);
        chassis_call_fail_error(job->call, result->err);
    }
}

static void run_add(struct fuse_job *job)
{
    const NET(AddRouteRequest) *req = job->request;
    if (!converted(job, req->route)) {
        const struct fuse_problem *first = &job->problems->items[0];
        chassis_log_warn(job->views->log, "route refused",
                         chassis_f_str("route", req->route != NULL ? req->route->name : ""),
                         chassis_f_str("actor", actor_of(job)),
                         chassis_f_str("field", first->field), chassis_f_str("text", first->text));
        chassis_counter_add(chassis_counter("fuse_route_refusals_total",
                                            "Changes of routes that were refused or failed.", NULL,
                                            0),
                            1);
        reply_added(job, req->route != NULL ? req->route->name : "", false, 0, NULL);
        return;
    }
    bool has_expected =
        req->_expected_version_case ==
        CORE__CONTROL_PLANE__NETWORKING__V1__ADD_ROUTE_REQUEST___EXPECTED_VERSION_EXPECTED_VERSION;
    fuse_controller_add(job->views->controller, job->route,
                        has_expected ? &req->expected_version : NULL, actor_of(job), on_added, job);
}

static void add_route(struct chassis_call *call, const NET(AddRouteRequest) * req)
{
    struct fuse_job *job = fuse_job_new(call, req, run_add);
    if (job != NULL && begin(job, req->route) == 0) {
        fuse_job_start(job);
    }
}

/* ---- Validate ---- */

static void run_validate(struct fuse_job *job)
{
    const ROUTING(ValidateRequest) *req = job->request;
    struct chassis_arena arena;
    ROUTING(ValidateResponse) res = ROUTING_INIT(VALIDATE_RESPONSE);
    if (converted(job, req->route)) {
        fuse_shadow_check(job->views->model, job->route, job->problems);
    }
    chassis_arena_init(&arena, NULL, 0, 0);
    res.problems = fuse_message_problems(&arena, job->problems, &res.n_problems);
    route_done(job);
    routing_validate_reply(job->call, &res);
    chassis_arena_fini(&arena);
}

static void validate(struct chassis_call *call, const ROUTING(ValidateRequest) * req)
{
    struct fuse_job *job = fuse_job_new(call, req, run_validate);
    if (job != NULL && begin(job, req->route) == 0) {
        fuse_job_start(job);
    }
}

/* ---- DeleteRoute, Rollback ---- */

static void on_deleted(const struct fuse_result *result, void *data)
{
    struct fuse_job *job = data;
    NET(DeleteRouteResponse) res = NET_INIT(DELETE_ROUTE_RESPONSE);
    if (result->code != 0) {
        chassis_call_fail_error(job->call, result->err);
        return;
    }
    res.code = CORE__CONTROL_PLANE__NETWORKING__V1__DELETE_ROUTE_CODE__DELETE_ROUTE_OK;
    res.version = result->version;
    networking_delete_route_reply(job->call, &res);
}

static void run_delete(struct fuse_job *job)
{
    const NET(DeleteRouteRequest) *req = job->request;
    bool has_expected =
        req->_expected_version_case ==
        CORE__CONTROL_PLANE__NETWORKING__V1__DELETE_ROUTE_REQUEST___EXPECTED_VERSION_EXPECTED_VERSION;
    fuse_controller_delete(job->views->controller, req->name,
                           has_expected ? &req->expected_version : NULL, actor_of(job), on_deleted,
                           job);
}

/* False after failing the call: names that no route can have reach no store. */
static bool check_name(struct chassis_call *call, const char *name)
{
    const char *problem = fuse_check_name(name);
    if (problem != NULL) {
        chassis_call_fail(call, CHASSIS_INVALID_ARGUMENT, "name '%.160s': %s", name, problem);
    }
    return problem == NULL;
}

static void delete_route(struct chassis_call *call, const NET(DeleteRouteRequest) * req)
{
    struct fuse_job *job = check_name(call, req->name) ? fuse_job_new(call, req, run_delete) : NULL;
    if (job != NULL) {
        fuse_job_start(job);
    }
}

static void on_rolled_back(const struct fuse_result *result, void *data)
{
    struct fuse_job *job = data;
    struct chassis_arena arena;
    ROUTING(RollbackResponse) res = ROUTING_INIT(ROLLBACK_RESPONSE);
    if (result->code != 0 && result->code != CHASSIS_INVALID_ARGUMENT) {
        chassis_call_fail_error(job->call, result->err);
        return;
    }
    chassis_arena_init(&arena, NULL, 0, 0);
    res.version = result->version;
    res.problems = fuse_message_problems(&arena, result->problems, &res.n_problems);
    routing_rollback_reply(job->call, &res);
    chassis_arena_fini(&arena);
}

static void run_rollback(struct fuse_job *job)
{
    const ROUTING(RollbackRequest) *req = job->request;
    fuse_controller_rollback(job->views->controller, req->name, req->to_version, actor_of(job),
                             on_rolled_back, job);
}

static void rollback(struct chassis_call *call, const ROUTING(RollbackRequest) * req)
{
    struct fuse_job *job =
        check_name(call, req->name) ? fuse_job_new(call, req, run_rollback) : NULL;
    if (job != NULL) {
        fuse_job_start(job);
    }
}

/* ---- life ---- */

static void on_model_changed(void *data, const struct fuse_change *change)
{
    fuse_watches_changed(data, change);
    fuse_leavers_changed(data, change);
}

void fuse_views_init(struct fuse_views *views)
{
    chassis_list_init(&views->watches);
    chassis_list_init(&views->leavers);
    views->draining = false;
    fuse_model_listen(views->model, &(struct fuse_model_listener){on_model_changed, views});
}

void fuse_views_drain(struct fuse_views *views)
{
    views->draining = true;
    fuse_watches_drain(views);
    fuse_leavers_drain(views);
}

/* ---- tables ---- */

static const struct networking_handlers networking = {
    .add_route = add_route,
    .list_routes = fuse_rpc_list_routes,
    .delete_route = delete_route,
};

/* Routes decide where everybody's requests go: callers are registered processes or operators. What is
 * sent is checked on workers, for its regular expressions are compiled. */
static const struct chassis_method_options networking_options[] = {
    {.method = "AddRoute", .access = CHASSIS_ACCESS_SERVICE, .idempotent = true},
    {.method = "ListRoutes",
     .access = CHASSIS_ACCESS_SERVICE,
     .never_blocks = true,
     .idempotent = true},
    {.method = "*", .access = CHASSIS_ACCESS_SERVICE, .never_blocks = true},
    {0},
};

struct chassis_service fuse_networking_service(struct fuse_views *views)
{
    struct chassis_service service = networking_service(&networking, views);
    service.options = networking_options;
    return service;
}

static const struct routing_handlers routing = {
    .get_route = fuse_rpc_get_route,
    .watch = fuse_rpc_watch,
    .history = fuse_rpc_history,
    .diff = fuse_rpc_diff,
    .rollback = rollback,
    .explain = fuse_rpc_explain,
    .validate = validate,
    .list_proxies = fuse_rpc_list_proxies,
    .get_proxy = fuse_rpc_get_proxy,
    .await_withdrawn = fuse_rpc_await_withdrawn,
};

static const struct chassis_method_options routing_options[] = {
    {.method = "Rollback", .access = CHASSIS_ACCESS_SERVICE, .never_blocks = true, .rare = true},
    {.method = "Validate", .access = CHASSIS_ACCESS_SERVICE, .idempotent = true, .rare = true},
    {.method = "*",
     .access = CHASSIS_ACCESS_SERVICE,
     .never_blocks = true,
     .idempotent = true,
     .rare = true},
    {0},
};

struct chassis_service fuse_routing_service(struct fuse_views *views)
{
    struct chassis_service service = routing_service(&routing, views);
    service.options = routing_options;
    return service;
}
