#include "watch_call.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "rpc/transport.h"

struct watch_call {
    struct bp_watcher watcher;
    struct chassis_call *call; /* NULL once it was ended */
    struct bp_feed *feed;
    struct chassis_buf filter;
    void (*encode)(const struct bp_feed_batch *batch, struct chassis_buf *out);
    struct chassis_buf pending; /* what a full queue left over of a batch */
    struct chassis_task start, cancel, writable;
    /* Tasks on their way: set by the callbacks, which the call waits for when it is ended, so after
     * the end only these keep the memory alive. */
    atomic_bool cancel_posted, writable_posted;
};

static void release(struct watch_call *w)
{
    if (w->call == NULL && !atomic_load(&w->cancel_posted) && !atomic_load(&w->writable_posted)) {
        chassis_buf_fini(&w->filter);
        chassis_buf_fini(&w->pending);
        free(w);
    }
}

/* Sends blocks until one is refused; what is left stays in `left`. 0 when all went. */
static int send_blocks(struct watch_call *w, struct chassis_view blocks,
                       struct chassis_view *ret_left)
{
    while (blocks.len != 0) {
        struct chassis_reader r = chassis_reader(blocks);
        struct chassis_view message = chassis_read_block(&r);
        CHASSIS_ASSERT(!r.bad);
        int code = chassis_call_send_bytes(w->call, message);
        if (code != 0) {
            *ret_left = blocks;
            return code;
        }
        blocks = chassis_view(r.next, chassis_reader_left(&r));
    }
    *ret_left = blocks;
    return 0;
}

static int send_batch(struct bp_watcher *watcher, struct bp_feed_batch *batch)
{
    struct watch_call *w = chassis_container_of(watcher, struct watch_call, watcher);
    if (w->pending.len != 0) {
        return CHASSIS_RESOURCE_EXHAUSTED;
    }
    if (batch->encoded.len == 0) {
        w->encode(batch, &batch->encoded);
    }
    struct chassis_view all = chassis_buf_view(&batch->encoded), left;
    int r = send_blocks(w, all, &left);
    if (r == CHASSIS_RESOURCE_EXHAUSTED && left.len < all.len) {
        chassis_buf_append_view(&w->pending, left);
        r = 0;
    }
    return r;
}

static void ended(struct bp_watcher *watcher, const struct chassis_error *err)
{
    struct watch_call *w = chassis_container_of(watcher, struct watch_call, watcher);
    struct chassis_call *call = w->call;
    w->call = NULL;
    if (err->code == CHASSIS_SHUTTING_DOWN) { /* the client goes on at another node at once */
        chassis_call_set_trailer(call, CHASSIS_NOT_RUN_TRAILER, chassis_view_str("1"));
    }
    chassis_call_fail_error(call, err);
    release(w);
}

static const struct bp_sink_ops sink_ops = {send_batch, ended};

static void run_cancel(struct chassis_task *task)
{
    struct watch_call *w = chassis_container_of(task, struct watch_call, cancel);
    atomic_store(&w->cancel_posted, false);
    if (w->call != NULL) {
        bp_feed_remove(w->feed, &w->watcher);
        struct chassis_call *call = w->call;
        w->call = NULL;
        chassis_call_fail(call, CHASSIS_CANCELLED, "the client went away");
    }
    release(w);
}

static void run_writable(struct chassis_task *task)
{
    struct watch_call *w = chassis_container_of(task, struct watch_call, writable);
    atomic_store(&w->writable_posted, false);
    if (w->call == NULL) {
        release(w);
        return;
    }
    struct chassis_view left;
    int r = send_blocks(w, chassis_buf_view(&w->pending), &left);
    chassis_buf_consume(&w->pending, w->pending.len - left.len);
    if (r == 0) {
        bp_feed_writable(w->feed, &w->watcher);
    }
}

static void on_cancel(struct chassis_call *call, void *data)
{
    struct watch_call *w = data;
    if (!atomic_exchange(&w->cancel_posted, true)) {
        chassis_post(w->feed->executor, &w->cancel);
    }
}

static void on_writable(struct chassis_call *call, void *data)
{
    struct watch_call *w = data;
    if (!atomic_exchange(&w->writable_posted, true)) {
        chassis_post(w->feed->executor, &w->writable);
    }
}

static void run_start(struct chassis_task *task)
{
    struct watch_call *w = chassis_container_of(task, struct watch_call, start);
    struct chassis_error err = {0};
    /* From here on the client's going away is a task behind this one. */
    chassis_call_on_writable(w->call, on_writable, w);
    chassis_call_on_cancel(w->call, on_cancel, w);
    if (w->feed->closed) {
        chassis_error_set(&err, CHASSIS_SHUTTING_DOWN,
                          "the node is shutting down: watch at another");
        ended(&w->watcher, &err);
    } else if (bp_feed_add(w->feed, &w->watcher, chassis_buf_view(&w->filter), &err) != 0) {
        ended(&w->watcher, &err);
    }
}

void bp_watch_call_open(struct chassis_call *call, const struct bp_watch_options *options)
{
    struct watch_call *w = chassis_base_zalloc(sizeof *w);
    w->watcher.ops = &sink_ops;
    w->watcher.next = options->start_revision;
    w->watcher.begin = options->begin_with_snapshot;
    w->watcher.progress_ns = options->progress_ms * CHASSIS_NS_PER_MS;
    w->call = call;
    w->feed = options->feed;
    w->encode = options->encode;
    chassis_buf_append_view(&w->filter, options->filter);
    w->start.run = run_start;
    w->cancel.run = run_cancel;
    w->writable.run = run_writable;
    chassis_post(w->feed->executor, &w->start);
}
