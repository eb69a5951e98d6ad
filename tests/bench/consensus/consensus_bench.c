/* Our side: three nodes over the real peer stream, a state machine that only counts. */
#include <pthread.h>

#include "harness.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "consensus/options.h"
#include "consensus/transport_grpc.h"
#include "rpc/server.h"

struct driver {
    struct harness *h;
    struct chassis_consensus *node;
    struct chassis_executor *loop;
    struct chassis_timer timer;
    uint64_t issued, due_ns;
    bool driving;
};
struct command {
    struct chassis_proposal p;
    struct driver *d;
    uint64_t asked_ns;
};

static const char *const tables[] = {"count"};

static int apply(void *data, struct chassis_txn *txn, const struct chassis_entry *entry,
                 struct chassis_buf *ret_result)
{
    return 0;
}

static void on_done(struct chassis_proposal *p);

static void issue(struct command *c, uint64_t asked_ns)
{
    static const uint8_t bytes[COMMAND_BYTES] = {1};
    struct driver *d = c->d;
    memset(&c->p, 0, sizeof c->p);
    chassis_buf_append(&c->p.command, bytes, sizeof bytes);
    c->p.done = on_done;
    c->asked_ns = asked_ns;
    chassis_consensus_propose(d->node, &c->p);
}

static void on_done(struct chassis_proposal *p)
{
    struct command *c = chassis_container_of(p, struct command, p);
    chassis_buf_fini(&p->result);
    if (harness_answer(c->d->h, c->asked_ns, p->status)) {
        _exit(0);
    }
    if (c->d->h->rate == 0) {
        issue(c, harness_now());
    } else {
        free(c);
    }
}

/* With a rate: what is due by now, each counted from when it was due. */
static void on_timer(struct chassis_timer *timer)
{
    struct driver *d = chassis_container_of(timer, struct driver, timer);
    uint64_t step = 1000000000ULL / d->h->rate, now = harness_now();
    for (; d->due_ns <= now; d->due_ns += step) {
        struct command *c = chassis_base_zalloc(sizeof *c);
        c->d = d;
        issue(c, d->due_ns);
    }
    chassis_post_after(d->loop, &d->timer, 500000);
}

static void leadership(void *data, bool leader, uint64_t term)
{
    struct driver *d = data;
    if (!leader || d->driving) {
        return;
    }
    d->driving = true;
    harness_lead(d->h);
    if (d->h->rate != 0) {
        d->due_ns = harness_now();
        d->timer.run = on_timer;
        chassis_post_after(d->loop, &d->timer, 1);
        return;
    }
    for (unsigned i = 0; i < d->h->outstanding; i++) {
        struct command *c = chassis_base_zalloc(sizeof *c);
        c->d = d;
        issue(c, harness_now());
    }
}

static const struct chassis_state_machine_ops ops = {
    .apply = apply, .leadership = leadership, .version = 1};

static void or_die(int rc, struct chassis_error *err)
{
    if (rc != 0) {
        fprintf(stderr, "%s\n", chassis_error_text(err));
        _exit(1);
    }
}

static int run_node(struct harness *h)
{
    static struct driver d;
    static struct chassis_state_machine machine = {&ops, &d, tables, 1};
    struct chassis_error err = {0};
    struct chassis_executor *writer, *preparer, *apply_role;
    struct chassis_pool *pool;
    struct chassis_buf secret = {0};
    struct chassis_server *server;
    char names[NODES][8], members[NODES][64], directory[300], secret_file[300], address[40];
    const char *list[NODES];
    d.h = h;
    chassis_log_set_level("", CHASSIS_LOG_ERROR);
    for (unsigned i = 0; i < NODES; i++) {
        snprintf(names[i], sizeof names[i], "n%u", i + 1);
        snprintf(members[i], sizeof members[i], "n%u@127.0.0.1:%u", i + 1, h->ports[i]);
        list[i] = members[i];
    }
    snprintf(directory, sizeof directory, "%s/n%u", h->directory, h->index);
    snprintf(secret_file, sizeof secret_file, "%s/secret", h->directory);
    snprintf(address, sizeof address, "127.0.0.1:%u", h->ports[h->index]);
    or_die(chassis_os_thread_start("loop", &d.loop), &err);
    or_die(chassis_os_thread_start("journal", &writer), &err);
    or_die(chassis_os_thread_start("prepare", &preparer), &err);
    or_die(chassis_os_thread_start("apply", &apply_role), &err);
    or_die(chassis_os_pool_start("worker", 1, 64, &pool), &err);
    or_die(chassis_auth_secret_open(secret_file, false, &secret, &err), &err);
    struct chassis_transport_grpc_options to = {.cluster_secret_file = secret_file};
    struct chassis_transport *transport = chassis_transport_grpc_new(&to);
    struct chassis_listener_options listener = {.address = address};
    struct chassis_server_options so = {
        .listeners = &listener, .n_listeners = 1, .cluster_secret = chassis_buf_view(&secret)};
    or_die(chassis_server_new(&so, &server, &err), &err);
    or_die(chassis_server_add(server, chassis_transport_grpc_service(transport), &err), &err);
    or_die(chassis_server_start(server, &err), &err);
    struct chassis_consensus_options o = {.name = names[h->index],
                                          .members = list,
                                          .n_members = NODES,
                                          .secret = chassis_buf_view(&secret),
                                          .directory = directory,
                                          .disk = chassis_disk_posix(),
                                          .clock = chassis_clock_posix(),
                                          .loop = d.loop,
                                          .writer = writer,
                                          .preparer = preparer,
                                          .apply = apply_role,
                                          .worker = chassis_os_pool_executor(pool),
                                          .repository = &chassis_repository_memory,
                                          .machine = &machine,
                                          .transport = transport,
                                          .checkpoint_entries = 1ULL << 40,
                                          .checkpoint_bytes = 1ULL << 40};
    or_die(chassis_consensus_open(&o, &d.node, &err), &err);
    chassis_consensus_start(d.node, NULL, NULL);
    pause(); /* the leader's answers end the process, the parent the others */
    return 1;
}

static int make_secret(const char *directory)
{
    struct chassis_buf secret = {0};
    struct chassis_error err = {0};
    char path[300];
    mkdir(directory, 0700);
    snprintf(path, sizeof path, "%s/secret", directory);
    int rc = chassis_auth_secret_open(path, true, &secret, &err);
    chassis_buf_fini(&secret);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc == 5 && make_secret(argv[4]) != 0) {
        return 1;
    }
    return harness_main(argc, argv, run_node);
}
