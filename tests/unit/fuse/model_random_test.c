/* Random changes: the model is what an array of the same records says, whatever the order they came in;
 * and whoever only heard the notifications knows the same. */
#include "test.h"

#include "base/prng.h"
#include "fuse/control_plane/model.h"
#include "fuse/control_plane/order.h"

#include "fixture.h"

enum { ROUTES = 16, INSTANCES = 24, SERVICES = 6, STEPS = 400, SEEDS = 60 };

static const char *const services[SERVICES] = {"s0", "s1", "s2", "s3", "s4", "s5"};
static const char *const vhosts[] = {"*", "*.b", "a.b", "c"};
static const char *const addresses[] = {"", "1.1.1.1:1", "1.1.1.1:2"};

struct ref_route {
    struct fuse_route *route; /* NULL = there is none */
    uint64_t version, created;
};
struct ref_instance {
    bool there;
    char pid[8];
    const char *service, *rpc;
    enum fuse_instance_state state;
    uint64_t revision;
};
struct ref {
    struct ref_route routes[ROUTES];
    struct ref_instance instances[INSTANCES];
};

/* ---- a model as text: by the model itself, and by the records ---- */

static bool dump_route(const struct fuse_entry *e, void *data)
{
    chassis_buf_printf(data, "route %s %s %d %d\n", e->route->name, e->route->host, (int)e->version,
                       (int)e->created_version);
    return true;
}

static bool dump_vhost(const struct fuse_vhost *v, void *data)
{
    chassis_buf_printf(data, "host %s %d:", v->host, (int)v->revision);
    for (unsigned i = 0; i < v->n_entries; i++) {
        chassis_buf_printf(data, " %s", v->entries[i]->route->name);
    }
    chassis_buf_append_byte(data, '\n');
    return true;
}

static void dump_instance(struct chassis_buf *out, const char *pid, const char *rpc, int state)
{
    chassis_buf_printf(out, " %s/%s/%d", pid, rpc, state);
}

static bool dump_service(const struct fuse_service *s, void *data)
{
    chassis_buf_printf(data, "service %s %d %u %u:", s->name, (int)s->revision, s->n_usable,
                       s->n_targets);
    for (unsigned i = 0; i < s->n_instances; i++) {
        dump_instance(data, s->instances[i]->pid, s->instances[i]->rpc_address,
                      s->instances[i]->state);
    }
    chassis_buf_append_byte(data, '\n');
    return true;
}

static void dump_model(const struct fuse_model *m, struct chassis_buf *out)
{
    chassis_buf_clear(out);
    chassis_buf_printf(out, "%u routes\n", fuse_model_n_routes(m));
    fuse_model_each_route(m, dump_route, out);
    fuse_model_each_vhost(m, dump_vhost, out);
    fuse_model_each_service(m, dump_service, out);
}

static int by_precedence(const void *a, const void *b)
{
    const struct ref_route *x = *(const struct ref_route *const *)a;
    const struct ref_route *y = *(const struct ref_route *const *)b;
    struct fuse_entry left = {.route = x->route, .created_version = x->created};
    struct fuse_entry right = {.route = y->route, .created_version = y->created};
    return fuse_order(&left, &right);
}

static void dump_ref_host(const struct ref *ref, const char *host, struct chassis_buf *out)
{
    const struct ref_route *of_host[ROUTES];
    unsigned n = 0;
    uint64_t revision = 0;
    for (unsigned i = 0; i < ROUTES; i++) {
        const struct ref_route *r = &ref->routes[i];
        if (r->route != NULL && strcmp(r->route->host, host) == 0) {
            of_host[n++] = r;
            revision = r->version > revision ? r->version : revision;
        }
    }
    if (n > 0) {
        qsort(of_host, n, sizeof *of_host, by_precedence);
        chassis_buf_printf(out, "host %s %d:", host, (int)revision);
        for (unsigned i = 0; i < n; i++) {
            chassis_buf_printf(out, " %s", of_host[i]->route->name);
        }
        chassis_buf_append_byte(out, '\n');
    }
}

static void dump_ref_service(const struct ref *ref, const char *name, struct chassis_buf *out)
{
    unsigned usable = 0, instances = 0, targets = 0;
    uint64_t revision = 0;
    struct chassis_buf list = {0};
    for (unsigned i = 0; i < INSTANCES; i++) { /* in order of pid already */
        const struct ref_instance *r = &ref->instances[i];
        if (r->there && strcmp(r->service, name) == 0) {
            instances++;
            usable += r->state == FUSE_INSTANCE_USABLE;
            revision = r->revision > revision ? r->revision : revision;
            dump_instance(&list, r->pid, r->rpc, r->state);
        }
    }
    for (unsigned i = 0; i < ROUTES; i++) {
        const struct fuse_route *r = ref->routes[i].route;
        for (unsigned t = 0; r != NULL && t < r->n_targets; t++) {
            targets += strcmp(r->targets[t].service, name) == 0;
        }
    }
    if (instances + targets > 0) {
        chassis_buf_printf(out, "service %s %d %u %u:%.*s\n", name, (int)revision, usable, targets,
                           CHASSIS_VIEW_ARG(chassis_buf_view(&list)));
    }
    chassis_buf_fini(&list);
}

static void dump_ref(const struct ref *ref, struct chassis_buf *out)
{
    unsigned n = 0;
    for (unsigned i = 0; i < ROUTES; i++) {
        n += ref->routes[i].route != NULL;
    }
    chassis_buf_clear(out);
    chassis_buf_printf(out, "%u routes\n", n);
    for (unsigned i = 0; i < ROUTES; i++) {
        const struct ref_route *r = &ref->routes[i];
        if (r->route != NULL) {
            chassis_buf_printf(out, "route %s %s %d %d\n", r->route->name, r->route->host,
                               (int)r->version, (int)r->created);
        }
    }
    for (unsigned i = 0; i < sizeof vhosts / sizeof *vhosts; i++) {
        dump_ref_host(ref, vhosts[i], out);
    }
    for (unsigned i = 0; i < SERVICES; i++) {
        dump_ref_service(ref, services[i], out);
    }
}

/* ---- who only hears of changes ---- */

struct mirror {
    struct ref known; /* revisions of instances are not told */
    bool services[SERVICES];
};

static unsigned number_of(const char *name)
{
    return (unsigned)atoi(name + 1);
}

static void hear_service(struct mirror *m, const struct fuse_change *change)
{
    const struct fuse_service *s = change->service;
    unsigned number = number_of(s->name);
    assert_true(m->services[number] != change->service_appeared);
    m->services[number] = !change->service_vanished;
    for (unsigned i = 0; i < INSTANCES; i++) {
        struct ref_instance *r = &m->known.instances[i];
        r->there = r->there && strcmp(r->service, s->name) != 0;
    }
    if (change->service_vanished) {
        assert_int_equal(s->n_instances + s->n_targets, 0);
        return;
    }
    for (unsigned i = 0; i < s->n_instances; i++) {
        const struct fuse_instance *from = s->instances[i];
        struct ref_instance *r = &m->known.instances[number_of(from->pid)];
        *r = (struct ref_instance){
            .there = true, .service = services[number_of(from->service)], .state = from->state};
        snprintf(r->pid, sizeof r->pid, "%s", from->pid);
        for (unsigned a = 0; a < 3; a++) {
            r->rpc = strcmp(addresses[a], from->rpc_address) == 0 ? addresses[a] : r->rpc;
        }
    }
}

static void hear(void *data, const struct fuse_change *change)
{
    struct mirror *m = data;
    if (change->service != NULL) {
        hear_service(m, change);
        return;
    }
    const struct fuse_entry *any = change->after != NULL ? change->after : change->before;
    struct ref_route *r = &m->known.routes[number_of(any->route->name)];
    assert_true((r->route != NULL) == (change->before != NULL));
    if (change->before != NULL) {
        assert_ptr_equal(r->route, change->before->route);
        assert_int_equal(r->version, change->before->version);
        fuse_route_unref(r->route);
    }
    *r = (struct ref_route){0};
    if (change->after != NULL) {
        *r = (struct ref_route){.route = fuse_route_ref(change->after->route),
                                .version = change->after->version,
                                .created = change->after->created_version};
        for (unsigned i = 0; i < r->route->n_targets; i++) { /* make before break */
            assert_true(m->services[number_of(r->route->targets[i].service)]);
        }
    }
}

static void ref_fini(struct ref *ref)
{
    for (unsigned i = 0; i < ROUTES; i++) {
        fuse_route_unref(ref->routes[i].route);
    }
}

/* ---- changes ---- */

struct run {
    struct chassis_prng prng;
    struct fuse_model *model;
    struct ref ref;
    struct mirror mirror;
    uint64_t revision;
};

static unsigned below(struct run *run, unsigned bound)
{
    return (unsigned)chassis_prng_below(&run->prng, bound);
}

static void put_route(struct run *run)
{
    char name[8];
    unsigned i = below(run, ROUTES);
    struct ref_route *r = &run->ref.routes[i];
    struct fuse_target targets[2] = {{services[below(run, SERVICES)], "", 0, 1},
                                     {services[below(run, SERVICES)], "", 0, 1}};
    snprintf(name, sizeof name, "r%02u", i);
    fuse_route_unref(r->route);
    r->created = r->route != NULL ? r->created : run->revision;
    r->version = run->revision;
    r->route = route(.name = name, .host = vhosts[below(run, 4)], .priority = (int)below(run, 2),
                     .rest = {.targets = targets, .n_targets = 1 + below(run, 2)});
    fuse_model_put_route(run->model, r->route, r->version, r->created, 0, "");
}

static void delete_route(struct run *run)
{
    char name[8];
    unsigned i = below(run, ROUTES);
    snprintf(name, sizeof name, "r%02u", i);
    fuse_model_delete_route(run->model, name, run->revision);
    fuse_route_unref(run->ref.routes[i].route);
    run->ref.routes[i] = (struct ref_route){0};
}

static void stale_route(struct run *run)
{
    const struct ref_route *r = &run->ref.routes[below(run, ROUTES)];
    if (r->route != NULL) {
        struct fuse_route *old = route(.name = r->route->name, .host = "old", .service = "s9");
        fuse_model_put_route(run->model, old, r->version - 1, r->created, 0, "");
        fuse_model_delete_route(run->model, r->route->name, r->version - 1);
        fuse_route_unref(old);
    }
}

static void tell_instance(struct fuse_model *model, const struct ref_instance *r)
{
    fixture_instance(model, r->revision, .pid = r->pid, .service = r->service,
                     .rpc_address = r->rpc, .state = r->state);
}

static void put_instance(struct run *run)
{
    unsigned i = below(run, INSTANCES);
    struct ref_instance *r = &run->ref.instances[i];
    *r = (struct ref_instance){.there = true,
                               .service = services[below(run, SERVICES)],
                               .rpc = addresses[below(run, 3)],
                               .state = (enum fuse_instance_state)below(run, 4),
                               .revision = below(run, 4) == 0 ? 0 : run->revision};
    snprintf(r->pid, sizeof r->pid, "p%02u", i);
    tell_instance(run->model, r);
}

static void delete_instance(struct run *run)
{
    char pid[8];
    unsigned i = below(run, INSTANCES);
    snprintf(pid, sizeof pid, "p%02u", i);
    fuse_model_delete_instance(run->model, pid, run->revision);
    run->ref.instances[i].there = false;
}

/* What is there comes again, in any order, but for what went meanwhile; and something new with it. */
static void list_routes(struct run *run)
{
    unsigned start = below(run, ROUTES), lost = below(run, ROUTES);
    fuse_route_unref(run->ref.routes[lost].route);
    run->ref.routes[lost] = (struct ref_route){0};
    fuse_model_routes_begin(run->model);
    for (unsigned i = 0; i < ROUTES; i++) {
        const struct ref_route *r = &run->ref.routes[(start + i) % ROUTES];
        if (r->route != NULL) {
            fuse_model_put_route(run->model, r->route, r->version, r->created, 0, "");
        }
    }
    put_route(run);
    fuse_model_routes_end(run->model, run->revision);
}

static void list_instances(struct run *run)
{
    unsigned start = below(run, INSTANCES);
    run->ref.instances[below(run, INSTANCES)].there = false;
    fuse_model_instances_begin(run->model);
    for (unsigned i = 0; i < INSTANCES; i++) {
        const struct ref_instance *r = &run->ref.instances[(start + i) % INSTANCES];
        if (r->there) {
            tell_instance(run->model, r);
        }
    }
    put_instance(run);
    fuse_model_instances_end(run->model, run->revision);
}

static void (*const changes[])(struct run *) = {
    put_route,    put_route,    put_route,       delete_route, delete_route,  stale_route,
    put_instance, put_instance, delete_instance, list_routes,  list_instances};

static void assert_same(const struct chassis_buf *a, const struct chassis_buf *b, unsigned seed)
{
    if (!chassis_view_eq(chassis_buf_view(a), chassis_buf_view(b))) {
        fail_msg("seed %u:\n%s\nis not\n%s", seed, (const char *)a->data, (const char *)b->data);
    }
}

/* The same records, last first, in a model of their own. */
static void assert_order_does_not_matter(const struct run *run, const struct chassis_buf *text,
                                         unsigned seed)
{
    struct fuse_model *other = fuse_model_new();
    struct chassis_buf got = {0};
    for (unsigned i = INSTANCES; i-- > 0;) {
        if (run->ref.instances[i].there) {
            tell_instance(other, &run->ref.instances[i]);
        }
    }
    for (unsigned i = ROUTES; i-- > 0;) {
        const struct ref_route *r = &run->ref.routes[i];
        if (r->route != NULL) {
            fuse_model_put_route(other, r->route, r->version, r->created, 0, "");
        }
    }
    dump_model(other, &got);
    assert_same(&got, text, seed);
    chassis_buf_fini(&got);
    fuse_model_free(other);
}

static void assert_mirror(const struct run *run, struct chassis_buf *a, struct chassis_buf *b,
                          unsigned seed)
{
    struct ref plain = run->ref;
    for (unsigned i = 0; i < INSTANCES; i++) {
        plain.instances[i].revision = 0;
    }
    dump_ref(&plain, a);
    dump_ref(&run->mirror.known, b);
    assert_same(b, a, seed);
    for (unsigned i = 0; i < SERVICES; i++) {
        assert_true(run->mirror.services[i] ==
                    (fuse_model_service(run->model, services[i]) != NULL));
    }
}

static void random_changes_give_what_the_records_say(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct run *run = calloc(1, sizeof *run);
        struct chassis_buf expected = {0}, got = {0};
        chassis_prng_init(&run->prng, seed);
        run->model = fuse_model_new();
        fuse_model_listen(run->model, &(struct fuse_model_listener){hear, &run->mirror});
        run->revision = 100;
        for (unsigned step = 0; step < STEPS; step++) {
            run->revision++;
            changes[below(run, sizeof changes / sizeof *changes)](run);
            dump_ref(&run->ref, &expected);
            dump_model(run->model, &got);
            assert_same(&got, &expected, seed);
            assert_int_equal(fuse_model_revision(run->model) <= run->revision, true);
            if (step % 20 == 0) {
                assert_order_does_not_matter(run, &got, seed);
                assert_mirror(run, &expected, &got, seed);
            }
        }
        fuse_model_free(run->model);
        ref_fini(&run->ref);
        ref_fini(&run->mirror.known);
        chassis_buf_fini(&expected);
        chassis_buf_fini(&got);
        free(run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_changes_give_what_the_records_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
