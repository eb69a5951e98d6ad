/* Descriptions of RPC services, as protoc-gen-chassis writes them.
 *
 * A service author rarely touches these: the generated `struct echo_handlers` and
 * `echo_service(&handlers, data)` fill them in.
 * Threads: constant after registration.
 */
#ifndef CHASSIS_SERVICE_H
#define CHASSIS_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chassis_call;

enum chassis_method_kind {
    CHASSIS_UNARY,
    CHASSIS_SERVER_STREAM,
    CHASSIS_CLIENT_STREAM,
    CHASSIS_BIDI_STREAM,
};

/* Who may call. Checked before a handler runs; see docs/internals/access.md. */
enum chassis_access {
    CHASSIS_ACCESS_PUBLIC,   /* anyone who can connect */
    CHASSIS_ACCESS_SERVICE,  /* a registered process with a signed token */
    CHASSIS_ACCESS_OPERATOR, /* mTLS with a listed name, the cluster secret, or loopback by config */
    CHASSIS_ACCESS_PEER,     /* another node of the same cluster */
};

/* The message descriptor of protobuf-c, opaque here. */
struct chassis_message_type;

/* One method, generated and constant. `type` pointers are ProtobufCMessageDescriptor. */
struct chassis_method {
    const char *name;    /* "Speak" */
    const char *path;    /* "/examples.echo.v1.EchoService/Speak" */
    const char *service; /* "examples.echo.v1.EchoService" */
    enum chassis_method_kind kind;
    const struct chassis_message_type *request;
    const struct chassis_message_type *response;
    size_t handler_offset; /* of the handler(s) in the generated struct of handlers */
};

/* How the generated struct stores handlers; the generator gives each its true types, and calls go
 * through `invoke` thunks it writes, so no function is called through a wrong type.
 *   unary, server-stream: one function (call, request)
 *   client-stream, bidi:  struct { open(call); message(call, request); end(call); } where `open` and
 *                         `end` may be NULL; `end` = the peer sent its last message */
typedef void (*chassis_invoke_fn)(const void *handlers, struct chassis_call *call,
                                  const void *request);

struct chassis_method_binding {
    const struct chassis_method *method;
    chassis_invoke_fn open;                /* streams from the client only; may be NULL */
    chassis_invoke_fn message;             /* request or message arrived */
    chassis_invoke_fn end;                 /* streams from the client only */
    bool (*present)(const void *handlers); /* false: answer UNIMPLEMENTED */
};

/* A serialised google.protobuf.FileDescriptorProto with its imports, for reflection and JSON. */
struct chassis_file_descriptor {
    const char *name; /* "examples/echo/v1/echo.proto" */
    const uint8_t *data;
    size_t len;
    const struct chassis_file_descriptor *const *imports; /* NULL-terminated */
};

struct chassis_service_type {
    const char *name; /* "examples.echo.v1.EchoService" */
    const struct chassis_method_binding *methods;
    size_t n_methods;
    const struct chassis_file_descriptor *file;
};

/* What a method is given beyond its handler; rows by method name, "*" for all. */
struct chassis_method_options {
    const char *method;
    enum chassis_access access;
    bool never_blocks;        /* run on the completion-queue thread instead of a worker */
    bool idempotent;          /* clients may retry it */
    bool encoded;             /* not decoded: the handler is given NULL and asks
                                 chassis_call_encoded; checking the bytes is then its own work */
    bool rare;                /* called now and then: calls cost more, connections less memory */
    size_t request_bytes_max; /* 0 = the server's limit */
};

/* A service as registered: the generated type, the author's handlers, options and data. */
struct chassis_service {
    const struct chassis_service_type *type;
    const void *handlers; /* the generated struct; must outlive the server */
    /* Ends with a row whose method is NULL; may be NULL. */
    const struct chassis_method_options *options;
    void *data; /* chassis_call_data() */
};

#endif
