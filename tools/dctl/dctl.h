/* What the files of dctl share: the command table's types, the state of one run, exit codes.
 *
 * Invariants: every command, option and argument stands in one table (commands.c); parsing, help,
 * completion and the reference page come from it.
 * Threads: the main thread, except callbacks of streams and of the supervisor, which say so.
 * Ownership: everything of a run lives in dctl->arena until the program ends.
 */
#ifndef DCTL_DCTL_H
#define DCTL_DCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <chassis/arena.h>
#include <chassis/buf.h>
#include <chassis/error.h>

enum dctl_exit {
    DCTL_OK = 0,
    DCTL_FAILED = 1,
    DCTL_USAGE = 2,
    DCTL_NOT_FOUND = 3,
    DCTL_UNAVAILABLE = 4,
};

enum dctl_value {
    DCTL_FLAG, /* no value */
    DCTL_STRING,
    DCTL_NUMBER,   /* 0 … 2^64-1 */
    DCTL_DURATION, /* 500ms, 5s, 2m, 1h, 7d; a bare number is seconds */
    DCTL_SIZE,     /* bytes: 1000, 64KiB, 2MiB, 1GiB */
    DCTL_CHOICE,
    DCTL_FILE,
};

struct dctl_option {
    const char *name; /* "endpoint", given as --endpoint; NULL ends a table */
    char letter;      /* 'o' for -o; 0 = none */
    enum dctl_value value;
    const char *arg;            /* name of the value in help */
    const char *help;           /* one sentence */
    const char *const *choices; /* DCTL_CHOICE: NULL-terminated */
    bool repeated;
};

struct dctl;

struct dctl_command {
    const char *name; /* "kv get"; NULL ends the table */
    const char *args; /* "KEY" */
    const char *help; /* one line */
    const char *more; /* further help; may be NULL */
    unsigned args_min, args_max;
    const struct dctl_option *options;                 /* may be NULL */
    int (*run)(struct dctl *d, int argc, char **argv); /* the exit code */
};

enum dctl_format {
    DCTL_TABLE,
    DCTL_JSON,
    DCTL_YAML,
};

enum { DCTL_GIVEN_MAX = 64 };

struct dctl_given {
    const struct dctl_option *option;
    const char *value; /* NULL for a flag */
};

struct dctl {
    struct chassis_arena arena;
    const struct dctl_command *command;
    struct dctl_given given[DCTL_GIVEN_MAX];
    unsigned n_given;
    enum dctl_format format;
    bool colour;
    FILE *out, *err;
    unsigned documents; /* written so far, for separators */
    struct chassis_client *client;
};

/* commands.c */
extern const struct dctl_command dctl_commands[];
extern const struct dctl_option dctl_global_options[];

/* main.c: parse and run; `argv[0]` is the program. Testable without a process. */
int dctl_main(int argc, char **argv, FILE *out, FILE *err);

/* options.c */
struct dctl_parsed {
    const struct dctl_command *command; /* NULL: help, or an error was printed */
    int argc;
    char **argv;
    int exit; /* when command is NULL */
};
struct dctl_parsed dctl_parse(struct dctl *d, int argc, char **argv);
/* The value given last for an option of the command or a global one; NULL without. */
const char *dctl_string(const struct dctl *d, const char *name);
bool dctl_flag(const struct dctl *d, const char *name);
/* Checked while parsing; `otherwise` when it was not given. */
uint64_t dctl_number(const struct dctl *d, const char *name, uint64_t otherwise);
uint64_t dctl_duration_ms(const struct dctl *d, const char *name, uint64_t otherwise);
uint64_t dctl_size(const struct dctl *d, const char *name, uint64_t otherwise);
/* The `nth` value (from 0) of a repeated option; NULL beyond. */
const char *dctl_repeated(const struct dctl *d, const char *name, unsigned nth);
int dctl_parse_number(const char *text, uint64_t *ret_number);
int dctl_parse_duration_ms(const char *text, uint64_t *ret_ms);
int dctl_parse_size(const char *text, uint64_t *ret_bytes);

/* help.c */
void dctl_help(FILE *out, const char *prefix); /* "" = all; "kv" = a group; "kv get" = one */
void dctl_markdown(FILE *out);
/* completion.c: 0, or CHASSIS_NOT_FOUND for a shell that is not known. */
int dctl_completion(FILE *out, const char *shell);

/* Report on standard error; returns the exit code that fits. */
int dctl_usage(struct dctl *d, const char *format, ...) CHASSIS_PRINTF(2, 3);
int dctl_fail(struct dctl *d, const struct chassis_error *err);
int dctl_exit_of(int code);

/* The commands, one file per group. */
int dctl_kv_set(struct dctl *d, int argc, char **argv);
int dctl_kv_get(struct dctl *d, int argc, char **argv);
int dctl_kv_del(struct dctl *d, int argc, char **argv);
int dctl_kv_list(struct dctl *d, int argc, char **argv);
int dctl_kv_watch(struct dctl *d, int argc, char **argv);
int dctl_kv_cas(struct dctl *d, int argc, char **argv);
int dctl_kv_txn(struct dctl *d, int argc, char **argv);
int dctl_services_list(struct dctl *d, int argc, char **argv);
int dctl_services_get(struct dctl *d, int argc, char **argv);
int dctl_services_watch(struct dctl *d, int argc, char **argv);
int dctl_cluster_status(struct dctl *d, int argc, char **argv);
int dctl_cluster_transfer(struct dctl *d, int argc, char **argv);
int dctl_cluster_backup(struct dctl *d, int argc, char **argv);
int dctl_events_produce(struct dctl *d, int argc, char **argv);
int dctl_events_consume(struct dctl *d, int argc, char **argv);
int dctl_events_tail(struct dctl *d, int argc, char **argv);
int dctl_streams_create(struct dctl *d, int argc, char **argv);
int dctl_streams_list(struct dctl *d, int argc, char **argv);
int dctl_streams_get(struct dctl *d, int argc, char **argv);
int dctl_streams_update(struct dctl *d, int argc, char **argv);
int dctl_streams_purge(struct dctl *d, int argc, char **argv);
int dctl_streams_delete(struct dctl *d, int argc, char **argv);
int dctl_groups_create(struct dctl *d, int argc, char **argv);
int dctl_groups_update(struct dctl *d, int argc, char **argv);
int dctl_groups_list(struct dctl *d, int argc, char **argv);
int dctl_groups_get(struct dctl *d, int argc, char **argv);
int dctl_groups_seek(struct dctl *d, int argc, char **argv);
int dctl_groups_delete(struct dctl *d, int argc, char **argv);
int dctl_dlq_list(struct dctl *d, int argc, char **argv);
int dctl_dlq_peek(struct dctl *d, int argc, char **argv);
int dctl_dlq_replay(struct dctl *d, int argc, char **argv);
int dctl_dlq_purge(struct dctl *d, int argc, char **argv);
int dctl_routes_add(struct dctl *d, int argc, char **argv);
int dctl_routes_list(struct dctl *d, int argc, char **argv);
int dctl_routes_get(struct dctl *d, int argc, char **argv);
int dctl_routes_delete(struct dctl *d, int argc, char **argv);
int dctl_routes_history(struct dctl *d, int argc, char **argv);
int dctl_routes_diff(struct dctl *d, int argc, char **argv);
int dctl_routes_rollback(struct dctl *d, int argc, char **argv);
int dctl_routes_explain(struct dctl *d, int argc, char **argv);
int dctl_routes_validate(struct dctl *d, int argc, char **argv);
int dctl_proxies_list(struct dctl *d, int argc, char **argv);
int dctl_proxies_get(struct dctl *d, int argc, char **argv);
int dctl_call(struct dctl *d, int argc, char **argv);
int dctl_context_init(struct dctl *d, int argc, char **argv);
int dctl_context_import(struct dctl *d, int argc, char **argv);
int dctl_context_set(struct dctl *d, int argc, char **argv);
int dctl_context_list(struct dctl *d, int argc, char **argv);
int dctl_run(struct dctl *d, int argc, char **argv);
int dctl_completion_command(struct dctl *d, int argc, char **argv);
int dctl_docs(struct dctl *d, int argc, char **argv);
int dctl_version(struct dctl *d, int argc, char **argv);
int dctl_help_command(struct dctl *d, int argc, char **argv);

#endif
