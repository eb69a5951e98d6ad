#include "codec.h"

#define ROWS(table) (table), sizeof(table) / sizeof((table)[0])
/* A row: name, type, version that brought it, bound. */
#define F(s, name, type, since, max)                                                               \
    {                                                                                              \
#name, BP_FIELD_##type, (since), offsetof(struct s, name), (max), NULL                     \
    }
#define L(s, name, since, max, layout)                                                             \
    {                                                                                              \
#name, BP_FIELD_LIST, (since), offsetof(struct s, name), (max), &(layout)                  \
    }
#define ELEMENT(variable, text, s, rows)                                                           \
    static const struct bp_layout variable = {(text), 0, sizeof(struct s), ROWS(rows)}
#define MESSAGE(variable, text, id, s, rows)                                                       \
    const struct bp_layout variable = {(text), (id), sizeof(struct s), ROWS(rows)}

static const struct bp_field metadata_fields[] = {
    F(bp_sd_metadata, key, TEXT, 1, BP_SD_METADATA_KEY_MAX),
    F(bp_sd_metadata, value, TEXT, 1, BP_SD_METADATA_VALUE_MAX),
};
ELEMENT(metadata_layout, "metadata", bp_sd_metadata, metadata_fields);

static const struct bp_field text_fields[] = {
    F(bp_sd_text, text, TEXT, 1, BP_SD_METADATA_VALUE_MAX),
};
ELEMENT(text_layout, "text", bp_sd_text, text_fields);

#define DETAILS(s, prefix)                                                                         \
    F(s, prefix running, U32, 1, BP_SD_DISCONNECTED), F(s, prefix health, U32, 1, 2),              \
        F(s, prefix kind, U32, 1, 2), F(s, prefix lat, FLOAT, 1, 0),                               \
        F(s, prefix lng, FLOAT, 1, 0), F(s, prefix group, TEXT, 1, BP_SD_METADATA_VALUE_MAX),      \
        F(s, prefix address, TEXT, 1, BP_SD_ADDRESS_MAX),                                          \
        F(s, prefix http_address, TEXT, 1, BP_SD_METADATA_VALUE_MAX),                              \
        L(s, prefix metadata, 1, BP_SD_METADATA_MAX, metadata_layout),                             \
        L(s, prefix services, 1, BP_SD_SERVICES_MAX, text_layout)

static const struct bp_field register_fields[] = {
    F(bp_sd_register, actor, TEXT, 1, BP_SD_ACTOR_MAX),
    F(bp_sd_register, pid, TEXT, 1, BP_SD_PID_MAX),
    F(bp_sd_register, name, TEXT, 1, BP_SD_NAME_MAX),
    F(bp_sd_register, nonce, TEXT, 1, BP_SD_NONCE_MAX),
    F(bp_sd_register, any_nonce, BOOL, 1, 0),
};
MESSAGE(bp_sd_layout_register, "register command", BP_SD_REGISTER, bp_sd_register, register_fields);

static const struct bp_field report_fields[] = {
    F(bp_sd_report, actor, TEXT, 1, BP_SD_ACTOR_MAX),
    F(bp_sd_report, pid, TEXT, 1, BP_SD_PID_MAX),
    F(bp_sd_report, reason, TEXT, 1, BP_SD_REASON_MAX),
    F(bp_sd_report, incarnation, U64, 1, 0),
    DETAILS(bp_sd_report, details.),
};
MESSAGE(bp_sd_layout_report, "report command", BP_SD_REPORT, bp_sd_report, report_fields);

static const struct bp_field remove_fields[] = {
    F(bp_sd_remove, actor, TEXT, 1, BP_SD_ACTOR_MAX),
    F(bp_sd_remove, pid, TEXT, 1, BP_SD_PID_MAX),
    F(bp_sd_remove, reason, TEXT, 1, BP_SD_REASON_MAX),
    F(bp_sd_remove, incarnation, U64, 1, 0),
    F(bp_sd_remove, removal, U32, 1, BP_SD_FORGOTTEN),
};
MESSAGE(bp_sd_layout_remove, "remove command", BP_SD_REMOVE, bp_sd_remove, remove_fields);

static const struct bp_field node_key_fields[] = {
    F(bp_sd_node_key, actor, TEXT, 1, BP_SD_ACTOR_MAX),
    F(bp_sd_node_key, key_id, TEXT, 1, BP_SD_KEY_ID_MAX),
    F(bp_sd_node_key, public_key, BYTES, 1, BP_SD_PUBLIC_KEY_LEN),
};
MESSAGE(bp_sd_layout_node_key, "node key command", BP_SD_NODE_KEY, bp_sd_node_key, node_key_fields);

static const struct bp_field set_health_fields[] = {
    F(bp_sd_set_health, actor, TEXT, 1, BP_SD_ACTOR_MAX),
    F(bp_sd_set_health, pid, TEXT, 1, BP_SD_PID_MAX),
    F(bp_sd_set_health, reason, TEXT, 1, BP_SD_REASON_MAX),
    F(bp_sd_set_health, incarnation, U64, 1, 0),
    F(bp_sd_set_health, health, U32, 1, BP_SD_UNHEALTHY),
};
MESSAGE(bp_sd_layout_set_health, "health command", BP_SD_HEALTH, bp_sd_set_health,
        set_health_fields);

static const struct bp_field register_result_fields[] = {
    F(bp_sd_register_result, pid, TEXT, 1, BP_SD_PID_MAX),
    F(bp_sd_register_result, incarnation, U64, 1, 0),
};
MESSAGE(bp_sd_layout_register_result, "register result", BP_SD_REGISTER_RESULT,
        bp_sd_register_result, register_result_fields);

static const struct bp_field change_result_fields[] = {
    F(bp_sd_change_result, changed, BOOL, 1, 0),
    F(bp_sd_change_result, revision, U64, 1, 0),
    F(bp_sd_change_result, incarnation, U64, 1, 0),
};
MESSAGE(bp_sd_layout_change_result, "change result", BP_SD_CHANGE_RESULT, bp_sd_change_result,
        change_result_fields);

#define PROCESS(s, prefix)                                                                         \
    F(s, prefix pid, TEXT, 1, BP_SD_PID_MAX), F(s, prefix name, TEXT, 1, BP_SD_NAME_MAX),          \
        F(s, prefix incarnation, U64, 1, 0), DETAILS(s, prefix details.),                          \
        F(s, prefix joined_ns, I64, 1, 0), F(s, prefix changed_ns, I64, 1, 0),                     \
        F(s, prefix left_ns, I64, 1, 0), F(s, prefix reported, BOOL, 1, 0),                        \
        F(s, prefix reason, TEXT, 1, BP_SD_REASON_MAX),                                            \
        F(s, prefix actor, TEXT, 1, BP_SD_ACTOR_MAX)

static const struct bp_field process_fields[] = {PROCESS(bp_sd_process, )};
MESSAGE(bp_sd_layout_process, "process record", BP_RECORD_PROCESS, bp_sd_process, process_fields);

static const struct bp_field transition_fields[] = {
    F(bp_sd_transition, type, U32, 1, BP_SD_EVENT_EXPIRED),
    F(bp_sd_transition, time_ns, I64, 1, 0),
    PROCESS(bp_sd_transition, process.),
};
MESSAGE(bp_sd_layout_transition, "transition record", BP_RECORD_TRANSITION, bp_sd_transition,
        transition_fields);

static const struct bp_field nonce_fields[] = {
    F(bp_sd_nonce, pid, TEXT, 1, BP_SD_PID_MAX),
    F(bp_sd_nonce, incarnation, U64, 1, 0),
    F(bp_sd_nonce, time_ns, I64, 1, 0),
};
MESSAGE(bp_sd_layout_nonce, "nonce record", BP_RECORD_NONCE, bp_sd_nonce, nonce_fields);

static const struct bp_field key_fields[] = {
    F(bp_sd_key, public_key, BYTES, 1, BP_SD_PUBLIC_KEY_LEN),
    F(bp_sd_key, actor, TEXT, 1, BP_SD_ACTOR_MAX),
    F(bp_sd_key, time_ns, I64, 1, 0),
};
MESSAGE(bp_sd_layout_key, "key record", BP_RECORD_KEY, bp_sd_key, key_fields);

static const struct bp_field heartbeats_fields[] = {
    L(bp_sd_heartbeats, pids, 1, BP_SD_HEARTBEATS_MAX, text_layout),
};
MESSAGE(bp_sd_layout_heartbeats, "heartbeats", BP_SD_HEARTBEATS, bp_sd_heartbeats,
        heartbeats_fields);
MESSAGE(bp_sd_layout_ask_last_seen, "question for last reports", BP_SD_LAST_SEEN, bp_sd_heartbeats,
        heartbeats_fields);

static const struct bp_field seen_fields[] = {
    F(bp_sd_seen, pid, TEXT, 1, BP_SD_PID_MAX),
    F(bp_sd_seen, time_ns, I64, 1, 0),
};
ELEMENT(seen_layout, "last report", bp_sd_seen, seen_fields);
static const struct bp_field last_seen_fields[] = {
    L(bp_sd_last_seen, seen, 1, BP_SD_HEARTBEATS_MAX, seen_layout),
};
MESSAGE(bp_sd_layout_last_seen, "last reports", BP_SD_LAST_SEEN_ANSWER, bp_sd_last_seen,
        last_seen_fields);
