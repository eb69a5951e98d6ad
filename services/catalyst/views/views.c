#include "catalyst/views/views.h"

#include "catalyst/groups/rpc.h"
#include "catalyst/http/http.h"

void cat_views_add(struct chassis *c, struct cat_views *views)
{
    struct chassis_http_route routes[CAT_HTTP_ROUTES];
    chassis_with_rpc_handler(c, cat_producer_service(views));
    chassis_with_rpc_handler(c, cat_consumer_service(views));
    chassis_with_rpc_handler(c, cat_event_service(views));
    chassis_with_rpc_handler(c, cat_stream_service(views));
    chassis_with_rpc_handler(c, cat_group_service(views));
    chassis_with_rpc_handler(c, cat_dead_letter_service(views));
    cat_http_routes(views, routes);
    for (unsigned i = 0; i < CAT_HTTP_ROUTES; i++) {
        chassis_with_http_route(c, &routes[i]);
    }
}
