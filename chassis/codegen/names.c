/* Names: protobuf-c's, which the generated code must meet exactly, and our own. */
#include "codegen.h"

#include <ctype.h>
#include <stdio.h>

#include "base/assert.h"

/* protobuf-c: underscores go, what follows one is upper case. */
static void to_camel(struct chassis_buf *out, const char *part, size_t len)
{
    bool upper = true;
    for (size_t i = 0; i < len; i++) {
        if (part[i] == '_') {
            upper = true;
        } else {
            chassis_buf_append_byte(out, (uint8_t)(upper ? toupper(part[i]) : part[i]));
            upper = false;
        }
    }
}

/* protobuf-c: an underscore before each upper-case letter that does not follow another. */
static void to_lower(struct chassis_buf *out, const char *part, size_t len)
{
    bool was_upper = true;
    for (size_t i = 0; i < len; i++) {
        bool is_upper = isupper((unsigned char)part[i]) != 0;
        if (is_upper && !was_upper) {
            chassis_buf_append_byte(out, '_');
        }
        chassis_buf_append_byte(out, (uint8_t)tolower(part[i]));
        was_upper = is_upper;
    }
}

static const char *join_parts(struct codegen *g, const char *full_name,
                              void (*convert)(struct chassis_buf *, const char *, size_t),
                              const char *suffix)
{
    struct chassis_buf buf = {0};
    const char *p = full_name[0] == '.' ? full_name + 1 : full_name;
    while (*p != '\0') {
        size_t len = strcspn(p, ".");
        if (buf.len != 0) {
            chassis_buf_append_str(&buf, "__");
        }
        convert(&buf, p, len);
        p += len + (p[len] == '.');
    }
    chassis_buf_append_str(&buf, suffix);
    const char *name = chassis_arena_strndup(&g->arena, buf.data, buf.len);
    chassis_buf_fini(&buf);
    return name;
}

const char *codegen_type_name(struct codegen *g, const char *full_name)
{
    return join_parts(g, full_name, to_camel, "");
}

const char *codegen_lower_name(struct codegen *g, const char *full_name)
{
    return join_parts(g, full_name, to_lower, "");
}

const char *codegen_descriptor_name(struct codegen *g, const char *full_name)
{
    return join_parts(g, full_name, to_lower, "__descriptor");
}

const char *codegen_snake(struct codegen *g, const char *name)
{
    struct chassis_buf buf = {0};
    for (size_t i = 0; name[i] != '\0'; i++) {
        unsigned char c = (unsigned char)name[i], last = i > 0 ? (unsigned char)name[i - 1] : '_';
        bool word = isupper(c) && last != '_' && last != '.' &&
                    (!isupper(last) || islower((unsigned char)name[i + 1]));
        if (word) {
            chassis_buf_append_byte(&buf, '_');
        }
        chassis_buf_append_byte(&buf, (uint8_t)(isalnum(c) ? tolower(c) : '_'));
    }
    const char *snake = chassis_arena_strndup(&g->arena, buf.data, buf.len);
    chassis_buf_fini(&buf);
    return snake;
}

/* A method may be called like a word of C; a member of a struct may not. */
static const char *member_name(struct codegen *g, const char *snake)
{
    static const char *const keywords[] = {
        "auto",    "break",  "case",     "char",   "const",    "continue", "default",
        "do",      "double", "else",     "enum",   "extern",   "float",    "for",
        "goto",    "if",     "inline",   "int",    "long",     "register", "restrict",
        "return",  "short",  "signed",   "sizeof", "static",   "struct",   "switch",
        "typedef", "union",  "unsigned", "void",   "volatile", "while",
    };
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++) {
        if (strcmp(snake, keywords[i]) == 0) {
            return chassis_arena_printf(&g->arena, "%s_", snake);
        }
    }
    return snake;
}

const Google__Protobuf__FileDescriptorProto *codegen_find_file(const struct codegen *g,
                                                               const char *name)
{
    for (size_t i = 0; i < g->request->n_proto_file; i++) {
        if (strcmp(g->request->proto_file[i]->name, name) == 0) {
            return g->request->proto_file[i];
        }
    }
    return NULL;
}

static const char *service_prefix(struct codegen *g, const struct codegen_file *file,
                                  const char *service, const char *full_name)
{
    if (g->prefix[0] == '\0') {
        return codegen_snake(g, full_name);
    }
    if (file->proto->n_service == 1) {
        return g->prefix;
    }
    return chassis_arena_printf(&g->arena, "%s_%s", g->prefix, codegen_snake(g, service));
}

static void method_init(struct codegen *g, const struct codegen_service *service,
                        const Google__Protobuf__MethodDescriptorProto *proto,
                        struct codegen_method *m)
{
    const char *snake = codegen_snake(g, proto->name);
    m->name = proto->name;
    m->member = member_name(g, snake);
    m->symbol = chassis_arena_printf(&g->arena, "%s_%s", service->prefix, snake);
    m->request = codegen_type_name(g, proto->input_type);
    m->response = codegen_type_name(g, proto->output_type);
    m->request_descriptor = codegen_descriptor_name(g, proto->input_type);
    m->response_descriptor = codegen_descriptor_name(g, proto->output_type);
    bool in = proto->has_client_streaming && proto->client_streaming;
    bool out = proto->has_server_streaming && proto->server_streaming;
    m->kind = in ? (out ? CHASSIS_BIDI_STREAM : CHASSIS_CLIENT_STREAM)
                 : (out ? CHASSIS_SERVER_STREAM : CHASSIS_UNARY);
}

/* Every name a service generates is <symbol> or <symbol>_<word>; SpeakReply beside Speak would
 * define echo_speak_reply twice. */
static int check_names(const struct codegen_service *service, struct chassis_error *err)
{
    static const char *const words[] = {"",      "_reply",  "_send",     "_sync",
                                        "_open", "_method", "_response", "_stream_send"};
    enum { N_WORDS = sizeof words / sizeof words[0] };
    for (size_t i = 0; i < service->n_methods; i++) {
        const char *a = service->methods[i].symbol;
        const char *own[] = {"service", "service_type", "handlers"};
        for (size_t o = 0; o < 3; o++) {
            if (strcmp(a + strlen(service->prefix) + 1, own[o]) == 0) {
                return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                         "method '%s' of %s would be called '%s', which the "
                                         "service itself is",
                                         service->methods[i].name, service->full_name, a);
            }
        }
        for (size_t j = 0; j < service->n_methods; j++) {
            for (size_t w = 0; w < N_WORDS; w++) {
                char name[512];
                snprintf(name, sizeof name, "%s%s", service->methods[j].symbol, words[w]);
                if (i != j && strcmp(a, name) == 0) {
                    return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                             "methods '%s' and '%s' of %s would both define '%s'",
                                             service->methods[i].name, service->methods[j].name,
                                             service->full_name, name);
                }
            }
        }
    }
    return 0;
}

int codegen_file_init(struct codegen *g, const Google__Protobuf__FileDescriptorProto *proto,
                      struct codegen_file *ret_file, struct chassis_error *err)
{
    struct codegen_file file = {.proto = proto, .n_services = proto->n_service};
    size_t len = strlen(proto->name);
    if (len > 6 && strcmp(proto->name + len - 6, ".proto") == 0) {
        len -= 6;
    }
    file.base = chassis_arena_strndup(&g->arena, proto->name, len);
    file.symbol = chassis_arena_printf(&g->arena, "%s_file", codegen_snake(g, file.base));
    file.services = chassis_arena_zalloc(&g->arena, (file.n_services + 1) * sizeof *file.services);
    for (size_t i = 0; i < file.n_services; i++) {
        const Google__Protobuf__ServiceDescriptorProto *sp = proto->service[i];
        struct codegen_service *s = &file.services[i];
        const char *package = proto->package != NULL ? proto->package : "";
        s->full_name = chassis_arena_printf(&g->arena, "%s%s%s", package,
                                            package[0] != '\0' ? "." : "", sp->name);
        s->prefix = service_prefix(g, &file, sp->name, s->full_name);
        s->n_methods = sp->n_method;
        s->methods = chassis_arena_zalloc(&g->arena, (s->n_methods + 1) * sizeof *s->methods);
        for (size_t m = 0; m < s->n_methods; m++) {
            method_init(g, s, sp->method[m], &s->methods[m]);
        }
        int rc = check_names(s, err);
        if (rc != 0) {
            return rc;
        }
    }
    *ret_file = file;
    return 0;
}
