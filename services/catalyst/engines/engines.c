#include "catalyst/engines/engines.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const names[CAT_ENGINES_MAX] = {"nats", "kafka"};

void cat_engines_init(struct cat_engines *engines, const struct cat_engines_config *config,
                      struct chassis_executor *loop, struct chassis_logger *log)
{
    *engines = (struct cat_engines){.config = config, .loop = loop, .log = log};
}

/* lib/draft beside bin, as built and as installed. */
static int default_directory(char out[PATH_MAX], struct chassis_error *err)
{
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[n > 0 ? n : 0] = '\0';
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(program, '/');
        if (slash == NULL) {
            return chassis_error_set(err, CHASSIS_CONFIG,
                                     "the program's own place is unknown: set "
                                     "catalyst.engines.directory");
        }
        *slash = '\0';
    }
    snprintf(out, PATH_MAX, "%.*s/lib/draft", PATH_MAX - 16, program);
    return 0;
}

static int open_engine(struct cat_engines *engines, unsigned i, struct chassis_error *err)
{
    char directory[PATH_MAX];
    const struct cat_engines_config *config = engines->config;
    if (config->urls[i] == NULL || config->urls[i][0] == '\0') {
        return chassis_error_set(err, CHASSIS_FAILED_PRECONDITION,
                                 "backend '%s' is not configured: set catalyst.engines.%s.url",
                                 names[i], names[i]);
    }
    if (config->directory != NULL && config->directory[0] != '\0') {
        snprintf(directory, sizeof directory, "%s", config->directory);
    } else {
        int rc = default_directory(directory, err);
        if (rc != 0) {
            return rc;
        }
    }
    const struct cat_engine_plugin_options options = {.version = CAT_ENGINE_PLUGIN_VERSION,
                                                      .url = config->urls[i],
                                                      .loop = engines->loop,
                                                      .log = engines->log};
    return cat_engine_load(directory, chassis_view_str(names[i]), &options, &engines->open[i], err);
}

int cat_engines_get(void *data, struct chassis_view name, struct cat_log_engine **ret_engine,
                    struct chassis_error *err)
{
    struct cat_engines *engines = data;
    for (unsigned i = 0; i < CAT_ENGINES_MAX; i++) {
        if (chassis_view_eq(name, chassis_view_str(names[i]))) {
            int rc = engines->open[i] == NULL ? open_engine(engines, i, err) : 0;
            if (rc == 0) {
                *ret_engine = engines->open[i];
            }
            return rc;
        }
    }
    return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                             "field 'backend' is '%.*s', must be journal, nats or kafka",
                             (int)(name.len < 64 ? name.len : 64), (const char *)name.data);
}

static void close_next(void *data)
{
    struct cat_engines *engines = data;
    for (unsigned i = 0; i < CAT_ENGINES_MAX; i++) {
        struct cat_log_engine *engine = engines->open[i];
        if (engine != NULL) {
            engines->open[i] = NULL;
            engine->ops->close(engine, close_next, engines);
            return;
        }
    }
    engines->closed(engines->closed_data);
}

void cat_engines_close(struct cat_engines *engines, void (*closed)(void *data), void *data)
{
    engines->closed = closed;
    engines->closed_data = data;
    close_next(engines);
}
