#include "catalyst/broker/places.h"

#include <stdlib.h>

#include "base/assert.h"

void cat_places_fini(struct places *p)
{
    free(p->slots);
    *p = (struct places){0};
}

static uint32_t home(const struct places *p, uint32_t stream)
{
    return (uint32_t)(stream * 0x9e3779b97f4a7c15ULL >> 32) & (p->cap - 1);
}

struct place_in *cat_places_find(struct places *p, uint32_t stream)
{
    if (p->n == 0) {
        return NULL;
    }
    for (uint32_t i = home(p, stream); p->slots[i].stream != 0; i = (i + 1) & (p->cap - 1)) {
        if (p->slots[i].stream == stream) {
            return &p->slots[i];
        }
    }
    return NULL;
}

static void put(struct places *p, struct place_in place)
{
    uint32_t i = home(p, place.stream);
    while (p->slots[i].stream != 0) {
        i = (i + 1) & (p->cap - 1);
    }
    p->slots[i] = place;
}

void cat_places_add(struct places *p, uint32_t stream, uint64_t next)
{
    if ((p->n + 1) * 2 > p->cap) {
        struct places before = *p;
        p->cap = before.cap != 0 ? before.cap * 2 : 16;
        p->slots = chassis_base_zalloc(p->cap * sizeof *p->slots);
        for (uint32_t i = 0; i < before.cap; i++) {
            if (before.slots[i].stream != 0) {
                put(p, before.slots[i]);
            }
        }
        free(before.slots);
    }
    put(p, (struct place_in){stream, next});
    p->n++;
}

void cat_places_remove(struct places *p, uint32_t stream)
{
    const struct place_in *at = cat_places_find(p, stream);
    if (at == NULL) {
        return;
    }
    uint32_t mask = p->cap - 1, i = (uint32_t)(at - p->slots);
    for (uint32_t j = (i + 1) & mask; p->slots[j].stream != 0; j = (j + 1) & mask) {
        if (((j - home(p, p->slots[j].stream)) & mask) >= ((j - i) & mask)) {
            p->slots[i] = p->slots[j];
            i = j;
        }
    }
    p->slots[i].stream = 0;
    if (--p->n == 0) {
        cat_places_fini(p);
    }
}

struct place_in *cat_places_any(struct places *p)
{
    if (p->n == 0) {
        return NULL;
    }
    uint32_t i = p->turn & (p->cap - 1);
    while (p->slots[i].stream == 0) {
        i = (i + 1) & (p->cap - 1);
    }
    p->turn = i + 1;
    return &p->slots[i];
}
