/* Which events were stored lately: a ring of fingerprints in the order of storing, and an index over
 * them.
 *
 * A fingerprint is SipHash-2-4 with 128 bits of result (Aumasson and Bernstein 2012) of source and
 * id, under a key nobody outside knows: whoever could make two events collide could have another's
 * event taken for a duplicate.
 *
 * Invariants: at most CAT_DEDUPE_EVENTS_MAX entries, none older than the window; memory grows with
 * what is there and shrinks again.
 * Threads: one owner.
 */
#ifndef CAT_BROKER_DEDUPE_H
#define CAT_BROKER_DEDUPE_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/buf.h>

struct fingerprint {
    uint64_t low, high;
};
struct fingerprint cat_dedupe_fingerprint(const uint8_t key[16], struct chassis_view source,
                                          struct chassis_view id);

/* What all streams know together: some 40 bytes an entry. When it is full, who learns one more forgets
 * its oldest. */
struct dedupe_pool {
    uint64_t n, max;
};
struct dedupe;

/* Entries are numbered from `first` on: beyond those of one that it replaces. */
struct dedupe *cat_dedupe_new(struct dedupe_pool *pool, uint64_t window_ms, uint64_t first);
void cat_dedupe_free(struct dedupe *dedupe);
/* NULL is fine. */
void cat_dedupe_set_window(struct dedupe *dedupe, uint64_t window_ms);
/* It will be asked for soon. */
void cat_dedupe_prefetch(const struct dedupe *dedupe, struct fingerprint print);
/* Is it there? *ret_entry names it. */
bool cat_dedupe_find(struct dedupe *dedupe, struct fingerprint print, int64_t now_ns,
                     uint64_t *ret_entry);
/* One more; entries are numbered in rising order. Its sequence is 0 = on its way. */
uint64_t cat_dedupe_add(struct dedupe *dedupe, struct fingerprint print, int64_t now_ns);
/* Of an entry that may have gone meanwhile. */
void cat_dedupe_set_sequence(struct dedupe *dedupe, uint64_t entry, uint64_t sequence);
uint64_t cat_dedupe_sequence(const struct dedupe *dedupe, uint64_t entry);
/* It was not stored after all. */
void cat_dedupe_remove(struct dedupe *dedupe, uint64_t entry);
uint64_t cat_dedupe_end(const struct dedupe *dedupe); /* the number of the next entry */
uint32_t cat_dedupe_count(const struct dedupe *dedupe);

#endif
