/* An adapter with everything it needs, and what tests do to it. */
#ifndef TESTS_FUSE_HAPROXY_SITE_H
#define TESTS_FUSE_HAPROXY_SITE_H

#include "fuse/haproxy/adapter.h"
#include "fuse/haproxy/process.h"
#include "os/os.h"
#include "unit/fuse/fixture.h"

#include "lab.h"

struct site {
    char dir[256], home[300];
    struct chassis_loop *loop;
    struct chassis_pool *pool;
    struct fuse_model *model;
    struct fuse_view *view;
    struct fuse_proxies proxies;
    struct fuse_socket_listener listener;
    struct fuse_statics statics;
    struct fuse_haproxy *haproxy;
    const char *program;
    bool closed;
    uint64_t revision;
    char quarantined[129], words[256];
    unsigned n_quarantined;
    struct lab_servers *servers;
    struct lab_client client;
};
/* With n servers of the lab; HAProxy does not run yet. */
void site_begin(struct site *s, unsigned n_servers);
/* In a directory and at a port that are there already. */
void site_begin_at(struct site *s, unsigned n_servers, const char *dir, uint16_t port);
void site_open(struct site *s);
void site_close(struct site *s);
/* Ends HAProxy, too. */
void site_end(struct site *s);
/* Server i is an instance of the service, its pid "<service>-<i>". */
void site_instance(struct site *s, const char *service, unsigned i, enum fuse_instance_state state);
/* The same at a gRPC address, number i. */
void site_rpc_instance(struct site *s, const char *service, unsigned i, const char *address);
void site_remove_instance(struct site *s, const char *service, unsigned i);
void site_put(struct site *s, const struct fuse_route *route);
void site_delete(struct site *s, const char *name);
/* Until everything said is sent and taken. */
void site_settle(struct site *s);
void site_master(struct site *s, struct fuse_master *ret_master);
/* Versions and refusals as other parts see them. */
struct site_seen {
    bool in_sync;
    char configuration[40], servers[40], words[256];
    uint64_t refusals;
};
void site_see(struct site *s, struct site_seen *ret_seen);

#endif
