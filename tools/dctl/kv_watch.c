/* dctl kv watch: changes as they happen, going on after a broken connection. */
#include <string.h>

#include "connect.h"
#include "kv.h"

typedef Core__Registry__KeyValue__V1__WatchRequest watch_request;
typedef Core__Registry__KeyValue__V1__WatchResponse watch_response;
typedef Core__Registry__KeyValue__V1__Event event;

/* Owner: the executor thread while a stream runs, the main thread between streams. */
struct watching {
    uint64_t next_revision; /* where to go on; 0 = not known yet */
    uint64_t left;          /* changes still to be shown */
};

static const struct dctl_column columns[] = {{"REVISION", "revision", 10},
                                             {"TYPE", "type", 6},
                                             {"KEY", "key", 24},
                                             {"VALUE", "value", 0},
                                             {0}};

static void show_event(struct dctl *d, const event *e)
{
    struct chassis_arena arena = d->arena;
    chassis_arena_init(&d->arena, NULL, 0, 0); /* of this change only: a watch runs for long */
    struct dctl_node *row = dctl_map(&d->arena);
    bool put = e->type == CORE__REGISTRY__KEY_VALUE__V1__EVENT__TYPE__PUT;
    dctl_add_text(&d->arena, row, "type", put ? "PUT" : "DELETE");
    dctl_add_text(&d->arena, row, "key", e->key);
    dctl_add_any(d, row, "value", e->value);
    if (dctl_flag(d, "previous")) {
        dctl_add_any(d, row, "previous", e->prev_value);
    }
    dctl_kv_add_meta(d, row, e->meta);
    dctl_print_next(d, row, columns);
    chassis_arena_fini(&d->arena);
    d->arena = arena;
}

/* The server says that changes are missing between what was shown and what follows. */
static void show_gap(struct dctl *d, const watch_response *res)
{
    fprintf(
        d->err,
        "dctl: changes up to revision %llu are not kept any more; going on from there, "
        "list again to see the present records\n",
        (unsigned long long)(res->compact_revision != 0 ? res->compact_revision : res->revision));
}

static bool on_response(struct dctl_follower *f, const void *message, struct chassis_view encoded)
{
    const watch_response *res = message;
    struct watching *w = f->data;
    if (res->kind == CORE__REGISTRY__KEY_VALUE__V1__WATCH_RESPONSE__KIND__RESYNC) {
        show_gap(f->d, res);
    }
    for (size_t i = 0; i < res->n_events && w->left != 0; i++) {
        show_event(f->d, res->events[i]);
        w->left--;
    }
    if (res->revision >= w->next_revision) {
        w->next_revision = res->revision + 1;
    }
    return w->left != 0 && !ferror(f->d->out);
}

int dctl_kv_watch(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    watch_request req = CORE__REGISTRY__KEY_VALUE__V1__WATCH_REQUEST__INIT;
    struct watching w = {dctl_number(d, "from", 0), dctl_number(d, "count", UINT64_MAX)};
    struct dctl_follower follower = {.message = on_response, .d = d, .data = &w};
    struct chassis_call_options options = dctl_call_options(d, 0);
    if (dctl_kind(d, &req.kind, &err) != 0) {
        return dctl_fail(d, &err);
    }
    req.key_prefix = argc != 0 ? argv[0] : req.key_prefix;
    req.prev_value = dctl_flag(d, "previous");
    req.progress_ms = 1000;
    for (unsigned attempt = 1; w.left != 0; attempt++) {
        req.start_revision = w.next_revision;
        int rc = dctl_follow(d, &key_value_watch_method, &req, &options, &follower, &err);
        if (w.left == 0 || ferror(d->out)) {
            break;
        }
        attempt = follower.messages != 0 ? 1 : attempt;
        if (rc != 0 && (w.next_revision == 0 || !dctl_worth_another_try(rc))) {
            return dctl_fail(d, &err);
        }
        if (attempt == 1) {
            fprintf(d->err, "dctl: %s; trying again\n",
                    rc != 0 ? chassis_error_text(&err) : "the server ended the stream");
        }
        chassis_error_clear(&err);
        dctl_pause(attempt);
    }
    return DCTL_OK;
}
