/* What others may see of the node, and handing over leadership. */
#include "consensus/node.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

static enum chassis_consensus_role role_of(const struct chassis_consensus *n)
{
    if (!n->started) {
        return CHASSIS_ROLE_STARTING;
    }
    switch (n->role) {
    case RAFT_FOLLOWER:
        return CHASSIS_ROLE_FOLLOWER;
    case RAFT_CANDIDATE:
        return CHASSIS_ROLE_CANDIDATE;
    case RAFT_LEADER:
        return CHASSIS_ROLE_LEADER;
    case RAFT_UNAVAILABLE:
        break;
    }
    return CHASSIS_ROLE_STARTING;
}

void status_turn(struct chassis_consensus *n)
{
    struct chassis_consensus_status *s = &n->status;
    pthread_mutex_lock(&n->status_lock);
    s->leader_id = n->leader;
    s->role = role_of(n);
    s->term = n->term;
    s->commit = n->commit;
    s->applied = n->applied;
    s->last_index = n->last_index;
    s->checkpoint_index = n->checkpoint_index;
    for (unsigned i = 0; i < n->identity.n_members; i++) {
        raft_index match = 0;
        if (n->role == RAFT_LEADER && n->raft_open) {
            (void)raft_match_index(&n->raft, s->members[i].id, &match);
        }
        s->members[i].match_index = match;
        s->members[i].connected = n->peers[i].up || s->members[i].id == n->identity.id;
    }
    pthread_mutex_unlock(&n->status_lock);
    chassis_gauge_set(n->metrics.term, (int64_t)n->term);
    chassis_gauge_set(n->metrics.role, (int64_t)role_of(n));
    chassis_gauge_set(n->metrics.commit, (int64_t)n->commit);
    chassis_gauge_set(n->metrics.applied, (int64_t)n->applied);
    chassis_gauge_set(n->metrics.outstanding, (int64_t)atomic_load(&n->outstanding));
}

void chassis_consensus_status(struct chassis_consensus *n,
                              struct chassis_consensus_status *ret_status)
{
    pthread_mutex_lock(&n->status_lock);
    *ret_status = n->status;
    pthread_mutex_unlock(&n->status_lock);
}

void chassis_consensus_checkpoint_path(struct chassis_consensus *n, char out[512])
{
    pthread_mutex_lock(&n->status_lock);
    uint64_t index = n->status.checkpoint_index;
    pthread_mutex_unlock(&n->status_lock);
    out[0] = '\0';
    if (index != 0) {
        checkpoint_path(n->directory, index, out);
    }
}

void chassis_consensus_set_address(struct chassis_consensus *n, const char *address)
{
    CHASSIS_ASSERT(node_alone(n) && !n->started);
    pthread_mutex_lock(&n->status_lock);
    snprintf(n->status.members[0].address, sizeof n->status.members[0].address, "%.*s",
             CHASSIS_CONSENSUS_ADDRESS_MAX - 1, address);
    snprintf(n->status.members[0].service, sizeof n->status.members[0].service, "%s",
             n->status.members[0].address);
    pthread_mutex_unlock(&n->status_lock);
}

void chassis_consensus_set_service_address(struct chassis_consensus *n, const char *address)
{
    CHASSIS_ASSERT(!n->started);
    struct chassis_consensus_member *self = &n->status.members[n->identity.id - 1];
    pthread_mutex_lock(&n->status_lock);
    snprintf(self->service, sizeof self->service, "%.*s", CHASSIS_CONSENSUS_ADDRESS_MAX - 1,
             address);
    pthread_mutex_unlock(&n->status_lock);
}

/* A peer hears where this node serves clients: peers may dial another port. */
void status_tell(struct chassis_consensus *n, uint64_t peer)
{
    const struct chassis_consensus_member *self = &n->status.members[n->identity.id - 1];
    struct frame_message m = {.type = FRAME_ABOUT, .body = chassis_view_str(self->service)};
    peer_send(n, peer, &m);
}

void status_told(struct chassis_consensus *n, uint64_t peer, struct chassis_view address)
{
    struct chassis_consensus_member *member = &n->status.members[peer - 1];
    if (address.len < sizeof member->service && memchr(address.data, 0, address.len) == NULL) {
        pthread_mutex_lock(&n->status_lock);
        snprintf(member->service, sizeof member->service, "%.*s", CHASSIS_VIEW_ARG(address));
        pthread_mutex_unlock(&n->status_lock);
    }
}

uint32_t chassis_consensus_version(struct chassis_consensus *n)
{
    return atomic_load(&n->agreed_version);
}

struct chassis_store *chassis_consensus_store_acquire(struct chassis_consensus *n)
{
    atomic_fetch_add(&n->store_users, 1);
    return n->store;
}

void chassis_consensus_store_release(struct chassis_consensus *n, struct chassis_store *store)
{
    CHASSIS_ASSERT(store == n->store && atomic_fetch_sub(&n->store_users, 1) > 0);
}

/* --- transfer ---------------------------------------------------------------------------------- */

struct transfer {
    struct chassis_list link;
    struct chassis_task task;
    struct chassis_consensus *n;
    uint64_t target;
    void (*done)(int status, const char *text, void *data);
    void *data;
};

static void transfer_end(struct transfer *t, int status, const char *text)
{
    chassis_list_remove(&t->link);
    status_turn(t->n); /* who asked reads there who leads now */
    t->done(status, text, t->data);
    free(t);
}

/* The most advanced member whose stream is up: the core only knows who answered a while ago, and
 * what it sends to a member that is being restarted is lost. 0 = let the core choose. */
static raft_id best_follower(struct chassis_consensus *n)
{
    raft_id best = 0;
    raft_index furthest = 0;
    for (unsigned i = 0; i < n->identity.n_members; i++) {
        raft_index match = 0;
        if (n->peers[i].up && raft_match_index(&n->raft, n->peers[i].member->id, &match) == 0 &&
            match > furthest) {
            best = n->peers[i].member->id;
            furthest = match;
        }
    }
    return best;
}

static void transfer_begin(struct chassis_task *task)
{
    struct transfer *t = chassis_container_of(task, struct transfer, task);
    struct chassis_consensus *n = t->n;
    struct raft_event event = {.type = RAFT_TRANSFER, .transfer.server_id = t->target};
    pthread_mutex_lock(&n->status_lock);
    chassis_list_remove(&t->link);
    pthread_mutex_unlock(&n->status_lock);
    if (n->role != RAFT_LEADER || !n->started) {
        transfer_end(t, CHASSIS_NOT_LEADER, "this node does not lead");
        return;
    }
    if (t->target == 0) {
        event.transfer.server_id = best_follower(n);
    }
    int rc = core_step(n, &event);
    if (rc == 0) {
        chassis_list_append(&n->transfers, &t->link);
        return;
    }
    transfer_end(t, rc == RAFT_BADID ? CHASSIS_INVALID_ARGUMENT : CHASSIS_FAILED_PRECONDITION,
                 rc == RAFT_BADID      ? "no such other member"
                 : rc == RAFT_NOTFOUND ? "there is no other member"
                                       : "leadership is already being handed over");
}

void chassis_consensus_transfer(struct chassis_consensus *n, uint64_t target,
                                void (*done)(int status, const char *text, void *data), void *data)
{
    struct transfer *t = chassis_base_zalloc(sizeof *t);
    t->n = n;
    t->target = target;
    t->done = done;
    t->data = data;
    t->task.run = transfer_begin;
    pthread_mutex_lock(&n->status_lock);
    chassis_list_append(&n->posted, &t->link);
    pthread_mutex_unlock(&n->status_lock);
    chassis_post(n->o.loop, &t->task);
}

void transfer_turn(struct chassis_consensus *n)
{
    if (chassis_list_empty(&n->transfers)) {
        return;
    }
    if (n->role == RAFT_LEADER && raft_transferee(&n->raft) != 0) {
        return;
    }
    if (n->role != RAFT_LEADER && n->leader == 0) {
        return; /* the election is going on */
    }
    while (!chassis_list_empty(&n->transfers)) {
        struct transfer *t = chassis_list_entry(n->transfers.next, struct transfer, link);
        bool moved = n->role != RAFT_LEADER;
        transfer_end(t, moved ? 0 : CHASSIS_UNAVAILABLE,
                     moved ? "" : "the other member did not catch up or did not answer in time");
    }
}

void transfer_fail_all(struct chassis_consensus *n, int status, const char *text)
{
    while (!chassis_list_empty(&n->transfers)) {
        transfer_end(chassis_list_entry(n->transfers.next, struct transfer, link), status, text);
    }
}

void transfer_fini(struct chassis_consensus *n)
{
    chassis_list_foreach_safe (link, &n->posted) {
        free(chassis_list_entry(link, struct transfer, link));
    }
    chassis_list_foreach_safe (link, &n->transfers) {
        free(chassis_list_entry(link, struct transfer, link));
    }
}
