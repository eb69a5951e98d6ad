/* Reading every record of a store and checking its seal.
 *
 * Threads: the transaction's. */
#ifndef BP_VERIFY_H
#define BP_VERIFY_H

#include "store.h"

/* `fault` is called for every record that does not read back; `name` is the file, for the text. */
int bp_verify_store(struct chassis_store *store, const char *name,
                    void (*fault)(const char *text, void *data), void *data,
                    struct chassis_error *err);

#endif
