/* The three sources that override the defaults: file, environment, command line. */
#include <stdio.h>
#include <string.h>

#include "config/entry.h"

/* Variables of the platform that are no configuration keys. */
static const char *const other_variables[] = {"DRAFT_CONFIG",  "DRAFT_TMP",     "DRAFT_BIN",
                                              "DRAFT_SOURCE",  "DRAFT_CONTEXT", "DRAFT_ENDPOINT",
                                              "DRAFT_TIMEOUT", "DRAFT_PROCESS", "DRAFT_TOKEN"};

static void unknown(struct chassis_config *config, const char *where, const char *name,
                    bool section)
{
    char nearest[256];
    chassis_config_nearest(config, name, section, nearest, sizeof nearest);
    if (nearest[0] != '\0') {
        chassis_config_problem(config, "%s: unknown key '%.128s'; did you mean '%s'?", where, name,
                               nearest);
    } else {
        chassis_config_problem(config, "%s: unknown key '%.128s'; --help lists all", where, name);
    }
}

/* A flag that is no key may be meant to be one of those every program answers by itself. */
static void unknown_flag(struct chassis_config *config, const char *name)
{
    static const char *const asked[] = {"help",         "version",          "check-config",
                                        "print-config", "config-reference", "config"};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        if (chassis_config_distance(name, asked[i]) <= 2) {
            chassis_config_problem(config,
                                   "command line: unknown flag '--%.128s'; did you mean "
                                   "'--%s'?",
                                   name, asked[i]);
            return;
        }
    }
    unknown(config, "command line", name, false);
}

/* A sequence as the text its list is read from; false if an item cannot be one. */
static bool join(struct chassis_config *config, const struct chassis_yaml_node *sequence,
                 const char *where, const char *name, const char **ret_text)
{
    struct chassis_buf text = {0};
    chassis_buf_append_str(&text, "");
    bool good = true;
    for (const struct chassis_yaml_node *item = sequence->first; item != NULL && good;
         item = item->next) {
        if (item->kind != CHASSIS_YAML_SCALAR || item->text == NULL || item->text[0] == '\0') {
            chassis_config_problem(config, "%s: '%s' has an item that is no text", where, name);
            good = false;
        } else if (strchr(item->text, ',') != NULL) {
            chassis_config_problem(config, "%s: '%s' has an item with a comma", where, name);
            good = false;
        } else {
            chassis_buf_printf(&text, "%s%s", item != sequence->first ? "," : "", item->text);
        }
    }
    *ret_text = chassis_arena_strndup(&config->arena, text.data, text.len);
    chassis_buf_fini(&text);
    return good;
}

static void take_leaf(struct chassis_config *config, const char *file, struct config_entry *entry,
                      const struct chassis_yaml_node *node)
{
    const char *where = chassis_arena_printf(&config->arena, "%s:%u", file, node->line);
    if (entry->file_line != 0) {
        chassis_config_problem(config, "%s: '%s' is set twice, first on line %u", where,
                               entry->name, entry->file_line);
        return;
    }
    entry->file_line = node->line;
    const char *text = node->text;
    bool list = entry->key->type == CHASSIS_CONFIG_LIST;
    if (node->kind == CHASSIS_YAML_MAP || (node->kind == CHASSIS_YAML_SEQUENCE && !list)) {
        chassis_config_problem(config, "%s: '%s' must be one value, not a %s", where, entry->name,
                               node->kind == CHASSIS_YAML_MAP ? "map" : "list");
        return;
    }
    if (node->kind == CHASSIS_YAML_SEQUENCE && !join(config, node, where, entry->name, &text)) {
        return;
    }
    if (text != NULL) { /* null: as if it were not there */
        chassis_config_assign(config, entry, text, where);
    }
}

/* `prefix` is the path so far, with its last dot. Depth is bounded by the YAML reader. */
static void take_map(struct chassis_config *config, const char *file, const char *prefix,
                     const struct chassis_yaml_node *map)
{
    for (const struct chassis_yaml_node *node = map->first; node != NULL; node = node->next) {
        char name[512], where[512];
        snprintf(where, sizeof where, "%.400s:%u", file, node->line);
        if ((size_t)snprintf(name, sizeof name, "%s%s", prefix, node->key) >= sizeof name - 1) {
            chassis_config_problem(config, "%s: a key longer than 510 bytes", where);
            continue;
        }
        struct config_entry *entry = chassis_config_find(config, name);
        if (entry != NULL) {
            take_leaf(config, file, entry, node);
        } else if (!chassis_config_is_section(config, name)) {
            unknown(config, where, name, node->kind == CHASSIS_YAML_MAP);
        } else if (node->kind == CHASSIS_YAML_MAP) {
            name[strlen(name) + 1] = '\0';
            name[strlen(name)] = '.';
            take_map(config, file, name, node);
        } else if (node->kind != CHASSIS_YAML_SCALAR || node->text != NULL) {
            chassis_config_problem(config, "%s: '%s' is a section, its keys go below it", where,
                                   name);
        }
    }
}

void chassis_config_take_file(struct chassis_config *config, const char *path)
{
    struct chassis_error err = {0};
    struct chassis_yaml *yaml = NULL;
    if (chassis_yaml_load(path, &yaml, &err) != 0) {
        chassis_config_problem(config, "%s", chassis_error_text(&err));
        return;
    }
    const struct chassis_yaml_node *root = chassis_yaml_root(yaml);
    if (root != NULL && root->kind == CHASSIS_YAML_MAP) {
        take_map(config, path, "", root);
    } else if (root != NULL && (root->kind != CHASSIS_YAML_SCALAR || root->text != NULL)) {
        chassis_config_problem(config, "%s:%u: a configuration is a map of keys", path, root->line);
    }
    chassis_yaml_free(yaml);
}

/* The entry whose environment name is `variable`; with a `*` in its key, also a new one. */
static struct config_entry *find_variable(struct chassis_config *config, const char *variable)
{
    char name[512];
    for (size_t i = 0; i < config->n; i++) {
        if (strchr(config->entries[i].name, '*') == NULL) {
            chassis_config_env_name(config->entries[i].name, name, sizeof name);
            if (strcmp(name, variable) == 0) {
                return &config->entries[i];
            }
        }
    }
    for (size_t i = 0; i < config->n; i++) {
        struct chassis_view wild;
        chassis_config_env_name(config->entries[i].name, name, sizeof name);
        if (chassis_config_wild_match(name, variable, &wild)) {
            const char *pattern = config->entries[i].name;
            size_t before = (size_t)(strchr(pattern, '*') - pattern);
            snprintf(name, sizeof name, "%.*s%.*s%s", (int)before, pattern, CHASSIS_VIEW_ARG(wild),
                     pattern + before + 1);
            for (char *p = name + before; p < name + before + wild.len; p++) {
                *p = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
            }
            return chassis_config_find(config, name);
        }
    }
    return NULL;
}

/* DRAFT_ variables are shared by all programs of a machine, so one that belongs to another program
 * is fine. It is an error where it begins like a section we know, or is a near miss of a key. */
static void unknown_variable(struct chassis_config *config, const char *variable)
{
    const char *nearest = NULL;
    unsigned best = 1000;
    bool ours = false;
    char name[512];
    for (size_t i = 0; i < config->n; i++) {
        chassis_config_env_name(config->entries[i].key->name, name, sizeof name);
        unsigned distance = chassis_config_distance(name, variable);
        if (distance < best) {
            best = distance;
            nearest = config->entries[i].key->name;
        }
        size_t section = strlen("DRAFT_") + strcspn(config->entries[i].key->name, ".-");
        ours = ours || (name[section] != '\0' && strncmp(name, variable, section + 1) == 0);
    }
    if (nearest == NULL || (!ours && best > 2)) {
        return;
    }
    chassis_config_env_name(nearest, name, sizeof name);
    chassis_config_problem(config, "environment: unknown variable '%.128s'; the nearest is '%s'",
                           variable, name);
}

void chassis_config_take_environment(struct chassis_config *config, char **environment)
{
    for (; *environment != NULL; environment++) {
        const char *equals = strchr(*environment, '=');
        if (equals == NULL || strncmp(*environment, "DRAFT_", 6) != 0) {
            continue;
        }
        const char *name =
            chassis_arena_strndup(&config->arena, *environment, (size_t)(equals - *environment));
        bool other = strncmp(name, "DRAFT_SECRET_", 13) == 0;
        for (size_t i = 0; i < sizeof other_variables / sizeof other_variables[0]; i++) {
            other = other || strcmp(name, other_variables[i]) == 0;
        }
        struct config_entry *entry = find_variable(config, name);
        if (entry != NULL) {
            chassis_config_assign(config, entry, equals + 1, name);
        } else if (!other) {
            unknown_variable(config, name);
        }
    }
}

/* `--key=value`, `--key value`; a boolean also alone. */
void chassis_config_take_flags(struct chassis_config *config, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) != 0 || argv[i][2] == '\0') {
            chassis_config_problem(config, "command line: unexpected argument '%.128s'", argv[i]);
            continue;
        }
        const char *equals = strchr(argv[i], '=');
        size_t len = equals != NULL ? (size_t)(equals - argv[i]) : strlen(argv[i]);
        const char *flag = chassis_arena_strndup(&config->arena, argv[i], len);
        const char *value = equals != NULL ? equals + 1 : NULL;
        bool is_config = strcmp(flag, "--config") == 0;
        struct config_entry *entry = is_config ? NULL : chassis_config_find(config, flag + 2);
        if (entry == NULL && !is_config) {
            unknown_flag(config, flag + 2);
            if (value == NULL && i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0) {
                i++; /* most probably its value: one mistake, one message */
            }
            continue;
        }
        bool next = value == NULL && i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0;
        if (entry != NULL && entry->key->type == CHASSIS_CONFIG_BOOL && value == NULL) {
            struct config_value is_bool;
            char why[256];
            next = next && chassis_config_value_parse(&config->arena, entry->key, argv[i + 1],
                                                      &is_bool, why);
            value = next ? NULL : "true";
        }
        if (value == NULL && !next) {
            chassis_config_problem(config, "command line: '%s' needs a value", flag);
            continue;
        }
        value = value != NULL ? value : argv[++i];
        if (entry != NULL) {
            chassis_config_assign(config, entry, value, flag);
        }
    }
}
