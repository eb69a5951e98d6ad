/* Every view of the service, for main and for tests. */
#ifndef CAT_VIEWS_VIEWS_H
#define CAT_VIEWS_VIEWS_H

#include <chassis/chassis.h>

#include "catalyst/broker/rpc.h"

/* Before chassis_run: RPCs and routes. `views` is filled in (cat_views_init) before READY. */
void cat_views_add(struct chassis *c, struct cat_views *views);

#endif
