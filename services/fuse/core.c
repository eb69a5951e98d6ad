#include "core.h"

#include <chassis/metrics.h>

#include "fuse/control_plane/convert.h"

enum { MEASURE_MS = 1000 };

/* ---- what Blueprint says ---- */

static void routes_begin(void *data)
{
    struct fuse_core *core = data;
    fuse_model_routes_begin(core->model);
}

/* A record that is no route, or one this Fuse does not understand, is as if it were not there: what it
 * replaced must not stay either, or a restarted Fuse would do otherwise. */
static void invalid(struct fuse_core *core, const char *name, uint64_t version, const char *field,
                    const char *text)
{
    chassis_counter_add(core->invalid, 1);
    chassis_log_error(core->options.log, "a route in Blueprint cannot be used",
                      chassis_f_str("route", name), chassis_f_u64("version", version),
                      chassis_f_str("field", field), chassis_f_str("text", text));
    fuse_model_delete_route(core->model, name, version);
}

static void route(void *data, const char *name, struct chassis_view encoded, uint64_t version,
                  uint64_t created_version, int64_t time_ns, const char *actor)
{
    struct fuse_core *core = data;
    struct fuse_problems problems = {0};
    struct fuse_route *r = fuse_route_of_bytes(encoded, &problems);
    if (r == NULL) {
        invalid(core, name, version, problems.items[0].field, problems.items[0].text);
    } else if (strcmp(r->name, name) != 0) {
        invalid(core, name, version, "name", "is not the key of its record");
    } else {
        fuse_model_put_route(core->model, r, version, created_version, time_ns, actor);
    }
    fuse_route_unref(r);
}

static void route_deleted(void *data, const char *name, uint64_t version)
{
    struct fuse_core *core = data;
    fuse_model_delete_route(core->model, name, version);
}

static void routes_end(void *data, uint64_t revision)
{
    struct fuse_core *core = data;
    fuse_model_routes_end(core->model, revision);
}

static void quarantine(void *data, const char *group, const char *name, struct chassis_view record)
{
    struct fuse_core *core = data;
    fuse_xds_quarantine(core->xds, group, name, record);
    fuse_views_quarantined(&core->views, name);
    if (core->options.regrouped != NULL) {
        core->options.regrouped(core->options.data, group);
    }
}

static void view_changed(void *data, const char *group)
{
    struct fuse_core *core = data;
    if (core->options.regrouped != NULL) {
        core->options.regrouped(core->options.data, group);
    }
}

static void synced(void *data)
{
    struct fuse_core *core = data;
    fuse_xds_ready(core->xds);
    if (core->options.synced != NULL) {
        core->options.synced(core->options.data);
    }
}

/* ---- what the views ask ---- */

bool fuse_core_synced(const struct fuse_core *core)
{
    return core->link.told_synced;
}

static bool ready(void *data)
{
    return fuse_core_synced(data);
}

static struct fuse_view *view(void *data, const char *group)
{
    struct fuse_core *core = data;
    return fuse_xds_find_view(core->xds, group);
}

static void each_quarantine(void *data, const char *name,
                            void (*each)(struct chassis_view record, void *each_data),
                            void *each_data)
{
    struct fuse_core *core = data;
    fuse_xds_each_quarantine(core->xds, name, each, each_data);
}

/* ---- metrics ---- */

struct sum {
    int64_t instances, usable;
};

static bool add_service(const struct fuse_service *service, void *data)
{
    struct sum *sum = data;
    sum->instances += service->n_instances;
    sum->usable += service->n_usable;
    return true;
}

static void on_measure(struct chassis_timer *timer)
{
    struct fuse_core *core = chassis_container_of(timer, struct fuse_core, measure);
    const struct fuse_link *link = &core->link;
    struct sum sum = {0};
    uint64_t newest = link->routes.revision;
    fuse_model_each_service(core->model, add_service, &sum);
    newest = link->quarantines.revision > newest ? link->quarantines.revision : newest;
    newest = link->registry.revision > newest ? link->registry.revision : newest;
    chassis_gauge_set(core->instances, sum.instances);
    chassis_gauge_set(core->usable, sum.usable);
    chassis_gauge_set(core->revision, (int64_t)newest);
    chassis_gauge_set(core->lag, (int64_t)(newest - link->routes.revision));
    chassis_gauge_set(core->streams, (link->routes.stream != NULL) +
                                         (link->quarantines.stream != NULL) +
                                         (link->registry.stream != NULL));
    chassis_post_after(core->options.loop, timer, MEASURE_MS * CHASSIS_NS_PER_MS);
}

static void open_metrics(struct fuse_core *core)
{
    core->instances = chassis_gauge("fuse_instances", "Processes known, usable or not.", NULL, 0);
    core->usable = chassis_gauge("fuse_instances_usable", "Processes that get requests.", NULL, 0);
    core->revision =
        chassis_gauge("fuse_blueprint_revision", "Newest revision heard of Blueprint.", NULL, 0);
    core->lag = chassis_gauge("fuse_blueprint_lag_revisions",
                              "How far what is known of routes is behind what was heard otherwise; "
                              "told every 5 s when no route changes.",
                              NULL, 0);
    core->streams = chassis_gauge("fuse_blueprint_streams",
                                  "Streams from Blueprint that are open, of 3.", NULL, 0);
    core->invalid = chassis_counter("fuse_routes_invalid_total",
                                    "Records of routes that could not be used.", NULL, 0);
    core->measure.run = on_measure;
    on_measure(&core->measure);
}

/* ---- life ---- */

static void start_link(struct fuse_core *core)
{
    core->link.client = core->options.blueprint;
    core->link.loop = core->options.loop;
    core->link.log = core->options.log;
    core->link.model = core->model;
    core->link.events = (struct fuse_store_events){
        .routes_begin = routes_begin,
        .route = route,
        .route_deleted = route_deleted,
        .routes_end = routes_end,
        .quarantine = quarantine,
        .data = core,
    };
    core->link.synced = synced;
    core->link.data = core;
    core->link.address.self = core->options.self;
    core->link.address.data = core->options.data;
    fuse_link_start(&core->link);
}

static void open_views(struct fuse_core *core)
{
    core->views.model = core->model;
    core->views.controller = core->controller;
    core->views.store = &core->store.store;
    core->views.proxies = &core->proxies;
    core->views.loop = core->options.loop;
    core->views.log = core->options.log;
    core->views.ready = ready;
    core->views.view = view;
    core->views.each_quarantine = each_quarantine;
    core->views.data = core;
    fuse_views_init(&core->views);
    core->xds_views.loop = core->options.loop;
    fuse_xds_views_init(&core->xds_views);
    core->xds_views.xds = core->xds;
}

void fuse_core_start(struct fuse_core *core, const struct fuse_core_options *options)
{
    *core = (struct fuse_core){.options = *options};
    core->model = fuse_model_new();
    fuse_blueprint_store_init(&core->store, options->blueprint, options->wall_ns);
    fuse_proxies_init(&core->proxies, options->loop);
    core->xds = fuse_xds_new(&(struct fuse_xds_options){
        .model = core->model,
        .statics = options->statics,
        .proxies = &core->proxies,
        .store = &core->store.store,
        .loop = options->loop,
        .log = chassis_log_module("fuse.xds"),
        .wall_ns = options->wall_ns,
        .view_changed = view_changed,
        .view_data = core,
    });
    core->controller = fuse_controller_new(&(struct fuse_controller_options){
        .model = core->model,
        .store = &core->store.store,
        .loop = options->loop,
        .log = options->log,
        .wall_ns = options->wall_ns,
        .parse = fuse_route_of_bytes,
        .versions_kept = options->versions_kept,
    });
    open_views(core);
    open_metrics(core);
    start_link(core);
}

void fuse_core_statics_changed(struct fuse_core *core)
{
    fuse_xds_statics_changed(core->xds);
}

void fuse_core_drain(struct fuse_core *core)
{
    fuse_views_drain(&core->views);
    fuse_xds_views_drain(&core->xds_views);
}

static void on_store_idle(void *data)
{
    struct fuse_core *core = data;
    fuse_controller_free(core->controller);
    fuse_xds_free(core->xds);
    fuse_proxies_fini(&core->proxies);
    fuse_model_free(core->model);
    core->stopped(core->stopped_data);
}

void fuse_core_stop(struct fuse_core *core, void (*stopped)(void *data), void *data)
{
    core->stopped = stopped;
    core->stopped_data = data;
    fuse_link_stop(&core->link);
    chassis_cancel(core->options.loop, &core->measure);
    fuse_blueprint_store_stop(&core->store, on_store_idle, core);
}
