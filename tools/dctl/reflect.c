/* Asking a server for its services and their descriptors: see reflect.h. */
#include <string.h>
#include <strings.h>

#include "connect.h"
#include "grpc/reflection/v1/reflection.chassis.h"
#include "reflect.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest request;
typedef Grpc__Reflection__V1__ServerReflectionResponse response;

enum { FILES_MAX = 1000 }; /* asked for, one after the other */

struct question {
    response *answer; /* in dctl->arena */
    struct chassis_error err;
};

static bool on_answer(struct dctl_follower *f, const void *message, struct chassis_view encoded)
{
    struct question *q = f->data;
    ProtobufCMessage *answer;
    if (chassis_message_decode(&grpc__reflection__v1__server_reflection_response__descriptor,
                               encoded, NULL, &f->d->arena, &answer, &q->err) == 0) {
        q->answer = (response *)(void *)answer;
    }
    return false;
}

static int ask(struct dctl *d, const request *req, response **ret_answer, struct chassis_error *err)
{
    static const char *const paths[] = {
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"};
    struct chassis_buf bytes = {0};
    struct question q = {0};
    struct dctl_follower follower = {.message = on_answer, .d = d, .data = &q};
    struct chassis_call_options options = dctl_call_options(d, 10000);
    int rc = CHASSIS_UNIMPLEMENTED;
    chassis_message_encode(&req->base, &bytes);
    struct chassis_view one = chassis_buf_view(&bytes);
    for (size_t i = 0; i < 2 && rc == CHASSIS_UNIMPLEMENTED; i++) {
        chassis_error_clear(err);
        rc = dctl_follow_path(d, paths[i], &one, 1, &options, &follower, err);
    }
    chassis_buf_fini(&bytes);
    if (rc == 0 && q.answer == NULL) {
        rc = chassis_error_set(err, q.err.code != 0 ? q.err.code : CHASSIS_UNAVAILABLE, "%s",
                               q.err.code != 0 ? q.err.text : "no answer");
    }
    if (rc != 0) {
        chassis_error_wrap(err, "server reflection");
        return rc;
    }
    if (q.answer->message_response_case ==
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE) {
        return chassis_error_set(err,
                                 chassis_status_from_grpc(q.answer->error_response->error_code),
                                 "server reflection: %s", q.answer->error_response->error_message);
    }
    *ret_answer = q.answer;
    return 0;
}

int dctl_reflect_services(struct dctl *d, const char *const **ret_names, struct chassis_error *err)
{
    request req = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    response *res;
    req.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES;
    req.list_services = (char *)(uintptr_t) "*";
    int rc = ask(d, &req, &res, err);
    if (rc != 0) {
        return rc;
    }
    if (res->message_response_case !=
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE) {
        return chassis_error_set(err, CHASSIS_MALFORMED,
                                 "server reflection: the answer lists no services");
    }
    const Grpc__Reflection__V1__ListServiceResponse *list = res->list_services_response;
    const char **names = chassis_arena_zalloc(&d->arena, (list->n_service + 1) * sizeof *names);
    for (size_t i = 0; i < list->n_service; i++) {
        names[i] = list->service[i]->name;
    }
    *ret_names = names;
    return 0;
}

/* How well `name` fits `full`: 3 the full name, 2 its last part, 1 a piece of it. */
static int fit(const char *full, const char *name)
{
    const char *last = strrchr(full, '.');
    if (strcmp(full, name) == 0) {
        return 3;
    }
    if (last != NULL && strcasecmp(last + 1, name) == 0) {
        return 2;
    }
    return strncmp(full, "grpc.", 5) != 0 && strcasestr(full, name) != NULL ? 1 : 0;
}

int dctl_reflect_find(struct dctl *d, const char *name, const char **ret_service,
                      struct chassis_error *err)
{
    const char *const *names;
    const char *best = NULL, *second = NULL;
    int best_fit = 0;
    int rc = dctl_reflect_services(d, &names, err);
    if (rc != 0) {
        return rc;
    }
    for (; *names != NULL; names++) {
        int f = fit(*names, name);
        if (f > best_fit) {
            best = *names;
            best_fit = f;
            second = NULL;
        } else if (f != 0 && f == best_fit) {
            second = *names;
        }
    }
    if (best == NULL) {
        return chassis_error_set(err, CHASSIS_NOT_FOUND,
                                 "no service '%s' there: dctl call --list shows them", name);
    }
    if (second != NULL) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "'%s' may mean '%s' or '%s': write more of it", name, best,
                                 second);
    }
    *ret_service = best;
    return 0;
}

static int add_files(struct dctl *d, const request *req, struct chassis_dynamic *dynamic,
                     struct chassis_error *err)
{
    response *res;
    int rc = ask(d, req, &res, err);
    if (rc != 0) {
        return rc;
    }
    if (res->message_response_case !=
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE) {
        return chassis_error_set(err, CHASSIS_MALFORMED,
                                 "server reflection: the answer holds no files");
    }
    const Grpc__Reflection__V1__FileDescriptorResponse *files = res->file_descriptor_response;
    for (size_t i = 0; rc == 0 && i < files->n_file_descriptor_proto; i++) {
        rc = chassis_dynamic_add_file(
            dynamic,
            chassis_view(files->file_descriptor_proto[i].data, files->file_descriptor_proto[i].len),
            err);
    }
    return rc;
}

int dctl_reflect_load(struct dctl *d, const char *symbol, struct chassis_dynamic *dynamic,
                      struct chassis_error *err)
{
    request req = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    const char *name;
    unsigned asked = 0;
    req.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL;
    req.file_containing_symbol = chassis_arena_strdup(&d->arena, symbol);
    int rc = add_files(d, &req, dynamic, err);
    while (rc == 0 && (name = chassis_dynamic_missing(dynamic)) != NULL) {
        if (++asked > FILES_MAX) {
            return chassis_error_set(err, CHASSIS_TOO_LARGE,
                                     "server reflection: more than %d files", FILES_MAX);
        }
        req.message_request_case =
            GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME;
        req.file_by_filename = chassis_arena_strdup(&d->arena, name);
        rc = add_files(d, &req, dynamic, err);
        if (rc == 0 && chassis_dynamic_missing(dynamic) != NULL &&
            strcmp(chassis_dynamic_missing(dynamic), req.file_by_filename) == 0) {
            rc = chassis_error_set(err, CHASSIS_NOT_FOUND,
                                   "server reflection: '%s' was asked for and not given",
                                   req.file_by_filename);
        }
    }
    return rc != 0 ? rc : chassis_dynamic_link(dynamic, err);
}
