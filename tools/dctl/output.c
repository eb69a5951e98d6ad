/* Printing results: see output.h. */
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "config/yaml.h"
#include "output.h"

static struct dctl_node *node_new(struct chassis_arena *a, enum dctl_kind kind)
{
    struct dctl_node *n = chassis_arena_zalloc(a, sizeof *n);
    n->kind = kind;
    return n;
}

struct dctl_node *dctl_map(struct chassis_arena *a)
{
    return node_new(a, DCTL_MAP);
}

struct dctl_node *dctl_list(struct chassis_arena *a)
{
    return node_new(a, DCTL_LIST);
}

struct dctl_node *dctl_add(struct dctl_node *parent, const char *key, struct dctl_node *node)
{
    CHASSIS_ASSERT(parent->kind == (key != NULL ? DCTL_MAP : DCTL_LIST));
    node->key = key;
    if (parent->last != NULL) {
        parent->last->next = node;
    } else {
        parent->first = node;
    }
    parent->last = node;
    return node;
}

struct dctl_node *dctl_add_view(struct chassis_arena *a, struct dctl_node *parent, const char *key,
                                struct chassis_view text)
{
    struct dctl_node *n = node_new(a, DCTL_TEXT);
    n->text = chassis_view(chassis_arena_strndup(a, text.data, text.len), text.len);
    return dctl_add(parent, key, n);
}

struct dctl_node *dctl_add_text(struct chassis_arena *a, struct dctl_node *parent, const char *key,
                                const char *text)
{
    return text != NULL ? dctl_add_view(a, parent, key, chassis_view_str(text))
                        : dctl_add(parent, key, node_new(a, DCTL_NULL));
}

struct dctl_node *dctl_add_u64(struct chassis_arena *a, struct dctl_node *parent, const char *key,
                               uint64_t value)
{
    struct dctl_node *n = node_new(a, DCTL_LITERAL);
    n->text = chassis_view_str(chassis_arena_printf(a, "%" PRIu64, value));
    return dctl_add(parent, key, n);
}

struct dctl_node *dctl_add_bool(struct chassis_arena *a, struct dctl_node *parent, const char *key,
                                bool value)
{
    struct dctl_node *n = node_new(a, DCTL_BOOL);
    n->boolean = value;
    return dctl_add(parent, key, n);
}

const struct dctl_node *dctl_find(const struct dctl_node *map, const char *key)
{
    for (const struct dctl_node *n = map->first; n != NULL; n = n->next) {
        if (n->key != NULL && strcmp(n->key, key) == 0) {
            return n;
        }
    }
    return NULL;
}

static void write_string(struct chassis_view text, struct chassis_buf *out)
{
    chassis_buf_append_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '"' || c == '\\') {
            chassis_buf_append_byte(out, '\\');
            chassis_buf_append_byte(out, c);
        } else if (c == '\n') {
            chassis_buf_append_str(out, "\\n");
        } else if (c == '\t') {
            chassis_buf_append_str(out, "\\t");
        } else if (c < 0x20 || c == 0x7f) {
            chassis_buf_printf(out, "\\u%04x", c);
        } else {
            chassis_buf_append_byte(out, c);
        }
    }
    chassis_buf_append_byte(out, '"');
}

static void new_line(int indent, struct chassis_buf *out)
{
    if (indent >= 0) {
        chassis_buf_printf(out, "\n%*s", indent, "");
    }
}

void dctl_write_json(const struct dctl_node *node, int indent, struct chassis_buf *out)
{
    int deeper = indent < 0 ? indent : indent + 2;
    bool map = node->kind == DCTL_MAP;
    switch (node->kind) {
    case DCTL_NULL:
        chassis_buf_append_str(out, "null");
        break;
    case DCTL_BOOL:
        chassis_buf_append_str(out, node->boolean ? "true" : "false");
        break;
    case DCTL_LITERAL:
        chassis_buf_append_view(out, node->text);
        break;
    case DCTL_TEXT:
        write_string(node->text, out);
        break;
    case DCTL_LIST:
    case DCTL_MAP:
        chassis_buf_append_byte(out, map ? '{' : '[');
        for (const struct dctl_node *n = node->first; n != NULL; n = n->next) {
            new_line(deeper, out);
            if (map) {
                write_string(chassis_view_str(n->key), out);
                chassis_buf_append_str(out, indent < 0 ? ":" : ": ");
            }
            dctl_write_json(n, deeper, out);
            if (n->next != NULL) {
                chassis_buf_append_byte(out, ',');
            }
        }
        if (node->first != NULL) {
            new_line(indent, out);
        }
        chassis_buf_append_byte(out, map ? '}' : ']');
        break;
    }
}

static struct chassis_yaml_node *to_yaml(struct chassis_yaml *yaml, const struct dctl_node *node)
{
    struct chassis_yaml_node *made;
    switch (node->kind) {
    case DCTL_NULL:
        return chassis_yaml_string(yaml, NULL);
    case DCTL_BOOL:
        return chassis_yaml_plain(yaml, node->boolean ? "true" : "false");
    case DCTL_LITERAL:
        return chassis_yaml_plain(yaml, (const char *)node->text.data);
    case DCTL_TEXT:
        return chassis_yaml_string(yaml, (const char *)node->text.data);
    case DCTL_LIST:
        made = chassis_yaml_sequence(yaml);
        for (const struct dctl_node *n = node->first; n != NULL; n = n->next) {
            chassis_yaml_add(made, to_yaml(yaml, n));
        }
        return made;
    case DCTL_MAP:
        made = chassis_yaml_map(yaml);
        for (const struct dctl_node *n = node->first; n != NULL; n = n->next) {
            chassis_yaml_put(yaml, made, n->key, to_yaml(yaml, n));
        }
        return made;
    }
    CHASSIS_PANIC("node kind %d", (int)node->kind);
}

void dctl_write_yaml(const struct dctl_node *node, struct chassis_buf *out)
{
    struct chassis_yaml *yaml = chassis_yaml_new();
    chassis_yaml_emit(to_yaml(yaml, node), out);
    chassis_yaml_free(yaml);
    if (out->len == 0 || out->data[out->len - 1] != '\n') {
        chassis_buf_append_byte(out, '\n');
    }
}

/* What a cell of a table shows: text without control characters, nested values as JSON. */
static void write_cell(const struct dctl_node *node, struct chassis_buf *out)
{
    if (node == NULL || node->kind == DCTL_NULL) {
        chassis_buf_append_byte(out, '-');
    } else if (node->kind == DCTL_TEXT) {
        for (size_t i = 0; i < node->text.len; i++) {
            uint8_t c = node->text.data[i];
            if (c < 0x20 || c == 0x7f) {
                chassis_buf_printf(out, "\\x%02x", c);
            } else {
                chassis_buf_append_byte(out, c);
            }
        }
    } else {
        dctl_write_json(node, -1, out);
    }
}

/* Columns of a terminal: UTF-8 characters, counted one each. */
static int cells(struct chassis_view text)
{
    int n = 0;
    for (size_t i = 0; i < text.len; i++) {
        n += (text.data[i] & 0xc0) != 0x80;
    }
    return n;
}

static void cell_of(const struct dctl_node *row, const struct dctl_column *c,
                    struct chassis_buf *cell)
{
    chassis_buf_clear(cell);
    write_cell(dctl_find(row, c->key), cell);
}

static void write_row(const struct dctl_node *row, const struct dctl_column *columns,
                      const int *widths, struct chassis_buf *out)
{
    struct chassis_buf cell = {0};
    for (unsigned i = 0; columns[i].title != NULL; i++) {
        if (row != NULL) {
            cell_of(row, &columns[i], &cell);
        } else {
            chassis_buf_clear(&cell);
            chassis_buf_append_str(&cell, columns[i].title);
        }
        chassis_buf_append_view(out, chassis_buf_view(&cell));
        int pad = widths[i] - cells(chassis_buf_view(&cell));
        if (columns[i + 1].title != NULL) {
            chassis_buf_printf(out, "%*s", pad > 0 ? pad + 2 : 2, "");
        }
    }
    chassis_buf_append_byte(out, '\n');
    chassis_buf_fini(&cell);
}

enum { COLUMNS_MAX = 16 };

static void write_table(const struct dctl_node *list, const struct dctl_column *columns,
                        struct chassis_buf *out)
{
    int widths[COLUMNS_MAX] = {0};
    struct chassis_buf cell = {0};
    for (unsigned i = 0; columns[i].title != NULL; i++) {
        CHASSIS_ASSERT(i < COLUMNS_MAX);
        widths[i] = cells(chassis_view_str(columns[i].title));
        for (const struct dctl_node *row = list->first; row != NULL; row = row->next) {
            cell_of(row, &columns[i], &cell);
            int n = cells(chassis_buf_view(&cell));
            widths[i] = n > widths[i] ? n : widths[i];
        }
    }
    chassis_buf_fini(&cell);
    write_row(NULL, columns, widths, out);
    for (const struct dctl_node *row = list->first; row != NULL; row = row->next) {
        write_row(row, columns, widths, out);
    }
}

static void write_lines(const struct dctl_node *map, struct chassis_buf *out)
{
    int width = 0;
    for (const struct dctl_node *n = map->first; n != NULL; n = n->next) {
        int len = (int)strlen(n->key);
        width = len > width ? len : width;
    }
    for (const struct dctl_node *n = map->first; n != NULL; n = n->next) {
        chassis_buf_printf(out, "%-*s  ", width, n->key);
        write_cell(n, out);
        chassis_buf_append_byte(out, '\n');
    }
}

static void flush(struct dctl *d, struct chassis_buf *text)
{
    fwrite(text->data, 1, text->len, d->out);
    fflush(d->out);
    chassis_buf_fini(text);
    d->documents++;
}

void dctl_print(struct dctl *d, const struct dctl_node *node, const struct dctl_column *columns)
{
    struct chassis_buf text = {0};
    switch (d->format) {
    case DCTL_JSON:
        dctl_write_json(node, 0, &text);
        chassis_buf_append_byte(&text, '\n');
        break;
    case DCTL_YAML:
        dctl_write_yaml(node, &text);
        break;
    case DCTL_TABLE:
        if (columns != NULL) {
            write_table(node, columns, &text);
        } else if (node->kind == DCTL_MAP) {
            write_lines(node, &text);
        } else {
            write_cell(node, &text);
            chassis_buf_append_byte(&text, '\n');
        }
        break;
    }
    flush(d, &text);
}

void dctl_print_next(struct dctl *d, const struct dctl_node *node,
                     const struct dctl_column *columns)
{
    struct chassis_buf text = {0};
    int widths[COLUMNS_MAX] = {0};
    switch (d->format) {
    case DCTL_JSON:
        dctl_write_json(node, -1, &text);
        chassis_buf_append_byte(&text, '\n');
        break;
    case DCTL_YAML:
        chassis_buf_append_str(&text, "---\n");
        dctl_write_yaml(node, &text);
        break;
    case DCTL_TABLE:
        for (unsigned i = 0; columns[i].title != NULL; i++) {
            CHASSIS_ASSERT(i < COLUMNS_MAX);
            widths[i] = columns[i].width;
        }
        if (d->documents == 0) {
            write_row(NULL, columns, widths, &text);
        }
        write_row(node, columns, widths, &text);
        break;
    }
    flush(d, &text);
}
