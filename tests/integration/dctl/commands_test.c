/* dctl's commands against a server that answers what the test wants: what is sent, what is printed,
 * which exit code, and what happens when an answer is damaged or a stream breaks off. */
#include "unit/dctl/run.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "base/hash.h"
#include "core/registry/key_value/v1/key_value.chassis.h"
#include "core/registry/service_discovery/v1/service_discovery.chassis.h"
#include "draft/cluster/v1/cluster.chassis.h"
#include "rpc/server.h"

typedef Core__Registry__KeyValue__V1__SetRequest set_request;
typedef Core__Registry__KeyValue__V1__GetRequest get_request;
typedef Core__Registry__KeyValue__V1__DeleteRequest delete_request;
typedef Core__Registry__KeyValue__V1__ListRequest list_request;
typedef Core__Registry__KeyValue__V1__WatchRequest watch_request;
typedef Core__Registry__KeyValue__V1__TxnRequest txn_request;
typedef Core__Registry__KeyValue__V1__Meta kv_meta;

static struct chassis_server *server;
static char endpoint[64];

/* What the handlers saw last, and how they shall behave. */
static struct {
    char key[64], type[96], value[96], lease[64];
    bool expected_given;
    uint64_t expected;
    uint32_t limit;
    unsigned pages;
    unsigned watches;
    uint64_t watch_start[8];
    bool damaged_backup, short_backup;
    char transfer[32];
} seen;

/* Calls and their answers order the threads, but inside gRPC, where ThreadSanitizer cannot see it:
 * every side passes here when it takes `seen` over and when it hands it on. */
static atomic_uint passages;
static void pass(void)
{
    atomic_fetch_add(&passages, 1);
}

/* dctl run to its end, with `seen` handed over before and taken back after. */
static struct run ask(const char *const *words)
{
    pass();
    struct run r = run_dctl(words);
    pass();
    return r;
}
#define ASK(...) ask((const char *const[]){__VA_ARGS__, NULL})

static void keep(char *to, size_t size, const char *text)
{
    snprintf(to, size, "%s", text != NULL ? text : "");
}

static Google__Protobuf__Any *plain_any(struct chassis_call *call, const char *text)
{
    struct chassis_arena *arena = chassis_call_arena(call);
    Google__Protobuf__Any *any = chassis_arena_alloc(arena, sizeof *any);
    google__protobuf__any__init(any);
    any->type_url = (char *)(uintptr_t) "type.googleapis.com/core.registry.key_value.v1.Value";
    any->value.len = strlen(text) + 2;
    any->value.data = chassis_arena_alloc(arena, any->value.len);
    any->value.data[0] = 0x0a; /* field 1, bytes */
    any->value.data[1] = (uint8_t)strlen(text);
    memcpy(any->value.data + 2, text, strlen(text));
    return any;
}

static kv_meta *meta_of(struct chassis_call *call, uint64_t revision)
{
    kv_meta *meta = chassis_arena_alloc(chassis_call_arena(call), sizeof *meta);
    core__registry__key_value__v1__meta__init(meta);
    meta->revision = revision;
    meta->created_revision = 1;
    meta->version = 2;
    meta->actor = (char *)(uintptr_t) "tester";
    return meta;
}

static void on_set(struct chassis_call *call, const set_request *req)
{
    pass();
    Core__Registry__KeyValue__V1__SetResponse res =
        CORE__REGISTRY__KEY_VALUE__V1__SET_RESPONSE__INIT;
    keep(seen.key, sizeof seen.key, req->key);
    keep(seen.type, sizeof seen.type, req->value->type_url);
    keep(seen.lease, sizeof seen.lease, req->lease);
    size_t n = req->value->value.len < sizeof seen.value - 1 ? req->value->value.len
                                                             : sizeof seen.value - 1;
    memcpy(seen.value, req->value->value.data, n);
    seen.value[n] = '\0';
    seen.expected_given = req->_expected_revision_case != 0;
    seen.expected = req->expected_revision;
    if (seen.expected_given && seen.expected != 7) {
        pass();
        chassis_call_fail(call, CHASSIS_ABORTED, "the record is at revision 7");
        return;
    }
    res.key = req->key;
    res.meta = meta_of(call, 8);
    pass();
    key_value_set_reply(call, &res);
}

static void on_get(struct chassis_call *call, const get_request *req)
{
    pass();
    Core__Registry__KeyValue__V1__GetResponse res =
        CORE__REGISTRY__KEY_VALUE__V1__GET_RESPONSE__INIT;
    if (strcmp(req->key, "absent") == 0) {
        pass();
        chassis_call_fail(call, CHASSIS_NOT_FOUND, "no record 'absent'");
        return;
    }
    res.value = plain_any(call, "two\nlines");
    res.meta = meta_of(call, 7);
    pass();
    key_value_get_reply(call, &res);
}

static void on_delete(struct chassis_call *call, const delete_request *req)
{
    pass();
    Core__Registry__KeyValue__V1__DeleteResponse res =
        CORE__REGISTRY__KEY_VALUE__V1__DELETE_RESPONSE__INIT;
    keep(seen.key, sizeof seen.key, req->key);
    res.key = req->key;
    res.meta = meta_of(call, 9);
    pass();
    key_value_delete_reply(call, &res);
}

/* Five records, key0 … key4, as many per page as asked for. */
static void on_list(struct chassis_call *call, const list_request *req)
{
    pass();
    typedef Core__Registry__KeyValue__V1__ListResponse__ValuesEntry entry;
    Core__Registry__KeyValue__V1__ListResponse res =
        CORE__REGISTRY__KEY_VALUE__V1__LIST_RESPONSE__INIT;
    struct chassis_arena *arena = chassis_call_arena(call);
    unsigned from = (unsigned)atoi(req->page_token), n = 5 - from;
    seen.pages++;
    seen.limit = req->limit;
    n = n < req->limit ? n : req->limit;
    res.values = chassis_arena_alloc(arena, 5 * sizeof(entry *));
    for (unsigned i = 0; i < n; i++) {
        entry *e = chassis_arena_alloc(arena, sizeof *e);
        core__registry__key_value__v1__list_response__values_entry__init(e);
        e->key = chassis_arena_printf(arena, "key%u", from + n - 1 - i); /* in no order */
        e->value = plain_any(call, "v");
        res.values[res.n_values++] = e;
    }
    if (from + n < 5) {
        res.next_page_token = chassis_arena_printf(arena, "%u", from + n);
    }
    pass();
    key_value_list_reply(call, &res);
}

/* One change per stream; then it breaks off. */
static void on_watch(struct chassis_call *call, const watch_request *req)
{
    pass();
    Core__Registry__KeyValue__V1__WatchResponse res =
        CORE__REGISTRY__KEY_VALUE__V1__WATCH_RESPONSE__INIT;
    Core__Registry__KeyValue__V1__Event event = CORE__REGISTRY__KEY_VALUE__V1__EVENT__INIT;
    Core__Registry__KeyValue__V1__Event *events[] = {&event};
    uint64_t revision = req->start_revision != 0 ? req->start_revision : 100;
    if (seen.watches < 8) {
        seen.watch_start[seen.watches++] = req->start_revision;
    }
    event.key = chassis_arena_printf(chassis_call_arena(call), "k%" PRIu64, revision);
    event.value = plain_any(call, "new");
    event.meta = meta_of(call, revision);
    res.events = events;
    res.n_events = 1;
    res.revision = revision;
    pass();
    key_value_watch_send(call, &res);
    pass();
    chassis_call_fail(call, CHASSIS_UNAVAILABLE, "going away");
}

static void on_txn(struct chassis_call *call, const txn_request *req)
{
    pass();
    Core__Registry__KeyValue__V1__TxnResponse res =
        CORE__REGISTRY__KEY_VALUE__V1__TXN_RESPONSE__INIT;
    snprintf(seen.value, sizeof seen.value, "%zu if %zu then %zu else", req->n_compare,
             req->n_success, req->n_failure);
    keep(seen.key, sizeof seen.key, req->n_success != 0 ? req->success[0]->set->key : "");
    res.succeeded = 1;
    res.revision = 12;
    pass();
    key_value_txn_reply(call, &res);
}

static void on_status(struct chassis_call *call, const Draft__Cluster__V1__StatusRequest *req)
{
    pass();
    Draft__Cluster__V1__StatusResponse res = DRAFT__CLUSTER__V1__STATUS_RESPONSE__INIT;
    Draft__Cluster__V1__NodeStatus a = DRAFT__CLUSTER__V1__NODE_STATUS__INIT, b = a;
    Draft__Cluster__V1__NodeStatus *nodes[] = {&a, &b};
    a.id = 1;
    a.name = (char *)(uintptr_t) "n1";
    a.address = endpoint; /* dctl goes to the leader with a transfer */
    a.role = DRAFT__CLUSTER__V1__ROLE__ROLE_LEADER;
    a.pid = 42;
    a.applied = 77;
    a.rss_bytes = 1 << 20;
    a.connected = 1;
    b.id = 2;
    b.name = (char *)(uintptr_t) "n2";
    b.role = DRAFT__CLUSTER__V1__ROLE__ROLE_FOLLOWER;
    res.leader = a.name;
    res.cluster_id = (char *)(uintptr_t) "00ff";
    res.nodes = nodes;
    res.n_nodes = 2;
    pass();
    cluster_status_reply(call, &res);
}

static void on_transfer(struct chassis_call *call, const Draft__Cluster__V1__TransferRequest *req)
{
    pass();
    Draft__Cluster__V1__TransferResponse res = DRAFT__CLUSTER__V1__TRANSFER_RESPONSE__INIT;
    keep(seen.transfer, sizeof seen.transfer, req->name);
    res.leader = (char *)(uintptr_t) "n2";
    pass();
    cluster_transfer_reply(call, &res);
}

static void on_backup(struct chassis_call *call, const Draft__Cluster__V1__BackupRequest *req)
{
    pass();
    Draft__Cluster__V1__BackupChunk chunk = DRAFT__CLUSTER__V1__BACKUP_CHUNK__INIT;
    uint8_t data[6] = {'b', 'a', 'c', 'k', 'u', 'p'};
    chunk.data.data = data;
    chunk.data.len = 4;
    chunk.size = 6;
    chunk.index = 77;
    pass();
    cluster_backup_send(call, &chunk);
    if (!seen.short_backup) {
        chunk.offset = 4;
        chunk.data.data = data + 4;
        chunk.data.len = 2;
        chunk._crc32c_case = DRAFT__CLUSTER__V1__BACKUP_CHUNK___CRC32C_CRC32C;
        chunk.crc32c = chassis_crc32c(0, data, 6) ^ (seen.damaged_backup ? 1 : 0);
        pass();
        cluster_backup_send(call, &chunk);
    }
    pass();
    chassis_call_finish(call);
}

/* One process "echo" on this very server, one "dead". */
static void on_query(struct chassis_call *call,
                     const Core__Registry__ServiceDiscovery__V1__QueryRequest *req)
{
    pass();
    typedef Core__Registry__ServiceDiscovery__V1__QueryResponse__DataEntry entry;
    Core__Registry__ServiceDiscovery__V1__QueryResponse res =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__QUERY_RESPONSE__INIT;
    Core__Registry__ServiceDiscovery__V1__Process p =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS__INIT;
    entry e = CORE__REGISTRY__SERVICE_DISCOVERY__V1__QUERY_RESPONSE__DATA_ENTRY__INIT;
    entry *entries[] = {&e};
    const char *name = req->filter->name;
    if (req->filter->attribute_case ==
            CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__ATTRIBUTE_NAME &&
        strcmp(name, "platform") != 0 && strcmp(name, "dead") != 0) {
        pass();
        service_discovery_query_reply(call, &res);
        return;
    }
    p.pid = e.key = (char *)(uintptr_t) "0f0e0d0c-0000-4000-8000-000000000000";
    p.name = (char *)(uintptr_t) "platform";
    p.ip_address = endpoint;
    p.running_state =
        strcmp(name, "dead") == 0
            ? CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_RUNNING_STATE__PROCESS_DICONNECTED
            : CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_RUNNING_STATE__PROCESS_RUNNING;
    p.health_state = CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_HEALTH_STATE__PROCESS_HEALTHY;
    e.value = &p;
    res.data = entries;
    res.n_data = 1;
    pass();
    service_discovery_query_reply(call, &res);
}

static int start(void **state)
{
    static const struct key_value_handlers kv = {.set = on_set,
                                                 .get = on_get,
                                                 .delete = on_delete,
                                                 .list = on_list,
                                                 .watch = on_watch,
                                                 .txn = on_txn};
    static const struct cluster_handlers cluster = {
        .status = on_status, .transfer = on_transfer, .backup = on_backup};
    static const struct service_discovery_handlers discovery = {.query = on_query};
    struct chassis_error err = {0};
    struct chassis_listener_options listener = {.address = "127.0.0.1:0"};
    struct chassis_server_options options = {.listeners = &listener, .n_listeners = 1};
    assert_int_equal(chassis_server_new(&options, &server, &err), 0);
    assert_int_equal(chassis_server_add(server, key_value_service(&kv, NULL), &err), 0);
    assert_int_equal(chassis_server_add(server, cluster_service(&cluster, NULL), &err), 0);
    assert_int_equal(chassis_server_add(server, service_discovery_service(&discovery, NULL), &err),
                     0);
    assert_int_equal(chassis_server_start(server, &err), 0);
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", chassis_server_port(server, 0));
    setenv("DRAFT_ENDPOINT", endpoint, 1);
    return 0;
}
static int stop(void **state)
{
    chassis_server_drain(server, 1000);
    chassis_server_free(server);
    return 0;
}
static int forget(void **state)
{
    memset(&seen, 0, sizeof seen);
    return 0;
}

static void set_sends_text_lease_and_expectation(void **state)
{
    struct run r = ASK("kv", "set", "color", "blue", "--lease", "pid-1", "--expect", "7");
    assert_int_equal(r.exit, DCTL_OK);
    assert_string_equal(r.out, "color  revision 8\n");
    assert_string_equal(seen.key, "color");
    assert_string_equal(seen.type, "type.googleapis.com/core.registry.key_value.v1.Value");
    assert_string_equal(seen.value, "\x0a\x04"
                                    "blue");
    assert_string_equal(seen.lease, "pid-1");
    assert_true(seen.expected_given && seen.expected == 7);
    run_fini(&r);
    r = ASK("kv", "set", "color", "blue");
    assert_false(seen.expected_given);
    run_fini(&r);
}

static void set_reads_files(void **state)
{
    char dir[256], file[300], argument[304];
    test_tmpdir(dir);
    snprintf(file, sizeof file, "%s/value", dir);
    snprintf(argument, sizeof argument, "@%s", file);
    FILE *f = fopen(file, "w");
    fputs("from a file", f);
    fclose(f);
    struct run r = ASK("kv", "set", "color", argument);
    assert_int_equal(r.exit, DCTL_OK);
    assert_contains(seen.value, "from a file");
    run_fini(&r);
    r = ASK("kv", "set", "color", "@/no/such/file");
    assert_int_equal(r.exit, DCTL_USAGE);
    assert_contains(r.err, "/no/such/file");
    run_fini(&r);
    test_rmtree(dir);
}

static void cas_that_fails_exits_with_1_and_names_the_revision(void **state)
{
    struct run r = ASK("kv", "cas", "color", "3", "red");
    assert_int_equal(r.exit, DCTL_FAILED);
    assert_contains(r.err, "revision 7");
    run_fini(&r);
    r = ASK("kv", "cas", "color", "7", "red");
    assert_int_equal(r.exit, DCTL_OK);
    run_fini(&r);
}

static void get_prints_the_text_alone(void **state)
{
    struct run r = ASK("kv", "get", "color");
    assert_int_equal(r.exit, DCTL_OK);
    assert_string_equal(r.out, "two\nlines\n");
    run_fini(&r);
    r = ASK("kv", "get", "color", "-o", "json");
    assert_contains(r.out, "\"value\": \"two\\nlines\"");
    assert_contains(r.out, "\"revision\": 7");
    assert_contains(r.out, "\"actor\": \"tester\"");
    run_fini(&r);
    r = ASK("kv", "get", "absent");
    assert_int_equal(r.exit, DCTL_NOT_FOUND);
    assert_string_equal(r.out, "");
    run_fini(&r);
}

static void list_walks_all_pages_and_stops_at_the_limit(void **state)
{
    struct run r = ASK("kv", "list", "--keys", "--page", "2");
    assert_int_equal(r.exit, DCTL_OK);
    assert_int_equal(seen.pages, 3);
    assert_string_equal(r.out, "KEY\nkey0\nkey1\nkey2\nkey3\nkey4\n");
    run_fini(&r);
    seen.pages = 0;
    r = ASK("kv", "list", "--keys", "--page", "2", "-n", "3");
    assert_string_equal(r.out, "KEY\nkey0\nkey1\nkey2\n");
    assert_int_equal(seen.pages, 2);
    assert_int_equal(seen.limit, 1);
    run_fini(&r);
}

static void watch_goes_on_after_the_last_change_it_showed(void **state)
{
    struct run r = ASK("kv", "watch", "-n", "3", "-o", "json");
    assert_int_equal(r.exit, DCTL_OK);
    assert_int_equal(seen.watches, 3);
    assert_int_equal(seen.watch_start[0], 0);
    assert_int_equal(seen.watch_start[1], 101);
    assert_int_equal(seen.watch_start[2], 102);
    assert_contains(r.out, "\"key\":\"k100\"");
    assert_contains(r.out, "\"key\":\"k101\"");
    assert_contains(r.out, "\"key\":\"k102\"");
    unsigned lines = 0;
    for (const char *p = r.out; *p != '\0'; p++) {
        lines += *p == '\n';
    }
    assert_int_equal(lines, 3);
    run_fini(&r);
}

static void txn_sends_what_was_said_in_words(void **state)
{
    struct run r = ASK("kv", "txn", "--if", "a exists", "--if", "b value x y", "--then",
                       "set c some text", "--then", "get a", "--else", "del c", "-o", "json");
    assert_int_equal(r.exit, DCTL_OK);
    assert_string_equal(seen.value, "2 if 2 then 1 else");
    assert_string_equal(seen.key, "c");
    assert_contains(r.out, "\"succeeded\": true");
    run_fini(&r);
}

static void del_names_the_record(void **state)
{
    struct run r = ASK("kv", "del", "color", "-o", "yaml");
    assert_int_equal(r.exit, DCTL_OK);
    assert_contains(r.out, "key: color\nrevision: 9\n");
    run_fini(&r);
}

static void status_has_the_keys_scripts_rely_on(void **state)
{
    struct run r = ASK("cluster", "status", "-o", "json");
    assert_int_equal(r.exit, DCTL_OK);
    assert_contains(r.out, "\"leader\": \"n1\"");
    char node[256];
    snprintf(node, sizeof node,
             "\"id\": \"n1\",\n      \"address\": \"%s\",\n      \"role\": \"leader\",\n"
             "      \"pid\": 42,\n      \"applied\": 77,\n      \"rss_bytes\": 1048576",
             endpoint);
    assert_contains(r.out, node);
    assert_contains(r.out, "\"role\": \"unreachable\"");
    run_fini(&r);
    r = ASK("cluster", "transfer", "n2");
    assert_string_equal(seen.transfer, "n2");
    assert_string_equal(r.out, "n2 leads\n");
    run_fini(&r);
}

static void a_backup_has_its_name_only_when_it_is_whole(void **state)
{
    char dir[256], file[300], text[16] = "";
    test_tmpdir(dir);
    snprintf(file, sizeof file, "%s/state", dir);
    seen.damaged_backup = true;
    struct run r = ASK("cluster", "backup", file);
    assert_int_equal(r.exit, DCTL_FAILED);
    assert_contains(r.err, "checksum");
    assert_int_not_equal(access(file, F_OK), 0);
    run_fini(&r);
    seen.damaged_backup = false;
    seen.short_backup = true;
    r = ASK("cluster", "backup", file);
    assert_int_equal(r.exit, DCTL_FAILED);
    assert_contains(r.err, "4 of 6 bytes");
    assert_int_not_equal(access(file, F_OK), 0);
    run_fini(&r);
    seen.short_backup = false;
    r = ASK("cluster", "backup", file);
    assert_int_equal(r.exit, DCTL_OK);
    assert_contains(r.out, "bytes  6");
    run_fini(&r);
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    assert_int_equal(fread(text, 1, sizeof text, f), 6);
    fclose(f);
    assert_string_equal(text, "backup");
    r = ASK("cluster", "backup", file); /* never over an older one */
    assert_int_equal(r.exit, DCTL_FAILED);
    assert_contains(r.err, "exists");
    run_fini(&r);
    test_rmtree(dir);
}

static void services_are_listed_and_found(void **state)
{
    struct run r = ASK("services", "list");
    assert_int_equal(r.exit, DCTL_OK);
    assert_contains(r.out, "platform  running  healthy");
    run_fini(&r);
    r = ASK("services", "get", "nobody");
    assert_int_equal(r.exit, DCTL_NOT_FOUND);
    assert_contains(r.err, "'nobody'");
    run_fini(&r);
    r = ASK("services", "list", "--name", "a", "--group", "b");
    assert_int_equal(r.exit, DCTL_USAGE);
    run_fini(&r);
}

static void call_reaches_a_server_by_its_registered_name(void **state)
{
    struct run r = ASK("call", "KeyValueService/Get", "-d", "{\"key\":\"a\"}", "--service",
                       "platform", "-o", "yaml");
    assert_int_equal(r.exit, DCTL_OK);
    assert_contains(r.out, "data: \"two\\nlines\"");
    run_fini(&r);
    r = ASK("call", "KeyValueService/Get", "-d", "{\"key\":\"a\"}", "--through", endpoint,
            "--service", "platform");
    assert_int_equal(r.exit, DCTL_OK);
    run_fini(&r);
    r = ASK("call", "KeyValueService/Get", "-d", "{\"key\":\"a\"}", "--through", "127.0.0.1:1");
    assert_int_equal(r.exit, DCTL_UNAVAILABLE);
    run_fini(&r);
    r = ASK("call", "KeyValueService/Get", "--service", "nobody");
    assert_int_equal(r.exit, DCTL_NOT_FOUND);
    run_fini(&r);
    r = ASK("call", "KeyValueService/Get", "--service", "dead");
    assert_int_equal(r.exit, DCTL_NOT_FOUND);
    assert_contains(r.err, "no running process of 'dead'");
    run_fini(&r);
}

static void call_shows_streams_and_the_status_they_end_with(void **state)
{
    struct run r = ASK("call", "KeyValueService/Watch", "-d", "{\"startRevision\":5}");
    assert_int_equal(r.exit, DCTL_UNAVAILABLE);
    assert_contains(r.out, "\"key\":\"k5\"");
    assert_contains(r.err, "UNAVAILABLE: going away");
    run_fini(&r);
    r = ASK("call", "KeyValueService/Get", "-d", "{\"key\":\"absent\"}");
    assert_int_equal(r.exit, DCTL_NOT_FOUND);
    run_fini(&r);
    r = ASK("call", "KeyValueService/Get", "-d", "{\"key\":\"a\"}{\"key\":\"b\"}");
    assert_int_equal(r.exit, DCTL_FAILED);
    assert_contains(r.err, "takes one request, not 2");
    run_fini(&r);
    r = ASK("call", "Service/Get", "-d", "{}");
    assert_int_equal(r.exit, DCTL_FAILED);
    assert_contains(r.err, "write more of it");
    run_fini(&r);
    r = ASK("call", "--list", "cluster");
    assert_contains(r.out, "draft.cluster.v1.ClusterService/Peer");
    assert_contains(r.out, "bidi stream");
    run_fini(&r);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, forget)
    const struct CMUnitTest tests[] = {
        TEST(set_sends_text_lease_and_expectation),
        TEST(set_reads_files),
        TEST(cas_that_fails_exits_with_1_and_names_the_revision),
        TEST(get_prints_the_text_alone),
        TEST(list_walks_all_pages_and_stops_at_the_limit),
        TEST(watch_goes_on_after_the_last_change_it_showed),
        TEST(txn_sends_what_was_said_in_words),
        TEST(del_names_the_record),
        TEST(status_has_the_keys_scripts_rely_on),
        TEST(a_backup_has_its_name_only_when_it_is_whole),
        TEST(services_are_listed_and_found),
        TEST(call_reaches_a_server_by_its_registered_name),
        TEST(call_shows_streams_and_the_status_they_end_with),
    };
    return cmocka_run_group_tests_name("dctl commands", tests, start, stop);
}
