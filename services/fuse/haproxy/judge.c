/* Which route is guilty of a refusal? First a configuration without any route: if that is refused, none
 * is. Then the routes in order of name are tried in halves, each half with nothing else: of a range
 * that is refused the first half is tried; if that is fine the second must be refused, which the last
 * trial, of one route alone, proves. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "fuse/haproxy/internal.h"

enum { GUILTY_MAX = 256 };

static int by_name(const void *a, const void *b)
{
    const struct fuse_haproxy_guilty *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static bool is_guilty(const struct fuse_haproxy *h, const struct fuse_entry *entry)
{
    for (unsigned i = 0; i < h->n_guilty; i++) {
        if (h->guilty[i].version == entry->version &&
            strcmp(h->guilty[i].name, entry->route->name) == 0) {
            return true;
        }
    }
    return false;
}

void haproxy_forgive(struct fuse_haproxy *h)
{
    unsigned n = 0;
    for (unsigned i = 0; i < h->n_guilty; i++) {
        const struct fuse_entry *entry = fuse_view_route(h->options.view, h->guilty[i].name);
        if (entry != NULL && entry->version == h->guilty[i].version) {
            h->guilty[n++] = h->guilty[i];
        }
    }
    h->n_guilty = n;
}

bool haproxy_hides(const struct fuse_entry *entry, void *data)
{
    const struct fuse_haproxy *h = data;
    const struct fuse_haproxy_judge *j = &h->judge;
    if (h->n_guilty != 0 && is_guilty(h, entry)) {
        return true;
    }
    if (j->step == JUDGE_NONE) {
        return false;
    }
    struct fuse_haproxy_guilty key = {.version = 0};
    snprintf(key.name, sizeof key.name, "%s", entry->route->name);
    const struct fuse_haproxy_guilty *at =
        bsearch(&key, j->suspects, j->n, sizeof *j->suspects, by_name);
    return at == NULL || (unsigned)(at - j->suspects) < j->try_low ||
           (unsigned)(at - j->suspects) >= j->try_high;
}

struct collecting {
    struct fuse_haproxy *h;
    const struct fuse_entry **entries;
    unsigned cap;
};

static bool collect_host(const char *host, void *data)
{
    struct collecting *c = data;
    struct fuse_haproxy_judge *j = &c->h->judge;
    unsigned n = fuse_view_vhost(c->h->options.view, host, NULL, c->entries, c->cap);
    if (n > c->cap) {
        c->cap = n;
        c->entries = chassis_base_realloc(c->entries, n * sizeof *c->entries);
        fuse_view_vhost(c->h->options.view, host, NULL, c->entries, n);
    }
    j->suspects = chassis_base_realloc(j->suspects, (j->n + n + 1) * sizeof *j->suspects);
    for (unsigned i = 0; i < n; i++) {
        if (!is_guilty(c->h, c->entries[i])) {
            struct fuse_haproxy_guilty *s = &j->suspects[j->n++];
            s->version = c->entries[i]->version;
            snprintf(s->name, sizeof s->name, "%s", c->entries[i]->route->name);
        }
    }
    return true;
}

static void step(struct fuse_haproxy *h);

static void give_up(struct fuse_haproxy *h)
{
    haproxy_judge_end(h);
    if (h->master.pid == 0) {
        haproxy_again_later(h, "haproxy refuses a configuration, and none runs",
                            h->configuration_track.words);
        return;
    }
    chassis_log_error(h->options.log,
                      "no single route is what haproxy refuses: the old configuration stays until "
                      "something changes");
    h->phase = FUSE_HAPROXY_IDLE;
}

static void convict(struct fuse_haproxy *h, const char *words)
{
    struct fuse_haproxy_guilty *s = &h->judge.suspects[h->judge.low];
    h->guilty = chassis_base_realloc(h->guilty, (h->n_guilty + 1) * sizeof *h->guilty);
    h->guilty[h->n_guilty++] = *s;
    chassis_log_error(h->options.log, "haproxy refuses a route, which is left out",
                      chassis_f_str("route", s->name), chassis_f_str("words", words));
    const struct fuse_entry *entry = fuse_view_route(h->options.view, s->name);
    if (h->options.quarantine != NULL && entry != NULL && entry->version == s->version) {
        h->options.quarantine(entry, words, h->options.data);
    }
    haproxy_judge_end(h);
    h->changed = h->force = true;
    h->phase = FUSE_HAPROXY_IDLE;
}

static void on_tried(struct fuse_haproxy *h, bool fine, const char *words)
{
    struct fuse_haproxy_judge *j = &h->judge;
    fuse_plan_free(h->trial);
    h->trial = NULL;
    switch (j->step) {
    case JUDGE_NONE:
        return;
    case JUDGE_ALONE:
        if (fine) {
            give_up(h);
        } else {
            convict(h, words);
        }
        return;
    case JUDGE_WITHOUT:
        if (!fine) {
            give_up(h);
            return;
        }
        break;
    case JUDGE_FIRST_HALF:
        j->low = fine ? j->mid : j->low;
        j->high = fine ? j->high : j->mid;
        break;
    }
    j->mid = j->low + (j->high - j->low) / 2;
    j->step = j->high - j->low == 1 ? JUDGE_ALONE : JUDGE_FIRST_HALF;
    j->try_low = j->low;
    j->try_high = j->step == JUDGE_ALONE ? j->high : j->mid;
    step(h);
}

static void step(struct fuse_haproxy *h)
{
    struct fuse_plan *plan = haproxy_render(h);
    if (plan == NULL) {
        give_up(h);
        return;
    }
    haproxy_try(h, plan, "trial.cfg", on_tried);
}

void haproxy_judge_begin(struct fuse_haproxy *h)
{
    struct collecting c = {.h = h, .cap = 64};
    c.entries = chassis_base_alloc(c.cap * sizeof *c.entries);
    haproxy_judge_end(h);
    fuse_view_each_host(h->options.view, NULL, collect_host, &c);
    free(c.entries);
    struct fuse_haproxy_judge *j = &h->judge;
    if (j->n == 0 || h->n_guilty >= GUILTY_MAX) {
        give_up(h);
        return;
    }
    qsort(j->suspects, j->n, sizeof *j->suspects, by_name);
    j->high = j->n;
    j->step = JUDGE_WITHOUT;
    step(h);
}

void haproxy_judge_end(struct fuse_haproxy *h)
{
    free(h->judge.suspects);
    h->judge = (struct fuse_haproxy_judge){.step = JUDGE_NONE};
}
