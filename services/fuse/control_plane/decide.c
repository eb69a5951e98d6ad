#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "fuse/control_plane/decide.h"
#include "fuse/control_plane/match.h"
#include "fuse/control_plane/order.h"

/* The hosts whose routes a request could take, the most exact first: its name, "*." and every end of
 * it, "*". */
struct candidates {
    char *text;   /* the name in lower case; a byte before the present dot becomes "*" */
    size_t at;    /* of the next dot */
    bool started; /* the name itself was given */
    bool done;
};

/* No route has a longer host, so ends that are longer need not be looked for. */
enum { HOST_MAX = 255 };

static void candidates_init(struct candidates *c, const char *host)
{
    size_t len = strlen(host);
    *c = (struct candidates){.text = chassis_base_alloc(len + 1)};
    for (size_t i = 0; i <= len; i++) {
        c->text[i] = (char)(host[i] >= 'A' && host[i] <= 'Z' ? host[i] + ('a' - 'A') : host[i]);
    }
    /* A name that looks like a pattern is none. */
    c->started = len > HOST_MAX || host[0] == '*' || host[0] == '\0';
    c->at = len > HOST_MAX ? len - HOST_MAX : 1;
    c->done = false;
}

static void candidates_fini(struct candidates *c)
{
    free(c->text);
}

/* NULL = that was all; else it lives until the next call. */
static const char *candidates_next(struct candidates *c)
{
    if (!c->started) {
        c->started = true;
        return c->text;
    }
    if (c->text[0] != '\0') {
        for (; c->text[c->at] != '\0'; c->at++) {
            if (c->text[c->at] == '.') {
                c->text[c->at - 1] = '*';
                return c->text + c->at++ - 1;
            }
        }
    }
    if (!c->done) {
        c->done = true;
        return "*";
    }
    return NULL;
}

/* The routes of one host in this view and listener. */
struct search {
    struct fuse_look *look;
    bool any; /* there is one at all */
    const struct fuse_entry *winner;
};

static bool search_entry(const struct fuse_entry *entry, void *data)
{
    struct search *s = data;
    s->any = true;
    if (fuse_look_matches(s->look, entry->route, NULL)) {
        s->winner = entry;
    }
    return s->winner == NULL;
}

static struct search search_host(const struct fuse_view *view, const char *listener,
                                 const char *host, struct fuse_look *look)
{
    struct search s = {.look = look};
    fuse_view_each_entry(view, host, listener, search_entry, &s);
    return s;
}

const struct fuse_entry *fuse_decide(const struct fuse_view *view, const char *listener,
                                     const struct fuse_request *request)
{
    struct search s = {0};
    struct fuse_look look;
    struct candidates hosts;
    fuse_look_init(&look, request);
    candidates_init(&hosts, request->host);
    for (const char *host; !s.any && (host = candidates_next(&hosts)) != NULL;) {
        s = search_host(view, listener, host, &look);
    }
    candidates_fini(&hosts);
    fuse_look_fini(&look);
    return s.winner;
}

struct explain {
    const struct fuse_view *view;
    const char *listener;
    struct fuse_look look;
    struct chassis_arena *arena;
    struct fuse_decision *decision;
    struct chassis_buf reason;
    bool winner_said;
};

static bool full(const struct explain *x)
{
    return x->decision->n_verdicts == FUSE_VERDICTS_MAX || x->decision->verdicts == NULL;
}

/* Takes what stands in `reason`. */
static void say(struct explain *x, const struct fuse_entry *entry, enum fuse_outcome outcome)
{
    if (!full(x)) {
        const char *reason = chassis_arena_strndup(x->arena, x->reason.data, x->reason.len);
        x->decision->verdicts[x->decision->n_verdicts++] = (struct fuse_verdict){
            .entry = entry, .outcome = outcome, .reason = reason != NULL ? reason : ""};
    }
    chassis_buf_clear(&x->reason);
}

/* One route of the host that was chosen. The winner has its place even among too many. */
static bool say_entry(const struct fuse_entry *entry, void *data)
{
    struct explain *x = data;
    const struct fuse_entry *winner = x->decision->winner;
    if (entry == winner) {
        chassis_buf_printf(&x->reason, "the first route of host '%s' that matches",
                           x->decision->host);
        x->winner_said = true;
        say(x, entry, FUSE_WINS);
    } else if (winner != NULL && !x->winner_said &&
               x->decision->n_verdicts == FUSE_VERDICTS_MAX - 1) {
        return true;
    } else if (fuse_look_matches(&x->look, entry->route, &x->reason)) {
        CHASSIS_ASSERT(winner != NULL);
        chassis_buf_printf(&x->reason, "would match, but '%s' comes first: ", winner->route->name);
        fuse_order_reason(winner, entry, &x->reason);
        say(x, entry, FUSE_LATER);
    } else {
        say(x, entry, FUSE_NO_MATCH);
    }
    return !full(x);
}

static void list_names(struct chassis_buf *out, const char *const *names, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        chassis_buf_printf(out, "%s'%s'", i > 0 ? ", " : "", names[i]);
    }
}

/* True: the reason is written. */
static bool not_here(struct explain *x, const struct fuse_entry *entry)
{
    const struct fuse_route *route = entry->route;
    const char *group = fuse_view_group(x->view), *name = route->name;
    if (fuse_view_is_overridden(x->view, name)) {
        const struct fuse_entry *instead = fuse_view_replacement(x->view, name);
        chassis_buf_printf(&x->reason, "quarantined: a proxy of node group '%s' refused it; ",
                           group);
        if (instead != NULL) {
            chassis_buf_printf(&x->reason, "the group has version %llu instead",
                               (unsigned long long)instead->version);
        } else {
            chassis_buf_append_str(&x->reason, "the group goes without");
        }
        return true;
    }
    if (!fuse_route_in_group(route, group)) {
        chassis_buf_append_str(&x->reason, "only for node group ");
        list_names(&x->reason, route->groups, route->n_groups);
        chassis_buf_printf(&x->reason, ", not '%s'", group);
        return true;
    }
    if (x->listener != NULL && !fuse_route_on_listener(route, x->listener)) {
        chassis_buf_append_str(&x->reason, "only on listener ");
        list_names(&x->reason, route->listeners, route->n_listeners);
        chassis_buf_printf(&x->reason, ", not '%s'", x->listener);
        return true;
    }
    return false;
}

/* Routes of a host that others see, or the quarantine hides. */
static void say_not_here(struct explain *x, const char *host)
{
    const struct fuse_vhost *vhost = fuse_model_vhost(fuse_view_model(x->view), host);
    for (unsigned i = 0; vhost != NULL && i < vhost->n_entries && !full(x); i++) {
        if (not_here(x, vhost->entries[i])) {
            say(x, vhost->entries[i], FUSE_NOT_HERE);
        }
    }
}

/* Of a less exact host the one route that would win there. */
static void say_less_exact(struct explain *x, const char *host)
{
    struct search s = search_host(x->view, x->listener, host, &x->look);
    if (s.winner != NULL) {
        chassis_buf_printf(&x->reason,
                           "would match, but its host '%s' is less exact than '%s', whose routes "
                           "alone are looked at",
                           host, x->decision->host);
        say(x, s.winner, FUSE_LATER);
    }
}

static bool say_other_host(const struct fuse_vhost *vhost, void *data)
{
    struct explain *x = data;
    const char *host = x->look.request->host;
    if (fuse_host_matches(vhost->host, host)) {
        return true;
    }
    for (unsigned i = 0; i < vhost->n_entries && !full(x); i++) {
        chassis_buf_printf(&x->reason, "its host '%s' does not match ", vhost->host);
        fuse_quote(chassis_view_str(host), &x->reason);
        say(x, vhost->entries[i], FUSE_NO_MATCH);
    }
    return !full(x);
}

/* Finds the host and the winner. */
static void choose(struct explain *x, const char *name)
{
    struct search s = {0};
    struct candidates hosts;
    candidates_init(&hosts, name);
    for (const char *host; !s.any && (host = candidates_next(&hosts)) != NULL;) {
        s = search_host(x->view, x->listener, host, &x->look);
        if (s.any) {
            const char *copy = chassis_arena_strdup(x->arena, host);
            x->decision->host = copy != NULL ? copy : "";
            x->decision->winner = s.winner;
        }
    }
    candidates_fini(&hosts);
}

static void say_other_candidates(struct explain *x, const char *name)
{
    struct candidates hosts;
    bool passed = false;
    candidates_init(&hosts, name);
    for (const char *host; (host = candidates_next(&hosts)) != NULL;) {
        if (strcmp(host, x->decision->host) == 0) {
            passed = true;
            continue;
        }
        if (passed) {
            say_less_exact(x, host);
        } else {
            say_not_here(x, host);
        }
    }
    candidates_fini(&hosts);
}

void fuse_decide_explain(const struct fuse_view *view, const char *listener,
                         const struct fuse_request *request, struct chassis_arena *arena,
                         struct fuse_decision *ret_decision)
{
    *ret_decision = (struct fuse_decision){.host = "", .rewritten_path = ""};
    struct explain x = {
        .view = view, .listener = listener, .arena = arena, .decision = ret_decision};
    fuse_look_init(&x.look, request);
    ret_decision->verdicts =
        chassis_arena_alloc(arena, FUSE_VERDICTS_MAX * sizeof *ret_decision->verdicts);
    choose(&x, request->host);
    if (ret_decision->host[0] != '\0') {
        fuse_view_each_entry(view, ret_decision->host, listener, say_entry, &x);
        say_not_here(&x, ret_decision->host);
    }
    say_other_candidates(&x, request->host);
    fuse_model_each_vhost(fuse_view_model(view), say_other_host, &x);
    if (ret_decision->winner != NULL) {
        ret_decision->rewritten_path =
            fuse_rewrite(ret_decision->winner->route, request->path, arena);
    }
    chassis_buf_fini(&x.reason);
    fuse_look_fini(&x.look);
}

const char *fuse_rewrite(const struct fuse_route *route, const char *path,
                         struct chassis_arena *arena)
{
    size_t matched = 0;
    const char *rewrite = route->prefix_rewrite;
    if (rewrite[0] == '\0' || route->path_kind == FUSE_PATH_REGEX) {
        rewrite = "";
    } else if (route->path_kind == FUSE_PATH_EXACT) {
        matched = strcspn(path, "?");
    } else {
        matched = strlen(route->path);
        CHASSIS_ASSERT(strncmp(path, route->path, matched) == 0);
    }
    const char *rewritten = chassis_arena_printf(arena, "%s%s", rewrite, path + matched);
    return rewritten != NULL ? rewritten : "";
}
