/* What the model knows as messages. */
#include "rpc.h"
#include "shadow.h"

static char *text_of(const char *text)
{
    return (char *)(uintptr_t)text;
}

Google__Protobuf__Timestamp *fuse_message_time(struct chassis_arena *arena, int64_t time_ns)
{
    if (time_ns == 0) {
        return NULL;
    }
    Google__Protobuf__Timestamp *t = chassis_arena_alloc(arena, sizeof *t);
    google__protobuf__timestamp__init(t);
    t->seconds = time_ns / 1000000000;
    t->nanos = (int32_t)(time_ns % 1000000000);
    return t;
}

ROUTING(Problem) * *fuse_message_problems(struct chassis_arena *arena,
                                          const struct fuse_problems *problems, size_t *ret_n)
{
    ROUTING(Problem) **list = chassis_arena_alloc(arena, (problems->n + 1) * sizeof *list);
    for (unsigned i = 0; i < problems->n; i++) {
        const struct fuse_problem *p = &problems->items[i];
        list[i] = chassis_arena_alloc(arena, sizeof *list[i]);
        draft__routing__v1__problem__init(list[i]);
        list[i]->severity = p->is_error ? DRAFT__ROUTING__V1__PROBLEM__SEVERITY__ERROR
                                        : DRAFT__ROUTING__V1__PROBLEM__SEVERITY__WARNING;
        list[i]->field = chassis_arena_strdup(arena, p->field);
        list[i]->text = chassis_arena_strdup(arena, p->text);
        list[i]->route = chassis_arena_strdup(arena, p->route);
    }
    *ret_n = problems->n;
    return list;
}

/* ---- where requests go ---- */

static ROUTING(EndpointState) * endpoint_new(struct chassis_arena *arena)
{
    ROUTING(EndpointState) *e = chassis_arena_alloc(arena, sizeof *e);
    draft__routing__v1__endpoint_state__init(e);
    return e;
}

static ROUTING(EndpointState) *
    endpoint_of(struct chassis_arena *arena, const struct fuse_instance *instance, bool http2)
{
    ROUTING(EndpointState) *e = endpoint_new(arena);
    const char *address = fuse_instance_address(instance, http2);
    const char *reason = fuse_instance_reason(instance->state);
    if (reason == NULL && address[0] == '\0') {
        reason = http2 ? "no RPC address" : "no HTTP address";
    }
    e->address = chassis_arena_strdup(arena, address);
    e->pid = chassis_arena_strdup(arena, instance->pid);
    e->usable = reason == NULL;
    e->reason = text_of(reason != NULL ? reason : "");
    return e;
}

static void add_instances(ROUTING(TargetState) * t, struct chassis_arena *arena,
                          const struct fuse_service *service, bool http2, unsigned room)
{
    unsigned n = service != NULL ? service->n_instances : 0;
    n = n < room ? n : room;
    t->endpoints = chassis_arena_alloc(arena, (n + 1) * sizeof *t->endpoints);
    for (unsigned i = 0; i < n; i++) {
        t->endpoints[t->n_endpoints++] = endpoint_of(arena, service->instances[i], http2);
    }
}

static void add_fixed(ROUTING(TargetState) * t, struct chassis_arena *arena,
                      const struct fuse_target *target)
{
    bool is_v6 = strchr(target->host, ':') != NULL;
    t->target = chassis_arena_printf(arena, is_v6 ? "[%s]:%u" : "%s:%u", target->host,
                                     (unsigned)target->port);
    t->endpoints = chassis_arena_alloc(arena, sizeof *t->endpoints);
    t->endpoints[0] = endpoint_new(arena);
    t->endpoints[0]->address = t->target;
    t->endpoints[0]->usable = true;
    t->n_endpoints = 1;
}

ROUTING(TargetState) * *fuse_message_targets(struct chassis_arena *arena,
                                             const struct fuse_model *model,
                                             const struct fuse_route *route, size_t *ret_n)
{
    ROUTING(TargetState) **list = chassis_arena_alloc(arena, (route->n_targets + 1) * sizeof *list);
    uint64_t weights = 0;
    unsigned room = FUSE_ENDPOINTS_MAX;
    for (unsigned i = 0; i < route->n_targets; i++) {
        weights += route->targets[i].weight;
    }
    for (unsigned i = 0; i < route->n_targets; i++) {
        const struct fuse_target *target = &route->targets[i];
        ROUTING(TargetState) *t = chassis_arena_alloc(arena, sizeof *t);
        draft__routing__v1__target_state__init(t);
        t->share = weights != 0 ? (uint32_t)(target->weight * 1000ULL / weights) : 0;
        if (target->service[0] != '\0') {
            t->target = chassis_arena_printf(arena, "service %s", target->service);
            add_instances(t, arena, fuse_model_service(model, target->service), route->http2, room);
        } else {
            add_fixed(t, arena, target);
        }
        room -= t->n_endpoints < room ? (unsigned)t->n_endpoints : room;
        list[i] = t;
    }
    *ret_n = route->n_targets;
    return list;
}

/* ---- a route as it stands ---- */

struct quarantines {
    struct chassis_arena *arena;
    ROUTING(Quarantine) * *items;
    size_t n, cap;
};

static void add_quarantine(struct chassis_view record, void *data)
{
    struct quarantines *q = data;
    ROUTING(Quarantine) * message;
    if (draft__routing__v1__quarantine__decode(record, q->arena, &message, NULL) != 0) {
        return;
    }
    if (q->n == q->cap) {
        q->cap = q->cap != 0 ? q->cap * 2 : 4;
        ROUTING(Quarantine) **items = chassis_arena_alloc(q->arena, q->cap * sizeof *items);
        if (q->n != 0) {
            memcpy(items, q->items, q->n * sizeof *items);
        }
        q->items = items;
    }
    q->items[q->n++] = message;
}

ROUTING(RouteState) * fuse_message_state(struct chassis_arena *arena,
                                         const struct fuse_views *views,
                                         const struct fuse_entry *entry, unsigned with)
{
    ROUTING(RouteState) *s = chassis_arena_alloc(arena, sizeof *s);
    struct quarantines quarantines = {.arena = arena};
    draft__routing__v1__route_state__init(s);
    if (core__control_plane__networking__v1__route__decode(entry->route->encoded, arena, &s->route,
                                                           NULL) != 0) {
        s->route = NULL; /* cannot be: the route was made of it */
    }
    s->version = entry->version;
    s->created_version = entry->created_version;
    s->time = fuse_message_time(arena, entry->time_ns);
    views->each_quarantine(views->data, entry->route->name, add_quarantine, &quarantines);
    s->quarantines = quarantines.items;
    s->n_quarantines = quarantines.n;
    if (with & FUSE_WITH_PROBLEMS) {
        struct fuse_problems *problems = chassis_arena_zalloc(arena, sizeof *problems);
        fuse_shadow_check(views->model, entry->route, problems);
        s->problems = fuse_message_problems(arena, problems, &s->n_problems);
    }
    if (with & FUSE_WITH_TARGETS) {
        s->targets = fuse_message_targets(arena, views->model, entry->route, &s->n_targets);
    }
    return s;
}
