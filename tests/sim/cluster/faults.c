/* What goes wrong, by chance. */
#include "internal.h"

static uint64_t dice(struct cluster *c, uint64_t n)
{
    return chassis_prng_below(&c->prng, n);
}

static void restart(void *data)
{
    struct node *node = data;
    if (node->consensus == NULL && !node->c->stopping) {
        node_start(node);
    }
}

static void crash_one(struct cluster *c)
{
    struct node *node = &c->nodes[dice(c, c->n)];
    if (node->consensus == NULL) {
        return;
    }
    node_crash(node, chassis_prng_chance(&c->prng, 0.7));
    chassis_sim_at(c->sim, dice(c, 3000) * CHASSIS_NS_PER_MS, restart, node);
}

static void crash_all(struct cluster *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        if (c->nodes[i].consensus != NULL) {
            node_crash(&c->nodes[i], true);
            chassis_sim_at(c->sim, dice(c, 1000) * CHASSIS_NS_PER_MS, restart, &c->nodes[i]);
        }
    }
}

static void reunite(void *data)
{
    struct cluster *c = data;
    memset(c->side, 0, sizeof c->side);
}

static void split(struct cluster *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        c->side[i] = (unsigned)dice(c, 2);
    }
    c->report.partitions++;
    chassis_sim_at(c->sim, dice(c, 4000) * CHASSIS_NS_PER_MS, reunite, c);
}

static void split_leader(struct cluster *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        struct chassis_consensus_status s;
        c->side[i] = 0;
        if (c->nodes[i].consensus != NULL) {
            chassis_consensus_status(c->nodes[i].consensus, &s);
            c->side[i] = s.role == CHASSIS_ROLE_LEADER;
        }
    }
    c->report.partitions++;
    chassis_sim_at(c->sim, dice(c, 4000) * CHASSIS_NS_PER_MS, reunite, c);
}

static void make_room(void *data)
{
    struct node *node = data;
    chassis_sim_disk_limit(node->host, 0);
}

static void fill_disk(struct cluster *c)
{
    const uint64_t huge = 1ULL << 40;
    struct node *node = &c->nodes[dice(c, c->n)];
    struct chassis_disk *disk = chassis_sim_disk(node->host);
    uint64_t free_bytes = 0;
    chassis_sim_disk_limit(node->host, huge);
    if (disk->ops->space(disk, "/data", &free_bytes) == 0 && free_bytes <= huge) {
        chassis_sim_disk_limit(node->host, huge - free_bytes + dice(c, 6) * c->segment_bytes + 1);
        c->report.disk_full++;
    }
    chassis_sim_at(c->sim, dice(c, 5000) * CHASSIS_NS_PER_MS, make_room, node);
}

static void break_links(struct cluster *c)
{
    network_break(c, (unsigned)dice(c, c->n), (unsigned)dice(c, c->n));
}

static void transferred(int status, const char *text, void *data)
{
}

static void transfer(struct cluster *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        if (c->nodes[i].consensus != NULL) {
            chassis_consensus_transfer(c->nodes[i].consensus, 0, transferred, NULL);
        }
    }
}

static void (*const kinds[])(struct cluster *) = {
    crash_one,    crash_one,    crash_one, crash_all,   split,    split,
    split_leader, split_leader, fill_disk, break_links, transfer, break_links,
};

static void short_crash(struct cluster *c)
{
    struct node *node = &c->nodes[dice(c, c->n)];
    if (node->consensus != NULL) {
        node_crash(node, chassis_prng_chance(&c->prng, 0.5));
        chassis_sim_at(c->sim, dice(c, 40) * CHASSIS_NS_PER_MS, restart, node);
    }
}

static void on_fault(void *data)
{
    struct cluster *c = data;
    if (!c->faults) {
        return;
    }
    if (c->config->storm) {
        if (chassis_prng_chance(&c->prng, 0.2)) {
            split_leader(c);
        } else {
            short_crash(c);
        }
        chassis_sim_at(c->sim, dice(c, 300) * CHASSIS_NS_PER_MS, on_fault, c);
        return;
    }
    kinds[dice(c, sizeof kinds / sizeof kinds[0])](c);
    chassis_sim_at(c->sim, dice(c, 1500) * CHASSIS_NS_PER_MS, on_fault, c);
}

void faults_start(struct cluster *c)
{
    c->faults = true;
    chassis_sim_at(c->sim, CHASSIS_NS_PER_S, on_fault, c);
}

void faults_heal(struct cluster *c)
{
    c->faults = false;
    reunite(c);
    for (unsigned i = 0; i < c->n; i++) {
        make_room(&c->nodes[i]);
        if (c->nodes[i].consensus == NULL) {
            node_start(&c->nodes[i]);
        }
    }
}
