/* protoc-gen-chassis: a plugin of protoc (google/protobuf/compiler/plugin.proto).
 *
 * It reads a CodeGeneratorRequest from standard input and writes a CodeGeneratorResponse: first what
 * protoc-gen-c makes of the same request (message code), then our files, then the mark that proto3
 * `optional` is understood, which protoc-gen-c handles but forgets to say. Responses are joined by
 * putting their bytes one after the other, which is how protobuf merges messages.
 * Options, by comma: services · prefix=NAME · protoc-gen-c=PATH.
 */
#include "codegen.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"

extern char **environ;

static void die(const char *text)
{
    fprintf(stderr, "protoc-gen-chassis: %s\n", text);
    exit(1);
}

static void read_all(int fd, struct chassis_buf *out)
{
    for (;;) {
        chassis_buf_reserve(out, 65536);
        ssize_t n = read(fd, out->data + out->len, 65536);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            die("cannot read");
        }
        if (n == 0) {
            return;
        }
        out->len += (size_t)n;
    }
}

static void write_all(int fd, struct chassis_view view)
{
    while (view.len > 0) {
        ssize_t n = write(fd, view.data, view.len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            die("cannot write");
        }
        view = chassis_view(view.data + n, view.len - (size_t)n);
    }
}

/* The request for protoc-gen-c: without our options, and without services, of which it would make
 * code nobody uses (and which does not compile for a method called Default). */
static void pack_request(Google__Protobuf__Compiler__CodeGeneratorRequest request,
                         struct chassis_buf *out)
{
    size_t *n_services = chassis_base_zalloc((request.n_proto_file + 1) * sizeof *n_services);
    for (size_t i = 0; i < request.n_proto_file; i++) {
        n_services[i] = request.proto_file[i]->n_service;
        request.proto_file[i]->n_service = 0;
    }
    request.parameter = NULL;
    size_t len = google__protobuf__compiler__code_generator_request__get_packed_size(&request);
    chassis_buf_reserve(out, len);
    google__protobuf__compiler__code_generator_request__pack(&request, out->data);
    out->len = len;
    for (size_t i = 0; i < request.n_proto_file; i++) {
        request.proto_file[i]->n_service = n_services[i];
    }
    free(n_services);
}

/* The request goes through a file, so that neither side waits for the other with a full pipe. */
static void message_code(const struct codegen *g, struct chassis_buf *out)
{
    struct chassis_buf request = {0};
    FILE *in = tmpfile();
    int pipes[2];
    if (in == NULL || pipe(pipes) != 0) {
        die("cannot make a temporary file or pipe");
    }
    pack_request(*g->request, &request);
    write_all(fileno(in), chassis_buf_view(&request));
    chassis_buf_fini(&request);
    if (lseek(fileno(in), 0, SEEK_SET) != 0) {
        die("cannot rewind a temporary file");
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fileno(in), 0);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
    posix_spawn_file_actions_addclose(&actions, pipes[0]);
    char *program = chassis_base_strdup(g->protoc_gen_c);
    char *const argv[] = {program, NULL};
    pid_t pid;
    int rc = posix_spawnp(&pid, program, &actions, NULL, argv, environ);
    if (rc != 0) {
        fprintf(stderr, "protoc-gen-chassis: cannot run '%s': %s\n", program, strerror(rc));
        exit(1);
    }
    close(pipes[1]);
    read_all(pipes[0], out);
    int status;
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        die("protoc-gen-c failed");
    }
    close(pipes[0]);
    fclose(in);
    free(program);
    posix_spawn_file_actions_destroy(&actions);
}

static int parse_options(struct codegen *g, struct chassis_error *err)
{
    g->prefix = "";
    g->protoc_gen_c = "protoc-gen-c";
    char *text =
        chassis_arena_strdup(&g->arena, g->request->parameter != NULL ? g->request->parameter : "");
    char *save = NULL;
    for (char *o = strtok_r(text, ",", &save); o != NULL; o = strtok_r(NULL, ",", &save)) {
        if (strcmp(o, "services") == 0) {
            g->services = true;
        } else if (strncmp(o, "prefix=", 7) == 0) {
            g->prefix = o + 7;
        } else if (strncmp(o, "protoc-gen-c=", 13) == 0) {
            g->protoc_gen_c = o + 13;
        } else {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                     "no such option '%s' (services, prefix=NAME, "
                                     "protoc-gen-c=PATH)",
                                     o);
        }
    }
    return 0;
}

static void add_file(struct codegen *g, const char *base, const char *suffix,
                     struct chassis_buf *content, struct chassis_buf *response)
{
    Google__Protobuf__Compiler__CodeGeneratorResponse__File file =
        GOOGLE__PROTOBUF__COMPILER__CODE_GENERATOR_RESPONSE__FILE__INIT;
    Google__Protobuf__Compiler__CodeGeneratorResponse__File *files[] = {&file};
    Google__Protobuf__Compiler__CodeGeneratorResponse r =
        GOOGLE__PROTOBUF__COMPILER__CODE_GENERATOR_RESPONSE__INIT;
    file.name = chassis_arena_printf(&g->arena, "%s%s", base, suffix);
    file.content = (char *)content->data;
    r.n_file = 1;
    r.file = files;
    size_t len = google__protobuf__compiler__code_generator_response__get_packed_size(&r);
    chassis_buf_reserve(response, len);
    google__protobuf__compiler__code_generator_response__pack(&r, response->data + response->len);
    response->len += len;
    chassis_buf_fini(content);
}

static int generate(struct codegen *g, struct chassis_buf *response, struct chassis_error *err)
{
    for (size_t i = 0; g->services && i < g->request->n_file_to_generate; i++) {
        const Google__Protobuf__FileDescriptorProto *proto =
            codegen_find_file(g, g->request->file_to_generate[i]);
        struct codegen_file file;
        if (proto == NULL) {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "protoc did not send '%s'",
                                     g->request->file_to_generate[i]);
        }
        int rc = codegen_file_init(g, proto, &file, err);
        if (rc != 0) {
            return chassis_error_wrap(err, "%s", proto->name);
        }
        struct chassis_buf text = {0};
        codegen_header(g, &file, &text);
        add_file(g, file.base, ".chassis.h", &text, response);
        codegen_source(g, &file, &text);
        add_file(g, file.base, ".chassis.c", &text, response);
    }
    return 0;
}

static void add_error(const struct chassis_error *error, struct chassis_buf *response)
{
    Google__Protobuf__Compiler__CodeGeneratorResponse r =
        GOOGLE__PROTOBUF__COMPILER__CODE_GENERATOR_RESPONSE__INIT;
    char text[CHASSIS_ERROR_TEXT_MAX];
    snprintf(text, sizeof text, "%s", error->text);
    r.error = text;
    size_t len = google__protobuf__compiler__code_generator_response__get_packed_size(&r);
    chassis_buf_reserve(response, len);
    google__protobuf__compiler__code_generator_response__pack(&r, response->data + response->len);
    response->len += len;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        fprintf(stderr,
                "usage: protoc --plugin=%s --chassis_out=OPTIONS:DIR FILE.proto\n"
                "options: services, prefix=NAME, protoc-gen-c=PATH\n",
                argv[0]);
        return 2;
    }
    struct chassis_buf input = {0}, response = {0};
    struct chassis_error err = {0};
    struct codegen g = {0};
    read_all(STDIN_FILENO, &input);
    Google__Protobuf__Compiler__CodeGeneratorRequest *request =
        google__protobuf__compiler__code_generator_request__unpack(NULL, input.len, input.data);
    if (request == NULL) {
        die("standard input holds no CodeGeneratorRequest: this is a plugin, run protoc");
    }
    g.request = request;
    chassis_arena_init(&g.arena, NULL, 0, 0);
    if (parse_options(&g, &err) == 0) {
        message_code(&g, &response);
        generate(&g, &response, &err);
    }
    if (err.code != 0) {
        add_error(&err, &response);
    }
    static const uint8_t proto3_optional[] = {0x10, 0x01}; /* supported_features */
    chassis_buf_append(&response, proto3_optional, sizeof proto3_optional);
    write_all(STDOUT_FILENO, chassis_buf_view(&response));
    google__protobuf__compiler__code_generator_request__free_unpacked(request, NULL);
    chassis_arena_fini(&g.arena);
    chassis_buf_fini(&input);
    chassis_buf_fini(&response);
    return 0;
}
