/* Places become durable: a changed group stands in a list; a few ms later one commit takes the places
 * of all that stand there, so that thousands of answers ride one fdatasync. One commit is under way
 * at a time; large places are written less often. */
#include <stdlib.h>

#include "catalyst/broker/codec.h"
#include "catalyst/groups/internal.h"

struct saved {
    struct cat_group *group;
    uint64_t version;
    struct cat_number_key key;
    size_t at; /* of its row in `rows` */
};
struct cat_saving {
    struct cat_work work;
    struct cat_commit commit;
    struct cat_groups *all;
    struct chassis_buf rows;
    uint32_t n;
    struct saved groups[CAT_SAVE_GROUPS];
};

static void arm(struct cat_groups *all, uint64_t delay_ms)
{
    all->save_armed = true;
    chassis_post_after(all->options.loop, &all->save_timer, delay_ms * CHASSIS_NS_PER_MS);
}

void cat_group_dirty(struct cat_group *g)
{
    struct cat_groups *all = g->all;
    g->version++;
    if (g->dirty || g->state != CAT_GROUP_LIVE) {
        return;
    }
    g->dirty = true;
    chassis_list_append(&all->dirty, &g->dirty_link);
    cat_groups_hold(all); /* closing waits for it */
    if (!all->save_armed && all->saving == NULL) {
        arm(all, all->closing ? 0 : CAT_SAVE_MS);
    }
}

static void clean(struct cat_group *g)
{
    g->dirty = false;
    chassis_list_remove(&g->dirty_link);
    cat_groups_release(g->all);
}

static void wake_savers(struct cat_group *g, int status, const struct chassis_error *err)
{
    struct cat_group_wait *w;
    while ((w = g->savers) != NULL && (status != 0 || w->version <= g->saved_version)) {
        g->savers = w->next;
        w->done(w->data, status, err);
        free(w);
    }
}

void cat_group_save(struct cat_group *g, cat_done_cb done, void *data)
{
    struct cat_group_wait *w = chassis_base_zalloc(sizeof *w), **last = &g->savers;
    *w = (struct cat_group_wait){.done = done, .data = data, .version = g->version};
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = w;
    CHASSIS_ASSERT(g->dirty || g->version > g->saved_version);
    g->all->save_urgent = true;
    cat_groups_save_now(g->all);
}

void cat_group_save_forget(struct cat_group *g)
{
    struct cat_saving *s = g->all->saving;
    for (uint32_t i = 0; s != NULL && i < s->n; i++) {
        s->groups[i].group = s->groups[i].group == g ? NULL : s->groups[i].group;
    }
    if (g->dirty) {
        clean(g);
    }
    struct chassis_error err = {0};
    chassis_error_set(&err, CHASSIS_NOT_FOUND, "the group was deleted");
    wake_savers(g, CHASSIS_NOT_FOUND, &err);
}

static void saving_abandon(struct cat_work *work)
{
    struct cat_saving *s = chassis_container_of(work, struct cat_saving, work);
    chassis_buf_fini(&s->commit.payload);
    chassis_buf_fini(&s->rows);
    free(s);
}

static void saving_free(struct cat_saving *s)
{
    cat_work_end(&s->work, s->all);
    chassis_buf_fini(&s->rows);
    free(s);
}

static void committed(struct cat_commit *commit)
{
    struct cat_saving *s = chassis_container_of(commit, struct cat_saving, commit);
    struct cat_groups *all = s->all;
    uint64_t delay = CAT_SAVE_MS + s->rows.len / (16 << 10);
    all->saving = NULL;
    for (uint32_t i = 0; i < s->n; i++) {
        struct cat_group *g = s->groups[i].group;
        if (g != NULL) {
            g->saved_version = s->groups[i].version;
            cat_group_hold(g);
            wake_savers(g, 0, NULL);
            cat_group_release(g);
        }
    }
    if (!chassis_list_empty(&all->dirty) && !all->save_armed) {
        bool now = all->closing || all->save_urgent;
        arm(all, now ? 0 : delay < CAT_SAVE_MAX_MS ? delay : CAT_SAVE_MAX_MS);
    }
    saving_free(s);
}

static void not_taken(struct cat_saving *s, const struct chassis_error *err)
{
    struct cat_groups *all = s->all;
    if (!all->save_failed) {
        chassis_log_warn(all->options.log, "places of groups cannot be saved now",
                         chassis_f_str("error", chassis_error_text(err)));
    }
    all->save_failed = true;
    for (uint32_t i = 0; i < s->n; i++) {
        struct cat_group *g = s->groups[i].group;
        cat_group_hold(g);
        if (all->closing) { /* what is not saved is delivered again */
            clean(g);
        }
        wake_savers(g, err->code, err);
        cat_group_release(g);
    }
    if (!chassis_list_empty(&all->dirty)) {
        arm(all, CAT_SAVE_MAX_MS);
    }
}

static void take(struct cat_saving *s, struct cat_group *g)
{
    struct saved *saved = &s->groups[s->n++];
    *saved = (struct saved){g, g->version, cat_number_key(g->number), s->rows.len};
    cat_place_row_encode(&g->place, &g->replayed, cat_groups_now(s->all),
                         cat_groups_wall_ms(s->all), &s->rows);
}

static void save(struct cat_groups *all)
{
    struct cat_saving *s = chassis_base_zalloc(sizeof *s);
    struct cat_change changes[CAT_SAVE_GROUPS];
    struct chassis_error err = {0};
    s->all = all;
    chassis_list_foreach (link, &all->dirty) {
        if (s->n == CAT_SAVE_GROUPS || s->rows.len >= CAT_SAVE_BYTES) {
            break;
        }
        take(s, chassis_list_entry(link, struct cat_group, dirty_link));
    }
    for (uint32_t i = 0; i < s->n; i++) {
        size_t end = i + 1 < s->n ? s->groups[i + 1].at : s->rows.len;
        changes[i] = (struct cat_change){
            .kind = CAT_ROW_PLACE,
            .key = chassis_view(s->groups[i].key.bytes, sizeof s->groups[i].key.bytes),
            .value = chassis_view(s->rows.data + s->groups[i].at, end - s->groups[i].at),
        };
    }
    s->commit.done = committed;
    cat_work_begin(&s->work, all, NULL, saving_abandon);
    int rc = CHASSIS_FAULT("catalyst.groups.save")
                 ? chassis_error_set(&err, CHASSIS_NO_SPACE, "fault point")
                 : cat_catalog_commit(all->catalog, changes, s->n, &s->commit, &err);
    if (rc != 0) {
        not_taken(s, &err);
        saving_free(s);
        return;
    }
    all->save_failed = false;
    all->save_urgent = false;
    all->saving = s;
    for (uint32_t i = 0; i < s->n; i++) {
        clean(s->groups[i].group);
    }
}

void cat_groups_save_due(struct chassis_timer *timer)
{
    struct cat_groups *all = chassis_container_of(timer, struct cat_groups, save_timer);
    all->save_armed = false;
    if (all->saving == NULL && !chassis_list_empty(&all->dirty)) {
        save(all);
    }
}

void cat_groups_save_now(struct cat_groups *all)
{
    if (all->saving == NULL && !chassis_list_empty(&all->dirty)) {
        arm(all, 0);
    }
}
