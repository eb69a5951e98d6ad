/* The families of metrics and their members, shared by the files of this module.
 *
 * Invariants: families are sorted by name, nothing is ever removed but the function of a gauge_fn.
 * Threads: lists under chassis_metrics_lock; values are relaxed atomics.
 */
#ifndef CHASSIS_METRICS_REGISTRY_H
#define CHASSIS_METRICS_REGISTRY_H

#include <pthread.h>
#include <stdatomic.h>

#include <chassis/metrics.h>

enum { CHASSIS_METRICS_PER_FAMILY_MAX = 1000 };

enum chassis_metrics_kind {
    CHASSIS_METRICS_COUNTER,
    CHASSIS_METRICS_GAUGE,
    CHASSIS_METRICS_HISTOGRAM,
    CHASSIS_METRICS_GAUGE_FN,
    CHASSIS_METRICS_DOUBLE_FN, /* of the process itself; a counter if the name ends in _total */
};

struct chassis_counter {
    _Alignas(64) atomic_uint_fast64_t value; /* a cache line of its own: threads do not disturb */
};
struct chassis_gauge {
    _Alignas(64) atomic_int_fast64_t value;
};
struct chassis_histogram {
    const double *bounds;
    size_t n_bounds;
    _Alignas(64) _Atomic uint64_t sum_bits; /* a double */
    atomic_uint_fast64_t buckets[];         /* n_bounds + 1; not cumulative */
};

struct chassis_metrics_member {
    struct chassis_metrics_member *next;
    char *labels; /* `a="x",b="y"`, escaped; empty without labels */
    union {
        struct chassis_counter *counter;
        struct chassis_gauge *gauge;
        struct chassis_histogram *histogram;
        struct {
            int64_t (*read)(void *data);
            double (*read_double)(void);
            void *data;
        } fn;
    } is;
};

struct chassis_metrics_family {
    struct chassis_metrics_family *next;
    char *name, *help;
    enum chassis_metrics_kind kind;
    double *bounds;
    size_t n_bounds;
    size_t n_members;
    struct chassis_metrics_member *members;
};

extern pthread_mutex_t chassis_metrics_lock;
extern struct chassis_metrics_family *chassis_metrics_families;

/* A value of the process as a double, read when rendering. */
void chassis_metrics_double_fn(const char *name, const char *help, double (*read)(void));
/* Add the process_… families; once. */
void chassis_metrics_process(void);

#endif
