/* Whole nodes on real threads, disks and sockets, in one process. */
#ifndef DRAFT_CONSENSUS_RIG_H
#define DRAFT_CONSENSUS_RIG_H

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "test.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "consensus/options.h"
#include "consensus/transport_grpc.h"
#include "rpc/server.h"

struct rig_node {
    char directory[300], name[8], address[64];
    uint16_t port;
    struct chassis_executor *loop, *writer, *preparer, *apply;
    struct chassis_pool *workers;
    struct chassis_server *server;
    struct chassis_transport *transport;
    struct chassis_consensus *node;
    struct chassis_state_machine machine;
    atomic_int ready, leading, committed;
    char refusal[512];
    uint64_t store_bytes_max;
};
struct rig {
    char root[256];
    unsigned n;
    struct rig_node nodes[3];
    char members[3][96];
    const char *member_list[3];
    uint64_t checkpoint_entries;
};

static const char *const rig_tables[] = {"values"};

/* "key=value" sets; the result is the log index. */
static int rig_apply(void *data, struct chassis_txn *txn, const struct chassis_entry *entry,
                     struct chassis_buf *ret_result)
{
    const uint8_t *eq = memchr(entry->command.data, '=', entry->command.len);
    if (eq == NULL) {
        return CHASSIS_INVALID_ARGUMENT;
    }
    size_t key_len = (size_t)(eq - entry->command.data);
    CHASSIS_ASSERT(chassis_txn_put(txn, 0, chassis_view(entry->command.data, key_len),
                                   chassis_view(eq + 1, entry->command.len - key_len - 1)) == 0);
    chassis_buf_append_le64(ret_result, entry->index);
    return 0;
}
static void rig_leadership(void *data, bool leader, uint64_t term)
{
    atomic_store(&((struct rig_node *)data)->leading, leader);
}
static int rig_ask(void *data, uint64_t from, struct chassis_view question,
                   struct chassis_buf *ret_answer)
{
    chassis_buf_printf(ret_answer, "%s heard %.*s from %llu", ((struct rig_node *)data)->name,
                       CHASSIS_VIEW_ARG(question), (unsigned long long)from);
    return 0;
}
static const struct chassis_state_machine_ops rig_ops = {
    .apply = rig_apply, .leadership = rig_leadership, .ask = rig_ask, .version = 3};

/* --- waiting: conditions, never a fixed time --------------------------------------------------- */

static inline bool rig_wait(bool (*done)(void *), void *data, unsigned timeout_ms)
{
    uint64_t end = chassis_os_monotonic_ns() + timeout_ms * CHASSIS_NS_PER_MS;
    while (!done(data)) {
        if (chassis_os_monotonic_ns() > end) {
            return false;
        }
        poll(NULL, 0, 1);
    }
    return true;
}

struct rig_done {
    atomic_int done;
};
static inline bool rig_is_done(void *data)
{
    return atomic_load(&((struct rig_done *)data)->done) != 0;
}
static inline bool rig_is_ready(void *data)
{
    return atomic_load(&((struct rig_node *)data)->ready) != 0;
}

struct rig_proposal {
    struct rig_done done;
    struct chassis_proposal p;
};
static inline void rig_proposed(struct chassis_proposal *p)
{
    atomic_store(&chassis_container_of(p, struct rig_proposal, p)->done.done, 1);
}
static inline int rig_propose(struct rig_node *node, const char *command, const char *id,
                              uint64_t timeout_ms, uint64_t *ret_index)
{
    struct rig_proposal *r = chassis_base_zalloc(sizeof *r);
    chassis_buf_append_str(&r->p.command, command);
    r->p.request_id = chassis_view_str(id);
    r->p.timeout_ns = timeout_ms * CHASSIS_NS_PER_MS;
    r->p.done = rig_proposed;
    chassis_consensus_propose(node->node, &r->p);
    assert_true(rig_wait(rig_is_done, &r->done, 20000));
    int status = r->p.status;
    if (ret_index != NULL && r->p.result.len == 8) {
        *ret_index = chassis_get_le64(r->p.result.data);
    }
    if (status != 0) {
        print_message("propose '%.40s': %s\n", command, chassis_error_text(&r->p.error));
    }
    chassis_buf_fini(&r->p.result);
    free(r);
    return status;
}

struct rig_read {
    struct rig_done done;
    struct chassis_read r;
};
static inline void rig_read_done(struct chassis_read *r)
{
    atomic_store(&chassis_container_of(r, struct rig_read, r)->done.done, 1);
}
static inline int rig_get(struct rig_node *node, const char *key, char out[64])
{
    struct rig_read *r = chassis_base_zalloc(sizeof *r);
    r->r.done = rig_read_done;
    chassis_consensus_read(node->node, &r->r);
    assert_true(rig_wait(rig_is_done, &r->done, 20000));
    int status = r->r.status;
    free(r);
    if (status != 0) {
        return status;
    }
    struct chassis_store *store = chassis_consensus_store_acquire(node->node);
    struct chassis_txn *txn;
    struct chassis_view v;
    assert_int_equal(chassis_store_begin(store, false, &txn, NULL), 0);
    status = chassis_txn_get(txn, 0, chassis_view_str(key), &v);
    if (status == 0) {
        snprintf(out, 64, "%.*s", CHASSIS_VIEW_ARG(v));
    }
    chassis_txn_abort(txn);
    chassis_consensus_store_release(node->node, store);
    return status;
}

/* --- life -------------------------------------------------------------------------------------- */

static inline void rig_ready(int status, const char *text, void *data)
{
    struct rig_node *node = data;
    snprintf(node->refusal, sizeof node->refusal, "%s", text);
    atomic_store(&node->ready, status == 0 ? 1 : status);
}

static inline int rig_start(struct rig *rig, unsigned i, struct chassis_error *err)
{
    struct rig_node *n = &rig->nodes[i];
    char store[340];
    atomic_store(&n->ready, 0);
    atomic_store(&n->leading, 0);
    assert_int_equal(chassis_os_thread_start("loop", &n->loop), 0);
    assert_int_equal(chassis_os_thread_start("writer", &n->writer), 0);
    assert_int_equal(chassis_os_thread_start("preparer", &n->preparer), 0);
    assert_int_equal(chassis_os_thread_start("apply", &n->apply), 0);
    assert_int_equal(chassis_os_pool_start("work", 1, 64, &n->workers), 0);
    snprintf(store, sizeof store, "%s/store", n->directory);
    n->machine = (struct chassis_state_machine){
        .ops = &rig_ops, .data = n, .tables = rig_tables, .n_tables = 1};
    struct chassis_listener_options listener = {.address = n->address};
    struct chassis_server_options so = {.listeners = &listener,
                                        .n_listeners = 1,
                                        .cluster_secret = chassis_view_str("a test's secret")};
    struct chassis_transport_grpc_options to = {.cluster_secret_file = NULL};
    char secret[300];
    if (rig->n > 1) {
        snprintf(secret, sizeof secret, "%s/secret", rig->root);
        to.cluster_secret_file = secret;
        struct chassis_buf value = {0};
        assert_int_equal(chassis_auth_secret_open(secret, true, &value, err), 0);
        so.cluster_secret = chassis_buf_view(&value);
        n->transport = chassis_transport_grpc_new(&to);
        assert_int_equal(chassis_server_new(&so, &n->server, err), 0);
        assert_int_equal(
            chassis_server_add(n->server, chassis_transport_grpc_service(n->transport), err), 0);
        if (chassis_server_start(n->server, err) != 0) {
            print_message("%s\n", err->text);
            fail();
        }
        chassis_buf_fini(&value);
    }
    struct chassis_consensus_options o = {
        .name = n->name,
        .members = rig->member_list,
        .n_members = rig->n,
        .secret = chassis_view_str("a test's secret"),
        .directory = n->directory,
        .store_directory = store,
        .disk = chassis_disk_posix(),
        .clock = chassis_clock_posix(),
        .loop = n->loop,
        .writer = n->writer,
        .preparer = n->preparer,
        .apply = n->apply,
        .worker = chassis_os_pool_executor(n->workers),
        .repository = &chassis_repository_lmdb,
        .store_bytes_max = n->store_bytes_max != 0 ? n->store_bytes_max : 1 << 30,
        .machine = &n->machine,
        .transport = n->transport,
        .election_ms = 300,
        .heartbeat_ms = 50,
        .checkpoint_entries = rig->checkpoint_entries,
        .trailing_entries = 8,
        .segment_bytes = 1 << 20,
        .reserve_bytes = 1 << 20,
    };
    int rc = chassis_consensus_open(&o, &n->node, err);
    if (rc == 0) {
        chassis_consensus_start(n->node, rig_ready, n);
    } else {
        n->node = NULL;
    }
    return rc;
}

static inline void rig_closed(void *data)
{
    atomic_store(&((struct rig_done *)data)->done, 1);
}

static inline void rig_stop(struct rig *rig, unsigned i)
{
    struct rig_node *n = &rig->nodes[i];
    if (n->loop == NULL) {
        return;
    }
    if (n->node != NULL) {
        struct rig_done *done = chassis_base_zalloc(sizeof *done);
        chassis_consensus_close(n->node, rig_closed, done);
        assert_true(rig_wait(rig_is_done, done, 20000));
        free(done);
        n->node = NULL;
    }
    if (n->server != NULL) {
        chassis_server_drain(n->server, 100);
        chassis_server_free(n->server);
        n->server = NULL;
    }
    chassis_os_pool_stop(n->workers);
    chassis_transport_grpc_free(n->transport);
    n->transport = NULL;
    chassis_os_thread_stop(n->loop);
    chassis_os_thread_stop(n->apply);
    chassis_os_thread_stop(n->writer);
    chassis_os_thread_stop(n->preparer);
    n->loop = NULL;
}

static inline uint16_t rig_free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static inline void rig_init(struct rig *rig, unsigned n)
{
    memset(rig, 0, sizeof *rig);
    char root[256];
    test_tmpdir(root);
    memcpy(rig->root, root, sizeof root);
    rig->n = n;
    rig->checkpoint_entries = 100000;
    for (unsigned i = 0; i < n; i++) {
        struct rig_node *node = &rig->nodes[i];
        node->port = rig_free_port();
        snprintf(node->name, sizeof node->name, "n%u", i + 1);
        snprintf(node->address, sizeof node->address, "127.0.0.1:%u", node->port);
        snprintf(node->directory, sizeof node->directory, "%.250s/n%u", root, i + 1);
        snprintf(rig->members[i], sizeof rig->members[i], "n%u@127.0.0.1:%u", i + 1, node->port);
        rig->member_list[i] = rig->members[i];
    }
}

static inline void rig_fini(struct rig *rig)
{
    for (unsigned i = 0; i < rig->n; i++) {
        rig_stop(rig, i);
    }
    test_rmtree(rig->root);
}

#endif
