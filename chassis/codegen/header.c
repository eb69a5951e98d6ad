/* The text of <file>.chassis.h. */
#include "codegen.h"

#include <ctype.h>

static bool streams_in(const struct codegen_method *m)
{
    return m->kind == CHASSIS_CLIENT_STREAM || m->kind == CHASSIS_BIDI_STREAM;
}

static bool streams_out(const struct codegen_method *m)
{
    return m->kind == CHASSIS_SERVER_STREAM || m->kind == CHASSIS_BIDI_STREAM;
}

static void handlers(const struct codegen_service *s, struct chassis_buf *out)
{
    chassis_buf_printf(
        out,
        "/* What serves the methods; one left NULL answers UNIMPLEMENTED. Of a stream "
        "from the client\n * only `message` is needed. */\n"
        "struct %s_handlers {\n",
        s->prefix);
    for (size_t i = 0; i < s->n_methods; i++) {
        const struct codegen_method *m = &s->methods[i];
        if (streams_in(m)) {
            chassis_buf_printf(out,
                               "    struct {\n"
                               "        void (*open)(struct chassis_call *call);\n"
                               "        void (*message)(struct chassis_call *call,\n"
                               "                        const %s *req);\n"
                               "        void (*end)(struct chassis_call *call);\n"
                               "    } %s;\n",
                               m->request, m->member);
        } else {
            chassis_buf_printf(out,
                               "    void (*%s)(struct chassis_call *call,\n"
                               "        const %s *req);\n",
                               m->member, m->request);
        }
    }
    if (s->n_methods == 0) {
        chassis_buf_append_str(out, "    char unused;\n");
    }
    chassis_buf_printf(out, "};\nextern const struct chassis_service_type %s_service_type;\n",
                       s->prefix);
    chassis_buf_printf(
        out,
        "/* For chassis_with_rpc_handler(); `data` comes back from chassis_call_data(). */\n"
        "static inline struct chassis_service\n"
        "%s_service(const struct %s_handlers *handlers, void *data)\n"
        "{\n"
        "    return (struct chassis_service){\n"
        "        .type = &%s_service_type, .handlers = handlers, .data = data};\n"
        "}\n",
        s->prefix, s->prefix, s->prefix);
}

static void server_side(const struct codegen_method *m, struct chassis_buf *out)
{
    if (streams_out(m)) {
        chassis_buf_printf(out,
                           "/* Send one message; see chassis_call_send(). */\n"
                           "static inline int %s_send(\n"
                           "    struct chassis_call *call, const %s *res)\n"
                           "{\n"
                           "    return chassis_call_send(call, res);\n"
                           "}\n",
                           m->symbol, m->response);
    } else {
        chassis_buf_printf(out,
                           "/* Answer and end the call. */\n"
                           "static inline void %s_reply(\n"
                           "    struct chassis_call *call, const %s *res)\n"
                           "{\n"
                           "    chassis_call_reply(call, res);\n"
                           "}\n",
                           m->symbol, m->response);
    }
}

static void unary_client(const struct codegen_method *m, struct chassis_buf *out)
{
    chassis_buf_printf(out,
                       "/* Call; %s_response() gives the typed answer inside `done`. */\n"
                       "static inline void %s(\n"
                       "    struct chassis_client *client, const %s *req,\n"
                       "    const struct chassis_call_options *options, chassis_reply_cb done, "
                       "void *data)\n"
                       "{\n"
                       "    chassis_client_call(client, &%s_method, req, options, done, data);\n"
                       "}\n",
                       m->symbol, m->symbol, m->request, m->symbol);
    chassis_buf_printf(
        out,
        "/* Call and wait; the answer lives in `arena`. Only on workers and in tools. */\n"
        "static inline int %s_sync(\n"
        "    struct chassis_client *client, const %s *req,\n"
        "    const struct chassis_call_options *options, struct chassis_arena "
        "*arena,\n"
        "    %s **ret_response, struct chassis_error *err)\n"
        "{\n"
        "    void *response = NULL;\n"
        "    int rc = chassis_client_call_sync(client, &%s_method, req, options, "
        "arena,\n"
        "                                      &response, err);\n"
        "    if (rc == 0) {\n"
        "        *ret_response = (%s *)response;\n"
        "    }\n"
        "    return rc;\n"
        "}\n",
        m->symbol, m->request, m->response, m->symbol, m->response);
}

static void stream_client(const struct codegen_method *m, struct chassis_buf *out)
{
    bool in = streams_in(m);
    chassis_buf_printf(out, "/* Open the stream%s. Messages come to handlers->message as %s. */\n",
                       in ? "" : ", send the request and half-close", m->response);
    chassis_buf_printf(out,
                       "static inline int %s_open(\n    struct chassis_client *client,%s%s%s\n",
                       m->symbol, in ? "" : " const ", in ? "" : m->request, in ? "" : " *req,");
    chassis_buf_printf(out,
                       "    const struct chassis_call_options *options,\n"
                       "    const struct chassis_stream_handlers *handlers, void *data,\n"
                       "    struct chassis_client_stream **ret_stream, struct chassis_error *err)\n"
                       "{\n");
    if (in) {
        chassis_buf_printf(out,
                           "    return chassis_stream_open(client, &%s_method, options, handlers, "
                           "data, ret_stream,\n"
                           "                               err);\n"
                           "}\n"
                           "/* Send one message; see chassis_stream_send(). */\n"
                           "static inline int %s_stream_send(\n"
                           "    struct chassis_client_stream *stream, const %s *req)\n"
                           "{\n"
                           "    return chassis_stream_send(stream, req);\n"
                           "}\n",
                           m->symbol, m->symbol, m->request);
        return;
    }
    chassis_buf_printf(
        out,
        "    int rc = chassis_stream_open(client, &%s_method, options, handlers, "
        "data, ret_stream,\n"
        "                                 err);\n"
        "    if (rc == 0) {\n"
        "        /* the queue is empty: refused only when the call is over, and then "
        "`closed` tells */\n"
        "        (void)chassis_stream_send(*ret_stream, req);\n"
        "        chassis_stream_half_close(*ret_stream);\n"
        "    }\n"
        "    return rc;\n"
        "}\n",
        m->symbol);
}

static void method(const struct codegen_service *s, const struct codegen_method *m,
                   struct chassis_buf *out)
{
    chassis_buf_printf(out, "\n/* %s.%s: %s%s -> %s%s */\n", s->full_name, m->name,
                       streams_in(m) ? "stream of " : "", m->request,
                       streams_out(m) ? "stream of " : "", m->response);
    chassis_buf_printf(out, "extern const struct chassis_method %s_method;\n", m->symbol);
    server_side(m, out);
    if (m->kind == CHASSIS_UNARY) {
        unary_client(m, out);
    } else {
        stream_client(m, out);
    }
    if (!streams_out(m)) {
        chassis_buf_printf(out,
                           "/* The typed answer of a reply; NULL on failure. */\n"
                           "static inline const %s *\n"
                           "%s_response(const struct chassis_reply *reply)\n"
                           "{\n"
                           "    return (const %s *)reply->message;\n"
                           "}\n",
                           m->response, m->symbol, m->response);
    }
}

static void message(struct codegen *g, const char *full_name, struct chassis_buf *out)
{
    const char *type = codegen_type_name(g, full_name), *lower = codegen_lower_name(g, full_name);
    chassis_buf_printf(out,
                       "\nstatic inline void %s__encode(\n"
                       "    const %s *message, struct chassis_buf *out)\n"
                       "{\n"
                       "    chassis_encode(message, out);\n"
                       "}\n",
                       lower, type);
    chassis_buf_printf(out,
                       "static inline int %s__decode(\n"
                       "    struct chassis_view encoded, struct chassis_arena *arena,\n"
                       "    %s **ret_message, struct chassis_error *err)\n"
                       "{\n"
                       "    void *message = NULL;\n"
                       "    int rc = chassis_decode(&%s__descriptor, encoded, arena,\n"
                       "                            &message, err);\n"
                       "    if (rc == 0) {\n"
                       "        *ret_message = (%s *)message;\n"
                       "    }\n"
                       "    return rc;\n"
                       "}\n",
                       lower, type, lower, type);
}

/* Entries of maps are messages of protobuf's own making: nobody stores one. */
static void messages(struct codegen *g, const char *scope,
                     Google__Protobuf__DescriptorProto **types, size_t n, struct chassis_buf *out)
{
    for (size_t i = 0; i < n; i++) {
        const Google__Protobuf__DescriptorProto *t = types[i];
        if (t->options != NULL && t->options->has_map_entry && t->options->map_entry) {
            continue;
        }
        const char *name = chassis_arena_printf(&g->arena, "%s.%s", scope, t->name);
        message(g, name, out);
        messages(g, name, t->nested_type, t->n_nested_type, out);
    }
}

void codegen_header(struct codegen *g, const struct codegen_file *file, struct chassis_buf *out)
{
    struct chassis_buf guard = {0};
    for (const char *p = file->base; *p != '\0'; p++) {
        chassis_buf_append_byte(&guard, (uint8_t)(isalnum((unsigned char)*p) ? toupper(*p) : '_'));
    }
    chassis_buf_append_str(&guard, "_CHASSIS_H");
    const char *name = (const char *)guard.data;
    chassis_buf_printf(out,
                       "/* Generated by protoc-gen-chassis from %s. Do not edit. */\n"
                       "#ifndef %s\n#define %s\n\n",
                       file->proto->name, name, name);
    if (file->n_services != 0) {
        chassis_buf_append_str(out, "#include <chassis/call.h>\n#include <chassis/client.h>\n");
    }
    chassis_buf_printf(
        out,
        "#include <chassis/message.h>\n#include <chassis/service.h>\n\n#include \"%s.pb-c.h\"\n",
        file->base);
    for (size_t i = 0; file->n_services != 0 && i < file->proto->n_dependency; i++) {
        const char *dependency = file->proto->dependency[i];
        chassis_buf_printf(out, "#include \"%.*s.pb-c.h\"\n", (int)strlen(dependency) - 6,
                           dependency);
    }
    chassis_buf_printf(out,
                       "\n/* %s and its imports, serialised: for reflection and JSON. */\n"
                       "extern const struct chassis_file_descriptor %s;\n",
                       file->proto->name, file->symbol);
    chassis_buf_append_str(out, "\n/* --- messages as bytes: <chassis/message.h> --- */\n");
    messages(g, file->proto->package != NULL ? file->proto->package : "", file->proto->message_type,
             file->proto->n_message_type, out);
    for (size_t i = 0; i < file->n_services; i++) {
        const struct codegen_service *s = &file->services[i];
        chassis_buf_printf(out, "\n/* --- %s --- */\n\n", s->full_name);
        handlers(s, out);
        for (size_t m = 0; m < s->n_methods; m++) {
            method(s, &s->methods[m], out);
        }
    }
    chassis_buf_append_str(out, "\n#endif\n");
    chassis_buf_fini(&guard);
}
