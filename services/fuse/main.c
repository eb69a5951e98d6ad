/* Fuse: routing control plane of a Draft cluster. */
#include <stdio.h>

#include "fuse/core.h"
#include "fuse/edge.h"
#include "fuse/statics.h"
#include "os/os.h"
#include "runtime/runtime.h"

struct settings {
    struct fuse_statics_config statics;
    struct fuse_edge_config edge;
    int64_t versions;
};
static const struct chassis_config_key table[] = {
    {"fuse.listener.address", CHASSIS_CONFIG_STRING,
     offsetof(struct settings, statics.listener_address), "127.0.0.1", 0, 0, NULL,
     "Address of the listener \"default\" of proxies.", 0},
    {"fuse.listener.port", CHASSIS_CONFIG_INT, offsetof(struct settings, statics.listener_port),
     "18080", 0, 65535, NULL, "Its port; 0 = there is no such listener.", 0},
    {"fuse.listeners.*", CHASSIS_CONFIG_STRING, offsetof(struct settings, statics.listeners), NULL,
     0, 0, NULL,
     "Further listeners of proxies: http://address:port?group=a,b (node groups that have it; none "
     "= "
     "all) or https://address:port?secret=name.",
     0},
    {"fuse.secrets.*", CHASSIS_CONFIG_STRING, offsetof(struct settings, statics.secrets), NULL, 0,
     0, NULL,
     "TLS files of listeners: certificate.pem,key.pem[,ca.pem]; with a ca clients must show a "
     "certificate. Read again when they change.",
     0},
    {"fuse.history.versions", CHASSIS_CONFIG_INT, offsetof(struct settings, versions), "20", 1,
     1000, NULL, "Versions kept of each route.", 0},
    {"fuse.haproxy.enabled", CHASSIS_CONFIG_BOOL, offsetof(struct settings, edge.enabled), "false",
     0, 0, NULL, "Keep an HAProxy on this machine in step.", 0},
    {"fuse.haproxy.program", CHASSIS_CONFIG_STRING, offsetof(struct settings, edge.program),
     "haproxy", 0, 0, NULL, "The program.", 0},
    {"fuse.haproxy.directory", CHASSIS_CONFIG_STRING, offsetof(struct settings, edge.directory),
     NULL, 0, 0, NULL,
     "Its files and sockets, at most 80 bytes; empty = the folder \"haproxy\" of the data "
     "directory.",
     0},
    {"fuse.haproxy.group", CHASSIS_CONFIG_STRING, offsetof(struct settings, edge.group), "haproxy",
     0, 0, NULL, "Its node group.", 0},
    {"fuse.haproxy.stop", CHASSIS_CONFIG_BOOL, offsetof(struct settings, edge.stop), "false", 0, 0,
     NULL, "End it with Fuse; else it goes on and the next Fuse takes it over.", 0},
    {0},
};

static struct {
    struct settings settings;
    struct fuse_core core;
    struct fuse_edge edge;
    bool started;
    struct fuse_static_set *statics;
    void (*closed)(void *data);
    void *closed_data;
} node;

static int64_t wall_ns(void *data)
{
    return chassis_wall_ns(chassis_clock_posix());
}

static bool self(void *data, char ret_url[300], char ret_pid[64])
{
    bool tls = chassis_runtime_settings(data)->tls_certificate != NULL;
    snprintf(ret_url, 300, "%s://%s", tls ? "https" : "http", chassis_rpc_address(data));
    return chassis_runtime_pid(data, ret_pid);
}

/* "a:1,b:2" of "http://a:1", "b:2". */
static int target_of(const struct chassis_config_list *entrypoints, char *out, size_t size,
                     struct chassis_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < entrypoints->n; i++) {
        const char *scheme = strstr(entrypoints->items[i], "://");
        const char *host = scheme != NULL ? scheme + 3 : entrypoints->items[i];
        n += (size_t)snprintf(out + n, n < size ? size - n : 0, "%s%.*s", i != 0 ? "," : "",
                              (int)strcspn(host, "/"), host);
        if (n >= size) {
            return chassis_error_set(err, CHASSIS_CONFIG, "service.entrypoint: too many addresses");
        }
    }
    return n != 0
               ? 0
               : chassis_error_set(err, CHASSIS_CONFIG,
                                   "service.entrypoint names no Blueprint, where routes are kept");
}

static void on_synced(void *data)
{
    fuse_edge_synced(&node.edge);
}

static void on_regrouped(void *data, const char *group)
{
    fuse_edge_changed(&node.edge, group);
}

static void on_statics_changed(void *data)
{
    fuse_core_statics_changed(&node.core);
    fuse_edge_changed(&node.edge, NULL);
}

static int start(struct chassis *c, void *data, struct chassis_error *err)
{
    char target[4096];
    struct chassis_client *client = NULL;
    int rc = target_of(&chassis_runtime_settings(c)->entrypoints, target, sizeof target, err);
    rc = rc == 0 ? fuse_statics_open(&node.settings.statics, &node.statics, err) : rc;
    rc = rc == 0 ? chassis_runtime_client(c, target, chassis_loop(c), &client, err) : rc;
    if (rc != 0) {
        return rc;
    }
    fuse_core_start(&node.core, &(struct fuse_core_options){
                                    .blueprint = client,
                                    .loop = chassis_loop(c),
                                    .log = chassis_logger(c),
                                    .wall_ns = wall_ns,
                                    .versions_kept = (unsigned)node.settings.versions,
                                    .statics = fuse_statics_of(node.statics),
                                    .self = self,
                                    .synced = on_synced,
                                    .regrouped = on_regrouped,
                                    .data = c,
                                });
    node.started = true;
    fuse_statics_watch(node.statics, &(struct fuse_statics_watch){
                                         .loop = chassis_loop(c),
                                         .changed = on_statics_changed,
                                     });
    return fuse_edge_open(&node.edge, &node.settings.edge, &node.core, chassis_runtime_loop(c),
                          chassis_workers(c), chassis_runtime_settings(c)->data_directory, err);
}

static bool synced(void *data)
{
    return node.started && fuse_core_synced(&node.core);
}

static void drain(void *data)
{
    if (node.started) {
        fuse_core_drain(&node.core);
    }
}

static void on_statics_stopped(void *data)
{
    fuse_statics_close(node.statics);
    node.statics = NULL;
    node.closed(node.closed_data);
}

static void on_core_stopped(void *data)
{
    node.started = false;
    if (node.statics != NULL) {
        fuse_statics_stop(node.statics, on_statics_stopped, NULL);
    } else {
        node.closed(node.closed_data);
    }
}

static void on_edge_closed(void *data)
{
    fuse_core_stop(&node.core, on_core_stopped, NULL);
}

static void close_all(void *data, void (*closed)(void *closed_data), void *closed_data)
{
    node.closed = closed;
    node.closed_data = closed_data;
    if (node.started) {
        fuse_edge_close(&node.edge, on_edge_closed, NULL);
    } else {
        on_core_stopped(NULL);
    }
}

int main(int argc, char **argv)
{
    struct chassis_service services[FUSE_XDS_SERVICES];
    struct chassis *c = chassis_new("fuse", argc, argv);
    chassis_runtime_with_default(c, "service.network.bind_port", "18000");
    chassis_runtime_with_http_offset(c, 1);
    chassis_with_config(c, table, &node.settings);
    chassis_with_runner(c, &(struct chassis_runner){start, NULL, NULL});
    chassis_with_readiness(c, "blueprint", synced, NULL);
    chassis_runtime_with_drain(c, drain, NULL);
    chassis_runtime_with_closer(c, close_all, NULL);
    chassis_with_rpc_handler(c, fuse_networking_service(&node.core.views));
    chassis_with_rpc_handler(c, fuse_routing_service(&node.core.views));
    fuse_xds_services(&node.core.xds_views, services);
    for (unsigned i = 0; i < FUSE_XDS_SERVICES; i++) {
        chassis_with_rpc_handler(c, services[i]);
    }
    chassis_register(c, "fuse", NULL, 0);
    return chassis_run(c);
}
