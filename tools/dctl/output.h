/* Results: one tree of values per result, printed as table, JSON or YAML.
 *
 * Invariants: a node has one parent at most; keys of a map keep their order.
 * Threads: one at a time. Ownership: nodes live in the arena they were made in.
 */
#ifndef DCTL_OUTPUT_H
#define DCTL_OUTPUT_H

#include "dctl.h"

enum dctl_kind {
    DCTL_NULL,
    DCTL_BOOL,
    DCTL_LITERAL, /* a number, as it is written */
    DCTL_TEXT,
    DCTL_LIST,
    DCTL_MAP,
};

struct dctl_node {
    enum dctl_kind kind;
    const char *key; /* in a map */
    bool boolean;
    struct chassis_view text; /* TEXT, LITERAL; a NUL follows */
    struct dctl_node *first, *last, *next;
    unsigned line; /* of the file it was read from; 0 = none */
};

struct dctl_node *dctl_map(struct chassis_arena *a);
struct dctl_node *dctl_list(struct chassis_arena *a);
/* Append to a map (key) or list (key NULL). Text is copied; NULL text becomes null. */
struct dctl_node *dctl_add(struct dctl_node *parent, const char *key, struct dctl_node *node);
struct dctl_node *dctl_add_text(struct chassis_arena *a, struct dctl_node *parent, const char *key,
                                const char *text);
struct dctl_node *dctl_add_view(struct chassis_arena *a, struct dctl_node *parent, const char *key,
                                struct chassis_view text);
struct dctl_node *dctl_add_u64(struct chassis_arena *a, struct dctl_node *parent, const char *key,
                               uint64_t value);
struct dctl_node *dctl_add_bool(struct chassis_arena *a, struct dctl_node *parent, const char *key,
                                bool value);
const struct dctl_node *dctl_find(const struct dctl_node *map, const char *key);

/* A column of a table: what stands at `key` of each row. */
struct dctl_column {
    const char *title; /* "KEY"; NULL ends the columns */
    const char *key;
    int width; /* of streamed tables, whose rows are not known ahead */
};

/* A list of maps as a table of `columns`, a map as lines of key and value; or JSON, or YAML. */
void dctl_print(struct dctl *d, const struct dctl_node *node, const struct dctl_column *columns);
/* One result of many that come over time: a line of the table, one line of JSON, a YAML document. */
void dctl_print_next(struct dctl *d, const struct dctl_node *node,
                     const struct dctl_column *columns);
/* Append; `indent` < 0: on one line. */
void dctl_write_json(const struct dctl_node *node, int indent, struct chassis_buf *out);
/* Append, with a newline at the end. */
void dctl_write_yaml(const struct dctl_node *node, struct chassis_buf *out);

/* json.c: JSON text to a tree. Depth is limited to 64. CHASSIS_MALFORMED names the byte. */
int dctl_json_parse(struct chassis_arena *a, struct chassis_view json, struct dctl_node **ret_node,
                    struct chassis_error *err);
/* Cut the first JSON value off `*text`: up to where its brackets are closed, or to white space. Empty
 * when there is none. */
struct chassis_view dctl_json_next(struct chassis_view *text);

#endif
