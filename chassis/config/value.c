/* Values: text to type and range, and ranges to text. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "config/entry.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit sizes[] = {
    {"B", 1}, {"KiB", 1ULL << 10}, {"MiB", 1ULL << 20}, {"GiB", 1ULL << 30}, {"TiB", 1ULL << 40},
};
static const struct unit durations[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 86400 * 1000},
};

static bool why(char ret_why[256], const char *text)
{
    snprintf(ret_why, 256, "%s", text);
    return false;
}

static const struct unit *unit_find(const struct unit *units, size_t n, const char *text,
                                    size_t len)
{
    for (size_t i = 0; i < n; i++) {
        if (strlen(units[i].name) == len && memcmp(units[i].name, text, len) == 0) {
            return &units[i];
        }
    }
    return NULL;
}

/* "64KiB", "1h30m": numbers with units, added up. A bare number is bytes; for a duration only 0
 * goes without a unit. */
static bool parse_amount(const char *text, const struct unit *units, size_t n, bool bare,
                         uint64_t *ret_amount)
{
    uint64_t sum = 0;
    if (*text == '\0') {
        return false;
    }
    while (*text != '\0') {
        size_t digits = strspn(text, "0123456789");
        if (digits == 0 || digits > 18) {
            return false;
        }
        uint64_t number = strtoull(text, NULL, 10), part;
        text += digits;
        size_t letters = strcspn(text, "0123456789");
        const struct unit *unit = unit_find(units, n, text, letters);
        if (unit == NULL && (letters != 0 || !(bare || number == 0))) {
            return false;
        }
        text += letters;
        if (__builtin_mul_overflow(number, unit != NULL ? unit->factor : 1, &part) ||
            __builtin_add_overflow(sum, part, &sum) || sum > INT64_MAX) {
            return false;
        }
    }
    *ret_amount = sum;
    return true;
}

void chassis_config_value_bound(enum chassis_config_type type, int64_t value, char out[48])
{
    bool size = type == CHASSIS_CONFIG_SIZE;
    if (size || type == CHASSIS_CONFIG_DURATION) {
        const struct unit *units = size ? sizes : durations;
        size_t i = sizeof sizes / sizeof sizes[0];
        while (i-- > 1) {
            if (value != 0 && (uint64_t)value % units[i].factor == 0) {
                break;
            }
        }
        snprintf(out, 48, "%lld%s", (long long)(value / (int64_t)units[i].factor), units[i].name);
        return;
    }
    snprintf(out, 48, "%lld", (long long)value);
}

void chassis_config_value_range(const struct chassis_config_key *key, char out[128])
{
    char min[48], max[48];
    out[0] = '\0';
    if (key->min == 0 && key->max == 0) {
        return;
    }
    chassis_config_value_bound(key->type, key->min, min);
    chassis_config_value_bound(key->type, key->max, max);
    if (key->max == 0 && key->min > 0) {
        snprintf(out, 128, "at least %s", min);
    } else {
        snprintf(out, 128, "%s to %s", min, max);
    }
}

static bool in_range(const struct chassis_config_key *key, int64_t value, char ret_why[256])
{
    bool bounded = key->min != 0 || key->max != 0;
    bool high = bounded && (key->max != 0 || key->min < 0) && value > key->max;
    if (bounded && (value < key->min || high)) {
        char range[128];
        chassis_config_value_range(key, range);
        snprintf(ret_why, 256, "out of range, allowed: %s", range);
        return false;
    }
    return true;
}

static bool parse_bool(const char *text, bool *ret_value)
{
    static const char *const words[][2] = {
        {"false", "true"}, {"no", "yes"}, {"off", "on"}, {"0", "1"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        for (int k = 0; k < 2; k++) {
            if (strcmp(text, words[i][k]) == 0) {
                *ret_value = k == 1;
                return true;
            }
        }
    }
    return false;
}

static bool parse_int(const char *text, int64_t *ret_value)
{
    const char *digits = text + (*text == '-');
    if (*digits == '\0' || digits[strspn(digits, "0123456789")] != '\0') {
        return false;
    }
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    *ret_value = value;
    return errno == 0;
}

static bool parse_enum(const struct chassis_config_key *key, const char *text, int *ret_choice,
                       char ret_why[256])
{
    const char *nearest = NULL;
    unsigned best = 3;
    size_t len = (size_t)snprintf(ret_why, 256, "not one of");
    for (int i = 0; key->choices[i] != NULL; i++) {
        if (strcmp(key->choices[i], text) == 0) {
            *ret_choice = i;
            return true;
        }
        unsigned distance = chassis_config_distance(key->choices[i], text);
        if (distance < best) {
            best = distance;
            nearest = key->choices[i];
        }
        if (len < 256) {
            len += (size_t)snprintf(ret_why + len, 256 - len, "%s %s", i != 0 ? "," : "",
                                    key->choices[i]);
        }
    }
    if (nearest != NULL && len < 256) {
        snprintf(ret_why + len, 256 - len, "; did you mean '%s'?", nearest);
    }
    return false;
}

/* Items between commas, trimmed; a text of nothing is the empty list. */
static bool parse_list(struct chassis_arena *arena, const char *text,
                       struct chassis_config_list *ret_list, char ret_why[256])
{
    size_t n = 0, blank = strspn(text, " \t\n");
    if (text[blank] == '\0') {
        *ret_list = (struct chassis_config_list){0};
        return true;
    }
    for (const char *p = text; p != NULL; p = strchr(p, ',')) {
        p += n++ != 0;
    }
    if (n > CHASSIS_CONFIG_ITEMS_MAX) {
        return why(ret_why, "more than 1024 items");
    }
    const char **items = chassis_arena_alloc(arena, n * sizeof *items);
    const char *p = text;
    for (size_t i = 0; i < n; i++) {
        size_t len = strcspn(p, ","), used = len;
        const char *next = p + len + 1;
        while (used != 0 && strchr(" \t\n", *p) != NULL) {
            p++;
            used--;
        }
        while (used != 0 && strchr(" \t\n", p[used - 1]) != NULL) {
            used--;
        }
        if (used == 0) {
            return why(ret_why, "an empty item between commas");
        }
        items[i] = chassis_arena_strndup(arena, p, used);
        p = next;
    }
    *ret_list = (struct chassis_config_list){.items = items, .n = n};
    return true;
}

bool chassis_config_value_parse(struct chassis_arena *arena, const struct chassis_config_key *key,
                                const char *text, struct config_value *ret_value, char ret_why[256])
{
    size_t n = sizeof sizes / sizeof sizes[0];
    switch (key->type) {
    case CHASSIS_CONFIG_STRING:
        ret_value->is.text = text;
        return true;
    case CHASSIS_CONFIG_BOOL:
        return parse_bool(text, &ret_value->is.boolean) ||
               why(ret_why, "not a boolean, write true or false");
    case CHASSIS_CONFIG_INT:
        if (!parse_int(text, &ret_value->is.i64)) {
            return why(ret_why, "not a whole number");
        }
        return in_range(key, ret_value->is.i64, ret_why);
    case CHASSIS_CONFIG_SIZE:
        if (!parse_amount(text, sizes, n, true, &ret_value->is.u64)) {
            return why(ret_why, "not a size, write bytes or a unit: 64KiB, 1MiB, 16GiB");
        }
        return in_range(key, (int64_t)ret_value->is.u64, ret_why);
    case CHASSIS_CONFIG_DURATION:
        if (!parse_amount(text, durations, n, false, &ret_value->is.u64)) {
            return why(ret_why, "not a duration, write a unit: 500ms, 5s, 2m, 1h");
        }
        return in_range(key, (int64_t)ret_value->is.u64, ret_why);
    case CHASSIS_CONFIG_ENUM:
        return parse_enum(key, text, &ret_value->is.choice, ret_why);
    case CHASSIS_CONFIG_LIST:
        return parse_list(arena, text, &ret_value->is.list, ret_why);
    }
    CHASSIS_PANIC("configuration key '%s' of unknown type %d", key->name, (int)key->type);
}
