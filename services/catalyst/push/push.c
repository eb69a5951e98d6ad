#include "catalyst/push/push.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <chassis/metrics.h>

#include "base/assert.h"
#include "base/list.h"
#include "catalyst/event/http.h"
#include "catalyst/event/json.h"
#include "catalyst/push/client.h"

enum { BACKOFF_MIN_MS = 1000, BACKOFF_MAX_MS = 60000 };

struct cat_push {
    struct cat_push_options options;
    struct cat_groups *groups;      /* NULL before start */
    struct cat_push_client *client; /* NULL until a group needs it */
    struct chassis_list pushers;
    struct chassis_counter *pushed, *failed;
    void (*closed)(void *data);
    void *closed_data;
};

/* One group. Lives until its group is gone and its last request has ended. */
struct pusher {
    struct chassis_list link;
    struct cat_push *push;
    char *stream, *name, *url, *authorization; /* the last "" = none */
    bool structured, own_backoff;
    uint32_t timeout_ms, concurrency;
    struct cat_member *member;  /* NULL: not joined, or the endpoint is gone */
    uint32_t under_way, joined; /* how often it has joined: credit goes back to that member only */
    bool gone;
};

struct delivery {
    struct cat_push_request request; /* first */
    struct pusher *pusher;
    uint64_t sequence;
    uint32_t attempt, joined;
    struct chassis_buf headers, body;
    char url[];
};

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

static int load(struct cat_push *push, struct chassis_error *err)
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

/* ---- one event ---- */

static void put_header(void *data, const char *name, const char *value)
{
    struct chassis_buf *out = data;
    chassis_buf_printf(out, "%s: %s", name, value);
    chassis_buf_append_byte(out, '\0');
}

static void fill(struct delivery *d, const struct cat_event *event)
{
    struct pusher *p = d->pusher;
    struct chassis_view body = {0};
    char attempt[16];
    if (p->structured) {
        cat_json_write(event, &d->body);
        put_header(&d->headers, "content-type", cat_http_content_type(CAT_HTTP_JSON));
    } else {
        cat_http_write(event, put_header, &d->headers, &body);
        chassis_buf_append_view(&d->body, body);
    }
    if (p->authorization[0] != '\0') {
        put_header(&d->headers, "authorization", p->authorization);
    }
    snprintf(attempt, sizeof attempt, "%u", d->attempt);
    put_header(&d->headers, "draft-attempt", attempt);
    put_header(&d->headers, "expect", ""); /* no 100-continue */
    chassis_buf_append_byte(&d->headers, '\0');
}

static void pusher_free(struct pusher *p)
{
    chassis_list_remove(&p->link);
    free(p->stream);
    free(p->name);
    free(p->url);
    free(p->authorization);
    free(p);
}

static uint32_t wait_ms(const struct delivery *d)
{
    bool asked = d->request.status == 429 || d->request.status == 503;
    if (asked && d->request.retry_after_ms != 0) {
        return d->request.retry_after_ms;
    }
    if (!d->pusher->own_backoff) {
        return 0; /* as the group says */
    }
    uint32_t doublings = d->attempt < 7 ? d->attempt - 1 : 6;
    uint32_t wait = (uint32_t)BACKOFF_MIN_MS << doublings;
    return wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS;
}

static void leave(struct pusher *p)
{
    if (p->member != NULL) {
        cat_member_leave(p->member);
        p->member = NULL;
    }
}

static void failed(struct pusher *p, const struct delivery *d)
{
    char reason[CAT_REASON_MAX + 1];
    const struct cat_push_request *r = &d->request;
    if (r->status != 0) {
        snprintf(reason, sizeof reason, "push: HTTP %u", r->status);
    } else {
        snprintf(reason, sizeof reason, "push: %.200s", r->text);
    }
    chassis_counter_add(p->push->failed, 1);
    chassis_log_debug(p->push->options.log, "push failed", chassis_f_str("stream", p->stream),
                      chassis_f_str("group", p->name), chassis_f_str("why", reason),
                      chassis_f_u64("sequence", d->sequence), chassis_f_u64("attempt", d->attempt));
    if (p->member == NULL) {
        return;
    }
    const struct cat_answer answer = {.sequence = d->sequence,
                                      .kind = CAT_NACK,
                                      .delay_ms = wait_ms(d),
                                      .reason = chassis_view_str(reason)};
    cat_member_answer(p->member, &answer);
    if (r->status == 410) {
        chassis_log_warn(p->push->options.log,
                         "the endpoint of a push group is gone: nothing is sent until the group is "
                         "updated",
                         chassis_f_str("stream", p->stream), chassis_f_str("group", p->name),
                         chassis_f_str("url", p->url));
        leave(p);
    }
}

static void delivered(struct cat_push_request *request)
{
    struct delivery *d = chassis_container_of(request, struct delivery, request);
    struct pusher *p = d->pusher;
    struct cat_push *push = p->push;
    bool current = d->joined == p->joined;
    p->under_way--;
    if (request->status >= 200 && request->status <= 299) {
        chassis_counter_add(push->pushed, 1);
        if (p->member != NULL) {
            cat_member_answer(p->member,
                              &(struct cat_answer){.sequence = d->sequence, .kind = CAT_ACK});
        }
    } else {
        failed(p, d);
    }
    chassis_buf_fini(&d->headers);
    chassis_buf_fini(&d->body);
    free(d);
    if (p->gone && p->under_way == 0) {
        pusher_free(p);
    } else if (p->member != NULL && current) {
        cat_member_credit(p->member, 1);
    }
}

/* ---- the member ---- */

static void deliver(void *data, const struct cat_log_event *stored, uint32_t attempt)
{
    struct pusher *p = data;
    struct cat_event event;
    struct chassis_error err = {0};
    if (cat_event_parse(stored->bytes, &event, &err) != 0) { /* stored by another version */
        const struct cat_answer answer = {.sequence = stored->sequence,
                                          .kind = CAT_TERM,
                                          .reason = chassis_view_str("push: not a valid event")};
        cat_member_answer(p->member, &answer);
        cat_member_credit(p->member, 1);
        return;
    }
    size_t url_size = strlen(p->url) + 1;
    struct delivery *d = chassis_base_zalloc(sizeof *d + url_size);
    d->pusher = p;
    d->sequence = stored->sequence;
    d->attempt = attempt;
    d->joined = p->joined;
    memcpy(d->url, p->url, url_size); /* the group may be updated meanwhile */
    fill(d, &event);
    d->request.url = d->url;
    d->request.headers = (const char *)d->headers.data;
    d->request.body = chassis_buf_view(&d->body);
    d->request.timeout_ms = p->timeout_ms;
    d->request.done = delivered;
    p->under_way++;
    p->push->client->ops->post(p->push->client, &d->request);
}

static void flush(void *data)
{
}

static void ended(void *data, int status, const struct chassis_error *err)
{
    struct pusher *p = data;
    p->member = NULL;
}

static const struct cat_member_ops member_ops = {deliver, flush, ended};

static void join(struct pusher *p)
{
    struct chassis_error err = {0};
    uint64_t next;
    const struct cat_member_options options = {.stream = chassis_view_str(p->stream),
                                               .group = chassis_view_str(p->name),
                                               .name = chassis_view_str("push"),
                                               .address = chassis_view_str(p->url),
                                               .push = true,
                                               .ops = &member_ops,
                                               .data = p};
    int rc = load(p->push, &err);
    rc = rc == 0 ? cat_member_join(p->push->groups, &options, &p->member, &next, &err) : rc;
    if (rc != 0) {
        chassis_log_error(p->push->options.log, "group cannot be pushed",
                          chassis_f_str("stream", p->stream), chassis_f_str("group", p->name),
                          chassis_f_err(&err));
        return;
    }
    p->joined++;
    cat_member_credit(p->member, p->concurrency);
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

static struct pusher *find(struct cat_push *push, struct chassis_view stream,
                           struct chassis_view name)
{
    chassis_list_foreach (it, &push->pushers) {
        struct pusher *p = chassis_list_entry(it, struct pusher, link);
        if (!p->gone && chassis_view_eq(chassis_view_str(p->stream), stream) &&
            chassis_view_eq(chassis_view_str(p->name), name)) {
            return p;
        }
    }
    return NULL;
}

static void let_go(struct pusher *p)
{
    leave(p);
    p->gone = true;
    if (p->under_way == 0) {
        pusher_free(p);
    }
}

static void configure(struct pusher *p, const struct cat_group_config *config)
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
}

void cat_push_group(void *data, struct chassis_view stream, struct chassis_view name,
                    const struct cat_group_config *config)
{
    struct cat_push *push = data;
    struct pusher *p = find(push, stream, name);
    if (config == NULL || config->push.url.len == 0 || push->closed != NULL) {
        if (p != NULL) {
            let_go(p);
        }
        return;
    }
    if (p == NULL) {
        p = chassis_base_zalloc(sizeof *p);
        p->push = push;
        p->stream = text_of(stream);
        p->name = text_of(name);
        chassis_list_append(&push->pushers, &p->link);
    }
    leave(p); /* joins anew with what is configured now */
    configure(p, config);
    if (push->groups != NULL) {
        join(p);
    }
}

/* ---- life ---- */

struct cat_push *cat_push_new(const struct cat_push_options *options)
{
    struct cat_push *push = chassis_base_zalloc(sizeof *push);
    push->options = *options;
    chassis_list_init(&push->pushers);
    push->pushed = chassis_counter("catalyst_pushed_total",
                                   "Events posted to push URLs and acknowledged.", NULL, 0);
    push->failed = chassis_counter("catalyst_push_failures_total",
                                   "Posts to push URLs that were not acknowledged.", NULL, 0);
    return push;
}

void cat_push_start(struct cat_push *push, struct cat_groups *groups)
{
    push->groups = groups;
    chassis_list_foreach (it, &push->pushers) {
        join(chassis_list_entry(it, struct pusher, link));
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
        let_go(chassis_list_entry(it, struct pusher, link));
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
