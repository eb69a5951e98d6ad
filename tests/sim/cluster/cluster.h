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

enum sim_fault {
    SIM_FAULT_KILL,       /* a killed process: everything written is there */
    SIM_FAULT_POWER,      /* a machine without power: unsynced writes torn or lost */
    SIM_FAULT_ALL_DOWN,   /* all machines at once */
    SIM_FAULT_SHUTDOWN,   /* a clean stop */
    SIM_FAULT_SPLIT,      /* nodes in two groups */
    SIM_FAULT_LEADER_CUT, /* the leader alone */
    SIM_FAULT_ONE_WAY,    /* one direction of some links */
    SIM_FAULT_RESET,      /* a session ends, with the frames under way */
    SIM_FAULT_LAG,        /* one node's network is slow */
    SIM_FAULT_DISK_FULL,
    SIM_FAULT_ALL_FULL,   /* the disks of all nodes */
    SIM_FAULT_SLOW_SYNC,  /* the journal's disk is slow */
    SIM_FAULT_TRANSFER,   /* leadership is handed over */
    SIM_FAULT_CHECKPOINT, /* asked for now */
    SIM_FAULT_CLOCK,      /* wall time jumps */
    SIM_FAULT_STORE_LOST, /* the store's files are damaged while the machine is down */
    SIM_FAULT_STALL,      /* a process stands still for a while */
    SIM_FAULTS,
};
extern const char *const sim_fault_names[SIM_FAULTS];

struct sim_config {
    uint64_t seed;
    unsigned n_nodes, n_clients;
    uint64_t fault_ns; /* virtual time with faults */
    unsigned planted;  /* enum chassis_consensus_planted */
    bool faults;
    bool storm; /* crashes and short splits only, one upon the other: elections all the time */
    bool grind; /* leaders cut off above slow disks, losses of power */
    bool quiet; /* do not print what was found (planted bugs are expected) */
    bool trace; /* print every fault and operation */
    bool lmdb;  /* stores of real files under `directory` instead of memory */
    const char *directory;
};

struct sim_report {
    uint64_t operations, unknown, restarts, installs, virtual_ns, faults[SIM_FAULTS];
};

/* True if nothing was found. */
bool sim_cluster_run(const struct sim_config *config, struct sim_workload *workload,
                     struct sim_report *ret_report);

#endif
