/* dctl routes and proxies against a Fuse that keeps one route and says what the test wants: what is
 * read from files and options, what is printed, which exit code, how Fuse is found. */
#include "unit/dctl/run.h"

#include <pthread.h>

#include "core/control_plane/networking/v1/networking.chassis.h"
#include "core/registry/key_value/v1/key_value.chassis.h"
#include "core/registry/service_discovery/v1/service_discovery.chassis.h"
#include "draft/routing/v1/routing.chassis.h"
#include "proto/message.h"
#include "rpc/server.h"

typedef Core__ControlPlane__Networking__V1__Route route_message;
typedef Core__ControlPlane__Networking__V1__AddRouteRequest add_request;
typedef Core__ControlPlane__Networking__V1__AddRouteResponse add_response;
typedef Draft__Routing__V1__Problem problem;

static struct chassis_server *fuse, *blueprint;
static char fuse_at[64], blueprint_at[64];

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    struct chassis_buf route; /* the one added last, encoded */
    uint64_t version;
    unsigned added;
    bool quarantined, registered;
    uint64_t expected;
    char method[16], host[64], path[64], header[64], group[16];
    uint64_t from, to;
} kept;

/* dctl run to its end. Its calls and their answers order the threads, but inside gRPC, where
 * ThreadSanitizer cannot see it: the mutex shows it. */
static struct run ask(const char *const *words)
{
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    struct run r = run_dctl(words);
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    return r;
}
#define ASK(...) ask((const char *const[]){__VA_ARGS__, NULL})

static char *text(const char *t)
{
    return (char *)(uintptr_t)t;
}

static route_message *kept_route(struct chassis_call *call)
{
    ProtobufCMessage *m;
    struct chassis_error err = {0};
    assert_int_equal(chassis_message_decode(&core__control_plane__networking__v1__route__descriptor,
                                            chassis_buf_view(&kept.route), NULL,
                                            chassis_call_arena(call), &m, &err),
                     0);
    return (route_message *)(void *)m;
}

static void on_add(struct chassis_call *call, const add_request *req)
{
    add_response res = CORE__CONTROL_PLANE__NETWORKING__V1__ADD_ROUTE_RESPONSE__INIT;
    char *problems[] = {text("match.regex: '(' is not closed")};
    char *warnings[] = {text("match.prefix: is never reached")};
    const route_message *r = req->route;
    bool bad = r->match != NULL && strcmp(r->match->regex, "(") == 0;
    pthread_mutex_lock(&mutex);
    kept.expected = req->_expected_version_case != 0 ? req->expected_version : UINT64_MAX;
    res.code = bad ? CORE__CONTROL_PLANE__NETWORKING__V1__ADD_ROUTE_RESPONSE_CODE__INVALID_REQUEST
                   : CORE__CONTROL_PLANE__NETWORKING__V1__ADD_ROUTE_RESPONSE_CODE__OK;
    res.name = r->name;
    if (bad) {
        res.problems = problems;
        res.n_problems = 1;
    } else {
        chassis_buf_clear(&kept.route);
        chassis_message_encode(&r->base, &kept.route);
        kept.added++;
        res.version = ++kept.version;
        res.problems = warnings;
        res.n_problems = strcmp(r->name, "shadowed") == 0;
    }
    pthread_mutex_unlock(&mutex);
    networking_add_route_reply(call, &res);
}

static void on_delete(struct chassis_call *call,
                      const Core__ControlPlane__Networking__V1__DeleteRouteRequest *req)
{
    Core__ControlPlane__Networking__V1__DeleteRouteResponse res =
        CORE__CONTROL_PLANE__NETWORKING__V1__DELETE_ROUTE_RESPONSE__INIT;
    if (strcmp(req->name, "absent") == 0) {
        chassis_call_fail(call, CHASSIS_NOT_FOUND, "no route 'absent'");
        return;
    }
    res.code = CORE__CONTROL_PLANE__NETWORKING__V1__DELETE_ROUTE_CODE__DELETE_ROUTE_OK;
    networking_delete_route_reply(call, &res);
}

/* The kept route with everything Fuse may say about it. */
struct state {
    Draft__Routing__V1__RouteState s;
    Draft__Routing__V1__Quarantine q, *qs[1];
    Draft__Routing__V1__TargetState t, *ts[1];
    Draft__Routing__V1__EndpointState e[2], *es[2];
    Google__Protobuf__Timestamp time;
};

static void fill(struct chassis_call *call, struct state *x)
{
    draft__routing__v1__route_state__init(&x->s);
    draft__routing__v1__quarantine__init(&x->q);
    draft__routing__v1__target_state__init(&x->t);
    google__protobuf__timestamp__init(&x->time);
    x->time.seconds = 1700000000;
    x->s.route = kept_route(call);
    x->s.version = kept.version;
    x->s.time = &x->time;
    x->s.actor = text("tester");
    x->q.group = text("edge");
    x->q.version = kept.version;
    x->q.proxy = text("envoy-1");
    x->q.text = text("no such regex engine");
    x->qs[0] = &x->q;
    x->s.quarantines = x->qs;
    x->s.n_quarantines = kept.quarantined;
    for (int i = 0; i < 2; i++) {
        draft__routing__v1__endpoint_state__init(&x->e[i]);
        x->es[i] = &x->e[i];
    }
    x->e[0].address = text("127.0.0.1:8091");
    x->e[0].usable = 1;
    x->e[1].address = text("127.0.0.1:8093");
    x->e[1].reason = text("unhealthy");
    x->t.target = text("service echo");
    x->t.share = 905;
    x->t.endpoints = x->es;
    x->t.n_endpoints = 2;
    x->ts[0] = &x->t;
    x->s.targets = x->ts;
    x->s.n_targets = 1;
}

static void on_get(struct chassis_call *call, const Draft__Routing__V1__GetRouteRequest *req)
{
    struct state x;
    pthread_mutex_lock(&mutex);
    bool there = kept.route.len != 0 && strcmp(kept_route(call)->name, req->name) == 0;
    if (there) {
        fill(call, &x);
    }
    pthread_mutex_unlock(&mutex);
    if (!there) {
        chassis_call_fail(call, CHASSIS_NOT_FOUND, "no route '%s'", req->name);
        return;
    }
    routing_get_route_reply(call, &x.s);
}

static void on_watch(struct chassis_call *call, const Draft__Routing__V1__WatchRequest *req)
{
    Draft__Routing__V1__RouteEvent event = DRAFT__ROUTING__V1__ROUTE_EVENT__INIT;
    struct state x;
    pthread_mutex_lock(&mutex);
    fill(call, &x);
    pthread_mutex_unlock(&mutex);
    event.state = &x.s;
    event.type = DRAFT__ROUTING__V1__ROUTE_EVENT__TYPE__ADDED;
    routing_watch_send(call, &event);
    event.type = DRAFT__ROUTING__V1__ROUTE_EVENT__TYPE__RESYNC;
    event.state = NULL;
    routing_watch_send(call, &event);
    event.type = DRAFT__ROUTING__V1__ROUTE_EVENT__TYPE__ADDED;
    event.state = &x.s;
    x.s.route->name = text("b");
    routing_watch_send(call, &event);
    x.s.route->name = text("a");
    routing_watch_send(call, &event);
    event.type = DRAFT__ROUTING__V1__ROUTE_EVENT__TYPE__SYNCED;
    event.state = NULL;
    routing_watch_send(call, &event);
    chassis_call_finish(call);
}

static void on_history(struct chassis_call *call, const Draft__Routing__V1__HistoryRequest *req)
{
    Draft__Routing__V1__HistoryResponse res = DRAFT__ROUTING__V1__HISTORY_RESPONSE__INIT;
    Draft__Routing__V1__RouteVersion v = DRAFT__ROUTING__V1__ROUTE_VERSION__INIT, *vs[] = {&v};
    v.change = DRAFT__ROUTING__V1__ROUTE_VERSION__CHANGE__ROLLED_BACK;
    v.version = 12;
    v.rolled_back_to = 7;
    v.actor = text("tester");
    res.versions = vs;
    res.n_versions = 1;
    routing_history_reply(call, &res);
}

static void on_diff(struct chassis_call *call, const Draft__Routing__V1__DiffRequest *req)
{
    Draft__Routing__V1__DiffResponse res = DRAFT__ROUTING__V1__DIFF_RESPONSE__INIT;
    Draft__Routing__V1__FieldChange c = DRAFT__ROUTING__V1__FIELD_CHANGE__INIT;
    Draft__Routing__V1__FieldChange gone = DRAFT__ROUTING__V1__FIELD_CHANGE__INIT;
    Draft__Routing__V1__FieldChange *cs[] = {&c, &gone};
    gone.field = text("timeout");
    gone.from = text("\"2s\"");
    pthread_mutex_lock(&mutex);
    kept.from = req->from_version;
    kept.to = req->to_version;
    pthread_mutex_unlock(&mutex);
    c.field = text("targets[0].weight");
    c.from = text("90");
    c.to = text("80");
    res.from_version = 3;
    res.to_version = 4;
    res.changes = cs;
    res.n_changes = 2;
    routing_diff_reply(call, &res);
}

static void on_rollback(struct chassis_call *call, const Draft__Routing__V1__RollbackRequest *req)
{
    Draft__Routing__V1__RollbackResponse res = DRAFT__ROUTING__V1__ROLLBACK_RESPONSE__INIT;
    res.version = 100 + req->to_version;
    routing_rollback_reply(call, &res);
}

static void on_explain(struct chassis_call *call, const Draft__Routing__V1__ExplainRequest *req)
{
    Draft__Routing__V1__ExplainResponse res = DRAFT__ROUTING__V1__EXPLAIN_RESPONSE__INIT;
    Draft__Routing__V1__Verdict v[2], *vs[] = {&v[0], &v[1]};
    struct state x;
    pthread_mutex_lock(&mutex);
    snprintf(kept.method, sizeof kept.method, "%s", req->method);
    snprintf(kept.host, sizeof kept.host, "%s", req->host);
    snprintf(kept.path, sizeof kept.path, "%s", req->path);
    snprintf(kept.group, sizeof kept.group, "%s", req->group);
    snprintf(kept.header, sizeof kept.header, "%s=%s",
             req->n_headers != 0 ? req->headers[0]->name : "",
             req->n_headers != 0 ? req->headers[0]->value : "");
    fill(call, &x);
    pthread_mutex_unlock(&mutex);
    if (strcmp(req->path, "/nowhere") != 0) {
        draft__routing__v1__verdict__init(&v[0]);
        draft__routing__v1__verdict__init(&v[1]);
        v[0].route = res.winner = text("api");
        v[0].outcome = DRAFT__ROUTING__V1__VERDICT__OUTCOME__WINS;
        v[1].route = text("old");
        v[1].outcome = DRAFT__ROUTING__V1__VERDICT__OUTCOME__NO_MATCH;
        v[1].reason = text("header 'x-user' is absent");
        res.virtual_host = text("*.example.com");
        res.verdicts = vs;
        res.n_verdicts = 2;
        res.targets = x.ts;
        res.n_targets = 1;
        res.rewritten_path = text("/v2");
    }
    routing_explain_reply(call, &res);
}

static void on_validate(struct chassis_call *call, const Draft__Routing__V1__ValidateRequest *req)
{
    Draft__Routing__V1__ValidateResponse res = DRAFT__ROUTING__V1__VALIDATE_RESPONSE__INIT;
    problem p = DRAFT__ROUTING__V1__PROBLEM__INIT, *ps[] = {&p};
    bool bad = req->route->match != NULL && strcmp(req->route->match->regex, "(") == 0;
    p.severity = bad ? DRAFT__ROUTING__V1__PROBLEM__SEVERITY__ERROR
                     : DRAFT__ROUTING__V1__PROBLEM__SEVERITY__WARNING;
    p.field = text(bad ? "match.regex" : "targets[0].service");
    p.text = text(bad ? "'(' is not closed" : "nobody is registered as 'echo'");
    res.problems = ps;
    res.n_problems = 1;
    routing_validate_reply(call, &res);
}

static void proxy_fill(Draft__Routing__V1__Proxy *p, Draft__Routing__V1__ProxyResources *r,
                       Draft__Routing__V1__ProxyResources **rs)
{
    draft__routing__v1__proxy__init(p);
    draft__routing__v1__proxy_resources__init(r);
    p->id = text("haproxy-1");
    p->kind = DRAFT__ROUTING__V1__PROXY__KIND__HAPROXY;
    r->type = text("envoy.config.route.v3.RouteConfiguration");
    r->wildcard = 1;
    r->sent_version = text("14.0a0b0c0d");
    r->acked_version = text("12.ffffffff");
    r->ack_lag_us = 1234;
    r->nacks = 3;
    r->last_nack = text("unknown field");
    rs[0] = r;
    p->resources = rs;
    p->n_resources = 1;
}

static void on_proxies(struct chassis_call *call, const Draft__Routing__V1__ListProxiesRequest *req)
{
    Draft__Routing__V1__ListProxiesResponse res = DRAFT__ROUTING__V1__LIST_PROXIES_RESPONSE__INIT;
    Draft__Routing__V1__Proxy p, *ps[] = {&p};
    Draft__Routing__V1__ProxyResources r, *rs[1];
    proxy_fill(&p, &r, rs);
    res.proxies = ps;
    res.n_proxies = 1;
    routing_list_proxies_reply(call, &res);
}

static void on_proxy(struct chassis_call *call, const Draft__Routing__V1__GetProxyRequest *req)
{
    Draft__Routing__V1__Proxy p;
    Draft__Routing__V1__ProxyResources r, *rs[1];
    if (strcmp(req->id, "haproxy-1") != 0) {
        chassis_call_fail(call, CHASSIS_NOT_FOUND, "no proxy '%s'", req->id);
        return;
    }
    proxy_fill(&p, &r, rs);
    routing_get_proxy_reply(call, &p);
}

/* --- a Blueprint that knows where Fuse is --- */

static void on_query(struct chassis_call *call,
                     const Core__Registry__ServiceDiscovery__V1__QueryRequest *req)
{
    Core__Registry__ServiceDiscovery__V1__QueryResponse res =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__QUERY_RESPONSE__INIT;
    Core__Registry__ServiceDiscovery__V1__QueryResponse__DataEntry
        entry = CORE__REGISTRY__SERVICE_DISCOVERY__V1__QUERY_RESPONSE__DATA_ENTRY__INIT,
        *entries[] = {&entry};
    Core__Registry__ServiceDiscovery__V1__Process p =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS__INIT;
    p.name = text("fuse");
    p.running_state = CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_RUNNING_STATE__PROCESS_RUNNING;
    p.ip_address = fuse_at;
    entry.value = &p;
    pthread_mutex_lock(&mutex);
    res.n_data = kept.registered && strcmp(req->filter->name, "fuse") == 0;
    pthread_mutex_unlock(&mutex);
    res.data = entries;
    service_discovery_query_reply(call, &res);
}

static void on_kv_get(struct chassis_call *call,
                      const Core__Registry__KeyValue__V1__GetRequest *req)
{
    Core__Registry__KeyValue__V1__GetResponse res =
        CORE__REGISTRY__KEY_VALUE__V1__GET_RESPONSE__INIT;
    Core__Registry__KeyValue__V1__Value value = CORE__REGISTRY__KEY_VALUE__V1__VALUE__INIT;
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    char url[96];
    struct chassis_buf bytes = {0};
    assert_string_equal(req->key, "fuse_address");
    snprintf(url, sizeof url, "http://%s/", fuse_at);
    value.data = url;
    core__registry__key_value__v1__value__encode(&value, &bytes);
    any.type_url = req->value->type_url;
    any.value.data = bytes.data;
    any.value.len = bytes.len;
    res.value = &any;
    key_value_get_reply(call, &res);
    chassis_buf_fini(&bytes);
}

static struct chassis_server *server_at(char at[64], struct chassis_service a,
                                        struct chassis_service b)
{
    struct chassis_error err = {0};
    struct chassis_server *server;
    struct chassis_listener_options listener = {.address = "127.0.0.1:0"};
    struct chassis_server_options options = {.listeners = &listener, .n_listeners = 1};
    assert_int_equal(chassis_server_new(&options, &server, &err), 0);
    assert_int_equal(chassis_server_add(server, a, &err), 0);
    assert_int_equal(chassis_server_add(server, b, &err), 0);
    assert_int_equal(chassis_server_start(server, &err), 0);
    snprintf(at, 64, "127.0.0.1:%u", chassis_server_port(server, 0));
    return server;
}

static int start(void **state)
{
    static const struct networking_handlers networking = {.add_route = on_add,
                                                          .delete_route = on_delete};
    static const struct routing_handlers routing = {.get_route = on_get,
                                                    .watch = on_watch,
                                                    .history = on_history,
                                                    .diff = on_diff,
                                                    .rollback = on_rollback,
                                                    .explain = on_explain,
                                                    .validate = on_validate,
                                                    .list_proxies = on_proxies,
                                                    .get_proxy = on_proxy};
    static const struct key_value_handlers kv = {.get = on_kv_get};
    static const struct service_discovery_handlers discovery = {.query = on_query};
    fuse =
        server_at(fuse_at, networking_service(&networking, NULL), routing_service(&routing, NULL));
    blueprint = server_at(blueprint_at, key_value_service(&kv, NULL),
                          service_discovery_service(&discovery, NULL));
    setenv("DRAFT_ROUTES_ENDPOINT", fuse_at, 1);
    return 0;
}
static int stop(void **state)
{
    chassis_server_free(fuse);
    chassis_server_free(blueprint);
    chassis_buf_fini(&kept.route);
    return 0;
}
static int forget(void **state)
{
    chassis_buf_fini(&kept.route);
    memset(&kept, 0, sizeof kept);
    return 0;
}

static void add_sends_what_the_options_say(void **state)
{
    struct run r =
        ASK("routes", "add", "api", "--host", "shop.example.com", "--prefix", "/api/", "--service",
            "shop=90", "--service", "shop-next=10", "--method", "GET", "-H", "x-user: me",
            "--priority=-5", "--request-timeout", "1500ms", "--expect", "0", "--group", "edge");
    assert_string_equal(r.err, "");
    assert_int_equal(r.exit, DCTL_OK);
    assert_string_equal(r.out, "api  version 1\n");
    assert_int_equal(kept.expected, 0);
    run_fini(&r);
    r = ASK("routes", "get", "api", "-o", "json");
    assert_int_equal(r.exit, DCTL_OK);
    static const char *const says[] = {"\"host\": \"shop.example.com\"",
                                       "\"prefix\": \"/api/\"",
                                       "\"weight\": 90",
                                       "\"service\": \"shop-next\"",
                                       "\"priority\": -5",
                                       "\"timeout\": \"1.500s\"",
                                       "\"exact\": \"me\"",
                                       "\"name\": \"x-user\"",
                                       "\"GET\"",
                                       "\"groups\": [",
                                       "\"version\": 1,"};
    for (size_t i = 0; i < sizeof says / sizeof says[0]; i++) {
        assert_contains(r.out, says[i]);
    }
    run_fini(&r);
}

static void what_get_prints_can_be_added_again(void **state)
{
    char dir[256], file[300];
    test_tmpdir(dir);
    snprintf(file, sizeof file, "%s/route.yaml", dir);
    FILE *f = fopen(file, "w");
    fputs("# two documents\n---\nname: first\nmatch: {path: /exact}\ntargets: [{service: echo}]\n"
          "---\nname: second\nenable_http2: true\nmatch:\n  grpc_match_options: {service: a.B}\n"
          "  queryMatches:\n    - {name: q, value: {exact: true}}\ntimeout: 250ms\npriority: -7\n"
          "targets:\n  - {host: \"10.0.0.7\", port: 8080, weight: 3}\n"
          "retry: {on: [CONNECT_FAILURE, RESET], retries: 2}\nhash_key: {source_address: true}\n",
          f);
    fclose(f);
    struct run r = ASK("routes", "add", "-f", file);
    assert_string_equal(r.err, "");
    assert_int_equal(r.exit, DCTL_OK);
    assert_string_equal(r.out, "first  version 1\nsecond  version 2\n");
    run_fini(&r);
    struct chassis_buf before = chassis_buf_move(&kept.route);
    chassis_buf_append_view(&kept.route, chassis_buf_view(&before));
    static const char *const formats[] = {"yaml", "json"};
    for (int i = 0; i < 2; i++) {
        r = ASK("routes", "get", "second", "-o", formats[i]);
        assert_int_equal(r.exit, DCTL_OK);
        assert_contains(r.out, "status");
        f = fopen(file, "w");
        fputs(r.out, f);
        fclose(f);
        run_fini(&r);
        r = ASK("routes", "add", "-f", file);
        assert_string_equal(r.err, "");
        assert_int_equal(r.exit, DCTL_OK);
        run_fini(&r);
        assert_true(chassis_view_eq(chassis_buf_view(&before), chassis_buf_view(&kept.route)));
    }
    r = ASK("routes", "list", "-o", "yaml"); /* a list, too: "a" and "b" */
    assert_null(strstr(r.out, "endpoints:"));
    f = fopen(file, "w");
    fputs(r.out, f);
    fclose(f);
    run_fini(&r);
    unsigned added = kept.added;
    r = ASK("routes", "add", "-f", file);
    assert_int_equal(r.exit, DCTL_OK);
    assert_int_equal(kept.added, added + 2);
    run_fini(&r);
    chassis_buf_fini(&before);
    test_rmtree(dir);
}

static void a_wrong_file_is_told_with_line_and_field_and_nothing_is_sent(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"name: a\nmatch:\n  prefx: /x\n", ":3: there is no field 'match.prefx'"},
        {"name: a\n---\nname: b\ntargets:\n  - {servce: x}\n", ":5: there is no field "
                                                               "'targets[0].servce'"},
        {"name: a\ntargets: echo\n", ":2: a list is expected at 'targets'"},
        {"name: a\nmatch: /x\n", ":2: a map of fields is expected at 'match'"},
        {"name: [a]\n", ":1: one value is expected at 'name'"},
        {"name: a\npriority: high\n", "priority"},
        {"name: a\nname: b\n", "name"},
        {"just text\n", "a route is a map of fields"},
        {"# nothing\n", "holds no route"},
        {"{\"name\": \"a\", \"host\": 1}", "there is no field 'host'"},
        {"{\"name\": ", "JSON"},
    };
    char dir[256], file[300];
    test_tmpdir(dir);
    snprintf(file, sizeof file, "%s/route.yaml", dir);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        FILE *f = fopen(file, "w");
        fputs(cases[i].text, f);
        fclose(f);
        struct run r = ASK("routes", "add", "-f", file);
        assert_contains(r.err, cases[i].says);
        assert_contains(r.err, "route.yaml");
        assert_int_equal(r.exit, DCTL_FAILED);
        assert_string_equal(r.out, "");
        run_fini(&r);
    }
    assert_int_equal(kept.added, 0);
    test_rmtree(dir);
}

static void wrong_options_are_usage_errors(void **state)
{
    static const struct {
        const char *words[12], *says;
    } cases[] = {
        {{"routes", "add"}, "a NAME is needed"},
        {{"routes", "add", "a"}, "where to?"},
        {{"routes", "add", "a", "--service", "x=many"}, "'many' is no weight"},
        {{"routes", "add", "a", "--address", "nowhere"}, "--address is HOST:PORT"},
        {{"routes", "add", "a", "--service", "x", "--priority", "high"}, "--priority is"},
        {{"routes", "add", "-f", "x.yaml", "--host", "a"}, "--file says it all: --host"},
        {{"routes", "explain", "GET", "shop.example.com"}, "the address is https://host/path"},
        {{"routes", "explain", "GET", "/x", "-H", "novalue"}, "-H is 'name: value'"},
        {{"routes", "diff", "a", "first"}, "a version is a number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct run r = ask(cases[i].words);
        assert_contains(r.err, cases[i].says);
        assert_int_equal(r.exit, DCTL_USAGE);
        run_fini(&r);
    }
}

static void refusals_and_warnings_name_the_field(void **state)
{
    struct run r = ASK("routes", "add", "bad", "--regex", "(", "--service", "echo");
    assert_int_equal(r.exit, DCTL_FAILED);
    assert_string_equal(r.err, "dctl: route 'bad': error: match.regex: '(' is not closed\n");
    assert_string_equal(r.out, "");
    run_fini(&r);
    r = ASK("routes", "add", "shadowed", "--prefix", "/x", "--service", "echo");
    assert_int_equal(r.exit, DCTL_OK);
    assert_contains(r.err, "warning: match.prefix: is never reached");
    run_fini(&r);
    r = ASK("routes", "validate", "bad", "--regex", "(", "--service", "echo", "-o", "json");
    assert_int_equal(r.exit, DCTL_FAILED);
    assert_contains(r.out, "\"accepted\": false");
    assert_contains(r.out, "\"severity\": \"error\"");
    run_fini(&r);
    assert_int_equal(kept.added, 1);
}

static void a_dry_run_tells_what_would_change_and_changes_nothing(void **state)
{
    struct run r = ASK("routes", "add", "a", "--prefix", "/x", "--service", "echo", "--dry-run");
    assert_int_equal(r.exit, DCTL_OK);
    assert_contains(r.out, "a  would be new (dry run)");
    assert_contains(r.err, "warning: targets[0].service: nobody");
    run_fini(&r);
    assert_int_equal(kept.added, 0);
    r = ASK("routes", "add", "a", "--prefix", "/x", "--service", "echo");
    run_fini(&r);
    r = ASK("routes", "add", "a", "--prefix", "/x", "--service", "echo", "--dry-run");
    assert_contains(r.out, "would stay as it is");
    run_fini(&r);
    r = ASK("routes", "add", "a", "--prefix", "/y", "--service", "echo", "--http2", "--dry-run");
    assert_contains(r.out, "would change (dry run)");
    assert_contains(r.out, "match.prefix  \"/x\"  \"/y\"");
    assert_contains(r.out, "enable_http2  -     true");
    run_fini(&r);
    assert_int_equal(kept.added, 1);
}

static void get_shows_targets_and_the_words_of_the_proxy_that_refused(void **state)
{
    struct run r = ASK("routes", "add", "a", "--prefix", "/x", "--service", "echo");
    run_fini(&r);
    kept.quarantined = true;
    r = ASK("routes", "get", "a");
    assert_int_equal(r.exit, DCTL_OK);
    assert_contains(r.out, "prefix /x");
    assert_contains(r.out, "target  service echo  90.5%");
    assert_contains(r.out, "127.0.0.1:8093         unhealthy");
    assert_contains(r.out, "quarantined in group 'edge': version 1, it has no such route");
    assert_contains(r.out, "envoy-1 says: no such regex engine");
    run_fini(&r);
    r = ASK("routes", "list");
    assert_contains(r.out, "quarantined in 'edge'");
    assert_true(strstr(r.out, "\na  ") < strstr(r.out, "\nb  "));
    run_fini(&r);
    r = ASK("routes", "get", "absent");
    assert_int_equal(r.exit, DCTL_NOT_FOUND);
    run_fini(&r);
    r = ASK("routes", "delete", "absent");
    assert_int_equal(r.exit, DCTL_NOT_FOUND);
    run_fini(&r);
    r = ASK("routes", "delete", "a");
    assert_string_equal(r.out, "a  deleted\n");
    run_fini(&r);
}

static void versions_are_listed_compared_and_brought_back(void **state)
{
    struct run r = ASK("routes", "history", "a");
    assert_contains(r.out, "12       rolled_back  ");
    assert_contains(r.out, "tester  7");
    run_fini(&r);
    r = ASK("routes", "diff", "a", "3", "4");
    assert_contains(r.out, "a  version 3 -> 4\n");
    assert_contains(r.out, "targets[0].weight  90    80");
    assert_contains(r.out, "timeout            \"2s\"  -");
    assert_int_equal(kept.from, 3);
    assert_int_equal(kept.to, 4);
    run_fini(&r);
    r = ASK("routes", "rollback", "a", "3");
    assert_string_equal(r.out, "a  version 103\n");
    run_fini(&r);
}

static void explain_takes_a_request_apart(void **state)
{
    struct run r = ASK("routes", "add", "a", "--service", "echo");
    run_fini(&r);
    r = ASK("routes", "explain", "POST", "https://user@shop.example.com:8443/api?q=1#top", "-H",
            "x-user: me", "--group", "edge");
    assert_int_equal(r.exit, DCTL_OK);
    assert_string_equal(kept.method, "POST");
    assert_string_equal(kept.host, "shop.example.com");
    assert_string_equal(kept.path, "/api?q=1");
    assert_string_equal(kept.header, "x-user=me");
    assert_string_equal(kept.group, "edge");
    assert_contains(r.out, "winner  api\nhost    *.example.com\npath    /v2\n");
    assert_contains(r.out, "127.0.0.1:8091         usable");
    assert_contains(r.out, "no_match  0        header 'x-user' is absent");
    run_fini(&r);
    r = ASK("routes", "explain", "http://[::1]:80");
    assert_string_equal(kept.host, "[::1]");
    assert_string_equal(kept.path, "/");
    run_fini(&r);
    r = ASK("routes", "explain", "/nowhere");
    assert_int_equal(r.exit, DCTL_NOT_FOUND);
    assert_contains(r.out, "winner  none: the answer is 404");
    run_fini(&r);
}

static void proxies_show_how_far_they_are(void **state)
{
    struct run r = ASK("proxies", "list");
    assert_int_equal(r.exit, DCTL_OK);
    assert_contains(r.out, "haproxy-1  haproxy");
    assert_contains(r.out, "no       14    12     1.2ms    3 ");
    run_fini(&r);
    r = ASK("proxies", "get", "haproxy-1");
    assert_contains(r.out, "RouteConfiguration  all");
    assert_contains(r.out, "12.ffffffff");
    assert_contains(r.out, "refused last (RouteConfiguration): unknown field");
    run_fini(&r);
    r = ASK("proxies", "get", "nobody", "-o", "json");
    assert_int_equal(r.exit, DCTL_NOT_FOUND);
    run_fini(&r);
    r = ASK("proxies", "list", "-o", "json");
    assert_contains(r.out, "\"in_sync\": false");
    run_fini(&r);
}

static void fuse_is_found_by_its_name_or_its_record(void **state)
{
    unsetenv("DRAFT_ROUTES_ENDPOINT");
    setenv("DRAFT_ENDPOINT", blueprint_at, 1);
    for (int i = 0; i < 2; i++) {
        kept.registered = i == 0;
        struct run r = ASK("proxies", "list");
        assert_string_equal(r.err, "");
        assert_int_equal(r.exit, DCTL_OK);
        run_fini(&r);
    }
    unsetenv("DRAFT_ENDPOINT");
    setenv("DRAFT_ROUTES_ENDPOINT", fuse_at, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, forget)
    const struct CMUnitTest tests[] = {
        TEST(add_sends_what_the_options_say),
        TEST(what_get_prints_can_be_added_again),
        TEST(a_wrong_file_is_told_with_line_and_field_and_nothing_is_sent),
        TEST(wrong_options_are_usage_errors),
        TEST(refusals_and_warnings_name_the_field),
        TEST(a_dry_run_tells_what_would_change_and_changes_nothing),
        TEST(get_shows_targets_and_the_words_of_the_proxy_that_refused),
        TEST(versions_are_listed_compared_and_brought_back),
        TEST(explain_takes_a_request_apart),
        TEST(proxies_show_how_far_they_are),
        TEST(fuse_is_found_by_its_name_or_its_record),
    };
    return cmocka_run_group_tests_name("dctl routes", tests, start, stop);
}
