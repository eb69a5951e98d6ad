/* Blueprint's commands, controllers and feeds. */
#include "blueprint_workload.h"
#include "program.h"

static const struct sim_planted planted[] = {
    {"a watch leaves out a revision", 0, LOAD_SKIP, false, false},
    {"a watch shows a revision twice", 0, LOAD_DUPLICATE, false, false},
    {"a watch swaps changes after a resync", 0, LOAD_REORDER, false, false},
    {"acknowledging before the sync", CHASSIS_PLANTED_ACK_BEFORE_SYNC, 0, false, false},
    {"reading without asking a majority", CHASSIS_PLANTED_STALE_READ, 0, false, false},
};

int main(int argc, char **argv)
{
    static const struct sim_program program = {"blueprint",
                                               sim_blueprint_new,
                                               sim_blueprint_free,
                                               planted,
                                               sizeof planted / sizeof planted[0],
                                               sim_blueprint_summary};
    return sim_program_main(&program, argc, argv);
}
