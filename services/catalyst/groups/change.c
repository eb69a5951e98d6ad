/* Groups are made, changed, moved and removed; each waits until that is durable. */
#include <stdlib.h>

#include "catalyst/broker/codec.h"
#include "catalyst/groups/internal.h"

/* ---- create ---- */

struct making {
    struct cat_work work;
    struct cat_commit commit;
};

static void making_abandon(struct cat_work *work)
{
    struct making *m = chassis_container_of(work, struct making, work);
    chassis_buf_fini(&m->commit.payload);
    free(m);
}

static void made(struct making *m, int status, const struct chassis_error *err)
{
    struct cat_group *g = m->work.group;
    struct cat_group_wait *w = g->makers, *next;
    g->makers = NULL;
    if (status == 0) {
        g->state = CAT_GROUP_LIVE;
        cat_group_measured(g);
        if (g->config.push.url.len != 0) {
            cat_group_tell_push(g, true);
        }
    } else if (g->state == CAT_GROUP_MAKING) {
        cat_group_gone(g, status, err);
    }
    for (; w != NULL; w = next) {
        next = w->next;
        w->done(w->data, status, err);
        free(w);
    }
    cat_work_end(&m->work, g->all);
    free(m);
}

static void make_committed(struct cat_commit *commit)
{
    struct making *m = chassis_container_of(commit, struct making, commit);
    struct cat_group *g = m->work.group;
    if (g->state == CAT_GROUP_MAKING) {
        made(m, 0, NULL);
        return;
    }
    struct chassis_error err;
    cat_group_remove_rows(g);
    made(m,
         chassis_error_set(&err, CHASSIS_NOT_FOUND, "stream '%.*s' was deleted meanwhile",
                           CHASSIS_VIEW_ARG(g->config.stream)),
         &err);
}

static void make_resolved(void *data, int status, uint64_t sequence,
                          const struct chassis_error *cause)
{
    struct making *m = data;
    struct cat_group *g = m->work.group;
    struct cat_groups *all = g->all;
    struct chassis_error err = {0};
    if (status != 0 || g->state != CAT_GROUP_MAKING) {
        status = status != 0 ? status : CHASSIS_NOT_FOUND;
        chassis_error_set(&err, status, "%s",
                          cause != NULL ? chassis_error_text(cause) : "its stream was deleted");
        made(m, status, &err);
        return;
    }
    g->place.next = sequence != 0 ? sequence : 1;
    struct chassis_buf key = {0}, place = {0};
    struct cat_number_key number = cat_number_key(g->number);
    cat_group_key(g->stream_number, g->config.name, &key);
    cat_place_row_encode(&g->place, &g->replayed, cat_groups_now(all), cat_groups_wall_ms(all),
                         &place);
    struct cat_change changes[] = {
        {CAT_ROW_GROUP, chassis_buf_view(&key), chassis_buf_view(&g->row)},
        {CAT_ROW_PLACE, chassis_view(number.bytes, sizeof number.bytes), chassis_buf_view(&place)},
    };
    m->commit.done = make_committed;
    int rc = cat_catalog_commit(all->catalog, changes, 2, &m->commit, &err);
    chassis_buf_fini(&key);
    chassis_buf_fini(&place);
    if (rc != 0) {
        made(m, rc, &err);
    }
}

/* Equal but for what the service gave it. */
static bool same_config(const struct cat_group *g, const struct cat_group_config *config)
{
    struct chassis_buf row = {0};
    struct cat_group_row as = {*config, g->number, g->created_ns};
    cat_group_row_encode(&as, &row);
    bool same = chassis_view_eq(chassis_buf_view(&row), chassis_buf_view(&g->row));
    chassis_buf_fini(&row);
    return same;
}

static void wait_for_making(struct cat_group *g, cat_done_cb done, void *data)
{
    struct cat_group_wait *w = chassis_base_zalloc(sizeof *w);
    *w = (struct cat_group_wait){.next = g->makers, .done = done, .data = data};
    g->makers = w;
}

static int create(struct cat_groups *all, const struct cat_group_config *config, cat_done_cb done,
                  void *data, struct chassis_error *err)
{
    struct cat_group_config c = *config;
    struct cat_stream_info stream;
    int rc = cat_group_check(all, &c, err);
    if (rc == 0) {
        rc = cat_stream_get(all->options.broker, c.stream, &stream, err);
    }
    if (rc != 0) {
        return rc;
    }
    struct cat_group *g = cat_groups_find(all, c.stream, c.name);
    if (g != NULL && !same_config(g, &c)) {
        return chassis_error_set(
            err, CHASSIS_ALREADY_EXISTS,
            "group '%.*s' of stream '%.*s' exists with another configuration: update it",
            CHASSIS_VIEW_ARG(c.name), CHASSIS_VIEW_ARG(c.stream));
    }
    if (g != NULL) {
        if (g->state == CAT_GROUP_MAKING) {
            wait_for_making(g, done, data);
        } else {
            done(data, 0, NULL);
        }
        return 0;
    }
    if (all->n >= CAT_GROUPS_MAX) {
        return chassis_error_set(err, CHASSIS_RESOURCE_EXHAUSTED,
                                 "there are %u groups, the most: delete some", CAT_GROUPS_MAX);
    }
    struct chassis_buf row = {0};
    struct cat_group_row as = {c, ++all->last_number, all->options.wall_ns(all->options.wall_data)};
    cat_group_row_encode(&as, &row);
    g = cat_group_new(all, &row, stream.number, CAT_GROUP_MAKING);
    cat_groups_insert(all, g);
    wait_for_making(g, done, data);
    struct making *m = chassis_base_zalloc(sizeof *m);
    cat_work_begin(&m->work, all, g, making_abandon);
    cat_resolve(all->options.broker, g->config.stream, g->config.start, make_resolved, m);
    return 0;
}

void cat_group_create(struct cat_groups *all, const struct cat_group_config *config,
                      cat_done_cb done, void *data)
{
    struct chassis_error err = {0};
    int rc = create(all, config, done, data, &err);
    if (rc != 0) {
        chassis_error_wrap(&err, "create group '%.*s'", CHASSIS_VIEW_ARG(config->name));
        done(data, rc, &err);
    }
}

/* ---- update, delete ---- */

struct change {
    struct cat_work work;
    struct cat_commit commit;
    struct chassis_buf row;
    cat_done_cb done;
    void *data;
};

static void change_abandon(struct cat_work *work)
{
    struct change *ch = chassis_container_of(work, struct change, work);
    chassis_buf_fini(&ch->commit.payload);
    chassis_buf_fini(&ch->row);
    free(ch);
}

static void change_finish(struct change *ch, int status, const struct chassis_error *err)
{
    struct cat_groups *all = ch->work.group->all;
    ch->work.group->changing = false;
    ch->done(ch->data, status, err);
    cat_work_end(&ch->work, all);
    chassis_buf_fini(&ch->row);
    free(ch);
}

static struct change *change_new(struct cat_group *g, cat_done_cb done, void *data)
{
    struct change *ch = chassis_base_zalloc(sizeof *ch);
    *ch = (struct change){.done = done, .data = data};
    g->changing = true;
    cat_work_begin(&ch->work, g->all, g, change_abandon);
    return ch;
}

static int may_change(const struct cat_group *g, struct chassis_error *err)
{
    return g->changing ? chassis_error_set(err, CHASSIS_BUSY, "group '%.*s' is being changed",
                                           CHASSIS_VIEW_ARG(g->config.name))
                       : 0;
}

/* The new configuration is durable: live by it. */
static void apply(struct cat_group *g, struct chassis_buf *row)
{
    struct cat_group_row decoded;
    struct chassis_error err = {0};
    bool was_pushed = g->config.push.url.len != 0;
    int rc = cat_group_row_decode(chassis_buf_view(row), &decoded, NULL);
    CHASSIS_ASSERT(rc == 0);
    cat_group_detach(g);
    cat_filter_free(g->filter);
    g->filter = NULL;
    g->filter_made = false;
    if (!chassis_view_eq(g->config.dead_letter_stream, decoded.config.dead_letter_stream)) {
        cat_runs_fini(&g->replayed); /* letters of another stream */
    }
    struct chassis_buf old = chassis_buf_move(&g->row);
    g->row = chassis_buf_move(row);
    g->config = decoded.config;
    chassis_buf_fini(&old);
    struct cat_place_rules rules = cat_group_rules(&g->config);
    g->generation += rules.ordered != g->place.rules.ordered;
    cat_place_change(&g->place, &rules, cat_groups_now(g->all));
    cat_group_dirty(g);
    cat_group_reload(g);
    bool pushed = g->config.push.url.len != 0;
    if (pushed != was_pushed) {
        chassis_error_set(&err, CHASSIS_FAILED_PRECONDITION, "group '%.*s' is %s now",
                          CHASSIS_VIEW_ARG(g->config.name),
                          pushed ? "pushed to a URL" : "for members that join");
        cat_group_end_members(g, err.code, &err);
    } else if (cat_group_attend(g, &err) != 0) {
        cat_group_end_members(g, err.code, &err);
    }
    if (pushed || was_pushed) {
        cat_group_tell_push(g, true);
    }
    cat_group_touch(g);
}

static void update_committed(struct cat_commit *commit)
{
    struct change *ch = chassis_container_of(commit, struct change, commit);
    if (ch->work.group->state == CAT_GROUP_LIVE) {
        apply(ch->work.group, &ch->row);
    }
    change_finish(ch, 0, NULL);
}

static int update(struct cat_groups *all, const struct cat_group_config *config, cat_done_cb done,
                  void *data, struct chassis_error *err)
{
    struct cat_group_config c = *config;
    int rc = cat_group_check(all, &c, err);
    struct cat_group *g = rc == 0 ? cat_groups_live(all, c.stream, c.name, err) : NULL;
    if (g == NULL) {
        return rc != 0 ? rc : err->code;
    }
    if ((rc = may_change(g, err)) != 0) {
        return rc;
    }
    c.start = g->config.start;
    struct change *ch = change_new(g, done, data);
    struct cat_group_row as = {c, g->number, g->created_ns};
    struct chassis_buf key = {0};
    cat_group_row_encode(&as, &ch->row);
    cat_group_key(g->stream_number, c.name, &key);
    struct cat_change change = {CAT_ROW_GROUP, chassis_buf_view(&key), chassis_buf_view(&ch->row)};
    ch->commit.done = update_committed;
    rc = cat_catalog_commit(all->catalog, &change, 1, &ch->commit, err);
    chassis_buf_fini(&key);
    if (rc != 0) {
        change_finish(ch, rc, err);
    }
    return 0;
}

void cat_group_update(struct cat_groups *all, const struct cat_group_config *config,
                      cat_done_cb done, void *data)
{
    struct chassis_error err = {0};
    int rc = update(all, config, done, data, &err);
    if (rc != 0) {
        chassis_error_wrap(&err, "update group '%.*s'", CHASSIS_VIEW_ARG(config->name));
        done(data, rc, &err);
    }
}

static int commit_removal(struct cat_group *g, struct cat_commit *commit, struct chassis_error *err)
{
    struct chassis_buf key = {0};
    struct cat_number_key number = cat_number_key(g->number);
    cat_group_key(g->stream_number, g->config.name, &key);
    struct cat_change changes[] = {
        {.kind = CAT_ROW_GROUP, .key = chassis_buf_view(&key)},
        {.kind = CAT_ROW_PLACE, .key = chassis_view(number.bytes, sizeof number.bytes)},
    };
    int rc = cat_catalog_commit(g->all->catalog, changes, 2, commit, err);
    chassis_buf_fini(&key);
    return rc;
}

static void removal_committed(struct cat_commit *commit)
{
    change_finish(chassis_container_of(commit, struct change, commit), 0, NULL);
}

void cat_group_delete(struct cat_groups *all, struct chassis_view stream, struct chassis_view name,
                      cat_done_cb done, void *data)
{
    struct chassis_error err = {0};
    struct cat_group *g = cat_groups_live(all, stream, name, &err);
    if (g == NULL || may_change(g, &err) != 0) {
        done(data, err.code, &err);
        return;
    }
    struct change *ch = change_new(g, done, data);
    ch->commit.done = removal_committed;
    int rc = commit_removal(g, &ch->commit, &err);
    if (rc != 0) {
        change_finish(ch, rc, &err);
        return;
    }
    chassis_error_set(&err, CHASSIS_NOT_FOUND, "group '%.*s' was deleted", CHASSIS_VIEW_ARG(name));
    cat_group_gone(g, err.code, &err);
}

static void nobody(void *data, int status, const struct chassis_error *err)
{
}

/* Rows of a group that is gone already. If the catalog takes nothing now, the next start removes
 * them. */
void cat_group_remove_rows(struct cat_group *g)
{
    struct change *ch = change_new(g, nobody, NULL);
    ch->commit.done = removal_committed;
    struct chassis_error err = {0};
    int rc = commit_removal(g, &ch->commit, &err);
    if (rc != 0) {
        change_finish(ch, rc, &err);
    }
}

/* If it was a dead-letter stream: one of the same name begins at 1 again. */
static void forget_replayed(struct cat_groups *all, struct chassis_view name)
{
    for (size_t i = 0; i < all->n; i++) {
        struct cat_group *g = all->sorted[i];
        struct chassis_buf dead = {0};
        if (g->replayed.n == 0) {
            continue;
        }
        cat_dead_letter_stream(&g->config, &dead);
        if (chassis_view_eq(chassis_buf_view(&dead), name)) {
            cat_runs_fini(&g->replayed);
            cat_group_dirty(g);
        }
        chassis_buf_fini(&dead);
    }
}

void cat_groups_stream_deleted(void *data, uint32_t number, struct chassis_view name)
{
    struct cat_groups *all = data;
    struct chassis_error err = {0};
    chassis_error_set(&err, CHASSIS_NOT_FOUND, "stream '%.*s' was deleted", CHASSIS_VIEW_ARG(name));
    forget_replayed(all, name);
    for (size_t i = cat_groups_after(all, name, chassis_view(NULL, 0), chassis_view(NULL, 0));
         i < all->n && chassis_view_eq(all->sorted[i]->config.stream, name);) {
        struct cat_group *g = all->sorted[i];
        if (g->stream_number != number) {
            i++;
            continue;
        }
        bool live = g->state == CAT_GROUP_LIVE;
        cat_group_hold(g);
        cat_group_gone(g, err.code, &err);
        if (live) {
            cat_group_remove_rows(g);
        }
        cat_group_release(g);
    }
}

/* ---- seek ---- */

static void seek_saved(void *data, int status, const struct chassis_error *err)
{
    change_finish(data, status, err);
}

static void seek_resolved(void *data, int status, uint64_t sequence,
                          const struct chassis_error *cause)
{
    struct change *ch = data;
    struct cat_group *g = ch->work.group;
    struct chassis_error err = {0};
    if (status != 0 || g->state != CAT_GROUP_LIVE) {
        status = status != 0 ? status : CHASSIS_NOT_FOUND;
        chassis_error_set(&err, status, "%s",
                          cause != NULL ? chassis_error_text(cause) : "the group was deleted");
        change_finish(ch, status, &err);
        return;
    }
    cat_group_detach(g);
    g->generation++;
    cat_place_seek(&g->place, sequence != 0 ? sequence : 1);
    cat_group_reload(g);
    cat_group_dirty(g);
    if (cat_group_attend(g, &err) != 0) {
        cat_group_end_members(g, err.code, &err);
    }
    cat_group_touch(g);
    cat_group_save(g, seek_saved, ch);
}

void cat_group_seek(struct cat_groups *all, struct chassis_view stream, struct chassis_view name,
                    struct cat_start start, cat_done_cb done, void *data)
{
    struct chassis_error err = {0};
    struct cat_group *g = cat_groups_live(all, stream, name, &err);
    if (g == NULL || may_change(g, &err) != 0) {
        done(data, err.code, &err);
        return;
    }
    cat_resolve(all->options.broker, g->config.stream, start, seek_resolved,
                change_new(g, done, data));
}
