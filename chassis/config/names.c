/* Names of keys: environment form, patterns with `*`, and what a wrong one may have meant. */
#include <stdio.h>
#include <string.h>

#include "config/entry.h"

enum { NAME_MAX_NEAR = 96 };

void chassis_config_env_name(const char *name, char *out, size_t size)
{
    size_t len = (size_t)snprintf(out, size, "DRAFT_");
    for (const char *p = name; *p != '\0' && len + 1 < size; p++) {
        bool lower = *p >= 'a' && *p <= 'z';
        out[len++] = lower ? (char)(*p - 'a' + 'A') : *p == '.' || *p == '-' ? '_' : *p;
    }
    out[len] = '\0';
}

unsigned chassis_config_distance(const char *a, const char *b)
{
    unsigned row[NAME_MAX_NEAR + 1];
    size_t a_len = strlen(a), b_len = strlen(b);
    if (a_len > NAME_MAX_NEAR || b_len > NAME_MAX_NEAR) {
        return 1000;
    }
    for (size_t k = 0; k <= b_len; k++) {
        row[k] = (unsigned)k;
    }
    for (size_t i = 1; i <= a_len; i++) {
        unsigned corner = row[0];
        row[0] = (unsigned)i;
        for (size_t k = 1; k <= b_len; k++) {
            unsigned best = corner + (a[i - 1] != b[k - 1]);
            best = row[k] + 1 < best ? row[k] + 1 : best;
            best = row[k - 1] + 1 < best ? row[k - 1] + 1 : best;
            corner = row[k];
            row[k] = best;
        }
    }
    return row[b_len];
}

bool chassis_config_wild_match(const char *pattern, const char *name, struct chassis_view *ret_wild)
{
    const char *star = strchr(pattern, '*');
    if (star == NULL) {
        return false;
    }
    size_t before = (size_t)(star - pattern), after = strlen(star + 1), len = strlen(name);
    if (len <= before + after || memcmp(pattern, name, before) != 0 ||
        memcmp(star + 1, name + len - after, after) != 0) {
        return false;
    }
    size_t wild = len - before - after;
    if (strspn(name + before, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") <
        wild) {
        return false;
    }
    *ret_wild = chassis_view(name + before, wild);
    return true;
}

/* `pattern` with its `*` replaced by the segment that `name` has there. */
static void fill_wild(const char *pattern, const char *name, char *out, size_t size)
{
    const char *star = strchr(pattern, '*');
    if (star == NULL) {
        snprintf(out, size, "%s", pattern);
        return;
    }
    const char *segment = name;
    for (const char *p = pattern; p < star && segment != NULL; p++) {
        if (*p == '.') {
            segment = strchr(segment, '.');
            segment = segment != NULL ? segment + 1 : NULL;
        }
    }
    int wild = segment != NULL ? (int)strcspn(segment, ".") : 0;
    snprintf(out, size, "%.*s%.*s%s", (int)(star - pattern), pattern, wild != 0 ? wild : 1,
             wild != 0 ? segment : "*", star + 1);
}

void chassis_config_nearest(const struct chassis_config *config, const char *name, bool sections,
                            char *out, size_t size)
{
    unsigned limit = (unsigned)strlen(name) / 3;
    unsigned best = (limit < 2 ? 2 : limit > 5 ? 5 : limit) + 1;
    out[0] = '\0';
    for (size_t i = 0; i < config->n; i++) {
        char known[256];
        fill_wild(config->entries[i].key->name, name, known, sizeof known);
        for (;;) {
            unsigned distance = chassis_config_distance(known, name);
            if (distance < best) {
                best = distance;
                snprintf(out, size, "%s", known);
            }
            char *dot = strrchr(known, '.');
            if (!sections || dot == NULL) {
                break;
            }
            *dot = '\0';
        }
    }
}
