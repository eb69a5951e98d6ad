/* Metrics of groups: the first CAT_MEASURED_MAX by name, the others together. */
#include <stdio.h>
#include <stdlib.h>

#include <chassis/metrics.h>

#include "catalyst/groups/internal.h"

struct cat_measures {
    struct chassis_counter *counters[CAT_MEASURES];
    struct chassis_gauge *lag; /* NULL for the others together */
};

static const struct {
    const char *name, *help;
} texts[CAT_MEASURES] = {
    [CAT_MEASURE_DELIVERED] = {"catalyst_group_delivered_total", "Deliveries to members."},
    [CAT_MEASURE_REDELIVERED] = {"catalyst_group_redelivered_total",
                                 "Deliveries beyond the first of an event."},
    [CAT_MEASURE_ACKS] = {"catalyst_group_acks_total", "Events acknowledged."},
    [CAT_MEASURE_NACKS] = {"catalyst_group_nacks_total", "Negative answers."},
    [CAT_MEASURE_DEAD] = {"catalyst_group_dead_letters_total", "Events stored as dead letters."},
    [CAT_MEASURE_LOST] = {"catalyst_group_lost_total",
                          "Events the stream removed before they were done."},
};

static struct cat_measures others;

static void make(struct cat_measures *m, const char *stream, const char *group)
{
    const struct chassis_label labels[] = {{"stream", stream}, {"group", group}};
    for (unsigned i = 0; i < CAT_MEASURES; i++) {
        m->counters[i] = chassis_counter(texts[i].name, texts[i].help, labels, 2);
    }
}

static void print(char out[CAT_NAME_MAX + 1], struct chassis_view name)
{
    snprintf(out, CAT_NAME_MAX + 1, "%.*s", CHASSIS_VIEW_ARG(name));
}

static void watch_lag(struct cat_groups *all)
{
    if (!all->measuring && !all->closing) {
        all->measuring = true;
        chassis_post_after(all->options.loop, &all->measure_timer,
                           CAT_MEASURE_MS * CHASSIS_NS_PER_MS);
    }
}

void cat_group_measured(struct cat_group *g)
{
    struct cat_groups *all = g->all;
    if (all->n_measured >= CAT_MEASURED_MAX - 1) {
        if (others.counters[0] == NULL) {
            make(&others, "", "other");
        }
        g->measures = &others;
        return;
    }
    char stream[CAT_NAME_MAX + 1], name[CAT_NAME_MAX + 1];
    print(stream, g->config.stream);
    print(name, g->config.name);
    const struct chassis_label labels[] = {{"stream", stream}, {"group", name}};
    g->measures = chassis_base_zalloc(sizeof *g->measures);
    make(g->measures, stream, name);
    g->measures->lag = chassis_gauge("catalyst_group_lag",
                                     "Events of the stream the group has not done.", labels, 2);
    all->n_measured++;
    watch_lag(all);
}

void cat_group_unmeasured(struct cat_group *g)
{
    if (g->measures != NULL && g->measures != &others) {
        chassis_gauge_set(g->measures->lag, 0);
        g->all->n_measured--;
        free(g->measures);
    }
    g->measures = NULL;
}

void cat_group_measure(struct cat_group *g, enum cat_measure measure, uint64_t n)
{
    if (n != 0 && g->measures != NULL) {
        chassis_counter_add(g->measures->counters[measure], n);
    }
}

void cat_groups_measure(struct chassis_timer *timer)
{
    struct cat_groups *all = chassis_container_of(timer, struct cat_groups, measure_timer);
    size_t left = all->n_measured;
    all->measuring = false;
    for (size_t i = 0; i < all->n && left != 0; i++) {
        struct cat_group *g = all->sorted[i];
        if (g->measures != NULL && g->measures != &others) {
            chassis_gauge_set(g->measures->lag, (int64_t)cat_group_lag(g));
            left--;
        }
    }
    if (all->n_measured != 0) {
        watch_lag(all);
    }
}
