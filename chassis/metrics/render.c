/* The Prometheus text format, version 0.0.4. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "metrics/registry.h"

/* The shorter of two forms that reads back as the same number. */
static const char *number(double value, char out[40])
{
    if (isnan(value)) {
        return "NaN";
    }
    if (isinf(value)) {
        return value < 0 ? "-Inf" : "+Inf";
    }
    snprintf(out, 40, "%.15g", value);
    if (strtod(out, NULL) != value) {
        snprintf(out, 40, "%.17g", value);
    }
    return out;
}

/* `name_suffix{labels,extra} ` */
static void put_name(struct chassis_buf *out, const struct chassis_metrics_family *family,
                     const char *suffix, const char *labels, const char *extra)
{
    chassis_buf_append_str(out, family->name);
    chassis_buf_append_str(out, suffix);
    if (labels[0] != '\0' || extra[0] != '\0') {
        const char *comma = labels[0] != '\0' && extra[0] != '\0' ? "," : "";
        chassis_buf_printf(out, "{%s%s%s}", labels, comma, extra);
    }
    chassis_buf_append_byte(out, ' ');
}

static void put_histogram(struct chassis_buf *out, const struct chassis_metrics_family *family,
                          const struct chassis_metrics_member *m)
{
    const struct chassis_histogram *h = m->is.histogram;
    char text[40], le[64];
    uint64_t sum_bits = atomic_load_explicit(&h->sum_bits, memory_order_relaxed);
    uint64_t count = 0;
    for (size_t i = 0; i <= h->n_bounds; i++) {
        count += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        snprintf(le, sizeof le, "le=\"%s\"",
                 number(i < h->n_bounds ? h->bounds[i] : INFINITY, text));
        put_name(out, family, "_bucket", m->labels, le);
        chassis_buf_printf(out, "%llu\n", (unsigned long long)count);
    }
    double sum;
    memcpy(&sum, &sum_bits, sizeof sum);
    put_name(out, family, "_sum", m->labels, "");
    chassis_buf_printf(out, "%s\n", number(sum, text));
    put_name(out, family, "_count", m->labels, "");
    chassis_buf_printf(out, "%llu\n", (unsigned long long)count);
}

static void put_member(struct chassis_buf *out, const struct chassis_metrics_family *family,
                       const struct chassis_metrics_member *m)
{
    char text[40];
    if (family->kind == CHASSIS_METRICS_HISTOGRAM) {
        put_histogram(out, family, m);
        return;
    }
    if (family->kind == CHASSIS_METRICS_GAUGE_FN && m->is.fn.read == NULL) {
        return; /* taken away by its owner */
    }
    put_name(out, family, "", m->labels, "");
    switch (family->kind) {
    case CHASSIS_METRICS_COUNTER:
        chassis_buf_printf(out, "%llu\n", (unsigned long long)chassis_counter_value(m->is.counter));
        return;
    case CHASSIS_METRICS_GAUGE:
        chassis_buf_printf(out, "%lld\n", (long long)chassis_gauge_value(m->is.gauge));
        return;
    case CHASSIS_METRICS_GAUGE_FN:
        chassis_buf_printf(out, "%lld\n", (long long)m->is.fn.read(m->is.fn.data));
        return;
    case CHASSIS_METRICS_DOUBLE_FN:
        chassis_buf_printf(out, "%s\n", number(m->is.fn.read_double(), text));
        return;
    case CHASSIS_METRICS_HISTOGRAM:
        break;
    }
    CHASSIS_PANIC("unknown kind %d of metric '%s'", (int)family->kind, family->name);
}

static const char *type_name(const struct chassis_metrics_family *family)
{
    size_t len = strlen(family->name);
    switch (family->kind) {
    case CHASSIS_METRICS_COUNTER:
        return "counter";
    case CHASSIS_METRICS_GAUGE:
    case CHASSIS_METRICS_GAUGE_FN:
        return "gauge";
    case CHASSIS_METRICS_DOUBLE_FN:
        return len > 6 && strcmp(family->name + len - 6, "_total") == 0 ? "counter" : "gauge";
    case CHASSIS_METRICS_HISTOGRAM:
        return "histogram";
    }
    CHASSIS_PANIC("unknown kind %d of metric '%s'", (int)family->kind, family->name);
}

static void put_help(struct chassis_buf *out, const struct chassis_metrics_family *family)
{
    chassis_buf_printf(out, "# HELP %s ", family->name);
    for (const char *p = family->help; *p != '\0'; p++) {
        if (*p == '\\' || *p == '\n') {
            chassis_buf_append_str(out, *p == '\n' ? "\\n" : "\\\\");
        } else {
            chassis_buf_append_byte(out, (uint8_t)*p);
        }
    }
    chassis_buf_printf(out, "\n# TYPE %s %s\n", family->name, type_name(family));
}

void chassis_metrics_render(struct chassis_buf *out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, chassis_metrics_process);
    pthread_mutex_lock(&chassis_metrics_lock);
    for (const struct chassis_metrics_family *f = chassis_metrics_families; f != NULL;
         f = f->next) {
        put_help(out, f);
        for (const struct chassis_metrics_member *m = f->members; m != NULL; m = m->next) {
            put_member(out, f, m);
        }
    }
    pthread_mutex_unlock(&chassis_metrics_lock);
}
