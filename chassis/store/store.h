/* What the engines share: checks of arguments and the position of a cursor.
 *
 * A cursor that ran past an end stands beyond it: at END, prev gives the last record; at START, next
 * gives the first. A new cursor stands nowhere: next gives the first record, prev the last. A cursor
 * whose transaction changed the table since it moved goes on from the key it stood at, whether that
 * record is still there or not.
 */
#ifndef CHASSIS_STORE_STORE_H
#define CHASSIS_STORE_STORE_H

#include <chassis/plugin/repository.h>

#include "base/assert.h"

enum chassis_store_place {
    CHASSIS_STORE_NOWHERE,
    CHASSIS_STORE_START,
    CHASSIS_STORE_AT,
    CHASSIS_STORE_END,
};

static inline int chassis_store_check_key(struct chassis_view key)
{
    if (key.len == 0) {
        return CHASSIS_INVALID_ARGUMENT;
    }
    return key.len > CHASSIS_STORE_KEY_MAX ? CHASSIS_TOO_LARGE : 0;
}

static inline void chassis_store_check_txn(const struct chassis_txn *txn, unsigned table,
                                           bool write)
{
    CHASSIS_ASSERT(table < txn->store->n_tables);
    CHASSIS_ASSERT(!write || txn->write);
}

#endif
