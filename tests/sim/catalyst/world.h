/* One Catalyst node on a simulated machine that is killed, loses power, restarts and runs out of disk,
 * and clients outside of it that live on: producers that repeat what was not acknowledged, consumers
 * that go on where they were, members of groups. The broker, the groups and the journal are the very
 * objects of the service.
 *
 * What is checked: `truth` says which event stands at each sequence of a stream, as first seen by
 * anybody, or acknowledged; it never changes again. Threads: one.
 */
#ifndef DRAFT_SIM_CATALYST_WORLD_H
#define DRAFT_SIM_CATALYST_WORLD_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "catalyst/broker/broker.h"
#include "catalyst/groups/groups.h"
#include "os/sim.h"

enum { STREAMS = 3, SEQUENCES = 40000, PRODUCERS = 4, CONSUMERS = 6, MEMBERS = 4, KEYS = 5 };

enum planted { PLANT_NOTHING, PLANT_EARLY_ACK, PLANT_SKIP, PLANT_DOUBLE, PLANT_GROUP_SKIP };

struct event_id { /* of a producer's event; number 0 = none */
    uint32_t producer, number;
};
struct report {
    uint64_t published, duplicates, refused, delivered, gaps, redelivered, acked;
    uint64_t kills, power_losses, restarts, full_disks, slow_disks;
    uint64_t virtual_ns;
};
struct world {
    uint64_t seed;
    enum planted planted;
    struct chassis_sim *sim;
    struct chassis_sim_host *host;
    struct chassis_executor *loop, *writer, *preparer, *worker;
    struct chassis_clock *clock;
    struct chassis_journal *journal;
    struct cat_broker *broker;
    struct cat_groups *groups;
    bool up, closed, disk_limited;
    int rc;
    struct chassis_error err;
    struct event_id truth[STREAMS][SEQUENCES];
    bool acked[STREAMS][SEQUENCES];
    uint64_t last_seen[STREAMS];
    bool failed;
    char why[400];
    struct report report;
};
extern struct world w;
extern const char *const stream_names[STREAMS];

/* The run is over: something is wrong. */
void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
void world_call(void (*fn)(void *data), void *data);
void run_ns(uint64_t ns);
struct chassis_prng *prng(void);
bool chance(double probability);
/* An event stands at a sequence; wrong() if another did. */
void learn(unsigned stream, uint64_t sequence, struct event_id id);
struct event_id id_of(struct chassis_view text);

bool world_run(uint64_t seed, enum planted planted, uint64_t seconds);

/* producers.c */
void producers_init(void);
void producers_act(void);
void producers_lost(void); /* the node went down */
bool producers_done(void); /* all that was published is acknowledged */
void producers_stop(void); /* no new events */
void producers_check(void);
void producers_fini(void);

/* consumers.c */
void consumers_init(void);
void consumers_act(void);
void consumers_lost(void);
void consumers_hungry(void); /* they take all there is from now on, and answer */
bool consumers_done(void);
void consumers_check(void);
void consumers_fini(void);

#endif
