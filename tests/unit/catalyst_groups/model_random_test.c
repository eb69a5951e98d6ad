/* Random operations against a reference that keeps one plain row per event and looks at all of them
 * for everything. A failing seed is in the text of the assertion's place: run with SEED=n. */
#include "model_random_test.h"

#include "base/prng.h"
#include "catalyst/groups/model.h"
#include "test.h"

enum { EVENTS = 4000, KEYS = 6, HOLDERS = 4, STEPS = 6000, SEEDS = 16 };
enum row_state { UNSEEN, DONE, BLOCKED, WAITING, READY, FETCHING, IN_FLIGHT, DEAD, LATER, STORING };

struct row {
    enum row_state state;
    uint32_t key;
    unsigned attempts, holder, cause;
    uint64_t due;
    int64_t first_ms;
    uint64_t letter;
    uint64_t turn; /* among those of its key */
};
struct world {
    struct chassis_prng prng;
    struct cat_place place;
    struct cat_holder holders[HOLDERS];
    struct row rows[EVENTS + 1];
    uint64_t next, now, turns;
    unsigned acked, dead, delivered, reopened;
};

static uint64_t below(struct world *w, uint64_t bound)
{
    return chassis_prng_below(&w->prng, bound);
}

/* ---- the reference ---- */

static bool is_entry(const struct row *r)
{
    return r->state != UNSEEN && r->state != DONE;
}

static bool same_key(const struct world *w, const struct row *a, const struct row *b)
{
    return w->place.rules.ordered && a->key != 0 && a->key == b->key;
}

static struct row *first_of_key(struct world *w, const struct row *of)
{
    struct row *first = NULL;
    for (uint64_t s = 1; s < w->next; s++) {
        struct row *r = &w->rows[s];
        if (is_entry(r) && same_key(w, r, of) && (first == NULL || r->turn < first->turn)) {
            first = r;
        }
    }
    return first;
}

static void ref_wait(struct world *w, struct row *r, uint64_t due)
{
    r->due = due;
    r->state = due <= w->now ? READY : WAITING;
}

static void ref_settle(struct world *w, struct row *r)
{
    if (r->cause != 0) {
        r->state = DEAD;
    } else if (r->attempts >= w->place.rules.deliveries_max) {
        r->state = DEAD;
        r->cause = CAT_CAUSE_UNANSWERED;
    } else {
        ref_wait(w, r, r->due);
    }
}

static void ref_done(struct world *w, struct row *r)
{
    r->state = DONE;
    struct row *heir = r->key != 0 ? first_of_key(w, r) : NULL;
    if (heir != NULL && w->place.rules.ordered) {
        assert_int_equal(heir->state, BLOCKED);
        ref_settle(w, heir);
    }
}

static uint64_t ref_backoff(const struct world *w, const struct row *r)
{
    uint32_t n = w->place.rules.n_backoff;
    return n == 0 ? 0 : w->place.rules.backoff_ns[r->attempts <= n ? r->attempts - 1 : n - 1];
}

static void ref_give_back(struct world *w, struct row *r, uint64_t delay, unsigned cause)
{
    if (r->attempts >= w->place.rules.deliveries_max) {
        r->state = DEAD;
        r->cause = cause;
    } else {
        ref_wait(w, r, w->now + delay);
    }
}

static void ref_expire(struct world *w)
{
    for (uint64_t s = 1; s < w->next; s++) {
        struct row *r = &w->rows[s];
        if (r->due > w->now) {
            continue;
        }
        if (r->state == IN_FLIGHT) {
            ref_give_back(w, r, ref_backoff(w, r), CAT_CAUSE_UNANSWERED);
        } else if (r->state == WAITING) {
            r->state = READY;
        } else if (r->state == LATER) {
            r->state = DEAD;
        }
    }
}

static struct row *lowest(struct world *w, enum row_state state, uint64_t *ret_sequence)
{
    for (uint64_t s = 1; s < w->next; s++) {
        if (w->rows[s].state == state) {
            *ret_sequence = s;
            return &w->rows[s];
        }
    }
    return NULL;
}

/* ---- equal? ---- */

struct compare {
    struct world *w;
    uint64_t at;
};

static void compare_item(void *data, const struct cat_place_item *item)
{
    struct compare *c = data;
    while (!is_entry(&c->w->rows[c->at])) {
        c->at++;
    }
    const struct row *r = &c->w->rows[c->at];
    bool waits = r->state == BLOCKED || r->state == WAITING;
    assert_int_equal(item->sequence, c->at++);
    assert_int_equal(item->attempts, r->attempts);
    assert_int_equal(item->cause, r->cause);
    assert_int_equal(item->key, r->key);
    assert_int_equal(item->first_ms, r->first_ms);
    assert_int_equal(item->letter, r->letter);
    assert_int_equal(item->wait_ns, waits && r->due > c->w->now ? r->due - c->w->now : 0);
}

static void compare_all(struct world *w)
{
    uint64_t floor = w->next, due = UINT64_MAX;
    unsigned entries = 0, in_flight = 0, fetching = 0, waiting = 0, held[HOLDERS] = {0};
    for (uint64_t s = w->next - 1; s != 0; s--) {
        const struct row *r = &w->rows[s];
        floor = is_entry(r) ? s : floor;
        entries += is_entry(r);
        in_flight += r->state == IN_FLIGHT;
        fetching += r->state == FETCHING;
        waiting += r->state == WAITING || r->state == BLOCKED;
        if (r->state == IN_FLIGHT) {
            held[r->holder]++;
        }
        bool timed = r->state == IN_FLIGHT || r->state == WAITING || r->state == LATER;
        due = timed && r->due < due ? r->due : due;
    }
    assert_int_equal(w->place.next, w->next);
    assert_int_equal(cat_place_floor(&w->place), floor);
    assert_int_equal(cat_place_due(&w->place), due);
    assert_int_equal(w->place.n_entries, entries);
    assert_int_equal(w->place.n_in_flight, in_flight);
    assert_int_equal(w->place.n_fetching, fetching);
    assert_int_equal(w->place.n_held, waiting);
    assert_true(in_flight + fetching <= w->place.rules.in_flight_max);
    for (unsigned h = 0; h < HOLDERS; h++) {
        assert_int_equal(w->holders[h].in_flight.n, held[h]);
    }
    struct compare c = {w, 1};
    cat_place_each(&w->place, w->now, compare_item, &c);
}

/* ---- operations ---- */

static void deliver(struct world *w, uint64_t s, struct cat_entry *e)
{
    struct row *r = &w->rows[s];
    unsigned h = (unsigned)below(w, HOLDERS);
    for (uint64_t other = 1; other < w->next; other++) {
        const struct row *o = &w->rows[other];
        if (o == r || !is_entry(o) || !same_key(w, o, r)) {
            continue;
        }
        assert_true(o->state == BLOCKED); /* one at a time */
        assert_true(r->turn < o->turn);   /* and in order */
    }
    assert_int_equal(cat_place_deliver(&w->place, e, &w->holders[h], w->now, (int64_t)s + 7),
                     r->attempts + 1);
    if (r->attempts++ == 0) {
        r->first_ms = (int64_t)s + 7;
    }
    r->state = IN_FLIGHT;
    r->holder = h;
    r->due = w->now + w->place.rules.ack_wait_ns;
    w->delivered++;
}

static void op_take(struct world *w)
{
    if (!cat_place_may_take(&w->place) || w->next + 3 > EVENTS) {
        return;
    }
    for (uint64_t skip = below(w, 3) == 0 ? below(w, 3) : 0; skip != 0; skip--) {
        w->rows[w->next++].state = DONE;
    }
    if (below(w, 4) == 0) {
        cat_place_pass(&w->place, w->next);
    }
    uint64_t s = w->next;
    struct row *r = &w->rows[s];
    *r = (struct row){.key = (uint32_t)below(w, KEYS), .turn = ++w->turns};
    r->due = below(w, 8) == 0 ? w->now + below(w, 300) : 0;
    bool busy = first_of_key(w, r) != NULL;
    w->next++;
    assert_int_equal(cat_place_key_busy(&w->place, r->key), busy);
    struct cat_entry *e = cat_place_take(&w->place, s, r->key, r->due, w->now);
    if (busy) {
        r->state = BLOCKED;
    } else {
        ref_wait(w, r, r->due);
    }
    if (r->state == READY && cat_place_may_deliver(&w->place) && below(w, 2) == 0) {
        deliver(w, s, e);
    }
}

static void op_fetch(struct world *w)
{
    uint64_t s = 0;
    struct row *r = lowest(w, READY, &s);
    if (!cat_place_may_deliver(&w->place)) {
        return;
    }
    struct cat_entry *e = cat_place_fetch(&w->place);
    assert_int_equal(e != NULL, r != NULL);
    if (r == NULL) {
        return;
    }
    assert_int_equal(e->sequence, s);
    r->state = FETCHING;
    compare_all(w);
    switch (below(w, 8)) {
    case 0:
        cat_place_fetch_failed(&w->place, e, w->now, 50);
        ref_wait(w, r, w->now + 50);
        break;
    case 1: /* it is gone */
        cat_place_done(&w->place, e, w->now);
        ref_done(w, r);
        break;
    default:
        deliver(w, s, e);
        break;
    }
}

static void op_answer(struct world *w)
{
    struct chassis_view reason = chassis_view_str(below(w, 2) != 0 ? "because" : "");
    uint64_t s = 1 + below(w, w->next);
    if (below(w, 4) != 0) { /* one that is in flight, if there is any */
        for (uint64_t i = 1; i < w->next && w->rows[s].state != IN_FLIGHT; i++) {
            s = s + 1 < w->next ? s + 1 : 1;
        }
    }
    struct row *r = &w->rows[s];
    unsigned h =
        below(w, 8) != 0 && r->state == IN_FLIGHT ? r->holder : (unsigned)below(w, HOLDERS);
    bool mine = r->state == IN_FLIGHT && r->holder == h && s < w->next;
    struct cat_holder *holder = &w->holders[h];
    switch (below(w, 5)) {
    case 0: {
        uint64_t delay = below(w, 2) * (1 + below(w, 200));
        assert_int_equal(cat_place_nack(&w->place, holder, s, w->now, delay, reason), mine);
        if (mine) {
            ref_give_back(w, r, delay != 0 ? delay : ref_backoff(w, r), CAT_CAUSE_NACKED);
        }
        break;
    }
    case 1:
        if (below(w, 4) == 0) {
            assert_int_equal(cat_place_term(&w->place, holder, s, reason), mine);
            if (mine) {
                r->state = DEAD;
                r->cause = CAT_CAUSE_TERMINATED;
            }
        }
        break;
    case 2:
        assert_int_equal(cat_place_progress(&w->place, holder, s, w->now), mine);
        if (mine) {
            r->due = w->now + w->place.rules.ack_wait_ns;
        }
        break;
    default:
        assert_int_equal(cat_place_ack(&w->place, holder, s, w->now), mine);
        if (mine) {
            ref_done(w, r);
            w->acked++;
        }
        break;
    }
}

static void op_through(struct world *w)
{
    unsigned h = (unsigned)below(w, HOLDERS), n = 0;
    uint64_t through = below(w, w->next + 1);
    for (uint64_t s = 1; s <= through && s < w->next; s++) {
        if (w->rows[s].state == IN_FLIGHT && w->rows[s].holder == h) {
            ref_done(w, &w->rows[s]);
            n++;
        }
    }
    assert_int_equal(cat_place_ack_through(&w->place, &w->holders[h], through, w->now), n);
}

static void op_leave(struct world *w)
{
    unsigned h = (unsigned)below(w, HOLDERS), n = 0;
    for (uint64_t s = 1; s < w->next; s++) {
        if (w->rows[s].state == IN_FLIGHT && w->rows[s].holder == h) {
            ref_give_back(w, &w->rows[s], 0, CAT_CAUSE_LEFT);
            n++;
        }
    }
    assert_int_equal(cat_place_release(&w->place, &w->holders[h]), n);
}

static void op_bury(struct world *w)
{
    uint64_t s = 0;
    struct row *r = lowest(w, DEAD, &s);
    struct cat_entry *e = cat_place_bury(&w->place);
    assert_int_equal(e != NULL, r != NULL);
    if (r == NULL) {
        return;
    }
    assert_int_equal(e->sequence, s);
    assert_int_equal(e->cause, r->cause);
    r->state = STORING;
    if (below(w, 4) == 0) {
        cat_place_bury_failed(&w->place, e, w->now, 20);
        r->state = LATER;
        r->due = w->now + 20;
    } else {
        cat_place_done(&w->place, e, w->now);
        ref_done(w, r);
        w->dead++;
    }
}

static void op_reopen(struct world *w)
{
    uint64_t s = 1 + below(w, w->next);
    struct row *r = &w->rows[s];
    bool full, may = s < w->next && r->state == DONE;
    uint32_t key = (uint32_t)below(w, KEYS);
    if (may) {
        /* Behind the first of its key, before those of higher sequence. */
        struct row as = {.key = key};
        struct row *first = first_of_key(w, &as);
        uint64_t turn = ++w->turns;
        for (uint64_t t = w->next - 1; t > s && first != NULL; t--) {
            struct row *o = &w->rows[t];
            if (is_entry(o) && same_key(w, o, &as) && o != first) {
                uint64_t swap = o->turn;
                o->turn = turn;
                turn = swap;
            }
        }
        *r = (struct row){
            .state = first != NULL ? BLOCKED : READY, .key = key, .letter = s + 1, .turn = turn};
        w->reopened++;
    }
    assert_int_equal(cat_place_reopen(&w->place, s, key, s + 1, &full), may);
}

static void collect(void *data, const struct cat_place_item *item)
{
    chassis_buf_append(data, item, sizeof *item);
}

/* As after a crash: only what `each` gave is there. Or: order by key is switched. */
static void op_restart(struct world *w, bool change)
{
    struct cat_place_rules rules = w->place.rules;
    if (change) {
        rules.ordered = !rules.ordered;
        cat_place_change(&w->place, &rules, w->now);
    } else {
        struct chassis_buf items = {0};
        cat_place_each(&w->place, w->now, collect, &items);
        cat_place_fini(&w->place);
        cat_place_init(&w->place, &rules, w->next);
        for (size_t at = 0; at < items.len; at += sizeof(struct cat_place_item)) {
            struct cat_place_item item;
            memcpy(&item, items.data + at, sizeof item);
            cat_place_restore(&w->place, &item, w->now);
        }
        chassis_buf_fini(&items);
    }
    for (uint64_t s = 1; s < w->next; s++) {
        struct row *r = &w->rows[s];
        bool waits = r->state == BLOCKED || r->state == WAITING;
        r->due = waits && r->due > w->now ? r->due : w->now;
        r->turn = ++w->turns;
    }
    for (uint64_t s = 1; s < w->next; s++) {
        struct row *r = &w->rows[s], *first = first_of_key(w, r);
        if (is_entry(r) && first != NULL && first != r) {
            r->state = BLOCKED;
        } else if (is_entry(r)) {
            ref_settle(w, r);
        }
    }
}

static void op_seek(struct world *w)
{
    uint64_t back = below(w, 20);
    w->next = w->next > back + 1 ? w->next - back : 1;
    for (uint64_t s = 1; s <= EVENTS; s++) {
        w->rows[s].state = s < w->next ? DONE : UNSEEN;
    }
    cat_place_seek(&w->place, w->next);
}

static void step(struct world *w)
{
    unsigned kind = (unsigned)below(w, 1000);
    if (kind < 350) {
        op_take(w);
    } else if (kind < 550) {
        op_fetch(w);
    } else if (kind < 820) {
        op_answer(w);
    } else if (kind < 840) {
        op_through(w);
    } else if (kind < 850) {
        op_leave(w);
    } else if (kind < 900) {
        op_bury(w);
    } else if (kind < 910) {
        op_reopen(w);
    } else if (kind < 914) {
        op_restart(w, false);
    } else if (kind < 915) {
        op_restart(w, true);
    } else if (kind < 916) {
        op_seek(w);
    } else {
        w->now += below(w, 30);
        ref_expire(w);
        cat_place_expire(&w->place, w->now);
    }
}

/* Everything that was taken is delivered to its end once answers come. */
static void drain(struct world *w)
{
    for (unsigned rounds = 0; w->place.n_entries != 0; rounds++) {
        assert_true(rounds < 20000);
        w->now += 10;
        ref_expire(w);
        cat_place_expire(&w->place, w->now);
        op_fetch(w);
        op_bury(w);
        for (unsigned h = 0; h < HOLDERS; h++) {
            for (uint64_t s = 1; s < w->next; s++) {
                if (w->rows[s].state == IN_FLIGHT && w->rows[s].holder == h) {
                    assert_true(cat_place_ack(&w->place, &w->holders[h], s, w->now));
                    ref_done(w, &w->rows[s]);
                }
            }
        }
    }
    assert_int_equal(cat_place_floor(&w->place), w->next);
}

static void run(uint64_t seed, bool ordered)
{
    struct world *w = calloc(1, sizeof *w);
    chassis_prng_init(&w->prng, seed);
    struct cat_place_rules rules = {
        .ack_wait_ns = 40 + below(w, 200),
        .backoff_ns = {5, 0, 60},
        .n_backoff = (uint32_t)below(w, 4),
        .deliveries_max = 1 + (uint32_t)below(w, 5),
        .in_flight_max = 1 + (uint32_t)below(w, 30),
        .ordered = ordered,
    };
    w->next = 1;
    cat_place_init(&w->place, &rules, 1);
    for (unsigned i = 0; i < STEPS; i++) {
        step(w);
        if (i % 8 == 0 || i + 50 > STEPS) {
            compare_all(w);
        }
    }
    drain(w);
    compare_all(w);
    assert_true(w->delivered > 100 && w->acked > 10 && w->dead > 0 && w->reopened > 0);
    cat_place_fini(&w->place);
    for (unsigned h = 0; h < HOLDERS; h++) {
        cat_heap_fini(&w->holders[h].in_flight);
    }
    free(w);
}

static void run_seeds(bool ordered)
{
    const char *one = getenv("SEED");
    uint64_t from = one != NULL ? strtoull(one, NULL, 10) : 1;
    uint64_t to = one != NULL ? from : SEEDS;
    for (uint64_t seed = from; seed <= to; seed++) {
        run(seed, ordered);
    }
}

void random_operations_match_the_reference(void **state)
{
    run_seeds(false);
}

void random_operations_match_the_reference_with_keys(void **state)
{
    run_seeds(true);
}
