/* Catalyst: a durable broker of CloudEvents. */
#include <stdio.h>

#include "catalyst/broker/broker.h"
#include "catalyst/broker/journal_log.h"
#include "catalyst/engines/engines.h"
#include "catalyst/groups/groups.h"
#include "catalyst/groups/rpc.h"
#include "catalyst/push/push.h"
#include "catalyst/views/views.h"
#include "os/disk.h"
#include "os/os.h"
#include "runtime/runtime.h"

struct settings {
    const char *directory;
    uint64_t segment_bytes, reserve_bytes, publish_bytes, cache_bytes;
    int64_t dedupe_events;
    struct cat_engines_config engines;
    const char *push_origin;
    struct chassis_config_list push_unvalidated;
};
static const struct chassis_config_key table[] = {
    {"catalyst.journal.directory", CHASSIS_CONFIG_STRING, offsetof(struct settings, directory),
     NULL, 0, 0, NULL,
     "Where the events are kept; empty = the folder \"journal\" of the data directory.", 0},
    {"catalyst.journal.segment-bytes", CHASSIS_CONFIG_SIZE,
     offsetof(struct settings, segment_bytes), "64MiB", 4 << 20, 1 << 30, NULL,
     "Size of one file of the journal, bytes; a multiple of 4096.", 0},
    {"catalyst.journal.reserve-bytes", CHASSIS_CONFIG_SIZE,
     offsetof(struct settings, reserve_bytes), "128MiB", 1 << 20, INT64_MAX, NULL,
     "Free disk space below which events are refused, bytes.", 0},
    {"catalyst.journal.cache-bytes", CHASSIS_CONFIG_SIZE, offsetof(struct settings, cache_bytes),
     "1MiB", 64 << 10, 1 << 30, NULL,
     "Newest events of one stream kept in memory, bytes; 64 MiB over all.", 0},
    {"catalyst.publish-bytes-max", CHASSIS_CONFIG_SIZE, offsetof(struct settings, publish_bytes),
     "64MiB", 1 << 20, 1 << 30, NULL,
     "Events accepted and not yet stored, bytes; more wait at their producers.", 0},
    {"catalyst.engines.directory", CHASSIS_CONFIG_STRING,
     offsetof(struct settings, engines.directory), NULL, 0, 0, NULL,
     "Where engines and the HTTP client of push groups are loaded from; empty = lib/draft beside "
     "the program's bin.",
     0},
    {"catalyst.engines.nats.url", CHASSIS_CONFIG_STRING, offsetof(struct settings, engines.urls[0]),
     NULL, 0, 0, NULL,
     "Servers of streams with backend nats (nats://host:port, several by commas).", 0},
    {"catalyst.engines.kafka.url", CHASSIS_CONFIG_STRING,
     offsetof(struct settings, engines.urls[1]), NULL, 0, 0, NULL,
     "Brokers of streams with backend kafka (host:port, several by commas).", 0},
    {"catalyst.push.origin", CHASSIS_CONFIG_STRING, offsetof(struct settings, push_origin), NULL, 0,
     0, NULL,
     "Name of this broker to push URLs (WebHook-Request-Origin), the same on all its nodes; empty "
     "= "
     "the host's name.",
     0},
    {"catalyst.push.unvalidated-hosts", CHASSIS_CONFIG_LIST,
     offsetof(struct settings, push_unvalidated), NULL, 0, 0, NULL,
     "Hosts of push URLs (host or host:port) that are posted to without asking for their "
     "permission; * = all, which lets whoever makes groups aim this broker at strangers.",
     0},
    {"catalyst.dedupe-events-max", CHASSIS_CONFIG_INT, offsetof(struct settings, dedupe_events),
     "4194304", 1000, 1 << 28, NULL,
     "Events remembered over all streams for their dedupe windows, some 40 bytes each.", 0},
    {0},
};

static struct {
    struct settings settings;
    struct chassis_executor *writer, *preparer;
    struct chassis_journal *journal;
    struct cat_engines engines;
    struct cat_broker *broker;
    struct cat_groups *groups;
    struct cat_push *push;
    struct cat_views views;
    bool has_views;
    void (*closed)(void *data);
    void *closed_data;
} node;

static int64_t wall_ns(void *data)
{
    return chassis_wall_ns(chassis_clock_posix());
}

static int open_journal(struct chassis *c, struct chassis_error *err)
{
    const struct chassis_settings *own = chassis_runtime_settings(c);
    struct chassis_disk *disk = chassis_disk_posix();
    char path[600];
    if (node.settings.directory != NULL && node.settings.directory[0] != '\0') {
        snprintf(path, sizeof path, "%s", node.settings.directory);
    } else {
        int rc = disk->ops->mkdir(disk, own->data_directory);
        if (rc < 0) {
            return chassis_error_code(err, rc, "make directory '%s'", own->data_directory);
        }
        snprintf(path, sizeof path, "%s/journal", own->data_directory);
    }
    if (node.settings.segment_bytes % 4096 != 0) {
        return chassis_error_set(err, CHASSIS_CONFIG,
                                 "catalyst.journal.segment-bytes: not a multiple of 4096");
    }
    int rc = chassis_os_thread_start_prompt("journal", &node.writer);
    rc = rc == 0 ? chassis_os_thread_start("prepare", &node.preparer) : rc;
    if (rc < 0) {
        return chassis_error_code(err, rc, "start the threads of the journal");
    }
    struct chassis_journal_options options = {
        .disk = disk,
        .directory = path,
        .owner = chassis_loop(c),
        .writer = node.writer,
        .preparer = node.preparer,
        .log = chassis_log_module("journal"),
        .segment_bytes = node.settings.segment_bytes,
        .reserve_bytes = node.settings.reserve_bytes,
        .pending_bytes_max = 2 * node.settings.publish_bytes, /* events are refused before */
        .cache_bytes_per_stream = node.settings.cache_bytes,
        .sync_interval_ms = CAT_JOURNAL_SYNC_MS,
        .live_percent = 50,
    };
    return chassis_journal_open(&options, &node.journal, err);
}

static int secret(void *data, const char *name, struct chassis_buf *ret_secret,
                  struct chassis_error *err)
{
    return chassis_secret(data, name, ret_secret, err);
}

static int start(struct chassis *c, void *data, struct chassis_error *err)
{
    int rc = cat_push_check_origin(node.settings.push_origin, err);
    rc = rc == 0 ? open_journal(c, err) : rc;
    if (rc < 0) {
        return rc;
    }
    cat_engines_init(&node.engines, &node.settings.engines, chassis_loop(c),
                     chassis_log_module("catalyst.engines"));
    struct cat_broker_options options = {
        .journal = node.journal,
        .loop = chassis_loop(c),
        .workers = chassis_workers(c),
        .log = chassis_logger(c),
        .wall_ns = wall_ns,
        .engine = cat_engines_get,
        .engine_data = &node.engines,
        .publish_bytes_max = node.settings.publish_bytes,
        .dedupe_events_max = (size_t)node.settings.dedupe_events,
    };
    rc = cat_broker_open(&options, &node.broker, err);
    if (rc < 0) {
        return rc;
    }
    struct cat_groups_options groups = {
        .broker = node.broker,
        .loop = chassis_loop(c),
        .log = chassis_log_module("catalyst.groups"),
        .wall_ns = wall_ns,
        .filter = cat_group_filter_of,
        .push = cat_push_group,
    };
    groups.push_data = node.push = cat_push_new(&(struct cat_push_options){
        .loop = chassis_loop(c),
        .log = chassis_log_module("catalyst.push"),
        .directory = node.settings.engines.directory,
        .secret = secret,
        .secret_data = c,
        .origin = node.settings.push_origin,
        .unvalidated_hosts = node.settings.push_unvalidated.items,
        .n_unvalidated_hosts = node.settings.push_unvalidated.n,
    });
    rc = cat_groups_open(&groups, &node.groups, err);
    if (rc == 0) {
        cat_push_start(node.push, node.groups);
        cat_views_init(&node.views, node.broker, node.groups, chassis_loop(c));
        node.has_views = true;
    }
    return rc;
}

static void drain(void *data)
{
    if (node.has_views) {
        cat_views_drain(&node.views);
    }
}

static void stop(struct chassis *c, void *data)
{
    if (node.has_views) {
        cat_views_fini(&node.views);
    }
}

static void on_journal_closed(void *data)
{
    node.closed(node.closed_data);
}

static void on_engines_closed(void *data)
{
    if (node.journal != NULL) {
        chassis_journal_close(node.journal, on_journal_closed, NULL);
    } else {
        node.closed(node.closed_data);
    }
}

static void on_broker_closed(void *data)
{
    node.broker = NULL;
    cat_engines_close(&node.engines, on_engines_closed, NULL);
}

static void on_groups_closed(void *data)
{
    node.groups = NULL;
    if (node.broker != NULL) {
        cat_broker_close(node.broker, on_broker_closed, NULL);
    } else {
        on_broker_closed(NULL);
    }
}

static void on_push_closed(void *data)
{
    cat_push_free(node.push);
    node.push = NULL;
    if (node.groups != NULL) {
        cat_groups_close(node.groups, on_groups_closed, NULL);
    } else {
        on_groups_closed(NULL);
    }
}

static void close_all(void *data, void (*closed)(void *closed_data), void *closed_data)
{
    node.closed = closed;
    node.closed_data = closed_data;
    if (node.push != NULL) {
        cat_push_close(node.push, on_push_closed, NULL);
    } else {
        on_push_closed(NULL);
    }
}

static void stop_threads(void)
{
    if (node.writer != NULL) {
        chassis_os_thread_stop(node.writer);
    }
    if (node.preparer != NULL) {
        chassis_os_thread_stop(node.preparer);
    }
}

int main(int argc, char **argv)
{
    struct chassis *c = chassis_new("catalyst", argc, argv);
    chassis_runtime_with_default(c, "service.network.bind_port", "2220");
    chassis_runtime_with_http_offset(c, 100);
    chassis_with_config(c, table, &node.settings);
    chassis_with_runner(c, &(struct chassis_runner){start, stop, NULL});
    chassis_runtime_with_drain(c, drain, NULL);
    chassis_runtime_with_closer(c, close_all, NULL);
    cat_views_add(c, &node.views);
    chassis_register(c, "catalyst", NULL, 0);
    int code = chassis_run(c);
    stop_threads();
    return code;
}
