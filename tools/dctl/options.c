/* From argv to a command, its options and its arguments, by the tables of commands.c. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "dctl.h"

int dctl_usage(struct dctl *d, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("dctl: ", d->err);
    vfprintf(d->err, format, args);
    va_end(args);
    if (d->command != NULL) {
        fprintf(d->err, "\ntry: dctl help %s\n", d->command->name);
    } else {
        fputs("\ntry: dctl help\n", d->err);
    }
    return DCTL_USAGE;
}

int dctl_parse_number(const char *text, uint64_t *ret_number)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0) {
        return CHASSIS_INVALID_ARGUMENT;
    }
    *ret_number = n;
    return 0;
}

int dctl_parse_size(const char *text, uint64_t *ret_bytes)
{
    static const struct {
        const char *unit;
        unsigned shift;
    } units[] = {{"", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 18) {
        return CHASSIS_INVALID_ARGUMENT;
    }
    uint64_t n = strtoull(text, NULL, 10);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + digits, units[i].unit) == 0 && n <= UINT64_MAX >> units[i].shift) {
            *ret_bytes = n << units[i].shift;
            return 0;
        }
    }
    return CHASSIS_INVALID_ARGUMENT;
}

int dctl_parse_duration_ms(const char *text, uint64_t *ret_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 12) {
        return CHASSIS_INVALID_ARGUMENT;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + digits, units[i].unit) == 0) {
            *ret_ms = strtoull(text, NULL, 10) * units[i].ms;
            return 0;
        }
    }
    return CHASSIS_INVALID_ARGUMENT;
}

/* Is `name` a whole word (or several) at the beginning of `command`? */
static bool has_words(const char *command, const char *name)
{
    size_t n = strlen(name);
    return strncmp(command, name, n) == 0 && (command[n] == '\0' || command[n] == ' ');
}

static const struct dctl_option *find_in(const struct dctl_option *table, const char *name,
                                         size_t len, char letter)
{
    for (; table != NULL && table->name != NULL; table++) {
        if (letter != 0 ? table->letter == letter
                        : strlen(table->name) == len && strncmp(table->name, name, len) == 0) {
            return table;
        }
    }
    return NULL;
}

static const struct dctl_option *find_option(const struct dctl_command *command, const char *name,
                                             size_t len, char letter)
{
    const struct dctl_option *o =
        find_in(command != NULL ? command->options : NULL, name, len, letter);
    return o != NULL ? o : find_in(dctl_global_options, name, len, letter);
}

static int check_value(struct dctl *d, const struct dctl_option *o, const char *value)
{
    uint64_t n;
    switch (o->value) {
    case DCTL_NUMBER:
        if (dctl_parse_number(value, &n) != 0) {
            return dctl_usage(d, "--%s takes a number, not '%s'", o->name, value);
        }
        break;
    case DCTL_DURATION:
        if (dctl_parse_duration_ms(value, &n) != 0) {
            return dctl_usage(d, "--%s takes a time such as 500ms, 5s or 2m, not '%s'", o->name,
                              value);
        }
        break;
    case DCTL_SIZE:
        if (dctl_parse_size(value, &n) != 0) {
            return dctl_usage(d, "--%s takes bytes or a size such as 64MiB or 2GiB, not '%s'",
                              o->name, value);
        }
        break;
    case DCTL_CHOICE:
        for (const char *const *c = o->choices; *c != NULL; c++) {
            if (strcmp(*c, value) == 0) {
                return 0;
            }
        }
        return dctl_usage(d, "--%s cannot be '%s'", o->name, value);
    case DCTL_FLAG:
    case DCTL_STRING:
    case DCTL_FILE:
        break;
    }
    return 0;
}

static int take(struct dctl *d, const struct dctl_option *o, const char *value)
{
    if (d->n_given == DCTL_GIVEN_MAX) {
        return dctl_usage(d, "more than %d options", DCTL_GIVEN_MAX);
    }
    int rc = value != NULL ? check_value(d, o, value) : 0;
    if (rc == 0) {
        d->given[d->n_given++] = (struct dctl_given){o, value};
    }
    return rc;
}

/* argv[*at] is an option: take it with its value, moving *at to the last word used. */
static int parse_option(struct dctl *d, int argc, char **argv, int *at)
{
    const char *word = argv[*at], *value = NULL;
    const struct dctl_option *o;
    if (word[1] == '-') {
        const char *name = word + 2;
        const char *equals = strchr(name, '=');
        size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
        o = find_option(d->command, name, len, 0);
        value = equals != NULL ? equals + 1 : NULL;
    } else {
        o = find_option(d->command, "", 0, word[1]);
        value = word[2] != '\0' ? word + 2 : NULL;
    }
    if (o == NULL) {
        return dctl_usage(d, "no option '%s'%s%s", word, d->command != NULL ? " for " : "",
                          d->command != NULL ? d->command->name : "");
    }
    if (o->value == DCTL_FLAG) {
        return value == NULL ? take(d, o, NULL) : dctl_usage(d, "--%s takes no value", o->name);
    }
    if (value == NULL) {
        if (*at + 1 >= argc) {
            return dctl_usage(d, "--%s needs a value: %s", o->name, o->arg);
        }
        value = argv[++*at];
    }
    return take(d, o, value);
}

/* Does an option word that stands before the command carry its value in the next word? */
static bool value_follows(const char *word)
{
    const struct dctl_option *o =
        word[1] == '-' ? find_in(dctl_global_options, word + 2, strlen(word + 2), 0)
                       : (word[2] == '\0' ? find_in(dctl_global_options, "", 0, word[1]) : NULL);
    return o != NULL && o->value != DCTL_FLAG;
}

/* The command is the first one or two words that are no options; what they are is marked in `used`.
 * Also finds a group ("kv"): *ret_group, with no command. */
static const struct dctl_command *find_command(int argc, char **argv, bool *used, char group[64])
{
    int first = 0, second = 0;
    for (int i = 1; i < argc && second == 0; i++) {
        if (argv[i][0] == '-' && argv[i][1] != '\0') {
            i += value_follows(argv[i]);
        } else if (first == 0) {
            first = i;
        } else {
            second = i;
        }
    }
    group[0] = '\0';
    if (first == 0) {
        return NULL;
    }
    char both[64];
    snprintf(both, sizeof both, "%s %s", argv[first], second != 0 ? argv[second] : "");
    const struct dctl_command *single = NULL;
    for (const struct dctl_command *c = dctl_commands; c->name != NULL; c++) {
        if (strcmp(c->name, both) == 0) {
            used[first] = used[second] = true;
            return c;
        }
        if (strcmp(c->name, argv[first]) == 0) {
            single = c;
        } else if (has_words(c->name, argv[first])) {
            snprintf(group, 64, "%s", argv[first]);
        }
    }
    if (single != NULL) {
        used[first] = true;
    } else if (group[0] == '\0') {
        snprintf(group, 64, "?%.62s", argv[first]);
    } else if (second != 0) {
        snprintf(group, 64, "?%.62s", both);
    }
    return single;
}

static struct dctl_parsed stop(int exit_code)
{
    return (struct dctl_parsed){NULL, 0, NULL, exit_code};
}

/* No command was named: help if that was asked for, else what is wrong. */
static struct dctl_parsed without_command(struct dctl *d, const char *group)
{
    if (group[0] == '?') {
        return stop(dctl_usage(d, "no command '%s'", group + 1));
    }
    bool help = dctl_flag(d, "help");
    dctl_help(help ? d->out : d->err, group);
    return stop(help ? DCTL_OK : DCTL_USAGE);
}

struct dctl_parsed dctl_parse(struct dctl *d, int argc, char **argv)
{
    char group[64];
    bool *used = chassis_arena_zalloc(&d->arena, (size_t)argc * sizeof *used);
    char **rest = chassis_arena_zalloc(&d->arena, ((size_t)argc + 1) * sizeof *rest);
    int n = 0;
    d->command = find_command(argc, argv, used, group);
    bool options_end = false;
    for (int i = 1; i < argc; i++) {
        if (used[i]) {
            continue;
        }
        if (!options_end && strcmp(argv[i], "--") == 0) {
            options_end = true;
        } else if (!options_end && argv[i][0] == '-' && argv[i][1] != '\0') {
            if (d->command == NULL && group[0] == '?') {
                break; /* the unknown command is the thing to report */
            }
            int rc = parse_option(d, argc, argv, &i);
            if (rc != 0) {
                return stop(rc);
            }
        } else {
            rest[n++] = argv[i];
        }
    }
    if (d->command == NULL) {
        return without_command(d, group);
    }
    if (dctl_flag(d, "help")) {
        dctl_help(d->out, d->command->name);
        return stop(DCTL_OK);
    }
    if (n < (int)d->command->args_min || n > (int)d->command->args_max) {
        return stop(dctl_usage(
            d, n < (int)d->command->args_min ? "%s needs %s" : "%s takes only %s", d->command->name,
            d->command->args[0] != '\0' ? d->command->args : "options"));
    }
    return (struct dctl_parsed){d->command, n, rest, 0};
}

static const struct dctl_given *find_given(const struct dctl *d, const char *name, unsigned nth)
{
    CHASSIS_ASSERT(find_option(d->command, name, strlen(name), 0) != NULL);
    unsigned seen = 0;
    for (unsigned i = 0; i < d->n_given; i++) {
        if (strcmp(d->given[i].option->name, name) == 0 && seen++ == nth) {
            return &d->given[i];
        }
    }
    return NULL;
}

const char *dctl_repeated(const struct dctl *d, const char *name, unsigned nth)
{
    const struct dctl_given *g = find_given(d, name, nth);
    return g != NULL ? g->value : NULL;
}

const char *dctl_string(const struct dctl *d, const char *name)
{
    const char *value = NULL;
    for (unsigned i = 0; dctl_repeated(d, name, i) != NULL; i++) {
        value = dctl_repeated(d, name, i);
    }
    return value;
}

bool dctl_flag(const struct dctl *d, const char *name)
{
    return find_given(d, name, 0) != NULL;
}

uint64_t dctl_number(const struct dctl *d, const char *name, uint64_t otherwise)
{
    const char *text = dctl_string(d, name);
    uint64_t n = otherwise;
    if (text != NULL) {
        dctl_parse_number(text, &n);
    }
    return n;
}

uint64_t dctl_size(const struct dctl *d, const char *name, uint64_t otherwise)
{
    const char *text = dctl_string(d, name);
    uint64_t bytes = otherwise;
    if (text != NULL) {
        dctl_parse_size(text, &bytes);
    }
    return bytes;
}

uint64_t dctl_duration_ms(const struct dctl *d, const char *name, uint64_t otherwise)
{
    const char *text = dctl_string(d, name);
    uint64_t ms = otherwise;
    if (text != NULL) {
        dctl_parse_duration_ms(text, &ms);
    }
    return ms;
}
