/* What a stream's configuration must obey; what it leaves open. */
#include "catalyst/broker/internal.h"

enum { INTERVAL_MS_MAX = 60000, INTERVAL_MS = 100, DESCRIPTION_MAX = 255 };
#define DURATION_MS_MAX (100ULL * 365 * 86400 * 1000)

static bool is_alnum(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static int check_name(struct chassis_view name, struct chassis_error *err)
{
    bool ok = name.len >= 1 && name.len <= CAT_NAME_MAX && is_alnum(name.data[0]);
    for (size_t i = 0; ok && i < name.len; i++) {
        uint8_t c = name.data[i];
        ok = is_alnum(c) || c == '.' || c == '_' || c == '-';
    }
    return ok ? 0
              : chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                  "name: 1 to %d letters, digits, '.', '_' and '-', beginning with "
                                  "a letter or digit",
                                  CAT_NAME_MAX);
}

static int check_pattern(const char *what, struct chassis_view pattern, uint32_t place,
                         struct chassis_error *err)
{
    int rc = pattern.len != 0 ? cat_subject_valid(pattern, err) : 0;
    if (rc < 0) {
        chassis_error_wrap(err, "takes[%u].%s", place, what);
    }
    return rc;
}

static int check_takes(const struct cat_stream_config *c, struct chassis_error *err)
{
    if (c->n_takes > CAT_SELECTIONS_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "takes: %u rules, at most %d",
                                 c->n_takes, CAT_SELECTIONS_MAX);
    }
    for (uint32_t i = 0; i < c->n_takes; i++) {
        const struct cat_selection *s = &c->takes[i];
        if (s->source.len + s->type.len + s->subject.len == 0) {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                     "takes[%u]: one of source, type and subject must be given", i);
        }
        int rc = check_pattern("source", s->source, i, err);
        rc = rc == 0 ? check_pattern("type", s->type, i, err) : rc;
        rc = rc == 0 ? check_pattern("subject", s->subject, i, err) : rc;
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int check_limit(const char *what, uint64_t value, uint64_t max, struct chassis_error *err)
{
    return value <= max
               ? 0
               : chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "%s: %llu, at most %llu", what,
                                   (unsigned long long)value, (unsigned long long)max);
}

static int check_choices(struct cat_stream_config *c, struct chassis_error *err)
{
    c->durability = c->durability == 0 ? CAT_FSYNC : c->durability;
    c->when_full = c->when_full == 0 ? CAT_DISCARD_OLD : c->when_full;
    if (c->durability < CAT_FSYNC || c->durability > CAT_MEMORY) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "durability: %d is none",
                                 (int)c->durability);
    }
    if (c->when_full < CAT_DISCARD_OLD || c->when_full > CAT_REFUSE_NEW) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "when_full: %d is none",
                                 (int)c->when_full);
    }
    return 0;
}

int cat_check_config(struct cat_stream_config *c, struct chassis_error *err)
{
    c->interval_ms = c->interval_ms == 0 ? INTERVAL_MS : c->interval_ms;
    c->event_bytes_max = c->event_bytes_max == 0 ? CAT_EVENT_BYTES_MAX : c->event_bytes_max;
    if (c->backend.len == 0) {
        c->backend = chassis_view_str("journal");
    }
    int rc = check_name(c->name, err);
    rc = rc == 0 ? check_choices(c, err) : rc;
    rc = rc == 0 ? check_takes(c, err) : rc;
    rc = rc == 0 ? check_limit("interval_ms", c->interval_ms, INTERVAL_MS_MAX, err) : rc;
    rc = rc == 0 ? check_limit("age_max_ms", c->age_max_ms, DURATION_MS_MAX, err) : rc;
    rc = rc == 0 ? check_limit("dedupe_ms", c->dedupe_ms, DURATION_MS_MAX, err) : rc;
    rc = rc == 0 ? check_limit("bytes_max", c->bytes_max, INT64_MAX, err) : rc;
    rc = rc == 0 ? check_limit("events_max", c->events_max, INT64_MAX, err) : rc;
    rc =
        rc == 0 ? check_limit("event_bytes_max", c->event_bytes_max, CAT_EVENT_BYTES_MAX, err) : rc;
    rc = rc == 0 ? check_limit("length of backend", c->backend.len, CAT_NAME_MAX, err) : rc;
    rc = rc == 0 ? check_limit("length of description", c->description.len, DESCRIPTION_MAX, err)
                 : rc;
    return rc;
}
