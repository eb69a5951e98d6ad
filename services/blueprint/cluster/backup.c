/* Backup: the newest checkpoint file in chunks, after asking for a fresh one. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/hash.h"
#include "consensus/options.h"
#include "internal.h"

enum { CHUNK_BYTES = 256 << 10, BURST_CHUNKS = 16 };

/* Lives from the request to the end of the stream; runs on workers, one step at a time. */
struct backup {
    struct chassis_call *call;
    struct bp_cluster *cluster;
    struct chassis_task task;
    int fd;
    uint64_t offset, size, index;
    uint32_t crc;
    uint8_t *chunk;
    atomic_int parked; /* 1: a step waits for room in the queue; who takes it back to 0 posts it */
};

static void end(struct backup *b, int code, const char *text)
{
    struct chassis_call *call = b->call;
    if (code != 0) {
        chassis_call_fail(call, code, "%s", text);
    } else {
        chassis_call_finish(call);
    }
    /* The call waited for its callbacks: nobody knows of `b` any more. */
    if (b->fd >= 0) {
        close(b->fd);
    }
    free(b->chunk);
    free(b);
}

static void unpark(struct backup *b)
{
    int one = 1;
    if (atomic_compare_exchange_strong(&b->parked, &one, 0)) {
        chassis_post(chassis_workers(b->cluster->chassis), &b->task);
    }
}

static void on_event(struct chassis_call *call, void *data)
{
    unpark(data);
}

static int send_chunk(struct backup *b, size_t len, bool last)
{
    CL(BackupChunk) chunk = CL_INIT(BACKUP_CHUNK);
    chunk.data.data = b->chunk;
    chunk.data.len = len;
    chunk.offset = b->offset;
    chunk.size = b->size;
    chunk.index = b->index;
    if (last) {
        chunk._crc32c_case = DRAFT__CLUSTER__V1__BACKUP_CHUNK___CRC32C_CRC32C;
        chunk.crc32c = b->crc;
    }
    return cluster_backup_send(b->call, &chunk);
}

/* One chunk. 1 = sent, 0 = all are sent, -EAGAIN = no room, other negative = failed. */
static int step(struct backup *b)
{
    size_t want = b->size - b->offset < CHUNK_BYTES ? (size_t)(b->size - b->offset) : CHUNK_BYTES;
    ssize_t n = pread(b->fd, b->chunk, want, (off_t)b->offset);
    if (n < 0 || (size_t)n != want) {
        return CHASSIS_DATA_LOSS;
    }
    uint32_t before = b->crc;
    b->crc = chassis_crc32c(b->crc, b->chunk, want);
    bool last = b->offset + want == b->size;
    int r = send_chunk(b, want, last);
    if (r == CHASSIS_RESOURCE_EXHAUSTED) {
        b->crc = before;
        return -EAGAIN;
    }
    b->offset += want;
    return r != 0 ? r : last ? 0 : 1;
}

static void run(struct chassis_task *task)
{
    struct backup *b = chassis_container_of(task, struct backup, task);
    int r = 1;
    for (unsigned i = 0; i < BURST_CHUNKS && r == 1; i++) {
        r = chassis_call_cancelled(b->call) ? CHASSIS_CANCELLED : step(b);
    }
    if (r == 1) {
        chassis_post(chassis_workers(b->cluster->chassis), &b->task);
    } else if (r == -EAGAIN) {
        atomic_store(&b->parked, 1);
        /* Room may have come between the refusal and here. */
        if (chassis_call_queued_bytes(b->call) == 0 || chassis_call_cancelled(b->call)) {
            unpark(b);
        }
    } else {
        end(b, r, "the backup was not sent completely: take it again");
    }
}

static void checkpointed(int status, uint64_t index, void *data)
{
    struct backup *b = data;
    char path[512];
    struct chassis_consensus *node = chassis_consensus(b->cluster->chassis);
    if (status != 0 && status != CHASSIS_ALREADY_EXISTS) {
        end(b, status,
            status == CHASSIS_SHUTTING_DOWN
                ? "the node is shutting down: ask another"
                : "no checkpoint could be written: see the log of the node");
        return;
    }
    chassis_consensus_checkpoint_path(node, path);
    struct chassis_consensus_status now;
    chassis_consensus_status(node, &now);
    b->index = now.checkpoint_index;
    b->fd = path[0] != '\0' ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    struct stat st;
    if (b->fd < 0 || fstat(b->fd, &st) != 0) {
        end(b, CHASSIS_UNAVAILABLE, "the checkpoint cannot be opened: see the log of the node");
        return;
    }
    b->size = (uint64_t)st.st_size;
    b->chunk = chassis_base_alloc(CHUNK_BYTES);
    chassis_call_on_writable(b->call, on_event, b);
    chassis_call_on_cancel(b->call, on_event, b);
    chassis_post(chassis_workers(b->cluster->chassis), &b->task);
}

void bp_cluster_rpc_backup(struct chassis_call *call, const CL(BackupRequest) * req)
{
    struct backup *b = chassis_base_zalloc(sizeof *b);
    b->call = call;
    b->cluster = chassis_call_data(call);
    b->fd = -1;
    b->task.run = run;
    chassis_consensus_checkpoint(chassis_consensus(b->cluster->chassis), checkpointed, b);
}
