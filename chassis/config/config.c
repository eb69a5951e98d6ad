/* Loading: entries from the tables, values from the sources, everything into the caller's structs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "config/entry.h"

void chassis_config_problem(struct chassis_config *config, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (config->n_problems++ < 100) {
        size_t start = config->problems.len;
        chassis_buf_vprintf(&config->problems, format, args);
        for (size_t i = start; i < config->problems.len; i++) { /* a name may hold anything */
            if (config->problems.data[i] < 0x20 || config->problems.data[i] == 0x7f) {
                config->problems.data[i] = '?';
            }
        }
        chassis_buf_append_byte(&config->problems, '\n');
    }
    va_end(args);
}

static struct config_entry *entry_add(struct chassis_config *config)
{
    if (config->n == config->cap) {
        config->cap = config->cap != 0 ? 2 * config->cap : 64;
        config->entries =
            chassis_base_realloc(config->entries, config->cap * sizeof *config->entries);
    }
    struct config_entry *entry = &config->entries[config->n++];
    *entry = (struct config_entry){.origin = "default"};
    return entry;
}

struct config_entry *chassis_config_find(struct chassis_config *config, const char *name)
{
    for (size_t i = 0; i < config->n; i++) {
        if (strchr(config->entries[i].name, '*') == NULL &&
            strcmp(config->entries[i].name, name) == 0) {
            return &config->entries[i];
        }
    }
    for (size_t i = 0, wilds = 0; i < config->n; i++) {
        struct chassis_view wild;
        wilds += config->entries[i].wild != NULL;
        if (wilds > CHASSIS_CONFIG_ITEMS_MAX) {
            return NULL;
        }
        if (chassis_config_wild_match(config->entries[i].name, name, &wild)) {
            struct config_entry *entry = entry_add(config);
            entry->key = config->entries[i].key;
            entry->table = config->entries[i].table;
            entry->name = chassis_arena_strdup(&config->arena, name);
            entry->wild = chassis_arena_strndup(&config->arena, wild.data, wild.len);
            return entry;
        }
    }
    return NULL;
}

/* Does any key begin with `name` and a dot? A `*` in it stands for any segment. */
bool chassis_config_is_section(const struct chassis_config *config, const char *name)
{
    for (size_t i = 0; i < config->n; i++) {
        const char *key = config->entries[i].key->name, *p = name;
        while (*p != '\0' && *key != '\0') {
            if (*key == '*') {
                p += strcspn(p, ".");
                key++;
            } else if (*key++ != *p++) {
                key = "";
                p = "x";
            }
        }
        if (*p == '\0' && *key == '.') {
            return true;
        }
    }
    return false;
}

void chassis_config_assign(struct chassis_config *config, struct config_entry *entry,
                           const char *text, const char *origin)
{
    char why[256];
    struct config_value value = {0};
    const char *copy = chassis_arena_strdup(&config->arena, text);
    if (!chassis_config_value_parse(&config->arena, entry->key, copy, &value, why)) {
        bool secret = (entry->key->flags & CHASSIS_CONFIG_SECRET) != 0;
        chassis_config_problem(config, "%s: %s: '%.128s' is %s", origin, entry->name,
                               secret ? "***" : text, why);
        return;
    }
    entry->text = copy;
    entry->origin = origin;
    entry->value = value;
}

static void take_tables(struct chassis_config *config,
                        const struct chassis_config_key *const *tables)
{
    for (unsigned t = 0; tables[t] != NULL; t++) {
        for (const struct chassis_config_key *key = tables[t]; key->name != NULL; key++) {
            for (size_t i = 0; i < config->n; i++) { /* the same key twice is a bug */
                CHASSIS_ASSERT(strcmp(config->entries[i].name, key->name) != 0);
            }
            bool wild = strchr(key->name, '*') != NULL;
            CHASSIS_ASSERT(!wild || (key->type == CHASSIS_CONFIG_STRING && key->initial == NULL));
            CHASSIS_ASSERT(key->type != CHASSIS_CONFIG_ENUM || key->choices != NULL);
            struct config_entry *entry = entry_add(config);
            entry->key = key;
            entry->table = t;
            entry->name = key->name;
            if (key->initial != NULL) {
                chassis_config_assign(config, entry, key->initial, "default");
                CHASSIS_ASSERT(config->n_problems == 0); /* a default must be valid */
            }
        }
    }
}

/* --config FILE, else the caller's, else DRAFT_CONFIG, else ./config.yaml if there is one. */
static const char *choose_file(const struct chassis_config_source *source, char **environment)
{
    const char *file = source->file;
    for (; file == NULL && *environment != NULL; environment++) {
        if (strncmp(*environment, "DRAFT_CONFIG=", 13) == 0 && (*environment)[13] != '\0') {
            file = *environment + 13;
        }
    }
    for (int i = 1; i < source->argc; i++) {
        if (strncmp(source->argv[i], "--config=", 9) == 0) {
            file = source->argv[i] + 9;
        } else if (strcmp(source->argv[i], "--config") == 0 && i + 1 < source->argc) {
            file = source->argv[++i];
        }
    }
    if (file == NULL && access("./config.yaml", F_OK) == 0) {
        file = "./config.yaml";
    }
    return file;
}

static void check_required(struct chassis_config *config)
{
    for (size_t i = 0; i < config->n; i++) {
        const struct config_entry *entry = &config->entries[i];
        if ((entry->key->flags & CHASSIS_CONFIG_REQUIRED) != 0 && entry->wild == NULL &&
            strchr(entry->name, '*') == NULL && (entry->text == NULL || entry->text[0] == '\0')) {
            char name[512];
            chassis_config_env_name(entry->name, name, sizeof name);
            chassis_config_problem(config, "'%s' is required: set it in the file, as %s or --%s",
                                   entry->name, name, entry->name);
        }
    }
}

/* All names found for a key with `*`. */
static struct chassis_config_pairs collect(struct chassis_config *config,
                                           const struct chassis_config_key *key)
{
    size_t n = 0;
    for (size_t i = 0; i < config->n; i++) {
        n += config->entries[i].key == key && config->entries[i].wild != NULL &&
             config->entries[i].text != NULL;
    }
    struct chassis_config_pair *pairs =
        chassis_arena_alloc(&config->arena, (n != 0 ? n : 1) * sizeof *pairs);
    size_t used = 0;
    for (size_t i = 0; i < config->n; i++) {
        const struct config_entry *entry = &config->entries[i];
        if (entry->key == key && entry->wild != NULL && entry->text != NULL) {
            pairs[used++] = (struct chassis_config_pair){entry->wild, entry->text};
        }
    }
    return (struct chassis_config_pairs){.items = pairs, .n = n};
}

static size_t value_size(const struct config_entry *entry)
{
    switch (entry->key->type) {
    case CHASSIS_CONFIG_STRING:
        return strchr(entry->name, '*') != NULL ? sizeof(struct chassis_config_pairs)
                                                : sizeof(const char *);
    case CHASSIS_CONFIG_BOOL:
        return sizeof(bool);
    case CHASSIS_CONFIG_INT:
    case CHASSIS_CONFIG_SIZE:
    case CHASSIS_CONFIG_DURATION:
        return sizeof(uint64_t);
    case CHASSIS_CONFIG_ENUM:
        return sizeof(int);
    case CHASSIS_CONFIG_LIST:
        return sizeof(struct chassis_config_list);
    }
    CHASSIS_PANIC("configuration key '%s' of unknown type", entry->name);
}

static void fill(struct chassis_config *config, void *const *structs)
{
    for (size_t i = 0; i < config->n; i++) {
        struct config_entry *entry = &config->entries[i];
        if (entry->wild != NULL) {
            continue; /* part of its key's pairs */
        }
        if (strchr(entry->name, '*') != NULL) {
            entry->value.is.pairs = collect(config, entry->key);
        }
        memcpy((uint8_t *)structs[entry->table] + entry->key->offset, &entry->value.is,
               value_size(entry));
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct config_entry *)a)->name, ((const struct config_entry *)b)->name);
}

/* The first problem, and how many more there are. */
static int report(struct chassis_config *config, struct chassis_error *err)
{
    const char *text = (const char *)config->problems.data;
    int first = (int)strcspn(text, "\n");
    if (config->n_problems == 1) {
        return chassis_error_set(err, CHASSIS_CONFIG, "%.*s", first, text);
    }
    return chassis_error_set(err, CHASSIS_CONFIG, "%.*s (and %u more)", first < 480 ? first : 480,
                             text, config->n_problems - 1);
}

int chassis_config_load(const struct chassis_config_source *source,
                        struct chassis_config **ret_config, struct chassis_buf *ret_problems,
                        struct chassis_error *err)
{
    char **environment = source->environment != NULL ? source->environment : environ;
    struct chassis_config *config = chassis_base_zalloc(sizeof *config);
    chassis_arena_init(&config->arena, NULL, 0, 0);
    take_tables(config, source->tables);
    const char *file = choose_file(source, environment);
    if (file != NULL) {
        chassis_config_take_file(config, file);
    }
    chassis_config_take_environment(config, environment);
    chassis_config_take_flags(config, source->argc, source->argv);
    check_required(config);
    if (config->n_problems != 0) {
        int rc = report(config, err);
        if (config->n_problems > 100) {
            chassis_buf_printf(&config->problems, "and %u more\n", config->n_problems - 100);
        }
        if (ret_problems != NULL) {
            chassis_buf_append_view(ret_problems, chassis_buf_view(&config->problems));
        }
        chassis_config_free(config);
        return rc;
    }
    fill(config, source->structs);
    qsort(config->entries, config->n, sizeof *config->entries, by_name);
    *ret_config = config;
    return 0;
}

void chassis_config_free(struct chassis_config *config)
{
    if (config != NULL) {
        chassis_arena_fini(&config->arena);
        chassis_buf_fini(&config->problems);
        free(config->entries);
        free(config);
    }
}
