/* The consensus node of a replicated service: its threads, its place on disk, its start and its
 * hand-over. */
#include <stdio.h>

#include "base/prng.h"
#include "consensus/restore.h"
#include "consensus/transport_grpc.h"
#include "runtime/internal.h"

enum { HAND_OVER_MS = 2000 };

struct runtime_cluster {
    struct chassis *c;
    struct chassis_executor *writer, *preparer, *apply;
    struct chassis_consensus *node;
    struct chassis_transport *transport; /* NULL on a lone node */
    struct chassis_tls_files tls;
    char member[600], directory[512], secret_file[600];
    const char *members[CHASSIS_CONSENSUS_NODES_MAX];
};

/* After the node, and the server that serves the transport, are gone. */
static void cluster_free(struct runtime_cluster *k)
{
    if (k->transport != NULL) {
        chassis_transport_grpc_free(k->transport);
    }
    struct chassis_executor **threads[] = {&k->apply, &k->writer, &k->preparer};
    for (unsigned i = 0; i < 3; i++) {
        if (*threads[i] != NULL) {
            chassis_os_thread_stop(*threads[i]);
            *threads[i] = NULL;
        }
    }
    chassis_secret_wipe(&k->c->cluster_secret);
    k->c->cluster = NULL;
    free(k);
}

static int start_threads(struct runtime_cluster *k, struct chassis_error *err)
{
    int rc = chassis_os_thread_start_prompt("journal", &k->writer);
    rc = rc == 0 ? chassis_os_thread_start("prepare", &k->preparer) : rc;
    rc = rc == 0 ? chassis_os_thread_start("apply", &k->apply) : rc;
    return rc == 0 ? 0 : chassis_error_code(err, rc, "start the threads of consensus");
}

/* The secret proves that a node belongs to the cluster: a lone node or the one that bootstraps makes
 * it, the others are given a copy of the file. */
static int open_secret(struct runtime_cluster *k, struct chassis_error *err)
{
    const struct chassis_settings *s = &k->c->settings;
    if (s->raft_secret_file != NULL && s->raft_secret_file[0] != '\0') {
        snprintf(k->secret_file, sizeof k->secret_file, "%s", s->raft_secret_file);
    } else {
        snprintf(k->secret_file, sizeof k->secret_file, "%s/cluster-secret", s->data_directory);
    }
    bool create = s->raft_bootstrap || s->raft_members.n <= 1;
    return chassis_auth_secret_open(k->secret_file, create, &k->c->cluster_secret, err);
}

static const char *node_name(const struct chassis_settings *s)
{
    return s->node_id != NULL ? s->node_id : s->name;
}

static int list_members(struct runtime_cluster *k, unsigned *ret_n, struct chassis_error *err)
{
    const struct chassis_settings *s = &k->c->settings;
    if (s->raft_members.n > CHASSIS_CONSENSUS_NODES_MAX) {
        return chassis_error_set(err, CHASSIS_CONFIG, "raft.members: %zu nodes, at most %d",
                                 s->raft_members.n, CHASSIS_CONSENSUS_NODES_MAX);
    }
    if (s->raft_members.n == 0) {
        int64_t port = s->raft_port != 0 ? s->raft_port : s->bind_port;
        snprintf(k->member, sizeof k->member, "%s@%s:%lld", node_name(s), s->raft_host,
                 (long long)port);
        k->members[0] = k->member;
        *ret_n = 1;
        return 0;
    }
    for (size_t i = 0; i < s->raft_members.n; i++) {
        k->members[i] = s->raft_members.items[i];
    }
    *ret_n = (unsigned)s->raft_members.n;
    return 0;
}

static int open_node(struct runtime_cluster *k, struct chassis_error *err)
{
    const struct chassis_settings *s = &k->c->settings;
    unsigned n_members = 0;
    int rc = list_members(k, &n_members, err);
    if (rc != 0) {
        return rc;
    }
    if (n_members > 1) {
        k->tls = (struct chassis_tls_files){s->tls_ca, s->tls_certificate, s->tls_key, NULL};
        struct chassis_transport_grpc_options transport = {
            .tls = k->c->identity != NULL ? &k->tls : NULL, .cluster_secret_file = k->secret_file};
        k->transport = chassis_transport_grpc_new(&transport);
    }
    struct chassis_consensus_options options = {
        .name = node_name(s),
        .members = k->members,
        .n_members = n_members,
        .secret = chassis_buf_view(&k->c->cluster_secret),
        .directory = k->directory,
        .disk = chassis_disk_posix(),
        .clock = chassis_clock_posix(),
        .loop = chassis_loop(k->c),
        .writer = k->writer,
        .preparer = k->preparer,
        .apply = k->apply,
        .worker = chassis_workers(k->c),
        .repository = &chassis_repository_lmdb,
        .store_bytes_max = s->store_bytes_max,
        .machine = k->c->machine,
        .transport = k->transport,
        .election_ms = (unsigned)s->election_ms,
        .heartbeat_ms = (unsigned)s->heartbeat_ms,
        .checkpoint_entries = (uint64_t)s->checkpoint_entries,
        .checkpoint_bytes = s->checkpoint_bytes,
        .segment_bytes = s->segment_bytes,
        .reserve_bytes = s->reserve_bytes,
    };
    return chassis_consensus_open(&options, &k->node, err);
}

/* The place on disk and the secret. */
static int open_place(struct runtime_cluster *k, struct chassis_error *err)
{
    struct chassis_disk *disk = chassis_disk_posix();
    const char *data = k->c->settings.data_directory;
    snprintf(k->directory, sizeof k->directory, "%s/consensus", data);
    int rc = disk->ops->mkdir(disk, data);
    return rc == 0 ? open_secret(k, err) : chassis_error_code(err, rc, "make directory '%s'", data);
}

int stage_cluster(struct chassis *c, struct chassis_error *err)
{
    if (c->machine == NULL) {
        return 0;
    }
    struct runtime_cluster *k = chassis_base_zalloc(sizeof *k);
    k->c = c;
    c->cluster = k;
    int rc = open_place(k, err);
    rc = rc == 0 ? start_threads(k, err) : rc;
    rc = rc == 0 ? open_node(k, err) : rc;
    if (rc != 0) {
        cluster_free(k);
    }
    return rc;
}

/* One-shot: a thread waits for what happens on the loop. */
struct waiter {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
};

static void waiter_init(struct waiter *w)
{
    memset(w, 0, sizeof *w);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->cond, NULL);
}

static void waiter_hit(struct waiter *w)
{
    pthread_mutex_lock(&w->mutex);
    w->done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mutex);
}

static void waiter_wait(struct waiter *w)
{
    pthread_mutex_lock(&w->mutex);
    while (!w->done) {
        pthread_cond_wait(&w->cond, &w->mutex);
    }
    pthread_mutex_unlock(&w->mutex);
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->mutex);
}

static void on_closed(void *data)
{
    waiter_hit(data);
}

void unstage_cluster(struct chassis *c)
{
    struct runtime_cluster *k = c->cluster;
    if (k == NULL) {
        return;
    }
    struct waiter waiter;
    waiter_init(&waiter);
    chassis_consensus_close(k->node, on_closed, &waiter);
    waiter_wait(&waiter);
    cluster_free(k);
}

/* A node whose files do not fit one another does not serve: the process ends, and says why. */
static void on_node_ready(int status, const char *text, void *data)
{
    struct chassis *c = data;
    if (status != 0) {
        chassis_log_fatal(c->log, "this node cannot take part", chassis_f_code(status),
                          chassis_f_str("text", text));
    }
    pthread_mutex_lock(&c->mutex);
    c->cluster_ready = status == 0;
    c->failed = c->failed || status != 0;
    pthread_mutex_unlock(&c->mutex);
    if (status != 0) {
        chassis_stop(c);
    }
}

/* A node that stands alone and is in no list is where its listener turned out to be. */
static void set_own_address(struct chassis *c)
{
    const struct chassis_settings *s = &c->settings;
    char address[sizeof c->rpc_address];
    bool far = strncmp(s->bind_address, "127.", 4) != 0 && strcmp(s->bind_address, "::1") != 0 &&
               strcmp(s->bind_address, "localhost") != 0 &&
               strcmp(s->bind_address, "0.0.0.0") != 0 && strcmp(s->bind_address, "::") != 0;
    if (s->raft_members.n != 0) {
        return;
    }
    if (far && strcmp(s->raft_host, "localhost") == 0) {
        snprintf(address, sizeof address, "%s", c->rpc_address);
    } else {
        bool bare_v6 = strchr(s->raft_host, ':') != NULL && s->raft_host[0] != '[';
        snprintf(address, sizeof address, bare_v6 ? "[%s]:%u" : "%s:%u", s->raft_host,
                 (unsigned)chassis_server_port(c->server, 0));
    }
    chassis_consensus_set_address(c->cluster->node, address);
}

/* With a second listener for peers the others learn where this node serves clients: on the host they
 * dial, unless configured. */
static void set_service_address(struct chassis *c)
{
    const struct chassis_settings *s = &c->settings;
    struct chassis_consensus_status status;
    char address[CHASSIS_CONSENSUS_ADDRESS_MAX + 32];
    if (!settings_peer_listener(s) || s->raft_members.n == 0) {
        return;
    }
    chassis_consensus_status(c->cluster->node, &status);
    const char *dialled = status.members[status.id - 1].address;
    const char *colon = strrchr(dialled, ':');
    int host = colon != NULL ? (int)(colon - dialled) : (int)strlen(dialled);
    if (s->internal_host != NULL) {
        snprintf(address, sizeof address, "%s", c->rpc_address);
    } else {
        int64_t port = s->internal_port != 0 ? s->internal_port : chassis_server_port(c->server, 0);
        snprintf(address, sizeof address, "%.*s:%lld", host, dialled, (long long)port);
    }
    chassis_consensus_set_service_address(c->cluster->node, address);
}

int stage_cluster_start(struct chassis *c, struct chassis_error *err)
{
    if (c->cluster != NULL) {
        set_own_address(c);
        set_service_address(c);
        chassis_consensus_start(c->cluster->node, on_node_ready, c);
    }
    return 0;
}

/* A hand-over may never end (the others are gone too): it is waited for a limited time, and whoever
 * comes last, the waiting thread or the answer, frees. */
struct hand_over {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done, abandoned;
    int status;
};

static void hand_over_free(struct hand_over *h)
{
    pthread_cond_destroy(&h->cond);
    pthread_mutex_destroy(&h->mutex);
    free(h);
}

static void on_transferred(int status, const char *text, void *data)
{
    struct hand_over *h = data;
    pthread_mutex_lock(&h->mutex);
    h->done = true;
    h->status = status;
    bool abandoned = h->abandoned;
    pthread_cond_signal(&h->cond);
    pthread_mutex_unlock(&h->mutex);
    if (abandoned) {
        hand_over_free(h);
    }
}

static int hand_over_wait(struct hand_over *h)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += HAND_OVER_MS / 1000;
    int rc = 0;
    pthread_mutex_lock(&h->mutex);
    while (!h->done && rc == 0) {
        rc = pthread_cond_timedwait(&h->cond, &h->mutex, &until);
    }
    bool done = h->done;
    int status = done ? h->status : CHASSIS_DEADLINE_EXCEEDED;
    h->abandoned = !done;
    pthread_mutex_unlock(&h->mutex);
    if (done) {
        hand_over_free(h);
    }
    return status;
}

void cluster_hand_over(struct chassis *c)
{
    struct chassis_consensus_status status;
    if (c->cluster == NULL) {
        return;
    }
    chassis_consensus_status(c->cluster->node, &status);
    if (status.role != CHASSIS_ROLE_LEADER || status.n_members == 1) {
        return;
    }
    struct hand_over *h = chassis_base_zalloc(sizeof *h);
    pthread_mutex_init(&h->mutex, NULL);
    pthread_cond_init(&h->cond, NULL);
    chassis_consensus_transfer(c->cluster->node, 0, on_transferred, h);
    int rc = hand_over_wait(h); /* not inside the record, which the level may leave out */
    chassis_log_info(c->log, "leadership handed over", chassis_f_code(rc));
}

bool cluster_ready(void *data)
{
    struct chassis *c = data;
    struct chassis_consensus_status status;
    pthread_mutex_lock(&c->mutex);
    bool started = c->cluster_ready;
    pthread_mutex_unlock(&c->mutex);
    if (!started) {
        return false;
    }
    chassis_consensus_status(c->cluster->node, &status);
    return status.leader_id != 0;
}

struct chassis_consensus *cluster_node(struct chassis *c)
{
    return c->cluster != NULL ? c->cluster->node : NULL;
}

int cluster_add_services(struct chassis *c, struct chassis_error *err)
{
    if (c->cluster == NULL || c->cluster->transport == NULL) {
        return 0;
    }
    return chassis_server_add(c->server, chassis_transport_grpc_service(c->cluster->transport),
                              err);
}

/* --- restoring --------------------------------------------------------------------------------- */

/* 32 hexadecimal digits; drawn when there is no text. */
static int read_origin(const char *text, uint8_t out[IDENTITY_ORIGIN_LEN],
                       struct chassis_error *err)
{
    if (text == NULL) {
        chassis_base_random_bytes(out, IDENTITY_ORIGIN_LEN);
        out[0] |= 1; /* not zero */
        return 0;
    }
    size_t n = 0, len = strlen(text);
    for (; n < IDENTITY_ORIGIN_LEN && len == 2 * IDENTITY_ORIGIN_LEN; n++) {
        unsigned byte;
        if (strspn(text + 2 * n, "0123456789abcdef") < 2 ||
            sscanf(text + 2 * n, "%2x", &byte) != 1) {
            break;
        }
        out[n] = (uint8_t)byte;
    }
    return n == IDENTITY_ORIGIN_LEN
               ? 0
               : chassis_error_set(err, CHASSIS_CONFIG,
                                   "--restore-id '%s' is not the 32 digits that the first node "
                                   "printed",
                                   text);
}

static void print_hex(const char *before, const uint8_t *bytes, const char *after)
{
    printf("%s", before);
    for (unsigned i = 0; i < 16; i++) {
        printf("%02x", bytes[i]);
    }
    printf("%s", after);
}

static int restore(struct runtime_cluster *k, const char *file, const char *origin,
                   struct chassis_error *err)
{
    struct chassis_consensus_restored restored;
    struct chassis_consensus_restore o = {
        .file = file,
        .name = node_name(&k->c->settings),
        .members = k->members,
        .directory = k->directory,
        .disk = chassis_disk_posix(),
        .machine = k->c->machine,
    };
    int rc = read_origin(origin, o.origin, err);
    rc = rc == 0 ? list_members(k, &o.n_members, err) : rc;
    rc = rc == 0 ? open_place(k, err) : rc;
    o.secret = chassis_buf_view(&k->c->cluster_secret);
    rc = rc == 0 ? chassis_consensus_restore(&o, &restored, err) : rc;
    if (rc != 0) {
        return rc;
    }
    printf("restored: node '%s' in '%s' up to log index %llu\n", o.name, k->directory,
           (unsigned long long)restored.index);
    print_hex("cluster: ", restored.cluster_id, "\n");
    if (o.n_members > 1 && origin == NULL) {
        printf("on every other node, before its first start:\n");
        print_hex("    --restore FILE --restore-id ", o.origin, "\n");
    }
    return 0;
}

int chassis_runtime_restore(struct chassis *c, const char *file, const char *id)
{
    struct chassis_error err = {0};
    CHASSIS_ASSERT(c->machine != NULL);
    int result = runtime_load(c);
    if (result < 0) {
        struct runtime_cluster *k = chassis_base_zalloc(sizeof *k);
        k->c = c;
        int rc = restore(k, file, id, &err);
        if (rc != 0) {
            fprintf(stderr, "%s: not restored: %s\n", c->name, chassis_error_text(&err));
        }
        result = rc == 0 ? 0 : rc == CHASSIS_CONFIG ? 2 : 1;
        cluster_free(k);
    }
    runtime_free(c);
    return result;
}
