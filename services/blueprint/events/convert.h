/* Rows as CloudEvents: types draft.blueprint.record.put|deleted, draft.blueprint.process.joined|
 * changed|left|expired and draft.blueprint.gap; data is the JSON of the contract's Event or
 * ProcessEvent, subject the key or the pid.
 *
 * Threads: the loop role. Ownership: results live in the arena.
 */
#ifndef BP_EVENTS_CONVERT_H
#define BP_EVENTS_CONVERT_H

#include "draft/events/v1/events.chassis.h"
#include "rows.h"

enum { BP_EVENTS_DATA_MAX = 900 << 10 }; /* bytes; a larger value is left out, and said to be */

Core__MessageBroker__Actors__V1__CloudEvent *
bp_events_message(struct chassis_arena *arena, const char *source, const struct bp_events_row *row);
Core__MessageBroker__Actors__V1__CloudEvent *bp_events_gap(struct chassis_arena *arena,
                                                           const char *source, const char *id,
                                                           uint64_t from, uint64_t through);

#endif
