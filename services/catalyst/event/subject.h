/* Patterns of names (sources, types, subjects), and an index that finds the streams whose patterns an
 * event matches without looking at all of them.
 *
 * A name's tokens are separated by '.' or '/'. In a pattern
 *     *       as a token stands for one token of at least one character,
 *     >       as the last token for the rest of the name, at least one character,
 *     text*   as the end of the pattern for everything that begins so, separators included,
 * and everything else stands for itself, separators too: "a.b" is not "a/b".
 *     orders.*.created   orders.eu.created, not orders.created
 *     /sensors/>         /sensors/7 and /sensors/7/temperature, not /sensors/
 *     com.example*       com.example, com.examples.x
 *
 * Invariants: matching takes time linear in the name; an index never misses what cat_subject_match
 * matches.
 * Threads: matching: any; an index has one owner (also for asking it).
 * Ownership: an index copies the patterns.
 */
#ifndef CAT_EVENT_SUBJECT_H
#define CAT_EVENT_SUBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/buf.h>
#include <chassis/error.h>

enum { CAT_SUBJECT_PATTERN_MAX = 255 }; /* bytes */

/* 0, or CHASSIS_INVALID_ARGUMENT saying what is wrong: empty, too long, control characters, a '*' or
 * '>' that is neither a token nor, '*', at the end. */
int cat_subject_valid(struct chassis_view pattern, struct chassis_error *err);
/* Does a name match a valid pattern. An empty name matches none. */
bool cat_subject_match(struct chassis_view pattern, struct chassis_view name);
/* Without any wildcard. */
bool cat_subject_is_exact(struct chassis_view pattern);

struct cat_subject_index;

struct cat_subject_index *cat_subject_index_new(void);
void cat_subject_index_free(struct cat_subject_index *index);
/* One more rule of `id`: every pattern that is not empty must match; with none it takes everything.
 * An id may have many rules. Refuses patterns that are not valid. */
int cat_subject_index_add(struct cat_subject_index *index, uint32_t id, struct chassis_view source,
                          struct chassis_view type, struct chassis_view subject,
                          struct chassis_error *err);
/* Forget all rules of an id; fine if it has none. */
void cat_subject_index_remove(struct cat_subject_index *index, uint32_t id);
/* Call `each` once for every id one of whose rules takes the event, in no particular order. Costs a
 * few look-ups and the rules that share a literal beginning with the event; not the number of rules.
 * `each` must not change the index. */
void cat_subject_index_match(struct cat_subject_index *index, struct chassis_view source,
                             struct chassis_view type, struct chassis_view subject,
                             void (*each)(void *data, uint32_t id), void *data);
/* Rules in the index. */
size_t cat_subject_index_count(const struct cat_subject_index *index);

#endif
