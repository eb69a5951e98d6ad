/* libraft's core: one event in, its obligations out. See docs/internals/consensus.md for the order. */
#include "consensus/node.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/prng.h"

enum { SLOT_FORMAT = 1, CAPACITY_UNUSED = 1024 };

/* --- memory: libraft must never see an allocation fail ----------------------------------------- */

static void *heap_malloc(void *data, size_t size)
{
    return chassis_base_alloc(size != 0 ? size : 1);
}
static void heap_free(void *data, void *ptr)
{
    free(ptr);
}
static void *heap_calloc(void *data, size_t n, size_t size)
{
    return chassis_base_zalloc(n * size != 0 ? n * size : 1);
}
static void *heap_realloc(void *data, void *ptr, size_t size)
{
    return chassis_base_realloc(ptr, size);
}
static void *heap_aligned_alloc(void *data, size_t alignment, size_t size)
{
    void *ptr = aligned_alloc(alignment, size);
    CHASSIS_ASSERT(ptr != NULL);
    return ptr;
}
static void heap_aligned_free(void *data, size_t alignment, void *ptr)
{
    free(ptr);
}
static struct raft_heap heap = {
    .malloc = heap_malloc,
    .free = heap_free,
    .calloc = heap_calloc,
    .realloc = heap_realloc,
    .aligned_alloc = heap_aligned_alloc,
    .aligned_free = heap_aligned_free,
};
static pthread_once_t heap_once = PTHREAD_ONCE_INIT;
static void heap_install(void)
{
    raft_heap_set(&heap);
}

/* --- term and vote ----------------------------------------------------------------------------- */

static void write_term(struct chassis_consensus *n)
{
    uint8_t value[17] = {SLOT_FORMAT};
    struct chassis_error err = {0};
    if (n->o.planted & CHASSIS_PLANTED_FORGOTTEN_VOTE) {
        return;
    }
    chassis_put_le64(value + 1, raft_current_term(&n->raft));
    chassis_put_le64(value + 9, raft_voted_for(&n->raft));
    if (chassis_slots_write(n->slots, chassis_view(value, sizeof value), &err) != 0) {
        node_fatal(n, "cannot make term and vote durable", &err);
    }
}

static int read_term(struct chassis_consensus *n, struct chassis_view value, uint64_t *ret_term,
                     uint64_t *ret_vote, struct chassis_error *err)
{
    if (value.len == 0) {
        *ret_term = *ret_vote = 0;
        return 0;
    }
    if (value.len != 17 || value.data[0] != SLOT_FORMAT) {
        return chassis_error_set(err, CHASSIS_BAD_VERSION,
                                 "'%s/term' has format %u, this program knows %d", n->directory,
                                 value.data[0], SLOT_FORMAT);
    }
    *ret_term = chassis_get_le64(value.data + 1);
    *ret_vote = chassis_get_le64(value.data + 9);
    return 0;
}

/* --- obligations ------------------------------------------------------------------------------- */

static void leader_changed(struct chassis_consensus *n)
{
    raft_id id;
    const char *address;
    raft_leader(&n->raft, &id, &address);
    uint64_t term = raft_current_term(&n->raft);
    if (id == n->leader && term == n->term) {
        return;
    }
    n->leader = id;
    n->term = term;
    chassis_log_info(n->log, id != 0 ? "leader known" : "no leader known",
                     chassis_f_u64("leader", id), chassis_f_u64("term", term));
    propose_leader_changed(n);
    read_leader_changed(n);
}

static void state_changed(struct chassis_consensus *n)
{
    enum raft_state was = n->role;
    n->role = raft_state(&n->raft);
    if (n->role == RAFT_LEADER) {
        /* The barrier, if there is one, is already in: what is committed by then was committed
         * before us, and reads must wait for it (Raft dissertation, 6.4). */
        n->read_floor = raft_last_index(&n->raft);
        for (unsigned i = 0; i < n->identity.n_members; i++) {
            n->peers[i].commit_told = n->peers[i].commit_asked = 0;
        }
    }
    if (n->role == RAFT_CANDIDATE && was != RAFT_CANDIDATE) {
        chassis_counter_add(n->metrics.elections, 1);
    }
    chassis_log_debug(n->log, "role changed", chassis_f_str("role", raft_state_name((int)n->role)),
                      chassis_f_u64("term", raft_current_term(&n->raft)));
}

static void arm_timer(struct chassis_consensus *n)
{
    uint64_t due = (uint64_t)raft_timeout(&n->raft) * CHASSIS_NS_PER_MS, now = node_now(n);
    chassis_post_after(n->o.loop, &n->raft_timer, due > now ? due - now : 1);
}

static void meet_obligations(struct chassis_consensus *n, struct raft_update *u)
{
    if (u->flags & (RAFT_UPDATE_STATE)) {
        state_changed(n);
    }
    if (u->flags & ((RAFT_UPDATE_CURRENT_TERM) | (RAFT_UPDATE_VOTED_FOR))) {
        write_term(n); /* before anything else may leave this node */
    }
    if (u->flags & (RAFT_UPDATE_ENTRIES)) {
        log_append_entries(n, u->entries.index, u->entries.batch, u->entries.n);
    }
    if (u->flags & (RAFT_UPDATE_MESSAGES)) {
        for (unsigned i = 0; i < u->messages.n; i++) {
            peer_send_raft(n, &u->messages.batch[i]);
        }
    }
    if (u->flags & (RAFT_UPDATE_SNAPSHOT)) {
        snapshot_install(n, &u->snapshot.metadata);
    }
    if (u->flags & (RAFT_UPDATE_COMMIT_INDEX)) {
        n->commit = raft_commit_index(&n->raft);
    }
    arm_timer(n); /* cheap, and the core does not flag every way the time can move */
}

int core_step(struct chassis_consensus *n, struct raft_event *event)
{
    struct raft_update update;
    CHASSIS_ASSERT(!n->stepping && n->raft_open);
    memset(&update, 0, sizeof update);
    n->stepping = true;
    event->time = node_now(n) / CHASSIS_NS_PER_MS;
    event->capacity = CAPACITY_UNUSED;
    uint64_t limit = n->average_bytes != 0 ? NODE_INFLIGHT_BYTES / n->average_bytes : UINT64_MAX;
    limit = limit < 16 ? 16 : limit > NODE_INFLIGHT_ENTRIES ? NODE_INFLIGHT_ENTRIES : limit;
    raft_set_max_inflight_entries(&n->raft, (unsigned)limit);
    int rc = raft_step(&n->raft, event, &update);
    if (rc == RAFT_SHUTDOWN) {
        struct chassis_error err = {0};
        chassis_error_set(&err, CHASSIS_CORRUPT,
                          "the leader's log contradicts entries that were committed here");
        node_fatal(n, "logs diverged", &err);
    }
    if (rc == 0) {
        meet_obligations(n, &update);
    }
    n->stepping = false;
    if (rc == 0) {
        leader_changed(n);
        node_touch(n);
    }
    return rc;
}

static void on_raft_timer(struct chassis_timer *timer)
{
    struct chassis_consensus *n = chassis_container_of(timer, struct chassis_consensus, raft_timer);
    struct raft_event event = {.type = RAFT_TIMEOUT};
    (void)core_step(n, &event);
}

/* --- messages in ------------------------------------------------------------------------------- */

static void receive(struct chassis_consensus *n, struct raft_message *message)
{
    struct raft_event event = {.type = RAFT_RECEIVE, .receive.message = message};
    int rc = core_step(n, &event);
    if (rc != 0) {
        chassis_log_warn(n->log, "a message of a peer was refused",
                         chassis_f_u64("peer", message->server_id),
                         chassis_f_str("reason", raft_strerror(rc)));
    }
}

/* Entries [from, to) of an APPEND as an event of their own. */
static void receive_entries(struct chassis_consensus *n, struct raft_message *message,
                            struct frame_entry *in, unsigned from, unsigned to)
{
    struct raft_append_entries *a = &message->append_entries;
    unsigned count = to - from;
    void *batch =
        count != 0 ? chassis_base_alloc(1) : NULL; /* whoever drops the entries frees it */
    for (unsigned i = 0; i < count; i++) {
        n->entries[i] = (struct raft_entry){
            .term = in[from + i].term,
            .type = (enum raft_entry_type)in[from + i].type,
            .buf = {(void *)(uintptr_t)in[from + i].payload.data, in[from + i].payload.len},
            .batch = batch,
        };
    }
    a->entries = n->entries;
    a->n_entries = count;
    struct raft_event event = {.type = RAFT_RECEIVE, .receive.message = message};
    uint64_t before = n->last_index, before_generation = n->generation;
    int rc = core_step(n, &event);
    /* libraft 0.22.1 frees the batch itself unless it handed entries back to be persisted. */
    if (rc == 0 && (n->last_index != before || n->generation != before_generation)) {
        free(batch);
    }
}

static void receive_append(struct chassis_consensus *n, struct raft_message *message,
                           const struct frame_message *m)
{
    struct raft_append_entries *a = &message->append_entries;
    uint64_t prev = m->index, prev_term = m->index_term;
    unsigned from = 0;
    if (frame_entries(m, n->frame_entries) != 0 || (prev == 0) != (prev_term == 0)) {
        chassis_log_warn(n->log, "a malformed append was dropped",
                         chassis_f_u64("peer", message->server_id));
        return;
    }
    /* What the checkpoint holds is committed, so the leader has the same. libraft would refuse an
     * append anchored there once the log is trimmed, and the leader would then go back for ever. */
    if (prev < n->checkpoint_index) {
        uint64_t known = n->checkpoint_index - prev;
        from = known < m->n_entries ? (unsigned)known : m->n_entries;
        prev = n->checkpoint_index;
        prev_term = n->checkpoint_term;
    }
    do {
        /* A configuration entry goes alone, or the core records a wrong index for it. */
        unsigned to = from;
        while (to < m->n_entries && n->frame_entries[to].type != RAFT_CHANGE) {
            to++;
        }
        if (to == from && to < m->n_entries) {
            to++;
        }
        a->version = m->version;
        a->term = m->term;
        a->prev_log_index = prev;
        a->prev_log_term = prev_term;
        a->leader_commit = m->commit;
        receive_entries(n, message, n->frame_entries, from, to);
        if (to > from) {
            prev += to - from;
            prev_term = n->frame_entries[to - 1].term;
        }
        from = to;
    } while (from < m->n_entries);
}

void core_receive(struct chassis_consensus *n, uint64_t peer, const struct frame_message *m)
{
    struct raft_message message;
    memset(&message, 0, sizeof message);
    message.server_id = peer;
    message.server_address = peer_find(n, peer)->member->address;
    if (m->term == 0 || !n->raft_open) {
        return;
    }
    switch ((unsigned)m->type) {
    case FRAME_APPEND:
        message.type = RAFT_APPEND_ENTRIES;
        receive_append(n, &message, m);
        return;
    case FRAME_APPEND_RESULT:
        message.type = RAFT_APPEND_ENTRIES_RESULT;
        peer_find(n, peer)->store_low = m->capacity == NODE_CAPACITY_STORE_LOW;
        message.append_entries_result = (struct raft_append_entries_result){
            m->version, m->term, m->rejected, m->index, m->features, m->capacity};
        break;
    case FRAME_VOTE:
        message.type = RAFT_REQUEST_VOTE;
        message.request_vote = (struct raft_request_vote){
            m->version, m->term, peer, m->index, m->index_term, m->disrupt, m->pre_vote};
        break;
    case FRAME_VOTE_RESULT:
        message.type = RAFT_REQUEST_VOTE_RESULT;
        message.request_vote_result = (struct raft_request_vote_result){
            m->version, m->term, m->granted, m->pre_vote, m->features, m->capacity};
        break;
    case FRAME_TIMEOUT_NOW:
        message.type = RAFT_TIMEOUT_NOW;
        message.timeout_now =
            (struct raft_timeout_now){m->version, m->term, m->index, m->index_term};
        break;
    default:
        return;
    }
    receive(n, &message);
}

/* --- life -------------------------------------------------------------------------------------- */

int core_open(struct chassis_consensus *n, struct chassis_error *err)
{
    char path[512];
    pthread_once(&heap_once, heap_install);
    if (raft_version_number() != RAFT_VERSION_NUMBER) {
        return chassis_error_set(err, CHASSIS_BAD_VERSION, "libraft %d is linked, %d is needed",
                                 raft_version_number(), RAFT_VERSION_NUMBER);
    }
    snprintf(path, sizeof path, "%s/term", n->directory);
    struct chassis_buf value = {0};
    uint64_t term = 0, vote = 0;
    int rc = chassis_slots_open(n->disk, path, &n->slots, &value, err);
    if (rc == 0) {
        rc = read_term(n, chassis_buf_view(&value), &term, &vote, err);
    }
    chassis_buf_fini(&value);
    if (rc != 0) {
        return rc;
    }
    const struct chassis_consensus_member *self = &n->identity.members[n->identity.id - 1];
    CHASSIS_ASSERT(raft_init(&n->raft, NULL, NULL, n->identity.id, self->address) == 0);
    n->raft_open = true;
    n->raft.tracer = NULL;
    uint64_t seed = n->o.seed;
    if (seed == 0) {
        chassis_base_random_bytes(&seed, sizeof seed);
    }
    raft_seed(&n->raft, (unsigned)(seed ^ seed >> 32) | 1U);
    raft_set_election_timeout(&n->raft, n->o.election_ms);
    raft_set_heartbeat_timeout(&n->raft, n->o.heartbeat_ms);
    raft_set_pre_vote(&n->raft, true);
    raft_set_install_snapshot_timeout(&n->raft, n->o.election_ms * 10);
    n->raft_timer.run = on_raft_timer;
    n->raft.current_term = term; /* until START, which is given them again */
    n->raft.voted_for = vote;
    return 0;
}

int core_configuration(const struct chassis_consensus *n, struct raft_configuration *ret)
{
    const struct raft_configuration *c = &n->raft.configuration_committed;
    raft_configuration_init(ret);
    for (unsigned i = 0; i < c->n; i++) {
        int rc = raft_configuration_add(ret, c->servers[i].id, c->servers[i].address,
                                        c->servers[i].role);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

struct start_scan {
    struct raft_entry *entries;
    unsigned n, cap;
    uint64_t next;
    int64_t last_time_ns;
};

static int see_record(const struct chassis_journal_record *record, void *data)
{
    struct start_scan *s = data;
    struct envelope e;
    if (s->n == s->cap) {
        s->cap = s->cap != 0 ? s->cap * 2 : 1024;
        s->entries = chassis_base_realloc(s->entries, s->cap * sizeof *s->entries);
    }
    struct raft_entry *out = &s->entries[s->n++];
    *out = (struct raft_entry){.term = record->term, .type = (enum raft_entry_type)record->type};
    if (record->type == RAFT_CHANGE) {
        out->buf.len = record->payload.len;
        out->buf.base = out->batch = chassis_base_alloc(record->payload.len + 1);
        memcpy(out->buf.base, record->payload.data, record->payload.len);
    } else if (record->type == RAFT_COMMAND && envelope_decode(record->payload, &e) == 0 &&
               e.time_ns > s->last_time_ns) {
        s->last_time_ns = e.time_ns;
    }
    s->next = record->index + 1;
    return 0;
}

static void scan_log(struct chassis_consensus *n, uint64_t first, struct start_scan *s)
{
    struct chassis_error err = {0};
    s->next = first;
    while (s->next <= n->last_index) {
        uint64_t before = s->next;
        int rc =
            chassis_journal_read(n->journal, NODE_STREAM, s->next, 8 << 20, see_record, s, &err);
        if (rc != 0 || s->next == before) {
            node_fatal(n, "cannot read the log", &err);
        }
    }
}

void core_start(struct chassis_consensus *n)
{
    struct raft_snapshot_metadata metadata;
    struct raft_event event = {.type = RAFT_START};
    struct chassis_journal_stream stream = chassis_journal_stream(n->journal, NODE_STREAM);
    struct start_scan scan = {0};
    uint64_t first = stream.last_index != 0 && stream.first_index <= stream.last_index
                         ? stream.first_index
                         : n->checkpoint_index + 1;
    scan_log(n, first, &scan);
    event.start.term = n->raft.current_term;
    event.start.voted_for = n->raft.voted_for;
    if ((n->o.planted & CHASSIS_PLANTED_FORGOTTEN_VOTE) && scan.n != 0 &&
        event.start.term < scan.entries[scan.n - 1].term) {
        event.start.term = scan.entries[scan.n - 1].term;
    }
    if (n->checkpoint_index != 0) {
        memset(&metadata, 0, sizeof metadata);
        metadata.index = n->checkpoint_index;
        metadata.term = n->checkpoint_term;
        metadata.configuration_index = n->checkpoint_conf_index;
        struct raft_buffer conf = {n->checkpoint_conf.data, n->checkpoint_conf.len};
        if (raft_configuration_decode(&conf, &metadata.configuration) != 0) {
            struct chassis_error err = {0};
            chassis_error_set(&err, CHASSIS_CORRUPT, "malformed configuration in the checkpoint");
            node_fatal(n, "cannot start", &err);
        }
        event.start.metadata = &metadata;
    }
    event.start.start_index = first;
    event.start.entries = scan.entries;
    event.start.n_entries = scan.n;
    n->last_time_ns = scan.last_time_ns;
    n->raft.current_term = n->raft.voted_for = 0;
    int rc = core_step(n, &event);
    CHASSIS_ASSERT(rc == 0);
    for (unsigned i = 0; i < scan.n; i++) {
        free(scan.entries[i].batch);
    }
    free(scan.entries);
    n->started = true;
    n->role = raft_state(&n->raft); /* a follower begins as one: nothing has flagged a change */
    n->commit = raft_commit_index(&n->raft);
}

void core_close(struct chassis_consensus *n)
{
    if (n->raft_open) {
        raft_close(&n->raft, NULL);
        n->raft_open = false;
    }
    chassis_slots_close(n->slots);
    n->slots = NULL;
}
