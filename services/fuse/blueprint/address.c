#include "address.h"

#include <stdio.h>

#include "wire.h"

enum { LOOK_MS = 250 }; /* until this process is registered */

static void claim(struct fuse_address *a);

static void later(struct fuse_address *a, uint64_t ns)
{
    chassis_post_after(a->loop, &a->timer, ns);
}

static void on_timer(struct chassis_timer *timer)
{
    claim(chassis_container_of(timer, struct fuse_address, timer));
}

static void on_written(const struct chassis_reply *reply, void *data)
{
    struct fuse_address *a = data;
    a->writing = false;
    if (a->records.stopped) {
        return;
    }
    if (reply->code == 0) {
        a->claimed = true;
        a->attempt = 0;
    } else if (reply->code != CHASSIS_ABORTED) { /* else another one was faster */
        chassis_log_info(a->log, "cannot publish the address", chassis_f_code(reply->code),
                         chassis_f_str("text", reply->text));
        later(a, fuse_backoff_ns(&a->prng, &a->attempt));
    }
}

/* The first time whatever is there, afterwards only where nothing is. */
static void claim(struct fuse_address *a)
{
    char url[300];
    if (a->writing || (a->claimed && a->present)) {
        return;
    }
    if (!a->self(a->data, url, a->pid)) {
        later(a, LOOK_MS * CHASSIS_NS_PER_MS);
        return;
    }
    KV(Value) value = KV_INIT(VALUE);
    KV(SetRequest) req = KV_INIT(SET_REQUEST);
    struct chassis_buf bytes = {0};
    struct chassis_call_options options = {.timeout_ms = FUSE_CALL_MS, .idempotent = true};
    value.data = url;
    chassis_encode(&value, &bytes);
    Google__Protobuf__Any any = fuse_any(FUSE_KIND_VALUE, chassis_buf_view(&bytes));
    req.key = (char *)(uintptr_t)FUSE_KEY_ADDRESS;
    req.value = &any;
    req.lease = a->pid;
    if (a->claimed) {
        req._expected_revision_case =
            CORE__REGISTRY__KEY_VALUE__V1__SET_REQUEST___EXPECTED_REVISION_EXPECTED_REVISION;
        req.expected_revision = 0;
    }
    a->writing = true;
    chassis_log_info(a->log, "publishing the address", chassis_f_str("url", url));
    key_value_set(a->client, &req, &options, on_written, a);
    chassis_buf_fini(&bytes);
}

static void on_begin(void *data)
{
    ((struct fuse_address *)data)->present = false;
}

static void on_put(void *data, const char *key, struct chassis_view value,
                   const struct fuse_record_meta *meta)
{
    struct fuse_address *a = data;
    a->present = a->present || strcmp(key, FUSE_KEY_ADDRESS) == 0;
}

static void on_deleted(void *data, const char *key, uint64_t revision)
{
    struct fuse_address *a = data;
    if (strcmp(key, FUSE_KEY_ADDRESS) == 0) {
        a->present = false;
        claim(a);
    }
}

static void on_end(void *data, uint64_t revision)
{
    claim(data);
}

void fuse_address_start(struct fuse_address *address)
{
    static const struct fuse_records_handlers handlers = {on_begin, on_put, on_deleted, on_end};
    address->timer.run = on_timer;
    address->records = (struct fuse_records){
        .client = address->client,
        .loop = address->loop,
        .log = address->log,
        .kind = FUSE_KIND_VALUE,
        .prefix = FUSE_KEY_ADDRESS,
        .handlers = &handlers,
        .data = address,
    };
    chassis_prng_init(&address->prng,
                      chassis_now_ns(address->loop) ^ (uintptr_t)(const void *)address);
    fuse_records_start(&address->records);
}

void fuse_address_stop(struct fuse_address *address)
{
    chassis_cancel(address->loop, &address->timer);
    fuse_records_stop(&address->records);
}
