/* The well-known record `fuse_address`: where services find a Fuse to give their routes to.
 *
 * Every Fuse writes it when it starts, so the newest one has it, under the lease of its own process:
 * when that process leaves or expires the record goes with it. Every other Fuse watches the record
 * and writes its own address when there is none (if it does not exist then: two that try do not
 * fight). So the record names a Fuse that is registered, as long as there is one.
 *
 * Threads: `loop`. Ownership: as struct fuse_records.
 */
#ifndef FUSE_BLUEPRINT_ADDRESS_H
#define FUSE_BLUEPRINT_ADDRESS_H

#include "records.h"

struct fuse_address {
    struct chassis_client *client;
    struct chassis_executor *loop;
    struct chassis_logger *log;
    /* Our URL and our pid; false while this process is not registered (yet). */
    bool (*self)(void *data, char ret_url[300], char ret_pid[64]);
    void *data;
    /* address.c's own */
    struct fuse_records records;
    struct chassis_timer timer;
    struct chassis_prng prng;
    unsigned attempt;
    bool writing, present, claimed;
    char pid[64]; /* under which we wrote */
};
void fuse_address_start(struct fuse_address *address);
void fuse_address_stop(struct fuse_address *address);

#endif
