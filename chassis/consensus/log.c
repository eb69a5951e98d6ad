/* Raft's log in the journal: what was accepted, what is durable, what waits for the disk. */
#include "consensus/node.h"

#include <stdlib.h>

#include "base/assert.h"

static void append_free(struct log_append *a)
{
    chassis_list_remove(&a->link);
    free(a->records);
    chassis_buf_fini(&a->bytes);
    free(a);
}

static void persisted(struct chassis_consensus *n, uint64_t index)
{
    n->durable = index;
    struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES, .persisted_entries.index = index};
    (void)core_step(n, &event);
}

static void on_appended(struct chassis_journal_append *append)
{
    struct log_append *a = chassis_container_of(append, struct log_append, append);
    struct chassis_consensus *n = a->node;
    uint64_t last = append->last_index;
    bool current = a->generation == n->generation || (n->o.planted & CHASSIS_PLANTED_NO_GENERATION);
    chassis_histogram_observe(n->metrics.sync, (double)(node_now(n) - a->begun_ns) / 1e9);
    append_free(a);
    n->appends_out--;
    /* What was truncated meanwhile is not durable, whatever the disk says; what stands in its place
     * completes later, and the journal's order makes that completion cover this one. */
    if (current && n->raft_open && last > n->durable) {
        persisted(n, last);
    }
    node_touch(n);
}

static int try_append(struct chassis_consensus *n, struct log_append *a,
                      const struct chassis_journal_record *records, unsigned count)
{
    struct chassis_error err = {0};
    a->append.stream = NODE_STREAM;
    a->append.records = records;
    a->append.n_records = count;
    a->append.done = on_appended;
    int rc = chassis_journal_append(n->journal, &a->append, &err);
    if (rc == 0) {
        n->appends_out++;
    } else if (rc != CHASSIS_NO_SPACE && rc != CHASSIS_BUSY) {
        node_fatal(n, "the journal refused entries", &err);
    }
    return rc;
}

/* The core has these entries already: keep them until the disk takes them. */
static void stall(struct chassis_consensus *n, struct log_append *a, unsigned count)
{
    size_t at = 0, total = 0;
    a->records = chassis_base_alloc(count * sizeof *a->records);
    for (unsigned i = 0; i < count; i++) {
        total += n->records[i].payload.len;
    }
    chassis_buf_reserve(&a->bytes, total + 1);
    for (unsigned i = 0; i < count; i++) {
        a->records[i] = n->records[i];
        chassis_buf_append_view(&a->bytes, n->records[i].payload);
        a->records[i].payload = chassis_view(a->bytes.data + at, n->records[i].payload.len);
        at += n->records[i].payload.len;
    }
    a->append.n_records = count;
    a->next = NULL;
    *n->stalled_last = a;
    n->stalled_last = &a->next;
    chassis_log_warn(n->log, "the disk takes no more entries for now",
                     chassis_f_u64("index", a->records[0].index));
}

static void log_retry(struct chassis_consensus *n)
{
    while (n->stalled != NULL) {
        struct log_append *a = n->stalled;
        struct log_append *next = a->next;
        if (try_append(n, a, a->records, (unsigned)a->append.n_records) != 0) {
            return;
        }
        n->stalled = next;
        if (next == NULL) {
            n->stalled_last = &n->stalled;
        }
    }
}

void log_append_entries(struct chassis_consensus *n, uint64_t index, const struct raft_entry *e,
                        unsigned count)
{
    uint64_t bytes = 0;
    if (index <= n->last_index) {
        n->generation++;
        if (n->durable >= index) {
            n->durable = index - 1;
        }
    }
    CHASSIS_ASSERT(count <= FRAME_ENTRIES_MAX);
    for (unsigned i = 0; i < count; i++) {
        struct chassis_view payload = chassis_view(e[i].buf.base, e[i].buf.len);
        int64_t time_ns = 0;
        if (e[i].type == RAFT_COMMAND && payload.len > 9) {
            time_ns = (int64_t)chassis_get_le64(payload.data + ENVELOPE_TIME_OFFSET);
            n->last_time_ns = time_ns > n->last_time_ns ? time_ns : n->last_time_ns;
        }
        n->records[i] = (struct chassis_journal_record){.index = index + i,
                                                        .term = e[i].term,
                                                        .time_ns = time_ns,
                                                        .type = (uint16_t)e[i].type,
                                                        .payload = payload};
        bytes += payload.len + 64;
    }
    n->last_index = index + count - 1;
    n->log_bytes += bytes;
    n->space_bytes += bytes;
    n->average_bytes = (n->average_bytes * 7 + bytes / count) / 8;
    struct log_append *a = chassis_base_zalloc(sizeof *a);
    a->node = n;
    a->generation = n->generation;
    a->begun_ns = node_now(n);
    chassis_list_append(&n->appends, &a->link);
    if (n->stalled != NULL || try_append(n, a, n->records, count) != 0) {
        stall(n, a, count);
    }
    /* A barrier made by the core at an election is its own allocation. */
    if (e == &n->raft.barrier) {
        raft_free(n->raft.barrier.buf.base);
        n->raft.barrier.buf.base = NULL;
    }
}

uint64_t log_term(struct chassis_consensus *n, uint64_t index)
{
    if (index == 0) {
        return 0;
    }
    if (index == n->checkpoint_index) {
        return n->checkpoint_term;
    }
    return chassis_journal_term(n->journal, NODE_STREAM, index);
}

void log_reset(struct chassis_consensus *n, uint64_t index, uint64_t term)
{
    while (n->stalled != NULL) {
        struct log_append *a = n->stalled;
        n->stalled = a->next;
        append_free(a);
    }
    n->stalled_last = &n->stalled;
    n->generation++;
    chassis_journal_reset(n->journal, NODE_STREAM, index + 1, term);
    n->last_index = n->durable = index;
}

/* After the writer is gone: whatever was on its way to it is forgotten. */
void log_fini(struct chassis_consensus *n)
{
    chassis_list_foreach_safe (link, &n->appends) {
        append_free(chassis_list_entry(link, struct log_append, link));
    }
    n->stalled = NULL;
    n->stalled_last = &n->stalled;
}

void log_turn(struct chassis_consensus *n)
{
    log_retry(n);
    if ((n->o.planted & CHASSIS_PLANTED_ACK_BEFORE_SYNC) && n->raft_open &&
        n->durable < n->last_index) {
        persisted(n, n->last_index);
    }
}
