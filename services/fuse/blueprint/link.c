#include "link.h"

#include <stdlib.h>

#include "base/assert.h"
#include "store.h"
#include "wire.h"

bool fuse_link_synced(const struct fuse_link *link)
{
    return link->routes.synced && link->quarantines.synced && link->registry.synced;
}

static void may_be_synced(void *data)
{
    struct fuse_link *link = data;
    if (fuse_link_synced(link) && !link->told_synced) {
        link->told_synced = true;
        chassis_log_info(link->log, "everything is known",
                         chassis_f_u64("routes", fuse_model_n_routes(link->model)),
                         chassis_f_u64("revision", link->routes.revision));
        link->synced(link->data);
    }
}

/* ---- routes ---- */

static void routes_begin(void *data)
{
    struct fuse_link *link = data;
    link->events.routes_begin(link->events.data);
}

static void route_put(void *data, const char *key, struct chassis_view value,
                      const struct fuse_record_meta *meta)
{
    struct fuse_link *link = data;
    link->events.route(link->events.data, key, value, meta->revision, meta->created_revision,
                       meta->time_ns, meta->actor);
}

static void route_deleted(void *data, const char *key, uint64_t revision)
{
    struct fuse_link *link = data;
    link->events.route_deleted(link->events.data, key, revision);
}

static void routes_end(void *data, uint64_t revision)
{
    struct fuse_link *link = data;
    link->events.routes_end(link->events.data, revision);
    may_be_synced(link);
}

/* ---- quarantines ---- */

static struct fuse_link_mark *mark_of(struct fuse_link *link, const char *key)
{
    for (unsigned i = 0; i < link->n_marks; i++) {
        if (strcmp(link->marks[i].key, key) == 0) {
            return &link->marks[i];
        }
    }
    return NULL;
}

static void tell(struct fuse_link *link, const char *key, struct chassis_view record)
{
    char group[FUSE_QUARANTINE_KEY_MAX + 1], route[FUSE_QUARANTINE_KEY_MAX + 1];
    if (fuse_quarantine_key_parse(key, group, route)) {
        link->events.quarantine(link->events.data, group, route, record);
    } else {
        chassis_log_warn(link->log, "a quarantine record has no valid key",
                         chassis_f_str("key", key));
    }
}

static void forget(struct fuse_link *link, struct fuse_link_mark *mark)
{
    char *key = mark->key;
    *mark = link->marks[--link->n_marks];
    tell(link, key, chassis_view(NULL, 0));
    free(key);
}

static void quarantines_begin(void *data)
{
    struct fuse_link *link = data;
    for (unsigned i = 0; i < link->n_marks; i++) {
        link->marks[i].seen = false;
    }
}

static void quarantine_put(void *data, const char *key, struct chassis_view value,
                           const struct fuse_record_meta *meta)
{
    struct fuse_link *link = data;
    struct fuse_link_mark *mark = mark_of(link, key);
    if (mark == NULL) {
        if (link->n_marks == link->cap_marks) {
            link->cap_marks = link->cap_marks != 0 ? link->cap_marks * 2 : 16;
            link->marks = chassis_base_realloc(link->marks, link->cap_marks * sizeof *link->marks);
        }
        mark = &link->marks[link->n_marks++];
        mark->key = chassis_base_strdup(key);
    }
    mark->seen = true;
    tell(link, key, value);
}

static void quarantine_deleted(void *data, const char *key, uint64_t revision)
{
    struct fuse_link *link = data;
    struct fuse_link_mark *mark = mark_of(link, key);
    if (mark != NULL) {
        forget(link, mark);
    }
}

static void quarantines_end(void *data, uint64_t revision)
{
    struct fuse_link *link = data;
    for (unsigned i = link->n_marks; i-- > 0;) {
        if (!link->marks[i].seen) {
            forget(link, &link->marks[i]);
        }
    }
    may_be_synced(link);
}

/* ---- life ---- */

void fuse_link_start(struct fuse_link *link)
{
    static const struct fuse_records_handlers routes = {routes_begin, route_put, route_deleted,
                                                        routes_end};
    static const struct fuse_records_handlers quarantines = {quarantines_begin, quarantine_put,
                                                             quarantine_deleted, quarantines_end};
    const struct fuse_records records = {
        .client = link->client, .loop = link->loop, .log = link->log, .prefix = "", .data = link};
    link->routes = link->quarantines = records;
    link->routes.kind = FUSE_KIND_ROUTE;
    link->routes.handlers = &routes;
    link->quarantines.kind = FUSE_KIND_QUARANTINE;
    link->quarantines.handlers = &quarantines;
    link->registry = (struct fuse_registry){.client = link->client,
                                            .loop = link->loop,
                                            .log = link->log,
                                            .model = link->model,
                                            .synced_first = may_be_synced,
                                            .data = link};
    fuse_records_start(&link->routes);
    fuse_records_start(&link->quarantines);
    fuse_registry_start(&link->registry);
    if (link->address.self != NULL) {
        link->address.client = link->client;
        link->address.loop = link->loop;
        link->address.log = link->log;
        fuse_address_start(&link->address);
    }
}

void fuse_link_stop(struct fuse_link *link)
{
    fuse_records_stop(&link->routes);
    fuse_records_stop(&link->quarantines);
    fuse_registry_stop(&link->registry);
    if (link->address.self != NULL) {
        fuse_address_stop(&link->address);
    }
    for (unsigned i = 0; i < link->n_marks; i++) {
        free(link->marks[i].key);
    }
    free(link->marks);
    link->marks = NULL;
    link->n_marks = link->cap_marks = 0;
}
