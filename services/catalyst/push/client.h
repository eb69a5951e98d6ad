/* The HTTP client of push subscriptions: a plugin, catalyst-push.so, loaded when the first group with
 * a push URL is there, so that a node without one carries no HTTP client.
 *
 * Invariants: `done` runs once for each request that was sent, within its timeout, and before
 * `closed` of a close; redirects are answers like others, they are not followed.
 * Threads: everything is called, and calls back, on the loop role.
 * Ownership: a request and what it points to are caller's memory until `done`.
 */
#ifndef CAT_PUSH_CLIENT_H
#define CAT_PUSH_CLIENT_H

#include <chassis/buf.h>
#include <chassis/executor.h>

/* Raised when anything here changes its shape. */
enum { CAT_PUSH_PLUGIN_VERSION = 2, CAT_PUSH_TEXT_MAX = 256 };

struct cat_push_request {
    const char *method; /* "POST", or another without a body */
    const char *url;
    const char *headers; /* "name: value" NUL "name: value" NUL NUL */
    struct chassis_view body;
    uint32_t timeout_ms; /* for the whole exchange */
    void (*done)(struct cat_push_request *request);
    /* Results: */
    unsigned status;              /* of the answer; 0 = there was none */
    uint32_t retry_after_ms;      /* what the answer asks for; 0 = nothing */
    char text[CAT_PUSH_TEXT_MAX]; /* why there was no answer */
    char allowed_origin[CAT_PUSH_TEXT_MAX], allowed_rate[32]; /* its webhook-allowed-… headers; "" =
                                                                 none, "?" = too long */
    /* the client's own */
    struct chassis_task task;
    struct cat_push_request *next;
    void *transfer;
};

struct cat_push_client;
struct cat_push_client_ops {
    void (*send)(struct cat_push_client *client, struct cat_push_request *request);
    /* What is under way ends without an answer. */
    void (*close)(struct cat_push_client *client, void (*closed)(void *data), void *data);
};
struct cat_push_client {
    const struct cat_push_client_ops *ops;
};

/* 0, or CHASSIS_BAD_VERSION, or -errno. */
typedef int (*cat_push_open_fn)(uint32_t version, struct chassis_executor *loop,
                                struct cat_push_client **ret_client);
#define CAT_PUSH_SYMBOL "cat_push_open"

#endif
