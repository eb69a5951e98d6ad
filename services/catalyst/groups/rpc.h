/* The groups' views. Threads and ownership: broker/rpc.h. */
#ifndef CAT_GROUPS_RPC_H
#define CAT_GROUPS_RPC_H

#include "catalyst/broker/rpc.h"
#include "catalyst/groups/groups.h"

struct chassis_service cat_group_service(struct cat_views *views);
struct chassis_service cat_dead_letter_service(struct cat_views *views);

/* For cat_groups_options.filter. */
int cat_group_filter_of(struct chassis_view encoded, struct cat_filter **ret_filter,
                        struct chassis_error *err);

#endif
