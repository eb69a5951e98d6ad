/* dctl services list, get, watch: what is registered. */
#include <stdlib.h>
#include <string.h>

#include "connect.h"
#include "core/registry/service_discovery/v1/service_discovery.chassis.h"
#include "value.h"

typedef Core__Registry__ServiceDiscovery__V1__Process process;
typedef Core__Registry__ServiceDiscovery__V1__Filter filter;
typedef Core__Registry__ServiceDiscovery__V1__QueryRequest query_request;
typedef Core__Registry__ServiceDiscovery__V1__QueryResponse query_response;
typedef Core__Registry__ServiceDiscovery__V1__WatchRequest watch_request;
typedef Core__Registry__ServiceDiscovery__V1__ProcessEvent process_event;

/* The wire's name of an enum value in plain words: "PROCESS_RUNNING" -> "running". */
static const char *word_of(struct dctl *d, const ProtobufCEnumDescriptor *type, int value)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(type, value);
    if (v == NULL) {
        return chassis_arena_printf(&d->arena, "%d", value);
    }
    if (strcmp(v->name, "PROCESS_DICONNECTED") == 0) {
        return "disconnected";
    }
    if (strncmp(v->name, "INVALID_", 8) == 0) {
        return "unknown";
    }
    const char *underscore = strchr(v->name, '_');
    char *word = chassis_arena_strdup(&d->arena, underscore != NULL ? underscore + 1 : v->name);
    for (char *p = word; *p != '\0'; p++) {
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p | 0x20) : *p;
    }
    return word;
}

static struct dctl_node *process_node(struct dctl *d, const process *p)
{
    struct chassis_arena *a = &d->arena;
    struct dctl_node *node = dctl_map(a);
    dctl_add_text(a, node, "pid", p->pid);
    dctl_add_text(a, node, "name", p->name);
    dctl_add_text(a, node, "group", p->group);
    dctl_add_text(a, node, "state",
                  word_of(d,
                          &core__registry__service_discovery__v1__process_running_state__descriptor,
                          (int)p->running_state));
    dctl_add_text(a, node, "health",
                  word_of(d,
                          &core__registry__service_discovery__v1__process_health_state__descriptor,
                          (int)p->health_state));
    dctl_add_text(a, node, "address", p->ip_address);
    dctl_add_text(a, node, "http_address", p->http_address);
    struct dctl_node *rpc = dctl_add(node, "rpc_services", dctl_list(a));
    for (size_t i = 0; i < p->n_rpc_services; i++) {
        dctl_add_text(a, rpc, NULL, p->rpc_services[i]);
    }
    struct dctl_node *metadata = dctl_add(node, "metadata", dctl_map(a));
    for (size_t i = 0; i < p->n_metadata; i++) {
        dctl_add_text(a, metadata, chassis_arena_strdup(a, p->metadata[i]->key),
                      p->metadata[i]->value);
    }
    dctl_add_time(d, node, "joined", p->joined_time);
    dctl_add_time(d, node, "left", p->left_time);
    dctl_add_time(d, node, "last_status", p->last_status_time);
    dctl_add_u64(a, node, "incarnation", p->incarnation);
    dctl_add_text(a, node, "reason", p->reason);
    return node;
}

static void filter_by(filter *f, int which, const char *value)
{
    f->attribute_case = (Core__Registry__ServiceDiscovery__V1__Filter__AttributeCase)which;
    f->all = (char *)(uintptr_t)value; /* of the union, all members are such pointers */
}

/* At most one of --name, --group, --rpc. */
static int filter_of_options(struct dctl *d, filter *f, struct chassis_error *err)
{
    static const struct {
        const char *option;
        int which;
    } filters[] = {
        {"name", CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__ATTRIBUTE_NAME},
        {"group", CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__ATTRIBUTE_GROUP},
        {"rpc", CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__ATTRIBUTE_RPC_SERVICE},
    };
    bool chosen = false;
    filter_by(f, CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__ATTRIBUTE_ALL, "all");
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        const char *value = dctl_string(d, filters[i].option);
        if (value != NULL && chosen) {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                     "--name, --group and --rpc cannot be combined");
        }
        if (value != NULL) {
            filter_by(f, filters[i].which, value);
            chosen = true;
        }
    }
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const Core__Registry__ServiceDiscovery__V1__QueryResponse__DataEntry *const *x = a, *const *y =
                                                                                            b;
    int order = strcmp((*x)->value->name, (*y)->value->name);
    return order != 0 ? order : strcmp((*x)->value->pid, (*y)->value->pid);
}

/* All processes that fit, sorted by name. */
static int query(struct dctl *d, filter *f, struct dctl_node **ret_list, struct chassis_error *err)
{
    query_request req = CORE__REGISTRY__SERVICE_DISCOVERY__V1__QUERY_REQUEST__INIT;
    query_response *res;
    req.filter = f;
    struct chassis_call_options options = dctl_call_options(d, 0);
    options.idempotent = true;
    if (dctl_client(d, err) == NULL) {
        return err->code;
    }
    int rc = service_discovery_query_sync(d->client, &req, &options, &d->arena, &res, err);
    if (rc != 0) {
        return rc;
    }
    size_t n = 0;
    for (size_t i = 0; i < res->n_data; i++) {
        if (res->data[i]->value != NULL) {
            res->data[n++] = res->data[i];
        }
    }
    if (n != 0) {
        qsort(res->data, n, sizeof res->data[0], by_name);
    }
    *ret_list = dctl_list(&d->arena);
    for (size_t i = 0; i < n; i++) {
        dctl_add(*ret_list, NULL, process_node(d, res->data[i]->value));
    }
    return 0;
}

static const struct dctl_column columns[] = {{"NAME", "name", 16},
                                             {"STATE", "state", 12},
                                             {"HEALTH", "health", 9},
                                             {"ADDRESS", "address", 21},
                                             {"GROUP", "group", 12},
                                             {"PID", "pid", 0},
                                             {0}};

int dctl_services_list(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    struct dctl_node *list;
    filter f = CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__INIT;
    if (filter_of_options(d, &f, &err) != 0) {
        return dctl_usage(d, "%s", chassis_error_text(&err));
    }
    if (query(d, &f, &list, &err) != 0) {
        return dctl_fail(d, &err);
    }
    dctl_print(d, list, columns);
    return DCTL_OK;
}

int dctl_resolve(struct dctl *d, const char *service, const char **ret_target,
                 struct chassis_error *err)
{
    struct dctl_node *list;
    const char *target = NULL;
    filter f = CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__INIT;
    filter_by(&f, CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__ATTRIBUTE_NAME, service);
    int rc = query(d, &f, &list, err);
    if (rc != 0) {
        return rc;
    }
    for (const struct dctl_node *p = list->first; p != NULL; p = p->next) {
        const struct dctl_node *state = dctl_find(p, "state"), *address = dctl_find(p, "address");
        if (chassis_view_eq(state->text, chassis_view_str("running")) && address->text.len != 0) {
            const char *text = (const char *)address->text.data;
            target = target != NULL ? chassis_arena_printf(&d->arena, "%s,%s", target, text) : text;
        }
    }
    if (target == NULL) {
        return chassis_error_set(err, CHASSIS_NOT_FOUND,
                                 "no running process of '%s' is registered%s", service,
                                 list->first != NULL ? ": dctl services get shows why" : "");
    }
    *ret_target = target;
    return 0;
}

static bool looks_like_pid(const char *text)
{
    return strlen(text) == 36 && strspn(text, "0123456789abcdefABCDEF-") == 36;
}

int dctl_services_get(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    struct dctl_node *list;
    filter f = CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__INIT;
    filter_by(&f,
              looks_like_pid(argv[0])
                  ? CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__ATTRIBUTE_ID
                  : CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__ATTRIBUTE_NAME,
              argv[0]);
    if (query(d, &f, &list, &err) != 0) {
        return dctl_fail(d, &err);
    }
    if (list->first == NULL) {
        chassis_error_set(&err, CHASSIS_NOT_FOUND, "no process or service '%s' is registered",
                          argv[0]);
        return dctl_fail(d, &err);
    }
    bool one = list->first == list->last;
    if (one || d->format != DCTL_TABLE) {
        dctl_print(d, one ? list->first : list, NULL);
        return DCTL_OK;
    }
    for (const struct dctl_node *p = list->first; p != NULL; p = p->next) {
        dctl_print(d, p, NULL);
        fputs(p->next != NULL ? "\n" : "", d->out);
    }
    return DCTL_OK;
}

static const struct dctl_column watch_columns[] = {
    {"TIME", "time", 24},          {"TYPE", "type", 8},
    {"NAME", "name", 16},          {"STATE", "state", 12},
    {"HEALTH", "health", 9},       {"ADDRESS", "address", 21},
    {"REASON", "event_reason", 0}, {0}};

static bool on_event(struct dctl_follower *f, const void *message, struct chassis_view encoded)
{
    const process_event *e = message;
    struct dctl *d = f->d;
    uint64_t *left = f->data;
    const ProtobufCEnumValue *type = protobuf_c_enum_descriptor_get_value(
        &core__registry__service_discovery__v1__process_event__type__descriptor, (int)e->type);
    struct chassis_arena arena = d->arena;
    chassis_arena_init(&d->arena, NULL, 0, 0); /* of this change only: a watch runs for long */
    struct dctl_node *row = e->process != NULL ? process_node(d, e->process) : dctl_map(&d->arena);
    dctl_add_text(&d->arena, row, "type", type != NULL ? type->name : "UNKNOWN");
    dctl_add_time(d, row, "time", e->time);
    dctl_add_text(&d->arena, row, "event_reason", e->reason);
    dctl_print_next(d, row, watch_columns);
    chassis_arena_fini(&d->arena);
    d->arena = arena;
    if (e->process != NULL) {
        --*left;
    }
    return *left != 0 && !ferror(d->out);
}

int dctl_services_watch(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    filter f = CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__INIT;
    watch_request req = CORE__REGISTRY__SERVICE_DISCOVERY__V1__WATCH_REQUEST__INIT;
    uint64_t left = dctl_number(d, "count", UINT64_MAX);
    struct dctl_follower follower = {.message = on_event, .d = d, .data = &left};
    struct chassis_call_options options = dctl_call_options(d, 0);
    if (filter_of_options(d, &f, &err) != 0) {
        return dctl_usage(d, "%s", chassis_error_text(&err));
    }
    req.filter = &f;
    for (unsigned attempt = 1; left != 0; attempt++) {
        bool before = follower.messages != 0;
        int rc = dctl_follow(d, &service_discovery_watch_method, &req, &options, &follower, &err);
        if (left == 0 || ferror(d->out)) {
            break;
        }
        attempt = follower.messages != 0 ? 1 : attempt;
        if (rc != 0 && dctl_exit_of(rc) != DCTL_UNAVAILABLE) {
            return dctl_fail(d, &err);
        }
        if ((rc == CHASSIS_DEADLINE_EXCEEDED) || (!before && follower.messages == 0)) {
            return rc != 0 ? dctl_fail(d, &err) : DCTL_OK;
        }
        fprintf(d->err, "dctl: %s; trying again (what is registered is listed anew)\n",
                rc != 0 ? chassis_error_text(&err) : "the server ended the stream");
        chassis_error_clear(&err);
        dctl_pause(attempt);
    }
    return DCTL_OK;
}
