/* A call that lives on the loop: subscriptions, consumers, group members, readers of pages.
 *
 *      cat_session_open          handler: callbacks set, `start` posted to the loop
 *      ops->start                loop: open what it needs
 *      ops->news                 loop: there is room to send again, or the handler left something
 *      cat_session_stop          loop: ops->stop releases what it holds, the call ends
 *
 * Invariants: ops run on the loop, never after `stop` ran; `stop` runs once, whoever ends the call
 * (client, server, drain); a call is ended on its own executor, so it is never ended beside its
 * handler. The session lies in the call's arena and lives until its last task ran.
 * Threads: open, news: the call's role; stop, send: the loop.
 */
#ifndef CAT_BROKER_SESSION_H
#define CAT_BROKER_SESSION_H

#include <stdatomic.h>

#include <chassis/call.h>

#include "base/list.h"
#include "catalyst/broker/rpc.h"

struct cat_session;
struct cat_session_ops {
    void (*start)(struct cat_session *session);
    void (*news)(struct cat_session *session); /* may be NULL */
    void (*stop)(struct cat_session *session);
};

struct cat_session {
    const struct cat_session_ops *ops;
    struct chassis_call *call;
    struct cat_views *views;
    struct chassis_executor *home;
    struct chassis_list link; /* of views->sessions; the loop's, as the next two */
    bool started, stopped;
    bool over;                 /* the call has ended; home's */
    bool finishing;            /* the client is done; set before `cancel` is posted */
    int status;                /* to end with, 0 = OK */
    struct chassis_buf answer; /* of a unary call, with OK; set before stop */
    bool answers;
    struct chassis_error err;
    struct chassis_task start, news, cancel, end, gone;
    atomic_bool news_posted, cancel_posted;
};

/* `session` lies in the call's arena. */
void cat_session_open(struct cat_session *session, struct chassis_call *call,
                      const struct cat_session_ops *ops);
/* Have ops->news run soon. */
void cat_session_news(struct cat_session *session);
/* End with OK (err NULL) or an error. Nothing happens if it is stopped. */
void cat_session_stop(struct cat_session *session, const struct chassis_error *err);
/* The same with OK, from the call's role: behind everything that was posted. */
void cat_session_finish(struct cat_session *session);
/* Keep its memory beyond its end: for what is under way elsewhere and cannot be called back. */
void cat_session_hold(struct cat_session *session);
void cat_session_put(struct cat_session *session);
/* 0, CHASSIS_RESOURCE_EXHAUSTED (news follows when there is room), CHASSIS_CANCELLED. */
int cat_session_send(struct cat_session *session, struct chassis_view encoded);

#endif
