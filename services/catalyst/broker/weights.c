#include "catalyst/broker/weights.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

void cat_weights_init(struct weights *w, uint64_t first, uint64_t last, uint64_t bytes,
                      uint64_t spacing)
{
    w->marks = chassis_base_alloc(WEIGHTS_MARKS * sizeof *w->marks);
    w->marks[0] = (struct weight_mark){first, 0};
    w->n = 1;
    w->bytes = bytes;
    w->last = last;
    w->spacing = w->spacing_min = spacing != 0 ? spacing : 1;
    if (last >= first) {
        w->marks[w->n++] = (struct weight_mark){last + 1, bytes};
    }
}

void cat_weights_fini(struct weights *w)
{
    free(w->marks);
    *w = (struct weights){0};
}

/* Every other one goes, but the ends. */
static void thin(struct weights *w)
{
    uint32_t n = 1;
    for (uint32_t i = 2; i + 1 < w->n; i += 2) {
        w->marks[n++] = w->marks[i];
    }
    w->marks[n++] = w->marks[w->n - 1];
    w->n = n;
    w->spacing *= 2;
}

void cat_weights_add(struct weights *w, uint64_t bytes)
{
    w->bytes += bytes;
    w->last++;
    if (w->bytes - w->marks[w->n - 1].bytes >= w->spacing) {
        if (w->n == WEIGHTS_MARKS) {
            thin(w);
        }
        w->marks[w->n++] = (struct weight_mark){w->last + 1, w->bytes};
    }
}

void cat_weights_trim(struct weights *w, uint64_t first)
{
    uint32_t gone = 0;
    while (gone + 1 < w->n && w->marks[gone + 1].sequence <= first) {
        gone++;
    }
    w->n -= gone;
    memmove(w->marks, w->marks + gone, w->n * sizeof *w->marks);
    if (gone != 0 && w->spacing > w->spacing_min && w->n < WEIGHTS_MARKS / 2) {
        w->spacing /= 2;
    }
}

uint64_t cat_weights_at(const struct weights *w, uint64_t bytes)
{
    if (w->bytes - w->marks[0].bytes <= bytes) {
        return w->marks[0].sequence;
    }
    uint64_t before = w->bytes - bytes; /* what must be in front of it */
    uint32_t low = 0, high = w->n;
    while (low < high) { /* the first mark with more than that before it */
        uint32_t mid = (low + high) / 2;
        if (w->marks[mid].bytes < before) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    struct weight_mark to =
        low < w->n ? w->marks[low] : (struct weight_mark){w->last + 1, w->bytes};
    struct weight_mark from = w->marks[low != 0 ? low - 1 : 0];
    if (to.bytes <= from.bytes) {
        return to.sequence;
    }
    double part = (double)(before - from.bytes) / (double)(to.bytes - from.bytes);
    uint64_t more = (uint64_t)(part * (double)(to.sequence - from.sequence) + 0.999999);
    return from.sequence + more < to.sequence ? from.sequence + more : to.sequence;
}
