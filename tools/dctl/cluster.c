/* dctl cluster status, transfer, backup: care for the nodes. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "connect.h"
#include "draft/cluster/v1/cluster.chassis.h"
#include "value.h"

typedef Draft__Cluster__V1__NodeStatus node_status;
typedef Draft__Cluster__V1__BackupChunk backup_chunk;

static const char *role_of(const node_status *n)
{
    if (!n->connected) {
        return "unreachable";
    }
    switch (n->role) {
    case DRAFT__CLUSTER__V1__ROLE__ROLE_STARTING:
        return "starting";
    case DRAFT__CLUSTER__V1__ROLE__ROLE_FOLLOWER:
        return "follower";
    case DRAFT__CLUSTER__V1__ROLE__ROLE_CANDIDATE:
        return "candidate";
    case DRAFT__CLUSTER__V1__ROLE__ROLE_LEADER:
        return "leader";
    case DRAFT__CLUSTER__V1__ROLE__ROLE_UNSPECIFIED:
    default:
        return "unknown";
    }
}

static void add_node(struct dctl *d, struct dctl_node *nodes, const node_status *n)
{
    struct chassis_arena *a = &d->arena;
    struct dctl_node *node = dctl_add(nodes, NULL, dctl_map(a));
    dctl_add_text(a, node, "id",
                  n->name[0] != '\0' ? n->name : chassis_arena_printf(a, "%" PRIu64, n->id));
    dctl_add_text(a, node, "address", n->address);
    dctl_add_text(a, node, "role", role_of(n));
    dctl_add_u64(a, node, "pid", n->pid);
    dctl_add_u64(a, node, "applied", n->applied);
    dctl_add_u64(a, node, "rss_bytes", n->rss_bytes);
    dctl_add_u64(a, node, "number", n->id);
    dctl_add_u64(a, node, "term", n->term);
    dctl_add_u64(a, node, "commit", n->commit);
    dctl_add_u64(a, node, "last_index", n->last_index);
    dctl_add_u64(a, node, "checkpoint_index", n->checkpoint_index);
    dctl_add_bool(a, node, "connected", n->connected);
    dctl_add_text(a, node, "version", n->version);
    dctl_add_u64(a, node, "uptime_ms", n->uptime_ms);
}

int dctl_cluster_status(struct dctl *d, int argc, char **argv)
{
    static const struct dctl_column columns[] = {
        {"NODE", "id", 0},       {"ADDRESS", "address", 0}, {"ROLE", "role", 0},
        {"PID", "pid", 0},       {"TERM", "term", 0},       {"APPLIED", "applied", 0},
        {"RSS", "rss_bytes", 0}, {"VERSION", "version", 0}, {0}};
    struct chassis_error err = {0};
    Draft__Cluster__V1__StatusRequest req = DRAFT__CLUSTER__V1__STATUS_REQUEST__INIT;
    Draft__Cluster__V1__StatusResponse *res;
    struct chassis_call_options options = dctl_call_options(d, 0);
    options.idempotent = true;
    if (dctl_client(d, &err) == NULL ||
        cluster_status_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    struct dctl_node *map = dctl_map(&d->arena);
    dctl_add_text(&d->arena, map, "leader", res->leader);
    dctl_add_text(&d->arena, map, "cluster_id", res->cluster_id);
    struct dctl_node *nodes = dctl_add(map, "nodes", dctl_list(&d->arena));
    for (size_t i = 0; i < res->n_nodes; i++) {
        add_node(d, nodes, res->nodes[i]);
    }
    if (d->format != DCTL_TABLE) {
        dctl_print(d, map, NULL);
        return DCTL_OK;
    }
    fprintf(d->out, "cluster %s, leader %s\n", res->cluster_id,
            res->leader[0] != '\0' ? res->leader : "unknown");
    dctl_print(d, nodes, columns);
    return DCTL_OK;
}

/* Only the leader hands over, and every node knows who that is. */
static int go_to_leader(struct dctl *d, struct chassis_error *err)
{
    Draft__Cluster__V1__StatusRequest req = DRAFT__CLUSTER__V1__STATUS_REQUEST__INIT;
    Draft__Cluster__V1__StatusResponse *res;
    struct chassis_call_options options = dctl_call_options(d, 0);
    if (dctl_client(d, err) == NULL) {
        return err->code;
    }
    int rc = cluster_status_sync(d->client, &req, &options, &d->arena, &res, err);
    for (size_t i = 0; rc == 0 && i < res->n_nodes; i++) {
        if (res->nodes[i]->role == DRAFT__CLUSTER__V1__ROLE__ROLE_LEADER) {
            return dctl_client_at(d, res->nodes[i]->address, err);
        }
    }
    return rc;
}

int dctl_cluster_transfer(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    Draft__Cluster__V1__TransferRequest req = DRAFT__CLUSTER__V1__TRANSFER_REQUEST__INIT;
    Draft__Cluster__V1__TransferResponse *res;
    struct chassis_call_options options = dctl_call_options(d, 0);
    if (argc != 0) {
        req.name = argv[0];
    }
    if (go_to_leader(d, &err) != 0 ||
        cluster_transfer_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    struct dctl_node *map = dctl_map(&d->arena);
    dctl_add_text(&d->arena, map, "leader", res->leader);
    if (d->format == DCTL_TABLE) {
        bool known = res->leader[0] != '\0';
        fprintf(d->out, "%s%s\n", res->leader, known ? " leads" : "leadership was handed over");
    } else {
        dctl_print(d, map, NULL);
    }
    return DCTL_OK;
}

/* A backup being received. Owner: the executor thread while the stream runs, then the main one. */
struct backup {
    int fd;
    uint64_t size; /* bytes received */
    uint64_t expected, index;
    uint32_t crc, expected_crc;
    bool complete;
    struct chassis_error err;
};

static bool write_all(int fd, const uint8_t *data, size_t len)
{
    while (len != 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool on_chunk(struct dctl_follower *f, const void *message, struct chassis_view encoded)
{
    struct backup *b = f->data;
    const backup_chunk *chunk = message;
    if (chunk->offset != b->size) {
        chassis_error_set(&b->err, CHASSIS_DATA_LOSS,
                          "the server sent byte %" PRIu64 " where %" PRIu64 " was due",
                          chunk->offset, b->size);
        return false;
    }
    if (!write_all(b->fd, chunk->data.data, chunk->data.len)) {
        chassis_error_code(&b->err, -errno, "write");
        return false;
    }
    b->crc = chassis_crc32c(b->crc, chunk->data.data, chunk->data.len);
    b->size += chunk->data.len;
    b->index = chunk->index != 0 ? chunk->index : b->index;
    b->expected = chunk->size != 0 ? chunk->size : b->expected;
    if (chunk->_crc32c_case != 0) {
        b->expected_crc = chunk->crc32c;
        b->complete = true;
    }
    return true;
}

/* Everything came, and came as it was sent? */
static int check_backup(const struct backup *b, struct chassis_error *err)
{
    if (b->err.code != 0) {
        return chassis_error_set(err, b->err.code, "%s", b->err.text);
    }
    if (!b->complete || (b->expected != 0 && b->expected != b->size)) {
        return chassis_error_set(err, CHASSIS_DATA_LOSS,
                                 "the backup ended after %" PRIu64 " of %" PRIu64 " bytes", b->size,
                                 b->expected);
    }
    if (b->crc != b->expected_crc) {
        return chassis_error_set(err, CHASSIS_DATA_LOSS,
                                 "the checksum is %08x, the server's %08x: received damaged",
                                 b->crc, b->expected_crc);
    }
    return 0;
}

static int sync_and_rename(int fd, const char *part, const char *file, struct chassis_error *err)
{
    if (fsync(fd) != 0) {
        return chassis_error_code(err, -errno, "sync '%s'", part);
    }
    if (link(part, file) != 0) { /* never over an older backup */
        return chassis_error_code(err, -errno, "name it '%s'", file);
    }
    return 0;
}

int dctl_cluster_backup(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    Draft__Cluster__V1__BackupRequest req = DRAFT__CLUSTER__V1__BACKUP_REQUEST__INIT;
    struct backup b = {0};
    struct dctl_follower follower = {.message = on_chunk, .d = d, .data = &b};
    struct chassis_call_options options = dctl_call_options(d, 0);
    const char *part = chassis_arena_printf(&d->arena, "%s.part.%d", argv[0], (int)getpid());
    if (access(argv[0], F_OK) == 0) {
        chassis_error_set(&err, CHASSIS_ALREADY_EXISTS, "'%s' exists: name a new file", argv[0]);
        return dctl_fail(d, &err);
    }
    b.fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (b.fd < 0) {
        chassis_error_code(&err, -errno, "create '%s'", part);
        return dctl_fail(d, &err);
    }
    int rc = dctl_follow(d, &cluster_backup_method, &req, &options, &follower, &err);
    rc = rc != 0 ? rc : check_backup(&b, &err);
    rc = rc != 0 ? rc : sync_and_rename(b.fd, part, argv[0], &err);
    close(b.fd);
    unlink(part);
    if (rc != 0) {
        chassis_error_wrap(&err, "back up to '%s'", argv[0]);
        return dctl_fail(d, &err);
    }
    struct dctl_node *map = dctl_map(&d->arena);
    dctl_add_text(&d->arena, map, "file", argv[0]);
    dctl_add_u64(&d->arena, map, "bytes", b.size);
    dctl_add_u64(&d->arena, map, "index", b.index);
    dctl_print(d, map, NULL);
    return DCTL_OK;
}
