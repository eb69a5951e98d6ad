/* dctl context init, import, set, list, and which context a command acts in. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/yaml.h"
#include "output.h"
#include "project.h"

/* The remembered list: {default: name, contexts: {name: folder}}. */
struct contexts {
    struct chassis_yaml *yaml;
    struct chassis_yaml_node *root, *map;
    const char *file;
};

static const char *list_file(struct dctl *d)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config != NULL && config[0] == '/') {
        return chassis_arena_printf(&d->arena, "%s/draft/contexts.yaml", config);
    }
    return chassis_arena_printf(&d->arena, "%s/.config/draft/contexts.yaml",
                                home != NULL ? home : "");
}

static int contexts_load(struct dctl *d, struct contexts *c, struct chassis_error *err)
{
    c->file = list_file(d);
    if (access(c->file, F_OK) != 0) {
        c->yaml = chassis_yaml_new();
    } else {
        int rc = chassis_yaml_load(c->file, &c->yaml, err);
        if (rc != 0) {
            return rc;
        }
    }
    c->root = chassis_yaml_root(c->yaml);
    if (c->root == NULL || c->root->kind != CHASSIS_YAML_MAP) {
        c->root = chassis_yaml_map(c->yaml);
        chassis_yaml_set_root(c->yaml, c->root);
    }
    c->map = chassis_yaml_get(c->root, "contexts");
    return 0;
}

static int make_folders(const char *file)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", file);
    for (char *p = path + 1; (p = strchr(p, '/')) != NULL; *p++ = '/') {
        *p = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST) {
            return -errno;
        }
    }
    return 0;
}

/* Replace `file` by `text` in one step. */
static int replace_file(const char *file, const struct chassis_buf *text, struct chassis_error *err)
{
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%s.%d", file, (int)getpid());
    int rc = make_folders(file);
    FILE *f = rc == 0 ? fopen(part, "we") : NULL;
    if (f == NULL) {
        return chassis_error_code(err, rc != 0 ? rc : -errno, "write '%s'", file);
    }
    bool written = fwrite(text->data, 1, text->len, f) == text->len;
    written = fclose(f) == 0 && written;
    if (!written || rename(part, file) != 0) {
        rc = chassis_error_code(err, -errno, "write '%s'", file);
        unlink(part);
        return rc;
    }
    return 0;
}

/* Write the list anew with `name` -> `folder` in it (NULL: as it is) and this default. */
static int contexts_save(struct contexts *c, const char *name, const char *folder,
                         const char *initial, struct chassis_error *err)
{
    struct chassis_yaml *yaml = chassis_yaml_new();
    struct chassis_yaml_node *root = chassis_yaml_map(yaml), *map = chassis_yaml_map(yaml);
    struct chassis_buf text = {0};
    const char *old = chassis_yaml_text(c->root, "default", NULL);
    initial = initial != NULL ? initial : old != NULL ? old : name;
    chassis_yaml_put(yaml, root, "default", chassis_yaml_string(yaml, initial));
    for (const struct chassis_yaml_node *n = c->map != NULL ? c->map->first : NULL; n != NULL;
         n = n->next) {
        if (n->text != NULL && (name == NULL || strcmp(n->key, name) != 0)) {
            chassis_yaml_put(yaml, map, n->key, chassis_yaml_string(yaml, n->text));
        }
    }
    if (name != NULL) {
        chassis_yaml_put(yaml, map, name, chassis_yaml_string(yaml, folder));
    }
    chassis_yaml_put(yaml, root, "contexts", map);
    chassis_yaml_emit(root, &text);
    int rc = replace_file(c->file, &text, err);
    chassis_buf_fini(&text);
    chassis_yaml_free(yaml);
    return rc;
}

const char *dctl_context_upward(struct dctl *d)
{
    char path[PATH_MAX];
    if (getcwd(path, sizeof path) == NULL) {
        return NULL;
    }
    for (;;) {
        const char *file = chassis_arena_printf(&d->arena, "%s/draft.yaml", path);
        if (access(file, F_OK) == 0) {
            return file;
        }
        char *slash = strrchr(path, '/');
        if (slash == NULL) {
            return NULL;
        }
        *slash = '\0';
    }
}

int dctl_context_find(struct dctl *d, struct dctl_context *ret_context, struct chassis_error *err)
{
    struct contexts c;
    const char *name = dctl_string(d, "context");
    const char *file = name == NULL ? dctl_context_upward(d) : NULL;
    *ret_context = (struct dctl_context){0};
    if (file == NULL) {
        int rc = contexts_load(d, &c, err);
        if (rc != 0) {
            return rc;
        }
        const char *wanted = name != NULL ? name : chassis_yaml_text(c.root, "default", NULL);
        const char *folder = wanted != NULL ? chassis_yaml_text(c.map, wanted, NULL) : NULL;
        if (folder != NULL) {
            file = chassis_arena_printf(&d->arena, "%s/draft.yaml", folder);
        }
        chassis_yaml_free(c.yaml);
    }
    if (file == NULL) {
        return name == NULL ? 0
                            : chassis_error_set(err, CHASSIS_NOT_FOUND,
                                                "no context '%s': see dctl context list", name);
    }
    struct dctl_project *project = chassis_arena_alloc(&d->arena, sizeof *project);
    int rc = dctl_project_load(&d->arena, file, project, err);
    if (rc == 0) {
        *ret_context = project->context;
    }
    return rc;
}

/* Remember the project in `folder`; the first one becomes the default. */
static int remember(struct dctl *d, const char *folder)
{
    struct chassis_error err = {0};
    struct contexts c;
    struct dctl_project *project = chassis_arena_alloc(&d->arena, sizeof *project);
    const char *file = chassis_arena_printf(&d->arena, "%s/draft.yaml", folder);
    if (dctl_project_load(&d->arena, file, project, &err) != 0 || contexts_load(d, &c, &err) != 0) {
        return dctl_fail(d, &err);
    }
    const char *name = dctl_string(d, "name");
    name = name != NULL ? name : project->context.name;
    int rc = contexts_save(&c, name, project->context.root, NULL, &err);
    chassis_yaml_free(c.yaml);
    if (rc != 0) {
        return dctl_fail(d, &err);
    }
    struct dctl_node *map = dctl_map(&d->arena);
    dctl_add_text(&d->arena, map, "context", name);
    dctl_add_text(&d->arena, map, "root", project->context.root);
    dctl_print(d, map, NULL);
    return DCTL_OK;
}

int dctl_context_import(struct dctl *d, int argc, char **argv)
{
    return remember(d, argc != 0 ? argv[0] : ".");
}

int dctl_context_init(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    const char *folder = argc != 0 ? argv[0] : ".";
    const char *file = chassis_arena_printf(&d->arena, "%s/draft.yaml", folder);
    if (access(file, F_OK) == 0) {
        chassis_error_set(&err, CHASSIS_ALREADY_EXISTS,
                          "'%s' exists: dctl context import remembers it", file);
        return dctl_fail(d, &err);
    }
    char *full = argc != 0 && make_folders(file) != 0 ? NULL : realpath(folder, NULL);
    if (full == NULL) {
        chassis_error_code(&err, -errno, "open '%s'", folder);
        return dctl_fail(d, &err);
    }
    const char *name = dctl_string(d, "name");
    struct chassis_buf text = {0};
    chassis_buf_append_str(&text, "name: ");
    chassis_yaml_emit_text(name != NULL ? name : strrchr(full, '/') + 1, &text);
    chassis_buf_append_str(&text, "\nendpoint: 127.0.0.1:2221\nservices: []\n");
    free(full);
    int rc = replace_file(file, &text, &err);
    chassis_buf_fini(&text);
    return rc != 0 ? dctl_fail(d, &err) : remember(d, folder);
}

int dctl_context_set(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    struct contexts c;
    if (contexts_load(d, &c, &err) != 0) {
        return dctl_fail(d, &err);
    }
    int rc = chassis_yaml_text(c.map, argv[0], NULL) != NULL
                 ? contexts_save(&c, NULL, NULL, argv[0], &err)
                 : chassis_error_set(&err, CHASSIS_NOT_FOUND,
                                     "no context '%s': see dctl context list", argv[0]);
    chassis_yaml_free(c.yaml);
    return rc != 0 ? dctl_fail(d, &err) : DCTL_OK;
}

int dctl_context_list(struct dctl *d, int argc, char **argv)
{
    static const struct dctl_column columns[] = {
        {"NAME", "name", 0}, {"DEFAULT", "default", 0}, {"ROOT", "root", 0}, {0}};
    struct chassis_error err = {0};
    struct contexts c;
    if (contexts_load(d, &c, &err) != 0) {
        return dctl_fail(d, &err);
    }
    const char *initial = chassis_yaml_text(c.root, "default", "");
    struct dctl_node *list = dctl_list(&d->arena);
    for (const struct chassis_yaml_node *n = c.map != NULL ? c.map->first : NULL; n != NULL;
         n = n->next) {
        struct dctl_node *row = dctl_add(list, NULL, dctl_map(&d->arena));
        dctl_add_text(&d->arena, row, "name", n->key);
        dctl_add_bool(&d->arena, row, "default", strcmp(n->key, initial) == 0);
        dctl_add_text(&d->arena, row, "root", n->text);
    }
    chassis_yaml_free(c.yaml);
    dctl_print(d, list, columns);
    return DCTL_OK;
}
