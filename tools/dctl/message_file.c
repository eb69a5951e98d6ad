/* A message from a file of JSON: as clients write it, or as dctl prints it. See value.h. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "proto/schema.h"
#include "proto/text.h"
#include "value.h"

struct reading {
    struct dctl *d;
    const char *name; /* of the file, for errors */
    struct chassis_error *err;
};

static int wrong(const struct reading *r, const char *what, const char *quoted)
{
    return chassis_error_set(r->err, CHASSIS_INVALID_ARGUMENT, "%s: %s '%s'", r->name, what,
                             quoted);
}

static int to_wire(const struct reading *r, const ProtobufCMessageDescriptor *type,
                   struct dctl_node *map, const char *path);

/* [{"key": "type", "value": "x"}], as it is printed, is {"type": "x"}. */
static void to_map(const struct reading *r, struct dctl_node *node)
{
    struct dctl_node *map = dctl_map(&r->d->arena);
    for (const struct dctl_node *n = node->first; n != NULL; n = n->next) {
        const struct dctl_node *key = n->kind == DCTL_MAP ? dctl_find(n, "key") : NULL;
        struct dctl_node *value = chassis_arena_alloc(&r->d->arena, sizeof *value);
        const struct dctl_node *of = n->kind == DCTL_MAP ? dctl_find(n, "value") : NULL;
        if (key == NULL || of == NULL || key->kind != DCTL_TEXT) {
            return; /* the parser of JSON says what is wrong */
        }
        *value = *of;
        value->next = NULL;
        dctl_add(map, (const char *)key->text.data, value);
    }
    node->kind = DCTL_MAP;
    node->first = map->first;
    node->last = map->last;
}

static int value_to_wire(const struct reading *r, const ProtobufCFieldDescriptor *f,
                         struct dctl_node *node, const char *path)
{
    if (f->type == PROTOBUF_C_TYPE_MESSAGE && node->kind == DCTL_MAP) {
        return to_wire(r, f->descriptor, node, path);
    }
    const char *word = node->kind == DCTL_TEXT ? (const char *)node->text.data : NULL;
    const ProtobufCEnumDescriptor *type = f->type == PROTOBUF_C_TYPE_ENUM ? f->descriptor : NULL;
    for (unsigned i = 0; type != NULL && word != NULL && i < type->n_values; i++) {
        if (strcmp(dctl_enum_word(&r->d->arena, type, type->values[i].name), word) == 0) {
            node->text = chassis_view_str(type->values[i].name);
        }
    }
    return 0;
}

/* The field of a name; of "time", which is printed, the one that is nanoseconds. */
static const ProtobufCFieldDescriptor *
field_of(const struct reading *r, const ProtobufCMessageDescriptor *type, struct dctl_node *node)
{
    const ProtobufCFieldDescriptor *f = dctl_field_of(type, node->key);
    int64_t seconds;
    int32_t nanos;
    if (f == NULL && node->kind == DCTL_TEXT &&
        text_parse_timestamp(node->text, &seconds, &nanos) && seconds >= 0) {
        const char *key = chassis_arena_printf(&r->d->arena, "%s_ns", node->key);
        f = protobuf_c_message_descriptor_get_field_by_name(type, key);
        if (f != NULL) {
            node->key = key;
            node->text = chassis_view_str(chassis_arena_printf(
                &r->d->arena, "%llu",
                (unsigned long long)seconds * 1000000000ULL + (unsigned)nanos));
        }
    }
    return f;
}

/* Check that every key is a field, and turn what is printed for people into what the wire has. */
static int to_wire(const struct reading *r, const ProtobufCMessageDescriptor *type,
                   struct dctl_node *map, const char *path)
{
    for (struct dctl_node *n = map->first; n != NULL; n = n->next) {
        const char *here =
            path[0] != '\0' ? chassis_arena_printf(&r->d->arena, "%s.%s", path, n->key) : n->key;
        const ProtobufCFieldDescriptor *f = field_of(r, type, n);
        int rc = 0;
        if (f == NULL) {
            return wrong(r, "there is no field", here);
        }
        if (n->kind == DCTL_LIST && schema_map_entry(type, f) != NULL) {
            to_map(r, n);
        } else if (n->kind == DCTL_LIST) {
            for (struct dctl_node *item = n->first; rc == 0 && item != NULL; item = item->next) {
                rc = value_to_wire(r, f, item, here);
            }
        } else if (schema_map_entry(type, f) == NULL) {
            rc = value_to_wire(r, f, n, here);
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int dctl_message_read(struct dctl *d, const char *file, const char *member,
                      const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret_message,
                      struct chassis_error *err)
{
    bool standard = strcmp(file, "-") == 0;
    struct reading r = {.d = d, .name = standard ? "standard input" : file, .err = err};
    struct chassis_view text;
    struct dctl_node *node;
    int rc = dctl_read_input(d, standard ? "-" : chassis_arena_printf(&d->arena, "@%s", file),
                             &text, err);
    if (rc != 0) {
        return rc;
    }
    if (dctl_json_parse(&d->arena, text, &node, err) != 0) {
        return chassis_error_wrap(err, "%s", r.name);
    }
    const struct dctl_node *inner = node->kind == DCTL_MAP ? dctl_find(node, member) : NULL;
    if (inner != NULL && inner->kind == DCTL_MAP) {
        *node = *inner;
    }
    if (node->kind != DCTL_MAP) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "%s: not a JSON object", r.name);
    }
    struct chassis_buf json = {0};
    rc = to_wire(&r, type, node, "");
    if (rc == 0) {
        dctl_write_json(node, -1, &json);
        rc = chassis_json_parse(type, chassis_buf_view(&json), dctl_types(), false, &d->arena,
                                ret_message, err);
        rc = rc != 0 ? chassis_error_wrap(err, "%s", r.name) : 0;
    }
    chassis_buf_fini(&json);
    return rc;
}
