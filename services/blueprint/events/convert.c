#include "convert.h"

#include <inttypes.h>

#include "../key_value/convert.h"
#include "../service_discovery/convert.h"
#include "base/assert.h"
#include "core/control_plane/networking/v1/networking.pb-c.h"
#include "proto/message.h"

typedef Core__MessageBroker__Actors__V1__CloudEvent cloud_event;
typedef Core__MessageBroker__Actors__V1__CloudEvent__AttributesEntry attribute_entry;
typedef Core__MessageBroker__Actors__V1__CloudEvent__CloudEventAttributeValue attribute_value;

#define ATTR(kind)                                                                                 \
    CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_##kind

enum { ATTRIBUTES = 6 };

/* What an Any of a record's value can hold in plain JSON; others appear as base64. */
static const struct chassis_type_registry *types(void)
{
    static struct chassis_type_registry *known;
    if (known == NULL) {
        known = chassis_type_registry_new();
        chassis_type_registry_add(known, &core__registry__key_value__v1__value__descriptor);
        chassis_type_registry_add(known, &core__control_plane__networking__v1__route__descriptor);
    }
    return known;
}

static cloud_event *event_new(struct chassis_arena *a, const char *source, const char *id,
                              const char *type)
{
    cloud_event *e = chassis_arena_alloc(a, sizeof *e);
    core__message_broker__actors__v1__cloud_event__init(e);
    e->id = chassis_arena_strdup(a, id);
    e->source = chassis_arena_strdup(a, source);
    e->spec_version = (char *)(uintptr_t) "1.0";
    e->type = (char *)(uintptr_t)type;
    e->attributes = chassis_arena_alloc(a, ATTRIBUTES * sizeof(attribute_entry *));
    return e;
}

static attribute_value *add_attribute(struct chassis_arena *a, cloud_event *e, const char *name)
{
    CHASSIS_ASSERT(e->n_attributes < ATTRIBUTES);
    attribute_entry *entry = chassis_arena_alloc(a, sizeof *entry);
    core__message_broker__actors__v1__cloud_event__attributes_entry__init(entry);
    entry->value = chassis_arena_alloc(a, sizeof *entry->value);
    core__message_broker__actors__v1__cloud_event__cloud_event_attribute_value__init(entry->value);
    entry->key = (char *)(uintptr_t)name;
    e->attributes[e->n_attributes++] = entry;
    return entry->value;
}

static void add_text(struct chassis_arena *a, cloud_event *e, const char *name,
                     struct chassis_view text)
{
    if (text.len != 0) {
        attribute_value *v = add_attribute(a, e, name);
        v->attr_case = ATTR(STRING);
        v->ce_string = chassis_arena_strndup(a, text.data, text.len);
    }
}

static void add_time(struct chassis_arena *a, cloud_event *e, int64_t time_ns)
{
    attribute_value *v = add_attribute(a, e, "time");
    v->attr_case = ATTR(TIMESTAMP);
    v->ce_timestamp = chassis_arena_alloc(a, sizeof *v->ce_timestamp);
    google__protobuf__timestamp__init(v->ce_timestamp);
    v->ce_timestamp->seconds = time_ns / 1000000000;
    v->ce_timestamp->nanos = (int32_t)(time_ns % 1000000000);
}

static void set_data(struct chassis_arena *a, cloud_event *e, struct chassis_view json)
{
    e->data_case = CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT__DATA_TEXT_DATA;
    e->text_data = chassis_arena_strndup(a, json.data, json.len);
    add_text(a, e, "datacontenttype", chassis_view_str("application/json"));
}

static struct chassis_view kind_name(struct chassis_view type_url)
{
    for (size_t i = type_url.len; i > 0; i--) {
        if (type_url.data[i - 1] == '/') {
            return chassis_view(type_url.data + i, type_url.len - i);
        }
    }
    return type_url;
}

/* The value is left out when it is too large, or is not what its type says. */
static void add_record(struct chassis_arena *a, cloud_event *e, const struct bp_events_row *row)
{
    KV(Event) *event = bp_kv_event_message(a, &row->record);
    struct chassis_buf json = {0};
    struct chassis_error err = {0};
    int rc = chassis_json_print(&event->base, types(), &json, &err);
    if (rc != 0 || json.len > BP_EVENTS_DATA_MAX) {
        event->value = NULL;
        chassis_buf_clear(&json);
        rc = chassis_json_print(&event->base, types(), &json, &err);
        CHASSIS_ASSERT(rc == 0);
        add_text(a, e, "valueomitted", chassis_view_str("true"));
    }
    add_text(a, e, "subject", row->record.version.key);
    add_text(a, e, "recordkind", kind_name(row->record.kind));
    add_time(a, e, row->record.version.time_ns);
    set_data(a, e, chassis_buf_view(&json));
    chassis_buf_fini(&json);
}

static void add_process(struct chassis_arena *a, cloud_event *e, const struct bp_events_row *row)
{
    SD(ProcessEvent) *event = bp_sd_event_message(a, &row->transition);
    struct chassis_buf json = {0};
    struct chassis_error err = {0};
    int rc = chassis_json_print(&event->base, types(), &json, &err);
    CHASSIS_ASSERT(rc == 0); /* no Any in it, and texts are checked when they are stored */
    add_text(a, e, "subject", row->transition.process.pid);
    add_text(a, e, "processname", row->transition.process.name);
    add_time(a, e, row->transition.time_ns);
    set_data(a, e, chassis_buf_view(&json));
    chassis_buf_fini(&json);
}

static const char *type_of(const struct bp_events_row *row)
{
    if (!row->process) {
        return row->record.version.deleted ? "draft.blueprint.record.deleted"
                                           : "draft.blueprint.record.put";
    }
    switch ((enum bp_sd_event_type)row->transition.type) {
    case BP_SD_EVENT_JOINED:
        return "draft.blueprint.process.joined";
    case BP_SD_EVENT_LEFT:
        return "draft.blueprint.process.left";
    case BP_SD_EVENT_EXPIRED:
        return "draft.blueprint.process.expired";
    case BP_SD_EVENT_CHANGED:
    case BP_SD_EVENT_SYNCED: /* marks of watches are not stored */
    case BP_SD_EVENT_RESYNC:
        break;
    }
    return "draft.blueprint.process.changed";
}

cloud_event *bp_events_message(struct chassis_arena *a, const char *source,
                               const struct bp_events_row *row)
{
    char id[BP_EVENTS_ID_MAX];
    bp_events_id(row->at, id);
    cloud_event *e = event_new(a, source, id, type_of(row));
    if (row->process) {
        add_process(a, e, row);
    } else {
        add_record(a, e, row);
    }
    return e;
}

cloud_event *bp_events_gap(struct chassis_arena *a, const char *source, const char *id,
                           uint64_t from, uint64_t through)
{
    cloud_event *e = event_new(a, source, id, "draft.blueprint.gap");
    const char *json = chassis_arena_printf(
        a, "{\"fromRevision\":\"%" PRIu64 "\",\"throughRevision\":\"%" PRIu64 "\"}", from, through);
    set_data(a, e, chassis_view_str(json));
    return e;
}
