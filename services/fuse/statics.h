/* What comes from the configuration, not from routes: socket listeners and TLS files, which are read
 * again when they change (auth/identity.h).
 *
 * Invariants: contents that were good stay until others are; equal files are equal secrets after every
 * restart, so their revision is always 0.
 * Threads: open and close anywhere before and after; the statics and `changed` belong to the loop.
 * Ownership: what fuse_statics_of gives lives until close; contents until `changed` returns.
 */
#ifndef FUSE_STATICS_H
#define FUSE_STATICS_H

#include <chassis/config.h>
#include <chassis/executor.h>

#include "fuse/xds/resources.h"

struct fuse_statics_config {
    const char *listener_address;          /* fuse.listener.address */
    int64_t listener_port;                 /* fuse.listener.port; 0 = no listener `default` */
    struct chassis_config_pairs listeners; /* fuse.listeners.<name> */
    struct chassis_config_pairs secrets;   /* fuse.secrets.<name> */
};
struct fuse_static_set;

/* Parses and reads everything. CHASSIS_CONFIG naming the key and what is wrong. */
int fuse_statics_open(const struct fuse_statics_config *config, struct fuse_static_set **ret_set,
                      struct chassis_error *err);
const struct fuse_statics *fuse_statics_of(const struct fuse_static_set *set);
/* On the loop: changes of the files are told from now on. */
struct fuse_statics_watch {
    struct chassis_executor *loop;
    void (*changed)(void *data);
    void *data;
};
void fuse_statics_watch(struct fuse_static_set *set, const struct fuse_statics_watch *watch);
/* On the loop: `stopped` once nothing of it runs any more. */
void fuse_statics_stop(struct fuse_static_set *set, void (*stopped)(void *data), void *data);
/* NULL is fine. */
void fuse_statics_close(struct fuse_static_set *set);

#endif
