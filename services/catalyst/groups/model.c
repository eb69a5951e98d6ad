#include "catalyst/groups/model.h"

#include <stdlib.h>

#include "base/assert.h"

static bool sooner(const void *a, const void *b)
{
    const struct cat_entry *x = a, *y = b;
    return x->due_ns != y->due_ns ? x->due_ns < y->due_ns : x->sequence < y->sequence;
}
static bool lower(const void *a, const void *b)
{
    return ((const struct cat_entry *)a)->sequence < ((const struct cat_entry *)b)->sequence;
}
static const struct cat_heap_kind by_due = {sooner, offsetof(struct cat_entry, at_due)};
static const struct cat_heap_kind by_sequence = {lower, offsetof(struct cat_entry, at_sequence)};

/* ---- entries in order ---- */

static size_t lower_bound(const struct cat_place *p, uint64_t sequence)
{
    size_t low = p->head, high = p->head + p->n_slots;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (p->slots[mid].sequence < sequence) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static struct cat_place_slot *slot_of(const struct cat_place *p, uint64_t sequence)
{
    size_t i = lower_bound(p, sequence);
    bool there = i < p->head + p->n_slots && p->slots[i].sequence == sequence;
    return there ? &p->slots[i] : NULL;
}

struct cat_entry *cat_place_find(const struct cat_place *p, uint64_t sequence)
{
    struct cat_place_slot *slot = slot_of(p, sequence);
    return slot != NULL ? slot->entry : NULL;
}

/* Squeeze out what is done, so that at most half of the slots are. */
static void compact(struct cat_place *p)
{
    size_t n = 0;
    for (size_t i = p->head; i < p->head + p->n_slots; i++) {
        if (p->slots[i].entry != NULL) {
            p->slots[n++] = p->slots[i];
        }
    }
    p->head = 0;
    p->n_slots = n;
    p->n_done = 0;
}

static void room_for_slot(struct cat_place *p)
{
    if (p->head + p->n_slots < p->cap_slots) {
        return;
    }
    if (p->head + p->n_done > p->cap_slots / 2) {
        compact(p);
        return;
    }
    p->cap_slots = p->cap_slots != 0 ? 2 * p->cap_slots : 16;
    p->slots = chassis_base_realloc(p->slots, p->cap_slots * sizeof *p->slots);
}

static bool has_key(const struct cat_place *p, const struct cat_entry *e)
{
    return p->rules.ordered && e->key != 0;
}

static struct cat_entry *add(struct cat_place *p, size_t at_from_head, uint64_t sequence,
                             uint32_t key)
{
    struct cat_entry *e = chassis_base_zalloc(sizeof *e);
    e->sequence = sequence;
    e->key = key;
    struct cat_place_slot *slot = &p->slots[p->head + at_from_head];
    memmove(slot + 1, slot, (p->n_slots - at_from_head) * sizeof *slot);
    *slot = (struct cat_place_slot){sequence, e};
    p->n_slots++;
    p->n_entries++;
    p->n_held++; /* BLOCKED */
    return e;
}

static struct cat_entry *add_last(struct cat_place *p, uint64_t sequence, uint32_t key)
{
    room_for_slot(p);
    return add(p, p->n_slots, sequence, key);
}

static void drop_slot(struct cat_place *p, uint64_t sequence)
{
    slot_of(p, sequence)->entry = NULL;
    p->n_entries--;
    p->n_done++;
    while (p->n_slots != 0 && p->slots[p->head].entry == NULL) {
        p->head++;
        p->n_slots--;
        p->n_done--;
    }
    if (p->n_slots == 0) {
        p->head = 0;
    } else if (p->n_done > 32 && p->n_done > p->n_slots / 2) {
        compact(p);
    }
}

/* ---- states ---- */

static void leave_state(struct cat_place *p, struct cat_entry *e)
{
    cat_heap_remove(&p->due, &by_due, e);
    switch ((enum cat_entry_state)e->state) {
    case CAT_ENTRY_READY:
        cat_heap_remove(&p->ready, &by_sequence, e);
        break;
    case CAT_ENTRY_FETCHING:
        p->n_fetching--;
        break;
    case CAT_ENTRY_IN_FLIGHT:
        cat_heap_remove(&e->holder->in_flight, &by_sequence, e);
        e->holder = NULL;
        p->n_in_flight--;
        break;
    case CAT_ENTRY_DEAD:
        cat_heap_remove(&p->dead, &by_sequence, e);
        break;
    case CAT_ENTRY_BLOCKED:
    case CAT_ENTRY_WAITING:
        p->n_held--;
        break;
    case CAT_ENTRY_STORING:
        break;
    }
}

static void make_ready(struct cat_place *p, struct cat_entry *e)
{
    leave_state(p, e);
    e->state = CAT_ENTRY_READY;
    cat_heap_put(&p->ready, &by_sequence, e);
}

static void make_wait(struct cat_place *p, struct cat_entry *e, uint64_t due, uint64_t now)
{
    if (due <= now) {
        make_ready(p, e);
        return;
    }
    leave_state(p, e);
    e->state = CAT_ENTRY_WAITING;
    e->due_ns = due;
    p->n_held++;
    cat_heap_put(&p->due, &by_due, e);
}

static void make_dead(struct cat_place *p, struct cat_entry *e, enum cat_cause cause,
                      struct chassis_view reason)
{
    leave_state(p, e);
    e->state = CAT_ENTRY_DEAD;
    e->cause = (uint8_t)cause;
    if (reason.len != 0) {
        e->reason = chassis_base_alloc(reason.len + 1);
        memcpy(e->reason, reason.data, reason.len);
        e->reason[reason.len] = '\0';
    }
    cat_heap_put(&p->dead, &by_sequence, e);
}

/* Where an entry belongs that is the first of its key now. */
static void settle(struct cat_place *p, struct cat_entry *e, uint64_t now)
{
    struct chassis_view none = {NULL, 0};
    if (e->cause != CAT_CAUSE_NONE) {
        make_dead(p, e, (enum cat_cause)e->cause, none);
    } else if (e->attempts >= p->rules.deliveries_max) {
        make_dead(p, e, CAT_CAUSE_UNANSWERED, none);
    } else {
        make_wait(p, e, e->due_ns, now);
    }
}

static void free_entry(struct cat_entry *e)
{
    free(e->reason);
    free(e);
}

static void remove_entry(struct cat_place *p, struct cat_entry *e, uint64_t now)
{
    leave_state(p, e);
    struct cat_entry *heir = has_key(p, e) ? cat_keys_leave(&p->keys, e) : NULL;
    drop_slot(p, e->sequence);
    free_entry(e);
    if (heir != NULL) {
        settle(p, heir, now);
    }
}

/* ---- life ---- */

void cat_place_init(struct cat_place *p, const struct cat_place_rules *rules, uint64_t next)
{
    memset(p, 0, sizeof *p);
    p->rules = *rules;
    p->next = next;
}

void cat_place_seek(struct cat_place *p, uint64_t next)
{
    for (size_t i = p->head; i < p->head + p->n_slots; i++) {
        struct cat_entry *e = p->slots[i].entry;
        if (e != NULL) {
            if (e->state == CAT_ENTRY_IN_FLIGHT) {
                cat_heap_remove(&e->holder->in_flight, &by_sequence, e);
            }
            free_entry(e);
        }
    }
    struct cat_place_rules rules = p->rules;
    free(p->slots);
    cat_keys_fini(&p->keys);
    cat_heap_fini(&p->due);
    cat_heap_fini(&p->ready);
    cat_heap_fini(&p->dead);
    cat_place_init(p, &rules, next);
}

void cat_place_fini(struct cat_place *p)
{
    cat_place_seek(p, p->next);
}

void cat_place_shrink(struct cat_place *p)
{
    if (p->n_entries == 0) {
        cat_place_seek(p, p->next);
    }
}

static void collect(void *data, const struct cat_place_item *item)
{
    chassis_buf_append(data, item, sizeof *item);
}

/* As after a restart: with these rules, with what is below `next`. */
static void rebuild(struct cat_place *p, const struct cat_place_rules *rules, uint64_t next,
                    uint64_t now)
{
    struct chassis_buf items = {0};
    cat_place_each(p, now, collect, &items);
    p->rules = *rules;
    cat_place_seek(p, next);
    for (size_t at = 0; at < items.len; at += sizeof(struct cat_place_item)) {
        struct cat_place_item item;
        memcpy(&item, items.data + at, sizeof item);
        if (item.sequence < next) {
            cat_place_restore(p, &item, now);
        }
    }
    chassis_buf_fini(&items);
}

void cat_place_change(struct cat_place *p, const struct cat_place_rules *rules, uint64_t now)
{
    if (rules->ordered == p->rules.ordered) {
        p->rules = *rules;
    } else {
        rebuild(p, rules, p->next, now); /* keys begin anew */
    }
}

void cat_place_cut(struct cat_place *p, uint64_t next, uint64_t now)
{
    struct cat_place_rules rules = p->rules;
    rebuild(p, &rules, next, now);
}

bool cat_place_key_busy(const struct cat_place *p, uint32_t key)
{
    return p->rules.ordered && key != 0 && cat_keys_first(&p->keys, key) != NULL;
}

uint64_t cat_place_floor(const struct cat_place *p)
{
    return p->n_slots != 0 ? p->slots[p->head].sequence : p->next;
}

uint64_t cat_place_due(const struct cat_place *p)
{
    const struct cat_entry *e = cat_heap_top(&p->due);
    return e != NULL ? e->due_ns : UINT64_MAX;
}

uint32_t cat_place_entries_max(const struct cat_place *p)
{
    uint32_t max = p->rules.in_flight_max;
    return max + (max > CAT_PLACE_BEHIND_MIN ? max : CAT_PLACE_BEHIND_MIN);
}

/* ---- what the stream gives ---- */

struct cat_entry *cat_place_take(struct cat_place *p, uint64_t sequence, uint32_t key,
                                 uint64_t not_before, uint64_t now)
{
    CHASSIS_ASSERT(sequence >= p->next);
    struct cat_entry *e = add_last(p, sequence, key);
    p->next = sequence + 1;
    e->due_ns = not_before;
    if (!has_key(p, e) || cat_keys_enter(&p->keys, e)) {
        make_wait(p, e, not_before, now);
    }
    return e;
}

void cat_place_pass(struct cat_place *p, uint64_t next)
{
    if (next > p->next) {
        p->next = next;
    }
}

/* ---- time ---- */

static uint64_t backoff(const struct cat_place *p, const struct cat_entry *e)
{
    uint32_t n = p->rules.n_backoff;
    if (n == 0 || e->attempts == 0) {
        return 0;
    }
    return p->rules.backoff_ns[e->attempts <= n ? e->attempts - 1u : n - 1];
}

/* A delivery failed: once more after a delay, or never. */
static void give_back(struct cat_place *p, struct cat_entry *e, uint64_t now, uint64_t delay_ns,
                      enum cat_cause cause, struct chassis_view reason)
{
    if (e->attempts >= p->rules.deliveries_max) {
        make_dead(p, e, cause, reason);
    } else {
        make_wait(p, e, now + delay_ns, now);
    }
}

uint32_t cat_place_expire(struct cat_place *p, uint64_t now)
{
    uint32_t unanswered = 0;
    struct chassis_view none = {NULL, 0};
    for (struct cat_entry *e; (e = cat_heap_top(&p->due)) != NULL && e->due_ns <= now;) {
        if (e->state == CAT_ENTRY_IN_FLIGHT) {
            unanswered++;
            give_back(p, e, now, backoff(p, e), CAT_CAUSE_UNANSWERED, none);
        } else if (e->state == CAT_ENTRY_DEAD) {
            cat_heap_remove(&p->due, &by_due, e);
            cat_heap_put(&p->dead, &by_sequence, e);
        } else {
            make_ready(p, e);
        }
    }
    return unanswered;
}

/* ---- delivery ---- */

struct cat_entry *cat_place_fetch(struct cat_place *p)
{
    struct cat_entry *e = cat_heap_top(&p->ready);
    if (e != NULL) {
        leave_state(p, e);
        e->state = CAT_ENTRY_FETCHING;
        p->n_fetching++;
    }
    return e;
}

void cat_place_fetch_failed(struct cat_place *p, struct cat_entry *e, uint64_t now,
                            uint64_t delay_ns)
{
    CHASSIS_ASSERT(e->state == CAT_ENTRY_FETCHING);
    make_wait(p, e, now + delay_ns, now);
}

uint32_t cat_place_deliver(struct cat_place *p, struct cat_entry *e, struct cat_holder *holder,
                           uint64_t now, int64_t wall_ms)
{
    CHASSIS_ASSERT(e->state == CAT_ENTRY_READY || e->state == CAT_ENTRY_FETCHING);
    leave_state(p, e);
    e->state = CAT_ENTRY_IN_FLIGHT;
    e->holder = holder;
    e->due_ns = now + p->rules.ack_wait_ns;
    e->first_ms = e->attempts == 0 ? wall_ms : e->first_ms;
    e->attempts++;
    p->n_in_flight++;
    cat_heap_put(&p->due, &by_due, e);
    cat_heap_put(&holder->in_flight, &by_sequence, e);
    return e->attempts;
}

void cat_place_done(struct cat_place *p, struct cat_entry *e, uint64_t now)
{
    CHASSIS_ASSERT(e->state != CAT_ENTRY_IN_FLIGHT && e->state != CAT_ENTRY_BLOCKED);
    remove_entry(p, e, now);
}

/* ---- answers ---- */

static struct cat_entry *held(const struct cat_place *p, const struct cat_holder *holder,
                              uint64_t sequence)
{
    struct cat_entry *e = cat_place_find(p, sequence);
    return e != NULL && e->state == CAT_ENTRY_IN_FLIGHT && e->holder == holder ? e : NULL;
}

bool cat_place_ack(struct cat_place *p, struct cat_holder *holder, uint64_t sequence, uint64_t now)
{
    struct cat_entry *e = held(p, holder, sequence);
    if (e != NULL) {
        remove_entry(p, e, now);
    }
    return e != NULL;
}

uint32_t cat_place_ack_through(struct cat_place *p, struct cat_holder *holder, uint64_t sequence,
                               uint64_t now)
{
    uint32_t n = 0;
    for (struct cat_entry *e;
         (e = cat_heap_top(&holder->in_flight)) != NULL && e->sequence <= sequence; n++) {
        remove_entry(p, e, now);
    }
    return n;
}

bool cat_place_nack(struct cat_place *p, struct cat_holder *holder, uint64_t sequence, uint64_t now,
                    uint64_t delay_ns, struct chassis_view reason)
{
    struct cat_entry *e = held(p, holder, sequence);
    if (e != NULL) {
        give_back(p, e, now, delay_ns != 0 ? delay_ns : backoff(p, e), CAT_CAUSE_NACKED, reason);
    }
    return e != NULL;
}

bool cat_place_term(struct cat_place *p, struct cat_holder *holder, uint64_t sequence,
                    struct chassis_view reason)
{
    struct cat_entry *e = held(p, holder, sequence);
    if (e != NULL) {
        make_dead(p, e, CAT_CAUSE_TERMINATED, reason);
    }
    return e != NULL;
}

bool cat_place_progress(struct cat_place *p, struct cat_holder *holder, uint64_t sequence,
                        uint64_t now)
{
    struct cat_entry *e = held(p, holder, sequence);
    if (e != NULL) {
        e->due_ns = now + p->rules.ack_wait_ns;
        cat_heap_moved(&p->due, &by_due, e);
    }
    return e != NULL;
}

uint32_t cat_place_release(struct cat_place *p, struct cat_holder *holder)
{
    uint32_t n = 0;
    struct chassis_view none = {NULL, 0};
    for (struct cat_entry *e; (e = cat_heap_top(&holder->in_flight)) != NULL; n++) {
        give_back(p, e, 0, 0, CAT_CAUSE_LEFT, none);
    }
    cat_heap_fini(&holder->in_flight);
    return n;
}

/* ---- dead letters ---- */

struct cat_entry *cat_place_bury(struct cat_place *p)
{
    struct cat_entry *e = cat_heap_top(&p->dead);
    if (e != NULL) {
        leave_state(p, e);
        e->state = CAT_ENTRY_STORING;
    }
    return e;
}

void cat_place_bury_failed(struct cat_place *p, struct cat_entry *e, uint64_t now,
                           uint64_t delay_ns)
{
    CHASSIS_ASSERT(e->state == CAT_ENTRY_STORING);
    e->state = CAT_ENTRY_DEAD;
    e->due_ns = now + delay_ns;
    cat_heap_put(&p->due, &by_due, e);
}

bool cat_place_reopen(struct cat_place *p, uint64_t sequence, uint32_t key, uint64_t letter,
                      bool *ret_full)
{
    *ret_full = p->n_entries - p->n_held >= cat_place_entries_max(p) + CAT_PLACE_REOPEN_MAX ||
                p->n_held >= CAT_PLACE_HELD_MAX + CAT_PLACE_REOPEN_MAX;
    if (*ret_full || sequence >= p->next || cat_place_find(p, sequence) != NULL) {
        return false;
    }
    compact(p);
    room_for_slot(p);
    struct cat_entry *e = add(p, lower_bound(p, sequence) - p->head, sequence, key);
    e->letter = letter;
    if (!has_key(p, e) || cat_keys_enter(&p->keys, e)) {
        make_ready(p, e);
    }
    return true;
}

/* ---- what is kept ---- */

void cat_place_each(const struct cat_place *p, uint64_t now,
                    void (*each)(void *data, const struct cat_place_item *item), void *data)
{
    for (size_t i = p->head; i < p->head + p->n_slots; i++) {
        const struct cat_entry *e = p->slots[i].entry;
        if (e == NULL) {
            continue;
        }
        bool waits = e->state == CAT_ENTRY_WAITING || e->state == CAT_ENTRY_BLOCKED;
        struct cat_place_item item = {
            .sequence = e->sequence,
            .wait_ns = waits && e->due_ns > now ? e->due_ns - now : 0,
            .first_ms = e->first_ms,
            .letter = e->letter,
            .key = e->key,
            .attempts = e->attempts,
            .cause = e->cause,
        };
        each(data, &item);
    }
}

void cat_place_restore(struct cat_place *p, const struct cat_place_item *item, uint64_t now)
{
    CHASSIS_ASSERT(item->sequence < p->next && slot_of(p, item->sequence) == NULL);
    struct cat_entry *e = add_last(p, item->sequence, item->key);
    e->attempts = item->attempts;
    e->first_ms = item->first_ms;
    e->letter = item->letter;
    e->cause = item->cause;
    e->due_ns = now + item->wait_ns;
    if (!has_key(p, e) || cat_keys_enter(&p->keys, e)) {
        settle(p, e, now);
    }
}
