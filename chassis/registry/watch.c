/* Names to endpoints: one Watch stream per name, shared by all who ask for it.
 *
 *   opened ──JOINED*──▶ filling `next` ──SYNCED──▶ `next` becomes `view`, told ──events──▶ told
 *     ▲                        ▲                                                 │
 *     │                        └──────────────── RESYNC ◀────────────────────────┤
 *     └── backoff, next node; `view` stays as it was ◀──────── closed ───────────┘
 */
#include <stdio.h>

#include "registry/internal.h"

struct chassis_resolution {
    struct chassis_list link; /* in the watch's users; empty before and after */
    struct registry_watch *watch;
    struct chassis_registry *registry;
    char *name;
    chassis_endpoints_cb update;
    void *data;
    bool stopped; /* with the mutex */
};

static void open_watch(struct registry_watch *w);

static void view_remove(struct registry_view *v, const char *pid)
{
    for (size_t i = 0; i < v->n; i++) {
        if (strcmp(v->items[i].pid, pid) == 0) {
            memmove(&v->items[i], &v->items[i + 1], (v->n - i - 1) * sizeof *v->items);
            v->n--;
            return;
        }
    }
}

/* Kept in order of pid, so that equal sets give equal lists. */
static void view_put(struct registry_view *v, const char *pid, const char *address)
{
    view_remove(v, pid);
    if (v->n == REGISTRY_WATCH_PROCESSES_MAX) {
        return; /* more than one client can use */
    }
    if (v->n == v->cap) {
        v->cap = v->cap != 0 ? v->cap * 2 : 8;
        v->items = chassis_base_realloc(v->items, v->cap * sizeof *v->items);
    }
    size_t at = v->n;
    while (at > 0 && strcmp(v->items[at - 1].pid, pid) > 0) {
        at--;
    }
    memmove(&v->items[at + 1], &v->items[at], (v->n - at) * sizeof *v->items);
    snprintf(v->items[at].pid, sizeof v->items[at].pid, "%s", pid);
    snprintf(v->items[at].address, sizeof v->items[at].address, "%s", address);
    v->n++;
}

static bool usable(const Core__Registry__ServiceDiscovery__V1__Process *p)
{
    return p->running_state ==
               CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_RUNNING_STATE__PROCESS_RUNNING &&
           p->health_state ==
               CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_HEALTH_STATE__PROCESS_HEALTHY &&
           p->ip_address[0] != '\0';
}

/* With the mutex: nobody is told after their stop returned. */
static void tell(struct registry_watch *w, struct chassis_resolution *user)
{
    const struct chassis_endpoint none = {NULL};
    struct chassis_endpoint *endpoints = chassis_base_alloc((w->view.n + 1) * sizeof *endpoints);
    for (size_t i = 0; i < w->view.n; i++) {
        endpoints[i].address = w->view.items[i].address;
    }
    user->update(w->view.n != 0 ? endpoints : &none, w->view.n, w->why, user->data);
    free(endpoints);
}

static void tell_all(struct registry_watch *w)
{
    pthread_mutex_lock(&w->registry->mutex);
    if (w->view.n == 0 && w->synced) {
        snprintf(w->why, sizeof w->why, "no healthy process of '%s' is registered", w->name);
    }
    chassis_list_foreach (it, &w->users) {
        tell(w, chassis_list_entry(it, struct chassis_resolution, link));
    }
    pthread_mutex_unlock(&w->registry->mutex);
}

static void take_process(struct registry_watch *w,
                         const Core__Registry__ServiceDiscovery__V1__Process *p)
{
    struct registry_view *v = w->filling ? &w->next : &w->view;
    if (usable(p)) {
        view_put(v, p->pid, p->ip_address);
    } else {
        view_remove(v, p->pid);
    }
}

static void on_event(struct chassis_client_stream *stream, const void *message,
                     struct chassis_view encoded, void *data)
{
    struct registry_watch *w = data;
    const Core__Registry__ServiceDiscovery__V1__ProcessEvent *event = message;
    if (event == NULL || w->dropped) {
        return;
    }
    switch (event->type) {
    case CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE__JOINED:
    case CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE__CHANGED:
        if (event->process != NULL) {
            take_process(w, event->process);
        }
        break;
    case CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE__LEFT:
    case CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE__EXPIRED:
        if (event->process != NULL) {
            view_remove(w->filling ? &w->next : &w->view, event->process->pid);
        }
        break;
    case CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE__RESYNC:
        w->filling = true;
        w->next.n = 0;
        break;
    case CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE__SYNCED: {
        struct registry_view old = w->view;
        w->view = w->next;
        w->next = old;
        w->next.n = 0;
        w->filling = false;
        w->synced = true;
        w->backoff.attempt = 0;
        break;
    }
    case CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE__INVALID_TYPE:
    case _CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE_IS_INT_SIZE:
    default: /* of a newer Blueprint */
        break;
    }
    if (!w->filling) {
        tell_all(w);
    }
}

static void watch_free(struct registry_watch *w)
{
    chassis_list_remove(&w->link);
    free(w->view.items);
    free(w->next.items);
    free(w->name);
    free(w);
}

static void on_retry(struct chassis_timer *timer)
{
    open_watch(chassis_container_of(timer, struct registry_watch, timer));
}

static void retry(struct registry_watch *w, int code, const char *text)
{
    struct chassis_registry *r = w->registry;
    const char *node = registry_node_address(r, &w->backoff);
    chassis_log_info(r->log, "watch interrupted", chassis_f_str("name", w->name),
                     chassis_f_str("node", node), chassis_f_code(code),
                     chassis_f_str("text", text));
    if (!w->synced) {
        snprintf(w->why, sizeof w->why, "the registry cannot be asked for '%s': %.120s", w->name,
                 text);
        tell_all(w);
    }
    chassis_post_after(r->loop, &w->timer, registry_next_attempt_ns(r, &w->backoff));
}

static void on_watch_closed(struct chassis_client_stream *stream,
                            const struct chassis_reply *status, void *data)
{
    struct registry_watch *w = data;
    struct chassis_registry *r = w->registry;
    w->stream = NULL;
    if (w->dropped) {
        watch_free(w);
    } else if (!r->closing) {
        retry(w, status->code != 0 ? status->code : CHASSIS_UNAVAILABLE,
              status->code != 0 ? status->text : "the node ended the stream");
    }
    registry_done_one(r);
}

static const struct chassis_stream_handlers watch_handlers = {.message = on_event,
                                                              .closed = on_watch_closed};

static void open_watch(struct registry_watch *w)
{
    struct chassis_registry *r = w->registry;
    struct chassis_error err = {0};
    struct chassis_client *client = registry_client(r, &w->backoff, &err);
    Core__Registry__ServiceDiscovery__V1__Filter filter =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__INIT;
    Core__Registry__ServiceDiscovery__V1__WatchRequest req =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__WATCH_REQUEST__INIT;
    filter.attribute_case = CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__ATTRIBUTE_NAME;
    filter.name = w->name;
    req.filter = &filter;
    int rc = client == NULL ? err.code
                            : service_discovery_watch_open(client, &req, NULL, &watch_handlers, w,
                                                           &w->stream, &err);
    if (rc != 0) {
        w->stream = NULL;
        retry(w, rc, err.text);
        return;
    }
    r->in_flight++;
    w->filling = true;
    w->next.n = 0;
}

static struct registry_watch *find_watch(struct chassis_registry *r, const char *name)
{
    chassis_list_foreach (it, &r->watches) {
        struct registry_watch *w = chassis_list_entry(it, struct registry_watch, link);
        if (!w->dropped && strcmp(w->name, name) == 0) {
            return w;
        }
    }
    return NULL;
}

static struct registry_watch *new_watch(struct chassis_registry *r, const char *name)
{
    struct registry_watch *w = chassis_base_zalloc(sizeof *w);
    w->registry = r;
    w->name = chassis_base_strdup(name);
    w->timer.run = on_retry;
    w->backoff.node = r->member.backoff.node;
    chassis_list_init(&w->users);
    chassis_list_append(&r->watches, &w->link);
    return w;
}

static void resolution_free(struct chassis_resolution *u)
{
    free(u->name);
    free(u);
}

static void start_on_loop(struct chassis_registry *r, void *data)
{
    struct chassis_resolution *u = data;
    struct registry_watch *w = find_watch(r, u->name);
    bool fresh = w == NULL && !r->closing;
    if (fresh) {
        w = new_watch(r, u->name);
    }
    u->watch = w;
    if (w != NULL) {
        w->n_users++;
    }
    pthread_mutex_lock(&r->mutex);
    if (w != NULL && !u->stopped) {
        chassis_list_append(&w->users, &u->link);
        if (w->synced) {
            tell(w, u);
        }
    }
    pthread_mutex_unlock(&r->mutex);
    if (fresh) {
        open_watch(w);
    }
}

static void drop_watch(struct chassis_registry *r, struct registry_watch *w)
{
    chassis_cancel(r->loop, &w->timer);
    w->dropped = true;
    if (w->stream != NULL) {
        chassis_stream_cancel(w->stream);
    } else {
        watch_free(w);
    }
}

static void stop_on_loop(struct chassis_registry *r, void *data)
{
    struct chassis_resolution *u = data;
    struct registry_watch *w = u->watch;
    resolution_free(u);
    if (w != NULL && !r->closing && --w->n_users == 0) { /* closing: it may be gone */
        drop_watch(r, w);
    }
}

int registry_resolve(struct chassis_resolver *resolver, const char *name,
                     chassis_endpoints_cb update, void *data,
                     struct chassis_resolution **ret_resolution, struct chassis_error *err)
{
    struct chassis_registry *r = (struct chassis_registry *)(void *)resolver;
    size_t len = strlen(name);
    if (len == 0 || len > 255) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "resolve '%.64s': a service name has 1 to 255 bytes", name);
    }
    struct chassis_resolution *u = chassis_base_zalloc(sizeof *u);
    chassis_list_init(&u->link);
    u->registry = r;
    u->name = chassis_base_strdup(name);
    u->update = update;
    u->data = data;
    *ret_resolution = u;
    registry_on_loop(r, start_on_loop, u);
    return 0;
}

void registry_unresolve(struct chassis_resolver *resolver, struct chassis_resolution *u)
{
    struct chassis_registry *r = (struct chassis_registry *)(void *)resolver;
    pthread_mutex_lock(&r->mutex);
    u->stopped = true;
    chassis_list_remove(&u->link);
    pthread_mutex_unlock(&r->mutex);
    registry_on_loop(r, stop_on_loop, u);
}

void watches_stop(struct chassis_registry *r)
{
    chassis_list_foreach_safe (it, &r->watches) {
        struct registry_watch *w = chassis_list_entry(it, struct registry_watch, link);
        chassis_cancel(r->loop, &w->timer);
        if (w->stream != NULL) {
            chassis_stream_cancel(w->stream);
        }
    }
}

void watches_fini(struct chassis_registry *r)
{
    chassis_list_foreach_safe (it, &r->watches) {
        watch_free(chassis_list_entry(it, struct registry_watch, link));
    }
}
