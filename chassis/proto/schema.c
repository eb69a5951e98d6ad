#include "proto/schema.h"

#include <ctype.h>
#include <string.h>

const char schema_mark_map_entry, schema_mark_no_map_entry;

enum schema_form schema_form(const ProtobufCMessageDescriptor *type)
{
    static const char package[] = "google.protobuf.";
    static const struct {
        const char *name;
        enum schema_form form;
        ProtobufCType first; /* type of field 1 */
        unsigned n_fields;
    } rows[] = {
        {"Any", FORM_ANY, PROTOBUF_C_TYPE_STRING, 2},
        {"BoolValue", FORM_WRAPPER, PROTOBUF_C_TYPE_BOOL, 1},
        {"BytesValue", FORM_WRAPPER, PROTOBUF_C_TYPE_BYTES, 1},
        {"DoubleValue", FORM_WRAPPER, PROTOBUF_C_TYPE_DOUBLE, 1},
        {"Duration", FORM_DURATION, PROTOBUF_C_TYPE_INT64, 2},
        {"FieldMask", FORM_FIELD_MASK, PROTOBUF_C_TYPE_STRING, 1},
        {"FloatValue", FORM_WRAPPER, PROTOBUF_C_TYPE_FLOAT, 1},
        {"Int32Value", FORM_WRAPPER, PROTOBUF_C_TYPE_INT32, 1},
        {"Int64Value", FORM_WRAPPER, PROTOBUF_C_TYPE_INT64, 1},
        {"ListValue", FORM_LIST, PROTOBUF_C_TYPE_MESSAGE, 1},
        {"StringValue", FORM_WRAPPER, PROTOBUF_C_TYPE_STRING, 1},
        {"Struct", FORM_STRUCT, PROTOBUF_C_TYPE_MESSAGE, 1},
        {"Timestamp", FORM_TIMESTAMP, PROTOBUF_C_TYPE_INT64, 2},
        {"UInt32Value", FORM_WRAPPER, PROTOBUF_C_TYPE_UINT32, 1},
        {"UInt64Value", FORM_WRAPPER, PROTOBUF_C_TYPE_UINT64, 1},
        {"Value", FORM_VALUE, PROTOBUF_C_TYPE_ENUM, 6},
    };
    if (strncmp(type->name, package, sizeof package - 1) != 0) {
        return FORM_PLAIN;
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(type->name + sizeof package - 1, rows[i].name) == 0) {
            /* descriptors may come from a stranger: a type that only bears the name is plain */
            bool real = type->n_fields == rows[i].n_fields && type->fields[0].id == 1 &&
                        type->fields[0].type == rows[i].first;
            real &= rows[i].form != FORM_STRUCT || schema_map_entry(type, &type->fields[0]) != NULL;
            real &= rows[i].form != FORM_LIST || type->fields[0].label == PROTOBUF_C_LABEL_REPEATED;
            return real ? rows[i].form : FORM_PLAIN;
        }
    }
    return FORM_PLAIN;
}

/* protoc names the entry of `map<…> field_name` FieldNameEntry, inside the message. */
static bool named_as_entry(const char *entry, const char *field)
{
    bool upper = true;
    for (; *field != '\0'; field++) {
        if (*field == '_') {
            upper = true;
            continue;
        }
        char c = upper ? (char)toupper((unsigned char)*field) : *field;
        if (*entry++ != c) {
            return false;
        }
        upper = false;
    }
    return strcmp(entry, "Entry") == 0;
}

static bool is_key_type(ProtobufCType type)
{
    return type != PROTOBUF_C_TYPE_FLOAT && type != PROTOBUF_C_TYPE_DOUBLE &&
           type != PROTOBUF_C_TYPE_BYTES && type != PROTOBUF_C_TYPE_MESSAGE &&
           type != PROTOBUF_C_TYPE_ENUM;
}

const ProtobufCMessageDescriptor *schema_map_entry(const ProtobufCMessageDescriptor *type,
                                                   const ProtobufCFieldDescriptor *field)
{
    if (field->label != PROTOBUF_C_LABEL_REPEATED || field->type != PROTOBUF_C_TYPE_MESSAGE) {
        return NULL;
    }
    const ProtobufCMessageDescriptor *entry = (const ProtobufCMessageDescriptor *)field->descriptor;
    bool shaped = entry->n_fields == 2 && entry->fields[0].id == 1 && entry->fields[1].id == 2 &&
                  entry->fields[0].label != PROTOBUF_C_LABEL_REPEATED &&
                  entry->fields[1].label != PROTOBUF_C_LABEL_REPEATED &&
                  is_key_type(entry->fields[0].type);
    if (entry->reserved1 != NULL) {
        return shaped && entry->reserved1 == (const void *)&schema_mark_map_entry ? entry : NULL;
    }
    size_t outer = strlen(type->name);
    bool nested = strncmp(entry->name, type->name, outer) == 0 && entry->name[outer] == '.' &&
                  strcmp(entry->name + outer + 1, entry->short_name) == 0;
    return shaped && nested && strcmp(entry->fields[0].name, "key") == 0 &&
                   strcmp(entry->fields[1].name, "value") == 0 &&
                   named_as_entry(entry->short_name, field->name)
               ? entry
               : NULL;
}

bool schema_is_null_value(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_ENUM &&
           strcmp(((const ProtobufCEnumDescriptor *)field->descriptor)->name,
                  "google.protobuf.NullValue") == 0;
}

void schema_json_name(const ProtobufCFieldDescriptor *field, struct chassis_buf *out)
{
    if (field->reserved2 != NULL) {
        chassis_buf_append_str(out, (const char *)field->reserved2);
        return;
    }
    bool upper = false;
    for (const char *p = field->name; *p != '\0'; p++) {
        if (*p == '_') {
            upper = true;
        } else {
            chassis_buf_append_byte(out, (uint8_t)(upper ? toupper((unsigned char)*p) : *p));
            upper = false;
        }
    }
}

/* The derived JSON name of `field` is `name`. */
static bool derived_is(const char *field, struct chassis_view name)
{
    bool upper = false;
    size_t at = 0;
    for (; *field != '\0'; field++) {
        if (*field == '_') {
            upper = true;
            continue;
        }
        int c = upper ? toupper((unsigned char)*field) : (unsigned char)*field;
        if (at == name.len || name.data[at++] != c) {
            return false;
        }
        upper = false;
    }
    return at == name.len;
}

const ProtobufCFieldDescriptor *schema_find_field(const ProtobufCMessageDescriptor *type,
                                                  struct chassis_view name)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        bool json = field->reserved2 != NULL
                        ? chassis_view_eq(name, chassis_view_str((const char *)field->reserved2))
                        : derived_is(field->name, name);
        if (json || chassis_view_eq(name, chassis_view_str(field->name))) {
            return field;
        }
    }
    return NULL;
}
