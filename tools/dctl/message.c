/* Messages printed field by field: see value.h. */
#include <stdlib.h>
#include <string.h>

#include <google/protobuf/duration.pb-c.h>

#include "base/assert.h"
#include "value.h"
#include "proto/text.h"

/* How: everything under its name, for people and scripts, or as a file says it, for reading back. */
struct printing {
    struct chassis_arena *arena;
    bool as_input;
};

static struct dctl_node *message_node(const struct printing *p, const void *message);

const char *dctl_enum_word(struct chassis_arena *a, const ProtobufCEnumDescriptor *type,
                           const char *name)
{
    size_t skip = 0;
    for (const char *word = type->short_name; *word != '\0'; word++) {
        bool begins = *word >= 'A' && *word <= 'Z' && word != type->short_name;
        if ((begins && name[skip++] != '_') || (name[skip] | 0x20) != (*word | 0x20)) {
            skip = 0;
            break;
        }
        skip++;
    }
    name += skip != 0 && name[skip] == '_' ? skip + 1 : 0;
    char *text = chassis_arena_strdup(a, name);
    for (char *c = text; *c != '\0'; c++) {
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
    }
    return text;
}

static void add_enum(const struct printing *p, struct dctl_node *to, const char *key,
                     const ProtobufCEnumDescriptor *type, int value)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(type, value);
    dctl_add_text(p->arena, to, key,
                  v == NULL     ? chassis_arena_printf(p->arena, "%d", value)
                  : p->as_input ? v->name
                                : dctl_enum_word(p->arena, type, v->name));
}

/* Times and durations have a text of their own. */
static bool add_special(const struct printing *p, struct dctl_node *to, const char *key,
                        const ProtobufCMessage *message)
{
    const void *any = message;
    if (message->descriptor == &google__protobuf__timestamp__descriptor) {
        const Google__Protobuf__Timestamp *t = any;
        dctl_add_time_ns(p->arena, to, key, (uint64_t)t->seconds * 1000000000 + (uint64_t)t->nanos);
        return true;
    }
    if (message->descriptor != &google__protobuf__duration__descriptor) {
        return false;
    }
    const Google__Protobuf__Duration *d = any;
    struct chassis_buf text = {0};
    if (text_print_duration(d->seconds, d->nanos, &text)) { /* in quotes */
        dctl_add_view(p->arena, to, key, chassis_view(text.data + 1, text.len - 2));
    } else {
        dctl_add_text(p->arena, to, key, NULL);
    }
    chassis_buf_fini(&text);
    return true;
}

static void add_literal(struct chassis_arena *a, struct dctl_node *to, const char *key, char *text)
{
    dctl_add_text(a, to, key, text)->kind = DCTL_LITERAL;
}

static void add_scalar(const struct printing *p, struct dctl_node *to, const char *key,
                       const ProtobufCFieldDescriptor *f, const void *at)
{
    struct chassis_arena *a = p->arena;
    size_t len = strlen(f->name);
    switch ((int)f->type) { /* those that occur in what dctl prints */
    case PROTOBUF_C_TYPE_UINT64:
        if (key != NULL && len > 3 && strcmp(f->name + len - 3, "_ns") == 0) {
            dctl_add_time_ns(a, to, chassis_arena_strndup(a, f->name, len - 3),
                             *(const uint64_t *)at);
            return;
        }
        dctl_add_u64(a, to, key, *(const uint64_t *)at);
        return;
    case PROTOBUF_C_TYPE_UINT32:
        dctl_add_u64(a, to, key, *(const uint32_t *)at);
        return;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
        add_literal(a, to, key, chassis_arena_printf(a, "%d", *(const int32_t *)at));
        return;
    case PROTOBUF_C_TYPE_BOOL:
        dctl_add_bool(a, to, key, *(const protobuf_c_boolean *)at);
        return;
    case PROTOBUF_C_TYPE_DOUBLE:
        add_literal(a, to, key, chassis_arena_printf(a, "%.1f", *(const double *)at));
        return;
    case PROTOBUF_C_TYPE_ENUM:
        add_enum(p, to, key, f->descriptor, *(const int *)at);
        return;
    case PROTOBUF_C_TYPE_STRING:
        dctl_add_text(a, to, key, *(char *const *)at);
        return;
    case PROTOBUF_C_TYPE_MESSAGE:
        if (!add_special(p, to, key, *(void *const *)at)) {
            dctl_add(to, key, message_node(p, *(void *const *)at));
        }
        return;
    default:
        CHASSIS_PANIC("field '%s' is of a type that no result has", f->name);
    }
}

static size_t size_of(const ProtobufCFieldDescriptor *f)
{
    switch ((int)f->type) { /* those that occur */
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_BOOL:
        return 4;
    default:
        return sizeof(void *);
    }
}

/* As if it had not been said: a field without presence at its zero. */
static bool is_zero(const ProtobufCFieldDescriptor *f, const void *at)
{
    static const uint8_t zero[8];
    if (f->type == PROTOBUF_C_TYPE_STRING) {
        return (*(char *const *)at)[0] == '\0';
    }
    return f->type != PROTOBUF_C_TYPE_MESSAGE && memcmp(at, zero, size_of(f)) == 0;
}

static void add_list(const struct printing *p, struct dctl_node *map, const uint8_t *message,
                     const ProtobufCFieldDescriptor *f)
{
    size_t n = *(const size_t *)(const void *)(message + f->quantifier_offset);
    const uint8_t *items = *(const uint8_t *const *)(const void *)(message + f->offset);
    if (n == 0 && p->as_input) {
        return;
    }
    struct dctl_node *list = dctl_add(map, f->name, dctl_list(p->arena));
    for (size_t i = 0; i < n; i++) {
        add_scalar(p, list, NULL, f, items + i * size_of(f));
    }
}

static void add_field(const struct printing *p, struct dctl_node *map, const uint8_t *message,
                      const ProtobufCFieldDescriptor *f)
{
    const uint8_t *at = message + f->offset;
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        add_list(p, map, message, f);
        return;
    }
    bool one_of = (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    if (one_of && *(const uint32_t *)(const void *)(message + f->quantifier_offset) != f->id) {
        return;
    }
    if (f->type == PROTOBUF_C_TYPE_MESSAGE && *(void *const *)(const void *)at == NULL) {
        return;
    }
    if (!p->as_input || one_of || !is_zero(f, at)) {
        add_scalar(p, map, f->name, f, at);
    }
}

static struct dctl_node *message_node(const struct printing *p, const void *message)
{
    const ProtobufCMessage *base = message;
    struct dctl_node *map = dctl_map(p->arena);
    for (unsigned i = 0; i < base->descriptor->n_fields; i++) {
        add_field(p, map, message, &base->descriptor->fields[i]);
    }
    return map;
}

struct dctl_node *dctl_message_node(struct chassis_arena *a, const void *message)
{
    return message_node(&(struct printing){a, false}, message);
}

struct dctl_node *dctl_message_input(struct chassis_arena *a, const void *message)
{
    return message_node(&(struct printing){a, true}, message);
}

const ProtobufCFieldDescriptor *dctl_field_of(const ProtobufCMessageDescriptor *type,
                                              const char *key)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        const char *name = type->fields[i].name, *k = key;
        while (*name != '\0' && *k != '\0') {
            if (*name == '_' && *k != '_') {
                name++;
                if (*name - 'a' + 'A' != *k) {
                    break;
                }
            } else if (*name != *k) {
                break;
            }
            name++;
            k++;
        }
        if (*name == '\0' && *k == '\0') {
            return &type->fields[i];
        }
    }
    return NULL;
}
