#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "fuse/haproxy/pool.h"

enum { CONNECT_TIMEOUT_MS = 5000, EVEN_WEIGHT = 16 };

void fuse_pools_init(struct fuse_pools *pools)
{
    *pools = (struct fuse_pools){0};
    chassis_arena_init(&pools->arena, NULL, 0, 0);
}

void fuse_pools_fini(struct fuse_pools *pools)
{
    fuse_texts_fini(&pools->keys);
    fuse_texts_fini(&pools->names);
    free(pools->items);
    chassis_arena_fini(&pools->arena);
}

/* Numbers of draft.routing.v1.RetryOn. */
static const char *const retry_words[] = {
    [1] = "conn-failure",
    [2] = "empty-response",
    [3] = "502 503 504",
    [4] = "500 501 502 503 504",
};

static void write_retry(const struct fuse_route *route, struct chassis_buf *out)
{
    struct chassis_buf words = {0};
    for (unsigned i = 1; i < sizeof retry_words / sizeof retry_words[0]; i++) {
        bool covered = i == 3 && (route->retry.on & 1u << 4) != 0;
        if ((route->retry.on & 1u << i) != 0 && !covered) {
            chassis_buf_printf(&words, " %s", retry_words[i]);
        }
    }
    if (words.len != 0) {
        chassis_buf_printf(out, "    retries %u\n    retry-on", (unsigned)route->retry.retries);
        chassis_buf_append_view(out, chassis_buf_view(&words));
        chassis_buf_append_byte(out, '\n');
    }
    chassis_buf_fini(&words);
}

static void write_timeouts(const struct fuse_route *route, struct chassis_buf *out)
{
    if (route->timeout_ms == 0) {
        return;
    }
    unsigned long long ms = route->timeout_ms;
    chassis_buf_printf(out, "    timeout server %llums\n    timeout queue %llums\n", ms, ms);
    if (ms < CONNECT_TIMEOUT_MS) {
        chassis_buf_printf(out, "    timeout connect %llums\n", ms);
    }
}

/* The expression a request is told apart by; false: nothing HAProxy can look at. */
static bool write_hash_key(const struct fuse_route *route, struct chassis_buf *out)
{
    static const char *const fetches[] = {
        [FUSE_HASH_HEADER] = "req.fhdr",
        [FUSE_HASH_COOKIE] = "req.cook",
        [FUSE_HASH_QUERY] = "url_param",
    };
    struct chassis_buf name = {0};
    bool fine = fuse_text_argument(&name, route->hash_name);
    if (fine) {
        chassis_buf_printf(out, "    balance hash '%s(%s)'\n", fetches[route->hash_kind],
                           (const char *)name.data);
    }
    chassis_buf_fini(&name);
    return fine;
}

static bool write_balance(const struct fuse_route *route, struct chassis_buf *out)
{
    bool hashed = false;
    switch (route->hash_kind) {
    case FUSE_HASH_NONE:
        break;
    case FUSE_HASH_SOURCE_ADDRESS:
        chassis_buf_append_str(out, "    balance source\n");
        hashed = true;
        break;
    case FUSE_HASH_HEADER:
    case FUSE_HASH_COOKIE:
    case FUSE_HASH_QUERY:
        hashed = write_hash_key(route, out);
        break;
    }
    chassis_buf_append_str(out, hashed ? "    hash-type consistent sdbm avalanche\n"
                                       : "    balance roundrobin\n");
    return hashed;
}

/* HAProxy limits servers, not whole backends: the limit of connections is one of each server, and of
 * HTTP/1.1 only, where a request has its connection for itself. */
static void write_breaker(const struct fuse_route *route, struct chassis_buf *head,
                          struct chassis_buf *params)
{
    const struct fuse_breaker *b = &route->breaker;
    if (b->max_requests != 0) {
        chassis_buf_printf(head, "    http-request return status 503 if { be_conn gt %u }\n",
                           (unsigned)b->max_requests);
    }
    if (b->max_pending_requests != 0) {
        chassis_buf_printf(head, "    http-request return status 503 if { queue ge %u }\n",
                           (unsigned)b->max_pending_requests);
    }
    if (b->max_connections != 0 && !route->http2) {
        chassis_buf_printf(params, " maxconn %u", (unsigned)b->max_connections);
    }
}

/* After so many errors in a row a server is down; a connection that succeeds after the ejection time
 * brings it back. */
static void write_outlier(const struct fuse_route *route, struct chassis_buf *params)
{
    const struct fuse_outlier *o = &route->outlier;
    chassis_buf_printf(params,
                       " check inter %llums downinter %llums fall 3 rise 1 observe layer7"
                       " error-limit %u on-error mark-down",
                       (unsigned long long)o->interval_ms, (unsigned long long)o->base_ejection_ms,
                       (unsigned)o->consecutive_errors);
}

static void write_rewrite(const struct fuse_route *route, struct chassis_buf *out)
{
    if (route->prefix_rewrite[0] == '\0' || route->path_kind == FUSE_PATH_REGEX ||
        !fuse_text_is_plain(route->prefix_rewrite)) {
        return;
    }
    chassis_buf_append_str(out, "    http-request set-path '");
    fuse_text_format(out, route->prefix_rewrite);
    if (route->path_kind == FUSE_PATH_PREFIX) {
        chassis_buf_printf(out, "%%[path,bytes(%zu)]", strlen(route->path));
    }
    chassis_buf_append_str(out, "'\n");
}

/* Host and port of "host:port", as HAProxy and as a server's name want them. */
struct place {
    char name[FUSE_SERVER_NAME_MAX];
    bool by_name;
};

static bool is_host_name(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c >= 0x80 || (!isalnum(c) && c != '.' && c != '-' && c != '_')) {
            return false;
        }
    }
    return len != 0 && len <= 253;
}

static bool place_of(const char *address, struct place *ret_place)
{
    const char *colon = strrchr(address, ':');
    char host[256], *end;
    if (colon == NULL || !isdigit((unsigned char)colon[1])) {
        return false;
    }
    unsigned long port = strtoul(colon + 1, &end, 10);
    size_t len = (size_t)(colon - address);
    bool brackets = len > 2 && address[0] == '[' && address[len - 1] == ']';
    len -= brackets ? 2 : 0;
    if (*end != '\0' || port == 0 || port > 65535 || len == 0 || len >= sizeof host) {
        return false;
    }
    memcpy(host, address + brackets, len);
    host[len] = '\0';
    if (strcmp(host, "localhost") == 0) {
        strcpy(host, "127.0.0.1"); /* needs no look-up, and so no new configuration */
    }
    uint8_t v4[4], v6[16], nobody[16] = {0};
    bool is_v4 = inet_pton(AF_INET, host, v4) == 1, is_v6 = inet_pton(AF_INET6, host, v6) == 1;
    if ((is_v4 && memcmp(v4, nobody, 4) == 0) || (is_v6 && memcmp(v6, nobody, 16) == 0) ||
        (!is_v4 && !is_v6 && !is_host_name(host))) {
        return false;
    }
    ret_place->by_name = !is_v4 && !is_v6;
    snprintf(ret_place->name, sizeof ret_place->name, "%s:%lu", host, port);
    return true;
}

static const struct fuse_pool_target *copy_targets(struct fuse_pools *pools,
                                                   const struct fuse_route *route, unsigned *ret_n)
{
    struct fuse_pool_target *out =
        chassis_arena_alloc(&pools->arena, route->n_targets * sizeof *out);
    unsigned n = 0;
    for (unsigned i = 0; i < route->n_targets; i++) {
        const struct fuse_target *t = &route->targets[i];
        if (route->n_targets > 1 && t->weight == 0) {
            continue;
        }
        bool fixed = t->service[0] == '\0';
        out[n++] = (struct fuse_pool_target){
            .service = chassis_arena_strdup(&pools->arena, t->service),
            .address =
                fixed ? chassis_arena_printf(&pools->arena, "%s:%u", t->host, (unsigned)t->port)
                      : "",
            .weight = route->n_targets == 1 ? 1 : t->weight,
        };
    }
    *ret_n = n;
    return out;
}

/* Readable, then unique: "echo.0123456789abcdef". */
static const char *make_name(struct fuse_pools *pools, const struct fuse_pool *pool,
                             const struct fuse_route *route, bool own, struct chassis_view key)
{
    const char *readable = own                                   ? route->name
                           : pool->n_targets == 0                ? "none"
                           : pool->targets[0].service[0] != '\0' ? pool->targets[0].service
                                                                 : pool->targets[0].address;
    char start[49];
    snprintf(start, sizeof start, "%s", readable);
    for (char *c = start; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) && strchr("._-", *c) == NULL) {
            *c = '_';
        }
    }
    uint64_t hash = chassis_fnv1a(key.data, key.len);
    for (bool is_new = false;; hash++) {
        char *name =
            chassis_arena_printf(&pools->arena, "p-%s.%016llx", start, (unsigned long long)hash);
        fuse_texts_put(&pools->names, chassis_view_str(name), 0, &is_new);
        if (is_new) {
            return name;
        }
    }
}

static struct fuse_pool *add_pool(struct fuse_pools *pools)
{
    if (pools->n == pools->cap) {
        pools->cap = pools->cap == 0 ? 64 : pools->cap * 2;
        pools->items = chassis_base_realloc(pools->items, pools->cap * sizeof(void *));
    }
    struct fuse_pool *pool = chassis_arena_zalloc(&pools->arena, sizeof *pool);
    pools->items[pools->n++] = pool;
    return pool;
}

static void write_key(const struct fuse_route *route, const struct chassis_buf *head,
                      const struct chassis_buf *params, bool own, struct chassis_buf *key)
{
    chassis_buf_printf(key, "%s\n%s\n%s\n", own ? route->name : "", (const char *)head->data,
                       params->len != 0 ? (const char *)params->data : "");
    for (unsigned i = 0; i < route->n_targets; i++) {
        const struct fuse_target *t = &route->targets[i];
        chassis_buf_printf(key, "%s %s %u %u\n", t->service, t->host, (unsigned)t->port,
                           route->n_targets == 1 ? 1 : (unsigned)t->weight);
    }
}

const struct fuse_pool *fuse_pools_of_route(struct fuse_pools *pools,
                                            const struct fuse_route *route)
{
    struct chassis_buf head = {0}, params = {0}, key = {0};
    bool own = route->hash_kind != FUSE_HASH_NONE || route->breaker.set || route->outlier.set;
    bool hashed = write_balance(route, &head), is_new = false;
    write_timeouts(route, &head);
    write_retry(route, &head);
    chassis_buf_append_str(&params, route->http2 ? " proto h2" : "");
    if (route->breaker.set) {
        write_breaker(route, &head, &params);
    }
    if (route->outlier.set) {
        write_outlier(route, &params);
    }
    write_rewrite(route, &head);
    write_key(route, &head, &params, own, &key);
    uint32_t at = fuse_texts_put(&pools->keys, chassis_buf_view(&key), pools->n, &is_new);
    if (is_new) {
        struct fuse_pool *pool = add_pool(pools);
        pool->head = chassis_arena_strndup(&pools->arena, head.data, head.len);
        pool->params = chassis_arena_strndup(
            &pools->arena, params.len != 0 ? (void *)params.data : "", params.len);
        pool->targets = copy_targets(pools, route, &pool->n_targets);
        pool->http2 = route->http2;
        pool->hashed = hashed;
        pool->checked = route->outlier.set;
        pool->name = make_name(pools, pool, route, own, chassis_buf_view(&key));
    }
    chassis_buf_fini(&head);
    chassis_buf_fini(&params);
    chassis_buf_fini(&key);
    return pools->items[at];
}

struct share {
    struct place place;
    double of;
};
struct shares {
    struct share *items;
    unsigned n, cap;
};

static void add_share(struct shares *shares, const char *address, double of)
{
    struct place place;
    if (!place_of(address, &place)) {
        return;
    }
    if (shares->n == shares->cap) {
        shares->cap = shares->cap == 0 ? 8 : shares->cap * 2;
        shares->items = chassis_base_realloc(shares->items, shares->cap * sizeof *shares->items);
    }
    shares->items[shares->n++] = (struct share){place, of};
}

static void add_target(struct shares *shares, const struct fuse_pool *pool,
                       const struct fuse_pool_target *target, const struct fuse_model *model)
{
    if (target->service[0] == '\0') {
        add_share(shares, target->address, target->weight);
        return;
    }
    const struct fuse_service *service = fuse_model_service(model, target->service);
    unsigned before = shares->n;
    for (unsigned i = 0; service != NULL && i < service->n_instances; i++) {
        const struct fuse_instance *instance = service->instances[i];
        const char *address = fuse_instance_address(instance, pool->http2);
        if (instance->state == FUSE_INSTANCE_USABLE && address[0] != '\0') {
            add_share(shares, address, target->weight);
        }
    }
    for (unsigned i = before; i < shares->n; i++) {
        shares->items[i].of /= shares->n - before;
    }
}

static int by_server_name(const void *a, const void *b)
{
    const struct share *x = a, *y = b;
    return strcmp(x->place.name, y->place.name);
}

/* Two targets, or two instances, may have the same address: one server with both shares. */
static void merge(struct shares *shares)
{
    if (shares->n < 2) {
        return;
    }
    qsort(shares->items, shares->n, sizeof *shares->items, by_server_name);
    unsigned n = 1;
    for (unsigned i = 1; i < shares->n; i++) {
        if (strcmp(shares->items[i].place.name, shares->items[n - 1].place.name) == 0) {
            shares->items[n - 1].of += shares->items[i].of;
        } else {
            shares->items[n++] = shares->items[i];
        }
    }
    shares->n = n;
}

static unsigned weight_of(double share, double least, double most)
{
    if (most - least <= most * 1e-9) {
        return EVEN_WEIGHT; /* all alike: the same whoever comes and goes */
    }
    double weight = share / most * FUSE_SERVER_WEIGHT_MAX + 0.5;
    return weight < 1 ? 1 : (unsigned)weight;
}

static const char *address_text(struct chassis_arena *arena, const char *name)
{
    const char *colon = strrchr(name, ':');
    if (memchr(name, ':', (size_t)(colon - name)) == NULL) {
        return name;
    }
    return chassis_arena_printf(arena, "[%.*s]%s", (int)(colon - name), name, colon);
}

/* The number a server has on the hash ring: of its name, so that keys stay where they were after a
 * reload and on every HAProxy. */
static uint32_t number_of(const struct fuse_server *servers, unsigned n, const char *name)
{
    uint32_t number = (uint32_t)chassis_fnv1a(name, strlen(name)) & 0x3fffffff;
    for (unsigned i = 0; i < n; i++) {
        if (servers[i].number == number + 1) {
            number++;
            i = (unsigned)-1; /* look again */
        }
    }
    return number + 1;
}

unsigned fuse_pool_servers(const struct fuse_pool *pool, const struct fuse_model *model,
                           struct chassis_arena *arena, struct fuse_server **ret_servers)
{
    struct shares shares = {0};
    for (unsigned i = 0; i < pool->n_targets; i++) {
        add_target(&shares, pool, &pool->targets[i], model);
    }
    merge(&shares);
    double least = 0, most = 0;
    for (unsigned i = 0; i < shares.n; i++) {
        least = i == 0 || shares.items[i].of < least ? shares.items[i].of : least;
        most = shares.items[i].of > most ? shares.items[i].of : most;
    }
    struct fuse_server *servers =
        chassis_arena_zalloc(arena, (shares.n != 0 ? shares.n : 1) * sizeof *servers);
    for (unsigned i = 0; i < shares.n; i++) {
        const struct share *share = &shares.items[i];
        servers[i].name = chassis_arena_strdup(arena, share->place.name);
        servers[i].address = address_text(arena, servers[i].name);
        servers[i].by_name = share->place.by_name;
        servers[i].weight = weight_of(share->of, least, most);
        servers[i].number = pool->hashed ? number_of(servers, i, servers[i].name) : 0;
    }
    free(shares.items);
    *ret_servers = servers;
    return shares.n;
}

void fuse_pool_server_text(const struct fuse_pool *pool, const struct fuse_server *server,
                           struct chassis_buf *out)
{
    chassis_buf_printf(out, "%s weight %u%s", server->address, server->weight, pool->params);
    if (pool->hashed) {
        chassis_buf_printf(out, " id %u", (unsigned)server->number);
    }
}
