/* The table as text: the effective configuration, --help, the reference. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "config/entry.h"

/* The value as written, the zero of its type where nothing was; *** for a secret. */
static const char *shown(const struct config_entry *entry)
{
    if (entry->text != NULL && entry->text[0] != '\0' &&
        (entry->key->flags & CHASSIS_CONFIG_SECRET) != 0) {
        return "***";
    }
    if (entry->text != NULL) {
        return entry->text;
    }
    switch (entry->key->type) {
    case CHASSIS_CONFIG_BOOL:
        return "false";
    case CHASSIS_CONFIG_INT:
    case CHASSIS_CONFIG_SIZE:
    case CHASSIS_CONFIG_DURATION:
        return "0";
    case CHASSIS_CONFIG_ENUM:
        return entry->key->choices[0];
    case CHASSIS_CONFIG_STRING:
    case CHASSIS_CONFIG_LIST:
        return "";
    }
    CHASSIS_PANIC("configuration key '%s' of unknown type", entry->name);
}

static void print_value(const struct config_entry *entry, struct chassis_buf *out)
{
    const char *text = shown(entry);
    switch (entry->key->type) {
    case CHASSIS_CONFIG_STRING:
        if (entry->text == NULL) {
            chassis_buf_append_str(out, "null");
        } else {
            chassis_yaml_emit_text(text, out);
        }
        return;
    case CHASSIS_CONFIG_LIST:
        chassis_buf_append_str(out, "[");
        if (strcmp(text, "***") == 0) {
            chassis_yaml_emit_text(text, out);
        } else {
            for (size_t i = 0; i < entry->value.is.list.n; i++) {
                struct chassis_buf item = {0};
                chassis_yaml_emit_text(entry->value.is.list.items[i], &item);
                /* In a flow sequence ':' and brackets mean more than elsewhere: quote these. */
                bool plain = item.data[0] != '"' && strpbrk((char *)item.data, ":()<>=@ ") != NULL;
                chassis_buf_printf(out, "%s%s%s%s", i != 0 ? ", " : "", plain ? "\"" : "",
                                   (char *)item.data, plain ? "\"" : "");
                chassis_buf_fini(&item);
            }
        }
        chassis_buf_append_str(out, "]");
        return;
    case CHASSIS_CONFIG_BOOL:
    case CHASSIS_CONFIG_INT:
    case CHASSIS_CONFIG_SIZE:
    case CHASSIS_CONFIG_DURATION: /* checked: digits and letters */
        chassis_buf_append_str(out, text);
        return;
    case CHASSIS_CONFIG_ENUM:
        chassis_yaml_emit_text(text, out);
        return;
    }
}

void chassis_config_print(const struct chassis_config *config, struct chassis_buf *out)
{
    for (size_t i = 0; i < config->n; i++) {
        const struct config_entry *entry = &config->entries[i];
        if (strchr(entry->name, '*') != NULL) {
            continue;
        }
        chassis_buf_printf(out, "%s: ", entry->name);
        print_value(entry, out);
        chassis_buf_append_str(out, "  # ");
        for (const char *p = entry->origin; *p != '\0'; p++) { /* a comment ends with its line */
            chassis_buf_append_byte(out, (uint8_t)*p < 0x20 ? '?' : (uint8_t)*p);
        }
        chassis_buf_append_byte(out, '\n');
    }
}

void chassis_config_each(const struct chassis_config *config,
                         void (*each)(const char *name, const char *value, const char *origin,
                                      const char *help, void *data),
                         void *data)
{
    for (size_t i = 0; i < config->n; i++) {
        const struct config_entry *entry = &config->entries[i];
        if (strchr(entry->name, '*') == NULL) {
            each(entry->name, shown(entry), entry->origin, entry->key->help, data);
        }
    }
}

static const char *type_text(const struct chassis_config_key *key)
{
    switch (key->type) {
    case CHASSIS_CONFIG_STRING:
        return "text";
    case CHASSIS_CONFIG_BOOL:
        return "true|false";
    case CHASSIS_CONFIG_INT:
        return "number";
    case CHASSIS_CONFIG_SIZE:
        return "size";
    case CHASSIS_CONFIG_DURATION:
        return "duration";
    case CHASSIS_CONFIG_ENUM:
        return "choice";
    case CHASSIS_CONFIG_LIST:
        return "a,b,…";
    }
    CHASSIS_PANIC("configuration key '%s' of unknown type", key->name);
}

static void put_choices(const struct chassis_config_key *key, const char *between,
                        struct chassis_buf *out)
{
    for (int i = 0; key->choices[i] != NULL; i++) {
        chassis_buf_printf(out, "%s%s", i != 0 ? between : "", key->choices[i]);
    }
}

/* "service.network" of "service.network.tls.key": what stands together in the help. */
static size_t group_len(const char *name)
{
    const char *first = strchr(name, '.'), *second = first != NULL ? strchr(first + 1, '.') : NULL;
    const char *end = second != NULL && first[1] != '*' ? second : first;
    return end != NULL ? (size_t)(end - name) : 0;
}

static void put_group(const char *name, const char *before, struct chassis_buf *out)
{
    size_t len = group_len(name);
    if (before == NULL || group_len(before) != len || strncmp(before, name, len) != 0) {
        chassis_buf_printf(out, "\n%.*s\n", (int)len, name);
    }
}

void chassis_config_help(const struct chassis_config_key *const *tables, struct chassis_buf *out)
{
    chassis_buf_append_str(out, "  --config <file>\n        The configuration file; else "
                                "DRAFT_CONFIG, else ./config.yaml.\n");
    const char *before = NULL;
    for (; *tables != NULL; tables++) {
        for (const struct chassis_config_key *key = *tables; key->name != NULL; key++) {
            char range[128], variable[512];
            put_group(key->name, before, out);
            before = key->name;
            chassis_config_value_range(key, range);
            chassis_config_env_name(key->name, variable, sizeof variable);
            chassis_buf_printf(out, "  --%s <", key->name);
            if (key->type == CHASSIS_CONFIG_ENUM) {
                put_choices(key, "|", out);
            } else {
                chassis_buf_append_str(out, type_text(key));
            }
            chassis_buf_printf(out, ">\n        %s\n        %s", key->help, variable);
            if (key->initial != NULL && key->initial[0] != '\0') {
                chassis_buf_printf(out, "; default %s", key->initial);
            }
            if (range[0] != '\0') {
                chassis_buf_printf(out, "; %s", range);
            }
            if ((key->flags & CHASSIS_CONFIG_REQUIRED) != 0) {
                chassis_buf_append_str(out, "; required");
            }
            chassis_buf_append_byte(out, '\n');
        }
    }
}

/* A cell of a Markdown table: '|' and line ends would break it. */
static void put_cell(const char *text, struct chassis_buf *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '|') {
            chassis_buf_append_byte(out, '\\');
        }
        chassis_buf_append_byte(out, *text == '\n' ? ' ' : (uint8_t)*text);
    }
}

void chassis_config_markdown(const struct chassis_config_key *const *tables,
                             struct chassis_buf *out)
{
    chassis_buf_append_str(out, "| key | environment | type | default | meaning |\n"
                                "|---|---|---|---|---|\n");
    for (; *tables != NULL; tables++) {
        for (const struct chassis_config_key *key = *tables; key->name != NULL; key++) {
            char range[128], variable[512];
            chassis_config_value_range(key, range);
            chassis_config_env_name(key->name, variable, sizeof variable);
            chassis_buf_printf(out, "| `%s` | `%s` | ", key->name, variable);
            if (key->type == CHASSIS_CONFIG_ENUM) {
                put_choices(key, ", ", out);
            } else {
                put_cell(type_text(key), out);
            }
            chassis_buf_printf(out, "%s%s | ", range[0] != '\0' ? ", " : "", range);
            if ((key->flags & CHASSIS_CONFIG_REQUIRED) != 0) {
                chassis_buf_append_str(out, "required");
            } else if (key->initial != NULL && key->initial[0] != '\0') {
                chassis_buf_append_byte(out, '`');
                put_cell(key->initial, out);
                chassis_buf_append_byte(out, '`');
            }
            chassis_buf_append_str(out, " | ");
            put_cell(key->help, out);
            chassis_buf_append_str(out, " |\n");
        }
    }
}
