#include "fuse/xds/judge.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "fuse/xds/state.h"

struct fuse_suspect {
    uint64_t version;
    bool offered;
    char name[];
};

static void on_silence(struct chassis_timer *timer);

void fuse_judge_init(struct fuse_group *group)
{
    group->judge.timer.run = on_silence;
    group->judge.tidy.run = fuse_past_tidy;
    chassis_list_init(&group->judge.with_sent);
}

static bool is_active(const struct fuse_judge *j)
{
    return j->phase == FUSE_JUDGE_FALLBACK || j->phase == FUSE_JUDGE_TRIAL;
}

bool fuse_judge_is_idle(const struct fuse_group *group)
{
    return group->judge.phase == FUSE_JUDGE_IDLE;
}

/* ---- the group's view ---- */

static void view_changed(struct fuse_group *group, const struct fuse_entry *before,
                         const struct fuse_entry *after)
{
    group->xds->sequence++;
    if (before != NULL || after != NULL) {
        fuse_group_touch(group, &(struct fuse_change){.before = before, .after = after});
    }
    const struct fuse_xds_options *options = &group->xds->options;
    if (group->pinned && options->view_changed != NULL) {
        options->view_changed(options->view_data, group->name);
    }
}

void fuse_group_override(struct fuse_group *group, const char *route,
                         const struct fuse_entry *instead)
{
    struct fuse_entry before = {0};
    const struct fuse_entry *had = fuse_view_route(group->view, route);
    if (had != NULL) {
        fuse_entry_copy(&before, had);
    }
    fuse_view_override(group->view, route, instead);
    view_changed(group, had != NULL ? &before : NULL, fuse_view_route(group->view, route));
    group->judge.replaced = group->xds->sequence;
    fuse_entry_drop(&before);
}

void fuse_group_restore(struct fuse_group *group, const char *route)
{
    struct fuse_entry before = {0};
    const struct fuse_entry *had = fuse_view_replacement(group->view, route);
    if (had != NULL) {
        fuse_entry_copy(&before, had);
    }
    if (fuse_view_release(group->view, route)) {
        view_changed(group, had != NULL ? &before : NULL, fuse_view_route(group->view, route));
    }
    fuse_entry_drop(&before);
    struct fuse_past *past = fuse_past_find(group, route);
    if (past != NULL) { /* what was acknowledged up to now says nothing of it */
        past->sequence = group->xds->sequence;
    }
}

/* ---- suspects ---- */

static struct fuse_suspect *suspect_add(struct fuse_judge *j, const char *name, uint64_t version)
{
    size_t len = strlen(name) + 1;
    struct fuse_suspect *s = chassis_base_zalloc(sizeof *s + len);
    memcpy(s->name, name, len);
    s->version = version;
    s->offered = true; /* the group has it now */
    if (j->n_suspects == j->cap) {
        j->cap = j->cap != 0 ? 2 * j->cap : 8;
        j->suspects = chassis_base_realloc(j->suspects, j->cap * sizeof *j->suspects);
    }
    j->suspects[j->n_suspects++] = s;
    return s;
}

/* Takes them off the front. */
static void suspects_drop(struct fuse_judge *j, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        free(j->suspects[i]);
    }
    j->n_suspects -= n;
    if (n != 0 && j->n_suspects != 0) {
        memmove(j->suspects, j->suspects + n, j->n_suspects * sizeof *j->suspects);
    }
}

static void hold(struct fuse_group *group, struct fuse_suspect *s)
{
    if (s->offered) {
        const struct fuse_past *past = fuse_past_find(group, s->name);
        bool had = past != NULL && past->accepted.route != NULL;
        s->offered = false;
        fuse_group_override(group, s->name, had ? &past->accepted : NULL);
    }
}

static void offer(struct fuse_group *group, struct fuse_suspect *s)
{
    if (!s->offered) {
        s->offered = true;
        fuse_past_get(group, s->name);
        fuse_group_restore(group, s->name);
    }
}

/* A round: the first `n` are offered, the others kept away. */
static void begin(struct fuse_group *group, enum fuse_judge_phase phase, unsigned n)
{
    struct fuse_judge *j = &group->judge;
    struct fuse_xds *xds = group->xds;
    for (unsigned i = 0; i < j->n_suspects; i++) {
        if (i < n) {
            offer(group, j->suspects[i]);
        } else {
            hold(group, j->suspects[i]);
        }
    }
    j->phase = phase;
    j->n_offered = n;
    j->sequence = ++xds->sequence;
    fuse_group_wake(group);
    if (is_active(j)) {
        fuse_measure_add(FUSE_MEASURE_ROUNDS, 1);
        chassis_post_after(xds->options.loop, &j->timer, FUSE_TRIAL_MS * CHASSIS_NS_PER_MS);
    } else {
        chassis_cancel(xds->options.loop, &j->timer);
    }
}

static void finish(struct fuse_group *group)
{
    struct fuse_judge *j = &group->judge;
    suspects_drop(j, j->n_suspects);
    chassis_cancel(group->xds->options.loop, &j->timer);
    free(j->suspects);
    free(j->words);
    free(j->proxy);
    j->suspects = NULL;
    j->cap = 0;
    j->words = j->proxy = NULL;
    j->oracle = NULL;
    j->phase = FUSE_JUDGE_IDLE;
    j->again = true;
    fuse_past_untidy(group);
    fuse_group_wake(group);
}

void fuse_judge_fini(struct fuse_group *group)
{
    struct fuse_judge *j = &group->judge;
    suspects_drop(j, j->n_suspects);
    chassis_cancel(group->xds->options.loop, &j->timer);
    chassis_cancel(group->xds->options.loop, &j->tidy);
    free(j->suspects);
    free(j->words);
    free(j->proxy);
    fuse_past_fini(group);
}

/* ---- verdicts ---- */

static void convict(struct fuse_group *group, struct fuse_suspect *s)
{
    struct fuse_judge *j = &group->judge;
    const struct fuse_entry *guilty = fuse_model_route(group->xds->options.model, s->name);
    hold(group, s);
    CHASSIS_ASSERT(guilty != NULL);
    fuse_quarantine_add(group, guilty, fuse_view_replacement(group->view, s->name), j->proxy,
                        j->words);
}

static void advance(struct fuse_group *group)
{
    struct fuse_judge *j = &group->judge;
    if (j->n_bad == 1 && !j->sane) { /* or a proxy that refuses everything would convict it */
        begin(group, FUSE_JUDGE_FALLBACK, 0);
        return;
    }
    if (j->n_bad == 1) {
        convict(group, j->suspects[0]);
        suspects_drop(j, 1);
        j->n_bad = 0;
    }
    if (j->n_suspects == 0) {
        finish(group);
    } else {
        begin(group, FUSE_JUDGE_TRIAL, j->n_bad > 1 ? j->n_bad / 2 : j->n_suspects);
    }
}

static void give_up(struct fuse_group *group)
{
    struct fuse_judge *j = &group->judge;
    chassis_log_warn(group->xds->options.log,
                     "a proxy refuses even what was accepted before: no route is to blame",
                     chassis_f_str("group", group->name), chassis_f_str("proxy", j->proxy),
                     chassis_f_str("words", j->words));
    j->oracle->contrary = true;
    for (unsigned i = 0; i < j->n_suspects; i++) {
        offer(group, j->suspects[i]);
    }
    finish(group);
}

static void verdict(struct fuse_group *group, bool accepted)
{
    struct fuse_judge *j = &group->judge;
    unsigned n = j->n_offered;
    j->sane = j->sane || accepted;
    if (!accepted) {
        free(j->words);
        j->words = chassis_base_strdup(j->oracle->words);
        j->oracle->unjudged = false;
    }
    if (j->phase == FUSE_JUDGE_FALLBACK) {
        if (accepted) {
            advance(group);
        } else {
            give_up(group);
        }
        return;
    }
    if (accepted) {
        j->n_bad -= j->n_bad > n ? n : j->n_bad;
        suspects_drop(j, n);
    } else {
        j->n_bad = n;
    }
    advance(group);
}

/* ---- the accusation ---- */

static void suspect(const struct fuse_entry *entry, void *data)
{
    suspect_add(data, entry->route->name, entry->version);
}

static int by_version(const void *x, const void *y)
{
    const struct fuse_suspect *a = *(struct fuse_suspect *const *)x;
    const struct fuse_suspect *b = *(struct fuse_suspect *const *)y;
    return a->version != b->version ? (a->version < b->version ? -1 : 1) : strcmp(a->name, b->name);
}

/* Whatever else nobody has accepted yet waits with the suspects, or a trial would be about that as
 * well. */
static void hold_unproven(struct fuse_group *group)
{
    struct fuse_judge *j = &group->judge;
    for (unsigned i = 0; i < j->n_suspects; i++) {
        hold(group, j->suspects[i]);
    }
    struct fuse_tree_walk walk;
    fuse_tree_walk_begin(&walk, &j->past);
    for (struct fuse_tree_node *node; (node = fuse_tree_walk_next(&walk)) != NULL;) {
        struct fuse_past *past = fuse_tree_entry(node, struct fuse_past, node);
        const struct fuse_entry *entry = fuse_view_route(group->view, past->name);
        if (entry != NULL && !fuse_view_is_overridden(group->view, past->name) &&
            !fuse_past_is_proven(group, past, entry, j->type)) {
            hold(group, suspect_add(j, past->name, entry->version));
        }
    }
}

static void start(struct fuse_feed *feed)
{
    struct fuse_group *group = feed->session->group;
    struct fuse_judge *j = &group->judge;
    bool fresh = false;
    feed->unjudged = false;
    if (feed->contrary) {
        return;
    }
    fuse_accuse(feed, suspect, j, &fresh);
    chassis_log_warn(group->xds->options.log,
                     j->n_suspects != 0 ? "a proxy refuses an answer: looking for the route"
                                        : "a proxy refuses an answer, and no route of it is new",
                     chassis_f_str("group", group->name),
                     chassis_f_str("proxy", feed->session->proxy.id),
                     chassis_f_str("type", fuse_type_urls[feed->type]),
                     chassis_f_u64("suspects", j->n_suspects), chassis_f_str("words", feed->words));
    if (j->n_suspects == 0) {
        return;
    }
    qsort(j->suspects, j->n_suspects, sizeof *j->suspects, by_version);
    j->oracle = feed;
    j->type = (int)feed->type;
    j->words = chassis_base_strdup(feed->words);
    j->proxy = chassis_base_strdup(feed->session->proxy.id);
    j->sane = false;
    /* Unless it was one that is not there any more. */
    j->n_bad = j->replaced > feed->sent_sequence ? 0 : j->n_suspects;
    hold_unproven(group);
    if (fresh) { /* there is nothing to fall back to: the older ones are better than none */
        advance(group);
    } else {
        begin(group, FUSE_JUDGE_FALLBACK, 0);
    }
}

/* ---- what feeds say ---- */

void fuse_judge_claimed(struct fuse_slot *slot)
{
    struct fuse_group *group = slot->group;
    slot->proven_hash = slot->hash;
    slot->proven_sequence = group->xds->sequence;
    fuse_past_untidy(group);
}

void fuse_judge_accepted(struct fuse_feed *feed)
{
    struct fuse_group *group = feed->session->group;
    struct fuse_judge *j = &group->judge;
    bool news = false;
    fuse_past_accept(feed);
    chassis_list_foreach (link, &feed->flight) {
        const struct fuse_sub *sub = chassis_list_entry(link, struct fuse_sub, flight);
        struct fuse_slot *slot = sub->slot;
        if (feed->sent_sequence > slot->proven_sequence) {
            slot->proven_sequence = feed->sent_sequence;
            slot->proven_hash = sub->sent;
            news = true;
        }
    }
    if (news) {
        fuse_past_untidy(group);
    }
    if (is_active(j) && j->oracle == feed && feed->sent_sequence >= j->sequence) {
        verdict(group, true);
    }
}

void fuse_judge_refused(struct fuse_feed *feed)
{
    struct fuse_group *group = feed->session->group;
    struct fuse_judge *j = &group->judge;
    if (j->phase == FUSE_JUDGE_IDLE) {
        start(feed);
    } else if (is_active(j) && j->oracle == feed && feed->sent_sequence >= j->sequence) {
        verdict(group, false);
    }
}

void fuse_judge_forget(struct fuse_slot *slot)
{
    fuse_past_untidy(slot->group);
}

/* ---- oracles come and go ---- */

static void lose_oracle(struct fuse_group *group)
{
    struct fuse_judge *j = &group->judge;
    j->oracle = NULL;
    j->sane = false;
    begin(group, FUSE_JUDGE_WAITING, 0);
}

void fuse_judge_gone(struct fuse_feed *feed)
{
    struct fuse_group *group = feed->session->group;
    if (group != NULL && is_active(&group->judge) && group->judge.oracle == feed) {
        lose_oracle(group);
    }
}

static void on_silence(struct chassis_timer *timer)
{
    struct fuse_judge *j = chassis_container_of(timer, struct fuse_judge, timer);
    struct fuse_group *group = chassis_container_of(j, struct fuse_group, judge);
    chassis_log_warn(group->xds->options.log,
                     "a proxy that refused an answer says nothing: another will be asked",
                     chassis_f_str("group", group->name), chassis_f_str("proxy", j->proxy));
    lose_oracle(group);
}

static void look_for_oracle(struct fuse_slot *slot, void *data)
{
    struct fuse_judge *j = data;
    if ((int)slot->type != j->type || j->oracle != NULL) {
        return;
    }
    chassis_list_foreach (link, &slot->subs) {
        struct fuse_feed *feed = chassis_list_entry(link, struct fuse_sub, link)->feed;
        if (!feed->outstanding && !feed->contrary && !feed->session->blocked &&
            !feed->session->failed) {
            j->oracle = feed;
            return;
        }
    }
}

static bool find_oracle(struct fuse_group *group)
{
    struct fuse_judge *j = &group->judge;
    for (unsigned i = 0; i < j->n_suspects && j->oracle == NULL; i++) {
        const struct fuse_entry *entry =
            fuse_model_route(group->xds->options.model, j->suspects[i]->name);
        fuse_past_each_slot(group, &(struct fuse_change){.after = entry}, look_for_oracle, j);
    }
    if (j->oracle == NULL) {
        return false;
    }
    free(j->proxy);
    j->proxy = chassis_base_strdup(j->oracle->session->proxy.id);
    hold_unproven(group);
    advance(group);
    return true;
}

/* Those that were refused while another inquiry was going on. */
static bool look_again(struct fuse_group *group)
{
    group->judge.again = false;
    chassis_list_foreach (link, &group->sessions) {
        struct fuse_xds_session *session =
            chassis_list_entry(link, struct fuse_xds_session, group_link);
        for (unsigned type = 0; type < FUSE_N_TYPES; type++) {
            struct fuse_feed *feed = session->feeds[type];
            if (feed != NULL && feed->unjudged && !chassis_list_empty(&feed->refused)) {
                start(feed);
                if (group->judge.phase != FUSE_JUDGE_IDLE) {
                    group->judge.again = true;
                    return true;
                }
            }
        }
    }
    return false;
}

/* Nothing more will be sent to the oracle in this round. */
static bool has_everything(const struct fuse_feed *oracle)
{
    const struct fuse_xds_session *session = oracle->session;
    bool others = false;
    for (unsigned type = 0; type < FUSE_N_TYPES; type++) {
        others = others || (session->feeds[type] != NULL && session->feeds[type]->outstanding);
    }
    return !oracle->outstanding && !oracle->owed && chassis_list_empty(&oracle->makes) &&
           (chassis_list_empty(&oracle->breaks) || !others) && !session->blocked;
}

bool fuse_judge_settle(struct fuse_group *group)
{
    struct fuse_judge *j = &group->judge;
    switch (j->phase) {
    case FUSE_JUDGE_IDLE:
        return j->again && look_again(group);
    case FUSE_JUDGE_WAITING:
        return find_oracle(group);
    case FUSE_JUDGE_FALLBACK:
    case FUSE_JUDGE_TRIAL:
        break;
    }
    if (!has_everything(j->oracle)) {
        return false;
    }
    verdict(group, chassis_list_empty(&j->oracle->refused));
    return true;
}

/* ---- changes meanwhile ---- */

static unsigned suspect_find(const struct fuse_judge *j, const char *name)
{
    unsigned i = 0;
    while (i < j->n_suspects && strcmp(j->suspects[i]->name, name) != 0) {
        i++;
    }
    return i;
}

/* It is another route now, or none: what was known of the set it was in is not known any more. */
static void suspect_changed(struct fuse_group *group, unsigned i, const struct fuse_entry *after)
{
    struct fuse_judge *j = &group->judge;
    struct fuse_suspect *s = j->suspects[i];
    hold(group, s);
    memmove(j->suspects + i, j->suspects + i + 1, (j->n_suspects - i - 1) * sizeof *j->suspects);
    j->suspects[j->n_suspects - 1] = s;
    j->n_bad = i < j->n_bad ? 0 : j->n_bad;
    if (after != NULL) {
        s->version = after->version;
    } else {
        fuse_group_restore(group, s->name);
        free(s);
        j->n_suspects--;
    }
    if (j->n_suspects == 0) {
        finish(group);
    } else if (is_active(j)) {
        begin(group, FUSE_JUDGE_FALLBACK, 0);
    }
}

void fuse_judge_capture(struct fuse_group *group, const char *name)
{
    struct fuse_judge *j = &group->judge;
    const struct fuse_entry *entry = fuse_view_route(group->view, name);
    if (is_active(j) && entry != NULL && !fuse_view_is_overridden(group->view, name) &&
        fuse_past_find(group, name) != NULL) {
        hold(group, suspect_add(j, name, entry->version));
    }
}

void fuse_judge_route(struct fuse_group *group, const struct fuse_change *change)
{
    struct fuse_judge *j = &group->judge;
    const char *name = (change->after != NULL ? change->after : change->before)->route->name;
    fuse_past_changed(group, change);
    if (j->phase == FUSE_JUDGE_IDLE) {
        return;
    }
    unsigned i = suspect_find(j, name);
    if (i < j->n_suspects) {
        suspect_changed(group, i, change->after);
    } else {
        fuse_judge_capture(group, name);
    }
}

void fuse_judge_leave(struct fuse_group *group, const char *route)
{
    struct fuse_judge *j = &group->judge;
    unsigned i = suspect_find(j, route);
    if (i < j->n_suspects) {
        suspect_changed(group, i, NULL);
    }
}
