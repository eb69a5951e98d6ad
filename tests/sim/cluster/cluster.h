/* A simulated cluster: the very objects of the service on simulated machines, clients, faults.
 *
 * One run is one seed: the clients of a workload work while machines crash, networks split, disks
 * fill up and lose unsynced writes; then everything heals, and the cluster must go on, must agree,
 * and must be explained by registers.
 */
#ifndef DRAFT_SIM_CLUSTER_H
#define DRAFT_SIM_CLUSTER_H

#include "consensus/options.h"
#include "os/sim.h"
#include "workload.h"

enum { SIM_NODES_MAX = 5, SIM_CLIENTS_MAX = 8 };

struct sim_config {
    uint64_t seed;
    unsigned n_nodes, n_clients;
    uint64_t fault_ns; /* virtual time with faults */
    unsigned planted;  /* enum chassis_consensus_planted */
    bool faults;
    bool storm; /* crashes and short splits only, one upon the other: elections all the time */
    bool quiet; /* do not print what was found (planted bugs are expected) */
};

struct sim_report {
    uint64_t operations, unknown, crashes, partitions, restarts, disk_full, installs, checkpoints;
    uint64_t virtual_ns;
};

/* True if nothing was found. */
bool sim_cluster_run(const struct sim_config *config, struct sim_workload *workload,
                     struct sim_report *ret_report);

#endif
