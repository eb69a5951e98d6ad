/* Structured logging.
 *
 *     chassis_log_info(log, "opened store", chassis_f_str("path", path), chassis_f_u64("records", n));
 *
 * A logger is a module name plus fields that every record of it carries. A level is kept per module
 * and can be changed while the process runs; the arguments of a record that is below its module's
 * level are not evaluated.
 *
 * Invariants: one record is one line; secrets never go into a field (there is no "password" helper
 * on purpose); writing a record never blocks on anything but the sink's own descriptor.
 * Threads: any. Ownership: a child logger copies its fields; keys must be string literals.
 */
#ifndef CHASSIS_LOG_H
#define CHASSIS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <chassis/buf.h>
#include <chassis/error.h>

enum chassis_log_level {
    CHASSIS_LOG_TRACE,
    CHASSIS_LOG_DEBUG,
    CHASSIS_LOG_INFO,
    CHASSIS_LOG_WARN,
    CHASSIS_LOG_ERROR,
    CHASSIS_LOG_FATAL,
    CHASSIS_LOG_OFF,
};

enum chassis_log_type {
    CHASSIS_LOG_STR,
    CHASSIS_LOG_VIEW,
    CHASSIS_LOG_I64,
    CHASSIS_LOG_U64,
    CHASSIS_LOG_F64,
    CHASSIS_LOG_BOOL,
    CHASSIS_LOG_HEX,  /* bytes as hexadecimal text */
    CHASSIS_LOG_CODE, /* a chassis status: its name */
};

struct chassis_log_field {
    const char *key;
    enum chassis_log_type type;
    union {
        const char *str; /* NULL prints as null */
        struct chassis_view view;
        int64_t i64;
        uint64_t u64;
        double f64;
        bool boolean;
    } value;
};

static inline struct chassis_log_field chassis_f_str(const char *key, const char *value)
{
    return (struct chassis_log_field){.key = key, .type = CHASSIS_LOG_STR, .value.str = value};
}
static inline struct chassis_log_field chassis_f_view(const char *key, struct chassis_view value)
{
    return (struct chassis_log_field){.key = key, .type = CHASSIS_LOG_VIEW, .value.view = value};
}
static inline struct chassis_log_field chassis_f_i64(const char *key, int64_t value)
{
    return (struct chassis_log_field){.key = key, .type = CHASSIS_LOG_I64, .value.i64 = value};
}
static inline struct chassis_log_field chassis_f_u64(const char *key, uint64_t value)
{
    return (struct chassis_log_field){.key = key, .type = CHASSIS_LOG_U64, .value.u64 = value};
}
static inline struct chassis_log_field chassis_f_f64(const char *key, double value)
{
    return (struct chassis_log_field){.key = key, .type = CHASSIS_LOG_F64, .value.f64 = value};
}
static inline struct chassis_log_field chassis_f_bool(const char *key, bool value)
{
    return (struct chassis_log_field){.key = key, .type = CHASSIS_LOG_BOOL, .value.boolean = value};
}
static inline struct chassis_log_field chassis_f_hex(const char *key, struct chassis_view value)
{
    return (struct chassis_log_field){.key = key, .type = CHASSIS_LOG_HEX, .value.view = value};
}
static inline struct chassis_log_field chassis_f_code(int code)
{
    return (struct chassis_log_field){.key = "code", .type = CHASSIS_LOG_CODE, .value.i64 = code};
}
/* The text of an error, under the key "error". */
static inline struct chassis_log_field chassis_f_err(const struct chassis_error *err)
{
    return chassis_f_str("error", chassis_error_text(err));
}

struct chassis_log_module; /* name and live level */

struct chassis_logger {
    const int *level; /* of the module; read without a lock */
    struct chassis_log_module *module;
    struct chassis_buf fields; /* already rendered, appended to every record */
};

/* The logger of a module ("rpc", "blueprint.key_value"), made on first use, living as long as the
 * process. Never NULL. */
struct chassis_logger *chassis_log_module(const char *name);
/* A child with further fields; to be freed. */
struct chassis_logger *chassis_log_child(struct chassis_logger *parent,
                                         const struct chassis_log_field *fields, size_t n);
void chassis_log_free(struct chassis_logger *child);

/* Set the level of the modules whose name is `module` or begins with `module.`; "" sets all and the
 * default of modules made later. */
void chassis_log_set_level(const char *module, enum chassis_log_level level);
/* "trace" … "off"; CHASSIS_INVALID_ARGUMENT for anything else. */
int chassis_log_level_parse(const char *text, enum chassis_log_level *ret_level);
const char *chassis_log_level_name(enum chassis_log_level level);

static inline bool chassis_log_on(const struct chassis_logger *log, enum chassis_log_level level)
{
    return (int)level >= __atomic_load_n(log->level, __ATOMIC_RELAXED);
}
void chassis_log_write(struct chassis_logger *log, enum chassis_log_level level,
                       const char *message, const struct chassis_log_field *fields, size_t n);

/* The first element of the array is only there so that no field at all is valid C. */
#define chassis_log_at(log, level, message, ...)                                                   \
    do {                                                                                           \
        if (chassis_log_on((log), (level))) {                                                      \
            const struct chassis_log_field chassis_fields_[] = {{.key = NULL}, __VA_ARGS__};       \
            chassis_log_write((log), (level), (message), chassis_fields_ + 1,                      \
                              sizeof chassis_fields_ / sizeof chassis_fields_[0] - 1);             \
        }                                                                                          \
    } while (0)

#define chassis_log_trace(log, ...) chassis_log_at(log, CHASSIS_LOG_TRACE, __VA_ARGS__)
#define chassis_log_debug(log, ...) chassis_log_at(log, CHASSIS_LOG_DEBUG, __VA_ARGS__)
#define chassis_log_info(log, ...)  chassis_log_at(log, CHASSIS_LOG_INFO, __VA_ARGS__)
#define chassis_log_warn(log, ...)  chassis_log_at(log, CHASSIS_LOG_WARN, __VA_ARGS__)
#define chassis_log_error(log, ...) chassis_log_at(log, CHASSIS_LOG_ERROR, __VA_ARGS__)
/* Logs only; ending the process is the caller's next line. */
#define chassis_log_fatal(log, ...) chassis_log_at(log, CHASSIS_LOG_FATAL, __VA_ARGS__)

#endif
