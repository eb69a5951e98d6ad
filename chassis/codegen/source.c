/* The text of <file>.chassis.c: methods, thunks, bindings and the serialised descriptors. */
#include "codegen.h"

#include <stdlib.h>

#include "base/assert.h"

static bool streams_in(const struct codegen_method *m)
{
    return m->kind == CHASSIS_CLIENT_STREAM || m->kind == CHASSIS_BIDI_STREAM;
}

static const char *kind_name(enum chassis_method_kind kind)
{
    switch (kind) {
    case CHASSIS_UNARY:
        return "CHASSIS_UNARY";
    case CHASSIS_SERVER_STREAM:
        return "CHASSIS_SERVER_STREAM";
    case CHASSIS_CLIENT_STREAM:
        return "CHASSIS_CLIENT_STREAM";
    case CHASSIS_BIDI_STREAM:
        return "CHASSIS_BIDI_STREAM";
    }
    CHASSIS_PANIC("method kind %d", (int)kind);
}

static void method_data(const struct codegen_service *s, const struct codegen_method *m,
                        struct chassis_buf *out)
{
    chassis_buf_printf(out,
                       "const struct chassis_method %s_method = {\n"
                       "    .name = \"%s\",\n"
                       "    .path = \"/%s/%s\",\n"
                       "    .service = \"%s\",\n"
                       "    .kind = %s,\n",
                       m->symbol, m->name, s->full_name, m->name, s->full_name, kind_name(m->kind));
    chassis_buf_printf(out,
                       "    .request = (const struct chassis_message_type *)(const void *)\n"
                       "        &%s,\n"
                       "    .response = (const struct chassis_message_type *)(const void *)\n"
                       "        &%s,\n"
                       "    .handler_offset = offsetof(struct %s_handlers, %s),\n"
                       "};\n",
                       m->request_descriptor, m->response_descriptor, s->prefix, m->member);
}

/* A function that knows the true types and calls one handler. */
static void thunk(const struct codegen_service *s, const struct codegen_method *m, const char *what,
                  struct chassis_buf *out)
{
    bool message = strcmp(what, "message") == 0;
    bool guarded = streams_in(m) && !message;
    chassis_buf_printf(out,
                       "static void %s_do_%s(const void *handlers, struct chassis_call *call,\n"
                       "    const void *request)\n"
                       "{\n"
                       "    const struct %s_handlers *h = (const struct %s_handlers *)handlers;\n",
                       m->symbol, what, s->prefix, s->prefix);
    if (guarded) {
        chassis_buf_printf(out,
                           "    (void)request;\n"
                           "    if (h->%s.%s != NULL) {\n"
                           "        h->%s.%s(call);\n"
                           "    }\n"
                           "}\n",
                           m->member, what, m->member, what);
    } else {
        chassis_buf_printf(out, "    h->%s%s(call, (const %s *)request);\n}\n", m->member,
                           streams_in(m) ? ".message" : "", m->request);
    }
}

static void method_code(const struct codegen_service *s, const struct codegen_method *m,
                        struct chassis_buf *out)
{
    chassis_buf_append_byte(out, '\n');
    method_data(s, m, out);
    thunk(s, m, "message", out);
    if (streams_in(m)) {
        thunk(s, m, "open", out);
        thunk(s, m, "end", out);
    }
    chassis_buf_printf(out,
                       "static bool %s_present(const void *handlers)\n"
                       "{\n"
                       "    return ((const struct %s_handlers *)handlers)->%s%s != NULL;\n"
                       "}\n",
                       m->symbol, s->prefix, m->member, streams_in(m) ? ".message" : "");
}

static void service_data(const struct codegen_file *file, const struct codegen_service *s,
                         struct chassis_buf *out)
{
    if (s->n_methods != 0) {
        chassis_buf_printf(out, "\nstatic const struct chassis_method_binding %s_bindings[] = {\n",
                           s->prefix);
        for (size_t i = 0; i < s->n_methods; i++) {
            const struct codegen_method *m = &s->methods[i];
            chassis_buf_printf(out, "    {.method = &%s_method,\n", m->symbol);
            if (streams_in(m)) {
                chassis_buf_printf(out, "     .open = %s_do_open,\n     .end = %s_do_end,\n",
                                   m->symbol, m->symbol);
            }
            chassis_buf_printf(out,
                               "     .message = %s_do_message,\n     .present = %s_present},\n",
                               m->symbol, m->symbol);
        }
        chassis_buf_append_str(out, "};\n");
    }
    chassis_buf_printf(out,
                       "\nconst struct chassis_service_type %s_service_type = {\n"
                       "    .name = \"%s\",\n",
                       s->prefix, s->full_name);
    if (s->n_methods != 0) {
        chassis_buf_printf(out, "    .methods = %s_bindings,\n", s->prefix);
    }
    chassis_buf_printf(out, "    .n_methods = %zu,\n    .file = &%s,\n};\n", s->n_methods,
                       file->symbol);
}

/* Files already written into this source, by index of the request. */
struct written {
    bool *done;
};

static size_t index_of(const struct codegen *g, const char *name)
{
    for (size_t i = 0; i < g->request->n_proto_file; i++) {
        if (strcmp(g->request->proto_file[i]->name, name) == 0) {
            return i;
        }
    }
    CHASSIS_PANIC("protoc did not send '%s'", name);
}

static void bytes(const uint8_t *data, size_t len, struct chassis_buf *out)
{
    for (size_t i = 0; i < len; i++) {
        chassis_buf_printf(out, "%s0x%02x,", i % 16 == 0 ? "\n    " : " ", data[i]);
    }
}

/* One file after those it imports: protoc refuses circles, so this ends. Comments are left out. */
static void descriptor(struct codegen *g, const char *name, const char *symbol, struct written *w,
                       struct chassis_buf *out)
{
    size_t at = index_of(g, name);
    if (w->done[at]) {
        return;
    }
    w->done[at] = true;
    Google__Protobuf__FileDescriptorProto file = *g->request->proto_file[at];
    for (size_t i = 0; i < file.n_dependency; i++) {
        descriptor(g, file.dependency[i], NULL, w, out);
    }
    file.source_code_info = NULL;
    size_t len = google__protobuf__file_descriptor_proto__get_packed_size(&file);
    uint8_t *data = chassis_base_alloc(len + 1);
    google__protobuf__file_descriptor_proto__pack(&file, data);
    chassis_buf_printf(out, "\n/* %s */\nstatic const uint8_t file_%zu_data[] = {", name, at);
    bytes(data, len, out);
    chassis_buf_printf(
        out, "\n};\nstatic const struct chassis_file_descriptor *const file_%zu_imports[] = {\n",
        at);
    for (size_t i = 0; i < file.n_dependency; i++) {
        chassis_buf_printf(out, "    &file_%zu,\n", index_of(g, file.dependency[i]));
    }
    chassis_buf_append_str(out, "    NULL,\n};\n");
    chassis_buf_append_str(out, symbol == NULL ? "static " : "");
    if (symbol == NULL) {
        chassis_buf_printf(out, "const struct chassis_file_descriptor file_%zu = {\n", at);
    } else {
        chassis_buf_printf(out, "const struct chassis_file_descriptor %s = {\n", symbol);
    }
    chassis_buf_printf(out,
                       "    .name = \"%s\",\n"
                       "    .data = file_%zu_data,\n"
                       "    .len = sizeof file_%zu_data,\n"
                       "    .imports = file_%zu_imports,\n"
                       "};\n",
                       name, at, at, at);
    free(data);
}

void codegen_source(struct codegen *g, const struct codegen_file *file, struct chassis_buf *out)
{
    chassis_buf_printf(out,
                       "/* Generated by protoc-gen-chassis from %s. Do not edit. */\n"
                       "#include \"%s.chassis.h\"\n\n"
                       "#include <stddef.h>\n",
                       file->proto->name, file->base);
    struct written w = {chassis_arena_zalloc(&g->arena, g->request->n_proto_file + 1)};
    descriptor(g, file->proto->name, file->symbol, &w, out);
    for (size_t i = 0; i < file->n_services; i++) {
        const struct codegen_service *s = &file->services[i];
        for (size_t m = 0; m < s->n_methods; m++) {
            method_code(s, &s->methods[m], out);
        }
        service_data(file, s, out);
    }
}
