#include "truth.h"

#include <string.h>

static struct row *row_of(struct truth *t, unsigned group, uint64_t sequence)
{
    unsigned e = sequence < 4 * EVENTS_MAX ? t->at_sequence[sequence] : 0;
    return e != 0 ? &t->rows[group][e - 1] : NULL;
}

bool truth_matches(const struct truth *t, unsigned group, unsigned event)
{
    return !t->groups[group].odd_only || t->events[event].odd;
}

static bool in_flight(const struct truth *t, const struct row *r)
{
    return r->member >= 0 && t->now_ns < r->deadline_ns;
}

static void check_key(const struct truth *t, unsigned group, unsigned event)
{
    const struct event *e = &t->events[event];
    if (!t->groups[group].ordered || e->key == 0) {
        return;
    }
    for (unsigned i = 0; i < t->n_events; i++) {
        const struct event *o = &t->events[i];
        const struct row *r = &t->rows[group][i];
        if (i == event || o->key != e->key || o->sequence == 0 || !truth_matches(t, group, i)) {
            continue;
        }
        if (in_flight(t, r)) {
            wrong("group %u: events %u and %u of one key are in flight", group, i, event);
        }
        if (o->sequence < e->sequence && r->done_ns == 0 && !r->acked && !r->replayable &&
            !r->replayed && !(r->attempts >= t->groups[group].deliveries_max)) {
            wrong("group %u: event %u (sequence %llu) before %u (sequence %llu) of its key", group,
                  event, (unsigned long long)e->sequence, i, (unsigned long long)o->sequence);
        }
    }
}

static void check_in_flight(const struct truth *t, unsigned group)
{
    unsigned n = 0;
    for (unsigned i = 0; i < t->n_events; i++) {
        n += in_flight(t, &t->rows[group][i]);
    }
    if (n > t->groups[group].in_flight_max) {
        wrong("group %u: %u in flight, at most %u", group, n, t->groups[group].in_flight_max);
    }
}

static void check_attempt(struct truth *t, unsigned group, unsigned event, uint32_t attempt)
{
    struct row *r = &t->rows[group][event];
    if (r->replayable && attempt == 1) {
        *r = (struct row){.member = -1, .acked = r->acked, .buried = true, .replayed = true};
        t->n_replayed++;
    } else if (r->done_ns != 0 && !r->forgiven) {
        wrong("group %u: event %u again (attempt %u), done since %llu ms (%s)", group, event,
              attempt, (unsigned long long)((t->now_ns - r->done_ns) / CHASSIS_NS_PER_MS),
              r->dying ? "given up" : "acknowledged");
    }
    if (r->uncertain || r->forgiven || r->replayable ? attempt > r->attempts + 1
                                                     : attempt != r->attempts + 1) {
        wrong("group %u: event %u: attempt %u after %u", group, event, attempt, r->attempts);
    }
    if (attempt == 0 || attempt > t->groups[group].deliveries_max) {
        wrong("group %u: event %u: attempt %u of %u", group, event, attempt,
              t->groups[group].deliveries_max);
    }
}

void truth_delivered(struct truth *t, unsigned group, int member, unsigned event, uint64_t sequence,
                     uint32_t attempt)
{
    struct row *r = &t->rows[group][event];
    struct event *e = &t->events[event];
    if (e->sequence != 0 && e->sequence != sequence) {
        wrong("event %u is stored twice: %llu and %llu", event, (unsigned long long)e->sequence,
              (unsigned long long)sequence);
    }
    e->sequence = sequence;
    t->at_sequence[sequence] = event + 1;
    if (!truth_matches(t, group, event)) {
        wrong("group %u: event %u does not match", group, event);
    }
    if (in_flight(t, r)) {
        wrong("group %u: event %u is in flight at member %d already", group, event, r->member);
    }
    if (r->not_before_ns > t->now_ns + 2 * CHASSIS_NS_PER_MS && !r->uncertain) {
        wrong("group %u: event %u %llu ms too early", group, event,
              (unsigned long long)((r->not_before_ns - t->now_ns) / CHASSIS_NS_PER_MS));
    }
    check_attempt(t, group, event, attempt);
    r->done_ns = r->not_before_ns = 0;
    r->dying = r->uncertain = r->forgiven = false;
    r->attempts = attempt;
    r->buried |= attempt == t->groups[group].deliveries_max; /* by silence, from now on */
    r->member = -1;
    check_key(t, group, event);
    r->member = member;
    r->changed_ns = t->now_ns;
    r->deadline_ns = t->now_ns + t->groups[group].ack_wait_ms * CHASSIS_NS_PER_MS;
    check_in_flight(t, group);
    t->n_deliveries++;
    t->n_redeliveries += attempt > 1;
}

static void done(struct truth *t, struct row *r, bool acked)
{
    r->member = -1;
    r->done_ns = t->now_ns;
    r->acked |= acked;
    r->dying = !acked;
    r->buried |= !acked;
    r->replayable = false;
    t->n_acks += acked;
}

void truth_answered(struct truth *t, unsigned group, int member, uint64_t sequence,
                    const struct cat_answer *a, int rc)
{
    struct row *r = row_of(t, group, sequence);
    const struct group_rules *rules = &t->groups[group];
    if (r == NULL || r->member != member || t->now_ns >= r->deadline_ns) {
        return; /* late by its own doing; whether it counted shows in what comes next */
    }
    if (rc != 0) {
        wrong("group %u: an answer in time to sequence %llu is refused", group,
              (unsigned long long)sequence);
    }
    switch (a->kind) {
    case CAT_ACK:
        done(t, r, true);
        break;
    case CAT_TERM:
        done(t, r, false);
        break;
    case CAT_NACK:
        r->member = -1;
        if (r->attempts >= rules->deliveries_max) {
            done(t, r, false);
        } else {
            uint32_t delay = a->delay_ms != 0 ? a->delay_ms : rules->backoff_ms;
            r->not_before_ns = t->now_ns + delay * CHASSIS_NS_PER_MS;
            r->changed_ns = t->now_ns;
        }
        break;
    case CAT_IN_PROGRESS:
        r->deadline_ns = t->now_ns + rules->ack_wait_ms * CHASSIS_NS_PER_MS;
        break;
    }
}

void truth_left(struct truth *t, unsigned group, int member)
{
    for (unsigned i = 0; i < t->n_events; i++) {
        struct row *r = &t->rows[group][i];
        if (r->member == member) {
            r->member = -1;
        }
    }
}

void truth_stopped(struct truth *t, bool orderly)
{
    for (unsigned g = 0; g < GROUPS; g++) {
        for (unsigned i = 0; i < t->n_events; i++) {
            struct row *r = &t->rows[g][i];
            bool was_full = t->full_ns != 0;
            uint64_t saving_ns = was_full ? t->full_ns : t->now_ns;
            uint64_t safe_ns = saving_ns > UNSAVED_NS ? saving_ns - UNSAVED_NS : 0;
            bool kept = orderly && !was_full;
            r->member = -1;
            r->uncertain |= !kept && r->changed_ns >= safe_ns;
            r->forgiven |= !kept && r->done_ns != 0 && r->done_ns >= safe_ns;
        }
    }
}

void truth_replay(struct truth *t, unsigned group)
{
    for (unsigned i = 0; i < t->n_events; i++) {
        struct row *r = &t->rows[group][i];
        r->replayable |= r->buried;
    }
}

void truth_settled(const struct truth *t, unsigned group)
{
    for (unsigned i = 0; i < t->n_events; i++) {
        const struct row *r = &t->rows[group][i];
        if (t->events[i].stored && truth_matches(t, group, i) && !r->acked && r->letters == 0) {
            wrong("group %u: event %u (sequence %llu) is lost: neither acknowledged nor a dead "
                  "letter",
                  group, i, (unsigned long long)t->events[i].sequence);
        }
        if (r->letters > 1) {
            wrong("group %u: event %u is a dead letter %u times", group, i, r->letters);
        }
    }
}
