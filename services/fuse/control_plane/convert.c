#include "fuse/control_plane/convert.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>

#include "base/assert.h"
#include "core/control_plane/networking/v1/networking.chassis.h"
#include "fuse/control_plane/advice.h"
#include "fuse/control_plane/convert_parts.h"

enum { WEIGHT_MAX = 10000, PRIORITY_MAX = 1000, DECODED_MAX = 64 * FUSE_ROUTE_BYTES_MAX };

/* ---- helpers of all parts ---- */

bool fuse_convert_fine(struct fuse_converting *c, const char *field, const char *value,
                       const char *why)
{
    if (why != NULL && *value == '\0') {
        fuse_problem_error(c->problems, field, "%s", why);
    } else if (why != NULL) {
        fuse_problem_error(c->problems, field, "'%.64s' %s", value, why);
    }
    return why == NULL;
}

const char *fuse_convert_field(struct fuse_converting *c, const char *list, size_t i,
                               const char *member)
{
    const char *dot = *member != '\0' ? "." : "";
    return chassis_arena_printf(c->arena, "%s[%zu]%s%s", list, i, dot, member);
}

unsigned fuse_convert_count(struct fuse_converting *c, const char *field, size_t n)
{
    if (n > FUSE_LIST_MAX) {
        fuse_problem_error(c->problems, field, "has %zu entries, at most %d are allowed", n,
                           FUSE_LIST_MAX);
        return FUSE_LIST_MAX;
    }
    return (unsigned)n;
}

const char *fuse_convert_lower(struct fuse_converting *c, const char *text)
{
    char *lower = chassis_arena_strdup(c->arena, text);
    for (char *p = lower; *p != '\0'; p++) {
        *p = (char)tolower((unsigned char)*p);
    }
    return lower;
}

/* ---- where to ---- */

/* An address in the form in which equal ones are equal. */
static const char *plain_address(struct fuse_converting *c, const char *host)
{
    uint8_t binary[16];
    char text[INET6_ADDRSTRLEN];
    for (int family = AF_INET;; family = AF_INET6) {
        if (inet_pton(family, host, binary) == 1) {
            return chassis_arena_strdup(c->arena, inet_ntop(family, binary, text, sizeof text));
        }
        if (family == AF_INET6) {
            return fuse_convert_lower(c, host);
        }
    }
}

static void convert_address(struct fuse_converting *c, const char *host_field,
                            const char *port_field, const char *host, uint32_t port,
                            struct fuse_target *target)
{
    if (fuse_convert_fine(c, host_field, host, fuse_check_address(host))) {
        target->host = plain_address(c, host);
    }
    if (port == 0 || port > UINT16_MAX) {
        fuse_problem_error(c->problems, port_field, "is %u: give a port from 1 to 65535", port);
    }
    target->port = (uint16_t)port;
}

static void convert_target(struct fuse_converting *c, size_t i, const POL(Target) * message,
                           struct fuse_target *target)
{
    bool by_address = *message->host != '\0' || message->port != 0;
    *target = (struct fuse_target){.service = "", .host = "", .weight = message->weight};
    if (*message->service != '\0' && by_address) {
        fuse_problem_error(c->problems, fuse_convert_field(c, "targets", i, ""),
                           "has a service and an address: give one of them");
    } else if (by_address) {
        convert_address(c, fuse_convert_field(c, "targets", i, "host"),
                        fuse_convert_field(c, "targets", i, "port"), message->host, message->port,
                        target);
    } else if (*message->service == '\0') {
        fuse_problem_error(c->problems, fuse_convert_field(c, "targets", i, ""),
                           "is empty: give a service, or a host and a port");
    } else if (fuse_convert_fine(c, fuse_convert_field(c, "targets", i, "service"),
                                 message->service, fuse_check_name(message->service))) {
        target->service = message->service;
    }
    if (message->weight > WEIGHT_MAX) {
        fuse_problem_error(
            c->problems, fuse_convert_field(c, "targets", i, "weight"),
            "is %u: at most 10,000; weights are relative to those of the other targets",
            message->weight);
    }
}

static void check_same_target(struct fuse_converting *c, const struct fuse_target *targets,
                              unsigned i)
{
    for (unsigned k = 0; k < i; k++) {
        if (targets[k].port == targets[i].port &&
            strcmp(targets[k].service, targets[i].service) == 0 &&
            strcmp(targets[k].host, targets[i].host) == 0) {
            fuse_problem_error(c->problems, fuse_convert_field(c, "targets", i, ""),
                               "is the same as targets[%u]: give it once, with one weight", k);
            return;
        }
    }
}

static void convert_targets(struct fuse_converting *c, const NET(Route) * message)
{
    unsigned n = fuse_convert_count(c, "targets", message->n_targets);
    unsigned before = c->problems->n_errors;
    struct fuse_target *targets = chassis_arena_zalloc(c->arena, n * sizeof *targets);
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++) {
        convert_target(c, i, message->targets[i], &targets[i]);
        sum += targets[i].weight;
    }
    for (unsigned i = 1; i < n && before == c->problems->n_errors; i++) {
        check_same_target(c, targets, i);
    }
    if (n == 1) {
        targets[0].weight = 1;
    } else if (sum == 0) {
        fuse_problem_error(c->problems, "targets",
                           "all have weight 0, so that none gets a request: give one a weight");
    }
    c->draft->targets = targets;
    c->draft->n_targets = n;
}

static void convert_endpoint(struct fuse_converting *c, const NET(Endpoint) * endpoint,
                             const char *service)
{
    struct fuse_target *target = chassis_arena_zalloc(c->arena, sizeof *target);
    *target = (struct fuse_target){.service = "", .host = "", .weight = 1};
    c->draft->targets = target;
    c->draft->n_targets = 1;
    if (endpoint != NULL && *endpoint->host != '\0') {
        c->draft->by_endpoint = true;
        convert_address(c, "endpoint.host", "endpoint.port", endpoint->host, endpoint->port,
                        target);
        return;
    }
    if (*service == '\0') {
        fuse_problem_error(c->problems, endpoint != NULL ? "endpoint.host" : "targets",
                           "is not set: say where the requests go, by targets or an endpoint");
        return;
    }
    if (endpoint != NULL && endpoint->port != 0) {
        fuse_problem_warning(c->problems, "endpoint.port", NULL,
                             "is ignored without a host: requests go to the instances of '%.64s'",
                             service);
    }
    if (fuse_convert_fine(c, "targets[0].service", service, fuse_check_name(service))) {
        target->service = service;
    }
}

static void convert_where(struct fuse_converting *c, const NET(Route) * message,
                          const char *service)
{
    if (message->n_targets == 0) {
        convert_endpoint(c, message->endpoint, service);
        return;
    }
    if (message->endpoint != NULL) {
        fuse_problem_error(c->problems, "endpoint", "stands beside targets: give one of them");
    }
    convert_targets(c, message);
}

/* ---- the rest ---- */

static const char *const *convert_names(struct fuse_converting *c, const char *field, char **names,
                                        size_t n_names, unsigned *ret_n)
{
    unsigned n = fuse_convert_count(c, field, n_names);
    for (unsigned i = 0; i < n; i++) {
        const char *here = fuse_convert_field(c, field, i, "");
        fuse_convert_fine(c, here, names[i], fuse_check_name(names[i]));
        for (unsigned k = 0; k < i; k++) {
            if (strcmp(names[k], names[i]) == 0) {
                fuse_problem_error(c->problems, here, "'%.64s' is named twice", names[i]);
                break;
            }
        }
    }
    *ret_n = n;
    return (const char *const *)names;
}

static void convert_rewrite(struct fuse_converting *c, const char *rewrite)
{
    if (*rewrite == '\0') {
        return;
    }
    if (c->draft->path_kind == FUSE_PATH_REGEX) {
        fuse_problem_error(c->problems, "prefix_rewrite",
                           "does not go with match.regex, which has no prefix: use match.prefix");
    }
    if (fuse_convert_fine(c, "prefix_rewrite", rewrite, fuse_check_path(rewrite))) {
        c->draft->prefix_rewrite = rewrite;
    }
}

static void convert_all(struct fuse_converting *c, const NET(Route) * message,
                        const struct fuse_route_defaults *defaults)
{
    struct fuse_route *draft = c->draft;
    draft->name = *message->name != '\0' ? message->name : defaults->name;
    fuse_convert_fine(c, "name", draft->name, fuse_check_name(draft->name));
    fuse_convert_match(c, message->match);
    convert_where(c, message, defaults->service);
    draft->http2 = message->enable_http2;
    draft->priority = message->priority;
    if (message->priority < -PRIORITY_MAX || message->priority > PRIORITY_MAX) {
        fuse_problem_error(c->problems, "priority", "is %d: -1,000 to 1,000 are allowed",
                           message->priority);
    }
    convert_rewrite(c, message->prefix_rewrite);
    fuse_convert_policies(c, message);
    draft->listeners = convert_names(c, "listeners", message->listeners, message->n_listeners,
                                     &draft->n_listeners);
    draft->groups =
        convert_names(c, "groups", message->groups, message->n_groups, &draft->n_groups);
}

static struct fuse_route *finish(struct fuse_converting *c)
{
    struct chassis_buf encoded = {0};
    core__control_plane__networking__v1__route__encode(fuse_route_to_message(c->draft, c->arena),
                                                       &encoded);
    CHASSIS_ASSERT(encoded.len <= FUSE_ROUTE_BYTES_MAX); /* the limits of its fields see to that */
    c->draft->encoded = chassis_buf_view(&encoded);
    struct fuse_route *route = fuse_route_new(c->draft);
    chassis_buf_fini(&encoded);
    fuse_route_advise(route, c->problems);
    return route;
}

static struct fuse_route *convert(const NET(Route) * message,
                                  const struct fuse_route_defaults *defaults,
                                  struct fuse_problems *problems, struct chassis_arena *arena)
{
    struct fuse_route draft = {.name = "",
                               .host = "*",
                               .path_kind = FUSE_PATH_PREFIX,
                               .path = "/",
                               .prefix_rewrite = "",
                               .hash_name = ""};
    struct fuse_converting c = {.arena = arena, .problems = problems, .draft = &draft};
    bool name = defaults != NULL && defaults->name != NULL;
    bool service = defaults != NULL && defaults->service != NULL;
    convert_all(&c, message,
                &(const struct fuse_route_defaults){name ? defaults->name : "",
                                                    service ? defaults->service : ""});
    if (problems->n_errors != 0) {
        fuse_route_free_regexes(&draft);
        return NULL;
    }
    return finish(&c);
}

struct fuse_route *fuse_route_of_message(const NET(Route) * message,
                                         const struct fuse_route_defaults *defaults,
                                         struct fuse_problems *problems)
{
    uint8_t room[4096];
    struct chassis_arena arena;
    if (message == NULL) {
        fuse_problem_error(problems, "", "there is no route: give one");
        return NULL;
    }
    chassis_arena_init(&arena, room, sizeof room, 0);
    struct fuse_route *route = convert(message, defaults, problems, &arena);
    chassis_arena_fini(&arena);
    return route;
}

struct fuse_route *fuse_route_of_bytes(struct chassis_view encoded, struct fuse_problems *problems)
{
    uint8_t room[4096];
    struct chassis_arena arena;
    struct chassis_error err = {0};
    NET(Route) *message = NULL;
    struct fuse_route *route = NULL;
    if (encoded.len > FUSE_ROUTE_BYTES_MAX) {
        fuse_problem_error(problems, "", "has %zu bytes, at most %d are allowed", encoded.len,
                           FUSE_ROUTE_BYTES_MAX);
        return NULL;
    }
    chassis_arena_init(&arena, room, sizeof room, DECODED_MAX);
    if (core__control_plane__networking__v1__route__decode(encoded, &arena, &message, &err) != 0) {
        fuse_problem_error(problems, "", "is no route: %s", chassis_error_text(&err));
    } else {
        arena.limit = SIZE_MAX;
        route = convert(message, NULL, problems, &arena);
    }
    chassis_arena_fini(&arena);
    return route;
}
