/* Counters, gauges and histograms, exposed at /metrics in the Prometheus text format.
 *
 * A metric belongs to a family (name, help, type) and has fixed labels. Asking again for the same
 * family and labels gives the same metric, so a module keeps the handle and never looks it up on a
 * hot path. Metrics live as long as the process.
 *
 * Invariants: names match [a-z_][a-z0-9_]*, counters end in _total, durations are in seconds; labels
 * are a bounded set (never a key, an id or an address of a client).
 * Threads: any; updates are relaxed atomics.
 */
#ifndef CHASSIS_METRICS_H
#define CHASSIS_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include <chassis/buf.h>

struct chassis_counter;
struct chassis_gauge;
struct chassis_histogram;

struct chassis_label {
    const char *name;
    const char *value; /* copied */
};

struct chassis_counter *chassis_counter(const char *name, const char *help,
                                        const struct chassis_label *labels, size_t n_labels);
struct chassis_gauge *chassis_gauge(const char *name, const char *help,
                                    const struct chassis_label *labels, size_t n_labels);
/* `bounds`: ascending upper bounds; NULL = the default for durations, 50 µs … 10 s. */
struct chassis_histogram *chassis_histogram(const char *name, const char *help,
                                            const double *bounds, size_t n_bounds,
                                            const struct chassis_label *labels, size_t n_labels);

void chassis_counter_add(struct chassis_counter *counter, uint64_t n);
uint64_t chassis_counter_value(const struct chassis_counter *counter);
void chassis_gauge_set(struct chassis_gauge *gauge, int64_t value);
void chassis_gauge_add(struct chassis_gauge *gauge, int64_t delta);
int64_t chassis_gauge_value(const struct chassis_gauge *gauge);
void chassis_histogram_observe(struct chassis_histogram *histogram, double value);
/* The count so far, and the value below which `quantile` of the observations lie (interpolated). */
uint64_t chassis_histogram_count(const struct chassis_histogram *histogram);
double chassis_histogram_quantile(const struct chassis_histogram *histogram, double quantile);

/* A value that is only known when asked: `read` runs on the thread that renders, and must not ask for
 * metrics itself. The same labels again replace it; `read` NULL takes it away, and once that call
 * returns the former one is not running any more. */
void chassis_gauge_fn(const char *name, const char *help, const struct chassis_label *labels,
                      size_t n_labels, int64_t (*read)(void *data), void *data);

/* Append every metric in the text format 0.0.4, families sorted by name. */
void chassis_metrics_render(struct chassis_buf *out);

#endif
