/* Reading draft.yaml: see project.h. */
#include <stdlib.h>
#include <string.h>

#include "config/yaml.h"
#include "project.h"

struct reading {
    struct chassis_arena *arena;
    const char *file;
    struct chassis_error *err;
};

static int wrong(const struct reading *r, const struct chassis_yaml_node *n, const char *what,
                 const char *subject)
{
    return chassis_error_set(r->err, CHASSIS_CONFIG, "%s:%u: %s '%s'", r->file, n->line, what,
                             subject);
}

/* Every key of `map` is one of `known` (NULL-terminated). */
static int check_keys(const struct reading *r, const struct chassis_yaml_node *map,
                      const char *const *known)
{
    for (const struct chassis_yaml_node *n = map->first; n != NULL; n = n->next) {
        const char *const *k = known;
        while (*k != NULL && strcmp(*k, n->key) != 0) {
            k++;
        }
        if (*k == NULL) {
            return wrong(r, n, "unknown key", n->key);
        }
    }
    return 0;
}

/* A copy of the text at `key`; `otherwise` without. */
static const char *text(const struct reading *r, const struct chassis_yaml_node *map,
                        const char *key, const char *otherwise)
{
    const char *value = chassis_yaml_text(map, key, otherwise);
    return value != NULL ? chassis_arena_strdup(r->arena, value) : NULL;
}

/* A path as the file means it: relative to the file's folder. */
static const char *path_text(const struct reading *r, const struct chassis_yaml_node *map,
                             const char *key, const char *root)
{
    const char *value = chassis_yaml_text(map, key, NULL);
    if (value == NULL) {
        return NULL;
    }
    return value[0] == '/' ? chassis_arena_strdup(r->arena, value)
                           : chassis_arena_printf(r->arena, "%s/%s", root, value);
}

/* Words separated by spaces; quotes of both kinds hold spaces together. No shell. */
static int split_words(const struct reading *r, const struct chassis_yaml_node *n,
                       const char **words)
{
    unsigned count = 0;
    char *out = chassis_arena_alloc(r->arena, strlen(n->text) + 1);
    for (const char *p = n->text + strspn(n->text, " "); *p != '\0'; p += strspn(p, " ")) {
        if (count == DCTL_WORDS_MAX) {
            return wrong(r, n, "too many words", n->text);
        }
        words[count++] = out;
        char quote = 0;
        for (; *p != '\0' && (quote != 0 || *p != ' '); p++) {
            if (quote != 0 ? *p == quote : *p == '"' || *p == '\'') {
                quote = quote != 0 ? 0 : *p;
            } else {
                *out++ = *p;
            }
        }
        if (quote != 0) {
            return wrong(r, n, "a quote is not closed in", n->text);
        }
        *out++ = '\0';
    }
    words[count] = NULL;
    return count != 0 ? 0 : wrong(r, n, "no program in", n->key);
}

static int read_command(const struct reading *r, const struct chassis_yaml_node *service,
                        struct dctl_service *s)
{
    const struct chassis_yaml_node *n = chassis_yaml_get(service, "command");
    const char **words = chassis_arena_zalloc(r->arena, (DCTL_WORDS_MAX + 1) * sizeof *words);
    unsigned count = 0;
    if (n == NULL || n->kind == CHASSIS_YAML_MAP ||
        (n->kind == CHASSIS_YAML_SCALAR && n->text == NULL)) {
        return wrong(r, service, "a command is needed for service", s->name);
    }
    s->argv = words;
    if (n->kind == CHASSIS_YAML_SCALAR) {
        return split_words(r, n, words);
    }
    for (const struct chassis_yaml_node *w = n->first; w != NULL; w = w->next) {
        if (w->kind != CHASSIS_YAML_SCALAR || w->text == NULL || count == DCTL_WORDS_MAX) {
            return wrong(r, w, "not a list of at most 64 words: command of", s->name);
        }
        words[count++] = chassis_arena_strdup(r->arena, w->text);
    }
    return count != 0 ? 0 : wrong(r, n, "no program for service", s->name);
}

static int read_environment(const struct reading *r, const struct chassis_yaml_node *service,
                            struct dctl_service *s)
{
    const struct chassis_yaml_node *map = chassis_yaml_get(service, "environment");
    if (map != NULL && map->kind != CHASSIS_YAML_MAP) {
        return wrong(r, map, "not a map of names and values: environment of", s->name);
    }
    const char **list =
        chassis_arena_zalloc(r->arena, ((map != NULL ? map->n : 0) + 1) * sizeof *list);
    unsigned count = 0;
    for (const struct chassis_yaml_node *n = map != NULL ? map->first : NULL; n != NULL;
         n = n->next) {
        if (n->kind != CHASSIS_YAML_SCALAR) {
            return wrong(r, n, "not a text: environment variable", n->key);
        }
        list[count++] =
            chassis_arena_printf(r->arena, "%s=%s", n->key, n->text != NULL ? n->text : "");
    }
    s->environment = list;
    return 0;
}

static int read_health(const struct reading *r, const struct chassis_yaml_node *service,
                       struct dctl_service *s)
{
    static const struct {
        const char *scheme;
        enum dctl_health health;
    } schemes[] = {
        {"grpc://", DCTL_HEALTH_GRPC}, {"http://", DCTL_HEALTH_HTTP}, {"tcp://", DCTL_HEALTH_TCP}};
    const char *url = text(r, service, "health", NULL);
    if (url == NULL || strcmp(url, "none") == 0) {
        return 0;
    }
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t n = strlen(schemes[i].scheme);
        if (strncmp(url, schemes[i].scheme, n) == 0) {
            const char *slash = strchr(url + n, '/');
            size_t len = slash != NULL ? (size_t)(slash - url) - n : strlen(url + n);
            s->health = schemes[i].health;
            s->health_address = chassis_arena_strndup(r->arena, url + n, len);
            s->health_path = slash != NULL ? slash : "/readyz";
            if (strrchr(s->health_address, ':') == NULL) {
                break;
            }
            return 0;
        }
    }
    return wrong(r, chassis_yaml_get(service, "health"),
                 "not grpc://host:port, http://host:port/path, tcp://host:port or none:", url);
}

static int read_restart(const struct reading *r, const struct chassis_yaml_node *service,
                        struct dctl_service *s)
{
    const char *word = chassis_yaml_text(service, "restart", "always");
    if (strcmp(word, "always") == 0) {
        s->restart = DCTL_RESTART_ALWAYS;
    } else if (strcmp(word, "on-failure") == 0) {
        s->restart = DCTL_RESTART_ON_FAILURE;
    } else if (strcmp(word, "never") == 0) {
        s->restart = DCTL_RESTART_NEVER;
    } else {
        return wrong(r, chassis_yaml_get(service, "restart"),
                     "not always, on-failure or never:", word);
    }
    return 0;
}

/* The bit of the service of that name, 0 if none stands above. Only what stands above may be named,
 * so there is no circle. */
static uint64_t bit_of(const struct dctl_project *p, const char *name)
{
    for (unsigned i = 0; i < p->n_services; i++) {
        if (strcmp(p->services[i].name, name) == 0) {
            return UINT64_C(1) << i;
        }
    }
    return 0;
}

static int read_after(const struct reading *r, const struct chassis_yaml_node *service,
                      const struct dctl_project *p, struct dctl_service *s)
{
    const struct chassis_yaml_node *after = chassis_yaml_get(service, "after");
    if (after == NULL) {
        s->after = p->n_services != 0 ? UINT64_C(1) << (p->n_services - 1) : 0;
        return 0;
    }
    if (after->kind != CHASSIS_YAML_SEQUENCE) {
        return wrong(r, after, "not a list of names: after of", s->name);
    }
    for (const struct chassis_yaml_node *n = after->first; n != NULL; n = n->next) {
        uint64_t bit = n->kind == CHASSIS_YAML_SCALAR && n->text != NULL ? bit_of(p, n->text) : 0;
        if (bit == 0) {
            return wrong(r, n, "after: no service above is called",
                         n->kind == CHASSIS_YAML_SCALAR && n->text != NULL ? n->text : "");
        }
        s->after |= bit;
    }
    return 0;
}

static int read_service(const struct reading *r, const struct chassis_yaml_node *n,
                        struct dctl_project *p)
{
    static const char *const known[] = {"name",  "command", "directory", "environment", "health",
                                        "after", "restart", "domain",    NULL};
    if (p->n_services == DCTL_SERVICES_MAX) {
        return wrong(r, n, "at most 64 services; one too many in", r->file);
    }
    if (n->kind != CHASSIS_YAML_MAP || chassis_yaml_text(n, "name", "")[0] == '\0') {
        return wrong(r, n, "a service needs a name in", r->file);
    }
    struct dctl_service *s = &p->services[p->n_services];
    *s = (struct dctl_service){.name = text(r, n, "name", ""), .domain = text(r, n, "domain", "")};
    s->directory = path_text(r, n, "directory", p->context.root);
    s->directory = s->directory != NULL ? s->directory : p->context.root;
    if (bit_of(p, s->name) != 0) {
        return wrong(r, n, "a second service is called", s->name);
    }
    int rc = check_keys(r, n, known);
    rc = rc != 0 ? rc : read_command(r, n, s);
    rc = rc != 0 ? rc : read_environment(r, n, s);
    rc = rc != 0 ? rc : read_health(r, n, s);
    rc = rc != 0 ? rc : read_restart(r, n, s);
    rc = rc != 0 ? rc : read_after(r, n, p, s);
    p->n_services += rc == 0;
    return rc;
}

/* A list is joined by commas, as clients take it. */
static const char *read_endpoint(const struct reading *r, const struct chassis_yaml_node *root,
                                 const char *key)
{
    const struct chassis_yaml_node *list = chassis_yaml_get(root, key);
    const char *joined = NULL;
    if (list == NULL || list->kind != CHASSIS_YAML_SEQUENCE) {
        return text(r, root, key, NULL);
    }
    for (const struct chassis_yaml_node *n = list->first; n != NULL; n = n->next) {
        if (n->kind == CHASSIS_YAML_SCALAR && n->text != NULL) {
            joined = joined != NULL ? chassis_arena_printf(r->arena, "%s,%s", joined, n->text)
                                    : chassis_arena_strdup(r->arena, n->text);
        }
    }
    return joined;
}

static int read_project(const struct reading *r, const struct chassis_yaml_node *root,
                        struct dctl_project *p)
{
    static const char *const known[] = {"name",
                                        "repo",
                                        "trunk_branch",
                                        "api",
                                        "endpoint",
                                        "events_endpoint",
                                        "routes_endpoint",
                                        "cluster_secret",
                                        "tls",
                                        "services",
                                        NULL};
    static const char *const known_tls[] = {"ca", "certificate", "key", "server_name", NULL};
    if (root == NULL || root->kind != CHASSIS_YAML_MAP) {
        return chassis_error_set(r->err, CHASSIS_CONFIG, "%s: not a map of keys", r->file);
    }
    const struct chassis_yaml_node *tls = chassis_yaml_get(root, "tls");
    int rc = check_keys(r, root, known);
    if (rc == 0 && tls != NULL && tls->kind == CHASSIS_YAML_MAP) {
        rc = check_keys(r, tls, known_tls);
    }
    if (rc != 0) {
        return rc;
    }
    const char *folder = strrchr(p->context.root, '/');
    p->context.name = text(r, root, "name", folder != NULL ? folder + 1 : p->context.root);
    p->context.endpoint = read_endpoint(r, root, "endpoint");
    p->context.events_endpoint = read_endpoint(r, root, "events_endpoint");
    p->context.routes_endpoint = read_endpoint(r, root, "routes_endpoint");
    p->context.cluster_secret = path_text(r, root, "cluster_secret", p->context.root);
    p->context.ca = path_text(r, tls, "ca", p->context.root);
    p->context.certificate = path_text(r, tls, "certificate", p->context.root);
    p->context.key = path_text(r, tls, "key", p->context.root);
    p->context.server_name = text(r, tls, "server_name", NULL);
    const struct chassis_yaml_node *services = chassis_yaml_get(root, "services");
    for (const struct chassis_yaml_node *n = services != NULL ? services->first : NULL;
         rc == 0 && n != NULL; n = n->next) {
        rc = read_service(r, n, p);
    }
    return rc;
}

int dctl_project_load(struct chassis_arena *arena, const char *file, struct dctl_project *ret,
                      struct chassis_error *err)
{
    struct chassis_yaml *yaml;
    struct dctl_project *p = chassis_arena_zalloc(arena, sizeof *p);
    char *full = realpath(file, NULL);
    if (full == NULL) {
        return chassis_error_set(err, CHASSIS_NOT_FOUND, "there is no '%s'", file);
    }
    struct reading r = {arena, file, err};
    char *slash = strrchr(full, '/');
    p->context.root = chassis_arena_strndup(arena, full, (size_t)(slash - full));
    int rc = chassis_yaml_load(full, &yaml, err);
    free(full);
    if (rc != 0) {
        return rc;
    }
    rc = read_project(&r, chassis_yaml_root(yaml), p);
    chassis_yaml_free(yaml);
    if (rc == 0) {
        *ret = *p;
    }
    return rc;
}
