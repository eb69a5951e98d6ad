/* Types known only at run time: from serialised FileDescriptorProtos, as server reflection and the
 * generated code hand them out, to descriptors that the JSON functions and the pre-scan work on.
 *
 *     struct chassis_dynamic *d = chassis_dynamic_new();
 *     chassis_dynamic_add_file(d, bytes, &err);            // each file reflection sent
 *     while ((name = chassis_dynamic_missing(d)) != NULL)  // what they import
 *         …ask for the file `name`, add it…
 *     chassis_dynamic_link(d, &err);
 *     chassis_dynamic_method(d, service, "Speak", &method, &err);
 *     chassis_json_parse_bytes(method.request, json, chassis_dynamic_types(d), …, &request, &err);
 *     chassis_json_print_bytes(method.response, response, chassis_dynamic_types(d), &text, &err);
 *
 * Invariants: these descriptors have no C struct behind them: they serve chassis_message_scan() and
 * the chassis_json_…_bytes() functions only, never protobuf-c's own functions nor
 * chassis_message_decode(). Groups and extensions of proto2 are left out. What is added is checked: a
 * hostile server causes an error, not a crash. At most 32 MiB are kept.
 * Threads: one while it is filled; after linking it is constant.
 * Ownership: everything returned lives until chassis_dynamic_free().
 */
#ifndef CHASSIS_PROTO_DYNAMIC_H
#define CHASSIS_PROTO_DYNAMIC_H

#include "proto/message.h"

struct chassis_dynamic;

struct chassis_dynamic *chassis_dynamic_new(void);
void chassis_dynamic_free(struct chassis_dynamic *d); /* NULL is fine */

/* A serialised FileDescriptorProto; copied. A file that is there already is passed over. */
int chassis_dynamic_add_file(struct chassis_dynamic *d, struct chassis_view bytes,
                             struct chassis_error *err);
/* A serialised FileDescriptorSet (protoc --descriptor_set_out). */
int chassis_dynamic_add_set(struct chassis_dynamic *d, struct chassis_view bytes,
                            struct chassis_error *err);
/* An embedded descriptor with all it imports. */
int chassis_dynamic_add_embedded(struct chassis_dynamic *d,
                                 const struct chassis_file_descriptor *file,
                                 struct chassis_error *err);
/* The name of an imported file that was not added yet; NULL when none is missing. */
const char *chassis_dynamic_missing(const struct chassis_dynamic *d);
/* Resolve the names of types; needed before the lookups, and again after further files. Files that
 * are missing matter only if a type is. CHASSIS_NOT_FOUND names it. */
int chassis_dynamic_link(struct chassis_dynamic *d, struct chassis_error *err);

struct chassis_dynamic_method {
    const char *name;
    char path[512]; /* "/examples.echo.v1.EchoService/Speak" */
    enum chassis_method_kind kind;
    const ProtobufCMessageDescriptor *request, *response;
};
/* By full name of the service and name of the method. CHASSIS_NOT_FOUND lists what there is. */
int chassis_dynamic_method(const struct chassis_dynamic *d, const char *service, const char *method,
                           struct chassis_dynamic_method *ret_method, struct chassis_error *err);
/* The full name of the n-th service, the name of its m-th method; NULL beyond the last. */
const char *chassis_dynamic_service_name(const struct chassis_dynamic *d, size_t n);
const char *chassis_dynamic_method_name(const struct chassis_dynamic *d, size_t n, size_t m);
/* A message by full name, NULL if there is none. */
const ProtobufCMessageDescriptor *chassis_dynamic_message(const struct chassis_dynamic *d,
                                                          struct chassis_view name);
/* All messages, for what is inside an Any. */
const struct chassis_type_registry *chassis_dynamic_types(const struct chassis_dynamic *d);

#endif
