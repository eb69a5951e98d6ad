/* A set of sequences as runs: for dead letters that were replayed but still stand in their stream.
 *
 * Invariants: runs rise, do not touch and are at most CAT_RUNS_MAX.
 * Threads: one owner. Ownership: the set owns its runs; zeroed = empty.
 */
#ifndef CAT_GROUPS_RUNS_H
#define CAT_GROUPS_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CAT_RUNS_MAX = 10000 };

struct cat_run {
    uint64_t from, to; /* both belong to it */
};
struct cat_runs {
    struct cat_run *items;
    size_t n, cap;
};

void cat_runs_fini(struct cat_runs *runs);
bool cat_runs_has(const struct cat_runs *runs, uint64_t sequence);
/* False: there would be too many runs. */
bool cat_runs_add(struct cat_runs *runs, uint64_t from, uint64_t to);
/* Forget everything below. */
void cat_runs_cut(struct cat_runs *runs, uint64_t below);
/* How many sequences it holds. */
uint64_t cat_runs_count(const struct cat_runs *runs);

#endif
