/* The nodes: the production state machine and controllers on simulated executors; and the watch
 * clients that hang on them. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "blueprint_workload.h"

/* --- the state machine, with the truth noted --- */

static int apply(void *data, struct chassis_txn *txn, const struct chassis_entry *entry,
                 struct chassis_buf *ret_result)
{
    struct replica *r = data;
    int status = r->inner.ops->apply(r->inner.data, txn, entry, ret_result);
    truth_note(&r->load->truth, txn);
    return status;
}

static void committed(void *data, uint64_t applied)
{
    struct replica *r = data;
    r->inner.ops->committed(r->inner.data, applied);
}

static void restored(void *data)
{
    struct replica *r = data;
    r->inner.ops->restored(r->inner.data);
}

static void leadership(void *data, bool leader, uint64_t term)
{
    struct replica *r = data;
    r->inner.ops->leadership(r->inner.data, leader, term);
}

static int ask(void *data, uint64_t from, struct chassis_view question,
               struct chassis_buf *ret_answer)
{
    struct replica *r = data;
    return r->inner.ops->ask(r->inner.data, from, question, ret_answer);
}

static const struct chassis_state_machine_ops ops = {.apply = apply,
                                                     .committed = committed,
                                                     .restored = restored,
                                                     .leadership = leadership,
                                                     .ask = ask,
                                                     .version = BP_CODEC_VERSION};

struct chassis_state_machine *load_machine_new(struct sim_workload *w, unsigned node)
{
    struct replica *r = chassis_base_zalloc(sizeof *r);
    r->load = load_of(w);
    r->node = node;
    r->inner = bp_machine(&r->blueprint);
    r->machine = (struct chassis_state_machine){&ops, r, bp_tables, BP_TABLES};
    r->load->replicas[node] = r;
    return &r->machine;
}

void load_stopped(struct sim_workload *w, struct chassis_state_machine *machine)
{
    struct replica *r = machine->data;
    if (r->serving) {
        r->serving = false;
        bp_blueprint_stop(&r->blueprint);
    }
}

void load_machine_free(struct sim_workload *w, struct chassis_state_machine *machine)
{
    struct replica *r = machine->data;
    load_stopped(w, machine);
    r->load->replicas[r->node] = NULL;
    /* Answers of the node's own proposals that it did not live to take. */
    chassis_buf_fini(&r->blueprint.kv.proposal.result);
    chassis_buf_fini(&r->blueprint.sd.key_proposal.result);
    free(r);
}

/* --- planted bugs of the feed --- */

static int skip_event(struct bp_feed_group *group, struct bp_position at, struct chassis_view key,
                      struct chassis_view value, struct bp_feed_batch *batch,
                      struct chassis_error *err)
{
    return at.revision % 53 == 0 ? 0 : bp_kv_feed_ops.event(group, at, key, value, batch, err);
}

static int double_event(struct bp_feed_group *group, struct bp_position at, struct chassis_view key,
                        struct chassis_view value, struct bp_feed_batch *batch,
                        struct chassis_error *err)
{
    int r = bp_kv_feed_ops.event(group, at, key, value, batch, err);
    return r != 0 || at.revision % 53 != 0
               ? r
               : bp_kv_feed_ops.event(group, at, key, value, batch, err);
}

static bool swap_next; /* a watcher was resynchronised */

static int resync_then_swap(struct bp_feed_group *group, struct bp_feed_batch *batch,
                            struct chassis_error *err)
{
    swap_next = true;
    return 0;
}

static int swapped_event(struct bp_feed_group *group, struct bp_position at,
                         struct chassis_view key, struct chassis_view value,
                         struct bp_feed_batch *batch, struct chassis_error *err)
{
    int r = bp_kv_feed_ops.event(group, at, key, value, batch, err);
    if (r == 0 && swap_next && batch->n >= 2) {
        const void *last = batch->events[batch->n - 1];
        batch->events[batch->n - 1] = batch->events[batch->n - 2];
        batch->events[batch->n - 2] = last;
        swap_next = false;
    }
    return r;
}

static void plant(struct replica *r)
{
    static struct bp_feed_ops planted;
    planted = bp_kv_feed_ops;
    if (r->load->planted & LOAD_SKIP) {
        planted.event = skip_event;
    } else if (r->load->planted & LOAD_DUPLICATE) {
        planted.event = double_event;
    } else if (r->load->planted & LOAD_REORDER) {
        planted.event = swapped_event;
        planted.snapshot = resync_then_swap;
    }
    r->blueprint.kv.feed.ops = &planted;
}

/* --- life --- */

void load_started(struct sim_workload *w, const struct sim_replica *replica)
{
    struct load *load = load_of(w);
    struct replica *r = replica->machine->data;
    r->loop = replica->loop;
    r->serving = true;
    bp_blueprint_start(&r->blueprint,
                       &(struct bp_kv_options){.consensus = replica->consensus,
                                               .loop = replica->loop,
                                               .clock = replica->clock,
                                               .keep_revisions = 100,
                                               .keep_ms = 500,
                                               .compact_step = 30},
                       &(struct bp_sd_options){.consensus = replica->consensus,
                                               .loop = replica->loop,
                                               .clock = replica->clock,
                                               .key = load->keys[r->node],
                                               .ttl_ms = 1500,
                                               .interval_ms = 500,
                                               .first_report_ms = 3000,
                                               .forget_ms = 3000});
    if (load->planted != 0) {
        plant(r);
    }
}

/* --- watch clients and heartbeats, on the loop of some node --- */

static struct replica *some_replica(struct load *load)
{
    struct replica *r = load->replicas[chassis_prng_below(load->prng, SIM_NODES_MAX)];
    return r != NULL && r->serving ? r : NULL;
}

struct visit {
    struct replica *replica;
    struct watch *watch;
    struct process *process;
};

static struct bp_feed *feed_of(struct replica *r, const struct watch *w)
{
    return w->log == TRUTH_TRANSITIONS ? &r->blueprint.sd.feed : &r->blueprint.kv.feed;
}

static void connect_watch(void *data)
{
    struct visit *v = data;
    watch_connect(v->watch, feed_of(v->replica, v->watch));
}

static void disconnect_watch(void *data)
{
    watch_disconnect(((struct visit *)data)->watch);
}

static void make_room(void *data)
{
    struct visit *v = data;
    watch_make_room(v->watch, v->replica->load->base.healed ? UINT32_MAX : 1);
}

static void beat(void *data)
{
    struct visit *v = data;
    bp_sd_heartbeat(&v->replica->blueprint.sd, chassis_view_str(v->process->pid));
}

static void tick_watch(struct load *load, struct watch *w)
{
    struct visit v = {some_replica(load), w, NULL};
    if (w->feed == NULL) {
        if (v.replica != NULL) {
            chassis_sim_call(v.replica->loop, connect_watch, &v);
        }
        return;
    }
    for (unsigned i = 0; i < SIM_NODES_MAX; i++) {
        struct replica *r = load->replicas[i];
        if (r != NULL && r->serving && feed_of(r, w) == w->feed) {
            v.replica = r;
        }
    }
    CHASSIS_ASSERT(v.replica != NULL);
    if (!load->base.healed && chassis_prng_chance(load->prng, 0.02)) {
        chassis_sim_call(v.replica->loop, disconnect_watch, &v);
    } else if (w->slow && (load->base.healed || chassis_prng_chance(load->prng, 0.03))) {
        chassis_sim_call(v.replica->loop, make_room, &v);
    }
}

void load_tick(struct sim_workload *w, struct chassis_prng *prng)
{
    struct load *load = load_of(w);
    load->prng = prng;
    for (unsigned i = 0; i < WATCHES; i++) {
        tick_watch(load, &load->watches[i]);
    }
    for (unsigned i = 0; i < LOAD_CLIENTS && !w->stopping; i++) {
        struct visit v = {some_replica(load), NULL, &load->processes[i]};
        if (v.process->state == P_THERE && v.replica != NULL && chassis_prng_chance(prng, 0.2)) {
            chassis_sim_call(v.replica->loop, beat, &v);
        }
    }
}
