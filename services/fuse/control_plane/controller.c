#include "controller.h"

#include <chassis/metrics.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/prng.h"
#include "record.h"
#include "shadow.h"

enum {
    VERSIONS_KEPT = 20,
    ROUTES_MAX = 100000,
    CHANGES_MAX = 1000,
    ATTEMPTS_MAX = 16, /* each a little later: of writers who meet again and again none starves */
    PAUSE_NS = 500000, /* at most, times the attempts so far */
    MODEL_WAIT_MS = 1000, /* for what was committed to come back */
};

struct fuse_controller {
    struct fuse_controller_options options;
    struct chassis_list changes; /* under way */
    struct chassis_list written; /* committed, until the model has them */
    unsigned n_changes;
    struct chassis_prng prng;
    struct chassis_counter *writes, *refusals, *conflicts, *unchanged;
    struct chassis_gauge *routes;
};

struct change {
    struct chassis_list link;
    struct fuse_controller *controller;
    enum fuse_record_kind kind;     /* ADDED stands for an upsert */
    const struct fuse_route *route; /* NULL: of a deletion, and before a rollback knows it */
    char *name, *actor;
    uint64_t rolled_back_to;
    bool has_expected;
    uint64_t expected;
    unsigned attempts;
    struct chassis_timer again;   /* after a faster writer */
    struct chassis_timer give_up; /* waiting for the model */
    uint64_t version;
    struct fuse_problems problems;
    fuse_result_cb done;
    void *data;
};

static void change_free(struct change *ch)
{
    chassis_list_remove(&ch->link);
    ch->controller->n_changes--;
    fuse_route_unref(ch->route);
    free(ch->name);
    free(ch->actor);
    free(ch);
}

static void log_change(const struct change *ch, int code, const struct chassis_error *err,
                       bool unchanged)
{
    struct fuse_controller *c = ch->controller;
    if (code != 0) {
        chassis_counter_add(c->refusals, 1);
        chassis_log_warn(c->options.log, "route refused", chassis_f_str("route", ch->name),
                         chassis_f_str("change", fuse_record_kind_name(ch->kind)),
                         chassis_f_str("actor", ch->actor), chassis_f_code(code),
                         chassis_f_err(err));
    } else if (unchanged) {
        chassis_counter_add(c->unchanged, 1);
        chassis_log_debug(c->options.log, "route is as it was", chassis_f_str("route", ch->name),
                          chassis_f_u64("version", ch->version), chassis_f_str("actor", ch->actor));
    } else {
        chassis_counter_add(c->writes, 1);
        chassis_log_info(c->options.log, "route written", chassis_f_str("route", ch->name),
                         chassis_f_str("change", fuse_record_kind_name(ch->kind)),
                         chassis_f_u64("version", ch->version), chassis_f_str("actor", ch->actor));
    }
}

static void finish(struct change *ch, int code, const struct chassis_error *err, bool unchanged)
{
    struct chassis_error none = {0};
    err = err != NULL ? err : &none;
    log_change(ch, code, err, unchanged);
    struct fuse_result result = {
        .code = code,
        .err = err,
        .version = ch->version,
        .unchanged = unchanged,
        .problems = &ch->problems,
    };
    ch->done(&result, ch->data);
    change_free(ch);
}

static void fail(struct change *ch, int code, const char *format, ...) CHASSIS_PRINTF(3, 4);
static void fail(struct change *ch, int code, const char *format, ...)
{
    struct chassis_error err = {0};
    va_list args;
    va_start(args, format);
    chassis_error_setv(&err, code, format, args);
    va_end(args);
    finish(ch, code, &err, false);
}

static void refuse(struct change *ch)
{
    const struct fuse_problem *first = NULL;
    for (unsigned i = 0; i < ch->problems.n && first == NULL; i++) {
        first = ch->problems.items[i].is_error ? &ch->problems.items[i] : NULL;
    }
    fail(ch, CHASSIS_INVALID_ARGUMENT, "route '%s': %s%s%s", ch->name,
         first != NULL ? first->field : "", first != NULL && first->field[0] != '\0' ? ": " : "",
         first != NULL ? first->text : "refused");
}

/* ---- committed: wait until the model has it ---- */

static void on_give_up(struct chassis_timer *timer)
{
    finish(chassis_container_of(timer, struct change, give_up), 0, NULL, false);
}

/* The model has this change, or a later one. */
static bool is_known(const struct change *ch)
{
    const struct fuse_entry *entry = fuse_model_route(ch->controller->options.model, ch->name);
    return entry != NULL ? entry->version >= ch->version : ch->kind == FUSE_RECORD_DELETED;
}

static void on_model_changed(void *data, const struct fuse_change *what)
{
    struct fuse_controller *c = data;
    const struct fuse_entry *entry = what->after != NULL ? what->after : what->before;
    if (entry == NULL) {
        return;
    }
    chassis_gauge_set(c->routes, fuse_model_n_routes(c->options.model));
    chassis_list_foreach_safe (it, &c->written) {
        struct change *ch = chassis_list_entry(it, struct change, link);
        if (strcmp(ch->name, entry->route->name) == 0 && is_known(ch)) {
            chassis_cancel(c->options.loop, &ch->give_up);
            finish(ch, 0, NULL, false);
        }
    }
}

static void committed(struct change *ch, uint64_t version)
{
    struct fuse_controller *c = ch->controller;
    ch->version = version;
    if (is_known(ch)) {
        finish(ch, 0, NULL, false);
        return;
    }
    chassis_list_remove(&ch->link);
    chassis_list_append(&c->written, &ch->link);
    ch->give_up.run = on_give_up;
    chassis_post_after(c->options.loop, &ch->give_up, MODEL_WAIT_MS * CHASSIS_NS_PER_MS);
}

/* ---- one attempt ---- */

static void attempt(struct change *ch, uint64_t present, struct chassis_view content, bool certain);

static void on_read(int code, const struct chassis_error *err, uint64_t version,
                    struct chassis_view encoded, void *data)
{
    struct change *ch = data;
    if (code == 0 || code == CHASSIS_NOT_FOUND) {
        attempt(ch, code == 0 ? version : 0, encoded, true);
    } else {
        finish(ch, code, err, false);
    }
}

static void ask_store(struct change *ch)
{
    struct fuse_store *store = ch->controller->options.store;
    store->ops->read(store, ch->name, on_read, ch);
}

static void on_again(struct chassis_timer *timer)
{
    ask_store(chassis_container_of(timer, struct change, again));
}

static void on_written(int code, const struct chassis_error *err, uint64_t version, void *data)
{
    struct change *ch = data;
    if (code == 0) {
        committed(ch, version);
    } else if (code == CHASSIS_ABORTED && !ch->has_expected && ++ch->attempts < ATTEMPTS_MAX) {
        struct fuse_controller *c = ch->controller;
        chassis_counter_add(c->conflicts, 1);
        ch->again.run = on_again;
        chassis_post_after(c->options.loop, &ch->again,
                           chassis_prng_below(&c->prng, ch->attempts * PAUSE_NS));
    } else {
        finish(ch, code, err, false);
    }
}

static void write_change(struct change *ch, uint64_t present, struct chassis_view content)
{
    struct fuse_controller *c = ch->controller;
    struct chassis_buf encoded = {0};
    bool deletion = ch->kind == FUSE_RECORD_DELETED;
    if (ch->kind == FUSE_RECORD_ADDED && present != 0) {
        ch->kind = FUSE_RECORD_CHANGED;
    } else if (ch->kind == FUSE_RECORD_CHANGED && present == 0) {
        ch->kind = FUSE_RECORD_ADDED;
    }
    struct fuse_record record = {
        .route = deletion ? content : ch->route->encoded,
        .kind = ch->kind,
        .actor = chassis_view_str(ch->actor),
        .time_ns = c->options.wall_ns(NULL),
        .rolled_back_to = ch->rolled_back_to,
    };
    fuse_record_encode(&record, &encoded);
    c->options.store->ops->write(
        c->options.store, ch->name, deletion ? chassis_view(NULL, 0) : ch->route->encoded,
        chassis_buf_view(&encoded), present, c->options.versions_kept, on_written, ch);
    chassis_buf_fini(&encoded);
}

static void as_it_was(struct change *ch, uint64_t present)
{
    ch->version = present;
    finish(ch, 0, NULL, true);
}

/* `present` 0: there is none. Not `certain`: as the model has it, which may be behind. */
static void attempt(struct change *ch, uint64_t present, struct chassis_view content, bool certain)
{
    struct fuse_controller *c = ch->controller;
    bool deletion = ch->kind == FUSE_RECORD_DELETED;
    bool writes_nothing =
        deletion ? present == 0 : present != 0 && chassis_view_eq(content, ch->route->encoded);
    bool unexpected = ch->has_expected && present != ch->expected;
    if (!certain && (writes_nothing || unexpected)) {
        ask_store(ch);
    } else if (unexpected) {
        fail(ch, CHASSIS_ABORTED, "route '%s' is at version %llu, not %llu", ch->name,
             (unsigned long long)present, (unsigned long long)ch->expected);
    } else if (writes_nothing && deletion) {
        fail(ch, CHASSIS_NOT_FOUND, "there is no route '%s'", ch->name);
    } else if (writes_nothing) {
        as_it_was(ch, present);
    } else if (present == 0 && fuse_model_n_routes(c->options.model) >= c->options.routes_max) {
        fail(ch, CHASSIS_RESOURCE_EXHAUSTED, "there are %u routes, the limit",
             c->options.routes_max);
    } else {
        write_change(ch, present, content);
    }
}

/* ---- the changes ---- */

/* NULL when it was refused. */
static struct change *begin(struct fuse_controller *c, enum fuse_record_kind kind, const char *name,
                            const uint64_t *expected, const char *actor, fuse_result_cb done,
                            void *data)
{
    if (c->n_changes >= c->options.changes_max) {
        struct chassis_error err = {0};
        chassis_error_set(&err, CHASSIS_RESOURCE_EXHAUSTED,
                          "%u changes of routes are under way, the limit: try again",
                          c->options.changes_max);
        static const struct fuse_problems none;
        done(&(struct fuse_result){.code = err.code, .err = &err, .problems = &none}, data);
        return NULL;
    }
    struct change *ch = chassis_base_zalloc(sizeof *ch);
    ch->controller = c;
    ch->kind = kind;
    ch->name = chassis_base_strdup(name);
    ch->actor = chassis_base_strdup(actor);
    ch->has_expected = expected != NULL;
    ch->expected = expected != NULL ? *expected : 0;
    ch->done = done;
    ch->data = data;
    chassis_list_append(&c->changes, &ch->link);
    c->n_changes++;
    return ch;
}

static void first_attempt(struct change *ch)
{
    const struct fuse_entry *entry = fuse_model_route(ch->controller->options.model, ch->name);
    attempt(ch, entry != NULL ? entry->version : 0,
            entry != NULL ? entry->route->encoded : chassis_view(NULL, 0), false);
}

static void check_and_attempt(struct change *ch)
{
    fuse_shadow_check(ch->controller->options.model, ch->route, &ch->problems);
    if (ch->problems.n_errors != 0) {
        refuse(ch);
    } else {
        first_attempt(ch);
    }
}

void fuse_controller_add(struct fuse_controller *controller, const struct fuse_route *route,
                         const uint64_t *expected, const char *actor, fuse_result_cb done,
                         void *data)
{
    struct change *ch =
        begin(controller, FUSE_RECORD_ADDED, route->name, expected, actor, done, data);
    if (ch != NULL) {
        ch->route = fuse_route_ref(route);
        check_and_attempt(ch);
    }
}

void fuse_controller_delete(struct fuse_controller *controller, const char *name,
                            const uint64_t *expected, const char *actor, fuse_result_cb done,
                            void *data)
{
    struct change *ch = begin(controller, FUSE_RECORD_DELETED, name, expected, actor, done, data);
    if (ch != NULL) {
        first_attempt(ch);
    }
}

static const struct fuse_stored_version *version_of(const struct fuse_stored_version *versions,
                                                    unsigned n, uint64_t number)
{
    for (unsigned i = 0; i < n; i++) {
        if (versions[i].version == number) {
            return &versions[i];
        }
    }
    return NULL;
}

static void on_versions(int code, const struct chassis_error *err,
                        const struct fuse_stored_version *versions, unsigned n, void *data)
{
    struct change *ch = data;
    struct fuse_record record;
    struct chassis_error own = {0};
    if (code != 0) {
        finish(ch, code, err, false);
        return;
    }
    const struct fuse_stored_version *v = ch->rolled_back_to != 0
                                              ? version_of(versions, n, ch->rolled_back_to)
                                          : n > 1 ? &versions[1]
                                                  : NULL;
    if (v == NULL && ch->rolled_back_to == 0) {
        fail(ch, CHASSIS_NOT_FOUND, "route '%s' has %s", ch->name,
             n == 0 ? "no version that is kept" : "only one version that is kept");
        return;
    }
    if (v == NULL) {
        fail(ch, CHASSIS_NOT_FOUND, "version %llu of route '%s' is not among the %u that are kept",
             (unsigned long long)ch->rolled_back_to, ch->name, n);
        return;
    }
    if (fuse_record_decode(v->encoded, &record, &own) != 0) {
        chassis_error_wrap(&own, "version %llu of route '%s'", (unsigned long long)v->version,
                           ch->name);
        finish(ch, CHASSIS_DATA_LOSS, &own, false);
        return;
    }
    ch->rolled_back_to = v->version;
    ch->route = ch->controller->options.parse(record.route, &ch->problems);
    if (ch->route == NULL) {
        refuse(ch);
    } else {
        check_and_attempt(ch);
    }
}

void fuse_controller_rollback(struct fuse_controller *controller, const char *name,
                              uint64_t to_version, const char *actor, fuse_result_cb done,
                              void *data)
{
    struct change *ch = begin(controller, FUSE_RECORD_ROLLED_BACK, name, NULL, actor, done, data);
    if (ch != NULL) {
        struct fuse_store *store = controller->options.store;
        ch->rolled_back_to = to_version;
        store->ops->versions(store, name, on_versions, ch);
    }
}

/* ---- life ---- */

struct fuse_controller *fuse_controller_new(const struct fuse_controller_options *options)
{
    struct fuse_controller *c = chassis_base_zalloc(sizeof *c);
    c->options = *options;
    c->options.versions_kept = options->versions_kept != 0 ? options->versions_kept : VERSIONS_KEPT;
    c->options.routes_max = options->routes_max != 0 ? options->routes_max : ROUTES_MAX;
    c->options.changes_max = options->changes_max != 0 ? options->changes_max : CHANGES_MAX;
    chassis_list_init(&c->changes);
    chassis_list_init(&c->written);
    chassis_prng_init(&c->prng, (uint64_t)options->wall_ns(NULL) ^ (uintptr_t)c);
    c->writes = chassis_counter("fuse_route_writes_total", "Changes of routes committed.", NULL, 0);
    c->unchanged = chassis_counter("fuse_route_unchanged_total",
                                   "Routes added again as they were: nothing written.", NULL, 0);
    c->refusals = chassis_counter("fuse_route_refusals_total",
                                  "Changes of routes that were refused or failed.", NULL, 0);
    c->conflicts = chassis_counter("fuse_route_conflicts_total",
                                   "Writes repeated because another writer was faster.", NULL, 0);
    c->routes = chassis_gauge("fuse_routes", "Routes known.", NULL, 0);
    fuse_model_listen(options->model,
                      &(struct fuse_model_listener){.changed = on_model_changed, .data = c});
    return c;
}

void fuse_controller_free(struct fuse_controller *controller)
{
    if (controller == NULL) {
        return;
    }
    chassis_list_foreach_safe (it, &controller->written) {
        struct change *ch = chassis_list_entry(it, struct change, link);
        chassis_cancel(controller->options.loop, &ch->give_up);
        finish(ch, 0, NULL, false);
    }
    CHASSIS_ASSERT(chassis_list_empty(&controller->changes));
    free(controller);
}
