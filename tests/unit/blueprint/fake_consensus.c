#include "fake_consensus.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

struct work {
    struct chassis_task task;
    struct chassis_consensus *node;
    void *request;
};

static void post(struct chassis_consensus *node, chassis_task_fn run, void *request)
{
    struct work *work = chassis_base_zalloc(sizeof *work);
    work->task.run = run;
    work->node = node;
    work->request = request;
    chassis_post(node->executor, &work->task);
}

static struct work *take(struct chassis_task *task)
{
    return chassis_container_of(task, struct work, task);
}

static void run_proposal(struct chassis_task *task)
{
    struct work *work = take(task);
    struct chassis_consensus *node = work->node;
    struct chassis_proposal *p = work->request;
    struct chassis_txn *txn;
    free(work);
    struct chassis_entry entry = {.index = ++node->applied,
                                  .term = 1,
                                  .time_ns = node->wall_ns,
                                  .command = chassis_buf_view(&p->command)};
    CHASSIS_ASSERT(chassis_store_begin(node->store, true, &txn, NULL) == 0);
    p->status = node->machine->ops->apply(node->machine->data, txn, &entry, &p->result);
    CHASSIS_ASSERT(chassis_txn_commit(txn, NULL) == 0);
    p->index = entry.index;
    chassis_buf_fini(&p->command);
    node->machine->ops->committed(node->machine->data, node->applied);
    p->done(p);
}

void chassis_consensus_propose(struct chassis_consensus *node, struct chassis_proposal *proposal)
{
    node->proposals++;
    post(node, run_proposal, proposal);
}

static void run_read(struct chassis_task *task)
{
    struct work *work = take(task);
    struct chassis_read *read = work->request;
    free(work);
    read->status = 0;
    read->done(read);
}

void chassis_consensus_read(struct chassis_consensus *node, struct chassis_read *read)
{
    post(node, run_read, read);
}

static void run_ask(struct chassis_task *task)
{
    struct work *work = take(task);
    struct chassis_consensus *node = work->node;
    struct chassis_ask *ask = work->request;
    free(work);
    ask->status = node->leader
                      ? node->machine->ops->ask(node->machine->data, 1,
                                                chassis_buf_view(&ask->question), &ask->answer)
                      : CHASSIS_UNAVAILABLE;
    chassis_buf_fini(&ask->question);
    ask->done(ask);
}

void chassis_consensus_ask_leader(struct chassis_consensus *node, struct chassis_ask *ask)
{
    node->asks++;
    post(node, run_ask, ask);
}

struct chassis_store *chassis_consensus_store_acquire(struct chassis_consensus *node)
{
    return node->store;
}

void chassis_consensus_store_release(struct chassis_consensus *node, struct chassis_store *store)
{
}

void chassis_consensus_status(struct chassis_consensus *node,
                              struct chassis_consensus_status *ret_status)
{
    memset(ret_status, 0, sizeof *ret_status);
    ret_status->id = 1;
    ret_status->leader_id = node->leader ? 1 : 0;
    ret_status->n_members = 1;
    ret_status->members[0].id = 1;
    strcpy(ret_status->members[0].name, "one");
    strcpy(ret_status->members[0].address, "127.0.0.1:2221");
    strcpy(ret_status->members[0].service, "127.0.0.1:2221");
}

void chassis_consensus_transfer(struct chassis_consensus *node, uint64_t target,
                                void (*done)(int status, const char *text, void *data), void *data)
{
    done(CHASSIS_UNIMPLEMENTED, "one node", data);
}
