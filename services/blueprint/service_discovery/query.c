/* Query: processes from this node's store, and when they last reported from the leader's memory. */
#include "../deadline.h"
#include "../key_value/controller.h"
#include "convert.h"

enum {
    ANSWER_BYTES_MAX = 3500 << 10,
    LAST_SEEN_TIMEOUT_MS = 500, /* the answer goes out without, rather than late */
};

struct query {
    struct chassis_read read;
    struct chassis_ask ask;
    struct chassis_call *call;
    struct bp_sd *sd;
    struct bp_sd_filter filter;
    struct bp_sd_heartbeats pids; /* asked for, in the order of `seen` */
};

/* While it runs; the processes point into the store. */
struct run {
    const struct query *query;
    const struct bp_sd_last_seen *seen; /* NULL: not known */
    struct chassis_arena arena;
    SD(QueryResponse) res;
    struct bp_sd_text *pids;
    size_t cap, bytes;
};

static int64_t last_of(const struct run *run, struct chassis_view pid)
{
    const struct bp_sd_seen *seen = run->seen != NULL ? run->seen->seen.items : NULL;
    for (size_t i = 0; seen != NULL && i < run->seen->seen.n; i++) {
        if (chassis_view_eq(seen[i].pid, pid)) {
            return seen[i].time_ns;
        }
    }
    return 0;
}

static int each_process(const struct bp_sd_process *process, void *data)
{
    struct run *run = data;
    SD(QueryResponse) *res = &run->res;
    if (!bp_sd_matches(&run->query->filter, process)) {
        return 0;
    }
    if (res->n_data == run->cap) {
        size_t cap = run->cap != 0 ? run->cap * 2 : 32;
        void *grown = chassis_arena_alloc(&run->arena, cap * sizeof *res->data);
        if (run->cap != 0) {
            memcpy(grown, res->data, run->cap * sizeof *res->data);
        }
        res->data = grown;
        run->cap = cap;
    }
    SD(QueryResponse__DataEntry) *e = chassis_arena_alloc(&run->arena, sizeof *e);
    core__registry__service_discovery__v1__query_response__data_entry__init(e);
    e->value = bp_sd_process_message(&run->arena, process, last_of(run, process->pid));
    e->key = e->value->pid;
    run->bytes += protobuf_c_message_get_packed_size(&e->base);
    res->data[res->n_data++] = e;
    return run->bytes > ANSWER_BYTES_MAX ? CHASSIS_RESOURCE_EXHAUSTED : 0;
}

static int collect(struct chassis_txn *txn, void *data, struct chassis_error *err)
{
    struct run *run = data;
    const struct bp_sd_filter *filter = &run->query->filter;
    struct bp_sd_process process;
    int r;
    if (filter->type == BP_SD_FILTER_ID) {
        r = bp_sd_get(txn, filter->text, &run->arena, &process, err);
        return r == 0 ? each_process(&process, run) : r == CHASSIS_NOT_FOUND ? 0 : r;
    }
    r = bp_sd_each(txn, &run->arena, each_process, run, err);
    return r == CHASSIS_RESOURCE_EXHAUSTED
               ? chassis_error_set(err, r,
                                   "the answer passes %d bytes: ask by id, group, name or RPC "
                                   "service",
                                   ANSWER_BYTES_MAX)
               : r;
}

static void reply(struct query *q, const struct bp_sd_last_seen *seen)
{
    struct run run = {.query = q, .seen = seen};
    struct chassis_error err = {0};
    chassis_arena_init(&run.arena, NULL, 0, 0);
    core__registry__service_discovery__v1__query_response__init(&run.res);
    if (bp_read(q->sd->options.consensus, collect, &run, &err) != 0) {
        chassis_call_fail_error(q->call, &err);
    } else {
        service_discovery_query_reply(q->call, &run.res);
    }
    chassis_arena_fini(&run.arena);
}

static void answered(struct chassis_ask *ask)
{
    struct query *q = chassis_container_of(ask, struct query, ask);
    struct chassis_buf answer = chassis_buf_move(&ask->answer);
    struct bp_sd_last_seen seen;
    bool known =
        ask->status == 0 && bp_codec_decode(&bp_sd_layout_last_seen, chassis_buf_view(&answer),
                                            chassis_call_arena(q->call), &seen, NULL) == 0;
    reply(q, known ? &seen : NULL);
    chassis_buf_fini(&answer);
}

struct pids {
    const struct query *query;
    struct bp_sd_text *items;
    size_t n, cap;
    struct chassis_arena *arena;
};

static int each_pid(const struct bp_sd_process *process, void *data)
{
    struct pids *pids = data;
    if (!bp_sd_matches(&pids->query->filter, process)) {
        return 0;
    }
    if (pids->n == pids->cap) {
        size_t cap = pids->cap != 0 ? pids->cap * 2 : 32;
        struct bp_sd_text *grown = chassis_arena_alloc(pids->arena, cap * sizeof *grown);
        if (pids->cap != 0) {
            memcpy(grown, pids->items, pids->n * sizeof *grown);
        }
        pids->items = grown;
        pids->cap = cap;
    }
    pids->items[pids->n++].text = chassis_arena_copy(pids->arena, process->pid);
    return pids->n == 16384 ? 1 : 0; /* more would not fit an answer anyway */
}

static int collect_pids(struct chassis_txn *txn, void *data, struct chassis_error *err)
{
    struct pids *pids = data;
    int r = bp_sd_each(txn, pids->arena, each_pid, pids, err);
    return r < 0 ? r : 0;
}

static void read_done(struct chassis_read *read)
{
    struct query *q = chassis_container_of(read, struct query, read);
    struct chassis_error err = {0};
    if (read->status != 0) {
        chassis_error_code(&read->error, read->status, "linearizable read");
        chassis_call_fail_error(q->call, &read->error);
        return;
    }
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    struct pids pids = {.query = q, .arena = &arena};
    if (bp_read(q->sd->options.consensus, collect_pids, &pids, &err) != 0) {
        chassis_call_fail_error(q->call, &err);
    } else if (pids.n == 0) {
        reply(q, NULL);
    } else {
        struct bp_sd_heartbeats question = {{pids.items, pids.n}};
        bp_codec_encode(&bp_sd_layout_ask_last_seen, BP_CODEC_VERSION, &question, &q->ask.question);
        q->ask.timeout_ns = LAST_SEEN_TIMEOUT_MS * CHASSIS_NS_PER_MS;
        q->ask.executor = q->sd->options.readers;
        q->ask.done = answered;
        chassis_consensus_ask_leader(q->sd->options.consensus, &q->ask);
    }
    chassis_arena_fini(&arena);
}

void bp_sd_rpc_query(struct chassis_call *call, const SD(QueryRequest) * req)
{
    struct chassis_error err = {0};
    struct query *q = chassis_arena_zalloc(chassis_call_arena(call), sizeof *q);
    if (q == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return;
    }
    if (bp_sd_filter_of(req->filter, &q->filter, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    q->call = call;
    q->sd = chassis_call_data(call);
    if (req->stale) {
        reply(q, NULL);
        return;
    }
    q->read.timeout_ns = bp_timeout_ns(call);
    q->read.executor = q->sd->options.readers;
    q->read.done = read_done;
    chassis_consensus_read(q->sd->options.consensus, &q->read);
}
