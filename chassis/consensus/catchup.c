/* Catching up by checkpoint: the leader names one (INSTALL), the follower fetches it piece by piece
 * (FETCH, CHUNK), from where it stopped if the connection breaks, checks it, and only then hands the
 * message to the core, so that an interrupted transfer leaves the node as it was.
 *
 *   idle -> fetching -> fetched -> verifying -> complete -> (core) installing -> idle
 */
#include "consensus/node.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

enum { ASK_AGAIN_MS = 1000 };

void catchup_path(struct chassis_consensus *n, char out[512])
{
    snprintf(out, 512, "%s/incoming.part", n->directory);
}

/* --- the leader's side ------------------------------------------------------------------------- */

static void sender_close(struct chassis_consensus *n, struct checkpoint_sender *s)
{
    if (s->file != NULL) {
        n->disk->ops->close(s->file);
    }
    memset(s, 0, sizeof *s);
}

/* The file stays open while it is being sent, so a newer checkpoint does not take it away. */
static int sender_open(struct chassis_consensus *n, struct checkpoint_sender *s, uint64_t index)
{
    char path[512];
    if (s->file != NULL && s->index == index) {
        return 0;
    }
    sender_close(n, s);
    if (index == 0 || index != n->checkpoint_index) {
        return CHASSIS_NOT_FOUND;
    }
    checkpoint_path(n->directory, index, path);
    int rc = n->disk->ops->open(n->disk, path, CHASSIS_DISK_READ, &s->file);
    rc = rc != 0 ? rc : n->disk->ops->size(s->file, &s->size);
    if (rc != 0) {
        sender_close(n, s);
        return rc;
    }
    s->index = index;
    s->term = n->checkpoint_term;
    return 0;
}

static void send_chunk(struct chassis_consensus *n, uint64_t peer, const struct frame_message *m)
{
    struct checkpoint_sender *s = &peer_find(n, peer)->sender;
    struct frame_message out = {.type = FRAME_CHUNK, .index = m->index, .offset = m->offset};
    struct chassis_buf data = {0};
    size_t got = 0;
    uint64_t want = m->size < n->o.chunk_bytes ? m->size : n->o.chunk_bytes;
    out.status = sender_open(n, s, m->index);
    if (out.status == 0) {
        chassis_buf_reserve(&data, want + 1);
        out.status = n->disk->ops->read(s->file, m->offset, data.data, want, &got);
        out.term = s->term;
        out.size = s->size;
        out.body = chassis_view(data.data, out.status == 0 ? got : 0);
    }
    peer_send(n, peer, &out);
    chassis_buf_fini(&data);
}

/* --- the follower's side ----------------------------------------------------------------------- */

static void fetch_drop(struct chassis_consensus *n)
{
    if (n->fetch.file != NULL) {
        n->disk->ops->close(n->fetch.file);
    }
    chassis_buf_fini(&n->fetch.conf);
    memset(&n->fetch, 0, sizeof n->fetch);
    n->apply_held = false;
}

void catchup_done(struct chassis_consensus *n)
{
    fetch_drop(n);
}

static void ask(struct chassis_consensus *n)
{
    struct frame_message m = {.type = FRAME_FETCH,
                              .index = n->fetch.index,
                              .offset = n->fetch.offset,
                              .size = n->o.chunk_bytes};
    n->fetch.asked_ns = node_now(n);
    n->fetch.state = peer_send(n, n->fetch.peer, &m) ? FETCH_RUNNING : FETCH_PAUSED;
}

static void begin(struct chassis_consensus *n, uint64_t peer, const struct frame_message *m)
{
    char path[512];
    if (n->fetch.index == m->index && n->fetch.term == m->index_term && n->fetch.file != NULL) {
        n->fetch.peer = peer; /* go on where it stopped; equal checkpoints are equal files */
        ask(n);
        return;
    }
    fetch_drop(n);
    catchup_path(n, path);
    int rc =
        n->disk->ops->open(n->disk, path, CHASSIS_DISK_WRITE | CHASSIS_DISK_CREATE, &n->fetch.file);
    rc = rc != 0 ? rc : n->disk->ops->truncate(n->fetch.file, 0);
    if (rc != 0) {
        chassis_log_warn(n->log, "cannot receive a checkpoint", chassis_f_str("path", path),
                         chassis_f_code(rc));
        fetch_drop(n);
        return;
    }
    n->fetch.peer = peer;
    n->fetch.index = m->index;
    n->fetch.term = m->index_term;
    chassis_log_info(n->log, "fetching a checkpoint", chassis_f_u64("index", m->index),
                     chassis_f_u64("from", peer));
    ask(n);
}

static void offered(struct chassis_consensus *n, uint64_t peer, const struct frame_message *m)
{
    if (m->index == 0 || m->index_term == 0 || m->index <= n->commit ||
        m->term < raft_current_term(&n->raft) || n->closing) {
        return;
    }
    switch (n->fetch.state) {
    case FETCH_IDLE:
    case FETCH_PAUSED:
        begin(n, peer, m);
        return;
    case FETCH_RUNNING: /* the leader repeats its offer with every heartbeat */
    case FETCH_DONE:
    case FETCH_VERIFYING:
        return;
    case FETCH_COMPLETE:
        catchup_try_install(n);
        return;
    }
}

static void chunk(struct chassis_consensus *n, uint64_t peer, const struct frame_message *m)
{
    struct fetch *f = &n->fetch;
    if (f->state != FETCH_RUNNING || peer != f->peer || m->index != f->index ||
        m->offset != f->offset) {
        return;
    }
    if (m->status != 0 || (f->size != 0 && f->size != m->size) || m->term != f->term ||
        (m->body.len == 0 && f->offset < m->size)) {
        fetch_drop(n); /* gone there; the next offer names another */
        return;
    }
    f->size = m->size;
    int rc =
        m->body.len != 0 ? n->disk->ops->write(f->file, f->offset, m->body.data, m->body.len) : 0;
    if (rc != 0) {
        chassis_log_warn(n->log, "cannot store a piece of a checkpoint", chassis_f_code(rc));
        fetch_drop(n);
        return;
    }
    f->offset += m->body.len;
    if (f->offset < f->size) {
        ask(n);
        return;
    }
    n->disk->ops->close(f->file);
    f->file = NULL;
    f->state = snapshot_verify(n) ? FETCH_VERIFYING : FETCH_DONE;
}

void catchup_verified(struct chassis_consensus *n, struct checkpoint_header *header)
{
    if (n->fetch.state != FETCH_VERIFYING) {
        return;
    }
    if (header == NULL || header->term != n->fetch.term) {
        fetch_drop(n);
        return;
    }
    n->fetch.state = FETCH_COMPLETE;
    n->fetch.conf_index = header->configuration_index;
    n->fetch.conf = chassis_buf_move(&header->configuration);
}

/* What a checkpoint holds is committed, so any leader of now may stand as its sender. */
void catchup_try_install(struct chassis_consensus *n)
{
    struct fetch *f = &n->fetch;
    if (f->state != FETCH_COMPLETE || n->installing.index != 0) {
        return;
    }
    if (f->index <= n->commit || n->closing) {
        fetch_drop(n); /* the log came faster */
        return;
    }
    n->apply_held = true; /* until the batches under way are done */
    if (n->role != RAFT_FOLLOWER || n->leader == 0 || n->job != NULL || n->batches_out != 0) {
        return;
    }
    struct raft_message message;
    memset(&message, 0, sizeof message);
    struct raft_install_snapshot *s = &message.install_snapshot;
    struct raft_buffer conf = {f->conf.data, f->conf.len};
    message.type = RAFT_INSTALL_SNAPSHOT;
    message.server_id = n->leader;
    message.server_address = peer_find(n, n->leader)->member->address;
    s->term = raft_current_term(&n->raft);
    s->last_index = f->index;
    s->last_term = f->term;
    s->conf_index = f->conf_index;
    if (raft_configuration_decode(&conf, &s->conf) != 0) {
        fetch_drop(n);
        return;
    }
    s->data.base = chassis_base_alloc(1);
    s->data.len = 1;
    void *data = s->data.base;
    struct raft_event event = {.type = RAFT_RECEIVE, .receive.message = &message};
    int rc = core_step(n, &event);
    if (n->installing.index != 0) {
        free(data); /* the core passed it on with the obligation */
        return;
    }
    chassis_log_info(n->log, "a checkpoint is not needed any more", chassis_f_i64("code", rc));
    fetch_drop(n);
}

void catchup_receive(struct chassis_consensus *n, uint64_t peer, const struct frame_message *m)
{
    switch ((unsigned)m->type) {
    case FRAME_INSTALL:
        offered(n, peer, m);
        return;
    case FRAME_FETCH:
        send_chunk(n, peer, m);
        return;
    case FRAME_CHUNK:
        chunk(n, peer, m);
        return;
    default:
        return;
    }
}

void catchup_tick(struct chassis_consensus *n, uint64_t now)
{
    if (n->fetch.state == FETCH_RUNNING &&
        now - n->fetch.asked_ns > ASK_AGAIN_MS * CHASSIS_NS_PER_MS) {
        n->fetch.state = FETCH_PAUSED; /* until somebody offers one again */
    }
    if (n->fetch.state == FETCH_DONE && snapshot_verify(n)) {
        n->fetch.state = FETCH_VERIFYING;
    }
    catchup_try_install(n);
}

void catchup_peer_reset(struct chassis_consensus *n, uint64_t peer)
{
    sender_close(n, &peer_find(n, peer)->sender);
    if (n->fetch.state == FETCH_RUNNING && n->fetch.peer == peer) {
        n->fetch.state = FETCH_PAUSED;
    }
}

void catchup_fini(struct chassis_consensus *n)
{
    for (unsigned i = 0; i < n->identity.n_members; i++) {
        if (n->peers[i].sender.file != NULL) {
            n->disk->ops->close(n->peers[i].sender.file);
        }
    }
    if (n->fetch.file != NULL) {
        n->disk->ops->close(n->fetch.file);
    }
    chassis_buf_fini(&n->fetch.conf);
}
