#include "runtime/settings.h"

#include <stdio.h>

#include <chassis/log.h>

static const char *const log_levels[] = {"trace", "debug", "info", "warn",
                                         "error", "fatal", "off",  NULL};
static const char *const log_formats[] = {"auto", "console", "json", NULL};
static const char *const whens[] = {"auto", "always", "never", NULL};

/* clang-format off */
#define AT(field) offsetof(struct chassis_settings, field)
#define STRING(key, field, initial_, help_) \
    {.name = key, .type = CHASSIS_CONFIG_STRING, .offset = AT(field), .initial = initial_, .help = help_}
#define INT(key, field, initial_, min_, max_, help_) \
    {.name = key, .type = CHASSIS_CONFIG_INT, .offset = AT(field), .initial = initial_, .min = min_, .max = max_, .help = help_}
#define SIZE(key, field, initial_, min_, max_, help_) \
    {.name = key, .type = CHASSIS_CONFIG_SIZE, .offset = AT(field), .initial = initial_, .min = min_, .max = max_, .help = help_}
#define TIME(key, field, initial_, min_, max_, help_) \
    {.name = key, .type = CHASSIS_CONFIG_DURATION, .offset = AT(field), .initial = initial_, .min = min_, .max = max_, .help = help_}
#define BOOL(key, field, initial_, help_) \
    {.name = key, .type = CHASSIS_CONFIG_BOOL, .offset = AT(field), .initial = initial_, .help = help_}
#define ENUM(key, field, initial_, choices_, help_) \
    {.name = key, .type = CHASSIS_CONFIG_ENUM, .offset = AT(field), .initial = initial_, .choices = choices_, .help = help_}
#define LIST(key, field, help_) \
    {.name = key, .type = CHASSIS_CONFIG_LIST, .offset = AT(field), .help = help_}

#define KIB (1024LL)
#define MIB (1024LL * KIB)
#define GIB (1024LL * MIB)

const struct chassis_config_key chassis_settings_table[] = {
    STRING("service.name", name, NULL, "Name of the service; default: that of the program."),
    STRING("service.domain", domain, "default", "Domain the service belongs to."),
    STRING("service.env", env, "local", "Environment: local, staging, production or a name of yours."),
    LIST("service.entrypoint", entrypoints, "Blueprint nodes to register with, as http://host:port."),
    STRING("service.data_directory", data_directory, "data", "Directory of everything the service keeps on disk."),
    TIME("service.drain_grace", drain_grace_ms, "5s", 0, 600000, "Time that calls have to finish on shutdown."),
    TIME("service.report_interval", report_interval_ms, "5s", 100, 60000, "Time between reports to Blueprint."),
    INT("service.workers", workers, "2", 1, 256, "Threads that run handlers which may block."),

    ENUM("service.logging.level", log_level, "info", log_levels, "Records below this level are not written."),
    ENUM("service.logging.format", log_format, "auto", log_formats, "How records are written; auto: console on a terminal, else json."),
    LIST("service.logging.modules", log_modules, "Levels of single modules, as module=level."),

    STRING("service.network.bind_address", bind_address, "127.0.0.1", "Address that gRPC and HTTP listen on."),
    INT("service.network.bind_port", bind_port, "8090", 0, 65535, "gRPC port; 0 = any free one."),
    INT("service.network.http_port", http_port, "-1", -1, 65535, "HTTP port; 0 = any free one, -1 = bind_port + 1."),
    STRING("service.network.admin_address", admin_address, "127.0.0.1", "Address of the admin pages; empty = none."),
    INT("service.network.admin_port", admin_port, "-1", -1, 65535, "Port of the admin pages; 0 = any free one, -1 = HTTP port + 100."),
    STRING("service.network.internal.host", internal_host, NULL, "Host at which other services reach this one; default: bind_address."),
    INT("service.network.internal.port", internal_port, "0", 0, 65535, "Port at which other services reach this one; 0 = the gRPC port."),
    STRING("service.network.port_file", port_file, NULL, "File to write the bound ports to, as JSON, once ready."),
    BOOL("service.network.plaintext", plaintext, "false", "Allow listening without TLS beyond this machine."),
    LIST("service.network.origins", origins, "Web origins whose pages may call (CORS); * = any."),
    ENUM("service.network.operator_loopback", operator_loopback, "auto", whens, "Callers from this machine are operators; auto: if service.env is local."),
    LIST("service.network.operators", operators, "Certificate names that are operators (mTLS)."),
    LIST("service.network.peers", peers, "Certificate names of the other nodes of the cluster (mTLS)."),
    STRING("service.network.tls.ca", tls_ca, NULL, "PEM file of the authorities that callers and servers are checked against. Read again when it changes, as the next two."),
    STRING("service.network.tls.certificate", tls_certificate, NULL, "PEM file of the service's certificate."),
    STRING("service.network.tls.key", tls_key, NULL, "PEM file of its private key, mode 0600."),
    BOOL("service.network.tls.client_required", tls_client_required, "false", "Refuse clients without a certificate."),

    SIZE("service.limits.message", message_bytes_max, "4MiB", KIB, GIB, "Largest request, bytes."),
    SIZE("service.limits.call_bytes", call_bytes_max, "64MiB", MIB, 64 * GIB, "Request bytes in flight, all calls together."),
    INT("service.limits.calls", calls_max, "16384", 1, 10000000, "Calls in flight."),
    INT("service.limits.connections", connections_max, "1024", 1, 1000000, "HTTP connections."),

    STRING("raft.node-id", node_id, NULL, "Name of this node in its cluster."),
    STRING("raft.host", raft_host, "localhost", "Host that the other nodes dial."),
    INT("raft.port", raft_port, "0", 0, 65535, "Port that the other nodes dial; 0 = the gRPC port."),
    STRING("raft.scheme", raft_scheme, "http", "http or https, as the other nodes write this node's address."),
    BOOL("raft.bootstrap", raft_bootstrap, "false", "This node makes the cluster's secret at its first start."),
    LIST("raft.members", raft_members, "Nodes of the cluster, as name@host:port, the same on all; default: this one alone."),
    STRING("raft.secret_file", raft_secret_file, NULL, "File of the cluster's secret, mode 0600; default: cluster-secret in the data directory."),
    TIME("raft.election_timeout", election_ms, "1s", 50, 60000, "Silence of the leader after which another one is elected."),
    TIME("raft.heartbeat", heartbeat_ms, "100ms", 10, 10000, "Time between signs of life of the leader."),
    INT("raft.checkpoint_entries", checkpoint_entries, "100000", 100, 1000000000, "Entries applied between two checkpoints."),
    SIZE("raft.checkpoint_size", checkpoint_bytes, "64MiB", 64 * KIB, 64 * GIB, "Log written between two checkpoints, bytes."),
    SIZE("raft.segment_size", segment_bytes, "64MiB", MIB, GIB, "Size of the journal's files; 1MiB suits small flash."),
    SIZE("raft.reserve", reserve_bytes, "0", 0, 1024 * GIB, "Free disk space below which writes are refused; 0 = the journal's default."),
    SIZE("raft.store_size", store_bytes_max, "16GiB", MIB, 1024 * GIB, "Largest size of the replicated store."),

    STRING("fuse.address", fuse_address, NULL, "Fuse's URL; default: the record fuse_address of Blueprint."),
    {.name = "repositories.*.path", .type = CHASSIS_CONFIG_STRING, .offset = AT(repository_paths), .help = "Directory of a repository; default: its name in the data directory."},
    {.name = "repositories.*.engine", .type = CHASSIS_CONFIG_STRING, .offset = AT(repository_engines), .help = "Engine of a repository, if another than the service's own choice: lmdb or memory."},
    {.name = "brokers.*.url", .type = CHASSIS_CONFIG_STRING, .offset = AT(broker_urls), .help = "A message broker: http://host:port, several by commas, or for catalyst a registered name."},
    {.name = "secrets.*.url", .type = CHASSIS_CONFIG_STRING, .offset = AT(secret_urls), .help = "A secret store: file:///directory or env:PREFIX_."},
    {.name = NULL},
};
/* clang-format on */

static void check_members(const struct chassis_settings *s, struct chassis_buf *problems)
{
    bool here = s->raft_members.n == 0;
    for (size_t i = 0; i < s->raft_members.n; i++) {
        const char *item = s->raft_members.items[i];
        const char *at = strchr(item, '@');
        if (at == NULL || at == item || strrchr(at, ':') == NULL) {
            chassis_buf_printf(problems, "raft.members: '%s' must be name@host:port\n", item);
            continue;
        }
        size_t len = (size_t)(at - item);
        here = here || (s->node_id != NULL && strlen(s->node_id) == len &&
                        memcmp(s->node_id, item, len) == 0);
    }
    if (!here) {
        chassis_buf_printf(problems,
                           "raft.members: this node, raft.node-id '%s', is not among them\n",
                           s->node_id != NULL ? s->node_id : "");
    }
}

static void check_log_modules(const struct chassis_settings *s, struct chassis_buf *problems)
{
    for (size_t i = 0; i < s->log_modules.n; i++) {
        const char *equals = strchr(s->log_modules.items[i], '=');
        enum chassis_log_level level;
        if (equals == NULL || chassis_log_level_parse(equals + 1, &level) != 0) {
            chassis_buf_printf(problems, "service.logging.modules: '%s' must be module=level\n",
                               s->log_modules.items[i]);
        }
    }
}

bool settings_peer_listener(const struct chassis_settings *s)
{
    return s->raft_port != 0 && s->raft_port != s->bind_port;
}

int chassis_settings_check(const struct chassis_settings *s, struct chassis_buf *problems)
{
    size_t before = problems->len;
    check_members(s, problems);
    check_log_modules(s, problems);
    if ((s->tls_certificate == NULL) != (s->tls_key == NULL)) {
        chassis_buf_append_str(
            problems, "service.network.tls.certificate: certificate and key belong together\n");
    }
    if (s->tls_client_required && s->tls_ca == NULL) {
        chassis_buf_append_str(problems, "service.network.tls.client_required: needs a ca\n");
    }
    if (s->heartbeat_ms * 2 > s->election_ms) {
        chassis_buf_append_str(problems,
                               "raft.heartbeat: must be at most half of raft.election_timeout\n");
    }
    if (strcmp(s->raft_scheme, "http") != 0 && strcmp(s->raft_scheme, "https") != 0) {
        chassis_buf_printf(problems, "raft.scheme: '%s' must be http or https\n", s->raft_scheme);
    }
    for (size_t i = 0; i < s->secret_urls.n; i++) {
        const char *url = s->secret_urls.items[i].value;
        if (strncmp(url, "file:///", 8) != 0 && strncmp(url, "env:", 4) != 0) {
            chassis_buf_printf(problems,
                               "secrets.%s.url: '%s' must be file:///directory or env:PREFIX_\n",
                               s->secret_urls.items[i].name, url);
        }
    }
    return problems->len == before ? 0 : CHASSIS_CONFIG;
}
