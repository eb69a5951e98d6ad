#include "records.h"

#include "base/assert.h"
#include "wire.h"

enum { PAGE = 1000, PROGRESS_MS = 5000 };

static void list_page(struct fuse_records *r);
static void resume(struct fuse_records *r);

static void on_timer(struct chassis_timer *timer)
{
    resume(chassis_container_of(timer, struct fuse_records, timer));
}

static void lost(struct fuse_records *r, int code, const char *text)
{
    r->losses++;
    chassis_log_info(r->log, "records cannot be followed for a moment",
                     chassis_f_str("kind", r->kind), chassis_f_u64("revision", r->revision),
                     chassis_f_code(code), chassis_f_str("text", text));
    chassis_post_after(r->loop, &r->timer, fuse_backoff_ns(&r->prng, &r->attempt));
}

static struct fuse_record_meta meta_of(const KV(Meta) * meta)
{
    struct fuse_record_meta m = {.actor = ""};
    if (meta != NULL) {
        m.revision = meta->revision;
        m.created_revision = meta->created_revision;
        m.actor = meta->actor;
        m.time_ns = meta->time != NULL ? meta->time->seconds * 1000000000 + meta->time->nanos : 0;
    }
    return m;
}

static void put(struct fuse_records *r, const char *key, const Google__Protobuf__Any *value,
                const KV(Meta) * meta)
{
    struct fuse_record_meta m = meta_of(meta);
    if (value != NULL) {
        r->handlers->put(r->data, key, chassis_view(value->value.data, value->value.len), &m);
    }
}

/* ---- watching ---- */

static void on_message(struct chassis_client_stream *stream, const void *message,
                       struct chassis_view encoded, void *data)
{
    struct fuse_records *r = data;
    const KV(WatchResponse) *res = message;
    if (r->stopped || r->relist || res == NULL) {
        return;
    }
    if (res->kind == CORE__REGISTRY__KEY_VALUE__V1__WATCH_RESPONSE__KIND__RESYNC) {
        r->relist = true;
        chassis_stream_cancel(stream);
        return;
    }
    for (size_t i = 0; i < res->n_events; i++) {
        const KV(Event) *event = res->events[i];
        if (event->type == CORE__REGISTRY__KEY_VALUE__V1__EVENT__TYPE__DELETE) {
            r->handlers->deleted(r->data, event->key,
                                 event->meta != NULL ? event->meta->revision : res->revision);
        } else {
            put(r, event->key, event->value, event->meta);
        }
    }
    r->revision = res->revision > r->revision ? res->revision : r->revision;
    r->attempt = 0;
}

static void on_closed(struct chassis_client_stream *stream, const struct chassis_reply *status,
                      void *data)
{
    struct fuse_records *r = data;
    r->stream = NULL;
    if (r->stopped) {
        return;
    }
    if (status->code == CHASSIS_OUT_OF_RANGE || status->code == CHASSIS_COMPACTED) {
        r->relist = true; /* we were away for longer than changes are kept */
    }
    lost(r, status->code, status->code != 0 ? status->text : "the node ended the stream");
}

static void watch(struct fuse_records *r)
{
    static const struct chassis_stream_handlers handlers = {.message = on_message,
                                                            .closed = on_closed};
    Google__Protobuf__Any kind = fuse_any(r->kind, chassis_view(NULL, 0));
    KV(WatchRequest) req = KV_INIT(WATCH_REQUEST);
    struct chassis_error err = {0};
    req.kind = &kind;
    req.key_prefix = (char *)(uintptr_t)r->prefix;
    req.start_revision = r->revision + 1;
    req.progress_ms = PROGRESS_MS;
    int rc = key_value_watch_open(r->client, &req, NULL, &handlers, r, &r->stream, &err);
    if (rc != 0) {
        r->stream = NULL;
        lost(r, rc, err.text);
    }
}

/* ---- listing ---- */

static void request(struct fuse_records *r, uint32_t limit, const char *page, chassis_reply_cb done)
{
    Google__Protobuf__Any kind = fuse_any(r->kind, chassis_view(NULL, 0));
    KV(ListRequest) req = KV_INIT(LIST_REQUEST);
    struct chassis_call_options options = {.timeout_ms = FUSE_CALL_MS, .idempotent = true};
    req.value = &kind;
    req.key_prefix = (char *)(uintptr_t)r->prefix;
    req.limit = limit;
    req.page_token = (char *)(uintptr_t)page;
    key_value_list(r->client, &req, &options, done, r);
}

static void on_page(const struct chassis_reply *reply, void *data)
{
    struct fuse_records *r = data;
    const KV(ListResponse) *res = reply->message;
    if (r->stopped) {
        return;
    }
    if (reply->code != 0) {
        lost(r, reply->code, reply->text);
        return;
    }
    if (r->page.len == 0) {
        r->handlers->begin(r->data);
    }
    for (size_t i = 0; i < res->n_values; i++) {
        const KV(Meta) *meta = NULL;
        for (size_t k = 0; k < res->n_metas && meta == NULL; k++) { /* found at once: same order */
            size_t at = (i + k) % res->n_metas;
            meta = strcmp(res->metas[at]->key, res->values[i]->key) == 0 ? res->metas[at]->value
                                                                         : NULL;
        }
        put(r, res->values[i]->key, res->values[i]->value, meta);
    }
    chassis_buf_clear(&r->page);
    if (res->next_page_token[0] != '\0') {
        chassis_buf_append_str(&r->page, res->next_page_token);
        list_page(r);
        return;
    }
    r->revision = res->revision;
    r->attempt = 0;
    r->relist = false;
    r->synced = true;
    r->handlers->end(r->data, res->revision);
    watch(r);
}

static void list_page(struct fuse_records *r)
{
    request(r, r->page_size != 0 ? r->page_size : PAGE,
            r->page.len != 0 ? (const char *)r->page.data : "", on_page);
}

/* ---- going on after a loss ---- */

/* A Blueprint whose newest revision is older than what it told was restored from a backup, or is
 * another one: what we know is not so any more. */
static void on_checked(const struct chassis_reply *reply, void *data)
{
    struct fuse_records *r = data;
    const KV(ListResponse) *res = reply->message;
    if (r->stopped) {
        return;
    }
    if (reply->code != 0) {
        lost(r, reply->code, reply->text);
    } else if (res->revision < r->revision) {
        chassis_log_warn(r->log, "Blueprint is behind what it told: its data is another one's",
                         chassis_f_str("kind", r->kind), chassis_f_u64("revision", res->revision),
                         chassis_f_u64("told", r->revision));
        r->relist = true;
        resume(r);
    } else {
        watch(r);
    }
}

static void resume(struct fuse_records *r)
{
    if (r->relist) {
        chassis_buf_clear(&r->page);
        list_page(r);
    } else {
        request(r, 1, "", on_checked);
    }
}

void fuse_records_start(struct fuse_records *records)
{
    records->timer.run = on_timer;
    records->relist = true;
    chassis_prng_init(&records->prng,
                      chassis_now_ns(records->loop) ^ (uintptr_t)(const void *)records);
    list_page(records);
}

void fuse_records_stop(struct fuse_records *records)
{
    records->stopped = true;
    chassis_cancel(records->loop, &records->timer);
    if (records->stream != NULL) {
        chassis_stream_cancel(records->stream);
    }
    chassis_buf_fini(&records->page);
}
