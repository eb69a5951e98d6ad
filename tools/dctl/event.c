/* Events to and from the CloudEvents JSON format: see event.h. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <chassis/uuid.h>

#include "event.h"
#include "proto/text.h"

typedef Core__MessageBroker__Actors__V1__CloudEvent__AttributesEntry attribute_entry;
typedef Core__MessageBroker__Actors__V1__CloudEvent__CloudEventAttributeValue attribute_value;

#define ATTR(kind)                                                                                 \
    CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_##kind
#define DATA(kind) CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT__DATA_##kind

enum { ATTRIBUTES_MAX = 256 };

const struct dctl_column dctl_delivery_columns[] = {{"SEQUENCE", "sequence", 10},
                                                    {"TIME", "time", 24},
                                                    {"TYPE", "type", 28},
                                                    {"SOURCE", "source", 24},
                                                    {"SUBJECT", "subject", 16},
                                                    {"DATA", "data", 0},
                                                    {0}};

static const char *string_of(struct chassis_arena *a, const struct dctl_node *n)
{
    return chassis_arena_strndup(a, n->text.data, n->text.len);
}

/* "application/json", "text/json", "application/x+json; charset=utf-8". */
static bool is_json_type(const char *type)
{
    size_t len = strcspn(type, "; ");
    return (len >= 5 && strncasecmp(type + len - 5, "/json", 5) == 0) ||
           (len >= 5 && strncasecmp(type + len - 5, "+json", 5) == 0);
}

static attribute_value *find_attribute(const cloud_event *e, const char *name)
{
    for (size_t i = 0; i < e->n_attributes; i++) {
        if (strcmp(e->attributes[i]->key, name) == 0) {
            return e->attributes[i]->value;
        }
    }
    return NULL;
}

static const char *text_attribute(const cloud_event *e, const char *name)
{
    const attribute_value *v = find_attribute(e, name);
    if (v == NULL) {
        return NULL;
    }
    return v->attr_case == ATTR(STRING)    ? v->ce_string
           : v->attr_case == ATTR(URI)     ? v->ce_uri
           : v->attr_case == ATTR(URI_REF) ? v->ce_uri_ref
                                           : NULL;
}

static attribute_value *add_attribute(struct chassis_arena *a, cloud_event *e, const char *name)
{
    if (e->attributes == NULL) {
        e->attributes = chassis_arena_alloc(a, ATTRIBUTES_MAX * sizeof(attribute_entry *));
    }
    if (e->n_attributes == ATTRIBUTES_MAX) {
        return NULL;
    }
    attribute_entry *entry = chassis_arena_alloc(a, sizeof *entry);
    core__message_broker__actors__v1__cloud_event__attributes_entry__init(entry);
    entry->value = chassis_arena_alloc(a, sizeof *entry->value);
    core__message_broker__actors__v1__cloud_event__cloud_event_attribute_value__init(entry->value);
    entry->key = chassis_arena_strdup(a, name);
    e->attributes[e->n_attributes++] = entry;
    return entry->value;
}

static void set_text(struct chassis_arena *a, cloud_event *e, const char *name, const char *text)
{
    attribute_value *v = add_attribute(a, e, name);
    if (v != NULL) {
        v->attr_case = ATTR(STRING);
        v->ce_string = chassis_arena_strdup(a, text);
    }
}

static int set_time(struct chassis_arena *a, attribute_value *v, const struct dctl_node *n,
                    struct chassis_error *err)
{
    v->attr_case = ATTR(TIMESTAMP);
    v->ce_timestamp = chassis_arena_alloc(a, sizeof *v->ce_timestamp);
    google__protobuf__timestamp__init(v->ce_timestamp);
    if (n->kind == DCTL_TEXT &&
        text_parse_timestamp(n->text, &v->ce_timestamp->seconds, &v->ce_timestamp->nanos)) {
        return 0;
    }
    return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                             "time must be as in \"2026-01-31T12:00:00Z\"");
}

/* One member of the JSON object that is neither a required attribute nor data. */
static int parse_attribute(struct chassis_arena *a, cloud_event *e, const struct dctl_node *n,
                           struct chassis_error *err)
{
    int64_t integer;
    if (n->kind == DCTL_NULL) {
        return 0; /* "null is as if it were not there": CloudEvents JSON format, 2.2 */
    }
    attribute_value *v = add_attribute(a, e, n->key);
    if (v == NULL) {
        return chassis_error_set(err, CHASSIS_TOO_LARGE, "more than %d attributes", ATTRIBUTES_MAX);
    }
    if (strcmp(n->key, "time") == 0) {
        return set_time(a, v, n, err);
    }
    if (n->kind == DCTL_TEXT) {
        bool uri = strcmp(n->key, "dataschema") == 0;
        v->attr_case = uri ? ATTR(URI) : ATTR(STRING);
        v->ce_string = (char *)(uintptr_t)string_of(a, n); /* one member of the union */
        return 0;
    }
    if (n->kind == DCTL_BOOL) {
        v->attr_case = ATTR(BOOLEAN);
        v->ce_boolean = n->boolean;
        return 0;
    }
    if (n->kind == DCTL_LITERAL && text_parse_i64(n->text, INT32_MIN, INT32_MAX, &integer)) {
        v->attr_case = ATTR(INTEGER);
        v->ce_integer = (int32_t)integer;
        return 0;
    }
    return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                             "attribute '%s' must be a text, a truth value or a whole number of "
                             "32 bits",
                             n->key);
}

static int parse_base64(struct chassis_arena *a, cloud_event *e, const struct dctl_node *n,
                        struct chassis_error *err)
{
    e->data_case = DATA(BINARY_DATA);
    if (n->kind == DCTL_TEXT) {
        e->binary_data.data = chassis_arena_alloc(a, n->text.len + 1);
        if (text_parse_base64(n->text, e->binary_data.data, &e->binary_data.len)) {
            return 0;
        }
    }
    return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "data_base64 is not base64");
}

/* `data`: a text as it is when the content type is not JSON, else the JSON of the value. */
static void set_data(struct chassis_arena *a, cloud_event *e, const struct dctl_node *n)
{
    const char *type = text_attribute(e, "datacontenttype");
    e->data_case = DATA(TEXT_DATA);
    if (n->kind == DCTL_TEXT && type != NULL && !is_json_type(type)) {
        e->text_data = (char *)(uintptr_t)string_of(a, n);
        return;
    }
    struct chassis_buf json = {0};
    dctl_write_json(n, -1, &json);
    e->text_data = chassis_arena_strndup(a, json.data, json.len);
    chassis_buf_fini(&json);
    if (type == NULL) {
        set_text(a, e, "datacontenttype", "application/json");
    }
}

static cloud_event *event_new(struct chassis_arena *a)
{
    cloud_event *e = chassis_arena_alloc(a, sizeof *e);
    core__message_broker__actors__v1__cloud_event__init(e);
    e->spec_version = chassis_arena_strdup(a, "1.0");
    return e;
}

/* What the options say, where the event is silent; an id of its own. */
static int fill_in(struct dctl *d, struct chassis_arena *a, cloud_event *e,
                   struct chassis_error *err)
{
    const char *id = dctl_string(d, "id"), *source = dctl_string(d, "source"),
               *type = dctl_string(d, "type"), *subject = dctl_string(d, "subject"), *extension;
    if (e->id[0] == '\0') {
        char uuid[CHASSIS_UUID_SIZE];
        chassis_uuid(uuid);
        e->id = chassis_arena_strdup(a, id != NULL ? id : uuid);
    }
    if (e->source[0] == '\0') {
        e->source = chassis_arena_strdup(a, source != NULL ? source : "/dctl");
    }
    if (e->type[0] == '\0' && type != NULL) {
        e->type = chassis_arena_strdup(a, type);
    }
    if (subject != NULL && find_attribute(e, "subject") == NULL) {
        set_text(a, e, "subject", subject);
    }
    for (unsigned i = 0; (extension = dctl_repeated(d, "extension", i)) != NULL; i++) {
        const char *equals = strchr(extension, '=');
        if (equals == NULL || equals == extension) {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                     "--extension is NAME=VALUE, not '%s'", extension);
        }
        set_text(a, e, chassis_arena_strndup(a, extension, (size_t)(equals - extension)),
                 equals + 1);
    }
    return e->type[0] != '\0'
               ? 0
               : chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                   "the event has no type: write it, or give --type");
}

static int parse_members(struct chassis_arena *a, const struct dctl_node *map, cloud_event *e,
                         struct chassis_error *err)
{
    struct {
        const char *key;
        char **to;
    } required[] = {{"id", &e->id},
                    {"source", &e->source},
                    {"type", &e->type},
                    {"specversion", &e->spec_version}};
    const struct dctl_node *data = dctl_find(map, "data"), *base64 = dctl_find(map, "data_base64");
    if (data != NULL && base64 != NULL) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "an event has data or data_base64, not both");
    }
    for (const struct dctl_node *n = map->first; n != NULL; n = n->next) {
        size_t i = 0;
        while (i < 4 && strcmp(required[i].key, n->key) != 0) {
            i++;
        }
        if (i < 4 && n->kind != DCTL_TEXT) {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "%s must be a text", n->key);
        }
        if (i < 4) {
            *required[i].to = (char *)(uintptr_t)string_of(a, n);
        } else if (n != data && n != base64) {
            int rc = parse_attribute(a, e, n, err);
            if (rc != 0) {
                return rc;
            }
        }
    }
    if (data != NULL) {
        set_data(a, e, data);
    }
    return base64 != NULL ? parse_base64(a, e, base64, err) : 0;
}

int dctl_event_parse(struct dctl *d, struct chassis_arena *arena, struct chassis_view json,
                     cloud_event **ret_event, struct chassis_error *err)
{
    struct dctl_node *node;
    int rc = dctl_json_parse(arena, json, &node, err);
    if (rc != 0) {
        return rc;
    }
    if (node->kind == DCTL_MAP && dctl_find(node, "event") != NULL &&
        dctl_find(node, "sequence") != NULL) {
        node = (struct dctl_node *)(uintptr_t)dctl_find(node, "event");
    }
    if (node->kind != DCTL_MAP) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "an event is a JSON object; data alone needs --type");
    }
    cloud_event *e = event_new(arena);
    rc = parse_members(arena, node, e, err);
    rc = rc == 0 ? fill_in(d, arena, e, err) : rc;
    if (rc == 0) {
        *ret_event = e;
    }
    return rc;
}

int dctl_event_of_data(struct dctl *d, struct chassis_arena *arena, struct chassis_view data,
                       cloud_event **ret_event, struct chassis_error *err)
{
    cloud_event *e = event_new(arena);
    struct dctl_node *node;
    struct chassis_error ignored;
    const char *type = dctl_string(d, "content-type");
    if (data.len != 0 && memchr(data.data, 0, data.len) != NULL) {
        e->data_case = DATA(BINARY_DATA);
        e->binary_data.data = (uint8_t *)(uintptr_t)chassis_arena_copy(arena, data).data;
        e->binary_data.len = data.len;
    } else if (data.len != 0) {
        bool json = dctl_json_parse(arena, data, &node, &ignored) == 0;
        e->data_case = DATA(TEXT_DATA);
        e->text_data = chassis_arena_strndup(arena, data.data, data.len);
        type = type != NULL ? type : json ? "application/json" : "text/plain";
    }
    if (type != NULL) {
        set_text(arena, e, "datacontenttype", type);
    }
    int rc = fill_in(d, arena, e, err);
    if (rc == 0) {
        *ret_event = e;
    }
    return rc;
}

/* --- printing --- */

static void add_attribute_node(struct chassis_arena *a, struct dctl_node *map, const char *key,
                               const attribute_value *v)
{
    struct chassis_buf text = {0};
    switch (v != NULL ? v->attr_case : 0) {
    case ATTR(BOOLEAN):
        dctl_add_bool(a, map, key, v->ce_boolean);
        break;
    case ATTR(INTEGER): {
        struct dctl_node *n =
            dctl_add_text(a, map, key, chassis_arena_printf(a, "%d", v->ce_integer));
        n->kind = DCTL_LITERAL;
        break;
    }
    case ATTR(STRING):
    case ATTR(URI):
    case ATTR(URI_REF):
        dctl_add_text(a, map, key, v->ce_string); /* one member of the union */
        break;
    case ATTR(BYTES):
        text_print_base64(chassis_view(v->ce_bytes.data, v->ce_bytes.len), &text);
        dctl_add_view(a, map, key, chassis_view(text.data + 1, text.len - 2)); /* without quotes */
        break;
    case ATTR(TIMESTAMP):
        if (text_print_timestamp(v->ce_timestamp->seconds, v->ce_timestamp->nanos, &text)) {
            dctl_add_view(a, map, key, chassis_view(text.data + 1, text.len - 2));
        }
        break;
    default:
        break;
    }
    chassis_buf_fini(&text);
}

static void add_text_data(struct chassis_arena *a, struct dctl_node *map, const cloud_event *e)
{
    const char *type = text_attribute(e, "datacontenttype");
    struct dctl_node *json;
    struct chassis_error ignored;
    if ((type == NULL || is_json_type(type)) &&
        dctl_json_parse(a, chassis_view_str(e->text_data), &json, &ignored) == 0) {
        dctl_add(map, "data", json);
    } else {
        dctl_add_text(a, map, "data", e->text_data);
    }
}

static void add_data(struct chassis_arena *a, struct dctl_node *map, const cloud_event *e)
{
    struct chassis_buf text = {0};
    struct dctl_node *json;
    struct chassis_error ignored;
    switch ((int)e->data_case) {
    case DATA(TEXT_DATA):
        add_text_data(a, map, e);
        break;
    case DATA(BINARY_DATA):
        text_print_base64(chassis_view(e->binary_data.data, e->binary_data.len), &text);
        dctl_add_view(a, map, "data_base64", chassis_view(text.data + 1, text.len - 2));
        break;
    case DATA(PROTO_DATA):
        if (e->proto_data != NULL &&
            chassis_json_print(&e->proto_data->base, dctl_types(), &text, &ignored) == 0 &&
            dctl_json_parse(a, chassis_buf_view(&text), &json, &ignored) == 0) {
            dctl_add(map, "data", json);
        }
        break;
    default:
        break;
    }
    chassis_buf_fini(&text);
}

struct dctl_node *dctl_event_node(struct chassis_arena *a, const cloud_event *e)
{
    struct dctl_node *map = dctl_map(a);
    dctl_add_text(a, map, "specversion", e->spec_version);
    dctl_add_text(a, map, "id", e->id);
    dctl_add_text(a, map, "source", e->source);
    dctl_add_text(a, map, "type", e->type);
    for (size_t i = 0; i < e->n_attributes; i++) {
        add_attribute_node(a, map, chassis_arena_strdup(a, e->attributes[i]->key),
                           e->attributes[i]->value);
    }
    add_data(a, map, e);
    return map;
}

struct dctl_node *dctl_delivery_node(struct dctl *d, struct chassis_arena *a,
                                     const event_delivery *delivery)
{
    struct dctl_node *row = dctl_map(a), *event;
    const struct dctl_node *data;
    dctl_add_u64(a, row, "sequence", delivery->sequence);
    dctl_add_time_ns(a, row, "time", delivery->time_ns);
    if (delivery->attempt != 0) {
        dctl_add_u64(a, row, "attempt", delivery->attempt);
    }
    if (delivery->event == NULL) {
        return row;
    }
    event = dctl_event_node(a, delivery->event);
    if (d->format != DCTL_TABLE) {
        dctl_add(row, "event", event);
        return row;
    }
    const char *subject = text_attribute(delivery->event, "subject");
    dctl_add_text(a, row, "type", delivery->event->type);
    dctl_add_text(a, row, "source", delivery->event->source);
    dctl_add_text(a, row, "subject", subject != NULL ? subject : "");
    data = dctl_find(event, "data");
    data = data != NULL ? data : dctl_find(event, "data_base64");
    if (data != NULL) {
        struct dctl_node *shown = chassis_arena_alloc(a, sizeof *shown);
        *shown = *data;
        shown->next = NULL;
        dctl_add(row, "data", shown);
    }
    return row;
}
