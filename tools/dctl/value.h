/* Values of records: from what a user types to google.protobuf.Any, and back to text or JSON.
 *
 * Threads: one at a time. Ownership: results live in dctl->arena.
 */
#ifndef DCTL_VALUE_H
#define DCTL_VALUE_H

#include <google/protobuf/any.pb-c.h>
#include <google/protobuf/timestamp.pb-c.h>

#include "output.h"
#include "proto/message.h"

enum { DCTL_INPUT_MAX = 64 << 20 }; /* bytes read from a file or standard input */

/* "@FILE" is the file's content, "-" standard input, anything else itself. */
int dctl_read_input(struct dctl *d, const char *argument, struct chassis_view *ret_bytes,
                    struct chassis_error *err);
/* The kind a command acts on (--type): an Any without a value. */
int dctl_kind(struct dctl *d, Google__Protobuf__Any **ret_kind, struct chassis_error *err);
/* A value of that kind: text for the plain Value, else JSON of the message. */
int dctl_value_parse(struct dctl *d, struct chassis_view text, Google__Protobuf__Any **ret_any,
                     struct chassis_error *err);
/* Add to `parent` under `key`: text of a plain Value, the tree of a known message, else
 * {"@type", "value"} with base64. */
void dctl_add_any(struct dctl *d, struct dctl_node *parent, const char *key,
                  const Google__Protobuf__Any *any);
/* The type's name without "type.googleapis.com/". */
const char *dctl_type_name(const char *type_url);
/* RFC 3339 with milliseconds; null when `time` is NULL. */
void dctl_add_time(struct dctl *d, struct dctl_node *parent, const char *key,
                   const Google__Protobuf__Timestamp *time);
/* Nanoseconds since the epoch as RFC 3339 with milliseconds; null when 0. */
void dctl_add_time_ns(struct chassis_arena *arena, struct dctl_node *map, const char *key,
                      uint64_t time_ns);
/* All fields of a message under their names: numbers as such, enums in plain words, …_time_ns as
 * "…_time". */
struct dctl_node *dctl_message_node(struct chassis_arena *arena, const void *message);
/* What a message says, as files say it: fields that are not set are left out, enums have their names
 * of the wire. */
struct dctl_node *dctl_message_input(struct chassis_arena *arena, const void *message);
/* "WHEN_FULL_REFUSE_NEW" of WhenFull -> "refuse_new": without the words of the type's name. */
const char *dctl_enum_word(struct chassis_arena *arena, const ProtobufCEnumDescriptor *type,
                           const char *name);
/* The field of this name, or of the same name in lowerCamelCase; NULL. */
const ProtobufCFieldDescriptor *dctl_field_of(const ProtobufCMessageDescriptor *type,
                                              const char *key);
/* A message from a file of JSON ("-" = standard input), as clients write it or as dctl prints it; if
 * the object has a `member` that is an object, that one. */
int dctl_message_read(struct dctl *d, const char *file, const char *member,
                      const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret_message,
                      struct chassis_error *err);
/* The message types dctl knows. */
const struct chassis_type_registry *dctl_types(void);

#endif
