/* Consensus alone, with registers. */
#include "program.h"

static const struct sim_planted planted[] = {
    {"acknowledging before the sync", CHASSIS_PLANTED_ACK_BEFORE_SYNC, 0, false, false},
    {"forgetting term and vote", CHASSIS_PLANTED_FORGOTTEN_VOTE, 0, true, false},
    {"reading without asking a majority", CHASSIS_PLANTED_STALE_READ, 0, false, false},
    {"applying a command twice", CHASSIS_PLANTED_NO_DEDUPE, 0, false, false},
};

int main(int argc, char **argv)
{
    static const struct sim_program program = {
        "cluster", sim_register_new, sim_register_free, planted, sizeof planted / sizeof planted[0],
        NULL};
    return sim_program_main(&program, argc, argv);
}
