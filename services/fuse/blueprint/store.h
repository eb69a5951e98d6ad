/* Routes, versions and quarantines in Blueprint's key-value store: control_plane/store.h for real.
 *
 * | record | kind | key |
 * |---|---|---|
 * | route | core.control_plane.networking.v1.Route | its name |
 * | version | draft.routing.v1.RouteVersion | `<name>/<time, 16 hexadecimal digits>-<random>` |
 * | quarantine | draft.routing.v1.Quarantine | `<group>/<route>`; of the group white space and "%" as %XX |
 *
 * Invariants: a change is one transaction under an id of its own, so a repetition after a lost answer
 * changes nothing; a version's number is the revision of its record.
 * Threads: the client's executor, the loop. Ownership: memory must live until the client is freed.
 */
#ifndef FUSE_BLUEPRINT_STORE_H
#define FUSE_BLUEPRINT_STORE_H

#include <chassis/client.h>

#include "fuse/control_plane/store.h"

struct fuse_blueprint_store {
    struct fuse_store store;
    struct chassis_client *client;
    int64_t (*wall_ns)(void *data);
    unsigned pending; /* operations whose callback has not run */
    void (*idle)(void *data);
    void *idle_data;
};
void fuse_blueprint_store_init(struct fuse_blueprint_store *store, struct chassis_client *client,
                               int64_t (*wall_ns)(void *data));
/* `idle` once no operation is under way, at once or later; none may begin any more. */
void fuse_blueprint_store_stop(struct fuse_blueprint_store *store, void (*idle)(void *data),
                               void *data);

enum { FUSE_QUARANTINE_KEY_MAX = 480 };
/* CHASSIS_INVALID_ARGUMENT: the group's name is too long. */
int fuse_quarantine_key(const char *group, const char *route,
                        char ret_key[FUSE_QUARANTINE_KEY_MAX + 1], struct chassis_error *err);
/* Both parts of a key; false when it is none. */
bool fuse_quarantine_key_parse(const char *key, char ret_group[FUSE_QUARANTINE_KEY_MAX + 1],
                               char ret_route[FUSE_QUARANTINE_KEY_MAX + 1]);

#endif
