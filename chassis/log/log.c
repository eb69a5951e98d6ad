/* Modules, levels, loggers and the way of a record to the sink. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <chassis/log.h>
#include <chassis/plugin/log_sink.h>

#include "base/assert.h"
#include "log/render.h"

struct chassis_log_module {
    struct chassis_log_module *next;
    char *name;
    int level; /* written under `lock`, read by anyone */
    struct chassis_logger logger;
};

/* A level that was set for a prefix, kept for modules made later. */
struct rule {
    struct rule *next;
    char *prefix;
    enum chassis_log_level level;
};

static const char *const level_names[] = {"trace", "debug", "info", "warn",
                                          "error", "fatal", "off"};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* modules, rules, default_level */
static struct chassis_log_module *modules;
static struct rule *rules;
static enum chassis_log_level default_level = CHASSIS_LOG_INFO;

static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER; /* sink and everything in it */
static struct chassis_log_sink *sink;

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void fill_json(struct chassis_log_record *record, char text[CHASSIS_LOG_RECORD_MAX])
{
    struct chassis_log_render r = {.text = text, .limit = CHASSIS_LOG_RECORD_MAX - 1};
    chassis_log_render_record(&r, record);
    record->json = chassis_view(text, r.len);
}

/* The panicking thread may hold the lock itself (a bug in a sink): wait a moment, then give up;
 * the text is on standard error already. */
static void on_panic(const char *text)
{
    char json[CHASSIS_LOG_RECORD_MAX];
    struct chassis_log_record record = {
        .time_ns = now_ns(), .level = CHASSIS_LOG_FATAL, .module = "panic", .message = text};
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    if (pthread_mutex_timedlock(&sink_lock, &until) != 0) {
        return;
    }
    if (sink != NULL) {
        fill_json(&record, json);
        sink->write(sink, &record);
        if (sink->flush != NULL) {
            sink->flush(sink);
        }
    }
    pthread_mutex_unlock(&sink_lock);
}

static void start(void)
{
    pthread_mutex_lock(&sink_lock);
    if (sink == NULL) {
        sink = chassis_log_sink_console(STDERR_FILENO, isatty(STDERR_FILENO) == 1);
    }
    pthread_mutex_unlock(&sink_lock);
    chassis_base_on_panic(on_panic);
}

/* Is `name` the prefix itself or below it ("rpc" covers "rpc.client", not "rpcx")? */
static bool covers(const char *prefix, const char *name)
{
    size_t len = strlen(prefix);
    return len == 0 || (strncmp(prefix, name, len) == 0 && (name[len] == '\0' || name[len] == '.'));
}

static enum chassis_log_level level_of(const char *name)
{
    enum chassis_log_level level = default_level;
    size_t longest = 0;
    for (const struct rule *rule = rules; rule != NULL; rule = rule->next) {
        size_t len = strlen(rule->prefix);
        if (len > longest && covers(rule->prefix, name)) {
            longest = len;
            level = rule->level;
        }
    }
    return level;
}

static struct chassis_log_module *module_get(const char *name)
{
    for (struct chassis_log_module *m = modules; m != NULL; m = m->next) {
        if (strcmp(m->name, name) == 0) {
            return m;
        }
    }
    struct chassis_log_module *m = chassis_base_zalloc(sizeof *m);
    m->name = chassis_base_strdup(name);
    m->level = (int)level_of(name);
    m->logger.level = &m->level;
    m->logger.module = m;
    m->next = modules;
    modules = m;
    return m;
}

struct chassis_logger *chassis_log_module(const char *name)
{
    pthread_once(&once, start);
    pthread_mutex_lock(&lock);
    struct chassis_log_module *m = module_get(name);
    pthread_mutex_unlock(&lock);
    return &m->logger;
}

struct chassis_logger *chassis_log_child(struct chassis_logger *parent,
                                         const struct chassis_log_field *fields, size_t n)
{
    static const char mark[] = ",\"fields_cut\":true";
    size_t mark_len = sizeof mark - 1;
    struct chassis_logger *child = chassis_base_zalloc(sizeof *child);
    child->level = parent->level;
    child->module = parent->module;
    chassis_buf_append_view(&child->fields, chassis_buf_view(&parent->fields));
    size_t inherited = parent->fields.len;
    if (inherited >= mark_len &&
        memcmp(parent->fields.data + inherited - mark_len, mark, mark_len) == 0) {
        return child; /* there was no room before, so there is none now */
    }
    char text[CHASSIS_LOG_INHERITED_MAX];
    struct chassis_log_render r = {.text = text, .limit = sizeof text - mark_len - inherited};
    chassis_log_render_fields(&r, fields, n);
    chassis_buf_append(&child->fields, text, r.len);
    if (r.cut) {
        chassis_buf_append(&child->fields, mark, mark_len);
    }
    return child;
}

void chassis_log_free(struct chassis_logger *child)
{
    if (child != NULL) {
        CHASSIS_ASSERT(child != &child->module->logger);
        chassis_buf_fini(&child->fields);
        free(child);
    }
}

/* Setting a prefix decides for everything below it, so older rules there are forgotten. */
static void rule_set(const char *prefix, enum chassis_log_level level)
{
    struct rule **next = &rules;
    while (*next != NULL) {
        struct rule *rule = *next;
        if (covers(prefix, rule->prefix)) {
            *next = rule->next;
            free(rule->prefix);
            free(rule);
        } else {
            next = &rule->next;
        }
    }
    if (prefix[0] == '\0') {
        default_level = level;
        return;
    }
    struct rule *rule = chassis_base_zalloc(sizeof *rule);
    rule->prefix = chassis_base_strdup(prefix);
    rule->level = level;
    rule->next = rules;
    rules = rule;
}

void chassis_log_set_level(const char *module, enum chassis_log_level level)
{
    CHASSIS_ASSERT(level >= CHASSIS_LOG_TRACE && level <= CHASSIS_LOG_OFF);
    pthread_mutex_lock(&lock);
    rule_set(module, level);
    for (struct chassis_log_module *m = modules; m != NULL; m = m->next) {
        if (covers(module, m->name)) {
            __atomic_store_n(&m->level, (int)level, __ATOMIC_RELAXED);
        }
    }
    pthread_mutex_unlock(&lock);
}

int chassis_log_level_parse(const char *text, enum chassis_log_level *ret_level)
{
    for (int i = 0; i <= CHASSIS_LOG_OFF; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum chassis_log_level)i;
            return 0;
        }
    }
    return CHASSIS_INVALID_ARGUMENT;
}

const char *chassis_log_level_name(enum chassis_log_level level)
{
    CHASSIS_ASSERT(level >= CHASSIS_LOG_TRACE && level <= CHASSIS_LOG_OFF);
    return level_names[level];
}

void chassis_log_write(struct chassis_logger *log, enum chassis_log_level level,
                       const char *message, const struct chassis_log_field *fields, size_t n)
{
    char json[CHASSIS_LOG_RECORD_MAX];
    int saved_errno = errno; /* logging between a call and a look at its errno is harmless */
    struct chassis_log_record record = {
        .time_ns = now_ns(),
        .level = level,
        .module = log->module->name,
        .message = message,
        .fields = fields,
        .n_fields = n,
        .inherited = chassis_buf_view(&log->fields),
    };
    fill_json(&record, json);
    pthread_mutex_lock(&sink_lock);
    sink->write(sink, &record);
    pthread_mutex_unlock(&sink_lock);
    errno = saved_errno;
}

void chassis_log_set_sink(struct chassis_log_sink *new_sink)
{
    pthread_once(&once, start);
    pthread_mutex_lock(&sink_lock);
    if (sink->flush != NULL) {
        sink->flush(sink);
    }
    sink = new_sink;
    pthread_mutex_unlock(&sink_lock);
}
