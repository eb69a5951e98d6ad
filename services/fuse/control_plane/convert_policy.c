#include <inttypes.h>

#include "fuse/control_plane/convert_parts.h"

enum {
    RETRIES_MAX = 10,
    ERRORS_MAX = 1000,
    ERRORS_DEFAULT = 5,
    INTERVAL_DEFAULT_MS = 10000,
    EJECTION_DEFAULT_MS = 30000,
    EJECTED_MAX = 100,
    EJECTED_DEFAULT = 10,
    BACKOFF_DEFAULT_MS = 25,
};
#define SECOND_MS UINT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)

/* ---- durations ---- */

struct range {
    uint64_t min_ms, max_ms;
    const char *text;
};
static const struct range whole_request = {1, DAY_MS, "1 ms to 24 h are allowed, unset is none"};
static const struct range one_try = {1, HOUR_MS, "1 ms to 1 h are allowed, unset is none"};
static const struct range pause = {1, MINUTE_MS, "1 ms to 1 min are allowed"};
static const struct range ejection = {100, HOUR_MS, "100 ms to 1 h are allowed"};

/* Milliseconds; 0 when it is not set or wrong. */
static uint64_t convert_duration(struct fuse_converting *c, const char *field,
                                 const Google__Protobuf__Duration *duration,
                                 const struct range *range)
{
    if (duration == NULL) {
        return 0;
    }
    int64_t seconds = duration->seconds;
    int32_t nanos = duration->nanos;
    if (seconds < 0 || nanos < 0 || nanos > 999999999) {
        fuse_problem_error(c->problems, field, "is negative or none at all: %s", range->text);
        return 0;
    }
    if (nanos % 1000000 != 0) {
        fuse_problem_error(c->problems, field,
                           "is not a whole number of milliseconds, which is what proxies count");
        return 0;
    }
    uint64_t ms = (uint64_t)seconds > DAY_MS
                      ? UINT64_MAX
                      : (uint64_t)seconds * SECOND_MS + (uint64_t)nanos / 1000000;
    if (ms < range->min_ms || ms > range->max_ms) {
        fuse_problem_error(c->problems, field, "is %" PRId64 ".%03d s: %s", seconds,
                           nanos / 1000000, range->text);
        return 0;
    }
    return ms;
}

/* ---- retry ---- */

static void convert_retry_on(struct fuse_converting *c, const POL(RetryPolicy) * retry)
{
    unsigned n = fuse_convert_count(c, "retry.on", retry->n_on);
    if (n == 0) {
        fuse_problem_error(c->problems, "retry.on",
                           "is empty: name at least one condition (CONNECT_FAILURE ...)");
    }
    for (unsigned i = 0; i < n; i++) {
        int on = (int)retry->on[i];
        if (on <= DRAFT__ROUTING__V1__RETRY_ON__RETRY_ON_UNSPECIFIED ||
            on > DRAFT__ROUTING__V1__RETRY_ON__GRPC_UNAVAILABLE) {
            fuse_problem_error(c->problems, fuse_convert_field(c, "retry.on", i, ""),
                               "is %d, which is no condition known here", on);
            continue;
        }
        c->draft->retry.on |= UINT32_C(1) << on;
    }
}

static void convert_retry(struct fuse_converting *c, const POL(RetryPolicy) * retry)
{
    struct fuse_retry *to = &c->draft->retry;
    if (retry == NULL) {
        return;
    }
    convert_retry_on(c, retry);
    if (retry->retries == 0 || retry->retries > RETRIES_MAX) {
        fuse_problem_error(c->problems, "retry.retries",
                           "is %u: 1 to 10 are allowed; leave retry out for none", retry->retries);
    }
    to->retries = retry->retries;
    to->per_try_timeout_ms =
        convert_duration(c, "retry.per_try_timeout", retry->per_try_timeout, &one_try);
    to->backoff_base_ms = convert_duration(c, "retry.backoff_base", retry->backoff_base, &pause);
    to->backoff_max_ms = convert_duration(c, "retry.backoff_max", retry->backoff_max, &pause);
    uint64_t base = to->backoff_base_ms != 0 ? to->backoff_base_ms : BACKOFF_DEFAULT_MS;
    if (to->backoff_max_ms != 0 && to->backoff_max_ms < base) {
        fuse_problem_error(c->problems, "retry.backoff_max",
                           "is shorter than the first pause of %" PRIu64 " ms", base);
    }
}

/* ---- hash key ---- */

static void convert_hash_name(struct fuse_converting *c, enum fuse_hash_kind kind,
                              const char *field, const char *name,
                              const char *(*check)(const char *))
{
    c->draft->hash_kind = kind;
    if (fuse_convert_fine(c, field, name, check(name))) {
        c->draft->hash_name = kind == FUSE_HASH_HEADER ? fuse_convert_lower(c, name) : name;
    }
}

static void convert_hash(struct fuse_converting *c, const POL(HashKey) * key)
{
    if (key == NULL) {
        return;
    }
    switch (key->of_case) {
    case DRAFT__ROUTING__V1__HASH_KEY__OF_HEADER:
        convert_hash_name(c, FUSE_HASH_HEADER, "hash_key.header", key->header, fuse_check_header);
        return;
    case DRAFT__ROUTING__V1__HASH_KEY__OF_COOKIE:
        convert_hash_name(c, FUSE_HASH_COOKIE, "hash_key.cookie", key->cookie, fuse_check_cookie);
        return;
    case DRAFT__ROUTING__V1__HASH_KEY__OF_QUERY:
        convert_hash_name(c, FUSE_HASH_QUERY, "hash_key.query", key->query, fuse_check_query);
        return;
    case DRAFT__ROUTING__V1__HASH_KEY__OF_SOURCE_ADDRESS:
        c->draft->hash_kind = FUSE_HASH_SOURCE_ADDRESS;
        if (!key->source_address) {
            fuse_problem_error(c->problems, "hash_key.source_address",
                               "is false: leave hash_key out for none");
        }
        return;
    case DRAFT__ROUTING__V1__HASH_KEY__OF__NOT_SET:
    case _DRAFT__ROUTING__V1__HASH_KEY__OF__CASE_IS_INT_SIZE:
        break;
    }
    fuse_problem_error(c->problems, "hash_key",
                       "is empty: give header, cookie, source_address or query");
}

/* ---- limits of proxies ---- */

static void convert_breaker(struct fuse_converting *c, const POL(CircuitBreaker) * breaker)
{
    if (breaker == NULL) {
        return;
    }
    const struct {
        const char *field;
        uint32_t value, *to;
    } rows[] = {
        {"circuit_breaker.max_connections", breaker->max_connections,
         &c->draft->breaker.max_connections},
        {"circuit_breaker.max_pending_requests", breaker->max_pending_requests,
         &c->draft->breaker.max_pending_requests},
        {"circuit_breaker.max_requests", breaker->max_requests, &c->draft->breaker.max_requests},
        {"circuit_breaker.max_retries", breaker->max_retries, &c->draft->breaker.max_retries},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].value > INT32_MAX) {
            fuse_problem_error(c->problems, rows[i].field, "is %u: at most %d is allowed",
                               rows[i].value, INT32_MAX);
        }
        *rows[i].to = rows[i].value;
        c->draft->breaker.set |= rows[i].value != 0;
    }
}

static uint32_t at_most(struct fuse_converting *c, const char *field, uint32_t value, uint32_t max,
                        uint32_t default_value)
{
    if (value > max) {
        fuse_problem_error(c->problems, field, "is %u: 1 to %u are allowed", value, max);
    }
    return value != 0 ? value : default_value;
}

static void convert_outlier(struct fuse_converting *c, const POL(OutlierDetection) * outlier)
{
    if (outlier == NULL) {
        return;
    }
    uint64_t interval =
        convert_duration(c, "outlier_detection.interval", outlier->interval, &ejection);
    uint64_t base = convert_duration(c, "outlier_detection.base_ejection_time",
                                     outlier->base_ejection_time, &ejection);
    c->draft->outlier = (struct fuse_outlier){
        .set = true,
        .consecutive_errors = at_most(c, "outlier_detection.consecutive_errors",
                                      outlier->consecutive_errors, ERRORS_MAX, ERRORS_DEFAULT),
        .max_ejection_percent =
            at_most(c, "outlier_detection.max_ejection_percent", outlier->max_ejection_percent,
                    EJECTED_MAX, EJECTED_DEFAULT),
        .interval_ms = interval != 0 ? interval : INTERVAL_DEFAULT_MS,
        .base_ejection_ms = base != 0 ? base : EJECTION_DEFAULT_MS,
    };
}

void fuse_convert_policies(struct fuse_converting *c, const NET(Route) * message)
{
    c->draft->timeout_ms = convert_duration(c, "timeout", message->timeout, &whole_request);
    convert_retry(c, message->retry);
    convert_hash(c, message->hash_key);
    convert_breaker(c, message->circuit_breaker);
    convert_outlier(c, message->outlier_detection);
}
