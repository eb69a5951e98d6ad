/* The stages that open what a service stands on. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "runtime/internal.h"

enum { WORKER_QUEUE_MAX = 4096 };

int stage_log(struct chassis *c, struct chassis_error *err)
{
    const struct chassis_settings *s = &c->settings;
    bool console = s->log_format == SETTINGS_LOG_CONSOLE ||
                   (s->log_format == SETTINGS_LOG_AUTO && isatty(STDERR_FILENO));
    if (c->log_sink != NULL) {
        chassis_log_set_sink(c->log_sink);
    } else if (console) {
        bool colour = isatty(STDERR_FILENO) && getenv("NO_COLOR") == NULL;
        chassis_log_set_sink(chassis_log_sink_console(STDERR_FILENO, colour));
    } else {
        chassis_log_set_sink(chassis_log_sink_json(STDERR_FILENO));
    }
    chassis_log_set_level("", (enum chassis_log_level)s->log_level);
    for (size_t i = 0; i < s->log_modules.n; i++) {
        const char *equals = strchr(s->log_modules.items[i], '=');
        enum chassis_log_level level = CHASSIS_LOG_INFO;
        char module[64];
        snprintf(module, sizeof module, "%.*s", (int)(equals - s->log_modules.items[i]),
                 s->log_modules.items[i]);
        chassis_log_level_parse(equals + 1, &level);
        chassis_log_set_level(module, level);
    }
    return 0;
}

static void on_stop_signal(int signal, void *data)
{
    struct chassis *c = data;
    pthread_mutex_lock(&c->mutex);
    unsigned signals = ++c->signals;
    pthread_mutex_unlock(&c->mutex);
    if (signals > 1) {
        chassis_log_warn(c->log, "second signal: ending at once", chassis_f_i64("signal", signal));
        _exit(1);
    }
    chassis_log_info(c->log, "signal: draining", chassis_f_i64("signal", signal));
    chassis_stop(c);
}

int stage_loop(struct chassis *c, struct chassis_error *err)
{
    int rc = chassis_loop_start("loop", &c->loop, err);
    rc = rc == 0 ? chassis_loop_on_signal(c->loop, SIGTERM, on_stop_signal, c, err) : rc;
    rc = rc == 0 ? chassis_loop_on_signal(c->loop, SIGINT, on_stop_signal, c, err) : rc;
    if (rc != 0) {
        unstage_loop(c);
    }
    return rc;
}

void unstage_loop(struct chassis *c)
{
    chassis_loop_stop(c->loop);
    c->loop = NULL;
}

int stage_secrets(struct chassis *c, struct chassis_error *err)
{
    const struct chassis_config_pairs *urls = &c->settings.secret_urls;
    if (c->secret_store != NULL) {
        c->secret_stores[c->n_secret_stores++] = c->secret_store;
    }
    for (size_t i = 0; i < urls->n; i++) {
        const char *url = urls->items[i].value;
        if (c->n_secret_stores == sizeof c->secret_stores / sizeof c->secret_stores[0]) {
            return chassis_error_set(err, CHASSIS_CONFIG, "more than %u secret stores",
                                     c->n_secret_stores);
        }
        struct chassis_secret_store **slot = &c->secret_stores[c->n_secret_stores];
        int rc = strncmp(url, "env:", 4) == 0
                     ? chassis_secret_store_environment(url + 4, slot, err)
                     : chassis_secret_store_file(url + strlen("file://"), slot, err);
        if (rc != 0) {
            chassis_error_wrap(err, "secrets.%s", urls->items[i].name);
            unstage_secrets(c);
            return rc;
        }
        c->n_secret_stores++;
    }
    return 0;
}

void unstage_secrets(struct chassis *c)
{
    for (unsigned i = 0; i < c->n_secret_stores; i++) {
        if (c->secret_stores[i] != c->secret_store) {
            c->secret_stores[i]->ops->close(c->secret_stores[i]);
        }
    }
    c->n_secret_stores = 0;
}

int stage_tls(struct chassis *c, struct chassis_error *err)
{
    const struct chassis_settings *s = &c->settings;
    return s->tls_certificate == NULL ? 0
                                      : chassis_auth_identity_open(s->tls_ca, s->tls_certificate,
                                                                   s->tls_key, &c->identity, err);
}

void unstage_tls(struct chassis *c)
{
    chassis_auth_identity_close(c->identity);
    c->identity = NULL;
}

int stage_workers(struct chassis *c, struct chassis_error *err)
{
    int rc = chassis_os_pool_start("worker", (unsigned)c->settings.workers, WORKER_QUEUE_MAX,
                                   &c->workers);
    return rc == 0 ? 0 : chassis_error_code(err, rc, "start the worker threads");
}

void unstage_workers(struct chassis *c)
{
    chassis_os_pool_stop(c->workers);
    c->workers = NULL;
}

static const char *pair_value(const struct chassis_config_pairs *pairs, const char *name)
{
    for (size_t i = 0; i < pairs->n; i++) {
        if (strcmp(pairs->items[i].name, name) == 0) {
            return pairs->items[i].value;
        }
    }
    return NULL;
}

/* Another engine than the service's own, if the configuration says so. */
static const struct chassis_repository *engine_of(const struct chassis_settings *s,
                                                  const struct chassis_repository *own)
{
    const char *engine = pair_value(&s->repository_engines, own->kind);
    if (engine != NULL && strcmp(engine, "memory") == 0) {
        return &chassis_repository_memory;
    }
    return engine != NULL && strcmp(engine, "lmdb") == 0 ? &chassis_repository_lmdb : own;
}

int stage_repositories(struct chassis *c, struct chassis_error *err)
{
    struct chassis_disk *disk = chassis_disk_posix();
    for (unsigned i = 0; i < c->n_repositories; i++) {
        struct runtime_repository *r = &c->repositories[i];
        const char *configured = pair_value(&c->settings.repository_paths, r->repository->kind);
        char path[512];
        if (configured != NULL) {
            snprintf(path, sizeof path, "%s", configured);
        } else {
            disk->ops->mkdir(disk, c->settings.data_directory); /* open below says what is wrong */
            snprintf(path, sizeof path, "%s/%s", c->settings.data_directory, r->repository->kind);
        }
        struct chassis_repository_options options = {
            .path = path, .sync = true, .tables = r->tables, .n_tables = r->n_tables};
        int rc = engine_of(&c->settings, r->repository)->open(&options, &r->store, err);
        if (rc != 0) {
            unstage_repositories(c);
            return rc;
        }
    }
    return 0;
}

void unstage_repositories(struct chassis *c)
{
    for (unsigned i = c->n_repositories; i-- > 0;) {
        chassis_store_close(c->repositories[i].store);
        c->repositories[i].store = NULL;
    }
}

struct runner_call {
    struct chassis *c;
    struct chassis_error *err;
};

static int start_runners(void *data)
{
    struct runner_call *call = data;
    struct chassis *c = call->c;
    for (; c->n_runners_started < c->n_runners; c->n_runners_started++) {
        struct chassis_runner *r = &c->runners[c->n_runners_started];
        int rc = r->start != NULL ? r->start(c, r->data, call->err) : 0;
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int stop_runners(void *data)
{
    struct chassis *c = data;
    while (c->n_runners_started > 0) {
        struct chassis_runner *r = &c->runners[--c->n_runners_started];
        if (r->stop != NULL) {
            r->stop(c, r->data);
        }
    }
    return 0;
}

int stage_runners(struct chassis *c, struct chassis_error *err)
{
    struct runner_call call = {c, err};
    int rc = chassis_loop_call(c->loop, start_runners, &call);
    if (rc != 0) {
        unstage_runners(c);
    }
    return rc;
}

struct closing {
    struct runtime_closer closer;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool closed;
};

static void on_closed(void *data)
{
    struct closing *k = data;
    pthread_mutex_lock(&k->mutex);
    k->closed = true;
    pthread_cond_signal(&k->cond);
    pthread_mutex_unlock(&k->mutex);
}

static int begin_closing(void *data)
{
    struct closing *k = data;
    k->closer.close(k->closer.data, on_closed, k);
    return 0;
}

void unstage_runners(struct chassis *c)
{
    chassis_loop_call(c->loop, stop_runners, c);
    while (c->n_closers > 0) {
        struct closing k = {.closer = c->closers[--c->n_closers]};
        pthread_mutex_init(&k.mutex, NULL);
        pthread_cond_init(&k.cond, NULL);
        chassis_loop_call(c->loop, begin_closing, &k);
        pthread_mutex_lock(&k.mutex);
        while (!k.closed) {
            pthread_cond_wait(&k.cond, &k.mutex);
        }
        pthread_mutex_unlock(&k.mutex);
        pthread_cond_destroy(&k.cond);
        pthread_mutex_destroy(&k.mutex);
    }
}
