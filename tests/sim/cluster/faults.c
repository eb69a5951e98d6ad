/* What goes wrong, by chance. */
#include "internal.h"

const char *const sim_fault_names[SIM_FAULTS] = {
    "killed processes", "power losses",      "losses of all power", "clean shutdowns",
    "splits",           "leaders cut off",   "one-way splits",      "resets",
    "slow networks",    "full disks",        "all disks full",      "slow syncs",
    "transfers",        "checkpoints asked", "clock jumps",         "stores lost",
    "stalls",
};

static uint64_t dice(struct cluster *c, uint64_t n)
{
    return chassis_prng_below(&c->prng, n);
}

static uint64_t ms(uint64_t n)
{
    return n * CHASSIS_NS_PER_MS;
}

static struct node *any_node(struct cluster *c)
{
    return &c->nodes[dice(c, c->n)];
}

static void happened(struct cluster *c, enum sim_fault fault)
{
    c->report.faults[fault]++;
    cluster_trace(c, "fault: %s", sim_fault_names[fault]);
}

/* --- machines --- */

static void restart(void *data)
{
    struct node *node = data;
    if (node_down(node)) {
        node_start(node);
    }
}

/* Mostly back soon; sometimes after so long that the others have checkpoints only. */
static uint64_t away(struct cluster *c)
{
    return chassis_prng_chance(&c->prng, 0.2) ? ms(3000 + dice(c, 5000)) : ms(dice(c, 3000));
}

static void crash(struct cluster *c, bool power)
{
    struct node *node = any_node(c);
    if (!node_down(node)) {
        node_crash(node, power);
        happened(c, power ? SIM_FAULT_POWER : SIM_FAULT_KILL);
        chassis_sim_at(c->sim, away(c), restart, node);
    }
}

static void kill_one(struct cluster *c)
{
    crash(c, false);
}

static void power_one(struct cluster *c)
{
    crash(c, true);
}

static void power_all(struct cluster *c)
{
    happened(c, SIM_FAULT_ALL_DOWN);
    for (unsigned i = 0; i < c->n; i++) {
        if (!node_down(&c->nodes[i])) {
            node_crash(&c->nodes[i], true);
            chassis_sim_at(c->sim, ms(dice(c, 1000)), restart, &c->nodes[i]);
        }
    }
}

static void shut_down(struct cluster *c)
{
    struct node *node = any_node(c);
    if (node_up(node)) {
        happened(c, SIM_FAULT_SHUTDOWN);
        node_close(node);
        /* Not closed by then: whoever supervises it loses patience. */
        chassis_sim_at(c->sim, ms(20000), restart, node);
        for (unsigned i = 1; i < 20; i++) {
            chassis_sim_at(c->sim, ms(i * 500), restart, node);
        }
    }
}

static void lose_store(struct cluster *c)
{
    struct node *node = any_node(c);
    if (!node_down(node)) {
        node_crash(node, false);
        stores_damage(node);
        happened(c, SIM_FAULT_STORE_LOST);
        chassis_sim_at(c->sim, away(c), restart, node);
    }
}

/* --- network --- */

static void reunite(void *data)
{
    struct cluster *c = data;
    memset(c->side, 0, sizeof c->side);
    memset(c->blocked, 0, sizeof c->blocked);
    cluster_trace(c, "the network is whole");
}

static void network_trouble(struct cluster *c, enum sim_fault fault)
{
    happened(c, fault);
    c->notice = chassis_prng_chance(&c->prng, 0.3) ? 0.02 : 0.3;
    chassis_sim_at(c->sim, ms(dice(c, 4000)), reunite, c);
}

static void split(struct cluster *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        c->side[i] = (unsigned)dice(c, 2);
    }
    network_trouble(c, SIM_FAULT_SPLIT);
}

static bool leads(struct node *node)
{
    struct chassis_consensus_status s = {0};
    if (node->consensus != NULL) {
        chassis_consensus_status(node->consensus, &s);
    }
    return s.role == CHASSIS_ROLE_LEADER;
}

/* The loop is not run for a while: a leader may wake up as none. */
static void stall_node(struct node *node)
{
    struct cluster *c = node->c;
    happened(c, SIM_FAULT_STALL);
    chassis_sim_executor_freeze(node->loop, ms(dice(c, 2500)));
}

static void stall(struct cluster *c)
{
    struct node *node = any_node(c);
    if (!node_down(node)) {
        stall_node(node);
    }
}

static void split_leader(struct cluster *c)
{
    bool stalls = !c->config->storm && !c->config->grind && dice(c, 2) == 0;
    for (unsigned i = 0; i < c->n; i++) {
        c->side[i] = leads(&c->nodes[i]);
        if (c->side[i] != 0 && stalls) {
            stall_node(&c->nodes[i]); /* the others go on before it notices */
        }
    }
    network_trouble(c, SIM_FAULT_LEADER_CUT);
}

/* Some links one way; often all from or all to one node. */
static void block_one_way(struct cluster *c)
{
    uint64_t form = dice(c, 3), one = dice(c, c->n);
    for (unsigned a = 0; a < c->n; a++) {
        for (unsigned b = 0; b < c->n; b++) {
            c->blocked[a][b] = form == 0   ? a == one && b != one
                               : form == 1 ? b == one && a != one
                                           : a < b && dice(c, 2) == 0;
        }
    }
    network_trouble(c, SIM_FAULT_ONE_WAY);
}

static void reset(struct cluster *c)
{
    happened(c, SIM_FAULT_RESET);
    network_break(c, (unsigned)dice(c, c->n), (unsigned)dice(c, c->n));
}

static void lag_ends(void *data)
{
    ((struct node *)data)->lag_ns = 0;
}

static void lag(struct cluster *c)
{
    struct node *node = any_node(c);
    happened(c, SIM_FAULT_LAG);
    node->lag_ns = ms(1 + dice(c, 120));
    chassis_sim_at(c->sim, ms(dice(c, 5000)), lag_ends, node);
}

/* --- disks and clocks --- */

static void make_room(void *data)
{
    struct node *node = data;
    chassis_sim_disk_limit(node->host, 0);
}

static void fill_disk(struct node *node, uint64_t for_ns)
{
    const uint64_t huge = 1ULL << 40;
    struct cluster *c = node->c;
    struct chassis_disk *disk = chassis_sim_disk(node->host);
    uint64_t free_bytes = 0;
    chassis_sim_disk_limit(node->host, huge);
    if (disk->ops->space(disk, "/data", &free_bytes) == 0 && free_bytes <= huge) {
        chassis_sim_disk_limit(node->host, huge - free_bytes + dice(c, 6) * c->segment_bytes + 1);
    }
    chassis_sim_at(c->sim, for_ns, make_room, node);
}

static void fill_one(struct cluster *c)
{
    happened(c, SIM_FAULT_DISK_FULL);
    fill_disk(any_node(c), ms(dice(c, 5000)));
}

static void fill_all(struct cluster *c)
{
    happened(c, SIM_FAULT_ALL_FULL);
    for (unsigned i = 0; i < c->n; i++) {
        fill_disk(&c->nodes[i], ms(dice(c, 3000)));
    }
}

static void sync_recovers(void *data)
{
    struct node *node = data;
    if (!node_down(node)) {
        chassis_sim_executor_delay(node->writer, 100000);
    }
}

static void slow_sync(struct cluster *c)
{
    struct node *node = any_node(c);
    if (!node_down(node)) {
        happened(c, SIM_FAULT_SLOW_SYNC);
        chassis_sim_executor_delay(node->writer, ms(1 + dice(c, 400)));
        chassis_sim_at(c->sim, ms(dice(c, 4000)), sync_recovers, node);
    }
}

static void jump(struct cluster *c)
{
    static const int64_t scale_ns[] = {1000000, 1000000000, 3600000000000};
    int64_t by = (int64_t)dice(c, 2001) - 1000;
    happened(c, SIM_FAULT_CLOCK);
    any_node(c)->clock_ns += by * scale_ns[dice(c, 3)];
}

/* --- asked of consensus --- */

static void transferred(int status, const char *text, void *data)
{
}

static void transfer(struct cluster *c)
{
    happened(c, SIM_FAULT_TRANSFER);
    for (unsigned i = 0; i < c->n; i++) {
        if (node_up(&c->nodes[i])) {
            uint64_t target = dice(c, 2) == 0 ? 0 : 1 + dice(c, c->n);
            chassis_consensus_transfer(c->nodes[i].consensus, target, transferred, NULL);
        }
    }
}

static void checkpointed(int status, uint64_t index, void *data)
{
}

static void checkpoint(struct cluster *c)
{
    struct node *node = any_node(c);
    if (node_up(node) && node->ready) {
        happened(c, SIM_FAULT_CHECKPOINT);
        chassis_consensus_checkpoint(node->consensus, checkpointed, NULL);
    }
}

static void (*const kinds[])(struct cluster *) = {
    kill_one, power_one,    power_one,    power_all,     shut_down,     lose_store,
    split,    split_leader, split_leader, block_one_way, block_one_way, reset,
    reset,    lag,          fill_one,     fill_all,      slow_sync,     jump,
    transfer, checkpoint,   kill_one,     split,         stall,         stall,
};

/* Elections all the time. */
static void storm(struct cluster *c)
{
    struct node *node = any_node(c);
    if (chassis_prng_chance(&c->prng, 0.2)) {
        split_leader(c);
    } else if (!node_down(node)) {
        bool power = chassis_prng_chance(&c->prng, 0.5);
        node_crash(node, power);
        happened(c, power ? SIM_FAULT_POWER : SIM_FAULT_KILL);
        chassis_sim_at(c->sim, ms(dice(c, 40)), restart, node);
    }
}

/* Leaders cut off with much unsynced, and all power lost soon after. */
static void grind(struct cluster *c)
{
    uint64_t what = dice(c, 10);
    if (what < 4) {
        split_leader(c);
        c->notice = 0.3;
        chassis_sim_at(c->sim, ms(400 + dice(c, 600)), reunite, c);
    } else if (what < 8) {
        for (unsigned i = 0; i < c->n; i++) {
            if (!node_down(&c->nodes[i])) {
                chassis_sim_executor_delay(c->nodes[i].writer, ms(1 + dice(c, 400)));
            }
        }
        happened(c, SIM_FAULT_SLOW_SYNC);
    } else if (what == 8) {
        power_all(c);
    } else {
        power_one(c);
    }
}

static void on_fault(void *data)
{
    struct cluster *c = data;
    if (!c->faults) {
        return;
    }
    if (c->config->storm || c->config->grind) {
        if (c->config->grind) {
            grind(c);
        } else {
            storm(c);
        }
        chassis_sim_at(c->sim, ms(dice(c, 300)), on_fault, c);
        return;
    }
    kinds[dice(c, sizeof kinds / sizeof kinds[0])](c);
    chassis_sim_at(c->sim, ms(dice(c, 1200)), on_fault, c);
}

void faults_start(struct cluster *c)
{
    c->faults = true;
    chassis_sim_at(c->sim, CHASSIS_NS_PER_S, on_fault, c);
}

void faults_heal(struct cluster *c)
{
    cluster_trace(c, "everything heals");
    c->faults = false;
    c->workload->healed = true;
    reunite(c);
    for (unsigned i = 0; i < c->n; i++) {
        struct node *node = &c->nodes[i];
        make_room(node);
        lag_ends(node);
        sync_recovers(node);
        restart(node);
        if (node->closing) { /* comes back once it is down */
            for (uint64_t at = 1; at < 100; at++) {
                chassis_sim_at(c->sim, ms(at * 200), restart, node);
            }
        }
    }
}
