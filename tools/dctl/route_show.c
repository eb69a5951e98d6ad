/* Routes and what Fuse says about them, as tables and lines. */
#include <string.h>

#include "routes.h"

struct dctl_node *dctl_route_state_node(struct dctl *d, const route_state *state, bool targets)
{
    struct chassis_arena *a = &d->arena;
    struct dctl_node *map =
        state->route != NULL ? dctl_message_input(a, state->route) : dctl_map(a);
    struct dctl_node *status = dctl_map(a), *whole = dctl_message_node(a, state);
    for (struct dctl_node *n = whole->first, *next; n != NULL; n = next) {
        next = n->next;
        n->next = NULL;
        if (strcmp(n->key, "route") != 0 && (targets || strcmp(n->key, "targets") != 0)) {
            dctl_add(status, n->key, n);
        }
    }
    dctl_add(map, "status", status);
    return map;
}

static const char *matcher(struct dctl *d, const route_match *m)
{
    struct chassis_arena *a = &d->arena;
    if (m->path[0] != '\0') {
        return chassis_arena_printf(a, "path %s", m->path);
    }
    if (m->prefix[0] != '\0') {
        return chassis_arena_printf(a, "prefix %s", m->prefix);
    }
    if (m->regex[0] != '\0') {
        return chassis_arena_printf(a, "regex %s", m->regex);
    }
    if (m->grpc_match_options == NULL) {
        return "every path";
    }
    const Core__ControlPlane__Networking__V1__GrpcMatchOptions *g = m->grpc_match_options;
    return g->service[0] != '\0' ? chassis_arena_printf(a, "gRPC %s%s%s", g->service,
                                                        g->method[0] != '\0' ? "/" : "", g->method)
                                 : "gRPC";
}

const char *dctl_route_match_text(struct dctl *d, const route_message *route)
{
    const route_match *m = route->match;
    if (m == NULL) {
        return "every path";
    }
    const char *text = matcher(d, m);
    for (size_t i = 0; i < m->n_methods; i++) {
        text = chassis_arena_printf(&d->arena, "%s%s%s", text, i == 0 ? ", " : "|", m->methods[i]);
    }
    size_t headers = m->n_header_matches + (m->headers != NULL);
    if (headers != 0) {
        text = chassis_arena_printf(&d->arena, "%s, %zu header%s", text, headers,
                                    headers == 1 ? "" : "s");
    }
    if (m->n_query_matches != 0) {
        text = chassis_arena_printf(&d->arena, "%s, %zu of the query", text, m->n_query_matches);
    }
    return text;
}

const char *dctl_route_targets_text(struct dctl *d, const route_message *route)
{
    struct chassis_arena *a = &d->arena;
    const char *text = "";
    if (route->n_targets == 0) {
        return route->endpoint != NULL && route->endpoint->host[0] != '\0'
                   ? chassis_arena_printf(a, "%s:%u", route->endpoint->host, route->endpoint->port)
                   : "-";
    }
    for (size_t i = 0; i < route->n_targets; i++) {
        const Draft__Routing__V1__Target *t = route->targets[i];
        const char *one =
            t->service[0] != '\0' ? t->service : chassis_arena_printf(a, "%s:%u", t->host, t->port);
        text = chassis_arena_printf(a, "%s%s%s", text, i != 0 ? ", " : "", one);
        if (route->n_targets > 1) {
            text = chassis_arena_printf(a, "%s %u", text, t->weight);
        }
    }
    return text;
}

const char *dctl_share_text(struct dctl *d, uint32_t share)
{
    return share % 10 == 0 ? chassis_arena_printf(&d->arena, "%u%%", share / 10)
                           : chassis_arena_printf(&d->arena, "%u.%u%%", share / 10, share % 10);
}

void dctl_print_targets(struct dctl *d, target_state *const *targets, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const target_state *t = targets[i];
        fprintf(d->out, "target  %s  %s%s\n", t->target, dctl_share_text(d, t->share),
                t->n_endpoints == 0 ? "  no endpoint" : "");
        for (size_t e = 0; e < t->n_endpoints; e++) {
            const Draft__Routing__V1__EndpointState *at = t->endpoints[e];
            fprintf(d->out, "  %-21s  %s%s%s\n", at->address,
                    at->usable              ? "usable"
                    : at->reason[0] != '\0' ? at->reason
                                            : "not usable",
                    at->pid[0] != '\0' ? "  pid " : "", at->pid);
        }
    }
}

bool dctl_print_problems(struct dctl *d, const char *route, route_problem *const *problems,
                         size_t n)
{
    bool refused = false;
    for (size_t i = 0; i < n; i++) {
        const route_problem *p = problems[i];
        bool error = p->severity == DRAFT__ROUTING__V1__PROBLEM__SEVERITY__ERROR;
        fprintf(d->err, "dctl: route '%s': %s: %s%s%s\n", route, error ? "error" : "warning",
                p->field, p->field[0] != '\0' ? ": " : "", p->text);
        refused = refused || error;
    }
    return refused;
}

/* --- differences --- */

const struct dctl_column dctl_diff_columns[] = {
    {"FIELD", "field", 0}, {"FROM", "from", 0}, {"TO", "to", 0}, {0}};

static const char *json_of(struct dctl *d, const struct dctl_node *node)
{
    struct chassis_buf json = {0};
    dctl_write_json(node, -1, &json);
    const char *text = chassis_arena_strndup(&d->arena, json.data, json.len);
    chassis_buf_fini(&json);
    return text;
}

static void diff_values(struct dctl *d, struct dctl_node *list, const char *field,
                        const struct dctl_node *from, const struct dctl_node *to);

static const char *below(struct dctl *d, const char *field, const char *key)
{
    return field[0] != '\0' ? chassis_arena_printf(&d->arena, "%s.%s", field, key) : key;
}

static void diff_maps(struct dctl *d, struct dctl_node *list, const char *field,
                      const struct dctl_node *from, const struct dctl_node *to)
{
    for (const struct dctl_node *n = from->first; n != NULL; n = n->next) {
        diff_values(d, list, below(d, field, n->key), n, dctl_find(to, n->key));
    }
    for (const struct dctl_node *n = to->first; n != NULL; n = n->next) {
        if (dctl_find(from, n->key) == NULL) {
            diff_values(d, list, below(d, field, n->key), NULL, n);
        }
    }
}

static void diff_lists(struct dctl *d, struct dctl_node *list, const char *field,
                       const struct dctl_node *from, const struct dctl_node *to)
{
    const struct dctl_node *f = from->first, *t = to->first;
    for (unsigned i = 0; f != NULL || t != NULL; i++) {
        diff_values(d, list, chassis_arena_printf(&d->arena, "%s[%u]", field, i), f, t);
        f = f != NULL ? f->next : NULL;
        t = t != NULL ? t->next : NULL;
    }
}

static bool both_are(enum dctl_kind kind, const struct dctl_node *a, const struct dctl_node *b)
{
    return a != NULL && b != NULL && a->kind == kind && b->kind == kind;
}

static void diff_values(struct dctl *d, struct dctl_node *list, const char *field,
                        const struct dctl_node *from, const struct dctl_node *to)
{
    if (both_are(DCTL_MAP, from, to)) {
        diff_maps(d, list, field, from, to);
        return;
    }
    if (both_are(DCTL_LIST, from, to)) {
        diff_lists(d, list, field, from, to);
        return;
    }
    const char *was = from != NULL ? json_of(d, from) : NULL;
    const char *is = to != NULL ? json_of(d, to) : NULL;
    if (was != NULL && is != NULL && strcmp(was, is) == 0) {
        return;
    }
    struct dctl_node *row = dctl_add(list, NULL, dctl_map(&d->arena));
    dctl_add_text(&d->arena, row, "field", field);
    dctl_add_text(&d->arena, row, "from", was);
    dctl_add_text(&d->arena, row, "to", is);
}

struct dctl_node *dctl_node_diff(struct dctl *d, const struct dctl_node *from,
                                 const struct dctl_node *to)
{
    struct dctl_node *list = dctl_list(&d->arena);
    diff_maps(d, list, "", from != NULL ? from : dctl_map(&d->arena), to);
    return list;
}
