/* The main function of a simulation: many seeds, one again, the kept ones, planted bugs. */
#ifndef DRAFT_SIM_PROGRAM_H
#define DRAFT_SIM_PROGRAM_H

#include "cluster.h"

struct sim_planted {
    const char *name;
    unsigned consensus; /* enum chassis_consensus_planted */
    unsigned workload;  /* given to workload_new */
    bool storm, grind;  /* of sim_config */
};
struct sim_program {
    const char *name; /* as `./dev sim` knows it */
    struct sim_workload *(*workload_new)(unsigned planted);
    void (*workload_free)(struct sim_workload *w);
    const struct sim_planted *planted;
    unsigned n_planted;
    void (*summary)(void); /* further lines at the end (NULL: none) */
};
int sim_program_main(const struct sim_program *program, int argc, char **argv);

#endif
