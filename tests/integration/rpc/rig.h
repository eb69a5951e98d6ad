/* A server with a configurable probe service and a client in one process. */
#ifndef DRAFT_TESTS_INTEGRATION_RPC_RIG_H
#define DRAFT_TESTS_INTEGRATION_RPC_RIG_H

#include "test.h"

#include <pthread.h>
#include <stdatomic.h>

#include <chassis/call.h>
#include <chassis/client.h>

#include "os/os.h"
#include "rpc/recent.h"
#include "rpc/server.h"

struct rig {
    struct chassis_pool *pool;
    struct chassis_server *server;
    struct chassis_client *client;
    char address[64];
};

/* Zeroed options get a loopback listener and four workers. */
void rig_start(struct rig *rig, struct chassis_server_options options);
void rig_stop(struct rig *rig);
struct chassis_client *rig_client(const struct rig *rig, struct chassis_client_options options);

/* What came of a call or stream, waited for. */
struct result {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    int code;
    unsigned messages, writable, times;
    char text[256], trailer[128], first[64], details[256];
    char raw[1024]; /* the start of the first message of a stream */
    size_t details_len, raw_len;
};
void result_init(struct result *r);
void result_wait(struct result *r);
void result_wait_messages(struct result *r, unsigned n);
void on_reply(const struct chassis_reply *reply, void *data); /* data: struct result */
extern const struct chassis_stream_handlers result_stream;    /* data: struct result */

/* Unary call of "/draft.test.Probe/<method>" with raw bytes; waits. */
void probe(struct chassis_client *client, const char *method, const char *request,
           const struct chassis_call_options *options, struct result *ret);

/* The probe service (raw bytes): what its handlers saw. */
extern atomic_uint probe_calls, probe_cancels, probe_sent, probe_refused, probe_bytes_peak;
/* Calls of "Park" that wait; release ends them with OK. */
unsigned probe_parked(void);
void probe_release(void);
/* The same by chassis_dispatch; how many were released on this thread. */
unsigned probe_release_here(void);
struct chassis_executor *probe_parked_on(void); /* where the first of them belongs */
void probe_last_peer(struct chassis_peer *ret, char name[128]);
struct chassis_service probe_service(void);

#define WAIT_UNTIL(condition) test_wait_until(condition)

#endif
