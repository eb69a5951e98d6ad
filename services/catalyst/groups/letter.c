#include "catalyst/groups/letter.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/utf8.h"
#include "catalyst/event/build.h"
#include "catalyst/event/check.h"

enum { OWN_MAX = 9, REASON_MAX = 255, PRINTED_MAX = 24 };

/* Never taken over from the event that a letter, or an event from a letter, is made of. */
static const char *const own_names[] = {
    "deadreason", "deadstream", "deadgroup",  "deadsequence", "deadattempts", "deadfirsttime",
    "deadtime",   "deadid",     "deadreplay", "expirytime",   "notbefore",    "delayms"};

static bool is_own(struct chassis_view name)
{
    for (size_t i = 0; i < sizeof own_names / sizeof own_names[0]; i++) {
        if (chassis_view_eq(name, chassis_view_str(own_names[i]))) {
            return true;
        }
    }
    return false;
}

static struct cat_value time_value(int64_t ms)
{
    int64_t seconds = ms / 1000 - (ms % 1000 < 0);
    return cat_value_timestamp(seconds, (int32_t)(ms - seconds * 1000) * 1000000);
}

static void clean_reason(struct chassis_view reason, struct chassis_buf *out)
{
    for (size_t i = 0, len; i < reason.len; i += len) {
        len = chassis_utf8_len(reason.data + i, reason.len - i);
        struct chassis_view character = chassis_view(reason.data + i, len);
        if (len == 0 || !cat_check_string(character)) {
            character = chassis_view_str("?");
            len = len != 0 ? len : 1;
        }
        if (out->len + character.len > REASON_MAX) {
            return;
        }
        chassis_buf_append_view(out, character);
    }
}

struct making {
    struct cat_attribute attributes[CAT_EVENT_ATTRIBUTES_MAX + OWN_MAX];
    struct cat_event_parts parts;
};

static void add(struct making *m, const char *name, struct cat_value value)
{
    m->attributes[m->parts.attribute_count++] =
        (struct cat_attribute){chassis_view_str(name), value};
}

static void begin(struct making *m, const struct cat_event *event, bool bare)
{
    m->parts = (struct cat_event_parts){
        .id = event->id,
        .source = event->source,
        .type = event->type,
        .spec_version = event->spec_version,
        .attributes = m->attributes,
        .data_kind = bare ? CAT_DATA_NONE : event->data_kind,
        .data = bare ? chassis_view(NULL, 0) : event->data,
    };
    for (uint32_t i = 0; i < event->attribute_count; i++) {
        struct cat_attribute a = cat_event_attribute_at(event, i);
        bool kept = !bare || chassis_view_eq(a.name, chassis_view_str("subject")) ||
                    chassis_view_eq(a.name, chassis_view_str("partitionkey"));
        if (kept && !is_own(a.name)) {
            m->attributes[m->parts.attribute_count++] = a;
        }
    }
}

/* The same for the same letter, so that a second one is recognized as a duplicate. */
static void own_id(const struct cat_event *event, const struct cat_letter *l, uint32_t renames,
                   char out[64])
{
    struct chassis_buf text = {0};
    chassis_buf_printf(&text, "%.*s/%.*s/%" PRIu64 "/%u/%.*s", CHASSIS_VIEW_ARG(l->stream),
                       CHASSIS_VIEW_ARG(l->group), l->sequence, renames,
                       CHASSIS_VIEW_ARG(event->id));
    if (l->came_back_from != 0) {
        chassis_buf_printf(&text, "/%" PRIu64, l->came_back_from);
    }
    snprintf(out, 64, "dead-%" PRIu64 "-%016" PRIx64, l->sequence,
             chassis_fnv1a(text.data, text.len));
    chassis_buf_fini(&text);
}

/* Its event was in a letter before: as an entry that was opened again, or as an event that was
 * published again. */
static bool came_back(const struct cat_event *event, const struct cat_letter *l)
{
    struct cat_value group;
    return l->came_back_from != 0 ||
           cat_event_attribute(event, chassis_view_str("deadreplay"), &group);
}

void cat_letter_build(const struct cat_event *event, const struct cat_letter *l,
                      struct cat_letter_form form, struct chassis_buf *out)
{
    struct making m;
    struct chassis_buf reason = {0};
    char sequence[PRINTED_MAX], id[64];
    begin(&m, event, form.bare);
    if (form.bare) {
        chassis_buf_append_str(&reason, "(too large for a whole dead letter) ");
    }
    clean_reason(l->reason, &reason);
    snprintf(sequence, sizeof sequence, "%" PRIu64, l->sequence);
    add(&m, "deadreason", cat_value_string(chassis_buf_view(&reason)));
    add(&m, "deadstream", cat_value_string(l->stream));
    add(&m, "deadgroup", cat_value_string(l->group));
    add(&m, "deadsequence", cat_value_string(chassis_view_str(sequence)));
    add(&m, "deadattempts", cat_value_integer((int32_t)l->attempts));
    add(&m, "deadfirsttime", time_value(l->first_ms));
    add(&m, "deadtime", time_value(l->dead_ms));
    if (form.renames != 0 || came_back(event, l)) {
        own_id(event, l, form.renames, id);
        add(&m, "deadid", cat_value_string(event->id));
        m.parts.id = chassis_view_str(id);
    }
    cat_event_build(&m.parts, out);
    chassis_buf_fini(&reason);
}

static bool text_of(const struct cat_event *event, const char *name, struct chassis_view *ret_text)
{
    struct cat_value value;
    if (!cat_event_attribute(event, chassis_view_str(name), &value) || value.type != CAT_STRING) {
        return false;
    }
    *ret_text = value.text;
    return true;
}

static int64_t time_of(const struct cat_event *event, const char *name)
{
    struct cat_value value;
    return cat_event_attribute(event, chassis_view_str(name), &value) && value.type == CAT_TIMESTAMP
               ? cat_timestamp_ms(value.time)
               : 0;
}

bool cat_letter_read(const struct cat_event *event, struct cat_letter *ret_letter)
{
    struct cat_letter l = {0};
    struct chassis_view sequence;
    struct cat_value attempts;
    if (!text_of(event, "deadstream", &l.stream) || !text_of(event, "deadgroup", &l.group) ||
        !text_of(event, "deadsequence", &sequence)) {
        return false;
    }
    for (size_t i = 0; i < sequence.len; i++) {
        uint8_t c = sequence.data[i];
        if (c < '0' || c > '9' || l.sequence > (UINT64_MAX - 9) / 10) {
            return false;
        }
        l.sequence = l.sequence * 10 + (c - '0');
    }
    text_of(event, "deadreason", &l.reason);
    if (cat_event_attribute(event, chassis_view_str("deadattempts"), &attempts) &&
        attempts.type == CAT_INTEGER && attempts.integer > 0) {
        l.attempts = (uint32_t)attempts.integer;
    }
    l.first_ms = time_of(event, "deadfirsttime");
    l.dead_ms = time_of(event, "deadtime");
    *ret_letter = l;
    return l.sequence != 0;
}

bool cat_letter_same(const struct cat_letter *a, const struct cat_letter *b)
{
    return chassis_view_eq(a->stream, b->stream) && chassis_view_eq(a->group, b->group) &&
           a->sequence == b->sequence;
}

void cat_letter_restore(const struct cat_event *event, struct chassis_view group,
                        struct chassis_buf *out)
{
    struct making m;
    struct chassis_view id;
    begin(&m, event, false);
    if (text_of(event, "deadid", &id)) {
        m.parts.id = id;
    }
    if (group.len != 0) {
        add(&m, "deadreplay", cat_value_string(group));
    }
    cat_event_build(&m.parts, out);
}
