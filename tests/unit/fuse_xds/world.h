/* A model with a few routes and instances, and what is made of it, as JSON.
 *
 * Expected JSON is written with single quotes. */
#ifndef TESTS_FUSE_XDS_WORLD_H
#define TESTS_FUSE_XDS_WORLD_H

#include "envoy/config/route/v3/route.pb-c.h"
#include "fuse/xds/resources.h"
#include "test.h"

#include <chassis/arena.h>

struct world {
    struct fuse_model *model;
    struct fuse_view *view;
    struct fuse_statics statics;
    struct fuse_resource_source source;
    struct chassis_arena arena;
    uint64_t revision; /* of the last resource */
};

/* For cmocka: node group "edge"; listeners "default" (all groups), "tls" (secret "front") and
 * "elsewhere" (group "core"); secrets "front" (with CA) and "plain". */
int world_set_up(void **state);
int world_tear_down(void **state);

/* One route, with one target "service echo" and HTTP/2 unless `from` has targets; its host is "*" and
 * its path "/" unless given. */
void world_route(struct world *w, uint64_t version, const struct fuse_route *from);
void world_instance(struct world *w, uint64_t revision, const char *service, const char *pid,
                    const char *rpc_address, const char *http_address);
void world_instance_with(struct world *w, uint64_t revision, const struct fuse_instance *instance);

/* Its bytes; the test fails if it does not exist. */
struct chassis_view world_bytes(struct world *w, enum fuse_type type, const char *name);
bool world_exists(struct world *w, enum fuse_type type, const char *name);
const char *world_json(struct world *w, enum fuse_type type, const char *name);
const char *world_cluster_json(struct world *w, struct chassis_view bytes);
/* Route number i of virtual host number h: which requests, what becomes of them. */
Envoy__Config__Route__V3__Route *world_route_of(struct world *w, const char *configuration,
                                                size_t h, size_t i);
const char *world_match(struct world *w, const char *configuration, size_t h, size_t i);
const char *world_action(struct world *w, const char *configuration, size_t h, size_t i);

void world_assert_json(struct world *w, const char *json, const char *expected);
#define assert_resource(w, type, name, expected)                                                   \
    world_assert_json(w, world_json(w, type, name), expected)

#define N(array)        (unsigned)(sizeof(array) / sizeof *(array))
#define LIST(type, ...) (const type[]){__VA_ARGS__}, N(((const type[]){__VA_ARGS__}))

#endif
