/* The life of a process as a state machine.
 *
 *   BOOT ──all stages──▶ READY ──signal, chassis_stop──▶ DRAINING ──calls over, grace──▶ CLOSING ──▶ DONE
 *    └───────stage failed, signal─────────────────────────────────────────────────────▶ CLOSING
 *
 * Invariants: only the moves of the table in life.c; DONE is left by nobody.
 * Threads: none of its own; the chassis guards it with its mutex.
 */
#ifndef CHASSIS_RUNTIME_LIFE_H
#define CHASSIS_RUNTIME_LIFE_H

#include <stdbool.h>

enum life_state {
    LIFE_BOOT,
    LIFE_READY,
    LIFE_DRAINING,
    LIFE_CLOSING,
    LIFE_DONE,
};
struct life {
    enum life_state state;
};

bool life_may_move(enum life_state from, enum life_state to);
/* Asserts that the move is allowed. */
void life_move(struct life *life, enum life_state to);
const char *life_name(enum life_state state);

#endif
