/* draft.events.v1 groups to plain structs and back; shared by the views' files.
 *
 * Threads: any. Ownership: what is made lies in the arena and points into what was given.
 */
#ifndef CAT_GROUPS_CONVERT_H
#define CAT_GROUPS_CONVERT_H

#include "catalyst/broker/convert.h"
#include "catalyst/groups/groups.h"

/* Ranges and defaults are the controller's. `config` NULL: CHASSIS_INVALID_ARGUMENT. */
int cat_group_config_of(struct chassis_arena *arena, const EV(GroupConfig) * config,
                        struct cat_group_config *ret_config, struct chassis_error *err);
EV(Group) * cat_group_message(struct chassis_arena *arena, const struct cat_group_info *info);

/* GroupService.Join (join.c) */
void cat_join_open(struct chassis_call *call);
void cat_join_message(struct chassis_call *call, const EV(JoinRequest) * req);
void cat_join_end(struct chassis_call *call);

#endif
