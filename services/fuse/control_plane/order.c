#include <string.h>
#include <strings.h>

#include "fuse/control_plane/order.h"

/* What decides, the first difference first. */
enum reason { PRIORITY, PATH_KIND, PATH_LENGTH, CONDITIONS, AGE, NAME };

static int compare(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static uint64_t path_length(const struct fuse_route *route)
{
    return route->path_kind == FUSE_PATH_PREFIX ? strlen(route->path) : 0;
}

static int order(const struct fuse_entry *a, const struct fuse_entry *b, enum reason *ret_reason)
{
    const struct fuse_route *x = a->route, *y = b->route;
    *ret_reason = PRIORITY;
    if (x->priority != y->priority) {
        return x->priority > y->priority ? -1 : 1;
    }
    *ret_reason = PATH_KIND;
    if (x->path_kind != y->path_kind) {
        return x->path_kind < y->path_kind ? -1 : 1;
    }
    *ret_reason = PATH_LENGTH;
    int by = compare(path_length(y), path_length(x));
    if (by != 0) {
        return by;
    }
    *ret_reason = CONDITIONS;
    by = compare(fuse_route_conditions(y), fuse_route_conditions(x));
    if (by != 0) {
        return by;
    }
    *ret_reason = AGE;
    by = compare(a->created_version, b->created_version);
    if (by != 0) {
        return by;
    }
    *ret_reason = NAME;
    return strcmp(x->name, y->name);
}

int fuse_order(const struct fuse_entry *a, const struct fuse_entry *b)
{
    enum reason reason;
    return order(a, b, &reason);
}

static const char *const path_kinds[] = {
    [FUSE_PATH_EXACT] = "an exact path",
    [FUSE_PATH_PREFIX] = "a prefix",
    [FUSE_PATH_REGEX] = "a regular expression",
};

void fuse_order_reason(const struct fuse_entry *a, const struct fuse_entry *b,
                       struct chassis_buf *out)
{
    const struct fuse_route *x = a->route, *y = b->route;
    enum reason reason;
    order(a, b, &reason);
    switch (reason) {
    case PRIORITY:
        chassis_buf_printf(out, "its priority %d is higher than %d", (int)x->priority,
                           (int)y->priority);
        return;
    case PATH_KIND:
        chassis_buf_printf(out, "%s goes before %s", path_kinds[x->path_kind],
                           path_kinds[y->path_kind]);
        return;
    case PATH_LENGTH:
        chassis_buf_printf(out, "its prefix '%s' is longer than '%s'", x->path, y->path);
        return;
    case CONDITIONS:
        chassis_buf_printf(out, "it has more conditions than the other: %u, not %u",
                           fuse_route_conditions(x), fuse_route_conditions(y));
        return;
    case AGE:
        chassis_buf_append_str(out, "it is older");
        return;
    case NAME:
        chassis_buf_printf(out, "its name '%s' comes before '%s'", x->name, y->name);
        return;
    }
}

/* 0 = a name, 1 = "*.suffix", 2 = "*" */
static int vagueness(const char *host)
{
    return host[0] != '*' ? 0 : host[1] != '\0' ? 1 : 2;
}

int fuse_order_hosts(const char *a, const char *b)
{
    int by = vagueness(a) - vagueness(b);
    if (by == 0 && a[0] == '*') {
        by = compare(strlen(b), strlen(a));
    }
    return by != 0 ? by : strcmp(a, b);
}

bool fuse_host_matches(const char *pattern, const char *host)
{
    switch (vagueness(pattern)) {
    case 0:
        return strcasecmp(pattern, host) == 0;
    case 1: {
        size_t suffix = strlen(pattern + 1), len = strlen(host);
        return len > suffix && strcasecmp(host + len - suffix, pattern + 1) == 0;
    }
    default:
        return true;
    }
}
