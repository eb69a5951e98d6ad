/* Configuration: one table of keys gives parsing, ranges, defaults, help and documentation.
 *
 * Sources in rising order: the table's default, the YAML file, the environment (DRAFT_RAFT_NODE_ID
 * for raft.node-id), the command line (--raft.node-id=a). The result is a plain struct of the
 * caller, filled once, constant afterwards.
 *
 * Invariants: an unknown key is an error with file:line and the nearest known key; all errors are
 * reported at once; a key marked SECRET prints as ***.
 * Threads: load at boot; reading the struct from any.
 * Ownership: strings belong to the struct chassis_config and live as long as it.
 */
#ifndef CHASSIS_CONFIG_H
#define CHASSIS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <chassis/buf.h>
#include <chassis/error.h>

enum chassis_config_type {
    CHASSIS_CONFIG_STRING,   /* const char * */
    CHASSIS_CONFIG_BOOL,     /* bool */
    CHASSIS_CONFIG_INT,      /* int64_t */
    CHASSIS_CONFIG_SIZE,     /* uint64_t bytes; 64KiB, 1MiB, 16GiB */
    CHASSIS_CONFIG_DURATION, /* uint64_t milliseconds; 500ms, 5s, 2m, 1h */
    CHASSIS_CONFIG_ENUM,     /* int: index into `choices` */
    CHASSIS_CONFIG_LIST,     /* struct chassis_config_list: YAML sequence or comma-separated */
};
enum chassis_config_flags {
    CHASSIS_CONFIG_SECRET = 1,
    CHASSIS_CONFIG_REQUIRED = 2,
};
struct chassis_config_list {
    const char *const *items;
    size_t n;
};
/* A name with one `*` segment ("repositories.*.path", type STRING) takes any name there
 * ([A-Za-z0-9_-]+); the struct's field is a struct chassis_config_pairs with an entry per name found.
 * In the environment the name is lower case: DRAFT_REPOSITORIES_MAIN_PATH is repositories.main.path. */
struct chassis_config_pair {
    const char *name; /* what stands for the `*` */
    const char *value;
};
struct chassis_config_pairs {
    const struct chassis_config_pair *items;
    size_t n;
};
struct chassis_config_key {
    const char *name; /* "raft.node-id" */
    enum chassis_config_type type;
    size_t offset;              /* into the caller's struct */
    const char *initial;        /* default as text; NULL = zero */
    int64_t min, max;           /* INT, SIZE, DURATION; both 0 = no bound */
    const char *const *choices; /* ENUM: NULL-terminated */
    const char *help;           /* one sentence with the unit */
    unsigned flags;
};

struct chassis_config;

struct chassis_config_source {
    const struct chassis_config_key *const *tables; /* NULL-terminated list of tables, each ending
                                                       with a row whose name is NULL */
    void *const *structs;                           /* one per table */
    const char *file;   /* NULL = DRAFT_CONFIG, else ./config.yaml if it exists */
    char **environment; /* NULL = environ */
    /* Flags known to the table are taken, --config FILE too; what is left over is an error. */
    int argc;
    char **argv;
};
/* CHASSIS_CONFIG with every problem, one per line, in `ret_problems` (may be NULL). */
int chassis_config_load(const struct chassis_config_source *source,
                        struct chassis_config **ret_config, struct chassis_buf *ret_problems,
                        struct chassis_error *err);
void chassis_config_free(struct chassis_config *config);
/* YAML of every key with its value and, as a comment, where it came from. Secrets as ***. */
void chassis_config_print(const struct chassis_config *config, struct chassis_buf *out);
/* --help and docs/reference from the same table. */
void chassis_config_help(const struct chassis_config_key *const *tables, struct chassis_buf *out);
void chassis_config_markdown(const struct chassis_config_key *const *tables,
                             struct chassis_buf *out);
/* Every key with value and origin, for the admin page. */
void chassis_config_each(const struct chassis_config *config,
                         void (*each)(const char *name, const char *value, const char *origin,
                                      const char *help, void *data),
                         void *data);

#endif
