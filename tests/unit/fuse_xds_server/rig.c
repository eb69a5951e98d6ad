#include "rig.h"

#include "envoy/service/discovery/v3/discovery.pb-c.h"

#include <chassis/message.h>

/* ---- a loop that runs when told ---- */

static struct rig *rig_of(struct chassis_executor *ex)
{
    return chassis_container_of(ex, struct rig, loop);
}
static void loop_defer(struct chassis_executor *ex, struct chassis_task *task)
{
    struct rig *rig = rig_of(ex);
    if (!task->queued) {
        task->queued = true;
        task->next = rig->deferred;
        rig->deferred = task;
    }
}
static void loop_post_after(struct chassis_executor *ex, struct chassis_timer *timer, uint64_t ns)
{
    chassis_timers_arm(&rig_of(ex)->timers, timer, rig_of(ex)->now_ns + ns + 1);
}
static void loop_cancel(struct chassis_executor *ex, struct chassis_timer *timer)
{
    chassis_timers_cancel(&rig_of(ex)->timers, timer);
}
static uint64_t loop_now(struct chassis_executor *ex)
{
    return rig_of(ex)->now_ns;
}
static bool loop_is_current(struct chassis_executor *ex)
{
    return true;
}
static const struct chassis_executor_ops loop_ops = {
    .post = loop_defer,
    .post_after = loop_post_after,
    .cancel = loop_cancel,
    .defer = loop_defer,
    .now_ns = loop_now,
    .is_current = loop_is_current,
};

void rig_turn(struct rig *rig)
{
    while (rig->deferred != NULL) {
        struct chassis_task *task = rig->deferred;
        rig->deferred = task->next;
        task->queued = false;
        task->run(task);
    }
}

void rig_pass(struct rig *rig, uint64_t ns)
{
    struct chassis_timer *timer;
    rig->now_ns += ns;
    while ((timer = chassis_timers_take_due(&rig->timers, rig->now_ns)) != NULL) {
        timer->run(timer);
    }
    rig_turn(rig);
}

/* ---- the store ---- */

static void store_quarantine(struct fuse_store *store, const char *group, const char *route,
                             struct chassis_view record, fuse_store_done_cb done, void *data)
{
    struct rig *rig = chassis_container_of(store, struct rig, store);
    rig->stored = chassis_base_realloc(rig->stored, (rig->n_stored + 1) * sizeof *rig->stored);
    struct rig_quarantine *q = &rig->stored[rig->n_stored++];
    *q = (struct rig_quarantine){.removed = record.len == 0};
    snprintf(q->group, sizeof q->group, "%s", group);
    snprintf(q->route, sizeof q->route, "%s", route);
    struct chassis_arena arena;
    void *message;
    chassis_arena_init(&arena, NULL, 0, 0);
    if (!q->removed) {
        assert_int_equal(chassis_decode(&draft__routing__v1__quarantine__descriptor, record, &arena,
                                        &message, NULL),
                         0);
        const Draft__Routing__V1__Quarantine *said = message;
        q->version = said->version;
        q->instead = said->instead;
        snprintf(q->proxy, sizeof q->proxy, "%s", said->proxy);
        snprintf(q->text, sizeof q->text, "%s", said->text);
        assert_string_equal(said->group, group);
        assert_string_equal(said->route, route);
        assert_non_null(said->time);
    }
    chassis_arena_fini(&arena);
    done(0, NULL, ++rig->revision, data);
}

static void store_versions(struct fuse_store *store, const char *name, fuse_store_versions_cb done,
                           void *data)
{
    struct rig *rig = chassis_container_of(store, struct rig, store);
    assert_null(rig->versions_done);
    rig->versions_done = done;
    rig->versions_data = data;
}

static const struct fuse_store_ops store_ops = {.versions = store_versions,
                                                .quarantine = store_quarantine};

/* ---- the rig ---- */

static int64_t wall_ns(void *data)
{
    struct rig *rig = data;
    return 1700000000000000000 + (int64_t)rig->now_ns;
}

static void view_changed(void *data, const char *group)
{
    struct rig *rig = data;
    rig->view_changes++;
}

void rig_start(struct rig *rig, bool ready)
{
    static const struct fuse_socket_listener listeners[] = {
        {.name = "default", .address = "127.0.0.1", .port = 8080}};
    static const struct fuse_secret_files secrets[] = {{.name = "front",
                                                        .certificate = {(const uint8_t *)"C", 1},
                                                        .key = {(const uint8_t *)"K", 1}}};
    *rig = (struct rig){.loop = {&loop_ops, "loop"}, .now_ns = 1};
    rig->statics = (struct fuse_statics){listeners, 1, secrets, 1};
    rig->model = fuse_model_new();
    rig->store.ops = &store_ops;
    fuse_proxies_init(&rig->proxies, &rig->loop);
    chassis_log_set_level("", getenv("DRAFT_SEED") != NULL ? CHASSIS_LOG_INFO : CHASSIS_LOG_OFF);
    rig->xds = fuse_xds_new(&(struct fuse_xds_options){.model = rig->model,
                                                       .statics = &rig->statics,
                                                       .proxies = &rig->proxies,
                                                       .store = &rig->store,
                                                       .loop = &rig->loop,
                                                       .log = chassis_log_module("fuse.xds"),
                                                       .wall_ns = wall_ns,
                                                       .wall_data = rig,
                                                       .view_changed = view_changed,
                                                       .view_data = rig,
                                                       .proxies_max = 2000});
    if (ready) {
        fuse_xds_ready(rig->xds);
    }
}

void rig_stop(struct rig *rig)
{
    rig_turn(rig);
    fuse_xds_free(rig->xds);
    fuse_proxies_fini(&rig->proxies);
    fuse_model_free(rig->model);
    chassis_timers_fini(&rig->timers);
    free(rig->stored);
}

int rig_set_up(void **state)
{
    struct rig *rig = chassis_base_zalloc(sizeof *rig);
    rig_start(rig, true);
    *state = rig;
    return 0;
}

int rig_tear_down(void **state)
{
    rig_stop(*state);
    free(*state);
    return 0;
}

void rig_route(struct rig *rig, const char *name, const char *host, const char *service,
               const char *mark)
{
    char path[128];
    snprintf(path, sizeof path, "/%s%s", mark, name);
    fixture_put(rig->model, ++rig->revision,
                route(.name = name, .host = host, .path = path, .service = service, .http2 = true));
}

void rig_unroute(struct rig *rig, const char *name)
{
    fuse_model_delete_route(rig->model, name, ++rig->revision);
}

void rig_instance(struct rig *rig, const char *service, const char *pid, const char *address)
{
    fixture_instance(rig->model, ++rig->revision, .pid = pid, .service = service,
                     .rpc_address = address);
}

void rig_no_instance(struct rig *rig, const char *pid)
{
    fuse_model_delete_instance(rig->model, pid, ++rig->revision);
}

/* ---- answers ---- */

static void add_name(char *list, const char *name)
{
    size_t len = strlen(list);
    snprintf(list + len, 1024 - len, "%s%s", len != 0 ? " " : "", name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct answer_item *)a)->name, ((const struct answer_item *)b)->name);
}
static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Field 1 of every type we speak. */
static char *name_of(const ProtobufCBinaryData *bytes)
{
    assert_true(bytes->len > 2 && bytes->data[0] == 0x0a);
    size_t len = bytes->data[1];
    assert_true(len < 0x80 && len + 2 <= bytes->len);
    char *name = chassis_base_zalloc(len + 1);
    memcpy(name, bytes->data + 2, len);
    return name;
}

static void add_item(struct answer *answer, const Google__Protobuf__Any *any, const char *name,
                     const char *version)
{
    answer->items =
        chassis_base_realloc(answer->items, (answer->n_items + 1) * sizeof *answer->items);
    struct answer_item *item = &answer->items[answer->n_items++];
    *item = (struct answer_item){.name = name_of(&any->value)};
    item->version = chassis_base_strdup(version);
    assert_string_equal(any->type_url, fuse_type_urls[answer->type]);
    if (name != NULL) {
        assert_string_equal(name, item->name);
    }
    chassis_buf_append(&item->bytes, any->value.data, any->value.len);
}

static void finish_answer(struct answer *answer)
{
    if (answer->n_items != 0) {
        qsort(answer->items, answer->n_items, sizeof *answer->items, by_name);
    }
    if (answer->n_removed != 0) {
        qsort(answer->removed, answer->n_removed, sizeof *answer->removed, by_text);
    }
    for (unsigned i = 0; i < answer->n_items; i++) {
        assert_true(i == 0 || strcmp(answer->items[i].name, answer->items[i - 1].name) != 0);
        add_name(answer->names, answer->items[i].name);
    }
    for (unsigned i = 0; i < answer->n_removed; i++) {
        add_name(answer->gone, answer->removed[i]);
    }
}

static void begin_answer(struct answer *answer, const char *url, const char *nonce,
                         const char *version)
{
    answer->type = fuse_type_of(url);
    assert_true(answer->type != FUSE_N_TYPES);
    snprintf(answer->nonce, sizeof answer->nonce, "%s", nonce);
    snprintf(answer->version, sizeof answer->version, "%s", version);
}

static void parse_sotw(struct answer *answer, struct chassis_view encoded,
                       struct chassis_arena *arena)
{
    void *message;
    assert_int_equal(chassis_decode(&envoy__service__discovery__v3__discovery_response__descriptor,
                                    encoded, arena, &message, NULL),
                     0);
    const Envoy__Service__Discovery__V3__DiscoveryResponse *r = message;
    begin_answer(answer, r->type_url, r->nonce, r->version_info);
    for (size_t i = 0; i < r->n_resources; i++) {
        add_item(answer, r->resources[i], NULL, "");
    }
}

static void parse_delta(struct answer *answer, struct chassis_view encoded,
                        struct chassis_arena *arena)
{
    void *message;
    assert_int_equal(
        chassis_decode(&envoy__service__discovery__v3__delta_discovery_response__descriptor,
                       encoded, arena, &message, NULL),
        0);
    const Envoy__Service__Discovery__V3__DeltaDiscoveryResponse *r = message;
    begin_answer(answer, r->type_url, r->nonce, r->system_version_info);
    for (size_t i = 0; i < r->n_resources; i++) {
        assert_non_null(r->resources[i]->resource);
        add_item(answer, r->resources[i]->resource, r->resources[i]->name,
                 r->resources[i]->version);
    }
    for (size_t i = 0; i < r->n_removed_resources; i++) {
        answer->removed =
            chassis_base_realloc(answer->removed, (answer->n_removed + 1) * sizeof(char *));
        answer->removed[answer->n_removed++] = chassis_base_strdup(r->removed_resources[i]);
    }
}

void answer_free(struct answer *answer)
{
    for (unsigned i = 0; i < answer->n_items; i++) {
        free(answer->items[i].name);
        free(answer->items[i].version);
        chassis_buf_fini(&answer->items[i].bytes);
    }
    for (unsigned i = 0; i < answer->n_removed; i++) {
        free(answer->removed[i]);
    }
    free(answer->items);
    free(answer->removed);
    free(answer);
}

/* ---- clients ---- */

static int on_send(void *data, struct chassis_view encoded)
{
    struct client *client = data;
    if (client->congested) {
        return CHASSIS_RESOURCE_EXHAUSTED;
    }
    struct answer *answer = chassis_base_zalloc(sizeof *answer);
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    if (client->protocol == FUSE_XDS_SOTW) {
        parse_sotw(answer, encoded, &arena);
    } else {
        parse_delta(answer, encoded, &arena);
    }
    chassis_arena_fini(&arena);
    finish_answer(answer);
    client->inbox =
        chassis_base_realloc(client->inbox, (client->n_inbox + 1) * sizeof *client->inbox);
    client->inbox[client->n_inbox++] = answer;
    client->bytes += encoded.len;
    return 0;
}

static void on_fail(void *data, const struct chassis_error *err)
{
    struct client *client = data;
    assert_int_equal(client->failed.code, 0);
    client->failed = *err;
}

static void open_over(struct client *client, struct rig *rig, enum fuse_xds_protocol protocol,
                      const char *group, const char *id, bool private_stream)
{
    struct chassis_error err = {0};
    *client = (struct client){.rig = rig, .protocol = protocol};
    snprintf(client->id, sizeof client->id, "%s", id);
    snprintf(client->group, sizeof client->group, "%s", group);
    snprintf(client->agent, sizeof client->agent, "envoy");
    const struct fuse_xds_peer peer = {.address = "ipv4:127.0.0.1:1",
                                       .private_stream = private_stream};
    const struct fuse_xds_wire wire = {on_send, on_fail, client};
    assert_int_equal(
        fuse_xds_open(rig->xds, protocol, FUSE_N_TYPES, &peer, &wire, &client->session, &err), 0);
}

void client_open(struct client *client, struct rig *rig, enum fuse_xds_protocol protocol,
                 const char *group, const char *id)
{
    open_over(client, rig, protocol, group, id, true);
}

void client_open_public(struct client *client, struct rig *rig, enum fuse_xds_protocol protocol,
                        const char *group, const char *id)
{
    open_over(client, rig, protocol, group, id, false);
}

void client_close(struct client *client)
{
    fuse_xds_close(client->session);
    for (unsigned i = 0; i < client->n_inbox; i++) {
        answer_free(client->inbox[i]);
    }
    free(client->inbox);
    client->inbox = NULL;
    client->n_inbox = 0;
}

/* Cut "a b c" into a list that lives in the arena. */
static size_t words(struct chassis_arena *arena, const char *text, char ***ret_words)
{
    size_t n = 0, max = text != NULL ? strlen(text) / 2 + 1 : 0;
    *ret_words = chassis_arena_alloc(arena, (max + 1) * sizeof(char *));
    char *copy = chassis_arena_strdup(arena, text != NULL ? text : "");
    for (char *at = strtok(copy, " "); at != NULL; at = strtok(NULL, " ")) {
        (*ret_words)[n++] = at;
    }
    return n;
}

static char *or_empty(const char *text)
{
    return (char *)(uintptr_t)(text != NULL ? text : "");
}

static void encode_sotw(const struct ask *ask, const char *url, Envoy__Config__Core__V3__Node *node,
                        Google__Rpc__Status *status, struct chassis_arena *arena,
                        struct chassis_buf *out)
{
    Envoy__Service__Discovery__V3__DiscoveryRequest r =
        ENVOY__SERVICE__DISCOVERY__V3__DISCOVERY_REQUEST__INIT;
    r.type_url = or_empty(url);
    r.node = node;
    r.error_detail = status;
    r.version_info = or_empty(ask->version);
    r.response_nonce = or_empty(ask->nonce);
    r.n_resource_names = words(arena, ask->names, &r.resource_names);
    chassis_encode(&r, out);
}

static void encode_delta(const struct ask *ask, const char *url,
                         Envoy__Config__Core__V3__Node *node, Google__Rpc__Status *status,
                         struct chassis_arena *arena, struct chassis_buf *out)
{
    Envoy__Service__Discovery__V3__DeltaDiscoveryRequest r =
        ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
    typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest__InitialResourceVersionsEntry
        entry_t;
    char **pairs;
    r.type_url = or_empty(url);
    r.node = node;
    r.error_detail = status;
    r.response_nonce = or_empty(ask->nonce);
    r.n_resource_names_subscribe = words(arena, ask->names, &r.resource_names_subscribe);
    r.n_resource_names_unsubscribe = words(arena, ask->unsubscribe, &r.resource_names_unsubscribe);
    r.n_initial_resource_versions = words(arena, ask->initial, &pairs);
    r.initial_resource_versions =
        chassis_arena_alloc(arena, (r.n_initial_resource_versions + 1) * sizeof(entry_t *));
    for (size_t i = 0; i < r.n_initial_resource_versions; i++) {
        static const entry_t init =
            ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INITIAL_RESOURCE_VERSIONS_ENTRY__INIT;
        entry_t *entry = chassis_arena_alloc(arena, sizeof *entry);
        char *is = strrchr(pairs[i], '=');
        *entry = init;
        *is = '\0';
        entry->key = pairs[i];
        entry->value = is + 1;
        r.initial_resource_versions[i] = entry;
    }
    chassis_encode(&r, out);
}

void client_ask_of(struct client *client, enum fuse_type type, struct ask ask)
{
    Envoy__Config__Core__V3__Node node = ENVOY__CONFIG__CORE__V3__NODE__INIT;
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    struct chassis_arena arena;
    struct chassis_buf out = {0};
    chassis_arena_init(&arena, NULL, 0, 0);
    node.id = client->id;
    node.cluster = client->group;
    node.user_agent_name = client->agent;
    status.code = 3;
    status.message = or_empty(ask.error);
    (client->protocol == FUSE_XDS_SOTW ? encode_sotw : encode_delta)(
        &ask, type < FUSE_N_TYPES ? fuse_type_urls[type] : "", client->spoke ? NULL : &node,
        ask.error != NULL ? &status : NULL, &arena, &out);
    client->spoke = true;
    fuse_xds_request(client->session, chassis_buf_view(&out));
    chassis_buf_fini(&out);
    chassis_arena_fini(&arena);
    rig_turn(client->rig);
}

struct answer *client_take(struct client *client)
{
    if (client->n_inbox == 0) {
        return NULL;
    }
    struct answer *answer = client->inbox[0];
    client->n_inbox--;
    memmove(client->inbox, client->inbox + 1, client->n_inbox * sizeof *client->inbox);
    return answer;
}

struct answer *client_expect(struct client *client, enum fuse_type type)
{
    struct answer *answer = client_take(client);
    assert_non_null(answer);
    assert_int_equal(answer->type, type);
    return answer;
}

void client_quiet(struct client *client)
{
    rig_turn(client->rig);
    if (client->n_inbox != 0) {
        fail_msg("an answer of type %d was not expected: %s; gone %s", client->inbox[0]->type,
                 client->inbox[0]->names, client->inbox[0]->gone);
    }
}

void client_gets(struct client *client, enum fuse_type type, const char *came, const char *went,
                 const char *names)
{
    rig_turn(client->rig);
    struct answer *answer = client_expect(client, type);
    assert_string_equal(answer->names, came);
    assert_string_equal(answer->gone, went);
    client_ask(client, type, .names = names, .nonce = answer->nonce, .version = answer->version);
    answer_free(answer);
}
