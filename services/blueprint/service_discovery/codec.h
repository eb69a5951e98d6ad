/* The messages of service_discovery: commands, results, records and the questions to the leader.
 *
 * Threads: any. Ownership: as codec.h.
 */
#ifndef BP_SERVICE_DISCOVERY_CODEC_H
#define BP_SERVICE_DISCOVERY_CODEC_H

#include "../codec.h"
#include "../store.h"

enum {
    BP_SD_PID_MAX = 64,
    BP_SD_NAME_MAX = 255,
    BP_SD_NONCE_MIN = 16,
    BP_SD_NONCE_MAX = 128,
    BP_SD_METADATA_MAX = 64,
    BP_SD_METADATA_KEY_MAX = 128,
    BP_SD_METADATA_VALUE_MAX = 1024,
    BP_SD_SERVICES_MAX = 64,
    BP_SD_ADDRESS_MAX = 255,
    BP_SD_REASON_MAX = 255,
    BP_SD_ACTOR_MAX = 255,
    BP_SD_KEY_ID_MAX = 64,
    BP_SD_KEYS_TOLD = 64, /* node keys in one answer */
    BP_SD_PUBLIC_KEY_LEN = 32,
    BP_SD_HEARTBEATS_MAX = 65536,  /* pids in one question */
    BP_SD_PROCESSES_MAX = 100000,  /* registered at one time */
    BP_SD_NONCES_MAX = 65536,      /* remembered, the oldest go first */
    BP_SD_TRANSITIONS_MAX = 10000, /* remembered, the oldest go first */
};
/* How long a (name, nonce) may be repeated, and how long it is remembered after that. */
#define BP_SD_NONCE_REPEAT_NS (120 * INT64_C(1000000000))
#define BP_SD_NONCE_KEEP_NS   (24 * 3600 * INT64_C(1000000000))

/* The numbers of the wire (contract §2). */
enum bp_sd_running {
    BP_SD_STARTING = 1,
    BP_SD_TESTING = 2,
    BP_SD_RUNNING = 3,
    BP_SD_DISCONNECTED = 4,
};
enum bp_sd_health { BP_SD_HEALTHY = 1, BP_SD_UNHEALTHY = 2 };

struct bp_sd_metadata {
    struct chassis_view key, value;
};
struct bp_sd_text { /* element of a list of texts */
    struct chassis_view text;
};

/* What a process says about itself. */
struct bp_sd_details {
    uint32_t running, health, kind;
    float lat, lng;
    struct chassis_view group, address, http_address;
    struct bp_array metadata; /* struct bp_sd_metadata */
    struct bp_array services; /* struct bp_sd_text: full RPC service names */
};

/* Commands. */
struct bp_sd_register {
    struct chassis_view actor, pid, name, nonce;
    bool any_nonce; /* the nonce is the compatibility constant: it identifies nothing */
};
struct bp_sd_report {
    struct chassis_view actor, pid, reason;
    uint64_t incarnation;
    struct bp_sd_details details;
};
enum bp_sd_removal {
    BP_SD_FINALIZED = 1, /* it left: gone at once */
    BP_SD_EXPIRED = 2,   /* silent: DICONNECTED, its leased records gone */
    BP_SD_FORGOTTEN = 3, /* disconnected for long, or never reported: gone */
};
struct bp_sd_remove {
    struct chassis_view actor, pid, reason;
    uint64_t incarnation; /* 0 = whatever it is */
    uint32_t removal;     /* enum bp_sd_removal */
};
struct bp_sd_node_key {
    struct chassis_view actor, key_id, public_key;
};
struct bp_sd_set_health {
    struct chassis_view actor, pid, reason;
    uint64_t incarnation; /* 0 = whatever it is */
    uint32_t health;
};

/* Results. */
struct bp_sd_register_result {
    struct chassis_view pid;
    uint64_t incarnation;
};
struct bp_sd_change_result {
    bool changed;
    uint64_t revision, incarnation;
};

/* Records. */
struct bp_sd_process {
    struct chassis_view pid, name;
    uint64_t incarnation; /* revision of its registration */
    struct bp_sd_details details;
    int64_t joined_ns, changed_ns, left_ns; /* left 0 = it is there */
    bool reported;                          /* at least once */
    struct chassis_view reason, actor;      /* of the last transition */
};
/* The types of ProcessEvent. */
enum bp_sd_event_type {
    BP_SD_EVENT_JOINED = 1,
    BP_SD_EVENT_CHANGED = 2,
    BP_SD_EVENT_LEFT = 3,
    BP_SD_EVENT_EXPIRED = 4,
    BP_SD_EVENT_SYNCED = 5,
    BP_SD_EVENT_RESYNC = 6,
};
struct bp_sd_transition {
    uint32_t type;
    int64_t time_ns;
    struct bp_sd_process process; /* after it */
    uint64_t revision;            /* not stored: where it stands; 0 = unknown */
};
struct bp_sd_nonce {
    struct chassis_view pid;
    uint64_t incarnation;
    int64_t time_ns;
};
struct bp_sd_key {
    struct chassis_view public_key, actor;
    int64_t time_ns;
};

/* Questions to the leader, and the answer: never stored. */
struct bp_sd_heartbeats {
    struct bp_array pids; /* struct bp_sd_text */
};
struct bp_sd_seen {
    struct chassis_view pid;
    int64_t time_ns; /* wall clock of the leader */
};
struct bp_sd_last_seen {
    struct bp_array seen; /* struct bp_sd_seen */
};

extern const struct bp_layout bp_sd_layout_register, bp_sd_layout_report, bp_sd_layout_remove,
    bp_sd_layout_node_key, bp_sd_layout_set_health, bp_sd_layout_register_result,
    bp_sd_layout_change_result, bp_sd_layout_process, bp_sd_layout_transition, bp_sd_layout_nonce,
    bp_sd_layout_key, bp_sd_layout_heartbeats, bp_sd_layout_ask_last_seen, bp_sd_layout_last_seen;

#endif
