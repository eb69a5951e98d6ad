/* dctl routes list, get, delete, history, diff, rollback: what Fuse keeps. */
#include "routes.h"

#include <stdlib.h>
#include <string.h>

#include "connect.h"

enum { ATTEMPTS = 3 };

static struct chassis_call_options read_options(const struct dctl *d)
{
    struct chassis_call_options options = dctl_call_options(d, 0);
    options.idempotent = true;
    return options;
}

/* --- list --- */

struct listing {
    struct dctl_node **rows;
    size_t n, cap;
    bool synced;
};

static const char *state_text(struct dctl *d, const route_state *s)
{
    if (s->n_quarantines != 0) {
        const char *text = "quarantined in ";
        for (size_t i = 0; i < s->n_quarantines; i++) {
            const char *group = s->quarantines[i]->group;
            text = chassis_arena_printf(&d->arena, "%s%s'%s'", text, i != 0 ? ", " : "", group);
        }
        return text;
    }
    return s->n_problems != 0 ? chassis_arena_printf(&d->arena, "%zu warning%s", s->n_problems,
                                                     s->n_problems == 1 ? "" : "s")
                              : "ok";
}

static struct dctl_node *row_of(struct dctl *d, const route_state *s)
{
    static const route_message none = CORE__CONTROL_PLANE__NETWORKING__V1__ROUTE__INIT;
    const route_message *route = s->route != NULL ? s->route : &none;
    if (d->format != DCTL_TABLE) {
        return dctl_route_state_node(d, s, false);
    }
    struct dctl_node *row = dctl_map(&d->arena);
    const char *host = route->match != NULL ? route->match->host : "";
    dctl_add_text(&d->arena, row, "name", route->name);
    dctl_add_text(&d->arena, row, "host", host[0] != '\0' ? host : "*");
    dctl_add_text(&d->arena, row, "match", dctl_route_match_text(d, route));
    dctl_add_text(&d->arena, row, "targets", dctl_route_targets_text(d, route));
    dctl_add_text(&d->arena, row, "protocol", route->enable_http2 ? "HTTP/2" : "HTTP/1.1");
    dctl_add_text(&d->arena, row, "priority",
                  chassis_arena_printf(&d->arena, "%d", route->priority));
    dctl_add_u64(&d->arena, row, "version", s->version);
    dctl_add_text(&d->arena, row, "state", state_text(d, s));
    return row;
}

static bool on_event(struct dctl_follower *f, const void *message, struct chassis_view encoded)
{
    const Draft__Routing__V1__RouteEvent *e = message;
    struct listing *l = f->data;
    switch ((int)e->type) { /* of a newer Fuse, others */
    case DRAFT__ROUTING__V1__ROUTE_EVENT__TYPE__SYNCED:
        l->synced = true;
        return false;
    case DRAFT__ROUTING__V1__ROUTE_EVENT__TYPE__RESYNC:
        l->n = 0;
        return true;
    case DRAFT__ROUTING__V1__ROUTE_EVENT__TYPE__ADDED:
        break;
    default:
        return true;
    }
    if (l->n == l->cap) {
        size_t cap = l->cap != 0 ? l->cap * 2 : 64;
        struct dctl_node **more =
            chassis_arena_alloc(&f->d->arena, cap * sizeof(struct dctl_node *));
        if (l->n != 0) {
            memcpy(more, l->rows, l->n * sizeof *more);
        }
        l->rows = more;
        l->cap = cap;
    }
    if (e->state != NULL) {
        l->rows[l->n++] = row_of(f->d, e->state);
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    const struct dctl_node *const *x = a, *const *y = b;
    return chassis_view_cmp(dctl_find(*x, "name")->text, dctl_find(*y, "name")->text);
}

int dctl_routes_list(struct dctl *d, int argc, char **argv)
{
    static const struct dctl_column columns[] = {
        {"NAME", "name", 0},       {"HOST", "host", 0},         {"MATCH", "match", 0},
        {"TARGETS", "targets", 0}, {"PROTOCOL", "protocol", 0}, {"PRIORITY", "priority", 0},
        {"VERSION", "version", 0}, {"STATE", "state", 0},       {0}};
    struct chassis_error err = {0};
    struct listing l = {0};
    struct dctl_follower follower = {.message = on_event, .d = d, .data = &l};
    Draft__Routing__V1__WatchRequest req = DRAFT__ROUTING__V1__WATCH_REQUEST__INIT;
    struct chassis_call_options options = dctl_call_options(d, 10000);
    if (dctl_routes_client(d, &err) == NULL) {
        return dctl_fail(d, &err);
    }
    int rc;
    for (unsigned attempt = 1;; attempt++) { /* a Fuse that died is still registered for a while */
        l.n = 0;
        rc = dctl_follow(d, &routing_watch_method, &req, &options, &follower, &err);
        if (rc == 0 && !l.synced) {
            rc = chassis_error_set(&err, CHASSIS_UNAVAILABLE, "Fuse ended the list before its end");
        }
        if (rc == 0 || attempt == ATTEMPTS || !dctl_worth_another_try(rc)) {
            break;
        }
        chassis_error_clear(&err);
        dctl_pause(attempt);
    }
    if (rc != 0) {
        return dctl_fail(d, &err);
    }
    struct dctl_node *list = dctl_list(&d->arena);
    if (l.n != 0) {
        qsort(l.rows, l.n, sizeof(struct dctl_node *), by_name);
    }
    for (size_t i = 0; i < l.n; i++) {
        dctl_add(list, NULL, l.rows[i]);
    }
    dctl_print(d, list, columns);
    return DCTL_OK;
}

/* --- get --- */

static void print_quarantines(struct dctl *d, const route_state *s)
{
    for (size_t i = 0; i < s->n_quarantines; i++) {
        const Draft__Routing__V1__Quarantine *q = s->quarantines[i];
        fprintf(d->out, "quarantined in group '%s': version %llu", q->group,
                (unsigned long long)q->version);
        if (q->instead != 0) {
            fprintf(d->out, ", instead it has version %llu\n", (unsigned long long)q->instead);
        } else {
            fputs(", it has no such route\n", d->out);
        }
        fprintf(d->out, "  %s says: %s\n", q->proxy, q->text);
    }
}

static void print_state(struct dctl *d, const route_state *s)
{
    struct chassis_arena *a = &d->arena;
    const route_message *route = s->route;
    struct dctl_node *map = dctl_map(a);
    const char *host = route->match != NULL ? route->match->host : "";
    dctl_add_text(a, map, "name", route->name);
    dctl_add_text(a, map, "host", host[0] != '\0' ? host : "*");
    dctl_add_text(a, map, "match", dctl_route_match_text(d, route));
    dctl_add_text(a, map, "targets", dctl_route_targets_text(d, route));
    dctl_add_text(a, map, "protocol", route->enable_http2 ? "HTTP/2" : "HTTP/1.1");
    dctl_add_text(a, map, "priority", chassis_arena_printf(a, "%d", route->priority));
    const struct dctl_node *said = dctl_message_input(a, route);
    for (const struct dctl_node *n = said->first; n != NULL; n = n->next) {
        static const char *const shown[] = {"name",         "match",    "endpoint",
                                            "enable_http2", "priority", "targets"};
        bool known = false;
        for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
            known = known || strcmp(shown[i], n->key) == 0;
        }
        if (!known) {
            struct dctl_node *copy = chassis_arena_alloc(a, sizeof *copy);
            *copy = *n;
            copy->next = NULL;
            dctl_add(map, n->key, copy);
        }
    }
    dctl_add_u64(a, map, "version", s->version);
    dctl_add_time(d, map, "changed", s->time);
    dctl_add_text(a, map, "by", s->actor);
    dctl_print(d, map, NULL);
    dctl_print_targets(d, s->targets, s->n_targets);
    print_quarantines(d, s);
    dctl_print_problems(d, route->name, s->problems, s->n_problems);
}

int dctl_routes_get(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    Draft__Routing__V1__GetRouteRequest req = DRAFT__ROUTING__V1__GET_ROUTE_REQUEST__INIT;
    route_state *state;
    struct chassis_call_options options = read_options(d);
    req.name = argv[0];
    if (dctl_routes_client(d, &err) == NULL ||
        routing_get_route_sync(d->client, &req, &options, &d->arena, &state, &err) != 0) {
        return dctl_fail(d, &err);
    }
    if (d->format == DCTL_TABLE && state->route != NULL) {
        print_state(d, state);
    } else {
        dctl_print(d, dctl_route_state_node(d, state, true), NULL);
    }
    return DCTL_OK;
}

/* --- changes --- */

int dctl_routes_delete(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    Core__ControlPlane__Networking__V1__DeleteRouteRequest req =
        CORE__CONTROL_PLANE__NETWORKING__V1__DELETE_ROUTE_REQUEST__INIT;
    Core__ControlPlane__Networking__V1__DeleteRouteResponse *res;
    struct chassis_call_options options = dctl_call_options(d, 0);
    req.name = argv[0];
    if (dctl_routes_client(d, &err) == NULL ||
        networking_delete_route_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    if (res->code != CORE__CONTROL_PLANE__NETWORKING__V1__DELETE_ROUTE_CODE__DELETE_ROUTE_OK) {
        chassis_error_set(&err, CHASSIS_INTERNAL, "route '%s' was not deleted", argv[0]);
        return dctl_fail(d, &err);
    }
    if (d->format == DCTL_TABLE) {
        fprintf(d->out, "%s  deleted\n", argv[0]);
        return DCTL_OK;
    }
    struct dctl_node *map = dctl_map(&d->arena);
    dctl_add_text(&d->arena, map, "deleted", argv[0]);
    dctl_print(d, map, NULL);
    return DCTL_OK;
}

int dctl_routes_history(struct dctl *d, int argc, char **argv)
{
    static const struct dctl_column columns[] = {{"VERSION", "version", 0}, {"CHANGE", "change", 0},
                                                 {"TIME", "time", 0},       {"BY", "actor", 0},
                                                 {"AS OF", "as_of", 0},     {0}};
    struct chassis_error err = {0};
    Draft__Routing__V1__HistoryRequest req = DRAFT__ROUTING__V1__HISTORY_REQUEST__INIT;
    Draft__Routing__V1__HistoryResponse *res;
    struct chassis_call_options options = read_options(d);
    req.name = argv[0];
    req.limit = (uint32_t)dctl_number(d, "limit", 0);
    if (dctl_routes_client(d, &err) == NULL ||
        routing_history_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    struct dctl_node *list = dctl_list(&d->arena);
    for (size_t i = 0; i < res->n_versions; i++) {
        const Draft__Routing__V1__RouteVersion *v = res->versions[i];
        struct dctl_node *row = dctl_add(list, NULL, dctl_message_node(&d->arena, v));
        if (d->format == DCTL_TABLE && v->rolled_back_to != 0) {
            dctl_add_u64(&d->arena, row, "as_of", v->rolled_back_to);
        }
    }
    dctl_print(d, list, columns);
    return DCTL_OK;
}

static int version_argument(struct dctl *d, int argc, char **argv, int nth, uint64_t *ret_version)
{
    *ret_version = 0;
    if (argc <= nth || dctl_parse_number(argv[nth], ret_version) == 0) {
        return 0;
    }
    return dctl_usage(d, "a version is a number (dctl routes history %s), not '%s'", argv[0],
                      argv[nth]);
}

/* Empty on the wire is a field that is not there. */
static void mark_absent(const struct dctl_node *changes)
{
    for (struct dctl_node *row = changes->first; row != NULL; row = row->next) {
        for (struct dctl_node *n = row->first; n != NULL; n = n->next) {
            n->kind = n->text.len != 0 ? n->kind : DCTL_NULL;
        }
    }
}

int dctl_routes_diff(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    Draft__Routing__V1__DiffRequest req = DRAFT__ROUTING__V1__DIFF_REQUEST__INIT;
    Draft__Routing__V1__DiffResponse *res;
    struct chassis_call_options options = read_options(d);
    req.name = argv[0];
    int code = version_argument(d, argc, argv, 1, &req.from_version);
    code = code != 0 ? code : version_argument(d, argc, argv, 2, &req.to_version);
    if (code != 0) {
        return code;
    }
    if (dctl_routes_client(d, &err) == NULL ||
        routing_diff_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    struct dctl_node *map = dctl_message_node(&d->arena, res);
    mark_absent(dctl_find(map, "changes"));
    if (d->format != DCTL_TABLE) {
        dctl_print(d, map, NULL);
        return DCTL_OK;
    }
    fprintf(d->out, "%s  version %llu -> %llu%s\n", argv[0], (unsigned long long)res->from_version,
            (unsigned long long)res->to_version, res->n_changes == 0 ? ": no difference" : "");
    if (res->n_changes != 0) {
        dctl_print(d, dctl_find(map, "changes"), dctl_diff_columns);
    }
    return DCTL_OK;
}

int dctl_routes_rollback(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    Draft__Routing__V1__RollbackRequest req = DRAFT__ROUTING__V1__ROLLBACK_REQUEST__INIT;
    Draft__Routing__V1__RollbackResponse *res;
    struct chassis_call_options options = dctl_call_options(d, 0);
    req.name = argv[0];
    int code = version_argument(d, argc, argv, 1, &req.to_version);
    if (code != 0) {
        return code;
    }
    if (dctl_routes_client(d, &err) == NULL ||
        routing_rollback_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    if (d->format != DCTL_TABLE) {
        dctl_print(d, dctl_message_node(&d->arena, res), NULL);
        return DCTL_OK;
    }
    bool refused = dctl_print_problems(d, argv[0], res->problems, res->n_problems);
    if (!refused) {
        fprintf(d->out, "%s  version %llu\n", argv[0], (unsigned long long)res->version);
    }
    return refused ? DCTL_FAILED : DCTL_OK;
}
