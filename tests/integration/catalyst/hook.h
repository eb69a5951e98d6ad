/* An endpoint of push subscriptions, which is a route in this process and answers as each test tells it;
 * and the group "g" of stream "s" that is pushed there. */
#ifndef DRAFT_TESTS_INTEGRATION_CATALYST_HOOK_H
#define DRAFT_TESTS_INTEGRATION_CATALYST_HOOK_H

#include "rig.h"

#include <chassis/http_route.h>

enum { HITS_MAX = 1000 };

struct hit {
    char id[32], type[64], content_type[128], body[256], authorization[64], attempt[16];
    char origin[64];
    uint64_t at_ms;
};

struct consent { /* what OPTIONS are answered with */
    unsigned status;
    const char *origin, *rate;
};

struct hook {
    struct chassis_server *server;
    struct chassis_http *http;
    char url[64];
    pthread_mutex_t lock;
    struct hit hits[HITS_MAX];
    atomic_uint n;
    unsigned status[64]; /* of the n-th answer; 0 = 200 */
    const char *retry_after;
    struct chassis_call *parked[64]; /* status 1: not answered */
    unsigned n_parked;
    struct consent consent; /* under the lock */
    atomic_uint asked;
    struct hit question; /* the last; its `type` is the rate asked for */
};
extern struct hook hook;

/* The rig and the endpoint, for cmocka: *state is the rig. */
int hook_setup(void **state);
int hook_teardown(void **state);
void hook_consent(struct consent consent);
struct hit hook_question(void); /* the last */
uint64_t hook_now_ms(void);

struct group {
    EV(Push) push;
    EV(Start) start;
    EV(GroupConfig) config;
    uint32_t backoff[1];
};

void push_group_init(struct group *g);
void push_group_create(struct rig *rig, struct group *g);
void push_group_update(struct rig *rig, struct group *g);

enum { LAG, DEAD, MEMBERS, IN_FLIGHT };
uint64_t push_group_ask(struct rig *rig, int what);

#define STATE(name) DRAFT__EVENTS__V1__PUSH_STATE__PUSH_STATE_##name

struct status {
    int state;
    uint32_t per_minute;
    uint64_t next_time_ns;
    char reason[300];
};

struct status push_status(struct rig *rig);
bool is_refused_with(struct rig *rig, const char *reason);

#endif
