#include "fuse/xds/server.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "fuse/xds/state.h"

/* ---- the end of a turn ---- */

void fuse_xds_wake(struct fuse_xds *xds)
{
    if (!xds->flushing && !xds->flush.queued) {
        chassis_defer(xds->options.loop, &xds->flush);
    }
}

static void push_all(struct fuse_xds *xds)
{
    while (!chassis_list_empty(&xds->pushing)) {
        struct fuse_xds_session *session =
            chassis_list_entry(xds->pushing.next, struct fuse_xds_session, pushing);
        chassis_list_remove(&session->pushing);
        session->queued = false;
        fuse_session_push(session);
    }
}

/* True: there is something to be sent again. */
static bool settle_all(struct fuse_xds *xds)
{
    bool moved = false;
    struct fuse_tree_walk walk;
    fuse_tree_walk_begin(&walk, &xds->groups);
    for (struct fuse_tree_node *node; (node = fuse_tree_walk_next(&walk)) != NULL;) {
        struct fuse_group *group = fuse_tree_entry(node, struct fuse_group, node);
        moved = fuse_judge_settle(group) || moved;
    }
    return moved;
}

/* Closed, and nothing is under way any more that comes back here. */
static void free_when_idle(struct fuse_xds *xds)
{
    if (xds->closing && xds->n_fetching == 0 && !xds->flush.queued) {
        free(xds);
    }
}

static void on_flush(struct chassis_task *task)
{
    struct fuse_xds *xds = chassis_container_of(task, struct fuse_xds, flush);
    if (xds->closing) {
        free_when_idle(xds);
        return;
    }
    if (!xds->ready) {
        return;
    }
    xds->flushing = true;
    do {
        while (!chassis_list_empty(&xds->touched)) {
            fuse_group_refresh(chassis_list_entry(xds->touched.next, struct fuse_group, touched));
        }
        push_all(xds);
    } while (settle_all(xds) || !chassis_list_empty(&xds->touched) ||
             !chassis_list_empty(&xds->pushing));
    xds->flushing = false;
    fuse_proxies_moved(xds->options.proxies);
}

/* ---- the model ---- */

static void on_change(void *data, const struct fuse_change *change)
{
    struct fuse_xds *xds = data;
    struct fuse_tree_walk walk;
    xds->sequence++;
    fuse_tree_walk_begin(&walk, &xds->groups);
    for (struct fuse_tree_node *node; (node = fuse_tree_walk_next(&walk)) != NULL;) {
        struct fuse_group *group = fuse_tree_entry(node, struct fuse_group, node);
        if (change->service == NULL) {
            fuse_judge_route(group, change);
        }
        fuse_group_touch(group, change);
    }
    if (change->service == NULL) {
        fuse_quarantine_route(xds, change);
    }
}

void fuse_xds_statics_changed(struct fuse_xds *xds)
{
    struct fuse_tree_walk walk;
    xds->sequence++;
    fuse_tree_walk_begin(&walk, &xds->groups);
    for (struct fuse_tree_node *node; (node = fuse_tree_walk_next(&walk)) != NULL;) {
        fuse_group_touch_statics(fuse_tree_entry(node, struct fuse_group, node));
    }
}

/* ---- requests ---- */

static void take_request(struct fuse_xds_session *session, struct chassis_view encoded)
{
    struct chassis_error err = {0};
    if (!session->failed && session->protocol->request(session, encoded, &err) != 0) {
        fuse_session_fail(session, &err);
    }
}

void fuse_xds_request(struct fuse_xds_session *session, struct chassis_view encoded)
{
    if (session->xds->ready) {
        take_request(session, encoded);
        return;
    }
    if (session->waiting.len + encoded.len > FUSE_WAITING_MAX) {
        struct chassis_error err = {0};
        chassis_error_set(&err, CHASSIS_RESOURCE_EXHAUSTED,
                          "Fuse is still loading, and the requests are more than it keeps until "
                          "then: come again");
        fuse_session_fail(session, &err);
        return;
    }
    chassis_buf_append_block(&session->waiting, encoded);
}

static void take_waiting(struct fuse_xds_session *session)
{
    struct chassis_buf waiting = chassis_buf_move(&session->waiting);
    struct chassis_reader r = chassis_reader(chassis_buf_view(&waiting));
    while (chassis_reader_left(&r) != 0) {
        take_request(session, chassis_read_block(&r));
    }
    chassis_buf_fini(&waiting);
}

static void become_ready(struct fuse_xds *xds)
{
    xds->ready = true;
    chassis_list_foreach_safe (link, &xds->sessions) {
        take_waiting(chassis_list_entry(link, struct fuse_xds_session, link));
    }
    fuse_xds_wake(xds);
}

void fuse_xds_ready(struct fuse_xds *xds)
{
    if (xds->ready_wanted) {
        return;
    }
    xds->ready_wanted = true;
    fuse_quarantine_settle(xds);
    if (xds->n_fetching == 0) {
        become_ready(xds);
    }
}

void fuse_xds_fetched(struct fuse_xds *xds)
{
    xds->n_fetching--;
    if (xds->closing) {
        free_when_idle(xds);
    } else if (xds->ready_wanted && !xds->ready && xds->n_fetching == 0) {
        become_ready(xds);
    }
}

/* ---- life ---- */

struct fuse_xds *fuse_xds_new(const struct fuse_xds_options *options)
{
    struct fuse_xds *xds = chassis_base_zalloc(sizeof *xds);
    xds->options = *options;
    if (xds->options.proxies_max == 0) {
        xds->options.proxies_max = FUSE_PROXIES_MAX;
    }
    xds->sequence = 1;
    xds->serial = (uint64_t)fuse_xds_wall_ns(xds) / 1000; /* not those of the Fuse before */
    xds->flush.run = on_flush;
    chassis_list_init(&xds->touched);
    chassis_list_init(&xds->sessions);
    chassis_list_init(&xds->pushing);
    chassis_list_init(&xds->quarantines);
    fuse_measure_init();
    fuse_model_listen((struct fuse_model *)(uintptr_t)options->model,
                      &(struct fuse_model_listener){on_change, xds});
    return xds;
}

void fuse_xds_free(struct fuse_xds *xds)
{
    if (xds == NULL) {
        return;
    }
    CHASSIS_ASSERT(xds->n_sessions == 0);
    while (xds->groups.root != NULL) {
        fuse_group_free(fuse_tree_entry(xds->groups.root, struct fuse_group, node));
    }
    fuse_quarantine_fini(xds);
    chassis_buf_fini(&xds->out);
    xds->closing = true;
    free_when_idle(xds);
}

struct fuse_view *fuse_xds_view(struct fuse_xds *xds, const char *group)
{
    struct fuse_group *found = fuse_group_get(xds, group);
    found->pinned = true;
    return found->view;
}

struct fuse_view *fuse_xds_find_view(const struct fuse_xds *xds, const char *group)
{
    struct fuse_group *found = fuse_group_find(xds, group);
    return found != NULL ? found->view : NULL;
}
