#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "catalyst/engines/plugin.h"
#include "os/os.h"

/* What plugins take from the executable, so that the linker keeps it there. */
typedef void (*any_fn)(void);
__attribute__((used)) static const any_fn for_plugins[] = {
    (any_fn)chassis_base_alloc,      (any_fn)chassis_base_strdup,    (any_fn)chassis_buf_append,
    (any_fn)chassis_buf_append_view, (any_fn)chassis_buf_fini,       (any_fn)chassis_buf_init,
    (any_fn)chassis_error_clear,     (any_fn)chassis_error_code,     (any_fn)chassis_error_set,
    (any_fn)chassis_error_wrap,      (any_fn)chassis_error_text,     (any_fn)chassis_log_write,
    (any_fn)chassis_os_thread_start, (any_fn)chassis_os_thread_stop,
};

int cat_engine_load(const char *directory, struct chassis_view name,
                    const struct cat_engine_plugin_options *options,
                    struct cat_log_engine **ret_engine, struct chassis_error *err)
{
    char path[4096];
    for (size_t i = 0; i < name.len; i++) {
        char c = ((const char *)name.data)[i];
        if (name.len > 32 || c < 'a' || c > 'z') {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                     "backend '%.*s' is not the name of an engine: journal, nats "
                                     "or kafka",
                                     (int)(name.len < 64 ? name.len : 64), (const char *)name.data);
        }
    }
    int n = snprintf(path, sizeof path, "%s/catalyst-engine-%.*s.so", directory, (int)name.len,
                     (const char *)name.data);
    if (n < 0 || (size_t)n >= sizeof path) {
        return chassis_error_set(err, CHASSIS_CONFIG,
                                 "the engines' directory has a path of %d bytes", n);
    }
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (object == NULL) {
        return chassis_error_set(err, CHASSIS_NOT_FOUND, "load engine '%s': %s", path, dlerror());
    }
    cat_engine_plugin_open_fn open;
    void *symbol = dlsym(object, CAT_ENGINE_PLUGIN_SYMBOL);
    if (symbol == NULL) {
        dlclose(object);
        return chassis_error_set(err, CHASSIS_NOT_FOUND, "'%s' is not an engine: it has no %s",
                                 path, CAT_ENGINE_PLUGIN_SYMBOL);
    }
    memcpy(&open, &symbol, sizeof open); /* POSIX gives functions as void * */
    int rc = open(options, ret_engine, err);
    if (rc != 0) {
        chassis_error_wrap(err, "open engine '%s'", path);
        dlclose(object);
    }
    return rc;
}
