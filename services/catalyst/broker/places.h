/* A reader's place in each of many streams: number → next sequence. Open addressing; only streams
 * where the reader is behind stand here.
 *
 * Threads: one owner.
 */
#ifndef CAT_BROKER_PLACES_H
#define CAT_BROKER_PLACES_H

#include <stdbool.h>
#include <stdint.h>

struct place_in {
    uint32_t stream; /* 0 = free */
    uint64_t next;
};
struct places {
    struct place_in *slots;
    uint32_t n, cap;
    uint32_t turn; /* where to look for the next stream, so that all have their turn */
};

void cat_places_fini(struct places *places);
struct place_in *cat_places_find(struct places *places, uint32_t stream);
void cat_places_add(struct places *places, uint32_t stream, uint64_t next); /* not there yet */
void cat_places_remove(struct places *places, uint32_t stream);
/* Any one, another each time. NULL if there is none. */
struct place_in *cat_places_any(struct places *places);

#endif
