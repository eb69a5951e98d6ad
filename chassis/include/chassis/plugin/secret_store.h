/* Secret stores: where a service gets passwords and keys from.
 *
 * Built in: `file` (one file per secret in a directory; refused unless it is private, mode 0600) and
 * `environment` (variables with a prefix). A secret is never logged and prints as `***`.
 * Threads: any. Ownership: the caller owns the returned buf and should wipe it (chassis_secret_wipe).
 */
#ifndef CHASSIS_PLUGIN_SECRET_STORE_H
#define CHASSIS_PLUGIN_SECRET_STORE_H

#include <chassis/buf.h>
#include <chassis/error.h>

struct chassis_secret_store;

struct chassis_secret_store_ops {
    /* CHASSIS_NOT_FOUND, CHASSIS_PERMISSION_DENIED (file readable by others), -errno. */
    int (*get)(struct chassis_secret_store *store, const char *name, struct chassis_buf *ret_secret,
               struct chassis_error *err);
    void (*close)(struct chassis_secret_store *store);
};
struct chassis_secret_store {
    const struct chassis_secret_store_ops *ops;
};

int chassis_secret_store_file(const char *directory, struct chassis_secret_store **ret_store,
                              struct chassis_error *err);
int chassis_secret_store_environment(const char *prefix, struct chassis_secret_store **ret_store,
                                     struct chassis_error *err);
/* Overwrite with zeros (not optimised away) and free. */
void chassis_secret_wipe(struct chassis_buf *secret);

#endif
