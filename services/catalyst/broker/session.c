#include "catalyst/broker/session.h"

#include "rpc/transport.h"

static void begin(struct cat_session *s)
{
    s->started = true;
    chassis_list_append(&s->views->sessions, &s->link);
    if (s->views->draining) {
        struct chassis_error err;
        chassis_error_set(&err, CHASSIS_SHUTTING_DOWN,
                          "the service is shutting down: go on at another node or later");
        cat_session_stop(s, &err);
        return;
    }
    s->ops->start(s);
}

static void run_start(struct chassis_task *task)
{
    struct cat_session *s = chassis_container_of(task, struct cat_session, start);
    struct chassis_call *call = s->call;
    if (!s->stopped) { /* by a client that was gone before */
        begin(s);
    }
    chassis_call_unref(call);
}

static void run_news(struct chassis_task *task)
{
    struct cat_session *s = chassis_container_of(task, struct cat_session, news);
    atomic_store(&s->news_posted, false);
    if (!s->stopped && s->started && s->ops->news != NULL) {
        s->ops->news(s);
    }
}

void cat_session_news(struct cat_session *session)
{
    if (!atomic_exchange(&session->news_posted, true)) {
        chassis_post(session->views->loop, &session->news);
    }
}

static void run_cancel(struct chassis_task *task)
{
    struct cat_session *s = chassis_container_of(task, struct cat_session, cancel);
    struct chassis_error err;
    chassis_error_set(&err, CHASSIS_CANCELLED, "the client went away");
    cat_session_stop(s, s->finishing ? NULL : &err);
}

static void post_cancel(struct cat_session *s)
{
    if (!atomic_exchange(&s->cancel_posted, true)) {
        chassis_post(s->views->loop, &s->cancel);
    }
}

void cat_session_finish(struct cat_session *session)
{
    session->finishing = true;
    post_cancel(session);
}

static void on_cancel(struct chassis_call *call, void *data)
{
    post_cancel(data);
}

static void on_writable(struct chassis_call *call, void *data)
{
    cat_session_news(data);
}

/* Ours, or the server's own (a message too large). */
static void on_end(struct chassis_call *call, void *data)
{
    struct cat_session *s = data;
    s->over = true;
    post_cancel(s);
}

/* Behind every task that was posted to the loop before the call ended. */
static void run_gone(struct chassis_task *task)
{
    struct cat_session *s = chassis_container_of(task, struct cat_session, gone);
    chassis_call_unref(s->call);
}

static void run_end(struct chassis_task *task)
{
    struct cat_session *s = chassis_container_of(task, struct cat_session, end);
    if (s->over) {
    } else if (s->status == 0 && s->answers) {
        chassis_call_reply_bytes(s->call, chassis_buf_view(&s->answer));
    } else if (s->status == 0) {
        chassis_call_finish(s->call);
    } else {
        if (s->status == CHASSIS_SHUTTING_DOWN) { /* clients go on elsewhere at once */
            chassis_call_set_trailer(s->call, CHASSIS_NOT_RUN_TRAILER, chassis_view_str("1"));
        }
        chassis_call_fail_error(s->call, &s->err);
    }
    chassis_buf_fini(&s->answer);
    chassis_post(s->views->loop, &s->gone);
}

void cat_session_stop(struct cat_session *session, const struct chassis_error *err)
{
    if (session->stopped) {
        return;
    }
    session->stopped = true;
    if (session->started) {
        chassis_list_remove(&session->link);
        session->ops->stop(session);
    }
    if (err != NULL) {
        session->status = err->code;
        session->err = *err;
    }
    chassis_post(session->home, &session->end);
}

void cat_session_hold(struct cat_session *session)
{
    chassis_call_ref(session->call);
}

void cat_session_put(struct cat_session *session)
{
    chassis_call_unref(session->call);
}

int cat_session_send(struct cat_session *session, struct chassis_view encoded)
{
    return chassis_call_send_bytes(session->call, encoded);
}

void cat_session_open(struct cat_session *session, struct chassis_call *call,
                      const struct cat_session_ops *ops)
{
    struct cat_session *s = session;
    s->ops = ops;
    s->call = call;
    s->views = chassis_call_data(call);
    s->home = chassis_call_executor(call);
    s->home = s->home != NULL ? s->home : s->views->loop;
    s->start.run = run_start;
    s->news.run = run_news;
    s->cancel.run = run_cancel;
    s->end.run = run_end;
    s->gone.run = run_gone;
    chassis_call_ref(call); /* until `gone` ran */
    chassis_call_ref(call); /* until `start` ran: the client's going away may be faster */
    chassis_call_on_end(call, on_end, s);
    chassis_call_on_writable(call, on_writable, s);
    chassis_call_on_cancel(call, on_cancel, s);
    /* Where the loop is the call's home it may end the call from here on. */
    chassis_post(s->views->loop, &s->start);
}
