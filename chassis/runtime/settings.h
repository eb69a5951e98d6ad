/* The keys every service has, as one table and one struct: docs/reference is printed from it.
 *
 * Threads: filled at boot, constant afterwards. Ownership: strings belong to the configuration.
 */
#ifndef CHASSIS_RUNTIME_SETTINGS_H
#define CHASSIS_RUNTIME_SETTINGS_H

#include <chassis/config.h>

enum settings_log_format {
    SETTINGS_LOG_AUTO, /* console on a terminal, else JSON */
    SETTINGS_LOG_CONSOLE,
    SETTINGS_LOG_JSON,
};
enum settings_when {
    SETTINGS_AUTO,
    SETTINGS_ALWAYS,
    SETTINGS_NEVER,
};

struct chassis_settings {
    const char *name, *domain, *env;
    struct chassis_config_list entrypoints;
    const char *data_directory;
    uint64_t drain_grace_ms, report_interval_ms;
    int64_t workers;

    int log_level;  /* enum chassis_log_level */
    int log_format; /* enum settings_log_format */
    struct chassis_config_list log_modules;

    const char *bind_address, *admin_address, *internal_host, *port_file;
    int64_t bind_port, http_port, admin_port, internal_port;
    bool plaintext;
    int operator_loopback; /* enum settings_when */
    struct chassis_config_list origins, operators, peers;
    const char *tls_ca, *tls_certificate, *tls_key;
    bool tls_client_required;

    uint64_t message_bytes_max, call_bytes_max;
    int64_t calls_max, connections_max;

    const char *node_id, *raft_host, *raft_scheme, *raft_secret_file;
    int64_t raft_port;
    bool raft_bootstrap;
    struct chassis_config_list raft_members;
    uint64_t election_ms, heartbeat_ms;
    int64_t checkpoint_entries;
    uint64_t checkpoint_bytes, segment_bytes, reserve_bytes, store_bytes_max;

    const char *fuse_address;
    struct chassis_config_pairs repository_paths, repository_engines, broker_urls, secret_urls;
};

extern const struct chassis_config_key chassis_settings_table[];

/* What one key alone cannot say: relations between keys, formats of list items. Appends one line for
 * each mistake; CHASSIS_CONFIG if there is any. */
int chassis_settings_check(const struct chassis_settings *s, struct chassis_buf *problems);

/* Peers have a listener of their own. */
bool settings_peer_listener(const struct chassis_settings *s);

#endif
