/* What is kept away from which group: the judge's verdicts and those Blueprint remembers.
 *
 * A verdict names the version that is kept away and the one that is there instead. Of one that this
 * Fuse did not pass itself the other version's content is fetched from the store; until it is there the
 * group has nothing of the route, and a Fuse that is starting waits for it before it answers anybody.
 */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include <chassis/message.h>

#include "base/assert.h"
#include "fuse/control_plane/convert.h"
#include "fuse/xds/state.h"

struct quarantine {
    struct chassis_list link; /* of the server */
    struct fuse_xds *xds;
    struct chassis_buf record; /* draft.routing.v1.Quarantine */
    uint64_t version, instead;
    struct fuse_entry entry; /* what is there instead, once it is known */
    bool fetching, gone;     /* gone: frees itself when fetched */
    const char *group, *route;
    char texts[];
};

static struct quarantine *find(const struct fuse_xds *xds, const char *group, const char *route)
{
    chassis_list_foreach (link, &xds->quarantines) {
        struct quarantine *q = chassis_list_entry(link, struct quarantine, link);
        if (strcmp(q->group, group) == 0 && strcmp(q->route, route) == 0) {
            return q;
        }
    }
    return NULL;
}

static struct quarantine *quarantine_new(struct fuse_xds *xds, const char *group, const char *route)
{
    size_t group_len = strlen(group) + 1, route_len = strlen(route) + 1;
    struct quarantine *q = chassis_base_zalloc(sizeof *q + group_len + route_len);
    q->xds = xds;
    q->group = memcpy(q->texts, group, group_len);
    q->route = memcpy(q->texts + group_len, route, route_len);
    chassis_list_append(&xds->quarantines, &q->link);
    fuse_measure_quarantines(1);
    return q;
}

static void quarantine_free(struct quarantine *q)
{
    fuse_entry_drop(&q->entry);
    chassis_buf_fini(&q->record);
    free(q);
}

/* No more looked at. */
static void forget(struct quarantine *q)
{
    chassis_list_remove(&q->link);
    fuse_measure_quarantines(-1);
    if (q->fetching) {
        q->gone = true;
    } else {
        quarantine_free(q);
    }
}

void fuse_quarantine_fini(struct fuse_xds *xds)
{
    while (!chassis_list_empty(&xds->quarantines)) {
        forget(chassis_list_entry(xds->quarantines.next, struct quarantine, link));
    }
}

static const struct fuse_entry *entry_of(const struct quarantine *q)
{
    return q->entry.route != NULL ? &q->entry : NULL;
}

void fuse_quarantine_apply(struct fuse_group *group)
{
    chassis_list_foreach (link, &group->xds->quarantines) {
        const struct quarantine *q = chassis_list_entry(link, struct quarantine, link);
        if (strcmp(q->group, group->name) == 0) {
            fuse_view_override(group->view, q->route, entry_of(q));
        }
    }
}

/* ---- the store ---- */

struct writing { /* may outlive the server */
    struct chassis_logger *log;
    char what[];
};

static void on_written(int code, const struct chassis_error *err, uint64_t version, void *data)
{
    struct writing *w = data;
    if (code != 0) {
        chassis_log_warn(w->log,
                         "a quarantine holds here, but could not be stored: after a restart the "
                         "route is tried again",
                         chassis_f_str("quarantine", w->what), chassis_f_err(err));
    }
    free(w);
}

static void store(struct fuse_xds *xds, const char *group, const char *route,
                  struct chassis_view record)
{
    struct fuse_store *to = xds->options.store;
    size_t len = strlen(group) + strlen(route) + 2;
    struct writing *w = chassis_base_zalloc(sizeof *w + len);
    w->log = xds->options.log;
    snprintf(w->what, len, "%s/%s", group, route);
    to->ops->quarantine(to, group, route, record, on_written, w);
}

static void encode(const struct fuse_entry *guilty, const struct quarantine *q, const char *proxy,
                   const char *words, struct chassis_buf *out)
{
    int64_t now_ns = fuse_xds_wall_ns(q->xds);
    Draft__Routing__V1__Quarantine message = DRAFT__ROUTING__V1__QUARANTINE__INIT;
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    time.seconds = now_ns / 1000000000;
    time.nanos = (int32_t)(now_ns % 1000000000);
    message.group = (char *)(uintptr_t)q->group;
    message.route = (char *)(uintptr_t)q->route;
    message.version = guilty->version;
    message.instead = q->instead;
    message.proxy = (char *)(uintptr_t)proxy;
    message.text = (char *)(uintptr_t)words;
    message.time = &time;
    chassis_encode(&message, out);
}

/* ---- verdicts ---- */

void fuse_quarantine_add(struct fuse_group *group, const struct fuse_entry *guilty,
                         const struct fuse_entry *instead, const char *proxy, const char *words)
{
    struct fuse_xds *xds = group->xds;
    struct quarantine *old = find(xds, group->name, guilty->route->name);
    if (old != NULL) {
        forget(old);
    }
    struct quarantine *q = quarantine_new(xds, group->name, guilty->route->name);
    q->version = guilty->version;
    q->instead = instead != NULL ? instead->version : 0;
    if (instead != NULL) {
        fuse_entry_copy(&q->entry, instead);
    }
    encode(guilty, q, proxy, words, &q->record);
    fuse_measure_add(FUSE_MEASURE_QUARANTINED, 1);
    chassis_log_warn(xds->options.log, "a route is kept away from a group: a proxy refuses it",
                     chassis_f_str("group", group->name), chassis_f_str("route", q->route),
                     chassis_f_u64("version", q->version), chassis_f_u64("instead", q->instead),
                     chassis_f_str("proxy", proxy), chassis_f_str("words", words));
    store(xds, q->group, q->route, chassis_buf_view(&q->record));
}

static void release(struct quarantine *q, bool remove)
{
    struct fuse_xds *xds = q->xds;
    struct fuse_group *group = fuse_group_find(xds, q->group);
    chassis_log_info(xds->options.log, "a route is no longer kept away",
                     chassis_f_str("group", q->group), chassis_f_str("route", q->route),
                     chassis_f_u64("version", q->version));
    if (remove) {
        store(xds, q->group, q->route, (struct chassis_view){0});
    }
    if (group != NULL) {
        fuse_group_restore(group, q->route);
        fuse_judge_capture(group, q->route);
    }
    forget(q);
}

/* It is about a version that is not the present one (any more). */
static bool is_over(const struct quarantine *q)
{
    const struct fuse_entry *entry = fuse_model_route(q->xds->options.model, q->route);
    return entry == NULL || entry->version > q->version;
}

void fuse_quarantine_route(struct fuse_xds *xds, const struct fuse_change *change)
{
    const char *name = (change->after != NULL ? change->after : change->before)->route->name;
    chassis_list_foreach_safe (link, &xds->quarantines) {
        struct quarantine *q = chassis_list_entry(link, struct quarantine, link);
        if (strcmp(q->route, name) == 0 && is_over(q)) {
            release(q, true);
        }
    }
}

void fuse_quarantine_settle(struct fuse_xds *xds)
{
    chassis_list_foreach_safe (link, &xds->quarantines) {
        struct quarantine *q = chassis_list_entry(link, struct quarantine, link);
        if (is_over(q)) {
            release(q, true);
        }
    }
}

/* ---- what Blueprint remembers ---- */

static struct fuse_route *route_of(struct chassis_view record, int64_t *ret_time_ns)
{
    struct chassis_arena arena;
    void *message;
    struct fuse_route *route = NULL;
    chassis_arena_init(&arena, NULL, 0, 16 << 20);
    if (chassis_decode(&draft__routing__v1__route_version__descriptor, record, &arena, &message,
                       NULL) == 0) {
        const Draft__Routing__V1__RouteVersion *version = message;
        struct fuse_problems *problems = chassis_base_zalloc(sizeof *problems);
        if (version->route != NULL) {
            route = fuse_route_of_message(version->route, NULL, problems);
        }
        if (version->time != NULL) {
            *ret_time_ns = version->time->seconds * 1000000000 + version->time->nanos;
        }
        free(problems);
    }
    chassis_arena_fini(&arena);
    return route;
}

static void take_version(struct quarantine *q, const struct fuse_stored_version *stored)
{
    const struct fuse_entry *newest = fuse_model_route(q->xds->options.model, q->route);
    int64_t time_ns = 0;
    struct fuse_route *route = route_of(stored->encoded, &time_ns);
    if (route == NULL || strcmp(route->name, q->route) != 0) {
        chassis_log_warn(q->xds->options.log, "the version a group has instead cannot be read",
                         chassis_f_str("group", q->group), chassis_f_str("route", q->route),
                         chassis_f_u64("version", stored->version));
        fuse_route_unref(route);
        return;
    }
    struct fuse_entry entry = {
        .route = route,
        .version = stored->version,
        .created_version = newest != NULL ? newest->created_version : stored->version,
        .time_ns = time_ns,
        .actor = "",
    };
    fuse_entry_drop(&q->entry);
    fuse_entry_copy(&q->entry, &entry);
    fuse_route_unref(route);
    struct fuse_group *group = fuse_group_find(q->xds, q->group);
    if (group != NULL) {
        fuse_group_override(group, q->route, &q->entry);
    }
}

static void on_versions(int code, const struct chassis_error *err,
                        const struct fuse_stored_version *versions, unsigned n, void *data)
{
    struct quarantine *q = data;
    struct fuse_xds *xds = q->xds;
    q->fetching = false;
    if (q->gone) { /* so may the server be, but for what counts fetches */
        quarantine_free(q);
        fuse_xds_fetched(xds);
        return;
    }
    unsigned i = 0;
    while (i < n && versions[i].version != q->instead) {
        i++;
    }
    if (code == 0 && i < n) {
        take_version(q, &versions[i]);
    } else {
        chassis_log_warn(xds->options.log,
                         "the version a group has instead is not kept any more: it has nothing",
                         chassis_f_str("group", q->group), chassis_f_str("route", q->route),
                         chassis_f_u64("version", q->instead), chassis_f_code(code));
    }
    fuse_xds_fetched(xds);
}

static void fetch(struct quarantine *q)
{
    struct fuse_store *from = q->xds->options.store;
    q->fetching = true;
    q->xds->n_fetching++;
    from->ops->versions(from, q->route, on_versions, q);
}

/* What it says; false: it is none. */
static bool parse(struct chassis_view record, uint64_t *ret_version, uint64_t *ret_instead)
{
    struct chassis_arena arena;
    void *message;
    chassis_arena_init(&arena, NULL, 0, 1 << 20);
    bool ok = chassis_decode(&draft__routing__v1__quarantine__descriptor, record, &arena, &message,
                             NULL) == 0;
    if (ok) {
        *ret_version = ((const Draft__Routing__V1__Quarantine *)message)->version;
        *ret_instead = ((const Draft__Routing__V1__Quarantine *)message)->instead;
    }
    chassis_arena_fini(&arena);
    return ok;
}

void fuse_xds_quarantine(struct fuse_xds *xds, const char *group_name, const char *route,
                         struct chassis_view record)
{
    struct quarantine *q = find(xds, group_name, route);
    uint64_t version = 0, instead = 0;
    if (record.len == 0 || !parse(record, &version, &instead)) {
        if (q != NULL) {
            release(q, false);
        }
        return;
    }
    if (q != NULL && q->version == version && q->instead == instead) {
        chassis_buf_clear(&q->record);
        chassis_buf_append_view(&q->record, record);
        return;
    }
    struct fuse_group *group = fuse_group_find(xds, group_name);
    if (q != NULL) {
        forget(q);
    }
    q = quarantine_new(xds, group_name, route);
    q->version = version;
    q->instead = instead;
    chassis_buf_append_view(&q->record, record);
    if (xds->ready && is_over(q) && fuse_model_route(xds->options.model, route) != NULL) {
        release(q, true);
        return;
    }
    if (group != NULL) {
        fuse_judge_leave(group, route);
        const struct fuse_past *past = fuse_past_find(group, route);
        if (instead != 0 && past != NULL && past->accepted.route != NULL &&
            past->accepted.version == instead) {
            fuse_entry_copy(&q->entry, &past->accepted);
        }
        fuse_group_override(group, route, entry_of(q));
    }
    if (instead != 0 && q->entry.route == NULL) {
        fetch(q);
    }
}

void fuse_xds_each_quarantine(const struct fuse_xds *xds, const char *route,
                              void (*each)(struct chassis_view record, void *data), void *data)
{
    chassis_list_foreach (link, &xds->quarantines) {
        const struct quarantine *q = chassis_list_entry(link, struct quarantine, link);
        if (strcmp(q->route, route) == 0) {
            each(chassis_buf_view(&q->record), data);
        }
    }
}
