/* Watch: routes as they are, then every change; what a slow client costs is a name.
 *
 *   LISTING ──all sent, SYNCED──▶ LIVE ──a change cannot be sent──▶ BEHIND
 *      ▲ │ queue full: goes on when it is not        (changes are not looked at)
 *      │ └─────────────────────────────────────────────────┐  │ room again
 *      └───────────────── RESYNC ◀─────────────────────────┴──┘
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "rpc.h"

enum {
    ROWS_PER_TURN = 32,   /* then others have the loop */
    PROBLEMS_UP_TO = 1000 /* routes: with more the loop has better to do than to compare them all */
};

enum state {
    LISTING,
    LIVE,
    BEHIND,
};
struct watch {
    struct chassis_list link;
    struct chassis_call *call; /* NULL once it was ended */
    struct fuse_views *views;
    enum state state;
    bool full;                      /* the client's queue: waiting for room */
    char only[FUSE_NAME_MAX + 1];   /* the one route; "" = all */
    char cursor[FUSE_NAME_MAX + 1]; /* LISTING: everything up to this name has been sent */
    struct chassis_timer next_turn;
    struct chassis_task cancel, writable;
    /* Set by callbacks, which the call waits for when it is ended: after that only these tasks keep
     * the memory. */
    atomic_bool cancel_posted, writable_posted;
};

static void release(struct watch *w)
{
    if (w->call == NULL && !atomic_load(&w->cancel_posted) && !atomic_load(&w->writable_posted)) {
        free(w);
    }
}

/* The call is the caller's to end. */
static struct chassis_call *take_call(struct watch *w)
{
    struct chassis_call *call = w->call;
    w->call = NULL;
    chassis_list_remove(&w->link);
    chassis_cancel(w->views->loop, &w->next_turn);
    return call;
}

static bool send_event(struct watch *w, ROUTING(RouteEvent__Type) type, ROUTING(RouteState) * state)
{
    ROUTING(RouteEvent) event = ROUTING_INIT(ROUTE_EVENT);
    event.type = type;
    event.state = state;
    int rc = chassis_call_send(w->call, &event);
    w->full = rc != 0; /* cancelled: that task is on its way */
    return rc == 0;
}

static bool send_entry(struct watch *w, ROUTING(RouteEvent__Type) type,
                       const struct fuse_entry *entry)
{
    struct chassis_arena arena;
    unsigned with = fuse_model_n_routes(w->views->model) <= PROBLEMS_UP_TO ? FUSE_WITH_PROBLEMS : 0;
    chassis_arena_init(&arena, NULL, 0, 0);
    bool sent = send_event(w, type, fuse_message_state(&arena, w->views, entry, with));
    chassis_arena_fini(&arena);
    return sent;
}

/* ---- listing ---- */

struct turn {
    struct watch *watch;
    unsigned rows;
    bool more;
};

static bool list_row(const struct fuse_entry *entry, void *data)
{
    struct turn *turn = data;
    struct watch *w = turn->watch;
    if (turn->rows == ROWS_PER_TURN) {
        turn->more = true;
        return false;
    }
    if (!send_entry(w, DRAFT__ROUTING__V1__ROUTE_EVENT__TYPE__ADDED, entry)) {
        turn->more = true;
        return false;
    }
    snprintf(w->cursor, sizeof w->cursor, "%s", entry->route->name);
    turn->rows++;
    return true;
}

static void list_on(struct watch *w)
{
    struct turn turn = {.watch = w};
    const struct fuse_model *model = w->views->model;
    if (w->only[0] == '\0') {
        fuse_model_each_route_after(model, w->cursor, list_row, &turn);
    } else if (w->cursor[0] == '\0' && fuse_model_route(model, w->only) != NULL) {
        (void)list_row(fuse_model_route(model, w->only), &turn);
    }
    if (w->full) {
        return;
    }
    if (turn.more) {
        chassis_post_after(w->views->loop, &w->next_turn, 0);
    } else if (send_event(w, DRAFT__ROUTING__V1__ROUTE_EVENT__TYPE__SYNCED, NULL)) {
        w->state = LIVE;
    }
}

static void on_next_turn(struct chassis_timer *timer)
{
    list_on(chassis_container_of(timer, struct watch, next_turn));
}

static void begin_anew(struct watch *w)
{
    if (send_event(w, DRAFT__ROUTING__V1__ROUTE_EVENT__TYPE__RESYNC, NULL)) {
        w->state = LISTING;
        w->cursor[0] = '\0';
        list_on(w);
    }
}

/* ---- changes ---- */

static void tell(struct watch *w, const struct fuse_entry *before, const struct fuse_entry *after)
{
    const char *name = after != NULL ? after->route->name : before->route->name;
    bool listed_later = w->state == LISTING && strcmp(name, w->cursor) > 0;
    if (w->state == BEHIND || listed_later || (w->only[0] != '\0' && strcmp(w->only, name) != 0)) {
        return;
    }
    bool sent;
    if (w->full) {
        sent = false;
    } else if (after != NULL) {
        sent = send_entry(w,
                          before != NULL ? DRAFT__ROUTING__V1__ROUTE_EVENT__TYPE__CHANGED
                                         : DRAFT__ROUTING__V1__ROUTE_EVENT__TYPE__ADDED,
                          after);
    } else {
        ROUTING(RouteState) state = ROUTING_INIT(ROUTE_STATE);
        NET(Route) route = NET_INIT(ROUTE);
        route.name = (char *)(uintptr_t)name;
        state.route = &route;
        state.version = fuse_model_revision(w->views->model);
        sent = send_event(w, DRAFT__ROUTING__V1__ROUTE_EVENT__TYPE__DELETED, &state);
    }
    if (!sent) {
        w->state = BEHIND;
        chassis_cancel(w->views->loop, &w->next_turn);
    }
}

static void tell_all(struct fuse_views *views, const struct fuse_entry *before,
                     const struct fuse_entry *after)
{
    chassis_list_foreach (it, &views->watches) {
        tell(chassis_list_entry(it, struct watch, link), before, after);
    }
}

void fuse_watches_changed(struct fuse_views *views, const struct fuse_change *change)
{
    if (change->before != NULL || change->after != NULL) {
        tell_all(views, change->before, change->after);
    }
}

void fuse_views_quarantined(struct fuse_views *views, const char *route)
{
    const struct fuse_entry *entry = fuse_model_route(views->model, route);
    if (entry != NULL) {
        tell_all(views, entry, entry);
    }
}

/* ---- the call ---- */

static void run_cancel(struct chassis_task *task)
{
    struct watch *w = chassis_container_of(task, struct watch, cancel);
    atomic_store(&w->cancel_posted, false);
    if (w->call != NULL) {
        chassis_call_fail(take_call(w), CHASSIS_CANCELLED, "the client went away");
    }
    release(w);
}

static void run_writable(struct chassis_task *task)
{
    struct watch *w = chassis_container_of(task, struct watch, writable);
    atomic_store(&w->writable_posted, false);
    if (w->call == NULL) {
        release(w);
        return;
    }
    if (!w->full) {
        return;
    }
    w->full = false;
    if (w->state == BEHIND) {
        begin_anew(w);
    } else if (w->state == LISTING) {
        list_on(w);
    }
}

static void on_cancel(struct chassis_call *call, void *data)
{
    struct watch *w = data;
    if (!atomic_exchange(&w->cancel_posted, true)) {
        chassis_post(w->views->loop, &w->cancel);
    }
}

static void on_writable(struct chassis_call *call, void *data)
{
    struct watch *w = data;
    if (!atomic_exchange(&w->writable_posted, true)) {
        chassis_post(w->views->loop, &w->writable);
    }
}

static void end_for_drain(struct chassis_call *call)
{
    chassis_call_fail(call, CHASSIS_SHUTTING_DOWN, "Fuse is shutting down: watch at another");
}

static void run_watch(struct fuse_job *job)
{
    const ROUTING(WatchRequest) *req = job->request;
    struct fuse_views *views = job->views;
    if (views->draining) {
        end_for_drain(job->call);
        return;
    }
    struct watch *w = chassis_base_zalloc(sizeof *w);
    w->call = job->call;
    w->views = views;
    snprintf(w->only, sizeof w->only, "%s", req->name);
    w->next_turn.run = on_next_turn;
    w->cancel.run = run_cancel;
    w->writable.run = run_writable;
    chassis_list_append(&views->watches, &w->link);
    /* From here on the client's going away is a task behind this one. */
    chassis_call_on_writable(w->call, on_writable, w);
    chassis_call_on_cancel(w->call, on_cancel, w);
    list_on(w);
}

void fuse_rpc_watch(struct chassis_call *call, const ROUTING(WatchRequest) * req)
{
    const char *problem = req->name[0] != '\0' ? fuse_check_name(req->name) : NULL;
    if (problem != NULL) {
        chassis_call_fail(call, CHASSIS_INVALID_ARGUMENT, "name '%.160s': %s", req->name, problem);
        return;
    }
    struct fuse_job *job = fuse_job_new(call, req, run_watch);
    if (job != NULL) {
        fuse_job_start(job);
    }
}

void fuse_watches_drain(struct fuse_views *views)
{
    while (!chassis_list_empty(&views->watches)) {
        struct watch *w = chassis_list_entry(views->watches.next, struct watch, link);
        end_for_drain(take_call(w));
        release(w);
    }
}
