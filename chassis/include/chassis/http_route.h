/* HTTP of a service's own, beside its RPCs: webhooks, server-sent events, pages.
 *
 *     static void hello(struct chassis_call *call, const struct chassis_http_request *request)
 *     {
 *         const char *name = chassis_http_query(call, "name");
 *         chassis_http_answer(call, 200, "text/plain", chassis_view_str(name != NULL ? name : "you"));
 *     }
 *     chassis_with_http_route(c, &(struct chassis_http_route){
 *         .method = "GET", .path = "/hello", .handle = hello});
 *
 * A request is a call (<chassis/call.h>) with another way to answer: limits, access classes, logs,
 * metrics, trace context, deadline, cancellation and back-pressure are those of RPCs. While a handler
 * is at it the connection is suspended and costs no thread.
 *
 *     chassis_http_answer        the whole answer, now or later, from any role
 *     chassis_http_begin         status and headers; then chassis_call_send_bytes pieces of the body,
 *                                refused with CHASSIS_RESOURCE_EXHAUSTED while the client reads too
 *                                slowly (chassis_call_on_writable), then chassis_call_finish
 *     chassis_call_fail          the HTTP status that stands for the code, {"code": …, "message": …} as
 *                                body; after a begin the connection is broken off
 *     chassis_call_set_header    further headers, before either
 *
 * Invariants: the longest path of a route wins; another method of a path that has routes is answered
 * 405 with what is allowed; RPCs and the pages of the chassis itself (/livez …) come first. OPTIONS is
 * answered by the chassis, as a browser's preflight; a route for OPTIONS gets those that are none.
 * Threads: handlers run on a worker, or on the http thread if the route "never blocks"; the functions
 * below as those of calls.
 * Ownership: a route is copied, its texts are borrowed; a request lives until its call ends.
 */
#ifndef CHASSIS_HTTP_ROUTE_H
#define CHASSIS_HTTP_ROUTE_H

#include <chassis/buf.h>
#include <chassis/call.h>

struct chassis_http_request {
    const char *method; /* "POST" */
    const char *path;   /* whole, percent-decoded, without the query */
    const char *rest;   /* of the path, behind the route's own and a '/'; "" = nothing */
    struct chassis_view body;
    const struct chassis_pair *headers; /* names in lower case */
    size_t n_headers;
};

struct chassis_http_route {
    const char *method;
    const char *path; /* "/events": this path and everything below it ("/events/orders") */
    enum chassis_access access;
    bool never_blocks;
    bool lasting;          /* no deadline: the answer may go on for ever */
    size_t body_bytes_max; /* 0 = the server's limit */
    void (*handle)(struct chassis_call *call, const struct chassis_http_request *request);
    void *data; /* chassis_call_data() */
};

/* A parameter of the query, percent-decoded; NULL if absent, the first if there are several. */
const char *chassis_http_query(const struct chassis_call *call, const char *name);

/* The whole answer; ends the call. `content_type` NULL = none. The body is copied. */
void chassis_http_answer(struct chassis_call *call, unsigned status, const char *content_type,
                         struct chassis_view body);
/* Status and headers of an answer that comes in pieces; they leave at once. */
void chassis_http_begin(struct chassis_call *call, unsigned status, const char *content_type);

#endif
