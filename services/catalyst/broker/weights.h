/* How many bytes the events of a stream take, from where on: a few marks, so that a limit on bytes
 * holds also where large events stand beside small ones. Between two marks events are taken to be of
 * one size.
 *
 * Invariants: at most WEIGHTS_MARKS marks, rising. Threads: one owner.
 */
#ifndef CAT_BROKER_WEIGHTS_H
#define CAT_BROKER_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

enum { WEIGHTS_MARKS = 64 };

struct weight_mark {
    uint64_t sequence, bytes; /* before the sequence, since the beginning of the count */
};
struct weights {
    struct weight_mark *marks; /* NULL: nobody has asked yet */
    uint32_t n;
    uint64_t bytes, last;          /* of all counted, up to this sequence */
    uint64_t spacing, spacing_min; /* of the marks, in bytes */
};

/* Begin: events first … last take `bytes`. */
void cat_weights_init(struct weights *weights, uint64_t first, uint64_t last, uint64_t bytes,
                      uint64_t spacing);
void cat_weights_fini(struct weights *weights);
/* One more event behind the last. */
void cat_weights_add(struct weights *weights, uint64_t bytes);
/* Those before `first` are gone. */
void cat_weights_trim(struct weights *weights, uint64_t first);
/* The first sequence from which on all take at most `bytes`. */
uint64_t cat_weights_at(const struct weights *weights, uint64_t bytes);

#endif
