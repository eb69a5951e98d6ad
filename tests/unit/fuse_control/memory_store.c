#include "memory_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "fuse/control_plane/convert.h"

/* One answer, or one event of the watch, on its way. */
struct pending {
    struct chassis_timer timer;
    struct memory_store *store;
    void (*run)(struct pending *p);
    char name[129];
    struct chassis_buf route, record;
    uint64_t expected, version, created;
    unsigned keep;
    fuse_store_done_cb written;
    fuse_store_route_cb read;
    fuse_store_versions_cb versions;
    void *data;
};

static struct memory_store *store_of(struct fuse_store *store)
{
    return chassis_container_of(store, struct memory_store, store);
}

static void run_pending(struct chassis_timer *timer)
{
    struct pending *p = chassis_container_of(timer, struct pending, timer);
    p->run(p);
    chassis_buf_fini(&p->route);
    chassis_buf_fini(&p->record);
    free(p);
}

static struct pending *later(struct memory_store *s, uint64_t delay_ns, const char *name,
                             void (*run)(struct pending *p))
{
    struct pending *p = chassis_base_zalloc(sizeof *p);
    p->store = s;
    p->run = run;
    p->timer.run = run_pending;
    snprintf(p->name, sizeof p->name, "%s", name);
    chassis_post_after(s->loop, &p->timer, delay_ns);
    return p;
}

static struct memory_route *find(struct memory_store *s, const char *name)
{
    for (unsigned i = 0; i < s->n_routes; i++) {
        if (strcmp(s->routes[i].name, name) == 0) {
            return &s->routes[i];
        }
    }
    return NULL;
}

struct memory_route *memory_store_route(struct memory_store *s, const char *name)
{
    struct memory_route *r = find(s, name);
    return r != NULL && r->encoded.len != 0 ? r : NULL;
}

unsigned memory_store_versions(const struct memory_store *s, const char *name)
{
    unsigned n = 0;
    for (unsigned i = 0; i < s->n_versions; i++) {
        n += strcmp(s->versions[i].name, name) == 0;
    }
    return n;
}

/* ---- the watch ---- */

static void tell(struct pending *p)
{
    struct fuse_problems problems = {0};
    if (p->route.len == 0) {
        fuse_model_delete_route(p->store->model, p->name, p->version);
        return;
    }
    struct fuse_route *route = fuse_route_of_bytes(chassis_buf_view(&p->route), &problems);
    CHASSIS_ASSERT(route != NULL);
    fuse_model_put_route(p->store->model, route, p->version, p->created, 0, "store");
    fuse_route_unref(route);
}

static uint64_t commit(struct memory_store *s, const char *name, struct chassis_view encoded)
{
    struct memory_route *r = find(s, name);
    if (r == NULL) {
        CHASSIS_ASSERT(s->n_routes < MEMORY_ROUTES);
        r = &s->routes[s->n_routes++];
        snprintf(r->name, sizeof r->name, "%s", name);
    }
    s->commits++;
    r->version = ++s->revision;
    r->created = r->encoded.len == 0 ? r->version : r->created;
    chassis_buf_clear(&r->encoded);
    chassis_buf_append_view(&r->encoded, encoded);
    struct pending *p = later(s, s->watch_delay_ns, name, tell);
    chassis_buf_append_view(&p->route, encoded);
    p->version = r->version;
    p->created = r->created;
    return r->version;
}

uint64_t memory_store_put(struct memory_store *s, const char *name, struct chassis_view encoded)
{
    return commit(s, name, encoded);
}

/* ---- the operations ---- */

static void prune(struct memory_store *s, const char *name, unsigned keep)
{
    unsigned surplus = memory_store_versions(s, name);
    surplus = surplus > keep ? surplus - keep : 0;
    for (unsigned i = 0; i < s->n_versions && surplus != 0;) {
        if (strcmp(s->versions[i].name, name) == 0) {
            chassis_buf_fini(&s->versions[i].encoded);
            memmove(&s->versions[i], &s->versions[i + 1],
                    (--s->n_versions - i) * sizeof s->versions[0]);
            surplus--;
        } else {
            i++;
        }
    }
}

static void apply(struct pending *p)
{
    struct memory_store *s = p->store;
    CHASSIS_ASSERT(s->n_versions < MEMORY_VERSIONS);
    p->version = commit(s, p->name, chassis_buf_view(&p->route));
    struct memory_version *v = &s->versions[s->n_versions++];
    *v = (struct memory_version){.version = p->version};
    snprintf(v->name, sizeof v->name, "%s", p->name);
    v->encoded = chassis_buf_move(&p->record);
    prune(s, p->name, p->keep);
}

static void run_write(struct pending *p)
{
    struct memory_store *s = p->store;
    struct chassis_error err = {0};
    if (s->rivals != 0) {
        s->rivals--;
        s->rival(s, s->rival_data);
    }
    struct memory_route *r = memory_store_route(s, p->name);
    if (s->fail_next_write != 0) {
        chassis_error_set(&err, s->fail_next_write, "told to fail");
        s->fail_next_write = 0;
        if (s->apply_failed_write) {
            apply(p);
        }
    } else if ((r != NULL ? r->version : 0) != p->expected) {
        chassis_error_set(&err, CHASSIS_ABORTED, "not at version %llu",
                          (unsigned long long)p->expected);
    } else {
        apply(p);
    }
    p->written(err.code, &err, err.code == 0 ? p->version : 0, p->data);
}

static void write_route(struct fuse_store *store, const char *name, struct chassis_view route,
                        struct chassis_view record, uint64_t expected, unsigned keep,
                        fuse_store_done_cb done, void *data)
{
    struct memory_store *s = store_of(store);
    struct pending *p = later(s, s->answer_delay_ns, name, run_write);
    s->writes++;
    chassis_buf_append_view(&p->route, route);
    chassis_buf_append_view(&p->record, record);
    p->expected = expected;
    p->keep = keep;
    p->written = done;
    p->data = data;
}

static void run_read(struct pending *p)
{
    struct memory_store *s = p->store;
    struct chassis_error err = {0};
    struct memory_route *r = memory_store_route(s, p->name);
    if (s->fail_next_read != 0) {
        chassis_error_set(&err, s->fail_next_read, "told to fail");
        s->fail_next_read = 0;
    } else if (r == NULL) {
        chassis_error_set(&err, CHASSIS_NOT_FOUND, "no such record");
    }
    p->read(err.code, &err, err.code == 0 ? r->version : 0,
            err.code == 0 ? chassis_buf_view(&r->encoded) : chassis_view(NULL, 0), p->data);
}

static void read_route(struct fuse_store *store, const char *name, fuse_store_route_cb done,
                       void *data)
{
    struct memory_store *s = store_of(store);
    struct pending *p = later(s, s->answer_delay_ns, name, run_read);
    s->reads++;
    p->read = done;
    p->data = data;
}

static void run_versions(struct pending *p)
{
    struct memory_store *s = p->store;
    struct fuse_stored_version list[MEMORY_VERSIONS];
    struct chassis_error none = {0};
    unsigned n = 0;
    for (unsigned i = s->n_versions; i-- > 0;) {
        if (strcmp(s->versions[i].name, p->name) == 0) {
            list[n++] = (struct fuse_stored_version){s->versions[i].version,
                                                     chassis_buf_view(&s->versions[i].encoded)};
        }
    }
    p->versions(0, &none, list, n, p->data);
}

static void read_versions(struct fuse_store *store, const char *name, fuse_store_versions_cb done,
                          void *data)
{
    struct memory_store *s = store_of(store);
    struct pending *p = later(s, s->answer_delay_ns, name, run_versions);
    p->versions = done;
    p->data = data;
}

void memory_store_init(struct memory_store *s, struct chassis_executor *loop,
                       struct fuse_model *model)
{
    static const struct fuse_store_ops ops = {
        .read = read_route, .write = write_route, .versions = read_versions};
    memset(s, 0, sizeof *s);
    s->store.ops = &ops;
    s->loop = loop;
    s->model = model;
    s->answer_delay_ns = s->watch_delay_ns = CHASSIS_NS_PER_MS;
}

void memory_store_fini(struct memory_store *s)
{
    for (unsigned i = 0; i < s->n_routes; i++) {
        chassis_buf_fini(&s->routes[i].encoded);
    }
    for (unsigned i = 0; i < s->n_versions; i++) {
        chassis_buf_fini(&s->versions[i].encoded);
    }
}
