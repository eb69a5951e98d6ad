/* dctl routes add, validate: from files and options to Fuse. */
#include <stdlib.h>
#include <string.h>

#include "connect.h"
#include "routes.h"

typedef Core__ControlPlane__Networking__V1__AddRouteRequest add_request;
typedef Core__ControlPlane__Networking__V1__AddRouteResponse add_response;

static int worse(int a, int b)
{
    return a > b ? a : b;
}

static const char *name_of(const route_message *route)
{
    return route->name[0] != '\0' ? route->name : "(no name)";
}

/* A row for json and yaml, lines for people. */
static void show_added(struct dctl *d, struct dctl_node *list, const add_response *res)
{
    bool ok = res->code == CORE__CONTROL_PLANE__NETWORKING__V1__ADD_ROUTE_RESPONSE_CODE__OK;
    const char *name = res->name;
    if (d->format == DCTL_TABLE) {
        if (ok) {
            fprintf(d->out, "%s  version %llu\n", name, (unsigned long long)res->version);
        }
        for (size_t i = 0; i < res->n_problems; i++) {
            fprintf(d->err, "dctl: route '%s': %s: %s\n", name, ok ? "warning" : "error",
                    res->problems[i]);
        }
        if (!ok && res->n_problems == 0) {
            fprintf(d->err, "dctl: route '%s': refused\n", name);
        }
        return;
    }
    dctl_add(list, NULL, dctl_message_node(&d->arena, res));
}

static int add_one(struct dctl *d, route_message *route, struct dctl_node *list)
{
    struct chassis_error err = {0};
    add_request req = CORE__CONTROL_PLANE__NETWORKING__V1__ADD_ROUTE_REQUEST__INIT;
    add_response *res;
    struct chassis_call_options options = dctl_call_options(d, 0);
    req.route = route;
    if (dctl_string(d, "expect") != NULL) {
        req._expected_version_case =
            CORE__CONTROL_PLANE__NETWORKING__V1__ADD_ROUTE_REQUEST___EXPECTED_VERSION_EXPECTED_VERSION;
        req.expected_version = dctl_number(d, "expect", 0);
    }
    if (networking_add_route_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        chassis_error_wrap(&err, "route '%s'", name_of(route));
        return dctl_fail(d, &err);
    }
    res->name = res->name[0] != '\0' ? res->name : (char *)(uintptr_t)name_of(route);
    show_added(d, list, res);
    return res->code == CORE__CONTROL_PLANE__NETWORKING__V1__ADD_ROUTE_RESPONSE_CODE__OK
               ? DCTL_OK
               : DCTL_FAILED;
}

/* What Fuse would say; with `diff`, also what would change. */
static int try_one(struct dctl *d, route_message *route, bool diff, struct dctl_node *list)
{
    struct chassis_error err = {0};
    Draft__Routing__V1__ValidateRequest req = DRAFT__ROUTING__V1__VALIDATE_REQUEST__INIT;
    Draft__Routing__V1__GetRouteRequest get = DRAFT__ROUTING__V1__GET_ROUTE_REQUEST__INIT;
    Draft__Routing__V1__ValidateResponse *res;
    route_state *present = NULL;
    struct chassis_call_options options = dctl_call_options(d, 0);
    struct dctl_node *changes = NULL;
    options.idempotent = true;
    req.route = route;
    get.name = route->name;
    int rc = routing_validate_sync(d->client, &req, &options, &d->arena, &res, &err);
    if (rc == 0 && diff && route->name[0] != '\0') {
        rc = routing_get_route_sync(d->client, &get, &options, &d->arena, &present, &err);
        if (rc == CHASSIS_NOT_FOUND) {
            rc = 0;
            present = NULL;
        }
    }
    if (rc == 0 && diff) {
        const struct dctl_node *was = present != NULL && present->route != NULL
                                          ? dctl_message_input(&d->arena, present->route)
                                          : NULL;
        changes = dctl_node_diff(d, was, dctl_message_input(&d->arena, route));
    }
    if (rc != 0) {
        chassis_error_wrap(&err, "route '%s'", name_of(route));
        return dctl_fail(d, &err);
    }
    bool refused = dctl_print_problems(d, name_of(route), res->problems, res->n_problems);
    if (d->format != DCTL_TABLE) {
        struct dctl_node *row = dctl_add(list, NULL, dctl_message_node(&d->arena, res));
        dctl_add_text(&d->arena, row, "name", route->name);
        dctl_add_bool(&d->arena, row, "accepted", !refused);
        if (diff) {
            dctl_add_bool(&d->arena, row, "new", present == NULL);
            dctl_add(row, "changes", changes);
        }
    } else {
        fprintf(d->out, "%s  %s%s\n", name_of(route),
                refused                  ? "would be refused"
                : !diff                  ? "valid"
                : present == NULL        ? "would be new"
                : changes->first == NULL ? "would stay as it is"
                                         : "would change",
                diff && !refused ? " (dry run)" : "");
        if (diff && changes->first != NULL) {
            dctl_print(d, changes, dctl_diff_columns);
        }
    }
    return refused ? DCTL_FAILED : DCTL_OK;
}

static int for_each(struct dctl *d, const char *name, bool validate)
{
    struct chassis_error err = {0};
    struct dctl_routes routes = {0};
    bool diff = !validate && dctl_flag(d, "dry-run");
    int code = dctl_routes_given(d, name, &routes);
    if (code != 0) {
        return code;
    }
    if (dctl_routes_client(d, &err) == NULL) {
        return dctl_fail(d, &err);
    }
    struct dctl_node *list = dctl_list(&d->arena);
    for (size_t i = 0; i < routes.n; i++) {
        int one = validate || diff ? try_one(d, routes.items[i], diff, list)
                                   : add_one(d, routes.items[i], list);
        code = worse(code, one);
        if (one == DCTL_UNAVAILABLE) {
            break; /* the others would wait for nothing */
        }
    }
    if (d->format != DCTL_TABLE && list->first != NULL) {
        dctl_print(d, list, NULL);
    }
    return code;
}

int dctl_routes_add(struct dctl *d, int argc, char **argv)
{
    return for_each(d, argc != 0 ? argv[0] : NULL, false);
}

int dctl_routes_validate(struct dctl *d, int argc, char **argv)
{
    return for_each(d, argc != 0 ? argv[0] : NULL, true);
}
