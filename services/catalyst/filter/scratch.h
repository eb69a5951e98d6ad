/* The memory of one evaluation: one block, allocated at first use, taken from its beginning again for
 * the next event.
 *
 * Threads: one user at a time.
 */
#ifndef CAT_FILTER_SCRATCH_H
#define CAT_FILTER_SCRATCH_H

#include "catalyst/filter/filter.h"

enum { SCRATCH_SIZE = 128 * 1024 };

static inline void scratch_reset(struct cat_filter_scratch *scratch)
{
    scratch->used = 0;
}
/* Aligned to 16; NULL when it is used up. */
void *scratch_alloc(struct cat_filter_scratch *scratch, size_t len);
/* The canonical text of a value, borrowed from the event where it is one; false when the scratch is
 * used up. */
bool scratch_text(struct cat_filter_scratch *scratch, const struct cat_value *value,
                  struct chassis_view *ret_text);

#endif
