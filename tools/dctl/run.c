/* dctl run: the services of a draft.yaml under the supervisor. */
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "supervisor.h"

/* Is `word` one of the comma-separated words of `list`? */
static bool listed(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; *p != '\0'; p += *p == ',') {
        size_t len = strcspn(p, ",");
        if (len == n && strncmp(p, word, n) == 0) {
            return true;
        }
        p += len;
    }
    return false;
}

/* Keep the services asked for by --services and --domains; what is left out no longer has to be
 * healthy before others. */
static void select_services(struct dctl *d, struct dctl_project *p)
{
    const char *names = dctl_string(d, "services"), *domains = dctl_string(d, "domains");
    unsigned n = 0;
    uint64_t moved[DCTL_SERVICES_MAX] = {0}; /* the new bit of each old place */
    if (names == NULL && domains == NULL) {
        return;
    }
    for (unsigned i = 0; i < p->n_services; i++) {
        struct dctl_service s = p->services[i];
        if (!((names != NULL && listed(names, s.name)) ||
              (domains != NULL && listed(domains, s.domain)))) {
            continue;
        }
        uint64_t after = 0;
        for (unsigned k = 0; k < i; k++) {
            after |= (s.after >> k & 1) != 0 ? moved[k] : 0;
        }
        s.after = after;
        moved[i] = UINT64_C(1) << n;
        p->services[n++] = s;
    }
    p->n_services = n;
}

/* The folder dctl itself is in: its sister programs are found without a path. */
static const char *own_folder(struct dctl *d)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0) {
        return NULL;
    }
    path[n] = '\0';
    *strrchr(path, '/') = '\0';
    return chassis_arena_strdup(&d->arena, path);
}

int dctl_run(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    struct dctl_project *project = chassis_arena_alloc(&d->arena, sizeof *project);
    const char *file = dctl_string(d, "file");
    if (file == NULL) {
        file = dctl_context_upward(d);
    }
    if (file == NULL) {
        return dctl_usage(d, "no draft.yaml here or above: make one with dctl context init, or "
                             "name one with --file");
    }
    if (dctl_project_load(&d->arena, file, project, &err) != 0) {
        return dctl_fail(d, &err);
    }
    select_services(d, project);
    if (project->n_services == 0) {
        return dctl_usage(d, "'%s' has no such services", file);
    }
    struct dctl_supervisor_options options = {
        .services = project->services,
        .n_services = project->n_services,
        .ready_file = dctl_string(d, "ready-file"),
        .path = own_folder(d),
    };
    return dctl_supervise(d, &options);
}
