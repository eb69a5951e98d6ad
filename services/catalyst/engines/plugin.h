/* Engines that come as plugins: shared objects, loaded when a stream asks for one by name.
 *
 * "nats" is found as catalyst-engine-nats.so in the engines' directory and exports
 * cat_engine_plugin_open. What it needs of the chassis it takes from the service's executable.
 *
 * Threads: load and open on the loop role. Ownership: an engine lives until its close; its code is
 * never unloaded.
 */
#ifndef CAT_ENGINES_PLUGIN_H
#define CAT_ENGINES_PLUGIN_H

#include <chassis/executor.h>
#include <chassis/log.h>

#include "catalyst/broker/log.h"

/* Raised when anything in log.h or here changes its shape. */
enum { CAT_ENGINE_PLUGIN_VERSION = 2 };

struct cat_engine_plugin_options {
    uint32_t version; /* CAT_ENGINE_PLUGIN_VERSION of the service */
    const char *url;  /* as configured: where the servers are */
    struct chassis_executor *loop;
    struct chassis_logger *log;
};
/* CHASSIS_BAD_VERSION for a service of another version, CHASSIS_CONFIG for a url that is none. Does not
 * connect: the first stream that is opened does. */
typedef int (*cat_engine_plugin_open_fn)(const struct cat_engine_plugin_options *options,
                                         struct cat_log_engine **ret_engine,
                                         struct chassis_error *err);
/* What each plugin defines. */
int cat_engine_plugin_open(const struct cat_engine_plugin_options *options,
                           struct cat_log_engine **ret_engine, struct chassis_error *err);
#define CAT_ENGINE_PLUGIN_SYMBOL "cat_engine_plugin_open"

/* Load the plugin of engine `name` from `directory` and open it. CHASSIS_NOT_FOUND names the file. */
int cat_engine_load(const char *directory, struct chassis_view name,
                    const struct cat_engine_plugin_options *options,
                    struct cat_log_engine **ret_engine, struct chassis_error *err);

#endif
