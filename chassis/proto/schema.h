/* What JSON needs to know of a type beyond what protobuf-c's descriptors say.
 *
 * Descriptors compiled by protoc-gen-c carry neither json_name nor the mark of a map entry: names
 * are derived as protoc derives them, and a map entry is recognised by its shape, which protoc
 * reserves for maps whenever one is declared. Descriptors built at run time (dynamic.c) carry both,
 * in protobuf-c's reserved pointers.
 * Threads: any; everything is constant.
 */
#ifndef CHASSIS_PROTO_SCHEMA_H
#define CHASSIS_PROTO_SCHEMA_H

#include <stdbool.h>

#include <protobuf-c/protobuf-c.h>

#include <chassis/buf.h>

/* Types with a JSON form of their own. */
enum schema_form {
    FORM_PLAIN,
    FORM_ANY,
    FORM_TIMESTAMP,
    FORM_DURATION,
    FORM_WRAPPER,
    FORM_STRUCT,
    FORM_VALUE,
    FORM_LIST,
    FORM_FIELD_MASK,
};
enum schema_form schema_form(const ProtobufCMessageDescriptor *type);

/* The entry type if `field` is a map, else NULL. */
const ProtobufCMessageDescriptor *schema_map_entry(const ProtobufCMessageDescriptor *type,
                                                   const ProtobufCFieldDescriptor *field);
/* google.protobuf.NullValue, whose JSON is null. */
bool schema_is_null_value(const ProtobufCFieldDescriptor *field);
/* Unset and zero are two things. */
static inline bool schema_has_presence(const ProtobufCFieldDescriptor *field)
{
    return field->label != PROTOBUF_C_LABEL_NONE || (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) ||
           field->type == PROTOBUF_C_TYPE_MESSAGE;
}
static inline bool schema_same_oneof(const ProtobufCFieldDescriptor *a,
                                     const ProtobufCFieldDescriptor *b)
{
    return (a->flags & b->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
           a->quantifier_offset == b->quantifier_offset;
}
/* Append the JSON name of a field. */
void schema_json_name(const ProtobufCFieldDescriptor *field, struct chassis_buf *out);
/* By JSON name or by the name in the .proto; NULL if there is none. */
const ProtobufCFieldDescriptor *schema_find_field(const ProtobufCMessageDescriptor *type,
                                                  struct chassis_view name);

/* What dynamic.c puts into ProtobufCMessageDescriptor.reserved1: these addresses. */
extern const char schema_mark_map_entry, schema_mark_no_map_entry;

#endif
