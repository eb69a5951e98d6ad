/* Any bytes as a YAML document and as a configuration file: never a crash; a tree that was read
 * prints and reads back as the same tree; a configuration that was loaded keeps its ranges and
 * prints what loads again. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chassis/config.h>

#include "base/assert.h"
#include "config/yaml.h"

struct settings {
    const char *text;
    bool flag;
    int64_t number;
    uint64_t size, time;
    int choice;
    struct chassis_config_list list;
    struct chassis_config_pairs pairs;
};

static const char *const choices[] = {"one", "two", NULL};
static const struct chassis_config_key table[] = {
    {.name = "a.text",
     .type = CHASSIS_CONFIG_STRING,
     .offset = offsetof(struct settings, text),
     .help = "h"},
    {.name = "a.flag",
     .type = CHASSIS_CONFIG_BOOL,
     .offset = offsetof(struct settings, flag),
     .help = "h"},
    {.name = "a.number",
     .type = CHASSIS_CONFIG_INT,
     .offset = offsetof(struct settings, number),
     .initial = "1",
     .min = -5,
     .max = 100,
     .help = "h"},
    {.name = "b.size",
     .type = CHASSIS_CONFIG_SIZE,
     .offset = offsetof(struct settings, size),
     .initial = "1KiB",
     .min = 10,
     .max = 1 << 20,
     .help = "h"},
    {.name = "b.time",
     .type = CHASSIS_CONFIG_DURATION,
     .offset = offsetof(struct settings, time),
     .help = "h"},
    {.name = "choice",
     .type = CHASSIS_CONFIG_ENUM,
     .offset = offsetof(struct settings, choice),
     .choices = choices,
     .help = "h"},
    {.name = "list",
     .type = CHASSIS_CONFIG_LIST,
     .offset = offsetof(struct settings, list),
     .help = "h"},
    {.name = "r.*.path",
     .type = CHASSIS_CONFIG_STRING,
     .offset = offsetof(struct settings, pairs),
     .help = "h"},
    {.name = NULL},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(const struct chassis_yaml_node *a, const struct chassis_yaml_node *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    if (a->kind != b->kind || a->n != b->n || (a->text == NULL) != (b->text == NULL) ||
        (a->text != NULL && strcmp(a->text, b->text) != 0) ||
        (a->key != NULL && strcmp(a->key, b->key) != 0)) {
        return false;
    }
    const struct chassis_yaml_node *x = a->first, *y = b->first;
    while (x != NULL && same(x, y)) {
        x = x->next;
        y = y->next;
    }
    return x == NULL;
}

static void try_tree(struct chassis_view text)
{
    struct chassis_yaml *yaml = NULL, *back = NULL;
    struct chassis_error err = {0};
    if (chassis_yaml_parse(text, "fuzz", &yaml, &err) != 0) {
        CHASSIS_ASSERT(yaml == NULL && err.code != 0 && err.text[0] != '\0');
        return;
    }
    struct chassis_buf out = {0};
    chassis_yaml_emit(chassis_yaml_root(yaml), &out);
    if (out.len <= CHASSIS_YAML_FILE_MAX) {
        if (chassis_yaml_parse(chassis_buf_view(&out), "again", &back, &err) != 0) {
            CHASSIS_PANIC("%s in: %s", err.text, (char *)out.data);
        }
        CHASSIS_ASSERT(same(chassis_yaml_root(yaml), chassis_yaml_root(back)));
    }
    chassis_buf_fini(&out);
    chassis_yaml_free(back);
    chassis_yaml_free(yaml);
}

/* Loads through the real path, a file. */
static int load(struct chassis_view text, struct settings *settings, struct chassis_config **config)
{
    const struct chassis_config_key *const tables[] = {table, NULL};
    void *structs[] = {settings};
    char *none[] = {NULL}, path[64];
    struct chassis_error err = {0};
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    CHASSIS_ASSERT(fd >= 0 && write(fd, text.data, text.len) == (ssize_t)text.len);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct chassis_config_source source = {
        .tables = tables, .structs = structs, .file = path, .environment = none};
    int rc = chassis_config_load(&source, config, NULL, &err);
    close(fd);
    CHASSIS_ASSERT(rc == 0 || (rc == CHASSIS_CONFIG && err.text[0] != '\0' && *config == NULL));
    return rc;
}

static void try_config(struct chassis_view text)
{
    struct settings settings = {0}, again = {0};
    struct chassis_config *config = NULL, *back = NULL;
    if (load(text, &settings, &config) != 0) {
        return;
    }
    CHASSIS_ASSERT(settings.number >= -5 && settings.number <= 100);
    CHASSIS_ASSERT(settings.size >= 10 && settings.size <= 1 << 20);
    struct chassis_buf out = {0};
    chassis_config_print(config, &out);
    if (out.len <= CHASSIS_YAML_FILE_MAX) {
        CHASSIS_ASSERT(load(chassis_buf_view(&out), &again, &back) == 0);
        CHASSIS_ASSERT(again.number == settings.number && again.time == settings.time);
        CHASSIS_ASSERT(again.list.n == settings.list.n && again.pairs.n == settings.pairs.n);
        CHASSIS_ASSERT((again.text == NULL) == (settings.text == NULL));
        CHASSIS_ASSERT(again.text == NULL || strcmp(again.text, settings.text) == 0);
    }
    chassis_buf_fini(&out);
    chassis_config_free(back);
    chassis_config_free(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_tree(chassis_view(data, size));
    try_config(chassis_view(data, size));
    return 0;
}
