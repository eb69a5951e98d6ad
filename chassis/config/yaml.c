/* Reading: libyaml's events become a tree. */
#include "config/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <yaml.h>

#include <chassis/arena.h>

#include "base/assert.h"

struct chassis_yaml {
    struct chassis_arena arena;
    struct chassis_yaml_node *root;
};

struct builder {
    struct chassis_yaml *yaml;
    const char *name;
    struct chassis_error *err;
    struct chassis_yaml_node
        *open[CHASSIS_YAML_DEPTH_MAX]; /* maps and sequences we are inside of */
    unsigned depth;
    const char *key; /* read, its value not yet */
    size_t n_nodes;
    bool done;
};

struct chassis_yaml *chassis_yaml_new(void)
{
    struct chassis_yaml *yaml = chassis_base_zalloc(sizeof *yaml);
    chassis_arena_init(&yaml->arena, NULL, 0, 0);
    return yaml;
}

void chassis_yaml_free(struct chassis_yaml *yaml)
{
    if (yaml != NULL) {
        chassis_arena_fini(&yaml->arena);
        free(yaml);
    }
}

struct chassis_yaml_node *chassis_yaml_root(const struct chassis_yaml *yaml)
{
    return yaml->root;
}

void chassis_yaml_set_root(struct chassis_yaml *yaml, struct chassis_yaml_node *root)
{
    yaml->root = root;
}

static struct chassis_yaml_node *node_new(struct chassis_yaml *yaml, enum chassis_yaml_kind kind)
{
    struct chassis_yaml_node *node = chassis_arena_zalloc(&yaml->arena, sizeof *node);
    node->kind = kind;
    return node;
}

struct chassis_yaml_node *chassis_yaml_map(struct chassis_yaml *yaml)
{
    return node_new(yaml, CHASSIS_YAML_MAP);
}

struct chassis_yaml_node *chassis_yaml_sequence(struct chassis_yaml *yaml)
{
    return node_new(yaml, CHASSIS_YAML_SEQUENCE);
}

struct chassis_yaml_node *chassis_yaml_string(struct chassis_yaml *yaml, const char *text)
{
    struct chassis_yaml_node *node = node_new(yaml, CHASSIS_YAML_SCALAR);
    node->text = text != NULL ? chassis_arena_strdup(&yaml->arena, text) : NULL;
    return node;
}

struct chassis_yaml_node *chassis_yaml_plain(struct chassis_yaml *yaml, const char *text)
{
    struct chassis_yaml_node *node = chassis_yaml_string(yaml, text);
    node->plain = true;
    return node;
}

void chassis_yaml_add(struct chassis_yaml_node *parent, struct chassis_yaml_node *child)
{
    CHASSIS_ASSERT(parent->kind != CHASSIS_YAML_SCALAR && child->next == NULL);
    if (parent->last != NULL) {
        parent->last->next = child;
    } else {
        parent->first = child;
    }
    parent->last = child;
    parent->n++;
}

void chassis_yaml_put(struct chassis_yaml *yaml, struct chassis_yaml_node *map, const char *key,
                      struct chassis_yaml_node *child)
{
    CHASSIS_ASSERT(map->kind == CHASSIS_YAML_MAP);
    child->key = chassis_arena_strdup(&yaml->arena, key);
    chassis_yaml_add(map, child);
}

struct chassis_yaml_node *chassis_yaml_get(const struct chassis_yaml_node *map, const char *key)
{
    if (map == NULL || map->kind != CHASSIS_YAML_MAP) {
        return NULL;
    }
    struct chassis_yaml_node *node = map->first;
    while (node != NULL && strcmp(node->key, key) != 0) {
        node = node->next;
    }
    return node;
}

const char *chassis_yaml_text(const struct chassis_yaml_node *map, const char *key,
                              const char *otherwise)
{
    const struct chassis_yaml_node *node = chassis_yaml_get(map, key);
    return node != NULL && node->kind == CHASSIS_YAML_SCALAR && node->text != NULL ? node->text
                                                                                   : otherwise;
}

static int refuse(struct builder *b, const yaml_event_t *event, const char *what)
{
    return chassis_error_set(b->err, CHASSIS_MALFORMED, "%s:%zu: %s", b->name,
                             event->start_mark.line + 1, what);
}

/* YAML 1.1 writes null as nothing, `~` or `null`. */
static bool is_null(const char *text)
{
    return text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 ||
           strcmp(text, "Null") == 0 || strcmp(text, "NULL") == 0;
}

static int take_key(struct builder *b, const yaml_event_t *event)
{
    const struct chassis_yaml_node *map = b->open[b->depth - 1];
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    if (len == 0 || memchr(text, '\0', len) != NULL) {
        return refuse(b, event, "empty key");
    }
    if (map->n >= CHASSIS_YAML_MAP_MAX) {
        return refuse(b, event, "more than 4096 keys in one map");
    }
    const struct chassis_yaml_node *present = chassis_yaml_get(map, text);
    if (present != NULL) {
        return chassis_error_set(b->err, CHASSIS_MALFORMED,
                                 "%s:%zu: duplicate key '%.128s', first on line %u", b->name,
                                 event->start_mark.line + 1, text, present->line);
    }
    b->key = chassis_arena_strndup(&b->yaml->arena, text, len);
    return 0;
}

/* Hang a node where we are: the root, or below the innermost open map or sequence. */
static int place(struct builder *b, const yaml_event_t *event, struct chassis_yaml_node *node)
{
    if (++b->n_nodes > CHASSIS_YAML_NODES_MAX) {
        return refuse(b, event, "more than 100000 values");
    }
    node->line = (unsigned)event->start_mark.line + 1;
    if (b->depth == 0) {
        b->yaml->root = node;
        return 0;
    }
    node->key = b->key;
    b->key = NULL;
    chassis_yaml_add(b->open[b->depth - 1], node);
    return 0;
}

static bool wants_key(const struct builder *b)
{
    return b->depth != 0 && b->open[b->depth - 1]->kind == CHASSIS_YAML_MAP && b->key == NULL;
}

static int take_scalar(struct builder *b, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    if (event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL) {
        return refuse(b, event, "anchors and tags are not supported");
    }
    if (wants_key(b)) {
        return take_key(b, event);
    }
    if (memchr(text, '\0', len) != NULL) {
        return refuse(b, event, "a text with a NUL in it");
    }
    struct chassis_yaml_node *node = node_new(b->yaml, CHASSIS_YAML_SCALAR);
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (!node->plain || !is_null(text)) {
        node->text = chassis_arena_strndup(&b->yaml->arena, text, len);
    }
    return place(b, event, node);
}

static int take_open(struct builder *b, const yaml_event_t *event, bool map, bool decorated)
{
    if (decorated) {
        return refuse(b, event, "anchors and tags are not supported");
    }
    if (wants_key(b)) {
        return refuse(b, event, "a key must be a plain text");
    }
    if (b->depth == CHASSIS_YAML_DEPTH_MAX) {
        return refuse(b, event, "nested deeper than 16 levels");
    }
    struct chassis_yaml_node *node =
        node_new(b->yaml, map ? CHASSIS_YAML_MAP : CHASSIS_YAML_SEQUENCE);
    int rc = place(b, event, node);
    b->open[b->depth++] = node;
    return rc;
}

static int take_event(struct builder *b, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return 0;
    case YAML_DOCUMENT_START_EVENT:
        return b->n_nodes != 0 ? refuse(b, event, "more than one document") : 0;
    case YAML_STREAM_END_EVENT:
        b->done = true;
        return 0;
    case YAML_ALIAS_EVENT:
        return refuse(b, event, "aliases are not supported");
    case YAML_SCALAR_EVENT:
        return take_scalar(b, event);
    case YAML_SEQUENCE_START_EVENT:
        return take_open(b, event, false,
                         event->data.sequence_start.anchor != NULL ||
                             event->data.sequence_start.tag != NULL);
    case YAML_MAPPING_START_EVENT:
        return take_open(b, event, true,
                         event->data.mapping_start.anchor != NULL ||
                             event->data.mapping_start.tag != NULL);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        b->depth--;
        return 0;
    }
    return refuse(b, event, "unexpected YAML");
}

static int parser_error(const yaml_parser_t *parser, const char *name, struct chassis_error *err)
{
    if (parser->error == YAML_MEMORY_ERROR) {
        CHASSIS_PANIC("out of memory reading '%s'", name);
    }
    /* The reader's errors (bad encoding) come with an offset, all others with a mark. */
    if (parser->error == YAML_READER_ERROR) {
        return chassis_error_set(err, CHASSIS_MALFORMED, "%s: byte %zu: %s", name,
                                 parser->problem_offset, parser->problem);
    }
    return chassis_error_set(
        err, CHASSIS_MALFORMED, "%s:%zu: %s%s%s", name, parser->problem_mark.line + 1,
        parser->problem != NULL ? parser->problem : "not YAML", parser->context != NULL ? " " : "",
        parser->context != NULL ? parser->context : "");
}

int chassis_yaml_parse(struct chassis_view text, const char *name, struct chassis_yaml **ret_yaml,
                       struct chassis_error *err)
{
    if (text.len > CHASSIS_YAML_FILE_MAX) {
        return chassis_error_set(err, CHASSIS_TOO_LARGE, "%s: larger than 1 MiB", name);
    }
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        CHASSIS_PANIC("out of memory reading '%s'", name);
    }
    yaml_parser_set_input_string(&parser, text.len != 0 ? text.data : (const uint8_t *)"",
                                 text.len);
    struct builder b = {.yaml = chassis_yaml_new(), .name = name, .err = err};
    int rc = 0;
    while (rc == 0 && !b.done) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            rc = parser_error(&parser, name, err);
            break;
        }
        rc = take_event(&b, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (rc != 0) {
        chassis_yaml_free(b.yaml);
        return rc;
    }
    *ret_yaml = b.yaml;
    return 0;
}

static int read_file(const char *path, struct chassis_buf *out, struct chassis_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return chassis_error_code(err, -errno, "open '%s'", path);
    }
    ssize_t n = 0;
    do {
        chassis_buf_reserve(out, 65536);
        n = read(fd, out->data + out->len, 65536);
        out->len += n > 0 ? (size_t)n : 0;
    } while ((n > 0 && out->len <= CHASSIS_YAML_FILE_MAX) || (n < 0 && errno == EINTR));
    int rc = n < 0 ? chassis_error_code(err, -errno, "read '%s'", path) : 0;
    close(fd);
    return rc;
}

int chassis_yaml_load(const char *path, struct chassis_yaml **ret_yaml, struct chassis_error *err)
{
    struct chassis_buf text = {0};
    int rc = read_file(path, &text, err);
    if (rc == 0) {
        rc = chassis_yaml_parse(chassis_buf_view(&text), path, ret_yaml, err);
    }
    chassis_buf_fini(&text);
    return rc;
}
