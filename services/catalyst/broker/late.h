/* What a reader keeps of events whose time has not come: when, in which stream, which sequence. A
 * binary heap, earliest first.
 *
 * Invariants: at most LATE_MAX entries. Threads: one owner.
 */
#ifndef CAT_BROKER_LATE_H
#define CAT_BROKER_LATE_H

#include <stdbool.h>
#include <stdint.h>

enum { LATE_MAX = 65536 };

struct late_event {
    int64_t due_ns;
    uint64_t sequence;
    uint32_t stream; /* its number */
};
struct late {
    struct late_event *heap;
    uint32_t n, cap;
    uint64_t lowest; /* of the sequences, while n is not 0 */
};

void cat_late_fini(struct late *late);
static inline bool cat_late_full(const struct late *late)
{
    return late->n == LATE_MAX;
}
void cat_late_add(struct late *late, struct late_event event); /* not when it is full */
/* Take the earliest away. */
void cat_late_pop(struct late *late);
/* Forget those of one stream. */
void cat_late_drop_stream(struct late *late, uint32_t stream);

#endif
