/* A broker in this process that a test can stop, start again at the same port, and make forgetful:
 * one stream, groups, dedupe by id. What it stored survives its restarts.
 *
 * Threads: any; the mutex guards everything.
 */
#ifndef DRAFT_TESTS_BROKER_FAKE_H
#define DRAFT_TESTS_BROKER_FAKE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "draft/events/v1/events.chassis.h"

enum { FAKE_EVENTS_MAX = 16384, FAKE_CALLS_MAX = 16 };

struct fake_event {
    char id[64], source[64], type[64], subject[64], stream[64];
    char *data;
    /* of the one group */
    bool done, given;
    unsigned attempts;
};

struct fake_call {
    struct chassis_call *call; /* NULL = free */
    bool member;
    uint64_t next, credit;
    char type[64]; /* only this one; "" = all */
    bool prefix;
};

struct fake {
    pthread_mutex_t mutex;
    struct chassis_server *server;
    unsigned port; /* kept over restarts */
    struct fake_event events[FAKE_EVENTS_MAX];
    unsigned n_events, duplicates, publishes, joins, subscriptions;
    struct fake_call calls[FAKE_CALLS_MAX];
    unsigned acks, nacks, in_progress;
    uint64_t last_start; /* of the latest subscription: sequence asked for */
    char group[64], stream[64], tags[128];
    unsigned cut_before_answer; /* end so many publish streams after storing, without an answer */
    bool mute;                  /* store nothing, answer nothing */
    const char *refuse_type;
    int fail_with; /* end publish streams with this, if not 0 */
};

void fake_init(struct fake *f);
void fake_start(struct fake *f);
void fake_stop(struct fake *f);
void fake_fini(struct fake *f);
/* Counts under the mutex. */
unsigned fake_stored(struct fake *f);
unsigned fake_done(struct fake *f);
/* Store an event from nowhere, and give it out. */
void fake_add(struct fake *f, const char *type, const char *data);

#endif
