/* The processes Blueprint has registered, as instances of the model: one Watch of all, for ever.
 *
 * An instance's revision is its process's incarnation, the revision of its registration: that is what
 * a watch that begins anew still has, so a restarted Fuse gives the same.
 *
 * Invariants: what was known stays while Blueprint is away.
 * Threads: `loop`, where the client's callbacks run, too.
 * Ownership: as struct fuse_records.
 */
#ifndef FUSE_BLUEPRINT_REGISTRY_H
#define FUSE_BLUEPRINT_REGISTRY_H

#include <chassis/client.h>
#include <chassis/log.h>

#include "base/prng.h"
#include "fuse/control_plane/model.h"

struct fuse_registry {
    struct chassis_client *client;
    struct chassis_executor *loop;
    struct chassis_logger *log;
    struct fuse_model *model;
    void (*synced_first)(void *data); /* once, after the first complete list */
    void *data;
    /* registry.c's own */
    struct chassis_timer timer;
    struct chassis_prng prng;
    unsigned attempt;
    struct chassis_client_stream *stream;
    bool filling; /* between begin and end */
    bool synced, stopped;
    uint64_t revision; /* newest that was told */
    uint64_t losses;
};
/* What is above `own` is filled in. */
void fuse_registry_start(struct fuse_registry *registry);
void fuse_registry_stop(struct fuse_registry *registry);

#endif
