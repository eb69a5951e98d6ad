#include "catalyst/groups/runs.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

void cat_runs_fini(struct cat_runs *runs)
{
    free(runs->items);
    *runs = (struct cat_runs){0};
}

/* The first run that ends at or after `sequence`. */
static size_t find(const struct cat_runs *runs, uint64_t sequence)
{
    size_t low = 0, high = runs->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (runs->items[mid].to < sequence) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

bool cat_runs_has(const struct cat_runs *runs, uint64_t sequence)
{
    size_t i = find(runs, sequence);
    return i < runs->n && runs->items[i].from <= sequence;
}

bool cat_runs_add(struct cat_runs *runs, uint64_t from, uint64_t to)
{
    CHASSIS_ASSERT(from != 0 && from <= to && to != UINT64_MAX);
    size_t first = find(runs, from - 1), after = first; /* runs it touches: first … after - 1 */
    while (after < runs->n && runs->items[after].from <= to + 1) {
        from = runs->items[after].from < from ? runs->items[after].from : from;
        to = runs->items[after].to > to ? runs->items[after].to : to;
        after++;
    }
    if (after == first && runs->n == CAT_RUNS_MAX) {
        return false;
    }
    if (after == first && runs->n == runs->cap) {
        runs->cap = runs->cap != 0 ? 2 * runs->cap : 4;
        runs->items = chassis_base_realloc(runs->items, runs->cap * sizeof *runs->items);
    }
    memmove(&runs->items[first + 1], &runs->items[after], (runs->n - after) * sizeof *runs->items);
    runs->n -= after - first;
    runs->n++;
    runs->items[first] = (struct cat_run){from, to};
    return true;
}

void cat_runs_cut(struct cat_runs *runs, uint64_t below)
{
    size_t first = find(runs, below);
    if (first == runs->n) {
        cat_runs_fini(runs);
        return;
    }
    memmove(runs->items, &runs->items[first], (runs->n - first) * sizeof *runs->items);
    runs->n -= first;
    if (runs->items[0].from < below) {
        runs->items[0].from = below;
    }
}

uint64_t cat_runs_count(const struct cat_runs *runs)
{
    uint64_t count = 0;
    for (size_t i = 0; i < runs->n; i++) {
        count += runs->items[i].to - runs->items[i].from + 1;
    }
    return count;
}
