#include "statics.h"

#include <chassis/arena.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "auth/auth.h"
#include "base/assert.h"

enum { PARTS = 3, INTERVAL_MS = 2000, LISTENERS_MAX = 64, SECRETS_MAX = 256 };

/* Enough of a file's state to see that it was replaced or written. */
struct stamp {
    uint64_t device, inode, size;
    int64_t modified_ns;
};
struct files {
    char *paths[PARTS]; /* certificate, key, ca or NULL */
    struct stamp read[PARTS], seen[PARTS];
    struct chassis_auth_tls tls, fresh;
    bool has_fresh;
};

struct fuse_static_set {
    struct fuse_statics statics;
    struct chassis_arena arena; /* texts */
    struct fuse_socket_listener *listeners;
    struct fuse_secret_files *secrets;
    struct files *files; /* of each secret */
    /* watching */
    struct fuse_statics_watch watch;
    struct chassis_timer timer;
    struct chassis_task look, looked;
    bool looking;
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

static void take_stamps(const struct files *f, struct stamp ret_stamps[PARTS])
{
    for (unsigned i = 0; i < PARTS; i++) {
        struct stat st;
        ret_stamps[i] = (struct stamp){0};
        if (f->paths[i] != NULL && stat(f->paths[i], &st) == 0) {
            ret_stamps[i] =
                (struct stamp){(uint64_t)st.st_dev, (uint64_t)st.st_ino, (uint64_t)st.st_size,
                               (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec};
        }
    }
}

static bool same(const struct stamp a[PARTS], const struct stamp b[PARTS])
{
    bool equal = true;
    for (unsigned i = 0; i < PARTS; i++) {
        equal = equal && a[i].device == b[i].device && a[i].inode == b[i].inode &&
                a[i].size == b[i].size && a[i].modified_ns == b[i].modified_ns;
    }
    return equal;
}

static void point(struct fuse_secret_files *secret, const struct files *f)
{
    secret->certificate = chassis_buf_view(&f->tls.certificate);
    secret->key = chassis_buf_view(&f->tls.key);
    secret->ca = chassis_buf_view(&f->tls.ca);
}

static int open_secret(struct fuse_static_set *set, const struct chassis_config_pair *pair,
                       struct chassis_error *err)
{
    struct files *f = &set->files[set->statics.n_secrets];
    struct fuse_secret_files *secret = &set->secrets[set->statics.n_secrets];
    const char *rest = pair->value;
    char warning[256] = "";
    unsigned n = 0;
    for (; *rest != '\0' && n < PARTS; n++) {
        size_t len = strcspn(rest, ",");
        f->paths[n] = chassis_arena_strndup(&set->arena, rest, len);
        rest += len + (rest[len] == ',');
    }
    if (n < 2 || *rest != '\0') {
        return chassis_error_set(err, CHASSIS_CONFIG,
                                 "fuse.secrets.%s: expected certificate.pem,key.pem[,ca.pem]",
                                 pair->name);
    }
    take_stamps(f, f->read);
    int rc = chassis_auth_tls_load(f->paths[2], f->paths[0], f->paths[1], &f->tls, warning, err);
    if (rc != 0) {
        chassis_error_wrap(err, "fuse.secrets.%s", pair->name);
        return rc;
    }
    memcpy(f->seen, f->read, sizeof f->seen);
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

/* ---- looking ---- */

/* On a worker, which has `files` until it posts back; the loop reads only what point() gave. */
static void look(struct chassis_task *task)
{
    struct fuse_static_set *set = chassis_container_of(task, struct fuse_static_set, look);
    for (unsigned i = 0; i < set->statics.n_secrets; i++) {
        struct files *f = &set->files[i];
        struct stamp now[PARTS];
        struct chassis_error err = {0};
        char warning[256] = "";
        take_stamps(f, now);
        bool rested = same(now, f->seen);
        memcpy(f->seen, now, sizeof f->seen);
        if (!rested || same(now, f->read)) {
            continue;
        }
        memcpy(f->read, now, sizeof f->read); /* what is bad is not tried again until it changes */
        if (chassis_auth_tls_load(f->paths[2], f->paths[0], f->paths[1], &f->fresh, warning,
                                  &err) == 0) {
            f->has_fresh = true;
        } else {
            chassis_log_error(set->watch.log, "a secret's files cannot be used: the old ones stay",
                              chassis_f_str("secret", set->secrets[i].name), chassis_f_err(&err));
        }
    }
    chassis_post(set->watch.loop, &set->looked);
}

static void on_timer(struct chassis_timer *timer)
{
    struct fuse_static_set *set = chassis_container_of(timer, struct fuse_static_set, timer);
    set->looking = true;
    chassis_post(set->watch.workers, &set->look);
}

static void arm(struct fuse_static_set *set)
{
    uint64_t ms = set->watch.interval_ms != 0 ? set->watch.interval_ms : INTERVAL_MS;
    chassis_post_after(set->watch.loop, &set->timer, ms * CHASSIS_NS_PER_MS);
}

static void looked(struct chassis_task *task)
{
    struct fuse_static_set *set = chassis_container_of(task, struct fuse_static_set, looked);
    bool changed = false;
    set->looking = false;
    if (set->stopped != NULL) {
        set->stopped(set->stopped_data);
        return;
    }
    for (unsigned i = 0; i < set->statics.n_secrets; i++) {
        struct files *f = &set->files[i];
        if (f->has_fresh) {
            struct chassis_auth_tls old = f->tls;
            f->tls = f->fresh;
            f->fresh = old; /* lives until everybody was told */
            point(&set->secrets[i], f);
            changed = true;
            chassis_log_info(set->watch.log, "a secret's files were read again",
                             chassis_f_str("secret", set->secrets[i].name));
        }
    }
    if (changed) {
        set->watch.changed(set->watch.data);
    }
    for (unsigned i = 0; i < set->statics.n_secrets; i++) {
        if (set->files[i].has_fresh) {
            chassis_auth_tls_fini(&set->files[i].fresh);
            set->files[i].has_fresh = false;
        }
    }
    arm(set);
}

void fuse_statics_watch(struct fuse_static_set *set, const struct fuse_statics_watch *watch)
{
    set->watch = *watch;
    set->timer.run = on_timer;
    set->look.run = look;
    set->looked.run = looked;
    if (set->statics.n_secrets != 0) {
        arm(set);
    }
}

void fuse_statics_stop(struct fuse_static_set *set, void (*stopped)(void *data), void *data)
{
    if (set->looking) {
        set->stopped = stopped;
        set->stopped_data = data;
        return;
    }
    if (set->watch.loop != NULL) {
        chassis_cancel(set->watch.loop, &set->timer);
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
        chassis_auth_tls_fini(&set->files[i].tls);
        if (set->files[i].has_fresh) {
            chassis_auth_tls_fini(&set->files[i].fresh);
        }
    }
    free(set->listeners);
    free(set->secrets);
    free(set->files);
    chassis_arena_fini(&set->arena);
    free(set);
}
