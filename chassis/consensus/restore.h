/* The data directory of a new cluster's node, made from a backup.
 *
 * The new cluster is another one than the one that was backed up, even with the same member list and
 * secret: its id also comes from an origin drawn at random, which all nodes of it are given. Each
 * node is made from the same file, so no node has to trust an empty one.
 *
 * Invariants: what the file holds is checked completely before the directory gets its name; after a
 * crash nothing was restored. A directory that holds anything is refused.
 * Threads: blocking; no node may be running on the directory. Ownership: texts are borrowed.
 */
#ifndef CHASSIS_CONSENSUS_RESTORE_H
#define CHASSIS_CONSENSUS_RESTORE_H

#include "consensus/identity.h"
#include "consensus/options.h"

struct chassis_consensus_restore {
    const char *file;           /* a backup: a checkpoint file of the same service */
    const char *name;           /* of this node */
    const char *const *members; /* of the new cluster */
    unsigned n_members;
    struct chassis_view secret;
    const char *directory; /* as in chassis_consensus_options; is made */
    struct chassis_disk *disk;
    const struct chassis_state_machine *machine;
    uint8_t origin[IDENTITY_ORIGIN_LEN]; /* the same for all nodes of the new cluster, not zero */
};
struct chassis_consensus_restored {
    uint64_t index, term;
    uint8_t cluster_id[16];
};
/* CHASSIS_ALREADY_EXISTS when there are data, CHASSIS_CORRUPT, CHASSIS_BAD_VERSION, CHASSIS_CONFIG
 * for a file of another service or a member list without this node. */
int chassis_consensus_restore(const struct chassis_consensus_restore *restore,
                              struct chassis_consensus_restored *ret_restored,
                              struct chassis_error *err);

#endif
