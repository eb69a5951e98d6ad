/* The engines beside the journal that this node has been told of: loaded when first asked for, closed
 * after the broker.
 *
 * Threads: the loop role. Ownership: the configuration is borrowed.
 */
#ifndef CAT_ENGINES_ENGINES_H
#define CAT_ENGINES_ENGINES_H

#include "catalyst/engines/plugin.h"

enum { CAT_ENGINES_MAX = 2 };

struct cat_engines_config {
    const char *directory;             /* of the plugins; empty = lib/draft beside the program */
    const char *urls[CAT_ENGINES_MAX]; /* of "nats" and "kafka"; empty = not to be used */
};

struct cat_engines {
    const struct cat_engines_config *config;
    struct chassis_executor *loop;
    struct chassis_logger *log;
    struct cat_log_engine *open[CAT_ENGINES_MAX];
    void (*closed)(void *data);
    void *closed_data;
};

void cat_engines_init(struct cat_engines *engines, const struct cat_engines_config *config,
                      struct chassis_executor *loop, struct chassis_logger *log);
/* For cat_broker_options.engine; `data` is the struct. CHASSIS_INVALID_ARGUMENT for a name that is none,
 * CHASSIS_FAILED_PRECONDITION names the key that is not set. */
int cat_engines_get(void *data, struct chassis_view name, struct cat_log_engine **ret_engine,
                    struct chassis_error *err);
/* After every stream of theirs was closed. */
void cat_engines_close(struct cat_engines *engines, void (*closed)(void *data), void *data);

#endif
