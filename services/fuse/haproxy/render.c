#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "fuse/haproxy/lookup.h"
#include "fuse/haproxy/render.h"

static const char description_start[] = "fuse structure ";

/* Requests may take as long as they like, tunnels too: what is dead is found by keep-alive probes of
 * TCP. A header must come in time and an idle connection is closed, so that a worker that was replaced
 * ends. A client's next request on a connection to such a worker is still answered. */
static const char defaults[] = "defaults\n"
                               "    mode http\n"
                               "    option redispatch 1\n"
                               "    option idle-close-on-response\n"
                               "    option tcpka\n"
                               "    option forwardfor\n"
                               "    http-reuse safe\n"
                               "    retries 3\n"
                               "    retry-on conn-failure\n"
                               "    timeout connect 5s\n"
                               "    timeout client 24d\n"
                               "    timeout server 24d\n"
                               "    timeout tunnel 24d\n"
                               "    timeout queue 30s\n"
                               "    timeout http-request 30s\n"
                               "    timeout http-keep-alive 1m\n"
                               "    timeout check 5s\n\n";

/* What the resolver cannot tell stays as it was: a name may stand in /etc/hosts only. */
static const char resolvers[] = "resolvers fuse\n"
                                "    parse-resolv-conf\n"
                                "    hold valid 10s\n"
                                "    hold nx 24d\n"
                                "    hold refused 24d\n"
                                "    hold timeout 24d\n"
                                "    hold other 24d\n"
                                "    hold obsolete 30s\n\n";

struct render {
    const struct fuse_plan_options *options;
    struct fuse_plan *plan;
    struct fuse_texts files;
    struct chassis_buf frontends;
    struct fuse_lookup_route *routes;
    const struct fuse_entry **entries;
    unsigned cap;
    /* of the present listener */
    const char *listener;
    struct fuse_lookup lookup;
};

/* The file's name; made if there is none with this content. */
static const char *file_of(struct render *r, const char *kind, const char *extension,
                           struct chassis_view content)
{
    char name[sizeof((struct fuse_plan_file *)0)->name];
    snprintf(name, sizeof name, "%s-%016llx.%s", kind,
             (unsigned long long)chassis_fnv1a(content.data, content.len), extension);
    struct fuse_plan *plan = r->plan;
    bool is_new = false;
    uint32_t at = fuse_texts_put(&r->files, chassis_view_str(name), plan->n_files, &is_new);
    if (is_new) {
        if (plan->n_files == plan->files_cap) {
            plan->files_cap = plan->files_cap == 0 ? 8 : plan->files_cap * 2;
            plan->files = chassis_base_realloc(plan->files, plan->files_cap * sizeof *plan->files);
        }
        struct fuse_plan_file *file = &plan->files[plan->n_files++];
        *file = (struct fuse_plan_file){.content = {0}};
        memcpy(file->name, name, sizeof name);
        chassis_buf_append_view(&file->content, content);
    }
    return plan->files[at].name;
}

static const struct fuse_secret_files *secret_of(const struct fuse_statics *statics,
                                                 const char *name)
{
    for (unsigned i = 0; i < statics->n_secrets; i++) {
        if (strcmp(statics->secrets[i].name, name) == 0) {
            return &statics->secrets[i];
        }
    }
    return NULL;
}

static void write_tls(struct render *r, const struct fuse_secret_files *secret)
{
    struct chassis_buf pem = {0};
    chassis_buf_append_view(&pem, secret->certificate);
    chassis_buf_append_byte(&pem, '\n');
    chassis_buf_append_view(&pem, secret->key);
    chassis_buf_printf(&r->frontends, " ssl crt %s alpn h2,http/1.1",
                       file_of(r, "tls", "pem", chassis_buf_view(&pem)));
    chassis_buf_fini(&pem);
    if (secret->ca.len != 0) {
        chassis_buf_printf(&r->frontends, " ca-file %s verify required",
                           file_of(r, "ca", "pem", secret->ca));
    }
}

/* False: its certificate is not there. */
static bool write_bind(struct render *r, const struct fuse_socket_listener *listener)
{
    const struct fuse_secret_files *secret = NULL;
    if (listener->secret != NULL && listener->secret[0] != '\0') {
        secret = secret_of(r->options->statics, listener->secret);
        if (secret == NULL || secret->certificate.len == 0 || secret->key.len == 0) {
            return false;
        }
    }
    const char *address = listener->address != NULL ? listener->address : "";
    bool brackets = strchr(address, ':') != NULL && address[0] != '[';
    struct chassis_buf where = {0};
    chassis_buf_printf(&where, "%s%s%s:%u", brackets ? "[" : "", address, brackets ? "]" : "",
                       (unsigned)listener->port);
    bool fine = fuse_text_is_plain((const char *)where.data);
    if (fine) {
        chassis_buf_append_str(&r->frontends, "    bind ");
        fuse_text_word(&r->frontends, (const char *)where.data);
        if (secret != NULL) {
            write_tls(r, secret);
        }
        chassis_buf_append_byte(&r->frontends, '\n');
    }
    chassis_buf_fini(&where);
    return fine;
}

static void make_room(struct render *r, unsigned n)
{
    if (n > r->cap) {
        r->cap = n + n / 2;
        r->entries = chassis_base_realloc(r->entries, r->cap * sizeof *r->entries);
        r->routes = chassis_base_realloc(r->routes, r->cap * sizeof *r->routes);
    }
}

static bool add_host(const char *host, void *data)
{
    struct render *r = data;
    const struct fuse_plan_options *o = r->options;
    unsigned n = fuse_view_vhost(o->view, host, r->listener, r->entries, r->cap);
    if (n > r->cap) {
        make_room(r, n);
        fuse_view_vhost(o->view, host, r->listener, r->entries, r->cap);
    }
    unsigned kept = 0;
    for (unsigned i = 0; i < n; i++) {
        if (o->hidden == NULL || !o->hidden(r->entries[i], o->data)) {
            const struct fuse_route *route = r->entries[i]->route;
            r->routes[kept++] = (struct fuse_lookup_route){
                route, fuse_pools_of_route(&r->plan->pools, route)->name};
        }
    }
    r->plan->n_routes += kept;
    fuse_lookup_add_host(&r->lookup, host, r->routes, kept);
    return true;
}

static void write_map(struct render *r, const char *kind, const struct chassis_buf *lines)
{
    chassis_buf_append_str(&r->frontends, file_of(r, kind, "map", chassis_buf_view(lines)));
}

/* txn.v = the number of the virtual host. */
static void write_host_rules(struct render *r)
{
    struct chassis_buf *out = &r->frontends;
    const struct fuse_lookup *l = &r->lookup;
    static const char none_yet[] = " if !{ var(txn.v) -m found }\n";
    chassis_buf_append_str(out, "    http-request set-var(txn.h) req.hdr(host),host_only,lower\n");
    if (l->hosts.len != 0) {
        chassis_buf_append_str(out, "    http-request set-var(txn.v) var(txn.h),map_str(");
        write_map(r, "hosts", &l->hosts);
        chassis_buf_append_str(out, ")\n");
    }
    if (l->wild.len != 0) {
        chassis_buf_append_str(out, "    http-request set-var(txn.t) var(txn.h),regsub(^.[^.]*,)");
        chassis_buf_append_str(out, none_yet);
    }
    for (unsigned labels = 127; labels > 0; labels--) {
        if ((l->wild_labels[labels / 8] & 1u << labels % 8) != 0) {
            chassis_buf_printf(
                out, "    http-request set-var(txn.v) var(txn.t),field(-1,.,%u),map_str(", labels);
            write_map(r, "wild", &l->wild);
            chassis_buf_printf(out, ")%s", none_yet);
        }
    }
    if (l->any_host != 0) {
        chassis_buf_printf(out, "    http-request set-var(txn.v) str(%u)%s", l->any_host, none_yet);
    }
}

/* txn.n = the place of the path (lookup.h). */
static void write_path_rules(struct render *r)
{
    struct chassis_buf *out = &r->frontends;
    const struct fuse_lookup *l = &r->lookup;
    chassis_buf_append_str(out, "    http-request set-var-fmt(txn.k) %[var(txn.v)]:%[path]\n");
    if (l->exact.len != 0) {
        chassis_buf_append_str(out, "    http-request set-var(txn.n) var(txn.k),map_str(");
        write_map(r, "exact", &l->exact);
        chassis_buf_append_str(out, ")\n");
    }
    if (l->prefix.len != 0) {
        chassis_buf_append_str(out, "    http-request set-var(txn.n) var(txn.k),map_beg(");
        write_map(r, "prefix", &l->prefix);
        chassis_buf_append_str(out, ") if !{ var(txn.n) -m found }\n");
    }
    if (l->classes.len == 0) {
        return;
    }
    static const char open[] = " if { var(txn.n) -m beg ? }";
    chassis_buf_printf(out,
                       "    http-request set-var(txn.g) str(g)%s"
                       " { req.fhdr(content-type,1) -m beg application/grpc+ application/grpc; }\n"
                       "    http-request set-var(txn.g) str(g)%s"
                       " { req.fhdr(content-type,1) -m str application/grpc }"
                       " { req.fhdr_cnt(content-type) eq 1 }\n",
                       open, open);
    for (unsigned i = 0; i < 2; i++) {
        chassis_buf_printf(out,
                           "    http-request set-var-fmt(txn.c) %%[var(txn.n)].%%[var(txn.g)]%s%s\n"
                           "    http-request set-var(txn.n) var(txn.c),map_str(",
                           i == 0 ? ".%[method]" : "", open);
        write_map(r, "classes", &l->classes);
        chassis_buf_printf(out, ")%s\n", open);
    }
}

static int write_frontend(struct render *r, const struct fuse_socket_listener *listener,
                          unsigned number, struct chassis_error *err)
{
    size_t before = r->frontends.len;
    chassis_buf_printf(&r->frontends, "frontend f%u\n", number);
    if (!write_bind(r, listener)) {
        r->frontends.len = before;
        return 0;
    }
    r->listener = listener->name;
    fuse_view_each_host(r->options->view, listener->name, add_host, r);
    int rc = 0;
    if (fuse_lookup_is_too_large(&r->lookup)) {
        rc = chassis_error_set(err, CHASSIS_TOO_LARGE,
                               "routes of listener '%s': more than %d rules of headers, query "
                               "parameters and regular expressions",
                               listener->name, FUSE_LOOKUP_RULES_MAX);
    } else if (r->lookup.n_hosts != 0) {
        write_host_rules(r);
        write_path_rules(r);
        chassis_buf_append_view(&r->frontends, chassis_buf_view(&r->lookup.headers.rules));
        chassis_buf_append_str(&r->frontends,
                               "    use_backend %[var(txn.n)] unless { var(txn.n) -m beg ! ? }\n");
        chassis_buf_append_view(&r->frontends, chassis_buf_view(&r->lookup.rules));
    }
    chassis_buf_append_str(&r->frontends, "    default_backend none\n\n");
    fuse_lookup_fini(&r->lookup);
    r->lookup = (struct fuse_lookup){0};
    return rc;
}

static bool in_group(const struct fuse_socket_listener *listener, const char *group)
{
    for (unsigned i = 0; i < listener->n_groups; i++) {
        if (strcmp(listener->groups[i], group) == 0) {
            return true;
        }
    }
    return listener->n_groups == 0;
}

static int write_frontends(struct render *r, struct chassis_error *err)
{
    const struct fuse_statics *statics = r->options->statics;
    const char *group = fuse_view_group(r->options->view);
    int rc = 0;
    for (unsigned i = 0; i < statics->n_listeners && rc == 0; i++) {
        if (in_group(&statics->listeners[i], group)) {
            rc = write_frontend(r, &statics->listeners[i], i, err);
        }
    }
    if (r->frontends.len == 0) { /* without any it would not start */
        chassis_buf_append_str(&r->frontends, "frontend idle\n    bind ");
        struct chassis_buf socket = {0};
        chassis_buf_printf(&socket, "unix@%s/idle.sock", r->options->directory);
        fuse_text_word(&r->frontends, (const char *)socket.data);
        chassis_buf_fini(&socket);
        chassis_buf_append_str(&r->frontends, " mode 600\n    default_backend none\n\n");
    }
    return rc;
}

static int by_pool_name(const void *a, const void *b)
{
    const struct fuse_pool *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static void write_server(const struct render *r, const struct fuse_pool *pool,
                         const struct fuse_server *server, struct chassis_buf *out)
{
    chassis_buf_printf(out, "    server %s ", server->name);
    fuse_pool_server_text(pool, server, out);
    if (server->by_name) {
        bool dns = r->options->has_dns && strchr(server->address, '.') != NULL;
        chassis_buf_append_str(out, " init-addr libc,none");
        chassis_buf_append_str(out, dns ? " resolvers fuse" : "");
    }
    chassis_buf_append_byte(out, '\n');
}

static void write_pools(struct render *r, struct chassis_buf *structure)
{
    struct fuse_plan *plan = r->plan;
    struct chassis_buf *out = &plan->config;
    const struct fuse_model *model = fuse_view_model(r->options->view);
    if (plan->pools.n > 1) {
        qsort(plan->pools.items, plan->pools.n, sizeof *plan->pools.items, by_pool_name);
    }
    plan->servers = chassis_base_zalloc((plan->pools.n + 1) * sizeof *plan->servers);
    for (unsigned i = 0; i < plan->pools.n; i++) {
        const struct fuse_pool *pool = plan->pools.items[i];
        struct fuse_plan_servers *servers = &plan->servers[i];
        servers->n = fuse_pool_servers(pool, model, &plan->arena, &servers->items);
        chassis_buf_printf(structure, "%s %s\n", pool->name, pool->head);
        chassis_buf_printf(out, "backend %s\n%s", pool->name, pool->head);
        for (unsigned s = 0; s < servers->n; s++) {
            write_server(r, pool, &servers->items[s], out);
        }
        chassis_buf_append_byte(out, '\n');
    }
}

static void write_global(struct render *r, struct chassis_buf *out)
{
    struct chassis_buf socket = {0};
    chassis_buf_printf(&socket, "%s/%s", r->options->directory, FUSE_PLAN_RUNTIME_SOCKET);
    chassis_buf_append_str(out, "# Made by Fuse, which replaces it when routes change.\n"
                                "global\n"
                                "    default-path config\n"
                                "    noreuseport\n"
                                "    hard-stop-after 10m\n"
                                "    mworker-max-reloads 20\n"
                                "    ssl-default-bind-options ssl-min-ver TLSv1.2\n"
                                "    stats socket ");
    fuse_text_word(out, (const char *)socket.data);
    chassis_buf_append_str(out, " mode 600 level admin expose-fd listeners\n"
                                "    stats timeout 1m\n");
    chassis_buf_fini(&socket);
}

/* Everything but the pools' sections, then those; the description comes last of the beginning, as it
 * names the structure, which is made of all the rest. */
static void put_together(struct render *r)
{
    struct fuse_plan *plan = r->plan;
    struct chassis_buf structure = {0}, pools = {0}, *out = &plan->config;
    write_pools(r, &structure);
    pools = chassis_buf_move(out);
    write_global(r, out);
    chassis_buf_append_view(&structure, chassis_buf_view(out));
    chassis_buf_append_view(&structure, chassis_buf_view(&r->frontends));
    if (r->options->has_dns) {
        chassis_buf_append_str(&structure, resolvers);
    }
    chassis_buf_append_str(&structure, defaults);
    plan->structure = chassis_fnv1a(structure.data, structure.len);
    plan->structure += plan->structure == 0; /* 0 = none */
    chassis_buf_printf(out, "    description '%s%016llx'\n\n", description_start,
                       (unsigned long long)plan->structure);
    chassis_buf_append_str(out, defaults);
    if (r->options->has_dns) {
        chassis_buf_append_str(out, resolvers);
    }
    chassis_buf_append_view(out, chassis_buf_view(&r->frontends));
    chassis_buf_append_str(out, "backend none\n"
                                "    http-request return status 404 content-type text/plain "
                                "string \"no route\\n\"\n\n");
    chassis_buf_append_view(out, chassis_buf_view(&pools));
    chassis_buf_fini(&pools);
    chassis_buf_fini(&structure);
}

int fuse_plan_new(const struct fuse_plan_options *options, struct fuse_plan **ret_plan,
                  struct chassis_error *err)
{
    struct fuse_plan *plan = chassis_base_zalloc(sizeof *plan);
    struct render r = {.options = options, .plan = plan};
    chassis_arena_init(&plan->arena, NULL, 0, 0);
    fuse_pools_init(&plan->pools);
    plan->revision = fuse_model_revision(fuse_view_model(options->view));
    make_room(&r, 64);
    int rc = write_frontends(&r, err);
    if (rc == 0) {
        put_together(&r);
        *ret_plan = plan;
    } else {
        fuse_plan_free(plan);
    }
    fuse_texts_fini(&r.files);
    chassis_buf_fini(&r.frontends);
    free(r.entries);
    free(r.routes);
    return rc;
}

void fuse_plan_free(struct fuse_plan *plan)
{
    if (plan == NULL) {
        return;
    }
    for (unsigned i = 0; i < plan->n_files; i++) {
        chassis_buf_fini(&plan->files[i].content);
    }
    free(plan->files);
    free(plan->servers);
    chassis_buf_fini(&plan->config);
    fuse_pools_fini(&plan->pools);
    chassis_arena_fini(&plan->arena);
    free(plan);
}

uint64_t fuse_plan_structure_of(const char *description)
{
    const char *at = strstr(description, description_start);
    return at != NULL ? strtoull(at + sizeof description_start - 1, NULL, 16) : 0;
}
