/* Messages (protobuf-c structs) as bytes, for what a service stores or sends on. Generated code wraps
 * these two with the types of each message:
 *
 *     examples__crud__v1__name__encode(&name, &buf);
 *     rc = examples__crud__v1__name__decode(view, arena, &name, &err);
 *
 * Invariants: no input makes decode crash or allocate more than the arena's limit; strings that come
 * out are valid UTF-8 without NUL.
 * Threads: any. Ownership: what is decoded lives in the arena.
 */
#ifndef CHASSIS_MESSAGE_H
#define CHASSIS_MESSAGE_H

#include <chassis/arena.h>
#include <chassis/buf.h>
#include <chassis/error.h>

/* Appends to `out`. */
void chassis_encode(const void *message, struct chassis_buf *out);
/* `descriptor` is the type's ProtobufCMessageDescriptor. CHASSIS_MALFORMED or CHASSIS_TOO_LARGE with
 * a text that names the field. */
int chassis_decode(const void *descriptor, struct chassis_view encoded, struct chassis_arena *arena,
                   void **ret_message, struct chassis_error *err);

#endif
