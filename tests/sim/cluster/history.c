#include "history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"

enum { OPS_MAX = 4096 };

struct event {
    uint64_t time;
    bool is_return;
    unsigned op;
    int prev, next; /* in the list of what is not linearized */
    int match;      /* the event of the same operation */
};

/* Configurations seen: hash set of (bits of linearized operations, state). */
struct seen {
    uint64_t *keys; /* 0 = empty */
    size_t n, cap;
};

struct search {
    const struct sim_op **ops;
    unsigned n;
    struct event *events; /* [0] is the head of the list */
    uint64_t *bits;
    size_t words;
    uint64_t state;
    struct seen seen;
};

void sim_history_add(struct sim_history *h, const struct sim_op *op)
{
    if (h->n == h->cap) {
        h->cap = h->cap != 0 ? h->cap * 2 : 256;
        h->ops = chassis_base_realloc(h->ops, h->cap * sizeof *h->ops);
    }
    h->ops[h->n++] = *op;
}

void sim_history_fini(struct sim_history *h)
{
    free(h->ops);
    memset(h, 0, sizeof *h);
}

static bool seen_add(struct seen *s, uint64_t key)
{
    if ((s->n + 1) * 2 > s->cap) {
        struct seen old = *s;
        s->cap = old.cap != 0 ? old.cap * 2 : 1024;
        s->keys = chassis_base_zalloc(s->cap * sizeof *s->keys);
        s->n = 0;
        for (size_t i = 0; i < old.cap; i++) {
            if (old.keys[i] != 0) {
                seen_add(s, old.keys[i]);
            }
        }
        free(old.keys);
    }
    key = key != 0 ? key : 1;
    for (size_t i = key % s->cap;; i = (i + 1) % s->cap) {
        if (s->keys[i] == key) {
            return false;
        }
        if (s->keys[i] == 0) {
            s->keys[i] = key;
            s->n++;
            return true;
        }
    }
}

static int event_cmp(const void *a, const void *b)
{
    const struct event *x = a, *y = b;
    if (x->time != y->time) {
        return x->time < y->time ? -1 : 1;
    }
    return (int)x->is_return - (int)y->is_return; /* calls first: more may overlap */
}

static void unlink_event(struct event *e, int i)
{
    e[e[i].prev].next = e[i].next;
    if (e[i].next != -1) {
        e[e[i].next].prev = e[i].prev;
    }
}
static void relink_event(struct event *e, int i)
{
    e[e[i].prev].next = i;
    if (e[i].next != -1) {
        e[e[i].next].prev = i;
    }
}

/* Can `op` happen in `state`? */
static bool step(const struct sim_op *op, uint64_t state, uint64_t *ret_state)
{
    *ret_state = state;
    switch (op->kind) {
    case SIM_READ:
        return op->value == state;
    case SIM_WRITE:
        *ret_state = op->value;
        return true;
    case SIM_CAS:
        if (op->unknown) {
            *ret_state = op->expected == state ? op->value : state;
            return true;
        }
        if (op->swapped != (op->expected == state)) {
            return false;
        }
        *ret_state = op->swapped ? op->value : state;
        return true;
    case SIM_STALE:
    case SIM_OTHER:
        return true;
    }
    return false;
}

static uint64_t configuration(const struct search *s)
{
    uint64_t h = chassis_fnv1a(s->bits, s->words * sizeof *s->bits);
    return (h ^ s->state) * 0x9e3779b97f4a7c15ULL ^ h >> 29;
}

static void build_events(struct search *s)
{
    struct event *e = s->events;
    int n = 1;
    for (unsigned i = 0; i < s->n; i++) {
        e[n++] = (struct event){.time = s->ops[i]->call_ns, .op = i};
        e[n++] = (struct event){.time = s->ops[i]->unknown ? UINT64_MAX : s->ops[i]->return_ns,
                                .is_return = true,
                                .op = i};
    }
    qsort(e + 1, (size_t)n - 1, sizeof *e, event_cmp);
    int *call = chassis_base_zalloc(s->n * sizeof *call);
    for (int i = 0; i < n; i++) {
        e[i].prev = i - 1;
        e[i].next = i + 1 < n ? i + 1 : -1;
        if (i > 0 && !e[i].is_return) {
            call[e[i].op] = i;
        } else if (i > 0) {
            e[i].match = call[e[i].op];
            e[call[e[i].op]].match = i;
        }
    }
    free(call);
}

struct frame {
    int event;
    uint64_t state;
};

static bool search_run(struct search *s)
{
    struct event *e = s->events;
    struct frame *stack = chassis_base_alloc((s->n + 1) * sizeof *stack);
    unsigned depth = 0;
    int at = e[0].next;
    bool ok = true;
    while (e[0].next != -1) {
        uint64_t state;
        bool unknown_left = at != -1 && e[at].is_return && s->ops[e[at].op]->unknown;
        if (unknown_left) {
            break; /* only operations that may never have happened are left */
        }
        if (at != -1 && !e[at].is_return) {
            unsigned op = e[at].op;
            if (step(s->ops[op], s->state, &state)) {
                uint64_t was = s->state;
                s->bits[op / 64] |= 1ULL << (op % 64);
                s->state = state;
                if (seen_add(&s->seen, configuration(s))) {
                    stack[depth++] = (struct frame){at, was};
                    unlink_event(e, at);
                    unlink_event(e, e[at].match);
                    at = e[0].next;
                    continue;
                }
                s->bits[op / 64] &= ~(1ULL << (op % 64));
                s->state = was;
            }
            at = e[at].next;
            continue;
        }
        if (depth == 0) {
            ok = false;
            break;
        }
        struct frame f = stack[--depth];
        unsigned op = e[f.event].op;
        s->state = f.state;
        s->bits[op / 64] &= ~(1ULL << (op % 64));
        relink_event(e, e[f.event].match);
        relink_event(e, f.event);
        at = e[f.event].next;
    }
    free(stack);
    return ok;
}

static bool check_key(const struct sim_history *h, unsigned key)
{
    struct search s = {0};
    s.ops = chassis_base_zalloc((h->n + 1) * sizeof *s.ops);
    for (size_t i = 0; i < h->n; i++) {
        const struct sim_op *op = &h->ops[i];
        /* A read without an answer says nothing. */
        if (op->key == key && !(op->kind == SIM_READ && op->unknown)) {
            s.ops[s.n++] = op;
        }
    }
    s.words = s.n / 64 + 1;
    s.bits = chassis_base_zalloc(s.words * sizeof *s.bits);
    s.events = chassis_base_zalloc((2 * (size_t)s.n + 1) * sizeof *s.events);
    build_events(&s);
    bool ok = search_run(&s);
    free(s.ops);
    free(s.bits);
    free(s.events);
    free(s.seen.keys);
    return ok;
}

static void print_key(const struct sim_history *h, unsigned key)
{
    static const char *const kinds[] = {"read", "write", "cas", "stale", "other"};
    for (size_t i = 0; i < h->n; i++) {
        const struct sim_op *o = &h->ops[i];
        if (o->key == key) {
            fprintf(stderr, "  %12llu %12llu client %u node %u %s %llu%s%s\n",
                    (unsigned long long)o->call_ns / 1000, (unsigned long long)o->return_ns / 1000,
                    o->client, o->node, kinds[o->kind], (unsigned long long)o->value,
                    o->unknown ? " (unknown)" : "",
                    o->kind == SIM_CAS && !o->unknown ? o->swapped ? " swapped" : " kept" : "");
        }
    }
}

bool sim_history_check(const struct sim_history *history, unsigned n_keys, bool quiet)
{
    for (unsigned key = 0; key < n_keys; key++) {
        if (!check_key(history, key)) {
            if (!quiet) {
                fprintf(stderr, "key %u is not linearizable:\n", key);
                print_key(history, key);
            }
            return false;
        }
    }
    return true;
}
