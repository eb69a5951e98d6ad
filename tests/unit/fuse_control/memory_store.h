/* control_plane/store.h in memory: answers in later turns, as Blueprint does, and fails when told to. */
#ifndef TESTS_UNIT_FUSE_CONTROL_MEMORY_STORE_H
#define TESTS_UNIT_FUSE_CONTROL_MEMORY_STORE_H

#include <chassis/executor.h>

#include "fuse/control_plane/model.h"
#include "fuse/control_plane/store.h"

enum { MEMORY_ROUTES = 64, MEMORY_VERSIONS = 256 };

struct memory_version {
    char name[129];
    uint64_t version;
    struct chassis_buf encoded;
};
struct memory_route {
    char name[129];
    uint64_t version, created;
    struct chassis_buf encoded; /* empty: deleted */
};
struct memory_store {
    struct fuse_store store;
    struct chassis_executor *loop;
    struct fuse_model *model; /* told of every commit, as by the watch */
    uint64_t revision;
    uint64_t watch_delay_ns, answer_delay_ns;
    struct memory_route routes[MEMORY_ROUTES];
    struct memory_version versions[MEMORY_VERSIONS];
    unsigned n_routes, n_versions;
    unsigned reads, writes, commits;
    int fail_next_write, fail_next_read; /* codes; 0 = none */
    bool apply_failed_write;             /* the answer is lost, not the write */
    /* Runs before the next write is looked at: a writer who is faster. */
    void (*rival)(struct memory_store *store, void *data);
    void *rival_data;
    unsigned rivals; /* how many writes have one */
};
void memory_store_init(struct memory_store *store, struct chassis_executor *loop,
                       struct fuse_model *model);
void memory_store_fini(struct memory_store *store);
/* A commit of somebody else, now. */
uint64_t memory_store_put(struct memory_store *store, const char *name,
                          struct chassis_view encoded);
/* NULL = there is none, or it is deleted. */
struct memory_route *memory_store_route(struct memory_store *store, const char *name);
unsigned memory_store_versions(const struct memory_store *store, const char *name);

#endif
