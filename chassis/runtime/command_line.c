/* Configuration, and the flags that only ask: --help, --version, --check-config, --print-config,
 * --config-reference. */
#include <stdio.h>

#include "runtime/internal.h"

#ifndef DRAFT_VERSION
#define DRAFT_VERSION "0.1.0"
#endif

static const char *const usage =
    "  --help                     this text\n"
    "  --version                  the version\n"
    "  --check-config             read the configuration, report every mistake, end\n"
    "  --print-config             print every key with its value and where it came from, end\n"
    "  --config-reference         print the table of all keys as Markdown, end\n"
    "  --config FILE              instead of $DRAFT_CONFIG or ./config.yaml\n"
    "  --KEY=VALUE                any key below; also as environment variable: service.name is\n"
    "                             DRAFT_SERVICE_NAME\n\n";

struct flags {
    bool help, version, check, print, reference;
};

/* Take our own flags out of the arguments; the rest is the configuration's. */
static struct flags take_flags(int argc, char **argv, char **ret_argv, int *ret_argc)
{
    struct flags flags = {0};
    const struct {
        const char *text;
        bool *flag;
    } known[] = {
        {"--help", &flags.help},          {"-h", &flags.help},
        {"--version", &flags.version},    {"--check-config", &flags.check},
        {"--print-config", &flags.print}, {"--config-reference", &flags.reference},
    };
    int n = 0;
    for (int i = 0; i < argc; i++) {
        bool ours = false;
        for (size_t k = 0; i > 0 && k < sizeof known / sizeof known[0]; k++) {
            if (strcmp(argv[i], known[k].text) == 0) {
                *known[k].flag = ours = true;
            }
        }
        if (!ours) {
            ret_argv[n++] = argv[i];
        }
    }
    ret_argv[n] = NULL;
    *ret_argc = n;
    return flags;
}

/* The settings' table with the defaults that this service has changed. */
static void apply_defaults(struct chassis *c)
{
    size_t n = 0;
    while (chassis_settings_table[n].name != NULL) {
        n++;
    }
    c->own_table = chassis_base_alloc((n + 1) * sizeof *c->own_table);
    memcpy(c->own_table, chassis_settings_table, (n + 1) * sizeof *c->own_table);
    for (unsigned d = 0; d < c->n_defaults; d++) {
        bool found = false;
        for (size_t i = 0; i < n; i++) {
            if (strcmp(c->own_table[i].name, c->defaults[d].name) == 0) {
                c->own_table[i].initial = c->defaults[d].value;
                found = true;
            }
        }
        CHASSIS_ASSERT(found);
    }
    c->tables[0] = c->own_table;
}

static void print_help(struct chassis *c)
{
    struct chassis_buf help = {0};
    chassis_config_help(c->tables, &help);
    printf("usage: %s [flags]\n\n%s%.*s", c->name, usage, (int)help.len, (const char *)help.data);
    chassis_buf_fini(&help);
}

static void print_reference(struct chassis *c)
{
    struct chassis_buf out = {0};
    chassis_config_markdown(c->tables, &out);
    fwrite(out.data, 1, out.len, stdout);
    chassis_buf_fini(&out);
}

static void complain(struct chassis *c, const struct chassis_buf *problems,
                     const struct chassis_error *err)
{
    fprintf(stderr, "%s: bad configuration\n", c->name);
    if (problems->len != 0) {
        fprintf(stderr, "%.*s", (int)problems->len, (const char *)problems->data);
    } else {
        fprintf(stderr, "%s\n", chassis_error_text(err));
    }
    fprintf(stderr, "(%s --help lists every key)\n", c->name);
}

struct place {
    const char *key;
    size_t len;
    const char *origin;
};

static void find_place(const char *name, const char *value, const char *origin, const char *help,
                       void *data)
{
    struct place *place = data;
    if (strlen(name) == place->len && memcmp(name, place->key, place->len) == 0) {
        place->origin = origin;
    }
}

/* Relations between keys know no places: each line begins with the key that is to be changed, and
 * gets the place where that was set. */
static void add_places(const struct chassis_config *config, struct chassis_buf *problems)
{
    struct chassis_buf out = {0};
    const char *line = problems->len != 0 ? (const char *)problems->data : "";
    while (*line != '\0') {
        size_t len = strcspn(line, "\n");
        struct place place = {line, strcspn(line, ":"), NULL};
        chassis_config_each(config, find_place, &place);
        if (place.origin != NULL && strcmp(place.origin, "default") != 0) {
            chassis_buf_printf(&out, "%s: ", place.origin);
        }
        chassis_buf_append(&out, line, len);
        chassis_buf_append_byte(&out, '\n');
        line += len + (line[len] == '\n');
    }
    chassis_buf_fini(problems);
    *problems = out;
}

int runtime_load(struct chassis *c)
{
    char **argv = chassis_base_alloc(((size_t)c->argc + 1) * sizeof *argv);
    int argc;
    struct flags flags = take_flags(c->argc, c->argv, argv, &argc);
    apply_defaults(c);
    int result = -1;
    struct chassis_buf problems = {0};
    struct chassis_error err = {0};
    if (flags.help) {
        print_help(c);
        result = 0;
    } else if (flags.reference) {
        print_reference(c);
        result = 0;
    } else if (flags.version) {
        printf("%s %s\n", c->name, DRAFT_VERSION);
        result = 0;
    } else {
        struct chassis_config_source source = {
            .tables = c->tables, .structs = c->structs, .argc = argc, .argv = argv};
        int rc = chassis_config_load(&source, &c->config, &problems, &err);
        if (rc == 0) {
            c->settings.name = c->settings.name != NULL ? c->settings.name : c->name;
            rc = chassis_settings_check(&c->settings, &problems);
            if (rc != 0) {
                add_places(c->config, &problems);
            }
        }
        if (rc != 0) {
            complain(c, &problems, &err);
            result = 2;
        } else if (flags.print) {
            struct chassis_buf out = {0};
            chassis_config_print(c->config, &out);
            fwrite(out.data, 1, out.len, stdout);
            chassis_buf_fini(&out);
            result = 0;
        } else if (flags.check) {
            printf("configuration is good\n");
            result = 0;
        }
    }
    chassis_buf_fini(&problems);
    free(argv);
    return result;
}
