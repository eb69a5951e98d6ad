#include "damage.h"

#include "consensus/options.h"
#include "runtime/runtime.h"
#include "store.h"

static void damaged(void *data, const char *text)
{
    struct chassis *c = data;
    chassis_consensus_distrust(chassis_consensus(c), text);
    chassis_runtime_fail(c, "a record of the store is damaged: start again to have it rebuilt");
}

void bp_damage_watch(struct chassis *c)
{
    bp_store_on_damage(damaged, c);
}
