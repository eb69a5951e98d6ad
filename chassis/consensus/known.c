/* What this node knows of the others: the boot number each came with last. A member that comes with
 * another incarnation has lost what it had promised, its votes and its part of the log, and counting
 * on it could lose acknowledged writes: it is refused until somebody who knows decides.
 *
 *   file "peers" = small file, payload: for each member, by id: boot u64 (0 = never seen)
 *
 * Threads: admit from any role, under a lock of its own; written by a worker; the rest: loop.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "consensus/node.h"

static const char known_magic[8] = "DRFTPEER";
enum { KNOWN_FORMAT = 1 };

static void known_path(const struct chassis_consensus *n, char out[512])
{
    snprintf(out, 512, "%s/peers", n->directory);
}

int known_open(struct chassis_consensus *n, struct chassis_error *err)
{
    char path[512];
    struct chassis_buf payload = {0};
    known_path(n, path);
    int rc = small_file_read(n->disk, path, known_magic, KNOWN_FORMAT, &payload, err);
    if (rc == CHASSIS_NOT_FOUND) {
        chassis_error_clear(err);
        return 0;
    }
    struct chassis_reader r = chassis_reader(chassis_buf_view(&payload));
    for (unsigned i = 0; rc == 0 && i < n->identity.n_members; i++) {
        n->known.boots[i] = chassis_read_le64(&r);
    }
    if (rc == 0 && (r.bad || chassis_reader_left(&r) != 0)) {
        rc = chassis_error_set(err, CHASSIS_CORRUPT, "'%s' is damaged at offset %d", path,
                               SMALL_FILE_HEADER_LEN);
    }
    chassis_buf_fini(&payload);
    return rc;
}

/* On the loop again. */
static void on_written(struct chassis_task *task)
{
    struct chassis_consensus *n = chassis_container_of(task, struct chassis_consensus, known.task);
    n->known.writing = false;
    known_turn(n);
    node_close_step(n);
}

static void write_run(struct chassis_task *task)
{
    struct chassis_consensus *n = chassis_container_of(task, struct chassis_consensus, known.task);
    struct chassis_error err = {0};
    struct chassis_buf payload = {0};
    char path[512];
    known_path(n, path);
    pthread_mutex_lock(&n->known.lock);
    n->known.dirty = false;
    for (unsigned i = 0; i < n->identity.n_members; i++) {
        chassis_buf_append_le64(&payload, n->known.boots[i]);
    }
    pthread_mutex_unlock(&n->known.lock);
    if (small_file_write(n->disk, path, known_magic, KNOWN_FORMAT, chassis_buf_view(&payload),
                         &err) != 0) {
        chassis_log_warn(n->log, "what is known of the other nodes was not written",
                         chassis_f_err(&err));
    }
    chassis_buf_fini(&payload);
    task->run = on_written;
    chassis_post(n->o.loop, task);
}

void known_turn(struct chassis_consensus *n)
{
    pthread_mutex_lock(&n->known.lock);
    bool dirty = n->known.dirty;
    pthread_mutex_unlock(&n->known.lock);
    if (dirty && !n->known.writing && !n->closing) {
        n->known.writing = true;
        n->known.task.run = write_run;
        chassis_post(n->o.worker, &n->known.task);
    }
}

static int refuse(struct chassis_consensus *n, uint64_t peer, bool older, struct chassis_error *err)
{
    const char *name = n->identity.members[peer - 1].name;
    char path[512];
    known_path(n, path);
    return older
               ? chassis_error_set(
                     err, CHASSIS_PERMISSION_DENIED,
                     "node '%s' runs with an older copy of its data than node '%s' knows of: what "
                     "it promised since is lost; put its newest data back, or see \"a node that "
                     "lost its data\" in docs/guide/backup-restore.md ('%s')",
                     name, n->identity.members[n->identity.id - 1].name, path)
               : chassis_error_set(
                     err, CHASSIS_PERMISSION_DENIED,
                     "node '%s' lost its data: it is not the one that node '%s' knows; put its "
                     "data directory back, or see \"a node that lost its data\" in "
                     "docs/guide/backup-restore.md ('%s')",
                     name, n->identity.members[n->identity.id - 1].name, path);
}

int known_admit(void *data, uint64_t peer, uint64_t boot, struct chassis_error *err)
{
    struct chassis_consensus *n = data;
    int rc = 0;
    if (peer_find(n, peer) == NULL) {
        return 0; /* refused elsewhere */
    }
    pthread_mutex_lock(&n->known.lock);
    uint64_t *known = &n->known.boots[peer - 1];
    if (*known != 0 && identity_incarnation(*known) != identity_incarnation(boot)) {
        rc = refuse(n, peer, false, err);
    } else if (boot < *known) {
        rc = refuse(n, peer, true, err);
    } else if (boot > *known) {
        *known = boot;
        n->known.dirty = true; /* the tick sees it */
    }
    pthread_mutex_unlock(&n->known.lock);
    return rc;
}
