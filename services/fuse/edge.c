#include "edge.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/utf8.h"
#include "draft/routing/v1/routing.chassis.h"

enum { TEXT_MAX = 2048 }; /* of a proxy's words in a record */

/* ---- what HAProxy refuses ---- */

static void on_written(int code, const struct chassis_error *err, uint64_t version, void *data)
{
    struct fuse_edge *edge = data;
    if (code != 0) {
        chassis_log_warn(edge->log,
                         "HAProxy refused a route, which could not be written down: it is left out "
                         "all the same",
                         chassis_f_err(err));
    }
}

static char *cut(struct chassis_arena *arena, const char *text)
{
    size_t len = strlen(text), kept = 0;
    while (kept < len) {
        size_t step = chassis_utf8_len((const uint8_t *)text + kept, len - kept);
        if (step == 0 || kept + step > TEXT_MAX) {
            break;
        }
        kept += step;
    }
    return chassis_arena_strndup(arena, text, kept);
}

static void on_refused(const struct fuse_entry *entry, const char *text, void *data)
{
    struct fuse_edge *edge = data;
    struct chassis_arena arena;
    struct chassis_buf record = {0};
    Draft__Routing__V1__Quarantine q = DRAFT__ROUTING__V1__QUARANTINE__INIT;
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    int64_t now_ns = edge->core->options.wall_ns(NULL);
    chassis_arena_init(&arena, NULL, 0, 0);
    time.seconds = now_ns / 1000000000;
    time.nanos = (int32_t)(now_ns % 1000000000);
    q.group = (char *)(uintptr_t)edge->config->group;
    q.route = (char *)(uintptr_t)entry->route->name;
    q.version = entry->version;
    q.proxy = (char *)(uintptr_t) "haproxy";
    q.text = cut(&arena, text);
    q.time = &time;
    draft__routing__v1__quarantine__encode(&q, &record);
    chassis_log_error(edge->log, "HAProxy refuses a route", chassis_f_str("route", q.route),
                      chassis_f_u64("version", q.version), chassis_f_str("text", q.text));
    struct fuse_store *store = &edge->core->store.store;
    store->ops->quarantine(store, q.group, q.route, chassis_buf_view(&record), on_written, edge);
    chassis_buf_fini(&record);
    chassis_arena_fini(&arena);
}

/* ---- life ---- */

static void on_model_changed(void *data, const struct fuse_change *change)
{
    struct fuse_edge *edge = data;
    if (edge->haproxy != NULL) {
        fuse_haproxy_changed(edge->haproxy, change);
    }
}

/* Absolute; what is missing is made. */
static int directory_of(const struct fuse_edge_config *config, const char *data_directory,
                        char ret_path[PATH_MAX], struct chassis_error *err)
{
    char text[PATH_MAX], base[PATH_MAX];
    bool own = config->directory != NULL && config->directory[0] != '\0';
    int n = snprintf(text, sizeof text, "%s%s", own ? config->directory : data_directory,
                     own ? "" : "/haproxy");
    if (n < 0 || n >= (int)sizeof text ||
        (!own && mkdir(data_directory, 0700) != 0 && errno != EEXIST) ||
        (text[0] != '/' && getcwd(base, sizeof base) == NULL)) {
        return chassis_error_code(err, errno != 0 ? -errno : -ENAMETOOLONG,
                                  "fuse.haproxy.directory '%.200s'", text);
    }
    n = snprintf(ret_path, PATH_MAX, "%s%s%s", text[0] != '/' ? base : "",
                 text[0] != '/' ? "/" : "", text);
    return n < PATH_MAX ? 0
                        : chassis_error_set(err, CHASSIS_CONFIG,
                                            "fuse.haproxy.directory '%.200s': too long", text);
}

int fuse_edge_open(struct fuse_edge *edge, const struct fuse_edge_config *config,
                   struct fuse_core *core, struct chassis_loop *loop,
                   struct chassis_executor *workers, const char *data_directory,
                   struct chassis_error *err)
{
    char directory[PATH_MAX];
    *edge = (struct fuse_edge){
        .config = config, .core = core, .log = chassis_log_module("fuse.haproxy")};
    if (!config->enabled) {
        return 0;
    }
    int rc = directory_of(config, data_directory, directory, err);
    if (rc != 0) {
        return rc;
    }
    struct fuse_haproxy_options options = {
        .view = fuse_xds_view(core->xds, config->group),
        .statics = core->options.statics,
        .proxies = &core->proxies,
        .loop = loop,
        .workers = workers,
        .log = edge->log,
        .wall_ns = core->options.wall_ns,
        .program = config->program,
        .directory = directory,
        .stop_with_us = config->stop,
        .quarantine = on_refused,
        .data = edge,
    };
    rc = fuse_haproxy_open(&options, &edge->haproxy, err);
    if (rc == 0) {
        fuse_model_listen(core->model, &(struct fuse_model_listener){on_model_changed, edge});
    }
    return rc;
}

void fuse_edge_synced(struct fuse_edge *edge)
{
    if (edge->haproxy != NULL) {
        fuse_haproxy_ready(edge->haproxy);
    }
}

void fuse_edge_changed(struct fuse_edge *edge, const char *group)
{
    if (edge->haproxy != NULL && (group == NULL || strcmp(group, edge->config->group) == 0)) {
        fuse_haproxy_changed(edge->haproxy, NULL);
    }
}

void fuse_edge_close(struct fuse_edge *edge, void (*closed)(void *data), void *data)
{
    struct fuse_haproxy *haproxy = edge->haproxy;
    edge->haproxy = NULL; /* the model goes on changing until the core stops */
    if (haproxy != NULL) {
        fuse_haproxy_close(haproxy, closed, data);
    } else {
        closed(data);
    }
}
