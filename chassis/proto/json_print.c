/* Wire bytes → JSON, driven by a descriptor alone, so that it serves typed messages, transcoding and
 * types known only at run time. The bytes have passed the pre-scan of their type before they are
 * walked; what is inside an Any passes its own. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "proto/message.h"
#include "proto/schema.h"
#include "proto/text.h"
#include "proto/wire.h"

enum { DEPTH_MAX = 64, SMALL = 24 };

struct printer {
    const struct chassis_type_registry *types;
    struct chassis_buf *out;
    struct chassis_error *err;
};

/* The fields of one message, those of one number side by side and in the order they came. */
struct item {
    unsigned index; /* of the field in its type */
    unsigned order;
    struct wire_field wire;
};
struct items {
    struct item *v;
    size_t n, cap;
    struct item small[SMALL];
};

static int print_message(struct printer *p, const ProtobufCMessageDescriptor *type,
                         struct chassis_view bytes, unsigned depth);

static int item_cmp(const void *a, const void *b)
{
    const struct item *x = (const struct item *)a, *y = (const struct item *)b;
    return x->index != y->index ? (x->index < y->index ? -1 : 1) : (x->order < y->order ? -1 : 1);
}

static void items_init(struct items *items, const ProtobufCMessageDescriptor *type,
                       struct chassis_view bytes)
{
    const uint8_t *p = bytes.data, *end = wire_end(bytes);
    unsigned hint = 0;
    bool sorted = true;
    *items = (struct items){.v = items->small, .cap = SMALL};
    while (p < end) {
        struct wire_field wire = {0};
        p = wire_next(p, end, &wire);
        CHASSIS_ASSERT(p != NULL); /* scanned */
        const ProtobufCFieldDescriptor *field = wire_find(type, wire.number, &hint);
        if (field == NULL) {
            continue;
        }
        if (items->n == items->cap) {
            struct item *old = items->v == items->small ? NULL : items->v;
            items->cap *= 2;
            items->v = chassis_base_realloc(old, items->cap * sizeof *items->v);
            if (old == NULL) {
                memcpy(items->v, items->small, sizeof items->small);
            }
        }
        unsigned index = (unsigned)(field - type->fields);
        sorted &= items->n == 0 || items->v[items->n - 1].index <= index;
        items->v[items->n] = (struct item){index, (unsigned)items->n, wire};
        items->n++;
    }
    if (!sorted) {
        qsort(items->v, items->n, sizeof *items->v, item_cmp);
    }
}

static void items_fini(struct items *items)
{
    if (items->v != items->small) {
        free(items->v);
    }
}

/* Of a oneof only the member that came last counts: skip what another member replaced. */
static size_t skip_replaced(const struct items *items, const ProtobufCMessageDescriptor *type,
                            size_t first, size_t n)
{
    const ProtobufCFieldDescriptor *field = &type->fields[items->v[first].index];
    unsigned replaced = 0;
    if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)) {
        return 0;
    }
    for (size_t i = 0; i < items->n; i++) {
        if ((i < first || i >= first + n) && items->v[i].order >= replaced &&
            schema_same_oneof(field, &type->fields[items->v[i].index])) {
            replaced = items->v[i].order + 1;
        }
    }
    size_t skip = 0;
    while (skip < n && items->v[first + skip].order < replaced) {
        skip++;
    }
    return skip;
}

static void print_enum(struct printer *p, const ProtobufCFieldDescriptor *field, int32_t number)
{
    const ProtobufCEnumDescriptor *type = (const ProtobufCEnumDescriptor *)field->descriptor;
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);
    if (schema_is_null_value(field)) {
        chassis_buf_append_str(p->out, "null");
    } else if (value != NULL) {
        chassis_buf_append_byte(p->out, '"');
        chassis_buf_append_str(p->out, value->name);
        chassis_buf_append_byte(p->out, '"');
    } else {
        chassis_buf_printf(p->out, "%" PRId32, number);
    }
}

static double bits_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float bits_float(uint64_t bits)
{
    uint32_t half = (uint32_t)bits;
    float value;
    memcpy(&value, &half, sizeof value);
    return value;
}

/* Anything but a message. A zeroed wire field prints the default. */
static void print_scalar(struct printer *p, const ProtobufCFieldDescriptor *field,
                         const struct wire_field *wire)
{
    uint64_t v = wire->value;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        chassis_buf_printf(p->out, "%" PRId32, (int32_t)v);
        return;
    case PROTOBUF_C_TYPE_SINT32:
        chassis_buf_printf(p->out, "%" PRId32, (int32_t)wire_zigzag_decode((uint32_t)v));
        return;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        chassis_buf_printf(p->out, "%" PRIu32, (uint32_t)v);
        return;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        chassis_buf_printf(p->out, "\"%" PRId64 "\"", (int64_t)v);
        return;
    case PROTOBUF_C_TYPE_SINT64:
        chassis_buf_printf(p->out, "\"%" PRId64 "\"", wire_zigzag_decode(v));
        return;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        chassis_buf_printf(p->out, "\"%" PRIu64 "\"", v);
        return;
    case PROTOBUF_C_TYPE_FLOAT:
        text_print_float(bits_float(v), p->out);
        return;
    case PROTOBUF_C_TYPE_DOUBLE:
        text_print_double(bits_double(v), p->out);
        return;
    case PROTOBUF_C_TYPE_BOOL:
        chassis_buf_append_str(p->out, v != 0 ? "true" : "false");
        return;
    case PROTOBUF_C_TYPE_ENUM:
        print_enum(p, field, (int32_t)v);
        return;
    case PROTOBUF_C_TYPE_STRING:
        text_print_string(wire->bytes, p->out);
        return;
    case PROTOBUF_C_TYPE_BYTES:
        text_print_base64(wire->bytes, p->out);
        return;
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    CHASSIS_PANIC("field type %d is no scalar", (int)field->type);
}

static int print_value(struct printer *p, const ProtobufCFieldDescriptor *field,
                       const struct wire_field *wire, unsigned depth)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        return print_message(p, (const ProtobufCMessageDescriptor *)field->descriptor, wire->bytes,
                             depth + 1);
    }
    print_scalar(p, field, wire);
    return 0;
}

/* A singular message that came in several pieces is their bytes, one after the other. */
static int print_singular(struct printer *p, const ProtobufCFieldDescriptor *field,
                          const struct item *v, size_t n, unsigned depth)
{
    if (field->type != PROTOBUF_C_TYPE_MESSAGE || n == 1) {
        return print_value(p, field, &v[n - 1].wire, depth);
    }
    struct chassis_buf joined = {0};
    for (size_t i = 0; i < n; i++) {
        chassis_buf_append_view(&joined, v[i].wire.bytes);
    }
    struct wire_field wire = {.bytes = chassis_buf_view(&joined)};
    int rc = print_value(p, field, &wire, depth);
    chassis_buf_fini(&joined);
    return rc;
}

static int print_repeated(struct printer *p, const ProtobufCFieldDescriptor *field,
                          const struct item *v, size_t n, unsigned depth)
{
    const char *comma = "";
    int rc = 0;
    chassis_buf_append_byte(p->out, '[');
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (v[i].wire.type == wire_type_of(field->type)) {
            chassis_buf_append_str(p->out, comma);
            rc = print_value(p, field, &v[i].wire, depth);
            comma = ",";
            continue;
        }
        const uint8_t *at = v[i].wire.bytes.data, *end = wire_end(v[i].wire.bytes);
        while (at < end) {
            struct wire_field element = {0};
            at = wire_packed_next(at, end, wire_type_of(field->type), &element.value);
            CHASSIS_ASSERT(at != NULL); /* scanned */
            chassis_buf_append_str(p->out, comma);
            print_scalar(p, field, &element);
            comma = ",";
        }
    }
    chassis_buf_append_byte(p->out, ']');
    return rc;
}

struct map_item {
    struct wire_field key, value;
    size_t order;
    bool text; /* the key is a string */
};

static int map_item_cmp(const void *a, const void *b)
{
    const struct map_item *x = (const struct map_item *)a, *y = (const struct map_item *)b;
    int order = x->text ? chassis_view_cmp(x->key.bytes, y->key.bytes)
                        : (x->key.value > y->key.value) - (x->key.value < y->key.value);
    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

static bool same_key(const struct map_item *x, const struct map_item *y)
{
    return x->text ? chassis_view_eq(x->key.bytes, y->key.bytes) : x->key.value == y->key.value;
}

static void map_item_init(struct map_item *item, const ProtobufCMessageDescriptor *entry,
                          const struct item *from, size_t order)
{
    const uint8_t *p = from->wire.bytes.data, *end = wire_end(from->wire.bytes);
    *item =
        (struct map_item){.order = order, .text = entry->fields[0].type == PROTOBUF_C_TYPE_STRING};
    while (p < end) {
        struct wire_field wire = {0};
        p = wire_next(p, end, &wire);
        CHASSIS_ASSERT(p != NULL); /* scanned */
        if (wire.number <= 2) {
            *(wire.number == 1 ? &item->key : &item->value) = wire;
        }
    }
    /* bits beyond the type's do not make another key */
    ProtobufCType key = entry->fields[0].type;
    if (key == PROTOBUF_C_TYPE_BOOL) {
        item->key.value = item->key.value != 0;
    } else if (key == PROTOBUF_C_TYPE_INT32 || key == PROTOBUF_C_TYPE_UINT32 ||
               key == PROTOBUF_C_TYPE_SINT32) {
        item->key.value = (uint32_t)item->key.value;
    }
}

/* An object whose members are sorted by key; of equal keys the last one counts. */
static int print_map(struct printer *p, const ProtobufCMessageDescriptor *entry,
                     const struct item *v, size_t n, unsigned depth)
{
    struct map_item *items = chassis_base_alloc(n * sizeof *items);
    int rc = 0;
    const char *comma = "";
    for (size_t i = 0; i < n; i++) {
        map_item_init(&items[i], entry, &v[i], i);
    }
    qsort(items, n, sizeof *items, map_item_cmp);
    chassis_buf_append_byte(p->out, '{');
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (i + 1 < n && same_key(&items[i], &items[i + 1])) {
            continue;
        }
        chassis_buf_append_str(p->out, comma);
        size_t at = p->out->len;
        print_scalar(p, &entry->fields[0], &items[i].key);
        if (p->out->data[at] != '"') { /* numbers and truth values */
            struct chassis_buf key = {0};
            chassis_buf_append(&key, p->out->data + at, p->out->len - at);
            p->out->len = at;
            text_print_string(chassis_buf_view(&key), p->out);
            chassis_buf_fini(&key);
        }
        chassis_buf_append_byte(p->out, ':');
        rc = print_value(p, &entry->fields[1], &items[i].value, depth + 1);
        comma = ",";
    }
    chassis_buf_append_byte(p->out, '}');
    free(items);
    return rc;
}

static int print_field(struct printer *p, const ProtobufCMessageDescriptor *type,
                       const struct item *v, size_t n, unsigned depth)
{
    const ProtobufCFieldDescriptor *field = &type->fields[v->index];
    const ProtobufCMessageDescriptor *entry = schema_map_entry(type, field);
    if (entry != NULL) {
        return print_map(p, entry, v, n, depth);
    }
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        return print_repeated(p, field, v, n, depth);
    }
    return print_singular(p, field, v, n, depth);
}

/* Zero, of a field for which zero and unset are one. */
static bool is_unset(const ProtobufCFieldDescriptor *field, const struct wire_field *wire)
{
    if (schema_has_presence(field)) {
        return false;
    }
    return wire->type == WIRE_BYTES ? wire->bytes.len == 0 : wire->value == 0;
}

static bool is_empty_array(const ProtobufCFieldDescriptor *field, const struct item *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i].wire.type == wire_type_of(field->type) || v[i].wire.bytes.len != 0) {
            return false;
        }
    }
    return true;
}

/* The members of an object, without its braces. */
static int print_members(struct printer *p, const ProtobufCMessageDescriptor *type,
                         struct chassis_view bytes, const char *comma, unsigned depth)
{
    struct items items;
    int rc = 0;
    items_init(&items, type, bytes);
    for (size_t first = 0, n; first < items.n && rc == 0; first += n) {
        const ProtobufCFieldDescriptor *field = &type->fields[items.v[first].index];
        for (n = 1; first + n < items.n && items.v[first + n].index == items.v[first].index;) {
            n++;
        }
        size_t skip = skip_replaced(&items, type, first, n);
        bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
        if (skip == n || (!repeated && is_unset(field, &items.v[first + n - 1].wire)) ||
            (repeated && is_empty_array(field, &items.v[first], n))) {
            continue;
        }
        chassis_buf_append_str(p->out, comma);
        chassis_buf_append_byte(p->out, '"');
        schema_json_name(field, p->out);
        chassis_buf_append_str(p->out, "\":");
        rc = print_field(p, type, &items.v[first + skip], n - skip, depth);
        comma = ",";
    }
    items_fini(&items);
    return rc;
}

/* The last field of this number, zeroed if there is none. */
static struct wire_field last_of(struct chassis_view bytes, uint32_t number)
{
    struct wire_field found = {0};
    const uint8_t *p = bytes.data, *end = wire_end(bytes);
    while (p < end) {
        struct wire_field wire = {0};
        p = wire_next(p, end, &wire);
        CHASSIS_ASSERT(p != NULL); /* scanned */
        if (wire.number == number) {
            found = wire;
        }
    }
    return found;
}

static int print_any(struct printer *p, struct chassis_view bytes, unsigned depth)
{
    struct chassis_view url = last_of(bytes, 1).bytes, value = last_of(bytes, 2).bytes, name = url;
    if (url.len == 0 && value.len == 0) {
        chassis_buf_append_str(p->out, "{}");
        return 0;
    }
    for (size_t i = 0; i < url.len; i++) {
        if (url.data[i] == '/') {
            name = chassis_view(url.data + i + 1, url.len - i - 1);
        }
    }
    const ProtobufCMessageDescriptor *type = chassis_type_registry_find(p->types, name);
    chassis_buf_append_str(p->out, "{\"@type\":");
    text_print_string(url, p->out);
    int rc = 0;
    if (type == NULL) {
        chassis_buf_append_str(p->out, ",\"value\":");
        text_print_base64(value, p->out);
    } else if ((rc = chassis_message_scan(type, value, NULL, p->err)) != 0) {
        chassis_error_wrap(p->err, "value of Any '%.*s'", CHASSIS_VIEW_ARG(url));
    } else if (schema_form(type) != FORM_PLAIN) {
        chassis_buf_append_str(p->out, ",\"value\":");
        rc = print_message(p, type, value, depth + 1);
    } else {
        rc = print_members(p, type, value, ",", depth + 1);
    }
    chassis_buf_append_byte(p->out, '}');
    return rc;
}

/* "a.b_c" → a.bC; false for a path that would not come back as it was. */
static bool append_path(struct chassis_view path, struct chassis_buf *out)
{
    bool upper = false;
    for (size_t i = 0; i < path.len; i++) {
        uint8_t c = path.data[i];
        bool letter = c >= 'a' && c <= 'z';
        if ((upper && !letter) || !(letter || c == '_' || c == '.' || (c >= '0' && c <= '9'))) {
            return false;
        }
        if (c != '_') {
            chassis_buf_append_byte(out, upper ? (uint8_t)(c - 'a' + 'A') : c);
        }
        upper = c == '_';
    }
    return path.len != 0 && !upper;
}

/* The paths by comma. */
static int print_field_mask(struct printer *p, const ProtobufCMessageDescriptor *type,
                            struct chassis_view bytes)
{
    struct items items;
    int rc = 0;
    items_init(&items, type, bytes);
    chassis_buf_append_byte(p->out, '"');
    for (size_t i = 0; i < items.n && rc == 0; i++) {
        chassis_buf_append_str(p->out, i != 0 ? "," : "");
        if (!append_path(items.v[i].wire.bytes, p->out)) {
            rc = chassis_error_set(p->err, CHASSIS_MALFORMED,
                                   "path '%.*s' of a field mask has no JSON form",
                                   CHASSIS_VIEW_ARG(items.v[i].wire.bytes));
        }
    }
    chassis_buf_append_byte(p->out, '"');
    items_fini(&items);
    return rc;
}

/* The only field of Struct and ListValue, by its bare value. */
static int print_only_field(struct printer *p, const ProtobufCMessageDescriptor *type,
                            struct chassis_view bytes, const char *empty, unsigned depth)
{
    struct items items;
    int rc = 0;
    items_init(&items, type, bytes);
    if (items.n == 0) {
        chassis_buf_append_str(p->out, empty);
    } else {
        rc = print_field(p, type, items.v, items.n, depth);
    }
    items_fini(&items);
    return rc;
}

/* google.protobuf.Value: the member that came last; none at all is null. */
static int print_any_value(struct printer *p, const ProtobufCMessageDescriptor *type,
                           struct chassis_view bytes, unsigned depth)
{
    struct items items;
    int rc = 0;
    items_init(&items, type, bytes);
    size_t last = 0;
    for (size_t i = 1; i < items.n; i++) {
        last = items.v[i].order > items.v[last].order ? i : last;
    }
    if (items.n == 0) {
        chassis_buf_append_str(p->out, "null");
    } else {
        const ProtobufCFieldDescriptor *field = &type->fields[items.v[last].index];
        size_t at = p->out->len;
        rc = print_value(p, field, &items.v[last].wire, depth);
        if (rc == 0 && field->type == PROTOBUF_C_TYPE_DOUBLE && p->out->data[at] == '"') {
            rc = chassis_error_set(p->err, CHASSIS_MALFORMED,
                                   "a number in google.protobuf.Value is not finite");
        }
    }
    items_fini(&items);
    return rc;
}

static int print_message(struct printer *p, const ProtobufCMessageDescriptor *type,
                         struct chassis_view bytes, unsigned depth)
{
    if (depth > DEPTH_MAX) {
        return chassis_error_set(p->err, CHASSIS_TOO_LARGE,
                                 "message is nested deeper than %d messages", DEPTH_MAX);
    }
    int64_t seconds = (int64_t)0, nanos = 0;
    switch (schema_form(type)) {
    case FORM_ANY:
        return print_any(p, bytes, depth);
    case FORM_TIMESTAMP:
    case FORM_DURATION:
        seconds = (int64_t)last_of(bytes, 1).value;
        nanos = (int32_t)last_of(bytes, 2).value;
        if (schema_form(type) == FORM_TIMESTAMP ? text_print_timestamp(seconds, nanos, p->out)
                                                : text_print_duration(seconds, nanos, p->out)) {
            return 0;
        }
        return chassis_error_set(p->err, CHASSIS_MALFORMED,
                                 "%s of %" PRId64 " s and %" PRId64 " ns is out of range",
                                 type->name, seconds, nanos);
    case FORM_WRAPPER: {
        struct wire_field wire = last_of(bytes, 1);
        print_scalar(p, &type->fields[0], &wire);
        return 0;
    }
    case FORM_STRUCT:
        return print_only_field(p, type, bytes, "{}", depth);
    case FORM_LIST:
        return print_only_field(p, type, bytes, "[]", depth);
    case FORM_VALUE:
        return print_any_value(p, type, bytes, depth);
    case FORM_FIELD_MASK:
        return print_field_mask(p, type, bytes);
    case FORM_PLAIN:
        break;
    }
    chassis_buf_append_byte(p->out, '{');
    int rc = print_members(p, type, bytes, "", depth);
    chassis_buf_append_byte(p->out, '}');
    return rc;
}

int chassis_json_print_bytes(const ProtobufCMessageDescriptor *type, struct chassis_view encoded,
                             const struct chassis_type_registry *types, struct chassis_buf *out,
                             struct chassis_error *err)
{
    struct printer p = {types, out, err};
    size_t before = out->len;
    int rc = chassis_message_scan(type, encoded, NULL, err);
    if (rc == 0) {
        rc = print_message(&p, type, encoded, 1);
    }
    if (rc != 0) {
        out->len = before;
    }
    return rc;
}

int chassis_json_print(const ProtobufCMessage *message, const struct chassis_type_registry *types,
                       struct chassis_buf *out, struct chassis_error *err)
{
    struct chassis_buf encoded = {0};
    chassis_message_encode(message, &encoded);
    int rc =
        chassis_json_print_bytes(message->descriptor, chassis_buf_view(&encoded), types, out, err);
    chassis_buf_fini(&encoded);
    return rc;
}
