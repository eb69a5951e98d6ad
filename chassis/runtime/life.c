#include "runtime/life.h"

#include "base/assert.h"

#define TO(state) (1u << LIFE_##state)
static const struct {
    const char *name;
    unsigned to;
} states[] = {
    [LIFE_BOOT] = {"booting", TO(READY) | TO(CLOSING)},
    [LIFE_READY] = {"ready", TO(DRAINING)},
    [LIFE_DRAINING] = {"draining", TO(CLOSING)},
    [LIFE_CLOSING] = {"closing", TO(DONE)},
    [LIFE_DONE] = {"done", 0},
};

bool life_may_move(enum life_state from, enum life_state to)
{
    return (states[from].to >> to & 1u) != 0;
}

void life_move(struct life *life, enum life_state to)
{
    CHASSIS_ASSERT(life_may_move(life->state, to));
    life->state = to;
}

const char *life_name(enum life_state state)
{
    return states[state].name;
}
