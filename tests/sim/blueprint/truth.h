/* What really happened, as the first node that applied an entry saw it: every row of the two logs of
 * Blueprint in order. Watchers, reads and acknowledgements are held against it.
 *
 * An entry that is applied anywhere is committed, so what stands here must be so on every node.
 */
#ifndef DRAFT_SIM_BLUEPRINT_TRUTH_H
#define DRAFT_SIM_BLUEPRINT_TRUTH_H

#include "blueprint/machine.h"

enum truth_log {
    TRUTH_REGISTERS,   /* records of kind "sim" */
    TRUTH_LEASED,      /* records of kind "leased" */
    TRUTH_TRANSITIONS, /* of processes; value is the type */
    TRUTH_LOGS,
};
struct truth_row {
    uint64_t revision;
    uint32_t sub;
    bool deleted;
    uint64_t value;
    char key[40];   /* or pid */
    char lease[40]; /* of a leased record */
};
struct truth {
    struct truth_rows {
        struct truth_row *rows;
        size_t n, cap;
    } logs[TRUTH_LOGS];
    uint64_t revision, floor;
    bool wrong, quiet;
};
#define TRUTH_KIND   "sim"
#define TRUTH_LEASES "leased"

void truth_fini(struct truth *t);
__attribute__((format(printf, 2, 3))) void truth_wrong(struct truth *t, const char *format, ...);
/* After a command was applied: note what is new. */
void truth_note(struct truth *t, struct chassis_txn *txn);
/* First row of a log at or after a revision. */
size_t truth_find(const struct truth *t, enum truth_log log, uint64_t revision);
/* The register as of a revision, 0 = absent. */
uint64_t truth_register(const struct truth *t, const char *key, uint64_t revision);
void truth_copy(char *out, size_t size, struct chassis_view text);
uint64_t truth_number(struct chassis_view text);

#endif
