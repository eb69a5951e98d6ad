/* An xDS server over a model, without wires, and clients of it that speak by encoded messages.
 *
 * Time stands still; a turn of the loop is rig_turn(). */
#ifndef TESTS_FUSE_XDS_SERVER_RIG_H
#define TESTS_FUSE_XDS_SERVER_RIG_H

#include "test.h"

#include "base/assert.h"
#include "base/prng.h"
#include "fuse/xds/server.h"
#include "os/timers.h"
#include "unit/fuse/fixture.h"

struct rig_quarantine { /* what the store was told */
    char group[64], route[64], proxy[64], text[4096];
    uint64_t version, instead;
    bool removed;
};
struct rig {
    struct chassis_executor loop;
    struct chassis_task *deferred;
    struct chassis_timers timers;
    uint64_t now_ns;
    struct fuse_model *model;
    struct fuse_statics statics;
    struct fuse_proxies proxies;
    struct fuse_store store;
    struct fuse_xds *xds;
    uint64_t revision;
    unsigned view_changes; /* told of */
    struct rig_quarantine *stored;
    unsigned n_stored;
    /* Versions the store gives, once. */
    fuse_store_versions_cb versions_done;
    void *versions_data;
};
void rig_start(struct rig *rig, bool ready);
void rig_stop(struct rig *rig);
void rig_turn(struct rig *rig);
void rig_pass(struct rig *rig, uint64_t ns);
/* cmocka. */
int rig_set_up(void **state);
int rig_tear_down(void **state);

/* A route of a host to a service, by HTTP/2. `mark` makes another version of it. */
void rig_route(struct rig *rig, const char *name, const char *host, const char *service,
               const char *mark);
void rig_unroute(struct rig *rig, const char *name);
void rig_instance(struct rig *rig, const char *service, const char *pid, const char *address);
void rig_no_instance(struct rig *rig, const char *pid);

struct answer_item {
    char *name, *version;
    struct chassis_buf bytes;
};
struct answer {
    enum fuse_type type;
    char nonce[64], version[64];
    struct answer_item *items;
    unsigned n_items;
    char **removed;
    unsigned n_removed;
    char names[1024], gone[1024]; /* "a b", in order */
};
void answer_free(struct answer *answer);

struct client {
    struct rig *rig;
    enum fuse_xds_protocol protocol;
    struct fuse_xds_session *session;
    char id[64], group[64], agent[32];
    bool spoke;     /* the node was sent */
    bool congested; /* takes nothing */
    struct chassis_error failed;
    struct answer **inbox;
    unsigned n_inbox;
    size_t bytes;
};
void client_open(struct client *client, struct rig *rig, enum fuse_xds_protocol protocol,
                 const char *group, const char *id);
/* Over a stream that others can read. */
void client_open_public(struct client *client, struct rig *rig, enum fuse_xds_protocol protocol,
                        const char *group, const char *id);
void client_close(struct client *client);

struct ask {
    const char *names; /* subscribe; separated by spaces */
    const char *unsubscribe;
    const char *version; /* State of the World */
    const char *nonce;
    const char *error;   /* set: refused */
    const char *initial; /* Delta: "name=version name=version" */
};
void client_ask_of(struct client *client, enum fuse_type type, struct ask ask);
#define client_ask(client, type, ...) client_ask_of(client, type, (struct ask){__VA_ARGS__})
/* The oldest answer that was not taken yet; to be freed. NULL = none. */
struct answer *client_take(struct client *client);
/* The answer that must be there, of this type. */
struct answer *client_expect(struct client *client, enum fuse_type type);
void client_quiet(struct client *client);
/* One answer is there: exactly these names came and went; it is acknowledged with `names`. */
void client_gets(struct client *client, enum fuse_type type, const char *came, const char *went,
                 const char *names);

#endif
