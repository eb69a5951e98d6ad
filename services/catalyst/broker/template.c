#include "catalyst/broker/consume.h"

#include <stdlib.h>

#include "catalyst/event/subject.h"

#define ACTORS(name) Core__MessageBroker__Actors__V1__##name
#define VALUE(name)                                                                                \
    CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_##name

typedef ACTORS(CloudEvent__CloudEventAttributeValue) value_t;

static int string_of(const char *name, const value_t *value, struct chassis_view *ret_text,
                     struct chassis_error *err)
{
    if (value == NULL || value->attr_case != VALUE(STRING)) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "attribute '%s' of the template must be a string", name);
    }
    *ret_text = chassis_view_str(value->ce_string);
    return 0;
}

static int pattern_of(const char *name, struct chassis_view text, struct chassis_view *ret_pattern,
                      struct chassis_error *err)
{
    bool any = text.len == 0 || chassis_view_eq(text, chassis_view_str("*"));
    *ret_pattern = any ? chassis_view(NULL, 0) : text;
    if (!any && cat_subject_valid(text, err) != 0) {
        return chassis_error_wrap(err, "'%s' of the template", name);
    }
    return 0;
}

static int start_of(const value_t *value, struct cat_template *t, struct chassis_error *err)
{
    struct chassis_view text;
    struct cat_value time;
    int rc = string_of("start", value, &text, err);
    if (rc != 0) {
        return rc;
    }
    t->has_start = true;
    if (chassis_view_eq(text, chassis_view_str("new"))) {
        t->start.kind = CAT_START_NEW;
    } else if (chassis_view_eq(text, chassis_view_str("earliest"))) {
        t->start.kind = CAT_START_EARLIEST;
    } else if (cat_value_parse(text, CAT_TIMESTAMP, &time) && time.time.seconds >= 0 &&
               time.time.seconds < INT64_MAX / 1000000000) {
        t->start.kind = CAT_START_TIME;
        t->start.time_ns = time.time.seconds * 1000000000 + time.time.nanos;
    } else {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "attribute 'start' of the template is '%.*s', must be new, "
                                 "earliest or an RFC 3339 time",
                                 CHASSIS_VIEW_ARG(text));
    }
    return 0;
}

static int sequence_of(const value_t *value, struct cat_template *t, struct chassis_error *err)
{
    uint64_t sequence = 0;
    if (value != NULL && value->attr_case == VALUE(INTEGER) && value->ce_integer > 0) {
        sequence = (uint64_t)value->ce_integer;
    } else if (value != NULL && value->attr_case == VALUE(STRING)) {
        char *end;
        sequence = strtoull(value->ce_string, &end, 10);
        sequence = *end == '\0' && value->ce_string[0] != '-' ? sequence : 0;
    }
    if (sequence == 0) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "attribute 'startsequence' of the template must be a number from "
                                 "1 up");
    }
    t->has_start = true;
    t->start = (struct cat_start){.kind = CAT_START_SEQUENCE, .sequence = sequence};
    return 0;
}

static int attribute_of(const char *name, const value_t *value, struct cat_template *t,
                        struct chassis_error *err)
{
    struct {
        const char *name;
        struct chassis_view *text;
    } texts[] = {{"stream", &t->stream}, {"group", &t->group}, {"filtersql", &t->sql}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strcmp(name, texts[i].name) == 0) {
            return string_of(name, value, texts[i].text, err);
        }
    }
    if (strcmp(name, "subject") == 0) {
        struct chassis_view text;
        int rc = string_of(name, value, &text, err);
        return rc != 0 ? rc : pattern_of(name, text, &t->subject, err);
    }
    if (strcmp(name, "start") == 0) {
        return start_of(value, t, err);
    }
    if (strcmp(name, "startsequence") == 0) {
        return sequence_of(value, t, err);
    }
    return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                             "attribute '%.64s' of the template is no option: those are subject, "
                             "stream, start, startsequence, group and filtersql",
                             name);
}

int cat_template_of(const ACTORS(CloudEvent) * message, struct cat_template *ret_template,
                    struct chassis_error *err)
{
    struct cat_template t = {.start.kind = CAT_START_NEW};
    if (message == NULL) {
        *ret_template = t;
        return 0;
    }
    int rc = pattern_of("source", chassis_view_str(message->source), &t.source, err);
    rc = rc == 0 ? pattern_of("type", chassis_view_str(message->type), &t.type, err) : rc;
    for (size_t i = 0; i < message->n_attributes && rc == 0; i++) {
        rc = attribute_of(message->attributes[i]->key, message->attributes[i]->value, &t, err);
    }
    if (rc == 0 && t.stream.len == 0 && (t.group.len != 0 || t.start.kind != CAT_START_NEW)) {
        rc = chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                               "attribute '%s' of the template needs the attribute 'stream'",
                               t.group.len != 0 ? "group" : "start");
    }
    if (rc == 0) {
        *ret_template = t;
    }
    return rc;
}
