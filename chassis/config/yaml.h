/* YAML as a small tree: the only door to libyaml, used by the configuration and by dctl.
 *
 * The part of YAML 1.1 that configuration needs: maps, sequences, scalars. Anchors, aliases, tags,
 * several documents, duplicate keys and keys that are not plain text are refused, and so is what is
 * beyond the limits below: a file cannot make us allocate without bound.
 *
 * Invariants: a node belongs to one document and at most one parent; texts hold no NUL.
 * Threads: none of its own. Ownership: everything lives in the document until it is freed.
 */
#ifndef CHASSIS_CONFIG_YAML_H
#define CHASSIS_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include <chassis/buf.h>
#include <chassis/error.h>

enum {
    CHASSIS_YAML_FILE_MAX = 1 << 20, /* bytes */
    CHASSIS_YAML_DEPTH_MAX = 16,     /* levels of maps and sequences */
    CHASSIS_YAML_MAP_MAX = 4096,     /* keys of one map */
    CHASSIS_YAML_NODES_MAX = 100000, /* of one document */
};

enum chassis_yaml_kind {
    CHASSIS_YAML_SCALAR,
    CHASSIS_YAML_SEQUENCE,
    CHASSIS_YAML_MAP,
};

struct chassis_yaml_node {
    enum chassis_yaml_kind kind;
    const char *key;  /* inside a map, else NULL */
    const char *text; /* SCALAR; NULL for null */
    bool plain;       /* SCALAR: written without quotes, so it may stand for a number or boolean */
    unsigned line;    /* from 1; 0 if it was not read from a file */
    size_t n;         /* SEQUENCE and MAP: children */
    struct chassis_yaml_node *first, *last; /* children */
    struct chassis_yaml_node *next;         /* sibling */
};

struct chassis_yaml; /* a document */

/* Read a file or a text; `name` stands in errors ("name:3: …"). CHASSIS_MALFORMED, CHASSIS_TOO_LARGE,
 * -errno. */
int chassis_yaml_load(const char *path, struct chassis_yaml **ret_yaml, struct chassis_error *err);
int chassis_yaml_parse(struct chassis_view text, const char *name, struct chassis_yaml **ret_yaml,
                       struct chassis_error *err);
/* An empty document, to be built. */
struct chassis_yaml *chassis_yaml_new(void);
void chassis_yaml_free(struct chassis_yaml *yaml);

/* NULL for an empty document. */
struct chassis_yaml_node *chassis_yaml_root(const struct chassis_yaml *yaml);
void chassis_yaml_set_root(struct chassis_yaml *yaml, struct chassis_yaml_node *root);
/* The child of a map, NULL without (or if `map` is NULL or no map). */
struct chassis_yaml_node *chassis_yaml_get(const struct chassis_yaml_node *map, const char *key);
/* The text of a scalar child of a map; `otherwise` without. */
const char *chassis_yaml_text(const struct chassis_yaml_node *map, const char *key,
                              const char *otherwise);

struct chassis_yaml_node *chassis_yaml_map(struct chassis_yaml *yaml);
struct chassis_yaml_node *chassis_yaml_sequence(struct chassis_yaml *yaml);
/* Text, quoted on output where YAML could take it for something else. NULL = null. */
struct chassis_yaml_node *chassis_yaml_string(struct chassis_yaml *yaml, const char *text);
/* A number, `true`, `false`: printed as it is. */
struct chassis_yaml_node *chassis_yaml_plain(struct chassis_yaml *yaml, const char *text);
/* `child` must not have a parent yet. */
void chassis_yaml_put(struct chassis_yaml *yaml, struct chassis_yaml_node *map, const char *key,
                      struct chassis_yaml_node *child);
void chassis_yaml_add(struct chassis_yaml_node *sequence, struct chassis_yaml_node *child);

/* Block style, two spaces, keys in their order; reads back as the same tree. */
void chassis_yaml_emit(const struct chassis_yaml_node *root, struct chassis_buf *out);
/* One scalar, quoted when needed. */
void chassis_yaml_emit_text(const char *text, struct chassis_buf *out);

#endif
