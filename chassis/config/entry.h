/* The keys of all tables with the values found so far, shared by the files of this module.
 *
 * Threads: none of its own. Ownership: everything lives in the arena of the struct chassis_config.
 */
#ifndef CHASSIS_CONFIG_ENTRY_H
#define CHASSIS_CONFIG_ENTRY_H

#include <chassis/arena.h>
#include <chassis/config.h>

#include "config/yaml.h"

enum { CHASSIS_CONFIG_ITEMS_MAX = 1024 /* of a list, and names for one `*` */ };

struct config_value {
    union {
        const char *text;
        bool boolean;
        int64_t i64;
        uint64_t u64;
        int choice;
        struct chassis_config_list list;
        struct chassis_config_pairs pairs;
    } is;
};

struct config_entry {
    const struct chassis_config_key *key;
    unsigned table;
    const char *name;   /* the key's, or the one found for a key with `*` */
    const char *wild;   /* what stands for the `*`; NULL for others */
    const char *text;   /* the value as written; NULL = not set and no default */
    const char *origin; /* "default", "config.yaml:3", "DRAFT_RAFT_NODE_ID", "--raft.node-id" */
    unsigned file_line; /* where the file set it, 0 = nowhere */
    struct config_value value;
};

struct chassis_config {
    struct chassis_arena arena;
    struct config_entry *entries;
    size_t n, cap;
    struct chassis_buf problems; /* one per line */
    unsigned n_problems;
};

/* Read a text as the type of `key`. On failure `ret_why` says what is wrong and what is allowed. */
bool chassis_config_value_parse(struct chassis_arena *arena, const struct chassis_config_key *key,
                                const char *text, struct config_value *ret_value,
                                char ret_why[256]);
/* "64KiB" from 65536, "5s" from 5000. */
void chassis_config_value_bound(enum chassis_config_type type, int64_t value, char out[48]);
/* "1…65535", "at least 1s"; empty without bounds. */
void chassis_config_value_range(const struct chassis_config_key *key, char out[128]);

/* DRAFT_RAFT_NODE_ID of raft.node-id. */
void chassis_config_env_name(const char *name, char *out, size_t size);
/* The distance of Levenshtein (1965), capped: texts beyond 96 bytes are far from everything. */
unsigned chassis_config_distance(const char *a, const char *b);
/* Does `name` fit the pattern with its `*`? `ret_wild` is what stands there. */
bool chassis_config_wild_match(const char *pattern, const char *name,
                               struct chassis_view *ret_wild);
/* The known key (or, with `sections`, the known section) that `name` may have been meant to be;
 * empty if none is near. */
void chassis_config_nearest(const struct chassis_config *config, const char *name, bool sections,
                            char *out, size_t size);

/* Set the key to what a source says; problems are noted in the config. */
void chassis_config_problem(struct chassis_config *config, const char *format, ...)
    CHASSIS_PRINTF(2, 3);
/* The entry of a name, a new one for a name that fits a key with `*`, NULL if it is unknown. */
struct config_entry *chassis_config_find(struct chassis_config *config, const char *name);
bool chassis_config_is_section(const struct chassis_config *config, const char *name);
void chassis_config_assign(struct chassis_config *config, struct config_entry *entry,
                           const char *text, const char *origin);

void chassis_config_take_file(struct chassis_config *config, const char *path);
void chassis_config_take_environment(struct chassis_config *config, char **environment);
void chassis_config_take_flags(struct chassis_config *config, int argc, char **argv);

#endif
