/* Routes as people write them: YAML or JSON files, options; and what Fuse says about them.
 *
 * Threads: one at a time. Ownership: results live in dctl->arena.
 */
#ifndef DCTL_ROUTES_H
#define DCTL_ROUTES_H

#include "core/control_plane/networking/v1/networking.chassis.h"
#include "draft/routing/v1/routing.chassis.h"
#include "value.h"

typedef Core__ControlPlane__Networking__V1__Route route_message;
typedef Core__ControlPlane__Networking__V1__RouteMatch route_match;
typedef Draft__Routing__V1__Problem route_problem;
typedef Draft__Routing__V1__RouteState route_state;
typedef Draft__Routing__V1__TargetState target_state;

enum { DCTL_ROUTES_MAX = 100000 };

struct dctl_routes {
    route_message **items;
    size_t n, cap;
};

/* route_file.c: every route of a file ("-" = standard input): documents of YAML, values of JSON, lists
 * of either, {"routes": […]}. `status` is left out. The error names file, line and field. */
int dctl_routes_read(struct dctl *d, const char *file, struct dctl_routes *ret_routes,
                     struct chassis_error *err);

/* route_options.c: what --file says, or the one route of the other options. 0 or the exit code. */
int dctl_routes_given(struct dctl *d, const char *name, struct dctl_routes *ret_routes);
/* "-H 'k: v'" and so on into parts; false without the separator. */
bool dctl_split(struct dctl *d, const char *text, char at, char **ret_left, char **ret_right);

/* route_show.c */
/* The route as files say it, and what Fuse knows about it under `status`, where lists have no
 * targets. */
struct dctl_node *dctl_route_state_node(struct dctl *d, const route_state *state, bool targets);
/* For tables: "prefix /api, GET", "echo 90, echo-next 10". */
const char *dctl_route_match_text(struct dctl *d, const route_message *route);
const char *dctl_route_targets_text(struct dctl *d, const route_message *route);
/* "90%", "33.3%" of per mille. */
const char *dctl_share_text(struct dctl *d, uint32_t share);
/* Lines of each target and its endpoints. */
void dctl_print_targets(struct dctl *d, target_state *const *targets, size_t n);
/* Lines on standard error: "route 'a': warning: match.prefix: …". True if any is an error. */
bool dctl_print_problems(struct dctl *d, const char *route, route_problem *const *problems,
                         size_t n);
/* A list of {field, from, to}: what of `from` (NULL = nothing) is otherwise in `to`. */
struct dctl_node *dctl_node_diff(struct dctl *d, const struct dctl_node *from,
                                 const struct dctl_node *to);
extern const struct dctl_column dctl_diff_columns[];

#endif
