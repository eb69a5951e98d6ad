/* What happened, in the order it happened: the versions of key_value and the transitions of
 * service_discovery by their position, merged.
 *
 * Invariants: a position stands in one of the two tables only; rows come in ascending order, each once.
 * Threads: as the transaction. Ownership: views of a row live during `each`.
 */
#ifndef BP_EVENTS_ROWS_H
#define BP_EVENTS_ROWS_H

#include "../key_value/watch.h"
#include "../service_discovery/watch.h"

#define BP_EVENTS_POSITION_KIND "type.googleapis.com/core.registry.key_value.v1.Value"
#define BP_EVENTS_POSITION_KEY  "events_position"

struct bp_events_row {
    struct bp_position at;
    bool process;              /* a transition, else a record */
    struct bp_kv_event record; /* without the former value */
    struct bp_sd_transition transition;
    bool own; /* the publisher's position: not worth to remember a position for */
};

/* Call `each` for the rows from `from` on until it returns non-zero: 1 = enough (0 is returned),
 * negative = an error, returned. */
int bp_events_rows(struct chassis_txn *txn, struct bp_position from,
                   int (*each)(const struct bp_events_row *row, void *data), void *data,
                   struct chassis_error *err);
/* Revisions up to this one may be incomplete: compacted, or transitions that are forgotten. */
int bp_events_horizon(struct chassis_txn *txn, uint64_t *ret_revision, struct chassis_error *err);
/* The position remembered in the store; 0 = none. */
int bp_events_position_get(struct chassis_txn *txn, uint64_t *ret_revision,
                           struct chassis_error *err);
/* The command that remembers it. Appends. */
void bp_events_position_encode(uint64_t revision, struct chassis_buf *out);

/* Ids of events: "17", of further rows of a revision "17.1"; of a gap "gap-18-29". */
enum { BP_EVENTS_ID_MAX = 64 };
void bp_events_id(struct bp_position at, char out[BP_EVENTS_ID_MAX]);
/* Where to go on after the event with this id; *ret_gap is the last revision of a gap, else 0. False:
 * not an id of ours. */
bool bp_events_id_parse(const char *id, struct bp_position *ret_next, uint64_t *ret_gap);

#endif
