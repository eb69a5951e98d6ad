/* What json_parse.c (messages, fields, scalars) and json_forms.c (types with a form of their own)
 * share. Both append wire bytes to `out`; on failure the caller drops them.
 * Threads: any.
 */
#ifndef CHASSIS_PROTO_JSON_PARSE_H
#define CHASSIS_PROTO_JSON_PARSE_H

#include "proto/json_lex.h"
#include "proto/message.h"
#include "proto/schema.h"

struct parser {
    struct lexer l;
    const struct chassis_type_registry *types;
    bool ignore_unknown;
    struct chassis_buf *out;
};

/* A block whose length is not known yet: begin, write, end. */
size_t parse_block_begin(struct chassis_buf *out);
void parse_block_end(struct chassis_buf *out, size_t begin);
/* json_parse.c: the JSON ahead as a message, whatever its form. */
int parse_message(struct parser *p, const ProtobufCMessageDescriptor *type, unsigned depth);
/* The members of an object; with `in_any` a member "@type" is passed over. */
int parse_object(struct parser *p, const ProtobufCMessageDescriptor *type, bool in_any,
                 unsigned depth);
/* One value with its tag. Zero is left out unless `always`. */
int parse_one(struct parser *p, const ProtobufCFieldDescriptor *field, bool always, unsigned depth);
int parse_array(struct parser *p, const ProtobufCFieldDescriptor *field, unsigned depth);
int parse_map(struct parser *p, const ProtobufCFieldDescriptor *field,
              const ProtobufCMessageDescriptor *entry, unsigned depth);
int parse_base64(struct parser *p, const ProtobufCFieldDescriptor *field,
                 struct chassis_view *ret_bytes);
/* json_forms.c: a type whose form is not plain. */
int parse_form(struct parser *p, const ProtobufCMessageDescriptor *type, enum schema_form form,
               unsigned depth);

#endif
