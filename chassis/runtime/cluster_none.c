/* Built only where the consensus module is not: a service that asks for it is refused at boot. */
#include "runtime/internal.h"

int stage_cluster(struct chassis *c, struct chassis_error *err)
{
    return c->machine == NULL ? 0
                              : chassis_error_set(err, CHASSIS_UNIMPLEMENTED,
                                                  "this build has no consensus module");
}
void unstage_cluster(struct chassis *c)
{
}
int stage_cluster_start(struct chassis *c, struct chassis_error *err)
{
    return 0;
}
void cluster_hand_over(struct chassis *c)
{
}
bool cluster_ready(void *data)
{
    return true;
}
struct chassis_consensus *cluster_node(struct chassis *c)
{
    return NULL;
}
int cluster_add_services(struct chassis *c, struct chassis_error *err)
{
    return 0;
}
