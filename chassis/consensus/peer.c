/* Messages to and from the other members: queued per peer, sent as one frame per turn. */
#include "consensus/node.h"

#include <stdlib.h>

#include "base/assert.h"

struct peer *peer_find(struct chassis_consensus *n, uint64_t id)
{
    return id >= 1 && id <= n->identity.n_members ? &n->peers[id - 1] : NULL;
}

static void drop_queue(struct peer *p)
{
    while (p->first != NULL) {
        struct peer_frame *f = p->first;
        p->first = f->next;
        chassis_buf_fini(&f->data);
        free(f);
    }
    p->last = &p->first;
    chassis_buf_clear(&p->open);
    p->queued_bytes = 0;
}

void peer_init(struct chassis_consensus *n)
{
    for (unsigned i = 0; i < n->identity.n_members; i++) {
        n->peers[i].member = &n->identity.members[i];
        n->peers[i].last = &n->peers[i].first;
    }
}

void peer_fini(struct chassis_consensus *n)
{
    for (unsigned i = 0; i < n->identity.n_members; i++) {
        if (n->peers[i].last != NULL) {
            drop_queue(&n->peers[i]);
            chassis_buf_fini(&n->peers[i].open);
        }
    }
}

static void seal_open(struct peer *p)
{
    if (p->open.len == 0) {
        return;
    }
    struct peer_frame *f = chassis_base_zalloc(sizeof *f);
    frame_seal(&p->open);
    p->queued_bytes += p->open.len;
    f->data = chassis_buf_move(&p->open);
    *p->last = f;
    p->last = &f->next;
}

/* The frame to write into; NULL if the peer cannot take more. */
static struct chassis_buf *open_frame(struct chassis_consensus *n, struct peer *p)
{
    if (!p->up || p->queued_bytes + p->open.len > NODE_PEER_QUEUE_BYTES) {
        p->dropped++;
        chassis_counter_add(n->metrics.dropped, 1);
        return NULL;
    }
    if (p->open.len >= FRAME_SOFT_MAX || frame_count(&p->open) >= FRAME_MESSAGES_MAX) {
        seal_open(p);
    }
    if (p->open.len == 0) {
        frame_begin(&p->open);
    }
    return &p->open;
}

bool peer_send(struct chassis_consensus *n, uint64_t id, const struct frame_message *m)
{
    struct peer *p = peer_find(n, id);
    struct chassis_buf *frame = p != NULL && id != n->identity.id ? open_frame(n, p) : NULL;
    if (frame == NULL) {
        return false;
    }
    frame_append(frame, m);
    node_touch(n);
    return true;
}

void peer_flush(struct chassis_consensus *n)
{
    for (unsigned i = 0; i < n->identity.n_members; i++) {
        struct peer *p = &n->peers[i];
        seal_open(p);
        while (p->up && p->first != NULL) {
            struct peer_frame *f = p->first;
            size_t len = f->data.len;
            if (n->o.transport->ops->send(n->o.transport, p->member->id, &f->data) != 0) {
                break; /* writable or down will follow */
            }
            p->queued_bytes -= len;
            p->first = f->next;
            if (p->first == NULL) {
                p->last = &p->first;
            }
            chassis_buf_fini(&f->data);
            free(f);
        }
    }
}

/* --- raft messages out ------------------------------------------------------------------------- */

struct entries_out {
    struct chassis_buf *frame;
    uint64_t last, last_term;
    uint32_t count;
    uint32_t most;
};

static int put_record(const struct chassis_journal_record *record, void *data)
{
    struct entries_out *o = data;
    struct frame_entry e = {record->term, (uint8_t)record->type, record->payload};
    if (o->count == o->most) {
        return 1;
    }
    frame_append_entry(o->frame, &e);
    o->last = record->index;
    o->last_term = record->term;
    return ++o->count == o->most;
}

/* Entries come from the journal, in as many messages as their size asks for. Where the log cannot
 * be read any more the rest is dropped: the core finds out by the answers. */
static void send_append(struct chassis_consensus *n, const struct raft_message *m)
{
    const struct raft_append_entries *a = &m->append_entries;
    struct peer *p = peer_find(n, m->server_id);
    uint64_t prev = a->prev_log_index, prev_term = a->prev_log_term;
    uint32_t left = a->n_entries;
    do {
        struct chassis_buf *frame = p != NULL ? open_frame(n, p) : NULL;
        if (frame == NULL) {
            return;
        }
        struct frame_message out = {.type = FRAME_APPEND,
                                    .version = a->version,
                                    .term = a->term,
                                    .index = prev,
                                    .index_term = prev_term,
                                    .commit = a->leader_commit};
        struct entries_out o = {frame, prev, prev_term, 0,
                                left < FRAME_ENTRIES_MAX ? left : FRAME_ENTRIES_MAX};
        size_t before = frame->len;
        unsigned count_before = frame_count(frame);
        size_t begin = frame_append_begin(frame, &out);
        int rc = 0;
        if (left != 0) {
            rc = chassis_journal_read(n->journal, NODE_STREAM, prev + 1, FRAME_SOFT_MAX, put_record,
                                      &o, NULL);
        }
        if (left != 0 && o.count == 0) {
            chassis_log_debug(n->log, "entries for a peer are not readable",
                              chassis_f_u64("index", prev + 1), chassis_f_i64("code", rc));
            frame->len = before; /* as if it had never been begun */
            chassis_put_le16(frame->data + 2, (uint16_t)count_before);
            return;
        }
        frame_append_end(frame, begin, o.count);
        p->commit_told = a->leader_commit;
        left -= o.count;
        prev = o.last;
        prev_term = o.last_term;
    } while (left != 0);
    node_touch(n);
}

static void send_install(struct chassis_consensus *n, const struct raft_message *m)
{
    const struct raft_install_snapshot *s = &m->install_snapshot;
    struct frame_message out = {.type = FRAME_INSTALL,
                                .version = s->version,
                                .term = s->term,
                                .index = n->checkpoint_index,
                                .index_term = n->checkpoint_term,
                                .body = chassis_buf_view(&n->checkpoint_conf)};
    if (s->last_index == n->checkpoint_index) {
        peer_send(n, m->server_id, &out);
    }
}

void peer_send_raft(struct chassis_consensus *n, const struct raft_message *m)
{
    struct frame_message out = {0};
    switch (m->type) {
    case RAFT_APPEND_ENTRIES:
        send_append(n, m);
        return;
    case RAFT_INSTALL_SNAPSHOT:
        send_install(n, m);
        return;
    case RAFT_APPEND_ENTRIES_RESULT: {
        const struct raft_append_entries_result *r = &m->append_entries_result;
        out = (struct frame_message){.type = FRAME_APPEND_RESULT,
                                     .version = r->version,
                                     .term = r->term,
                                     .rejected = r->rejected,
                                     .index = r->last_log_index,
                                     .features = r->features,
                                     .capacity =
                                         n->store_low ? NODE_CAPACITY_STORE_LOW : r->capacity};
        break;
    }
    case RAFT_REQUEST_VOTE: {
        const struct raft_request_vote *v = &m->request_vote;
        out = (struct frame_message){.type = FRAME_VOTE,
                                     .version = v->version,
                                     .term = v->term,
                                     .index = v->last_log_index,
                                     .index_term = v->last_log_term,
                                     .disrupt = v->disrupt_leader,
                                     .pre_vote = v->pre_vote};
        break;
    }
    case RAFT_REQUEST_VOTE_RESULT: {
        const struct raft_request_vote_result *r = &m->request_vote_result;
        out = (struct frame_message){.type = FRAME_VOTE_RESULT,
                                     .version = r->version,
                                     .term = r->term,
                                     .granted = r->vote_granted,
                                     .pre_vote = r->pre_vote,
                                     .features = r->features,
                                     .capacity = r->capacity};
        break;
    }
    case RAFT_TIMEOUT_NOW: {
        const struct raft_timeout_now *t = &m->timeout_now;
        out = (struct frame_message){.type = FRAME_TIMEOUT_NOW,
                                     .version = t->version,
                                     .term = t->term,
                                     .index = t->last_log_index,
                                     .index_term = t->last_log_term};
        break;
    }
    }
    peer_send(n, m->server_id, &out);
}

void peer_want_commit(struct chassis_consensus *n, uint64_t id, uint64_t index)
{
    struct peer *p = peer_find(n, id);
    if (p != NULL && index > p->commit_asked) {
        p->commit_asked = index;
    }
}

/* A follower hears of a commit with the next entries. If there are none it is told by an append
 * without entries, anchored where it is known to agree: at once when somebody waits there (a caller
 * whose command it forwarded, a read), else at most every NODE_PACE_MS. */
static void tell_commit(struct chassis_consensus *n, struct peer *p, uint64_t now)
{
    raft_index match = 0;
    if (p->member->id == n->identity.id || !p->up || p->commit_told >= n->commit ||
        raft_match_index(&n->raft, p->member->id, &match) != 0 || match < n->commit) {
        return; /* one that is behind gets entries, and the commit index with them */
    }
    uint64_t due = p->told_ns + NODE_PACE_MS * CHASSIS_NS_PER_MS;
    if (p->commit_asked <= p->commit_told && now < due) {
        node_pace(n, due - now);
        return;
    }
    struct frame_message out = {.type = FRAME_APPEND,
                                .term = n->term,
                                .index = match,
                                .index_term = log_term(n, match),
                                .commit = n->commit};
    if (out.index_term != 0 && peer_send(n, p->member->id, &out)) {
        p->commit_told = n->commit;
        p->told_ns = now;
    }
}

void peer_tell_commit(struct chassis_consensus *n)
{
    uint64_t now = node_now(n);
    if (n->role != RAFT_LEADER || !n->raft_open) {
        return;
    }
    for (unsigned i = 0; i < n->identity.n_members; i++) {
        tell_commit(n, &n->peers[i], now);
    }
}

/* --- events of the transport ------------------------------------------------------------------- */

static void on_up(void *data, uint64_t peer, uint64_t boot, uint32_t version)
{
    struct chassis_consensus *n = data;
    struct peer *p = peer_find(n, peer);
    if (p == NULL) {
        return;
    }
    drop_queue(p);
    p->up = p->announced = true;
    p->boot = boot;
    p->version = version;
    p->store_low = false;
    p->commit_told = p->commit_asked = 0;
    chassis_log_info(n->log, "peer connected", chassis_f_str("peer", p->member->name));
    status_tell(n, peer);
    propose_peer_reset(n, peer);
    ask_peer_reset(n, peer);
    catchup_peer_reset(n, peer);
    n->asking = false;
    node_touch(n);
}

static void on_down(void *data, uint64_t peer)
{
    struct chassis_consensus *n = data;
    struct peer *p = peer_find(n, peer);
    if (p == NULL || !p->up) {
        return;
    }
    p->up = false;
    drop_queue(p);
    chassis_log_info(n->log, "peer disconnected", chassis_f_str("peer", p->member->name));
    propose_peer_reset(n, peer);
    ask_peer_reset(n, peer);
    catchup_peer_reset(n, peer);
    n->asking = false;
    node_touch(n);
}

static void on_writable(void *data, uint64_t peer)
{
    node_touch(data);
}

struct incoming {
    struct chassis_consensus *n;
    uint64_t peer;
};

static int on_message(const struct frame_message *m, void *data)
{
    struct incoming *in = data;
    switch (m->type) {
    case FRAME_APPEND:
    case FRAME_APPEND_RESULT:
    case FRAME_VOTE:
    case FRAME_VOTE_RESULT:
    case FRAME_TIMEOUT_NOW:
        core_receive(in->n, in->peer, m);
        return 0;
    case FRAME_PROPOSE:
    case FRAME_PROPOSE_REFUSED:
        propose_receive(in->n, in->peer, m);
        return 0;
    case FRAME_READ_PING:
    case FRAME_READ_PONG:
    case FRAME_READ_ASK:
    case FRAME_READ_ANSWER:
        read_receive(in->n, in->peer, m);
        return 0;
    case FRAME_ASK:
    case FRAME_ASK_NODE:
    case FRAME_ANSWER:
        ask_receive(in->n, in->peer, m);
        return 0;
    case FRAME_INSTALL:
    case FRAME_FETCH:
    case FRAME_CHUNK:
        catchup_receive(in->n, in->peer, m);
        return 0;
    case FRAME_ABOUT:
        status_told(in->n, in->peer, m->body);
        return 0;
    case FRAME_TYPE_END:
        break;
    }
    return 0;
}

static void on_frame(void *data, uint64_t peer, struct chassis_view frame)
{
    struct chassis_consensus *n = data;
    struct incoming in = {n, peer};
    struct chassis_error err = {0};
    if (peer_find(n, peer) == NULL || peer == n->identity.id || !n->started) {
        return;
    }
    if (frame_decode(frame, on_message, &in, &err) != 0) {
        chassis_log_warn(n->log, "a frame was dropped", chassis_f_u64("peer", peer),
                         chassis_f_err(&err));
    }
    node_touch(n);
}

const struct chassis_transport_events peer_events = {
    .up = on_up,
    .down = on_down,
    .writable = on_writable,
    .admit = known_admit,
    .frame = on_frame,
};
