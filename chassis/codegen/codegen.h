/* protoc-gen-chassis: from the descriptors protoc hands over to C text.
 *
 * Invariants: the same input gives the same bytes; generated code holds constants, thunks and inline
 * wrappers only, so that it needs nothing at link time but the message code.
 * Threads: one. Ownership: descriptors belong to the request; text is appended to the caller's buf;
 * names come from an arena that lives as long as the program.
 */
#ifndef CHASSIS_CODEGEN_CODEGEN_H
#define CHASSIS_CODEGEN_CODEGEN_H

#include <google/protobuf/compiler/plugin.pb-c.h>
#include <google/protobuf/descriptor.pb-c.h>

#include <chassis/arena.h>
#include <chassis/buf.h>
#include <chassis/service.h>

struct codegen {
    const Google__Protobuf__Compiler__CodeGeneratorRequest *request;
    struct chassis_arena arena;
    const char *prefix;       /* option "prefix=", "" without */
    const char *protoc_gen_c; /* option "protoc-gen-c=": the generator of message code */
    bool services;            /* option "services" */
};

/* What the templates need to know of one method. */
struct codegen_method {
    const char *name;     /* "Speak" */
    const char *member;   /* "speak": in the struct of handlers */
    const char *symbol;   /* "echo_speak" */
    const char *request;  /* "Examples__Echo__V1__SpeakRequest" */
    const char *response; /* the same of the answer */
    const char *request_descriptor, *response_descriptor;
    enum chassis_method_kind kind;
};
struct codegen_service {
    const char *full_name; /* "examples.echo.v1.EchoService" */
    const char *prefix;    /* "echo" */
    struct codegen_method *methods;
    size_t n_methods;
};
struct codegen_file {
    const Google__Protobuf__FileDescriptorProto *proto;
    const char *base;   /* "examples/echo/v1/echo" */
    const char *symbol; /* "examples_echo_v1_echo_file" */
    struct codegen_service *services;
    size_t n_services;
};

/* names.c: how protobuf-c and we name things. */
const char *codegen_type_name(struct codegen *g, const char *full_name);       /* A__B__FooBar */
const char *codegen_lower_name(struct codegen *g, const char *full_name);      /* a__b__foo_bar */
const char *codegen_descriptor_name(struct codegen *g, const char *full_name); /* …__descriptor */
const char *codegen_snake(struct codegen *g, const char *name);
/* Fill `ret_file`; CHASSIS_INVALID_ARGUMENT when two generated names would be the same. */
int codegen_file_init(struct codegen *g, const Google__Protobuf__FileDescriptorProto *proto,
                      struct codegen_file *ret_file, struct chassis_error *err);
const Google__Protobuf__FileDescriptorProto *codegen_find_file(const struct codegen *g,
                                                               const char *name);

/* header.c and source.c */
void codegen_header(struct codegen *g, const struct codegen_file *file, struct chassis_buf *out);
void codegen_source(struct codegen *g, const struct codegen_file *file, struct chassis_buf *out);

#endif
