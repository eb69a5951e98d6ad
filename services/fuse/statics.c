#include "statics.h"

#include <chassis/arena.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/identity.h"
#include "base/assert.h"

enum { PARTS = 3, LISTENERS_MAX = 64, SECRETS_MAX = 256 };

struct files { /* of a secret */
    struct chassis_auth_identity *identity;
    const struct chassis_auth_tls *tls; /* what the secret shows */
    struct chassis_auth_watch watch;
};

struct fuse_static_set {
    struct fuse_statics statics;
    struct chassis_arena arena; /* texts */
    struct fuse_socket_listener *listeners;
    struct fuse_secret_files *secrets;
    struct files *files; /* of each secret */
    /* watching */
    struct fuse_statics_watch watch;
    unsigned n_watched;
    struct chassis_task change;
    atomic_bool changing; /* `change` is posted, and has not begun */
    void (*stopped)(void *data);
    void *stopped_data;
};

/* ---- listeners ---- */

struct parse {
    struct fuse_static_set *set;
    const char *key; /* "fuse.listeners.<name>" */
    struct chassis_error *err;
};

static int bad(struct parse *p, const char *what)
{
    return chassis_error_set(p->err, CHASSIS_CONFIG,
                             "%s: %s; expected http://address:port?group=a,b or "
                             "https://address:port?secret=name",
                             p->key, what);
}

static int parse_groups(struct parse *p, const char *list, size_t len,
                        struct fuse_socket_listener *l)
{
    const char **groups = chassis_arena_alloc(&p->set->arena, FUSE_LIST_MAX * sizeof(const char *));
    if (len == 0) {
        return bad(p, "a group without a name");
    }
    for (const char *end = list + len; list < end;) {
        const char *comma = memchr(list, ',', (size_t)(end - list));
        size_t n = comma != NULL ? (size_t)(comma - list) : (size_t)(end - list);
        if (n == 0 || l->n_groups == FUSE_LIST_MAX) {
            return bad(p, n == 0 ? "a group without a name" : "more than 16 groups");
        }
        groups[l->n_groups++] = chassis_arena_strndup(&p->set->arena, list, n);
        list += n + (comma != NULL);
    }
    l->groups = groups;
    return 0;
}

static int parse_query(struct parse *p, const char *query, struct fuse_socket_listener *l)
{
    while (*query != '\0') {
        size_t len = strcspn(query, "&");
        if (strncmp(query, "group=", 6) == 0) {
            int rc = parse_groups(p, query + 6, len - 6, l);
            if (rc != 0) {
                return rc;
            }
        } else if (strncmp(query, "secret=", 7) == 0 && len > 7) {
            l->secret = chassis_arena_strndup(&p->set->arena, query + 7, len - 7);
        } else {
            return bad(p, "an unknown parameter");
        }
        query += len + (query[len] == '&');
    }
    return 0;
}

static bool has_secret(const struct fuse_static_set *set, const char *name)
{
    for (unsigned i = 0; i < set->statics.n_secrets; i++) {
        if (strcmp(set->secrets[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static int parse_listener(struct parse *p, const char *url, struct fuse_socket_listener *l)
{
    bool tls = strncmp(url, "https://", 8) == 0;
    if (!tls && strncmp(url, "http://", 7) != 0) {
        return bad(p, "neither http nor https");
    }
    const char *host = url + (tls ? 8 : 7);
    size_t len = strcspn(host, "?/");
    const char *colon = host + len;
    while (colon > host && *colon != ':') {
        colon--;
    }
    char *end;
    unsigned long port = colon > host ? strtoul(colon + 1, &end, 10) : 0;
    if (port == 0 || port > UINT16_MAX || end != host + len) {
        return bad(p, "no port of 1 to 65535");
    }
    bool bracketed = host[0] == '[' && colon[-1] == ']';
    l->address = chassis_arena_strndup(&p->set->arena, host + bracketed,
                                       (size_t)(colon - host) - 2 * bracketed);
    l->port = (uint16_t)port;
    const char *rest = host + len + (host[len] == '/');
    if (*rest != '\0' && *rest != '?') {
        return bad(p, "a path");
    }
    int rc = *rest == '?' ? parse_query(p, rest + 1, l) : 0;
    if (rc != 0) {
        return rc;
    }
    if (tls != (l->secret != NULL)) {
        return bad(p, tls ? "https without a secret" : "a secret without https");
    }
    if (tls && !has_secret(p->set, l->secret)) {
        return chassis_error_set(p->err, CHASSIS_CONFIG, "%s: there is no fuse.secrets.%s", p->key,
                                 l->secret);
    }
    return 0;
}

static int open_listeners(struct fuse_static_set *set, const struct fuse_statics_config *config,
                          struct chassis_error *err)
{
    size_t n = config->listeners.n;
    if (n > LISTENERS_MAX) {
        return chassis_error_set(err, CHASSIS_CONFIG, "fuse.listeners: %zu are more than %d", n,
                                 LISTENERS_MAX);
    }
    set->listeners = chassis_base_zalloc((n + 1) * sizeof *set->listeners);
    if (config->listener_port != 0) {
        set->listeners[set->statics.n_listeners++] = (struct fuse_socket_listener){
            .name = "default",
            .address = chassis_arena_strdup(&set->arena, config->listener_address),
            .port = (uint16_t)config->listener_port,
        };
    }
    for (size_t i = 0; i < n; i++) {
        struct fuse_socket_listener *l = &set->listeners[set->statics.n_listeners];
        struct parse p = {set, NULL, err};
        l->name = chassis_arena_strdup(&set->arena, config->listeners.items[i].name);
        p.key = chassis_arena_printf(&set->arena, "fuse.listeners.%s", l->name);
        if (strcmp(l->name, "default") == 0) {
            return bad(&p, "the listener 'default' is fuse.listener.address and .port");
        }
        int rc = parse_listener(&p, config->listeners.items[i].value, l);
        if (rc != 0) {
            return rc;
        }
        set->statics.n_listeners++;
    }
    set->statics.listeners = set->listeners;
    return 0;
}

/* ---- secrets ---- */

static void point(struct fuse_secret_files *secret, const struct files *f)
{
    secret->certificate = chassis_buf_view(&f->tls->certificate);
    secret->key = chassis_buf_view(&f->tls->key);
    secret->ca = chassis_buf_view(&f->tls->ca);
}

static int open_secret(struct fuse_static_set *set, const struct chassis_config_pair *pair,
                       struct chassis_error *err)
{
    struct files *f = &set->files[set->statics.n_secrets];
    struct fuse_secret_files *secret = &set->secrets[set->statics.n_secrets];
    const char *rest = pair->value, *paths[PARTS] = {NULL}; /* certificate, key, ca */
    unsigned n = 0;
    for (; *rest != '\0' && n < PARTS; n++) {
        size_t len = strcspn(rest, ",");
        paths[n] = chassis_arena_strndup(&set->arena, rest, len);
        rest += len + (rest[len] == ',');
    }
    if (n < 2 || *rest != '\0') {
        return chassis_error_set(err, CHASSIS_CONFIG,
                                 "fuse.secrets.%s: expected certificate.pem,key.pem[,ca.pem]",
                                 pair->name);
    }
    int rc = chassis_auth_identity_open(paths[2], paths[0], paths[1], &f->identity, err);
    if (rc != 0) {
        chassis_error_wrap(err, "fuse.secrets.%s", pair->name);
        return rc;
    }
    f->tls = chassis_auth_identity_ref(f->identity);
    secret->name = chassis_arena_strdup(&set->arena, pair->name);
    point(secret, f);
    set->statics.n_secrets++;
    return 0;
}

static int open_secrets(struct fuse_static_set *set, const struct fuse_statics_config *config,
                        struct chassis_error *err)
{
    size_t n = config->secrets.n;
    if (n > SECRETS_MAX) {
        return chassis_error_set(err, CHASSIS_CONFIG, "fuse.secrets: %zu are more than %d", n,
                                 SECRETS_MAX);
    }
    set->secrets = chassis_base_zalloc((n + 1) * sizeof *set->secrets);
    set->files = chassis_base_zalloc((n + 1) * sizeof *set->files);
    set->statics.secrets = set->secrets;
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = open_secret(set, &config->secrets.items[i], err);
    }
    return rc;
}

/* ---- watching ---- */

/* On the thread that looks at files. */
static void on_identity(void *data)
{
    struct fuse_static_set *set = data;
    if (!atomic_exchange(&set->changing, true)) {
        chassis_post(set->watch.loop, &set->change);
    }
}

/* What was shown before lives until everybody was told. */
static void change(struct chassis_task *task)
{
    struct fuse_static_set *set = chassis_container_of(task, struct fuse_static_set, change);
    const struct chassis_auth_tls **old;
    bool changed = false;
    atomic_store(&set->changing, false);
    if (set->stopped != NULL) {
        set->stopped(set->stopped_data);
        return;
    }
    old = chassis_base_zalloc((set->statics.n_secrets + 1) * sizeof *old);
    for (unsigned i = 0; i < set->statics.n_secrets; i++) {
        struct files *f = &set->files[i];
        old[i] = f->tls;
        f->tls = chassis_auth_identity_ref(f->identity);
        changed = changed || f->tls != old[i];
        point(&set->secrets[i], f);
    }
    if (changed) {
        set->watch.changed(set->watch.data);
    }
    for (unsigned i = 0; i < set->statics.n_secrets; i++) {
        chassis_auth_identity_unref(old[i]);
    }
    free(old);
}

void fuse_statics_watch(struct fuse_static_set *set, const struct fuse_statics_watch *watch)
{
    set->watch = *watch;
    set->change.run = change;
    for (; set->n_watched < set->statics.n_secrets; set->n_watched++) {
        struct files *f = &set->files[set->n_watched];
        f->watch = (struct chassis_auth_watch){.changed = on_identity, .data = set};
        chassis_auth_watch_start(f->identity, &f->watch);
    }
    if (set->n_watched != 0) {
        on_identity(set); /* what changed since they were opened */
    }
}

void fuse_statics_stop(struct fuse_static_set *set, void (*stopped)(void *data), void *data)
{
    while (set->n_watched > 0) {
        chassis_auth_watch_stop(&set->files[--set->n_watched].watch);
    }
    if (atomic_load(&set->changing)) {
        set->stopped = stopped;
        set->stopped_data = data;
        return;
    }
    stopped(data);
}

/* ---- life ---- */

int fuse_statics_open(const struct fuse_statics_config *config, struct fuse_static_set **ret_set,
                      struct chassis_error *err)
{
    struct fuse_static_set *set = chassis_base_zalloc(sizeof *set);
    chassis_arena_init(&set->arena, NULL, 0, 0);
    int rc = open_secrets(set, config, err);
    rc = rc == 0 ? open_listeners(set, config, err) : rc;
    if (rc != 0) {
        fuse_statics_close(set);
        return rc;
    }
    *ret_set = set;
    return 0;
}

const struct fuse_statics *fuse_statics_of(const struct fuse_static_set *set)
{
    return &set->statics;
}

void fuse_statics_close(struct fuse_static_set *set)
{
    if (set == NULL) {
        return;
    }
    for (unsigned i = 0; i < set->statics.n_secrets; i++) {
        chassis_auth_identity_unref(set->files[i].tls);
        chassis_auth_identity_close(set->files[i].identity);
    }
    free(set->listeners);
    free(set->secrets);
    free(set->files);
    chassis_arena_fini(&set->arena);
    free(set);
}
