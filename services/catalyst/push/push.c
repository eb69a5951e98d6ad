#include "catalyst/push/internal.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- the plugin ---- */

static int plugin_path(const struct cat_push *push, char out[PATH_MAX], struct chassis_error *err)
{
    char program[PATH_MAX - 64];
    const char *directory = push->options.directory;
    if (directory != NULL && directory[0] != '\0') {
        snprintf(out, PATH_MAX, "%s/catalyst-push.so", directory);
        return 0;
    }
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[n > 0 ? n : 0] = '\0';
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(program, '/');
        if (slash == NULL) {
            return chassis_error_set(err, CHASSIS_CONFIG, "the program's own place is unknown");
        }
        *slash = '\0';
    }
    snprintf(out, PATH_MAX, "%s/lib/draft/catalyst-push.so", program);
    return 0;
}

int cat_push_load(struct cat_push *push, struct chassis_error *err)
{
    char path[PATH_MAX];
    cat_push_open_fn open;
    if (push->client != NULL) {
        return 0;
    }
    int rc = plugin_path(push, path, err);
    if (rc != 0) {
        return rc;
    }
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *symbol = object != NULL ? dlsym(object, CAT_PUSH_SYMBOL) : NULL;
    if (symbol == NULL) {
        rc = chassis_error_set(err, CHASSIS_NOT_FOUND, "load '%s': %s", path, dlerror());
        if (object != NULL) {
            dlclose(object);
        }
        return rc;
    }
    memcpy(&open, &symbol, sizeof open); /* POSIX gives functions as void * */
    rc = open(CAT_PUSH_PLUGIN_VERSION, push->options.loop, &push->client);
    if (rc != 0) {
        dlclose(object);
        return chassis_error_code(err, rc, "open '%s'", path);
    }
    return 0; /* its code stays: it is used until the process ends */
}

/* ---- groups ---- */

static char *text_of(struct chassis_view view)
{
    char *text = chassis_base_alloc(view.len + 1);
    memcpy(text, view.len != 0 ? (const void *)view.data : "", view.len);
    text[view.len] = '\0';
    return text;
}

static char *authorization_of(struct cat_push *push, const struct cat_push_config *config)
{
    struct chassis_buf secret = {0}, out = {0};
    struct chassis_error err = {0};
    char *name = text_of(config->token_secret);
    chassis_buf_append_str(&out, "");
    if (name[0] != '\0') {
        int rc = push->options.secret != NULL
                     ? push->options.secret(push->options.secret_data, name, &secret, &err)
                     : chassis_error_set(&err, CHASSIS_NOT_FOUND, "no secrets are known here");
        if (rc == 0) {
            chassis_buf_printf(&out, "Bearer %.*s", CHASSIS_VIEW_ARG(chassis_buf_view(&secret)));
        } else { /* the endpoint will refuse, and say so in the dead letters */
            chassis_log_error(push->options.log, "secret of a push group", chassis_f_err(&err),
                              chassis_f_str("secret", name));
        }
    }
    chassis_buf_fini(&secret);
    free(name);
    return (char *)out.data;
}

static struct cat_pusher *find(struct cat_push *push, struct chassis_view stream,
                               struct chassis_view name)
{
    chassis_list_foreach (it, &push->pushers) {
        struct cat_pusher *p = chassis_list_entry(it, struct cat_pusher, link);
        if (!p->gone && chassis_view_eq(chassis_view_str(p->stream), stream) &&
            chassis_view_eq(chassis_view_str(p->name), name)) {
            return p;
        }
    }
    return NULL;
}

static void configure(struct cat_pusher *p, const struct cat_group_config *config)
{
    const struct cat_push_config *c = &config->push;
    uint32_t longest = config->ack_wait_ms - config->ack_wait_ms / 10;
    free(p->url);
    free(p->authorization);
    p->url = text_of(c->url);
    p->authorization = authorization_of(p->push, c);
    p->structured = c->structured;
    p->own_backoff = config->n_backoff == 0;
    p->timeout_ms = c->timeout_ms < longest ? c->timeout_ms : longest;
    p->concurrency = c->concurrency;
    p->per_minute = c->per_minute;
}

void cat_push_group(void *data, struct chassis_view stream, struct chassis_view name,
                    const struct cat_group_config *config)
{
    struct cat_push *push = data;
    struct cat_pusher *p = find(push, stream, name);
    if (config == NULL || config->push.url.len == 0 || push->closed != NULL) {
        if (p != NULL) {
            cat_pusher_let_go(p);
        }
        return;
    }
    bool known = p != NULL && p->member != NULL && p->per_minute == config->push.per_minute &&
                 chassis_view_eq(chassis_view_str(p->url), config->push.url);
    p = p != NULL ? p : cat_pusher_new(push, text_of(stream), text_of(name));
    cat_pusher_leave(p); /* joins anew with what is configured now */
    configure(p, config);
    if (known) {
        cat_pusher_go_on(p);
    } else if (push->groups != NULL) {
        cat_pusher_begin(p);
    }
}

/* ---- life ---- */

int cat_push_check_origin(const char *origin, struct chassis_error *err)
{
    return origin == NULL || origin[0] == '\0' || cat_permit_origin_valid(origin)
               ? 0
               : chassis_error_set(err, CHASSIS_CONFIG,
                                   "catalyst.push.origin: '%s' is not a name of letters, digits, "
                                   "'.', '-', '_' and ':'",
                                   origin);
}

struct cat_push *cat_push_new(const struct cat_push_options *options)
{
    struct cat_push *push = chassis_base_zalloc(sizeof *push);
    push->options = *options;
    chassis_list_init(&push->pushers);
    chassis_list_init(&push->waiting);
    if (options->origin != NULL && options->origin[0] != '\0') {
        snprintf(push->origin, sizeof push->origin, "%s", options->origin);
    } else if (gethostname(push->origin, sizeof push->origin - 1) != 0 ||
               !cat_permit_origin_valid(push->origin)) {
        snprintf(push->origin, sizeof push->origin, "catalyst");
    }
    push->pushed = chassis_counter("catalyst_pushed_total",
                                   "Events posted to push URLs and acknowledged.", NULL, 0);
    push->failed = chassis_counter("catalyst_push_failures_total",
                                   "Posts to push URLs that were not acknowledged.", NULL, 0);
    push->refused = chassis_counter("catalyst_push_unverified_total",
                                    "Times a push URL was asked and did not allow it.", NULL, 0);
    return push;
}

void cat_push_start(struct cat_push *push, struct cat_groups *groups)
{
    push->groups = groups;
    chassis_list_foreach (it, &push->pushers) {
        cat_pusher_begin(chassis_list_entry(it, struct cat_pusher, link));
    }
}

static void client_closed(void *data)
{
    struct cat_push *push = data;
    CHASSIS_ASSERT(chassis_list_empty(&push->pushers));
    push->closed(push->closed_data);
}

void cat_push_close(struct cat_push *push, void (*closed)(void *data), void *data)
{
    push->closed = closed;
    push->closed_data = data;
    chassis_list_foreach_safe (it, &push->pushers) {
        cat_pusher_let_go(chassis_list_entry(it, struct cat_pusher, link));
    }
    if (push->client != NULL) {
        push->client->ops->close(push->client, client_closed, push);
    } else {
        closed(data);
    }
}

void cat_push_free(struct cat_push *push)
{
    free(push);
}
