/* CloudEvents over HTTP (binding 1.0.2) and server-sent events, as routes of the service.
 *
 *     POST /events, /events/STREAM    one event (binary or structured mode) or a batch; answered when
 *                                     it is stored. Without STREAM the streams' rules say where to
 *     GET  /events/STREAM             accept: text/event-stream; each event as JSON, its sequence as
 *                                     id, so that a browser that comes back goes on where it was
 *
 * The answer to a POST is JSON {"accepted", "duplicates", "lastSequence", "refusals": [{"index", "id",
 * "code", "message"}]}; 200 if every event is stored, else the status of the first refusal's code with
 * "code" and "message" beside: what is not among the refusals is stored all the same.
 * Parameters of GET: start = new (the default), earliest, a sequence or an RFC 3339 time; source, type,
 * subject = patterns; sql = a CloudEvents SQL expression; filter = filters of the Subscriptions API as
 * JSON. The header Last-Event-ID goes before `start`.
 *
 * Threads and ownership: broker/rpc.h.
 */
#ifndef CAT_HTTP_HTTP_H
#define CAT_HTTP_HTTP_H

#include <chassis/http_route.h>

#include "catalyst/broker/rpc.h"

enum { CAT_HTTP_ROUTES = 2 };

void cat_http_routes(struct cat_views *views, struct chassis_http_route ret[CAT_HTTP_ROUTES]);

/* The handlers (post.c, sse.c). */
void cat_http_post(struct chassis_call *call, const struct chassis_http_request *request);
void cat_http_follow(struct chassis_call *call, const struct chassis_http_request *request);

#endif
