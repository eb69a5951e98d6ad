/* grpc.reflection.v1 and v1alpha (the same messages under two names), from the file descriptors that
 * the generator embeds with every service.
 *
 * Threads: the descriptors are constant; nothing else is kept.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "grpc/reflection/v1/reflection.chassis.h"
#include "grpc/reflection/v1alpha/reflection.chassis.h"
#include "rpc/server_impl.h"
#include "rpc/wire.h"

enum { FILES_MAX = 512 };

struct files { /* a set of files in the order found */
    const struct chassis_file_descriptor *items[FILES_MAX];
    size_t n;
};

static void files_add(struct files *files, const struct chassis_file_descriptor *file)
{
    for (size_t i = 0; i < files->n; i++) {
        if (strcmp(files->items[i]->name, file->name) == 0) {
            return;
        }
    }
    if (files->n == FILES_MAX) {
        return;
    }
    files->items[files->n++] = file;
    for (size_t i = 0; file->imports != NULL && file->imports[i] != NULL; i++) {
        files_add(files, file->imports[i]);
    }
}

static void files_all(const struct chassis_server *server, struct files *files)
{
    files->n = 0;
    for (size_t i = 0; i < server->n_services; i++) {
        if (server->services[i]->type->file != NULL) {
            files_add(files, server->services[i]->type->file);
        }
    }
}

/* Drop "name." from the front of `symbol`; false if it does not begin so. */
static bool symbol_enter(struct chassis_view *symbol, struct chassis_view name)
{
    if (name.len == 0 || !chassis_view_starts_with(*symbol, name) ||
        (symbol->len > name.len && symbol->data[name.len] != '.')) {
        return false;
    }
    size_t skip = symbol->len > name.len ? name.len + 1 : name.len;
    *symbol = chassis_view(symbol->data + skip, symbol->len - skip);
    return true;
}

static struct chassis_view field_of(struct chassis_view message, uint32_t number)
{
    struct chassis_reader reader = chassis_reader(message);
    struct rpc_field field;
    while (rpc_wire_next(&reader, &field)) {
        if (field.number == number) {
            return field.bytes;
        }
    }
    return chassis_view(NULL, 0);
}

/* `symbol` relative to a declaration with its name in field 1: the declaration itself, or one of the
 * declarations in its fields `nested` (0-terminated). Depth is that of our own descriptors. */
static bool declares(struct chassis_view declaration, struct chassis_view symbol,
                     const uint32_t *nested)
{
    if (!symbol_enter(&symbol, field_of(declaration, 1))) {
        return false;
    }
    if (symbol.len == 0) {
        return true;
    }
    struct chassis_reader reader = chassis_reader(declaration);
    struct rpc_field field;
    while (rpc_wire_next(&reader, &field)) {
        for (const uint32_t *n = nested; *n != 0; n++) {
            if (field.number == *n && declares(field.bytes, symbol, nested)) {
                return true;
            }
        }
    }
    return false;
}

/* FileDescriptorProto: 2 package, 4 messages, 5 enums, 6 services, 7 extensions. In a message: 2
 * fields, 3 nested messages, 4 enums, 6 extensions; in a service: 2 methods. */
static bool file_declares(const struct chassis_file_descriptor *file, struct chassis_view symbol)
{
    static const uint32_t in_message[] = {2, 3, 4, 6, 0}, in_service[] = {2, 0}, in_enum[] = {2, 0};
    struct chassis_view all = chassis_view(file->data, file->len);
    struct chassis_view package = field_of(all, 2);
    if (package.len != 0 && !symbol_enter(&symbol, package)) {
        return false;
    }
    struct chassis_reader reader = chassis_reader(all);
    struct rpc_field field;
    while (symbol.len != 0 && rpc_wire_next(&reader, &field)) {
        const uint32_t *nested = field.number == 4   ? in_message
                                 : field.number == 5 ? in_enum
                                 : field.number == 6 ? in_service
                                 : field.number == 7 ? in_service
                                                     : NULL;
        if (nested != NULL && declares(field.bytes, symbol, nested)) {
            return true;
        }
    }
    return false;
}

static void answer_error(struct chassis_buf *out, int grpc_code, const char *what,
                         struct chassis_view name)
{
    struct chassis_buf text = {0}, error = {0};
    chassis_buf_printf(&text, "%s '%.*s'", what, CHASSIS_VIEW_ARG(name));
    rpc_wire_varint(&error, 1, (uint64_t)grpc_code);
    rpc_wire_bytes(&error, 2, chassis_buf_view(&text));
    rpc_wire_bytes(out, 7, chassis_buf_view(&error));
    chassis_buf_fini(&text);
    chassis_buf_fini(&error);
}

/* The file and everything it imports, so that one question is enough. */
static void answer_file(struct chassis_buf *out, const struct chassis_file_descriptor *file)
{
    struct chassis_buf answer = {0};
    struct files *files = chassis_base_zalloc(sizeof *files);
    files_add(files, file);
    for (size_t i = 0; i < files->n; i++) {
        rpc_wire_bytes(&answer, 1, chassis_view(files->items[i]->data, files->items[i]->len));
    }
    rpc_wire_bytes(out, 4, chassis_buf_view(&answer));
    chassis_buf_fini(&answer);
    free(files);
}

static void answer_search(const struct chassis_server *server, struct chassis_buf *out,
                          struct chassis_view name, bool symbol)
{
    struct files *files = chassis_base_alloc(sizeof *files);
    const struct chassis_file_descriptor *found = NULL;
    files_all(server, files);
    for (size_t i = 0; i < files->n && found == NULL; i++) {
        const struct chassis_file_descriptor *file = files->items[i];
        bool hit = symbol ? file_declares(file, name)
                          : chassis_view_eq(chassis_view_str(file->name), name);
        found = hit ? file : NULL;
    }
    free(files);
    if (found != NULL) {
        answer_file(out, found);
    } else {
        answer_error(out, 5, symbol ? "no file declares" : "no file", name);
    }
}

static void answer_services(const struct chassis_server *server, struct chassis_buf *out)
{
    struct chassis_buf list = {0}, one = {0};
    for (size_t i = 0; i < server->n_services; i++) {
        chassis_buf_clear(&one);
        rpc_wire_bytes(&one, 1, chassis_view_str(server->services[i]->type->name));
        rpc_wire_bytes(&list, 1, chassis_buf_view(&one));
    }
    rpc_wire_bytes(out, 6, chassis_buf_view(&list));
    chassis_buf_fini(&list);
    chassis_buf_fini(&one);
}

static void message(const void *handlers, struct chassis_call *call, const void *request)
{
    const struct chassis_server *server = chassis_call_data(call);
    const struct chassis_view *raw = request;
    struct chassis_reader reader = chassis_reader(*raw);
    struct rpc_field field, host = {0}, asked = {0};
    while (rpc_wire_next(&reader, &field)) {
        host = field.number == 1 ? field : host;
        asked = field.number >= 3 && field.number <= 7 ? field : asked;
    }
    if (reader.bad) {
        chassis_call_fail(call, CHASSIS_MALFORMED, "reflection request is not a valid message");
        return;
    }
    struct chassis_buf out = {0};
    if (host.bytes.len != 0) {
        rpc_wire_bytes(&out, 1, host.bytes);
    }
    rpc_wire_bytes(&out, 2, *raw);
    switch (asked.number) {
    case 3:
        answer_search(server, &out, asked.bytes, false);
        break;
    case 4:
        answer_search(server, &out, asked.bytes, true);
        break;
    case 5:
    case 6:
        answer_error(&out, 5, "no extensions of",
                     asked.number == 5 ? field_of(asked.bytes, 1) : asked.bytes);
        break;
    case 7:
        answer_services(server, &out);
        break;
    default:
        answer_error(&out, 3, "reflection request asks for nothing known:",
                     chassis_view_str("give a file, a symbol or list_services"));
        break;
    }
    int rc = chassis_call_send_bytes(call, chassis_buf_view(&out));
    chassis_buf_fini(&out);
    if (rc == CHASSIS_RESOURCE_EXHAUSTED) { /* asks without reading the answers */
        chassis_call_fail(call, rc, "answers are read too slowly");
    }
}

static void end(const void *handlers, struct chassis_call *call, const void *request)
{
    chassis_call_finish(call);
}

static void cancelled(struct chassis_call *call, void *data)
{
    chassis_call_fail(call, CHASSIS_CANCELLED, "cancelled");
}

static void opened(const void *handlers, struct chassis_call *call, const void *request)
{
    chassis_call_on_cancel(call, cancelled, NULL);
}

#define NAME_V1    "grpc.reflection.v1.ServerReflection"
#define NAME_ALPHA "grpc.reflection.v1alpha.ServerReflection"

static const struct chassis_method methods[] = {
    {.name = "ServerReflectionInfo",
     .path = "/" NAME_V1 "/ServerReflectionInfo",
     .service = NAME_V1,
     .kind = CHASSIS_BIDI_STREAM},
    {.name = "ServerReflectionInfo",
     .path = "/" NAME_ALPHA "/ServerReflectionInfo",
     .service = NAME_ALPHA,
     .kind = CHASSIS_BIDI_STREAM},
};
static const struct chassis_method_binding bindings[] = {
    {.method = &methods[0], .open = opened, .message = message, .end = end},
    {.method = &methods[1], .open = opened, .message = message, .end = end},
};
static const struct chassis_service_type types[] = {
    {.name = NAME_V1,
     .methods = &bindings[0],
     .n_methods = 1,
     .file = &grpc_reflection_v1_reflection_file},
    {.name = NAME_ALPHA,
     .methods = &bindings[1],
     .n_methods = 1,
     .file = &grpc_reflection_v1alpha_reflection_file},
};
static const struct chassis_method_options options[] = {
    {.method = "*",
     .access = CHASSIS_ACCESS_PUBLIC,
     .never_blocks = true,
     .request_bytes_max = 65536},
    {.method = NULL},
};

struct chassis_service rpc_reflection_service(struct chassis_server *server, bool alpha)
{
    return (struct chassis_service){
        .type = &types[alpha ? 1 : 0], .options = options, .data = server};
}
