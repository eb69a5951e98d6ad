/* A Fuse that keeps routes, and a Blueprint that knows where it is, on the real RPC server.
 *
 * Threads: any; the mutex guards everything.
 */
#ifndef TESTS_ROUTING_FAKE_H
#define TESTS_ROUTING_FAKE_H

#include <pthread.h>
#include <stdbool.h>

#include <core/control_plane/networking/v1/networking.chassis.h>

#include "rpc/server.h"

enum { FAKE_ROUTES_MAX = 8 };

struct fake_route {
    char name[64];
    char words[512]; /* what it says, for comparison: see fake.c */
    char host[64];   /* of its endpoint */
    uint32_t port;
};

struct fake {
    pthread_mutex_t mutex; /* the test's, for all its fakes: never destroyed */
    struct chassis_server *fuse, *blueprint;
    char fuse_address[64], blueprint_address[64];
    struct fake_route routes[FAKE_ROUTES_MAX];
    unsigned n_routes;

    /* what the test sets */
    char record[96];    /* of fuse_address; "" = none */
    const char *refuse; /* the route of this name, with this as the problem's text */
    const char *refuse_why;
    int fail;  /* every call of Fuse, with this code */
    bool mute; /* AwaitWithdrawn is not answered */

    /* what the test looks at */
    unsigned adds, gets, deletes, awaits, records;
    char pid[64];
    struct chassis_call *held;
};

void fake_start(struct fake *fake);
void fake_stop(struct fake *fake);
/* "" = no record. */
void fake_record(struct fake *fake, const char *address);
/* What the test sets, as everybody sees it. */
#define FAKE_SET(fake, field, value)                                                               \
    do {                                                                                           \
        pthread_mutex_lock(&(fake)->mutex);                                                        \
        (fake)->field = (value);                                                                   \
        pthread_mutex_unlock(&(fake)->mutex);                                                      \
    } while (0)
/* Fuse at another port, with the routes it had; the record says so. */
void fake_move(struct fake *fake);
/* Under the mutex: the route of this name as it says, "" without. */
void fake_words(struct fake *fake, const char *name, char out[512]);
void fake_forget(struct fake *fake, const char *name);
void fake_put(struct fake *fake, const char *name, const char *host, uint32_t port);
unsigned fake_count(struct fake *fake, const unsigned *counter);

#endif
