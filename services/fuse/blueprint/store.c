#include "store.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "wire.h"

/* What one transaction takes: route and version stand beside those that go. */
enum { PAGE = 1000, PRUNE_MAX = 100, OPS_MAX = PRUNE_MAX + 2 };

static struct fuse_blueprint_store *store_of(struct fuse_store *store)
{
    return chassis_container_of(store, struct fuse_blueprint_store, store);
}

/* Around every operation: after its callback. */
static void ended(struct fuse_blueprint_store *store)
{
    CHASSIS_ASSERT(store->pending > 0);
    if (--store->pending == 0 && store->idle != NULL) {
        store->idle(store->idle_data);
    }
}

static void error_of(const struct chassis_reply *reply, const char *what, const char *name,
                     struct chassis_error *ret_err)
{
    chassis_error_set(ret_err, reply->code, "%s '%s': %s", what, name,
                      reply->text[0] != '\0' ? reply->text : chassis_status_text(reply->code));
}

/* ---- read ---- */

struct reading {
    struct fuse_blueprint_store *store;
    char *name;
    fuse_store_route_cb done;
    void *data;
};

static void on_read(const struct chassis_reply *reply, void *data)
{
    struct reading *op = data;
    struct chassis_error err = {0};
    const KV(GetResponse) *res = reply->message;
    struct chassis_view bytes = {NULL, 0};
    uint64_t version = 0;
    if (reply->code != 0) {
        error_of(reply, "read route", op->name, &err);
    } else {
        bytes = res->value != NULL ? chassis_view(res->value->value.data, res->value->value.len)
                                   : bytes;
        version = res->meta != NULL ? res->meta->revision : 0;
    }
    op->done(reply->code, &err, version, bytes, op->data);
    struct fuse_blueprint_store *store = op->store;
    free(op->name);
    free(op);
    ended(store);
}

static void read_route(struct fuse_store *store, const char *name, fuse_store_route_cb done,
                       void *data)
{
    struct reading *op = chassis_base_zalloc(sizeof *op);
    Google__Protobuf__Any kind = fuse_any(FUSE_KIND_ROUTE, chassis_view(NULL, 0));
    KV(GetRequest) req = KV_INIT(GET_REQUEST);
    struct chassis_call_options options = {.timeout_ms = FUSE_CALL_MS, .idempotent = true};
    op->store = store_of(store);
    op->store->pending++;
    op->name = chassis_base_strdup(name);
    op->done = done;
    op->data = data;
    req.key = op->name;
    req.value = &kind;
    key_value_get(op->store->client, &req, &options, on_read, op);
}

/* ---- the versions of a route, page by page ---- */

struct version {
    char *key;
    uint64_t revision;
    struct chassis_view encoded;
};
struct walk {
    struct fuse_blueprint_store *store;
    char *name, *prefix;
    bool wants_content;
    struct chassis_arena arena;
    struct version *items;
    unsigned n, cap;
    /* `err` NULL: complete, newest first. Frees the walk at the end. */
    void (*then)(struct walk *walk, const struct chassis_error *err);
};

static void walk_page(struct walk *w, const char *token);

static void walk_fini(struct walk *w)
{
    chassis_arena_fini(&w->arena);
    free(w->items);
    free(w->prefix);
    free(w->name);
}

static void walk_add(struct walk *w, const char *key, uint64_t revision,
                     const Google__Protobuf__Any *value)
{
    if (w->n == w->cap) {
        w->cap = w->cap != 0 ? w->cap * 2 : 32;
        w->items = chassis_base_realloc(w->items, w->cap * sizeof *w->items);
    }
    struct version *v = &w->items[w->n++];
    *v = (struct version){chassis_arena_strdup(&w->arena, key), revision, {NULL, 0}};
    if (w->wants_content && value != NULL) {
        v->encoded =
            chassis_arena_copy(&w->arena, chassis_view(value->value.data, value->value.len));
    }
}

static int newest_first(const void *a, const void *b)
{
    const struct version *x = a, *y = b;
    return x->revision != y->revision ? (x->revision < y->revision ? 1 : -1)
                                      : strcmp(x->key, y->key);
}

static uint64_t revision_of(const KV(ListResponse) * res, size_t i)
{
    const char *key = res->values[i]->key;
    for (size_t k = 0; k < res->n_metas; k++) {
        const KV(ListResponse__MetasEntry) *e = res->metas[(i + k) % res->n_metas];
        if (strcmp(e->key, key) == 0 && e->value != NULL) {
            return e->value->revision;
        }
    }
    return 0;
}

static void on_page(const struct chassis_reply *reply, void *data)
{
    struct walk *w = data;
    const KV(ListResponse) *res = reply->message;
    if (reply->code != 0) {
        struct chassis_error err = {0};
        error_of(reply, "read the versions of route", w->name, &err);
        w->then(w, &err);
        return;
    }
    for (size_t i = 0; i < res->n_values; i++) {
        walk_add(w, res->values[i]->key, revision_of(res, i), res->values[i]->value);
    }
    if (res->next_page_token[0] != '\0') {
        walk_page(w, res->next_page_token);
        return;
    }
    if (w->n != 0) {
        qsort(w->items, w->n, sizeof *w->items, newest_first);
    }
    w->then(w, NULL);
}

static void walk_page(struct walk *w, const char *token)
{
    Google__Protobuf__Any kind = fuse_any(FUSE_KIND_VERSION, chassis_view(NULL, 0));
    KV(ListRequest) req = KV_INIT(LIST_REQUEST);
    struct chassis_call_options options = {.timeout_ms = FUSE_CALL_MS, .idempotent = true};
    req.value = &kind;
    req.key_prefix = w->prefix;
    req.limit = PAGE;
    req.page_token = (char *)(uintptr_t)token;
    key_value_list(w->store->client, &req, &options, on_page, w);
}

static void walk_start(struct walk *w, struct fuse_store *store, const char *name,
                       void (*then)(struct walk *walk, const struct chassis_error *err))
{
    size_t len = strlen(name);
    w->store = store_of(store);
    w->store->pending++;
    w->name = chassis_base_strdup(name);
    w->prefix = chassis_base_alloc(len + 2);
    memcpy(w->prefix, name, len);
    memcpy(w->prefix + len, "/", 2);
    w->then = then;
    chassis_arena_init(&w->arena, NULL, 0, 0); /* bounded by what is kept of one route */
    walk_page(w, "");
}

struct listing {
    struct walk walk;
    fuse_store_versions_cb done;
    void *data;
};

static void on_versions(struct walk *w, const struct chassis_error *err)
{
    struct listing *op = chassis_container_of(w, struct listing, walk);
    struct chassis_error none = {0};
    struct fuse_stored_version *list = chassis_base_alloc((w->n + 1) * sizeof *list);
    for (unsigned i = 0; i < w->n; i++) {
        list[i] = (struct fuse_stored_version){w->items[i].revision, w->items[i].encoded};
    }
    op->done(err != NULL ? err->code : 0, err != NULL ? err : &none, list, w->n, op->data);
    struct fuse_blueprint_store *store = w->store;
    free(list);
    walk_fini(w);
    free(op);
    ended(store);
}

static void read_versions(struct fuse_store *store, const char *name, fuse_store_versions_cb done,
                          void *data)
{
    struct listing *op = chassis_base_zalloc(sizeof *op);
    op->done = done;
    op->data = data;
    op->walk.wants_content = true;
    walk_start(&op->walk, store, name, on_versions);
}

/* ---- write ---- */

struct writing {
    struct walk walk;
    struct chassis_buf route, record;
    uint64_t expected;
    unsigned keep;
    fuse_store_done_cb done;
    void *data;
};

static void writing_end(struct writing *op, int code, const struct chassis_error *err,
                        uint64_t version)
{
    struct fuse_blueprint_store *store = op->walk.store;
    op->done(code, err, version, op->data);
    walk_fini(&op->walk);
    chassis_buf_fini(&op->route);
    chassis_buf_fini(&op->record);
    free(op);
    ended(store);
}

static void on_committed(const struct chassis_reply *reply, void *data)
{
    struct writing *op = data;
    const KV(TxnResponse) *res = reply->message;
    struct chassis_error err = {0};
    uint64_t version = 0;
    if (reply->code != 0) {
        error_of(reply, "write route", op->walk.name, &err);
    } else if (!res->succeeded) {
        chassis_error_set(&err, CHASSIS_ABORTED,
                          op->expected != 0 ? "route '%s' is not at version %llu any more"
                                            : "route '%s' exists already",
                          op->walk.name, (unsigned long long)op->expected);
    } else {
        version = res->revision;
    }
    writing_end(op, err.code, &err, version);
}

struct ops {
    KV(Op) items[OPS_MAX], *list[OPS_MAX];
    KV(SetRequest) sets[2];
    KV(DeleteRequest) deletes[PRUNE_MAX + 1];
    unsigned n, n_sets, n_deletes;
};

static void add_set(struct ops *ops, char *key, Google__Protobuf__Any *value)
{
    KV(SetRequest) *set = &ops->sets[ops->n_sets++];
    KV(Op) *op = &ops->items[ops->n];
    core__registry__key_value__v1__set_request__init(set);
    core__registry__key_value__v1__op__init(op);
    set->key = key;
    set->value = value;
    op->op_case = CORE__REGISTRY__KEY_VALUE__V1__OP__OP_SET;
    op->set = set;
    ops->list[ops->n++] = op;
}

static void add_delete(struct ops *ops, char *key, Google__Protobuf__Any *kind)
{
    KV(DeleteRequest) *del = &ops->deletes[ops->n_deletes++];
    KV(Op) *op = &ops->items[ops->n];
    core__registry__key_value__v1__delete_request__init(del);
    core__registry__key_value__v1__op__init(op);
    del->key = key;
    del->value = kind;
    op->op_case = CORE__REGISTRY__KEY_VALUE__V1__OP__OP_DELETE;
    op->delete_ = del;
    ops->list[ops->n++] = op;
}

static void commit(struct writing *op)
{
    struct walk *w = &op->walk;
    struct ops *ops = chassis_base_zalloc(sizeof *ops);
    char key[FUSE_QUARANTINE_KEY_MAX], id[CHASSIS_UUID_SIZE];
    uint32_t random;
    chassis_base_random_bytes(&random, sizeof random);
    chassis_uuid(id);
    snprintf(key, sizeof key, "%s%016llx-%08x", w->prefix,
             (unsigned long long)w->store->wall_ns(NULL), random);
    Google__Protobuf__Any route = fuse_any(FUSE_KIND_ROUTE, chassis_buf_view(&op->route));
    Google__Protobuf__Any record = fuse_any(FUSE_KIND_VERSION, chassis_buf_view(&op->record));
    Google__Protobuf__Any versions = fuse_any(FUSE_KIND_VERSION, chassis_view(NULL, 0));
    KV(Compare) compare = KV_INIT(COMPARE), *compares[] = {&compare};
    KV(TxnRequest) req = KV_INIT(TXN_REQUEST);
    compare.kind = &route;
    compare.key = w->name;
    compare.target_case = CORE__REGISTRY__KEY_VALUE__V1__COMPARE__TARGET_REVISION;
    compare.revision = op->expected;
    if (op->route.len != 0) {
        add_set(ops, w->name, &route);
    } else {
        add_delete(ops, w->name, &route);
    }
    add_set(ops, key, &record);
    for (unsigned i = w->n; i-- > 0 && i + 1 >= op->keep && ops->n < OPS_MAX;) {
        add_delete(ops, w->items[i].key, &versions);
    }
    req.compare = compares;
    req.n_compare = 1;
    req.success = ops->list;
    req.n_success = ops->n;
    struct chassis_metadata metadata = {"draft-request-id", id};
    struct chassis_call_options options = {
        .timeout_ms = FUSE_CALL_MS, .metadata = &metadata, .n_metadata = 1};
    key_value_txn(w->store->client, &req, &options, on_committed, op);
    free(ops);
}

static void on_walked(struct walk *w, const struct chassis_error *err)
{
    struct writing *op = chassis_container_of(w, struct writing, walk);
    if (err != NULL) {
        writing_end(op, err->code, err, 0);
    } else {
        commit(op);
    }
}

static void write_route(struct fuse_store *store, const char *name, struct chassis_view route,
                        struct chassis_view record, uint64_t expected, unsigned keep,
                        fuse_store_done_cb done, void *data)
{
    struct writing *op = chassis_base_zalloc(sizeof *op);
    CHASSIS_ASSERT(keep > 0);
    chassis_buf_append_view(&op->route, route);
    chassis_buf_append_view(&op->record, record);
    op->expected = expected;
    op->keep = keep;
    op->done = done;
    op->data = data;
    walk_start(&op->walk, store, name, on_walked);
}

/* ---- quarantine ---- */

static bool is_plain(char c)
{
    return (unsigned char)c > ' ' && c != '%' && c != 0x7f;
}

int fuse_quarantine_key(const char *group, const char *route,
                        char ret_key[FUSE_QUARANTINE_KEY_MAX + 1], struct chassis_error *err)
{
    size_t n = 0, room = FUSE_QUARANTINE_KEY_MAX, tail = strlen(route) + 1;
    for (const char *c = group; *c != '\0'; c++) {
        if (n + 3 + tail > room) {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                     "node group '%.64s…': its name is too long for a record",
                                     group);
        }
        n += (size_t)snprintf(ret_key + n, room + 1 - n, is_plain(*c) ? "%c" : "%%%02x",
                              (unsigned char)*c);
    }
    snprintf(ret_key + n, room + 1 - n, "/%s", route);
    return 0;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool fuse_quarantine_key_parse(const char *key, char ret_group[FUSE_QUARANTINE_KEY_MAX + 1],
                               char ret_route[FUSE_QUARANTINE_KEY_MAX + 1])
{
    const char *slash = strrchr(key, '/');
    size_t n = 0;
    if (slash == NULL || slash[1] == '\0' || strlen(key) > FUSE_QUARANTINE_KEY_MAX) {
        return false;
    }
    for (const char *c = key; c < slash; c++) {
        if (*c == '%') {
            int high = hex_digit(c[1]), low = high >= 0 ? hex_digit(c[2]) : -1;
            if (low < 0 || (high == 0 && low == 0)) {
                return false;
            }
            ret_group[n++] = (char)(high * 16 + low);
            c += 2;
        } else {
            ret_group[n++] = *c;
        }
    }
    ret_group[n] = '\0';
    snprintf(ret_route, FUSE_QUARANTINE_KEY_MAX + 1, "%s", slash + 1);
    return true;
}

struct marking {
    struct fuse_blueprint_store *store;
    char *route;
    fuse_store_done_cb done;
    void *data;
};

static void marked(struct marking *op, const struct chassis_reply *reply, uint64_t revision)
{
    struct chassis_error err = {0};
    bool gone = reply->code == CHASSIS_NOT_FOUND; /* of a removal: as wanted */
    if (reply->code != 0 && !gone) {
        error_of(reply, "write the quarantine of route", op->route, &err);
    }
    op->done(err.code, &err, revision, op->data);
    struct fuse_blueprint_store *store = op->store;
    free(op->route);
    free(op);
    ended(store);
}

static void on_marked(const struct chassis_reply *reply, void *data)
{
    const KV(SetResponse) *res = reply->message;
    marked(data, reply, res != NULL && res->meta != NULL ? res->meta->revision : 0);
}

static void on_unmarked(const struct chassis_reply *reply, void *data)
{
    const KV(DeleteResponse) *res = reply->message;
    marked(data, reply, res != NULL && res->meta != NULL ? res->meta->revision : 0);
}

static void quarantine(struct fuse_store *store, const char *group, const char *route,
                       struct chassis_view record, fuse_store_done_cb done, void *data)
{
    char key[FUSE_QUARANTINE_KEY_MAX + 1];
    struct chassis_error err = {0};
    struct chassis_call_options options = {.timeout_ms = FUSE_CALL_MS, .idempotent = true};
    Google__Protobuf__Any value = fuse_any(FUSE_KIND_QUARANTINE, record);
    if (fuse_quarantine_key(group, route, key, &err) != 0) {
        done(err.code, &err, 0, data);
        return;
    }
    struct marking *op = chassis_base_zalloc(sizeof *op);
    op->store = store_of(store);
    op->store->pending++;
    op->route = chassis_base_strdup(route);
    op->done = done;
    op->data = data;
    if (record.len != 0) {
        KV(SetRequest) req = KV_INIT(SET_REQUEST);
        req.key = key;
        req.value = &value;
        key_value_set(store_of(store)->client, &req, &options, on_marked, op);
    } else {
        KV(DeleteRequest) req = KV_INIT(DELETE_REQUEST);
        req.key = key;
        req.value = &value;
        key_value_delete(store_of(store)->client, &req, &options, on_unmarked, op);
    }
}

void fuse_blueprint_store_init(struct fuse_blueprint_store *store, struct chassis_client *client,
                               int64_t (*wall_ns)(void *data))
{
    static const struct fuse_store_ops ops = {.read = read_route,
                                              .write = write_route,
                                              .versions = read_versions,
                                              .quarantine = quarantine};
    *store =
        (struct fuse_blueprint_store){.store = {.ops = &ops}, .client = client, .wall_ns = wall_ns};
}

void fuse_blueprint_store_stop(struct fuse_blueprint_store *store, void (*idle)(void *data),
                               void *data)
{
    if (store->pending == 0) {
        idle(data);
        return;
    }
    store->idle = idle;
    store->idle_data = data;
}
