/* A whole Catalyst in one process: journal on disk, broker, groups, gRPC and HTTP on free ports. */
#ifndef DRAFT_TESTS_INTEGRATION_CATALYST_RIG_H
#define DRAFT_TESTS_INTEGRATION_CATALYST_RIG_H

#include "test.h"

#include <pthread.h>
#include <stdatomic.h>

#include <chassis/client.h>

#include "catalyst/broker/rpc.h"
#include "catalyst/groups/groups.h"
#include "catalyst/push/push.h"
#include "core/message_broker/actors/v1/actors.chassis.h"
#include "draft/events/v1/events.chassis.h"

#define EV(name)          Draft__Events__V1__##name
#define EV_INIT(name)     DRAFT__EVENTS__V1__##name##__INIT
#define ACTORS(name)      Core__MessageBroker__Actors__V1__##name
#define ACTORS_INIT(name) CORE__MESSAGE_BROKER__ACTORS__V1__##name##__INIT

struct rig {
    char directory[256], plugins[600];
    struct chassis_loop *uv;
    struct chassis_executor *loop, *writer, *preparer;
    struct chassis_executor *reader; /* where the client's callbacks run */
    struct chassis_pool *workers;
    struct chassis_journal *journal;
    struct cat_broker *broker;
    struct cat_groups *groups;
    struct cat_push *push;
    struct cat_views views;
    struct chassis_server *server;
    struct chassis_http *http;
    struct chassis_client *client;
    uint16_t http_port;
    char address[64];
    size_t publish_bytes_max, queue_bytes_max; /* set before rig_open */
    const char *unvalidated_host;              /* of push URLs; NULL = none */
};

void rig_init(struct rig *rig); /* a fresh directory */
void rig_open(struct rig *rig);
void rig_close(struct rig *rig); /* drained, as by SIGTERM; rig_open goes on with what is stored */
void rig_drain(struct rig *rig); /* only its beginning: streams end */
void rig_fini(struct rig *rig);
/* Both at once, for cmocka: *state is the rig. */
int rig_setup(void **state);
int rig_teardown(void **state);

/* Another client, with callbacks of its own; then the former one again. */
void rig_new_client(struct rig *rig);
void rig_free_client(struct rig *rig, struct chassis_client *former);

/* Unary call; fails the test unless its code is `code`. The response lives in `arena`. */
void *rig_call(struct rig *rig, const struct chassis_method *method, const void *request, int code,
               struct chassis_arena *arena, struct chassis_error *ret_err);
/* A stream with this name that takes nothing by itself. */
void rig_stream(struct rig *rig, const char *name);

/* ---- events ---- */

/* The bytes of an event: id "<n>", source, type and data; NULL = "/test", "test.type", none. */
void rig_event(struct chassis_buf *out, unsigned n, const char *source, const char *type,
               const char *data);
/* Publish events with these numbers into a stream and wait. */
void rig_publish(struct rig *rig, const char *stream, unsigned from, unsigned n);

/* ---- streams from and to the server ---- */

/* Everything a stream said, in order; waits are for conditions. */
struct tap {
    struct chassis_client_stream *stream;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct chassis_buf *messages; /* as they came */
    atomic_size_t n;
    size_t cap;
    bool closed;
    int code;
    char text[512];
    bool paused; /* `message` does not return: the client does not read */
};
void tap_open(struct rig *rig, struct tap *tap, const struct chassis_method *method);
/* One that the server ends: nothing may be sent when it may have done so; ended by tap_closed. */
void tap_open_ending(struct rig *rig, struct tap *tap, const struct chassis_method *method);
/* Waits for the server's end, frees; its code. */
int tap_closed(struct tap *tap);
void tap_send(struct tap *tap, const void *message);
void tap_send_bytes(struct tap *tap, struct chassis_view bytes);
void tap_wait(struct tap *tap, size_t n); /* that many messages, or fail when it is closed */
void tap_wait_closed(struct tap *tap);    /* of one that the server ends */
/* Half-closes, waits, frees. */
int tap_end(struct tap *tap);
/* Cancels, waits, frees. */
void tap_cancel(struct tap *tap);
void tap_pause(struct tap *tap, bool paused);

/* The ids of all deliveries in all messages so far, with spaces behind: "1 2 3 ". Fields `deliveries`
 * 1 and in them `event` 3. */
char *tap_ids(struct tap *tap);
size_t tap_deliveries(struct tap *tap);

#endif
