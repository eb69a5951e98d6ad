/* Checkpoints of this node: when one is due, who writes it, what follows; and the installation of
 * one that was fetched. One job at a time, in a worker (writing) or the apply role (installing).
 *
 * Threads: functions named _run on worker or apply role; the rest: loop.
 */
#include "consensus/node.h"

#include <stdlib.h>

#include "base/assert.h"

struct snapshot_job {
    struct chassis_task task;
    struct chassis_consensus *n;
    int status;
    struct chassis_error err;
    struct checkpoint_header header;
    char path[512];
    void (*done)(int, uint64_t, void *);
    void *data;
};

/* Somebody wants what is applied by now in a checkpoint. */
struct checkpoint_request {
    struct chassis_list link;
    struct chassis_task task;
    struct chassis_consensus *n;
    uint64_t index; /* to be contained */
    void (*done)(int, uint64_t, void *);
    void *data;
};

static struct snapshot_job *job_begin(struct chassis_consensus *n)
{
    CHASSIS_ASSERT(n->job == NULL);
    n->job = chassis_base_zalloc(sizeof *n->job);
    n->job->n = n;
    return n->job;
}

static void job_end(struct chassis_consensus *n)
{
    checkpoint_header_fini(&n->job->header);
    free(n->job);
    n->job = NULL;
    node_touch(n);
    node_close_step(n);
}

void snapshot_fini(struct chassis_consensus *n)
{
    if (n->job != NULL) {
        checkpoint_header_fini(&n->job->header);
        free(n->job);
    }
    if (n->installing.index != 0) {
        raft_configuration_close(&n->installing.configuration);
    }
    chassis_list_foreach_safe (link, &n->checkpoint_requests) { /* only after a crash */
        free(chassis_container_of(link, struct checkpoint_request, link));
    }
}

/* --- writing ----------------------------------------------------------------------------------- */

static uint64_t trailing(const struct chassis_consensus *n)
{
    uint64_t by_bytes = n->o.trailing_bytes / (n->average_bytes != 0 ? n->average_bytes : 64);
    return by_bytes < n->o.trailing_entries ? by_bytes : n->o.trailing_entries;
}

static void take_over(struct chassis_consensus *n, struct checkpoint_header *h)
{
    n->checkpoint_index = h->index;
    n->checkpoint_term = h->term;
    n->checkpoint_conf_index = h->configuration_index;
    chassis_buf_fini(&n->checkpoint_conf);
    n->checkpoint_conf = chassis_buf_move(&h->configuration);
    n->log_bytes = 0;
}

static void written(struct chassis_consensus *n, struct snapshot_job *job)
{
    struct raft_event event = {.type = RAFT_SNAPSHOT};
    uint64_t keep = trailing(n);
    event.snapshot.metadata.index = job->header.index;
    event.snapshot.metadata.term = job->header.term;
    event.snapshot.metadata.configuration_index = job->header.configuration_index;
    CHASSIS_ASSERT(core_configuration(n, &event.snapshot.metadata.configuration) == 0);
    event.snapshot.trailing = (unsigned)keep;
    take_over(n, &job->header);
    chassis_counter_add(n->metrics.checkpoints, 1);
    chassis_log_info(n->log, "checkpoint written", chassis_f_u64("index", n->checkpoint_index));
    (void)core_step(n, &event); /* takes the configuration */
    if (n->checkpoint_index > keep) {
        chassis_journal_trim(n->journal, NODE_STREAM, n->checkpoint_index - keep);
    }
}

static void on_written(struct chassis_task *task)
{
    struct snapshot_job *job = chassis_container_of(task, struct snapshot_job, task);
    struct chassis_consensus *n = job->n;
    if (job->status == 0) {
        written(n, job);
    } else {
        n->log_bytes = 0; /* not at once again */
        n->checkpoint_retry = n->applied;
        chassis_log_error(n->log, "no checkpoint was written", chassis_f_err(&job->err));
    }
    if (job->done != NULL) {
        status_turn(n); /* who asked looks for the file by the status */
        job->done(job->status, n->checkpoint_index, job->data);
    }
    job_end(n);
}

/* A checkpoint is about as large as what the store holds. It must not eat the space that is kept
 * free so that what was accepted can be applied: better a longer log. */
static int check_room(struct chassis_consensus *n, struct chassis_error *err)
{
    struct chassis_store_space space;
    uint64_t free_bytes;
    if (n->store->ops->space(n->store, &space) != 0 ||
        n->disk->ops->space(n->disk, n->directory, &free_bytes) != 0 ||
        free_bytes >= space.used_bytes + n->o.reserve_bytes / 2) {
        return 0;
    }
    return chassis_error_set(
        err, CHASSIS_NO_SPACE,
        "'%s' has %llu bytes free, a checkpoint takes up to %llu and %llu must "
        "stay free (half of raft.reserve)",
        n->directory, (unsigned long long)free_bytes, (unsigned long long)space.used_bytes,
        (unsigned long long)n->o.reserve_bytes / 2);
}

static void write_run(struct chassis_task *task)
{
    struct snapshot_job *job = chassis_container_of(task, struct snapshot_job, task);
    struct chassis_consensus *n = job->n;
    struct chassis_txn *txn;
    uint64_t newest;
    job->status = check_room(n, &job->err);
    if (job->status == 0) {
        job->status = chassis_store_begin(n->store, false, &txn, &job->err);
    }
    if (job->status == 0) {
        job->status = apply_read_meta(n, txn, &job->header.index, &job->header.term, &job->err);
        if (job->status == 0) {
            job->status = checkpoint_write(n->disk, n->directory, &job->header, txn, &job->err);
        }
        chassis_txn_abort(txn);
    }
    if (job->status == 0) {
        (void)checkpoint_newest(n->disk, n->directory, true, &newest, NULL);
    }
    task->run = on_written;
    chassis_post(n->o.loop, task);
}

int snapshot_begin(struct chassis_consensus *n, void (*done)(int, uint64_t, void *), void *data)
{
    struct raft_configuration conf;
    struct raft_buffer encoded;
    if (n->job != NULL || n->installing.index != 0 || !n->started || n->apply_held) {
        return CHASSIS_BUSY;
    }
    if (n->applied <= n->checkpoint_index) {
        return CHASSIS_ALREADY_EXISTS;
    }
    struct snapshot_job *job = job_begin(n);
    CHASSIS_ASSERT(core_configuration(n, &conf) == 0);
    CHASSIS_ASSERT(raft_configuration_encode(&conf, &encoded) == 0);
    raft_configuration_close(&conf);
    chassis_buf_append(&job->header.configuration, encoded.base, encoded.len);
    raft_free(encoded.base);
    memcpy(job->header.cluster_id, n->identity.cluster_id, sizeof n->identity.cluster_id);
    job->header.configuration_index = n->raft.configuration_committed_index;
    job->done = done;
    job->data = data;
    job->task.run = write_run;
    chassis_post(n->o.worker, &job->task);
    return 0;
}

static void requests_turn(struct chassis_consensus *n);

void snapshot_turn(struct chassis_consensus *n)
{
    requests_turn(n);
    uint64_t since =
        n->checkpoint_retry > n->checkpoint_index ? n->checkpoint_retry : n->checkpoint_index;
    if (!n->closing && n->job == NULL && n->applied > since &&
        (n->applied - since >= n->o.checkpoint_entries || n->log_bytes >= n->o.checkpoint_bytes)) {
        (void)snapshot_begin(n, NULL, NULL);
    }
}

static void request_end(struct checkpoint_request *r, int status)
{
    chassis_list_remove(&r->link);
    if (status != 0) {
        status_turn(r->n);
        r->done(status, r->n->checkpoint_index, r->data);
    }
    free(r);
}

/* Those that wait for the job under way, or for a checkpoint that is being fetched. */
static void requests_turn(struct chassis_consensus *n)
{
    chassis_list_foreach_safe (link, &n->checkpoint_requests) {
        struct checkpoint_request *r = chassis_list_entry(link, struct checkpoint_request, link);
        if (!n->closing && n->applied < r->index) {
            continue;
        }
        int rc = n->closing ? CHASSIS_SHUTTING_DOWN : snapshot_begin(n, r->done, r->data);
        if (rc != CHASSIS_BUSY) {
            request_end(r, rc);
        }
    }
}

void snapshot_fail_all(struct chassis_consensus *n, int status)
{
    chassis_list_foreach_safe (link, &n->checkpoint_requests) {
        request_end(chassis_list_entry(link, struct checkpoint_request, link), status);
    }
}

static void on_request(struct chassis_task *task)
{
    struct checkpoint_request *r = chassis_container_of(task, struct checkpoint_request, task);
    struct chassis_consensus *n = r->n;
    r->index = n->apply_next != 0 ? n->apply_next - 1 : 0; /* everything answered so far */
    chassis_list_append(&n->checkpoint_requests, &r->link);
    apply_want(n, r->index);
    requests_turn(n);
}

void chassis_consensus_checkpoint(struct chassis_consensus *n, void (*done)(int, uint64_t, void *),
                                  void *data)
{
    struct checkpoint_request *r = chassis_base_zalloc(sizeof *r);
    r->n = n;
    r->done = done;
    r->data = data;
    r->task.run = on_request;
    chassis_post(n->o.loop, &r->task);
}

/* --- installing -------------------------------------------------------------------------------- */

static void on_installed(struct chassis_task *task)
{
    struct snapshot_job *job = chassis_container_of(task, struct snapshot_job, task);
    struct chassis_consensus *n = job->n;
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT};
    if (job->status != 0) {
        node_fatal(n, "cannot install a checkpoint", &job->err);
    }
    take_over(n, &job->header);
    log_reset(n, n->checkpoint_index, n->checkpoint_term);
    n->applied = n->checkpoint_index;
    n->apply_next = n->applied + 1;
    event.persisted_snapshot.metadata = n->installing;
    event.persisted_snapshot.last = true;
    memset(&n->installing, 0, sizeof n->installing);
    n->apply_held = false;
    (void)core_step(n, &event); /* takes the configuration */
    chassis_counter_add(n->metrics.installs, 1);
    chassis_log_info(n->log, "checkpoint installed", chassis_f_u64("index", n->applied));
    catchup_done(n);
    read_applied(n);
    propose_installed(n);
    job_end(n);
}

static void install_run(struct chassis_task *task)
{
    struct snapshot_job *job = chassis_container_of(task, struct snapshot_job, task);
    struct chassis_consensus *n = job->n;
    char part[512];
    uint64_t newest;
    catchup_path(n, part);
    int rc = n->disk->ops->rename(n->disk, part, job->path);
    rc = rc != 0 ? rc : n->disk->ops->dir_sync(n->disk, n->directory);
    if (rc != 0) {
        job->status = chassis_error_code(&job->err, rc, "rename '%s'", part);
    } else {
        job->status = apply_install_run(n, job->path, &job->header, &job->err);
    }
    if (job->status == 0) {
        (void)checkpoint_newest(n->disk, n->directory, true, &newest, NULL);
    }
    task->run = on_installed;
    chassis_post(n->o.loop, task);
}

void snapshot_install(struct chassis_consensus *n, const struct raft_snapshot_metadata *metadata)
{
    struct snapshot_job *job = job_begin(n);
    n->installing = *metadata;
    n->generation++; /* entries on their way to the disk are not in the log any more */
    checkpoint_path(n->directory, metadata->index, job->path);
    job->task.run = install_run;
    chassis_post(n->o.apply, &job->task);
}

/* --- checking what was fetched ----------------------------------------------------------------- */

static void on_verified(struct chassis_task *task)
{
    struct snapshot_job *job = chassis_container_of(task, struct snapshot_job, task);
    struct chassis_consensus *n = job->n;
    if (job->status != 0) {
        chassis_log_warn(n->log, "a fetched checkpoint was dropped", chassis_f_err(&job->err));
    }
    catchup_verified(n,
                     job->status == 0 && job->header.index == n->fetch.index ? &job->header : NULL);
    job_end(n);
}

static void verify_run(struct chassis_task *task)
{
    struct snapshot_job *job = chassis_container_of(task, struct snapshot_job, task);
    struct chassis_consensus *n = job->n;
    struct chassis_file *file;
    char part[512];
    catchup_path(n, part);
    int rc = n->disk->ops->open(n->disk, part, CHASSIS_DISK_WRITE, &file);
    if (rc == 0) {
        rc = n->disk->ops->sync(file);
        n->disk->ops->close(file);
    }
    job->status = rc != 0 ? chassis_error_code(&job->err, rc, "sync '%s'", part)
                          : checkpoint_load(n->disk, part, NULL, &job->header, &job->err);
    task->run = on_verified;
    chassis_post(n->o.loop, task);
}

bool snapshot_verify(struct chassis_consensus *n)
{
    if (n->job != NULL) {
        return false;
    }
    struct snapshot_job *job = job_begin(n);
    job->task.run = verify_run;
    chassis_post(n->o.worker, &job->task);
    return true;
}
