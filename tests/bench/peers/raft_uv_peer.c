/* libraft's own raft_uv in the same harness: its disk and network, a state machine that only counts. */
#include <raft.h>
#include <raft/uv.h>
#include <uv.h>

#include "../consensus/harness.h"

struct driver {
    struct harness *h;
    struct raft raft;
    struct raft_io io;
    struct raft_fsm fsm;
    struct raft_uv_transport transport;
    struct uv_loop_s loop;
    struct uv_timer_s timer;
    int driving;
    uint64_t due_ns;
};
struct command {
    struct raft_apply req;
    struct driver *d;
    uint64_t asked_ns;
};

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    *result = NULL;
    return 0;
}
static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    *n_bufs = 1;
    *bufs = raft_malloc(sizeof **bufs);
    (*bufs)[0].len = 8;
    (*bufs)[0].base = raft_calloc(1, 8);
    return 0;
}
static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
    raft_free(buf->base);
    return 0;
}

static void on_applied(struct raft_apply *req, int status, void *result);

static void issue(struct command *c, uint64_t asked_ns)
{
    struct raft_buffer buf = {raft_calloc(1, COMMAND_BYTES), COMMAND_BYTES};
    c->asked_ns = asked_ns;
    c->req.data = c;
    if (raft_apply(&c->d->raft, &c->req, &buf, 1, on_applied) != 0) {
        fprintf(stderr, "apply: %s\n", raft_errmsg(&c->d->raft));
        _exit(1);
    }
}

static void on_applied(struct raft_apply *req, int status, void *result)
{
    struct command *c = req->data;
    if (harness_answer(c->d->h, c->asked_ns, status)) {
        _exit(0);
    }
    if (c->d->h->rate == 0) {
        issue(c, harness_now());
    } else {
        free(c);
    }
}

static void drive(struct driver *d)
{
    if (!d->driving) {
        d->driving = 1;
        d->due_ns = harness_now();
        harness_lead(d->h);
        for (unsigned i = 0; d->h->rate == 0 && i < d->h->outstanding; i++) {
            struct command *c = calloc(1, sizeof *c);
            c->d = d;
            issue(c, harness_now());
        }
    }
    for (; d->h->rate != 0 && d->due_ns <= harness_now(); d->due_ns += 1000000000ULL / d->h->rate) {
        struct command *c = calloc(1, sizeof *c);
        c->d = d;
        issue(c, d->due_ns);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct driver *d = timer->data;
    if (raft_state(&d->raft) == RAFT_LEADER) {
        drive(d);
    } else if (d->driving) {
        fprintf(stderr, "leadership was lost\n");
        _exit(1);
    }
}

static int run_node(struct harness *h)
{
    static struct driver d;
    struct raft_configuration conf;
    char directory[300], address[NODES][40];
    d.h = h;
    snprintf(directory, sizeof directory, "%s/n%u", h->directory, h->index);
    mkdir(directory, 0700);
    d.fsm = (struct raft_fsm){
        .version = 1, .apply = fsm_apply, .snapshot = fsm_snapshot, .restore = fsm_restore};
    raft_configuration_init(&conf);
    for (unsigned i = 0; i < NODES; i++) {
        snprintf(address[i], sizeof address[i], "127.0.0.1:%u", h->ports[i]);
        raft_configuration_add(&conf, i + 1, address[i], RAFT_VOTER);
    }
    d.transport.version = 1;
    if (uv_loop_init(&d.loop) != 0 || raft_uv_tcp_init(&d.transport, &d.loop) != 0 ||
        raft_uv_init(&d.io, &d.loop, directory, &d.transport) != 0 ||
        raft_init(&d.raft, &d.io, &d.fsm, h->index + 1, address[h->index]) != 0 ||
        raft_bootstrap(&d.raft, &conf) != 0) {
        fprintf(stderr, "raft_uv: %s\n", raft_errmsg(&d.raft));
        return 1;
    }
    raft_set_snapshot_threshold(&d.raft, 1U << 31); /* neither side takes snapshots here */
    raft_set_max_inflight_entries(&d.raft, 4096);
    if (raft_start(&d.raft) != 0) {
        fprintf(stderr, "raft_uv: %s\n", raft_errmsg(&d.raft));
        return 1;
    }
    uv_timer_init(&d.loop, &d.timer);
    d.timer.data = &d;
    uv_timer_start(&d.timer, on_timer, 1, 1);
    return uv_run(&d.loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv)
{
    return harness_main(argc, argv, run_node);
}
