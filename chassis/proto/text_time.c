/* Times and durations. Days since 1970 to and from a date: Howard Hinnant, "chrono-compatible
 * low-level date algorithms" (days_from_civil, civil_from_days). */
#include <stdio.h>
#include <stdlib.h>

#include "proto/text.h"

static const int64_t timestamp_min = -62135596800, timestamp_max = 253402300799;
static const int64_t duration_max = 315576000000;
enum { NANOS_PER_S = 1000000000 };

static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t yoe = year - era * 400;
    int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void civil_from_days(int64_t days, int64_t *ret_year, int64_t *ret_month, int64_t *ret_day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *ret_day = doy - (153 * mp + 2) / 5 + 1;
    *ret_month = mp < 10 ? mp + 3 : mp - 9;
    *ret_year = yoe + era * 400 + (*ret_month <= 2);
}

/* Nothing, or a point and 3, 6 or 9 digits. */
static void print_nanos(int64_t nanos, struct chassis_buf *out)
{
    if (nanos % 1000000 == 0 && nanos != 0) {
        chassis_buf_printf(out, ".%03d", (int)(nanos / 1000000));
    } else if (nanos % 1000 == 0 && nanos != 0) {
        chassis_buf_printf(out, ".%06d", (int)(nanos / 1000));
    } else if (nanos != 0) {
        chassis_buf_printf(out, ".%09d", (int)nanos);
    }
}

bool text_print_timestamp(int64_t seconds, int64_t nanos, struct chassis_buf *out)
{
    if (seconds < timestamp_min || seconds > timestamp_max || nanos < 0 || nanos >= NANOS_PER_S) {
        return false;
    }
    int64_t days = (seconds - timestamp_min) / 86400 + timestamp_min / 86400;
    int64_t second = seconds - days * 86400, year, month, day;
    civil_from_days(days, &year, &month, &day);
    chassis_buf_printf(out, "\"%04d-%02d-%02dT%02d:%02d:%02d", (int)year, (int)month, (int)day,
                       (int)(second / 3600), (int)(second / 60 % 60), (int)(second % 60));
    print_nanos(nanos, out);
    chassis_buf_append_str(out, "Z\"");
    return true;
}

/* `n` digits at *p as a number; -1 if they are not there. */
static int digits(const char **p, const char *end, int n)
{
    int value = 0;
    for (int i = 0; i < n; i++, (*p)++) {
        if (*p == end || **p < '0' || **p > '9') {
            return -1;
        }
        value = value * 10 + (**p - '0');
    }
    return value;
}

static bool expect(const char **p, const char *end, char c)
{
    return *p < end && *(*p)++ == c;
}

/* An optional fraction of 1 to 9 digits. */
static bool fraction(const char **p, const char *end, int32_t *ret_nanos)
{
    int32_t nanos = 0, unit = NANOS_PER_S;
    if (*p < end && **p == '.') {
        (*p)++;
        if (*p == end || **p < '0' || **p > '9') {
            return false;
        }
        for (; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
            unit /= 10;
            if (unit == 0) {
                return false;
            }
            nanos += unit * (**p - '0');
        }
    }
    *ret_nanos = nanos;
    return true;
}

/* "Z" or "+hh:mm", in seconds east. */
static bool zone(const char **p, const char *end, int64_t *ret_offset)
{
    if (*p < end && **p == 'Z') {
        (*p)++;
        *ret_offset = 0;
        return true;
    }
    if (*p == end || (**p != '+' && **p != '-')) {
        return false;
    }
    int sign = *(*p)++ == '-' ? -1 : 1;
    int hours = digits(p, end, 2);
    if (hours < 0 || hours > 23 || !expect(p, end, ':')) {
        return false;
    }
    int minutes = digits(p, end, 2);
    *ret_offset = (int64_t)sign * (hours * 3600 + minutes * 60);
    return minutes >= 0 && minutes < 60;
}

bool text_parse_timestamp(struct chassis_view text, int64_t *ret_seconds, int32_t *ret_nanos)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const char *p = (const char *)text.data, *end = p + text.len;
    int64_t offset;
    int32_t nanos;
    int year = digits(&p, end, 4), month = expect(&p, end, '-') ? digits(&p, end, 2) : -1;
    int day = expect(&p, end, '-') ? digits(&p, end, 2) : -1;
    int hour = expect(&p, end, 'T') ? digits(&p, end, 2) : -1;
    int minute = expect(&p, end, ':') ? digits(&p, end, 2) : -1;
    int second = expect(&p, end, ':') ? digits(&p, end, 2) : -1;
    if (year < 1 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || minute < 0 ||
        minute > 59 || second < 0 || second > 59 || !fraction(&p, end, &nanos) ||
        !zone(&p, end, &offset) || p != end) {
        return false;
    }
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day > month_days[month - 1] + (month == 2 && leap)) {
        return false;
    }
    int64_t seconds =
        days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
    if (seconds < timestamp_min || seconds > timestamp_max) {
        return false;
    }
    *ret_seconds = seconds;
    *ret_nanos = nanos;
    return true;
}

bool text_print_duration(int64_t seconds, int64_t nanos, struct chassis_buf *out)
{
    if (seconds < -duration_max || seconds > duration_max || nanos <= -NANOS_PER_S ||
        nanos >= NANOS_PER_S || (seconds < 0 && nanos > 0) || (seconds > 0 && nanos < 0)) {
        return false;
    }
    chassis_buf_printf(out, "\"%s%lld", seconds < 0 || nanos < 0 ? "-" : "",
                       llabs((long long)seconds));
    print_nanos(nanos < 0 ? -nanos : nanos, out);
    chassis_buf_append_str(out, "s\"");
    return true;
}

bool text_parse_duration(struct chassis_view text, int64_t *ret_seconds, int32_t *ret_nanos)
{
    const char *p = (const char *)text.data, *end = p + text.len;
    bool negative = p < end && *p == '-';
    p += negative;
    int64_t seconds = 0;
    int32_t nanos;
    const char *first = p;
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        seconds = seconds * 10 + (*p - '0');
        if (seconds > duration_max) {
            return false;
        }
    }
    if (p == first || !fraction(&p, end, &nanos) || !expect(&p, end, 's') || p != end) {
        return false;
    }
    *ret_seconds = negative ? -seconds : seconds;
    *ret_nanos = negative ? -nanos : nanos;
    return true;
}
