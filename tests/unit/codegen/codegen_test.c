#include "test.h"

#include "golden.chassis.h"

/* What the inline wrappers call, noted instead of done. */
static const void *noted;
static const struct chassis_method *noted_method;
static unsigned n_noted;

void chassis_call_reply(struct chassis_call *call, const void *message)
{
    (void)call;
    noted = message;
    n_noted++;
}
int chassis_call_send(struct chassis_call *call, const void *message)
{
    (void)call;
    noted = message;
    n_noted++;
    return 0;
}
void chassis_client_call(struct chassis_client *client, const struct chassis_method *method,
                         const void *request, const struct chassis_call_options *options,
                         chassis_reply_cb done, void *data)
{
    struct chassis_reply reply = {.message = request};
    (void)client;
    (void)options;
    noted_method = method;
    done(&reply, data);
}
int chassis_client_call_sync(struct chassis_client *client, const struct chassis_method *method,
                             const void *request, const struct chassis_call_options *options,
                             struct chassis_arena *arena, void **ret_response,
                             struct chassis_error *err)
{
    (void)client;
    (void)request;
    (void)options;
    noted_method = method;
    if (arena == NULL) {
        return chassis_error_set(err, CHASSIS_UNAVAILABLE, "away");
    }
    *ret_response = arena;
    return 0;
}
int chassis_stream_open(struct chassis_client *client, const struct chassis_method *method,
                        const struct chassis_call_options *options,
                        const struct chassis_stream_handlers *handlers, void *data,
                        struct chassis_client_stream **ret_stream, struct chassis_error *err)
{
    (void)client;
    (void)options;
    (void)handlers;
    (void)err;
    noted_method = method;
    *ret_stream = (struct chassis_client_stream *)data;
    return 0;
}
int chassis_stream_send(struct chassis_client_stream *stream, const void *message)
{
    (void)stream;
    noted = message;
    return 0;
}
void chassis_stream_half_close(struct chassis_client_stream *stream)
{
    (void)stream;
    n_noted++;
}

static char order[16];

static void one(struct chassis_call *call, const Draft__Golden__V1__Ask *req)
{
    Draft__Golden__V1__Ask__Detail res = DRAFT__GOLDEN__V1__ASK__DETAIL__INIT;
    assert_int_equal(req->number, 7);
    golden_one_reply(call, &res);
    strcat(order, "1");
}
static void chat_open(struct chassis_call *call)
{
    (void)call;
    strcat(order, "o");
}
static void chat_message(struct chassis_call *call, const Draft__Golden__V1__Ask *req)
{
    Draft__Golden__V1__Ask__Detail res = DRAFT__GOLDEN__V1__ASK__DETAIL__INIT;
    (void)req;
    assert_int_equal(golden_chat_http_send(call, &res), 0);
    strcat(order, "m");
}

static const struct golden_handlers handlers = {
    .one = one,
    .chat_http = {.open = chat_open, .message = chat_message},
};

static void handlers_are_called_through_their_types(void **state)
{
    (void)state;
    int data;
    struct chassis_service service = golden_service(&handlers, &data);
    Draft__Golden__V1__Ask ask = DRAFT__GOLDEN__V1__ASK__INIT;
    ask._number_case = DRAFT__GOLDEN__V1__ASK___NUMBER_NUMBER;
    ask.number = 7;
    assert_ptr_equal(service.data, &data);
    assert_string_equal(service.type->name, "draft.golden.v1.Golden");
    assert_int_equal(service.type->n_methods, 4);
    const struct chassis_method_binding *b = service.type->methods;
    static const enum chassis_method_kind kinds[] = {CHASSIS_UNARY, CHASSIS_SERVER_STREAM,
                                                     CHASSIS_CLIENT_STREAM, CHASSIS_BIDI_STREAM};
    static const bool present[] = {true, false, false, true};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(b[i].method->kind, kinds[i]);
        assert_int_equal(b[i].present(&handlers), present[i]);
        assert_int_equal(b[i].open != NULL, i >= 2);
        assert_int_equal(b[i].end != NULL, i >= 2);
    }
    assert_string_equal(b[3].method->path, "/draft.golden.v1.Golden/ChatHTTP");
    b[0].message(&handlers, NULL, &ask);
    b[3].open(&handlers, NULL, NULL);
    b[3].message(&handlers, NULL, &ask);
    b[3].end(&handlers, NULL, NULL); /* not given: nothing happens */
    b[2].open(&handlers, NULL, NULL);
    assert_string_equal(order, "1om");
}

static void on_one(const struct chassis_reply *reply, void *data)
{
    *(const Draft__Golden__V1__Ask__Detail **)data = golden_one_response(reply);
}

static void clients_pass_method_and_message(void **state)
{
    (void)state;
    Draft__Golden__V1__Ask ask = DRAFT__GOLDEN__V1__ASK__INIT;
    const Draft__Golden__V1__Ask__Detail *got = NULL;
    Draft__Golden__V1__Ask__Detail *answer = NULL;
    struct chassis_client_stream *stream = NULL;
    struct chassis_arena arena;
    struct chassis_error err = {0};
    golden_one(NULL, &ask, NULL, on_one, &got);
    assert_ptr_equal(got, &ask);
    assert_ptr_equal(noted_method, &golden_one_method);
    assert_int_equal(golden_one_sync(NULL, &ask, NULL, NULL, &answer, &err), CHASSIS_UNAVAILABLE);
    assert_null(answer);
    assert_int_equal(golden_one_sync(NULL, &ask, NULL, &arena, &answer, &err), 0);
    assert_ptr_equal(answer, &arena);
    n_noted = 0;
    assert_int_equal(golden_default_open(NULL, &ask, NULL, NULL, &arena, &stream, &err), 0);
    assert_ptr_equal(noted_method, &golden_default_method);
    assert_ptr_equal(noted, &ask);
    assert_int_equal(n_noted, 1);
    noted = NULL;
    assert_int_equal(golden_gather_open(NULL, NULL, NULL, &arena, &stream, &err), 0);
    assert_int_equal(golden_gather_stream_send(stream, &ask), 0);
    assert_ptr_equal(noted, &ask);
}

static char *read_file(const char *dir, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fail_msg("no %s", path);
    }
    char *text = calloc(1, 1 << 20);
    assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
    fclose(file);
    return text;
}

static void generated_text_is_as_kept(void **state)
{
    (void)state;
    static const char *const names[] = {"golden.chassis.h", "golden.chassis.c"};
    for (int i = 0; i < 2; i++) {
        char *made = read_file(GOLDEN_MADE, names[i]);
        if (getenv("GOLDEN_UPDATE") != NULL) {
            char path[512];
            snprintf(path, sizeof path, "%s/%s.txt", GOLDEN_KEPT, names[i]);
            FILE *file = fopen(path, "w");
            assert_non_null(file);
            fputs(made, file);
            fclose(file);
        }
        char kept_name[64];
        snprintf(kept_name, sizeof kept_name, "%s.txt", names[i]);
        char *kept = read_file(GOLDEN_KEPT, kept_name);
        assert_string_equal(made, kept);
        free(made);
        free(kept);
    }
}

/* Run protoc on a service with these methods; what it says on standard error. */
static void generate(const char *methods, const char *options, char *ret_text, size_t cap)
{
    char dir[256], command[2048];
    test_tmpdir(dir);
    snprintf(command, sizeof command, "%s/a.proto", dir);
    FILE *file = fopen(command, "w");
    fprintf(file, "syntax = \"proto3\";\nmessage M {}\nservice S {\n%s}\n", methods);
    fclose(file);
    snprintf(command, sizeof command,
             PROTOC " --plugin=protoc-gen-chassis=" PLUGIN " -I%s --chassis_out=%s:%s a.proto 2>&1",
             dir, options, dir);
    FILE *pipe = popen(command, "r");
    size_t n = fread(ret_text, 1, cap - 1, pipe);
    ret_text[n] = '\0';
    pclose(pipe);
    test_rmtree(dir);
}

static void clashing_names_and_bad_options_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *methods, *options, *says;
    } rows[] = {
        {"rpc A(M) returns (M);\n", "services", ""},
        {"rpc Speak(M) returns (M);\nrpc SpeakReply(M) returns (M);\n", "services,prefix=x",
         "'SpeakReply' and 'Speak' of S would both define 'x_speak_reply'"},
        {"rpc Handlers(M) returns (M);\n", "services", "would be called 's_handlers'"},
        {"rpc A(M) returns (M);\n", "servces", "no such option 'servces'"},
        {"rpc A(M) returns (M);\n", "protoc-gen-c=/nowhere/x", "cannot run '/nowhere/x'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[1024];
        generate(rows[i].methods, rows[i].options, text, sizeof text);
        if (strstr(text, rows[i].says) == NULL || (rows[i].says[0] == '\0' && text[0] != '\0')) {
            fail_msg("'%s' does not say '%s'", text, rows[i].says);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handlers_are_called_through_their_types),
        cmocka_unit_test(clients_pass_method_and_message),
        cmocka_unit_test(generated_text_is_as_kept),
        cmocka_unit_test(clashing_names_and_bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
