/* Families and members: finding, making, checking names. */
#include "metrics/registry.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

pthread_mutex_t chassis_metrics_lock = PTHREAD_MUTEX_INITIALIZER;
struct chassis_metrics_family *chassis_metrics_families;

static const double default_bounds[] = {
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
    0.05,    0.1,    0.25,    0.5,    1,     2.5,    5,     10,
};

static bool valid_name(const char *name)
{
    if (!((name[0] >= 'a' && name[0] <= 'z') || name[0] == '_')) {
        return false;
    }
    return name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0';
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* A wrong name is a bug in the caller, so it is found by the first test that comes by. */
static void check_family(const char *name, enum chassis_metrics_kind kind)
{
    CHASSIS_ASSERT(valid_name(name));
    switch (kind) {
    case CHASSIS_METRICS_COUNTER:
        CHASSIS_ASSERT(ends_with(name, "_total"));
        return;
    case CHASSIS_METRICS_HISTOGRAM:
        CHASSIS_ASSERT(!ends_with(name, "_bucket") && !ends_with(name, "_sum"));
        /* fall through */
    case CHASSIS_METRICS_GAUGE:
    case CHASSIS_METRICS_GAUGE_FN:
        CHASSIS_ASSERT(!ends_with(name, "_total") && !ends_with(name, "_count"));
        return;
    case CHASSIS_METRICS_DOUBLE_FN:
        return;
    }
    CHASSIS_PANIC("unknown kind %d of metric '%s'", (int)kind, name);
}

/* `name="value",…` with '\', '"' and line ends escaped as the format wants it. `value` replaces
 * every value when not NULL. */
static char *labels_render(const struct chassis_label *labels, size_t n, const char *value)
{
    struct chassis_buf out = {0};
    chassis_buf_append_str(&out, "");
    for (size_t i = 0; i < n; i++) {
        CHASSIS_ASSERT(valid_name(labels[i].name) && strncmp(labels[i].name, "__", 2) != 0);
        CHASSIS_ASSERT(strcmp(labels[i].name, "le") != 0);
        for (size_t k = 0; k < i; k++) {
            CHASSIS_ASSERT(strcmp(labels[i].name, labels[k].name) != 0);
        }
        chassis_buf_printf(&out, "%s%s=\"", i != 0 ? "," : "", labels[i].name);
        for (const char *p = value != NULL ? value : labels[i].value; *p != '\0'; p++) {
            switch (*p) {
            case '\\':
                chassis_buf_append_str(&out, "\\\\");
                break;
            case '"':
                chassis_buf_append_str(&out, "\\\"");
                break;
            case '\n':
                chassis_buf_append_str(&out, "\\n");
                break;
            default:
                chassis_buf_append_byte(&out, (uint8_t)*p);
            }
        }
        chassis_buf_append_str(&out, "\"");
    }
    return (char *)out.data;
}

static struct chassis_metrics_family *family_get(const char *name, const char *help,
                                                 enum chassis_metrics_kind kind)
{
    struct chassis_metrics_family **place = &chassis_metrics_families;
    while (*place != NULL && strcmp((*place)->name, name) < 0) {
        place = &(*place)->next;
    }
    if (*place != NULL && strcmp((*place)->name, name) == 0) {
        CHASSIS_ASSERT((*place)->kind == kind); /* one name, two types */
        return *place;
    }
    check_family(name, kind);
    CHASSIS_ASSERT(help != NULL && help[0] != '\0');
    struct chassis_metrics_family *family = chassis_base_zalloc(sizeof *family);
    family->name = chassis_base_strdup(name);
    family->help = chassis_base_strdup(help);
    family->kind = kind;
    family->next = *place;
    *place = family;
    return family;
}

static struct chassis_metrics_member *member_find(struct chassis_metrics_family *family,
                                                  const char *labels)
{
    struct chassis_metrics_member *m = family->members;
    while (m != NULL && strcmp(m->labels, labels) != 0) {
        m = m->next;
    }
    return m;
}

/* The member with these labels; `ret_new` tells whether it was made just now. A family that grows
 * without bound would eat the memory of the service and of the Prometheus that reads it: beyond
 * the limit everything further is counted under the value "other". */
static struct chassis_metrics_member *member_get(struct chassis_metrics_family *family,
                                                 const struct chassis_label *labels, size_t n,
                                                 bool *ret_new)
{
    char *text = labels_render(labels, n, NULL);
    struct chassis_metrics_member *m = member_find(family, text);
    if (m == NULL && n != 0 && family->n_members >= CHASSIS_METRICS_PER_FAMILY_MAX) {
        free(text);
        text = labels_render(labels, n, "other");
        m = member_find(family, text);
    }
    *ret_new = m == NULL;
    if (m != NULL) {
        free(text);
        return m;
    }
    m = chassis_base_zalloc(sizeof *m);
    m->labels = text;
    struct chassis_metrics_member **last = &family->members;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = m;
    family->n_members++;
    return m;
}

static void *line_alloc(size_t len)
{
    void *p = NULL;
    if (posix_memalign(&p, 64, len) != 0) {
        CHASSIS_PANIC("out of memory allocating %zu bytes", len);
    }
    memset(p, 0, len);
    return p;
}

struct chassis_counter *chassis_counter(const char *name, const char *help,
                                        const struct chassis_label *labels, size_t n_labels)
{
    bool fresh;
    pthread_mutex_lock(&chassis_metrics_lock);
    struct chassis_metrics_member *m =
        member_get(family_get(name, help, CHASSIS_METRICS_COUNTER), labels, n_labels, &fresh);
    if (fresh) {
        m->is.counter = line_alloc(sizeof *m->is.counter);
    }
    struct chassis_counter *counter = m->is.counter;
    pthread_mutex_unlock(&chassis_metrics_lock);
    return counter;
}

struct chassis_gauge *chassis_gauge(const char *name, const char *help,
                                    const struct chassis_label *labels, size_t n_labels)
{
    bool fresh;
    pthread_mutex_lock(&chassis_metrics_lock);
    struct chassis_metrics_member *m =
        member_get(family_get(name, help, CHASSIS_METRICS_GAUGE), labels, n_labels, &fresh);
    if (fresh) {
        m->is.gauge = line_alloc(sizeof *m->is.gauge);
    }
    struct chassis_gauge *gauge = m->is.gauge;
    pthread_mutex_unlock(&chassis_metrics_lock);
    return gauge;
}

static void family_bounds(struct chassis_metrics_family *family, const double *bounds, size_t n)
{
    if (family->bounds != NULL) { /* all members of a family have the same buckets */
        CHASSIS_ASSERT(family->n_bounds == n &&
                       memcmp(family->bounds, bounds, n * sizeof *bounds) == 0);
        return;
    }
    CHASSIS_ASSERT(n > 0);
    for (size_t i = 0; i < n; i++) {
        CHASSIS_ASSERT(isfinite(bounds[i]) && (i == 0 || bounds[i] > bounds[i - 1]));
    }
    family->bounds = chassis_base_alloc(n * sizeof *bounds);
    memcpy(family->bounds, bounds, n * sizeof *bounds);
    family->n_bounds = n;
}

struct chassis_histogram *chassis_histogram(const char *name, const char *help,
                                            const double *bounds, size_t n_bounds,
                                            const struct chassis_label *labels, size_t n_labels)
{
    if (bounds == NULL) {
        bounds = default_bounds;
        n_bounds = sizeof default_bounds / sizeof default_bounds[0];
    }
    bool fresh;
    pthread_mutex_lock(&chassis_metrics_lock);
    struct chassis_metrics_family *family = family_get(name, help, CHASSIS_METRICS_HISTOGRAM);
    family_bounds(family, bounds, n_bounds);
    struct chassis_metrics_member *m = member_get(family, labels, n_labels, &fresh);
    if (fresh) {
        struct chassis_histogram *h = line_alloc(sizeof *h + (n_bounds + 1) * sizeof h->buckets[0]);
        h->bounds = family->bounds;
        h->n_bounds = n_bounds;
        m->is.histogram = h;
    }
    struct chassis_histogram *histogram = m->is.histogram;
    pthread_mutex_unlock(&chassis_metrics_lock);
    return histogram;
}

void chassis_gauge_fn(const char *name, const char *help, const struct chassis_label *labels,
                      size_t n_labels, int64_t (*read)(void *data), void *data)
{
    bool fresh;
    pthread_mutex_lock(&chassis_metrics_lock);
    struct chassis_metrics_member *m =
        member_get(family_get(name, help, CHASSIS_METRICS_GAUGE_FN), labels, n_labels, &fresh);
    m->is.fn.read = read;
    m->is.fn.data = data;
    pthread_mutex_unlock(&chassis_metrics_lock);
}

void chassis_metrics_double_fn(const char *name, const char *help, double (*read)(void))
{
    bool fresh;
    pthread_mutex_lock(&chassis_metrics_lock);
    struct chassis_metrics_member *m =
        member_get(family_get(name, help, CHASSIS_METRICS_DOUBLE_FN), NULL, 0, &fresh);
    m->is.fn.read_double = read;
    pthread_mutex_unlock(&chassis_metrics_lock);
}
