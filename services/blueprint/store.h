/* Blueprint's tables and the sealed records in them.
 *
 * Every value is an encoded message (codec.h) followed by a CRC-32C over table, key and message, for
 * the store below keeps no checksums: a flipped bit is CHASSIS_CORRUPT when the record is read,
 * never an answer. A change is what one command does: it takes at most one revision, the next of a
 * counter that is part of the data and so the same on all nodes.
 *
 * Invariants: the order of the enum is the order of bp_tables; a put that fails inside a change
 * aborts the process (a replica that cannot apply must not go on).
 * Threads: as the transaction. Ownership: what is read is valid until the next change of the
 * transaction unless an arena is named.
 */
#ifndef BP_STORE_H
#define BP_STORE_H

#include <chassis/plugin/repository.h>

#include "codec.h"

enum bp_table {
    BP_TABLE_KINDS,       /* 'i' id → type_url, 'u' type_url → id */
    BP_TABLE_REVS,        /* be64 revision, be16 sub → record of key_value */
    BP_TABLE_INDEX,       /* be32 kind, key → newest version */
    BP_TABLE_META,        /* counters by name */
    BP_TABLE_LEASES,      /* 'l' lease → number, 'a' be64 number, be32 kind, key → attached */
    BP_TABLE_PROCESSES,   /* pid → process */
    BP_TABLE_TRANSITIONS, /* be64 revision, be16 sub → what happened to a process */
    BP_TABLE_NONCES, /* 'n' name, 0, nonce → registration; 't' be64 revision → the former key */
    BP_TABLE_KEYS,   /* key id → public half of a node's signing key */
    BP_TABLES,
};
extern const char *const bp_tables[BP_TABLES];

/* Ids of every message, commands below 64. Never reused. */
enum bp_message {
    BP_KV_WRITE = 1,
    BP_KV_TXN = 2,
    BP_KV_COMPACT = 3,
    BP_SD_REGISTER = 16,
    BP_SD_REPORT = 17,
    BP_SD_REMOVE = 18,
    BP_SD_NODE_KEY = 19,
    BP_SD_HEALTH = 20,
    BP_COMMANDS_END = 64,
    BP_KV_RESULT = 64,
    BP_KV_TXN_RESULT = 65,
    BP_SD_REGISTER_RESULT = 66,
    BP_SD_CHANGE_RESULT = 67,
    BP_SD_HEARTBEATS = 80, /* questions to the leader */
    BP_SD_LAST_SEEN = 81,
    BP_SD_LAST_SEEN_ANSWER = 82,
    BP_RECORD_COUNTER = 128,
    BP_RECORD_TEXT = 129,
    BP_RECORD_VERSION = 130,
    BP_RECORD_INDEX = 131,
    BP_RECORD_PROCESS = 132,
    BP_RECORD_TRANSITION = 133,
    BP_RECORD_NONCE = 134,
    BP_RECORD_KEY = 135,
};

struct bp_counter {
    uint64_t value;
};
struct bp_text {
    struct chassis_view text;
};
extern const struct bp_layout bp_layout_counter, bp_layout_text;

/* What happens when damage is met, by a read or in a change, before the error is returned or the
 * process ends; NULL: nothing. Any role; set before the store is used. */
void bp_store_on_damage(void (*damaged)(void *data, const char *text), void *data);
/* What is stored contradicts itself, as `err` says. CHASSIS_CORRUPT. */
int bp_store_damaged(const struct chassis_error *err);

/* CHASSIS_NOT_FOUND, CHASSIS_CORRUPT naming table and key, CHASSIS_BAD_VERSION. Views of *ret point
 * into the store; lists into the arena. */
int bp_store_get(struct chassis_txn *txn, enum bp_table table, struct chassis_view key,
                 const struct bp_layout *layout, struct chassis_arena *arena, void *ret_record,
                 struct chassis_error *err);
/* The same for a value a cursor returned. */
int bp_store_unseal(enum bp_table table, struct chassis_view key, struct chassis_view value,
                    const struct bp_layout *layout, struct chassis_arena *arena, void *ret_record,
                    struct chassis_error *err);
/* A counter of the meta table, 0 if it was never set. */
int bp_store_counter(struct chassis_txn *txn, const char *name, uint64_t *ret_value,
                     struct chassis_error *err);
#define BP_COUNTER_REVISION "revision"
#define BP_COUNTER_FLOOR    "floor" /* everything below this revision may be compacted away */
#define BP_COUNTER_KINDS    "kinds"
#define BP_COUNTER_LEASES   "leases"

enum { BP_POSITION_LEN = 10 };
/* Where a version or a transition stands: a revision and its place in it. */
struct bp_position {
    uint64_t revision;
    uint32_t sub; /* 0 … 65535 */
};
struct bp_key {
    uint8_t data[CHASSIS_STORE_KEY_MAX];
    size_t len;
};
static inline struct chassis_view bp_key_view(const struct bp_key *key)
{
    return chassis_view(key->data, key->len);
}
void bp_key_position(struct bp_key *key, struct bp_position position);
struct bp_position bp_position_of(struct chassis_view key);
void bp_key_append(struct bp_key *key, const void *data, size_t len);
void bp_key_append_be32(struct bp_key *key, uint32_t v);
void bp_key_append_be64(struct bp_key *key, uint64_t v);

/* One command being applied. */
struct bp_change {
    struct chassis_txn *txn;
    int64_t time_ns;
    struct chassis_view actor;  /* who asked; set by the command's decoder */
    struct chassis_arena arena; /* of this command */
    struct chassis_buf *result; /* of this command: its result or the text of its refusal */
    uint64_t revision;          /* present one; the new one once something was changed */
    uint32_t next_sub;
    bool changed;
    struct chassis_buf scratch;
    uint8_t room[1024]; /* the arena's first */
};
void bp_change_begin(struct bp_change *change, struct chassis_txn *txn, int64_t time_ns,
                     struct chassis_buf *result);
/* Stores the counter if a revision was taken. */
void bp_change_end(struct bp_change *change);
/* The next place in this command's revision, which the first call takes. */
struct bp_position bp_change_next(struct bp_change *change);
/* Refuse: the text becomes the result, the code the status. Nothing may have been changed. */
int bp_change_refuse(struct bp_change *change, int code, const char *format, ...)
    CHASSIS_PRINTF(3, 4);

/* What is stored contradicts itself: as damage of a record. Does not return. */
_Noreturn void bp_change_damaged(const char *format, ...) CHASSIS_PRINTF(1, 2);

/* Inside a change; failures and damage abort. get: false if there is no such record. The text
 * fields of a record read here are copied when `copy`, else valid until the next put. */
bool bp_change_get(struct bp_change *change, enum bp_table table, struct chassis_view key,
                   const struct bp_layout *layout, bool copy, void *ret_record);
void bp_change_put(struct bp_change *change, enum bp_table table, struct chassis_view key,
                   const struct bp_layout *layout, const void *record);
void bp_change_append(struct bp_change *change, enum bp_table table, struct chassis_view key,
                      const struct bp_layout *layout, const void *record);
/* False if it was not there. */
bool bp_change_del(struct bp_change *change, enum bp_table table, struct chassis_view key);
uint64_t bp_change_counter(struct bp_change *change, const char *name);
void bp_change_set_counter(struct bp_change *change, const char *name, uint64_t value);

#endif
