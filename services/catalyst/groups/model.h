/* One group's place in its stream: what is done, what is in flight at whom, what waits, and why.
 *
 * The place is `next` (everything before it was looked at) and the entries before `next` that are
 * not done; what is not an entry is done, so an acknowledgement frees memory and needs none, however
 * far above the floor it is. An entry is one event: its sequence, the hash of its key, how often it
 * was delivered.
 *
 *     BLOCKED ──key free──▶ WAITING ──due──▶ READY ──fetch──▶ FETCHING
 *                              ▲               │ deliver          │ deliver
 *                              │               ▼                  ▼
 *                              └──nack, due── IN_FLIGHT ◀─────────┘   ack ▶ gone
 *                                              │ last attempt, term
 *                                              ▼
 *                                             DEAD ──stored──▶ gone
 *
 * Invariants:
 *  - an entry leaves only by ack, by cat_place_done or with the whole place;
 *  - with `ordered` only the first entry of a key is not BLOCKED; the others follow in order of the
 *    stream; keys whose hashes are equal are taken for one, which is safe;
 *  - at most in_flight_max entries are IN_FLIGHT or FETCHING as long as the caller asks
 *    cat_place_may_deliver; at most cat_place_entries_max are there that are neither WAITING nor
 *    BLOCKED, and at most CAT_PLACE_HELD_MAX that are, as long as it asks cat_place_may_take and
 *    cat_place_may_hold (but for what was held and is due now);
 *  - no clock: `now` is monotonic nanoseconds, given by the caller, never falling.
 * Every operation takes O(log n), but for cat_place_reopen, each and restore.
 * Threads: one owner. Ownership: entries are the place's and valid until they leave; a holder is the
 * caller's and must be released before it goes.
 */
#ifndef CAT_GROUPS_MODEL_H
#define CAT_GROUPS_MODEL_H

#include <chassis/buf.h>

#include "catalyst/groups/heap.h"
#include "catalyst/groups/keys.h"

enum {
    CAT_PLACE_BACKOFF_MAX = 16,
    CAT_PLACE_BEHIND_MIN = 1024, /* entries beyond those in flight, at least */
    CAT_PLACE_HELD_MAX = 65536,  /* entries besides that wait for their time or for their key */
    CAT_PLACE_REOPEN_MAX = 10000 /* entries beyond all others, by cat_place_reopen */
};

enum cat_entry_state {
    CAT_ENTRY_BLOCKED,   /* behind an entry of its key */
    CAT_ENTRY_WAITING,   /* until due_ns */
    CAT_ENTRY_READY,     /* for delivery */
    CAT_ENTRY_FETCHING,  /* its event is being read again */
    CAT_ENTRY_IN_FLIGHT, /* at `holder`, until due_ns */
    CAT_ENTRY_DEAD,      /* to be stored as a dead letter */
    CAT_ENTRY_STORING,   /* being stored as one */
};

/* Why an event became a dead letter. */
enum cat_cause {
    CAT_CAUSE_NONE = 0,
    CAT_CAUSE_UNANSWERED = 1, /* no answer within ack_wait */
    CAT_CAUSE_NACKED = 2,
    CAT_CAUSE_TERMINATED = 3,
    CAT_CAUSE_LEFT = 4, /* its member left */
    CAT_CAUSES,
};

struct cat_holder { /* a member, as its group's place sees it; zeroed = holds nothing */
    struct cat_heap in_flight;
};

struct cat_entry {
    uint64_t sequence;
    uint64_t due_ns;  /* of WAITING, IN_FLIGHT, DEAD: when; of BLOCKED: not before */
    int64_t first_ms; /* first delivery, since the epoch; 0 = none yet */
    uint64_t letter;  /* the dead letter it came back from, in its stream; 0 = it did not */
    struct cat_holder *holder;
    struct cat_entry *key_next, *key_last; /* entries of one key; key_last of the first only */
    struct cat_entry *bucket_next;         /* first entries of keys of one bucket */
    char *reason;                          /* of the cause; NULL = none given */
    uint32_t key;                          /* 0 = none */
    uint32_t at_due, at_sequence;          /* places in heaps */
    uint16_t attempts;
    uint8_t state, cause;
};

struct cat_place_rules {
    uint64_t ack_wait_ns;
    uint64_t backoff_ns[CAT_PLACE_BACKOFF_MAX];
    uint32_t n_backoff, deliveries_max, in_flight_max;
    bool ordered;
};

struct cat_place_slot {
    uint64_t sequence;
    struct cat_entry *entry; /* NULL = done */
};
struct cat_place {
    struct cat_place_rules rules;
    uint64_t next;
    struct cat_place_slot *slots; /* in order of sequences; from `head` on */
    size_t head, n_slots, cap_slots, n_done;
    struct cat_heap due;   /* WAITING, IN_FLIGHT, DEAD later */
    struct cat_heap ready; /* by sequence */
    struct cat_heap dead;  /* by sequence */
    struct cat_keys keys;  /* while `ordered` */
    uint32_t n_entries, n_in_flight, n_fetching;
    uint32_t n_held; /* WAITING, BLOCKED */
};

void cat_place_init(struct cat_place *place, const struct cat_place_rules *rules, uint64_t next);
void cat_place_fini(struct cat_place *place);
/* Forget every entry; go on at `next`. Holders hold nothing any more. */
void cat_place_seek(struct cat_place *place, uint64_t next);
/* Other limits from now on. A change of `ordered` puts back what is in flight: answers to it come
 * too late. */
void cat_place_change(struct cat_place *place, const struct cat_place_rules *rules, uint64_t now);
/* The stream ends before `next`: nothing from there on was ever seen. */
void cat_place_cut(struct cat_place *place, uint64_t next, uint64_t now);
/* Give memory back while nothing is there. */
void cat_place_shrink(struct cat_place *place);

/* Everything before it is done. */
uint64_t cat_place_floor(const struct cat_place *place);
/* UINT64_MAX = nothing waits for a time. */
uint64_t cat_place_due(const struct cat_place *place);
/* Of those that are not held. */
uint32_t cat_place_entries_max(const struct cat_place *place);
static inline bool cat_place_may_deliver(const struct cat_place *place)
{
    return place->n_in_flight + place->n_fetching < place->rules.in_flight_max;
}
/* Room for an event that may be delivered at once, and be given back to wait. */
static inline bool cat_place_may_take(const struct cat_place *place)
{
    uint32_t max = cat_place_entries_max(place);
    return place->n_entries - place->n_held < max && place->n_entries < max + CAT_PLACE_HELD_MAX;
}
/* Room for one that has to wait, for its time or for its key. */
static inline bool cat_place_may_hold(const struct cat_place *place)
{
    return place->n_held < CAT_PLACE_HELD_MAX;
}
/* An entry of this key is there (and the group is ordered): another one would be BLOCKED. */
bool cat_place_key_busy(const struct cat_place *place, uint32_t key);
/* The hash of a key for `key`; never 0. */
uint32_t cat_place_key(struct chassis_view key);

/* ---- what the stream gives ---- */

/* The event at `sequence` ≥ next; those between did not match. It is BLOCKED, WAITING (`not_before`
 * in the future) or READY. */
struct cat_entry *cat_place_take(struct cat_place *place, uint64_t sequence, uint32_t key,
                                 uint64_t not_before, uint64_t now);
/* Everything before `next` was looked at. */
void cat_place_pass(struct cat_place *place, uint64_t next);

/* ---- time ---- */

/* Move on what is due; how many deliveries were not answered in time. */
uint32_t cat_place_expire(struct cat_place *place, uint64_t now);

/* ---- delivery ---- */

/* The READY entry with the lowest sequence, which is FETCHING now; NULL if there is none. */
struct cat_entry *cat_place_fetch(struct cat_place *place);
/* FETCHING did not work: again after a delay. */
void cat_place_fetch_failed(struct cat_place *place, struct cat_entry *entry, uint64_t now,
                            uint64_t delay_ns);
/* READY or FETCHING → IN_FLIGHT; the number of the attempt. */
uint32_t cat_place_deliver(struct cat_place *place, struct cat_entry *entry,
                           struct cat_holder *holder, uint64_t now, int64_t wall_ms);
/* An entry that is not IN_FLIGHT: its event is stored as a dead letter, gone or expired. */
void cat_place_done(struct cat_place *place, struct cat_entry *entry, uint64_t now);

/* ---- answers; false: it is not in flight at this holder ---- */

bool cat_place_ack(struct cat_place *place, struct cat_holder *holder, uint64_t sequence,
                   uint64_t now);
/* Everything in flight at the holder up to `sequence`; how many. */
uint32_t cat_place_ack_through(struct cat_place *place, struct cat_holder *holder,
                               uint64_t sequence, uint64_t now);
/* delay_ns 0 = as backoff says. */
bool cat_place_nack(struct cat_place *place, struct cat_holder *holder, uint64_t sequence,
                    uint64_t now, uint64_t delay_ns, struct chassis_view reason);
bool cat_place_term(struct cat_place *place, struct cat_holder *holder, uint64_t sequence,
                    struct chassis_view reason);
bool cat_place_progress(struct cat_place *place, struct cat_holder *holder, uint64_t sequence,
                        uint64_t now);
/* Everything it holds is READY for others (or DEAD); how many. */
uint32_t cat_place_release(struct cat_place *place, struct cat_holder *holder);

/* ---- dead letters ---- */

/* The DEAD entry with the lowest sequence, which is STORING now; NULL if there is none. */
struct cat_entry *cat_place_bury(struct cat_place *place);
/* It could not be stored: DEAD again after a delay. */
void cat_place_bury_failed(struct cat_place *place, struct cat_entry *entry, uint64_t now,
                           uint64_t delay_ns);
/* A dead letter (`letter`: where it stands) comes back as if it had never been delivered. False: it is
 * there already, or is yet to be read, or CAT_PLACE_REOPEN_MAX entries too many are there (*ret_full). */
bool cat_place_reopen(struct cat_place *place, uint64_t sequence, uint32_t key, uint64_t letter,
                      bool *ret_full);

/* ---- what is kept ---- */

struct cat_place_item {
    uint64_t sequence;
    uint64_t wait_ns; /* left before it may be delivered */
    int64_t first_ms;
    uint64_t letter;
    uint32_t key;
    uint16_t attempts;
    uint8_t cause; /* enum cat_cause; not NONE: it is a dead letter to be stored */
};
/* In order of sequences; what is in flight counts as READY. */
void cat_place_each(const struct cat_place *place, uint64_t now,
                    void (*each)(void *data, const struct cat_place_item *item), void *data);
/* The next item of a place just initialised, in order, below `next`. What was delivered
 * deliveries_max times and not answered is DEAD. */
void cat_place_restore(struct cat_place *place, const struct cat_place_item *item, uint64_t now);
struct cat_entry *cat_place_find(const struct cat_place *place, uint64_t sequence);

#endif
