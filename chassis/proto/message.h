/* Messages of protobuf-c, generically: arena decoding behind a pre-scan, encoding, JSON.
 *
 * Invariants: no input makes decode crash, recurse deeper than `depth_max`, or allocate more than
 * the arena's limit; strings are valid UTF-8 without NUL; of entries with one map key the last
 * one wins.
 * Threads: any. Ownership: what is decoded lives in the arena.
 */
#ifndef CHASSIS_PROTO_MESSAGE_H
#define CHASSIS_PROTO_MESSAGE_H

#include <protobuf-c/protobuf-c.h>

#include <chassis/arena.h>
#include <chassis/buf.h>
#include <chassis/error.h>
#include <chassis/message.h>
#include <chassis/service.h>

struct chassis_decode_limits {
    unsigned depth_max;  /* 0 = 64 */
    uint32_t fields_max; /* of one message and all it holds; 0 = 100,000 */
};

static inline const ProtobufCMessageDescriptor *
chassis_message_descriptor(const struct chassis_message_type *type)
{
    return (const ProtobufCMessageDescriptor *)(const void *)type;
}

/* Check wire bytes against a descriptor without allocating: nesting, count, lengths, UTF-8.
 * CHASSIS_MALFORMED / CHASSIS_TOO_LARGE with a text that names the field path and the limit. */
int chassis_message_scan(const ProtobufCMessageDescriptor *type, struct chassis_view encoded,
                         const struct chassis_decode_limits *limits, struct chassis_error *err);
/* Scan, then decode into the arena. */
int chassis_message_decode(const ProtobufCMessageDescriptor *type, struct chassis_view encoded,
                           const struct chassis_decode_limits *limits, struct chassis_arena *arena,
                           ProtobufCMessage **ret_message, struct chassis_error *err);
size_t chassis_message_size(const ProtobufCMessage *message);
void chassis_message_encode(const ProtobufCMessage *message, struct chassis_buf *out); /* appends */

/* Where the types inside google.protobuf.Any are looked up when turning them into JSON and back. */
struct chassis_type_registry;
struct chassis_type_registry *chassis_type_registry_new(void);
void chassis_type_registry_free(struct chassis_type_registry *types);
void chassis_type_registry_add(struct chassis_type_registry *types,
                               const ProtobufCMessageDescriptor *type);
const ProtobufCMessageDescriptor *
chassis_type_registry_find(const struct chassis_type_registry *types, struct chassis_view name);

/* JSON as the protobuf language guide maps it: lowerCamelCase names (both forms accepted), 64-bit
 * integers as strings, base64 bytes, enums by name, Timestamp/Duration/Any/wrappers/Struct in their
 * special forms; an Any of unknown type prints {"@type":…,"value":"base64"}. Appends to out. */
int chassis_json_print(const ProtobufCMessage *message, const struct chassis_type_registry *types,
                       struct chassis_buf *out, struct chassis_error *err);
/* Unknown fields are an error naming the field, unless `ignore_unknown`. Depth is limited to 64. */
int chassis_json_parse(const ProtobufCMessageDescriptor *type, struct chassis_view json,
                       const struct chassis_type_registry *types, bool ignore_unknown,
                       struct chassis_arena *arena, ProtobufCMessage **ret_message,
                       struct chassis_error *err);

/* The same between wire bytes and JSON, without a typed message in between: for transcoding, and
 * for types known only at run time (proto/dynamic.h). `scratch` holds what parsing needs. Nothing is
 * left in `out` on failure. */
int chassis_json_print_bytes(const ProtobufCMessageDescriptor *type, struct chassis_view encoded,
                             const struct chassis_type_registry *types, struct chassis_buf *out,
                             struct chassis_error *err);
int chassis_json_parse_bytes(const ProtobufCMessageDescriptor *type, struct chassis_view json,
                             const struct chassis_type_registry *types, bool ignore_unknown,
                             struct chassis_arena *scratch, struct chassis_buf *out,
                             struct chassis_error *err);

#endif
