/* The hot path: adding, setting and observing, all relaxed atomics and no lock. */
#include <math.h>
#include <string.h>

#include "base/assert.h"
#include "metrics/registry.h"

void chassis_counter_add(struct chassis_counter *counter, uint64_t n)
{
    atomic_fetch_add_explicit(&counter->value, n, memory_order_relaxed);
}

uint64_t chassis_counter_value(const struct chassis_counter *counter)
{
    return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

void chassis_gauge_set(struct chassis_gauge *gauge, int64_t value)
{
    atomic_store_explicit(&gauge->value, value, memory_order_relaxed);
}

void chassis_gauge_add(struct chassis_gauge *gauge, int64_t delta)
{
    atomic_fetch_add_explicit(&gauge->value, delta, memory_order_relaxed);
}

int64_t chassis_gauge_value(const struct chassis_gauge *gauge)
{
    return atomic_load_explicit(&gauge->value, memory_order_relaxed);
}

void chassis_histogram_observe(struct chassis_histogram *histogram, double value)
{
    if (isnan(value)) {
        return; /* it would turn the sum into NaN for ever */
    }
    size_t low = 0, high = histogram->n_bounds; /* the first bound that is not below the value */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (value <= histogram->bounds[middle]) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    atomic_fetch_add_explicit(&histogram->buckets[low], 1, memory_order_relaxed);
    uint64_t old = atomic_load_explicit(&histogram->sum_bits, memory_order_relaxed), new_bits;
    do {
        double sum;
        memcpy(&sum, &old, sizeof sum);
        sum += value;
        memcpy(&new_bits, &sum, sizeof sum);
    } while (!atomic_compare_exchange_weak_explicit(&histogram->sum_bits, &old, new_bits,
                                                    memory_order_relaxed, memory_order_relaxed));
}

uint64_t chassis_histogram_count(const struct chassis_histogram *histogram)
{
    uint64_t count = 0;
    for (size_t i = 0; i <= histogram->n_bounds; i++) {
        count += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
    }
    return count;
}

/* As Prometheus' histogram_quantile: linear inside the bucket; beyond the last bound the last bound;
 * 0 without observations. */
double chassis_histogram_quantile(const struct chassis_histogram *histogram, double quantile)
{
    CHASSIS_ASSERT(quantile >= 0 && quantile <= 1);
    double rank = quantile * (double)chassis_histogram_count(histogram);
    double below = 0;
    for (size_t i = 0; i < histogram->n_bounds; i++) {
        double here = (double)atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        if (here > 0 && below + here >= rank) {
            double high = histogram->bounds[i];
            double low = i != 0 ? histogram->bounds[i - 1] : high < 0 ? high : 0;
            return low + (high - low) * ((rank - below) / here);
        }
        below += here;
    }
    return below > 0 || rank > 0 ? histogram->bounds[histogram->n_bounds - 1] : 0;
}
