#include "catalyst/event/attribute.h"

#include "catalyst/event/check.h"
#include "catalyst/event/wire.h"
#include "proto/text.h"

static const struct {
    const char *name;
    int status;
} rules[] = {
#define CAT_X(name, text, status) [CAT_RULE_##name] = {(text), CHASSIS_##status},
    CAT_RULE_TABLE(CAT_X)
#undef CAT_X
};

const char *cat_rule_name(enum cat_rule rule)
{
    CHASSIS_ASSERT(rule < sizeof rules / sizeof rules[0]);
    return rules[rule].name;
}

int cat_refuse(struct chassis_error *err, enum cat_rule rule, const char *format, ...)
{
    va_list args;
    if (err == NULL) {
        return rules[rule].status;
    }
    va_start(args, format);
    chassis_error_setv(err, rules[rule].status, format, args);
    va_end(args);
    return chassis_error_wrap(err, "rule '%s'", rules[rule].name);
}

/* What is known of a name, by length. In the map, types may also come as their canonical text. */
static const struct known {
    const char *name;
    uint8_t type; /* enum cat_type */
    uint8_t known;
} table[] = {
    {"id", CAT_STRING, CAT_KNOWN_RESERVED},   /* 0 */
    {"type", CAT_STRING, CAT_KNOWN_RESERVED}, /* 1 */
    {"data", CAT_NONE, CAT_KNOWN_RESERVED},
    {"time", CAT_TIMESTAMP, CAT_KNOWN_TIME},
    {"source", CAT_URI_REF, CAT_KNOWN_RESERVED}, /* 4 */
    {"subject", CAT_STRING, CAT_KNOWN_SUBJECT},  /* 5 */
    {"delayms", CAT_INTEGER, CAT_KNOWN_DELAYMS},
    {"notbefore", CAT_TIMESTAMP, CAT_KNOWN_NOTBEFORE}, /* 7 */
    {"isdurable", CAT_BOOLEAN, CAT_KNOWN_ISDURABLE},
    {"isDurable", CAT_BOOLEAN, CAT_KNOWN_ISDURABLE}, /* as the original's clients spell it */
    {"dataschema", CAT_URI, CAT_KNOWN_DATASCHEMA},   /* 10 */
    {"expirytime", CAT_TIMESTAMP, CAT_KNOWN_EXPIRYTIME},
    {"specversion", CAT_STRING, CAT_KNOWN_RESERVED},            /* 12 */
    {"partitionkey", CAT_STRING, CAT_KNOWN_PARTITIONKEY},       /* 13 */
    {"datacontenttype", CAT_STRING, CAT_KNOWN_DATACONTENTTYPE}, /* 14 */
};
enum { KNOWN_LEN_MAX = 15 };
/* The first row of each length; the next element is where it ends. */
static const uint8_t rows_of[KNOWN_LEN_MAX + 2] = {0, 0,  0,  1,  1,  4,  4,  5, 7,
                                                   7, 10, 12, 13, 14, 14, 14, 15};

static const struct known *find(struct chassis_view name)
{
    if (name.len > KNOWN_LEN_MAX) {
        return NULL;
    }
    for (size_t i = rows_of[name.len]; i < rows_of[name.len + 1]; i++) {
        if (memcmp(table[i].name, name.data, name.len) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

enum cat_known cat_attribute_known(struct chassis_view name)
{
    const struct known *known = find(name);
    return known != NULL ? (enum cat_known)known->known : CAT_KNOWN_NONE;
}

enum cat_type cat_attribute_type(struct chassis_view name)
{
    const struct known *known = find(name);
    return known != NULL ? (enum cat_type)known->type : CAT_STRING;
}

static int name_check(struct chassis_view name, enum cat_known known, struct chassis_error *err)
{
    if (known == CAT_KNOWN_RESERVED) {
        bool data = name.data[0] == 'd';
        return cat_refuse(err, data ? CAT_RULE_NAME : CAT_RULE_RESERVED,
                          data ? "no attribute may be named '%s'"
                               : "attribute '%s' has a field of its own and is no extension",
                          cat_quote(name).text);
    }
    if (name.len == 0 || name.len > CAT_EVENT_ATTRIBUTE_NAME_MAX) {
        return cat_refuse(err, CAT_RULE_NAME,
                          "the name of attribute '%s' has %zu bytes, 1 to %d are taken",
                          cat_quote(name).text, name.len, CAT_EVENT_ATTRIBUTE_NAME_MAX);
    }
    for (size_t i = 0; i < name.len && known == CAT_KNOWN_NONE; i++) {
        uint8_t c = name.data[i];
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9')) {
            return cat_refuse(err, CAT_RULE_NAME,
                              "the name of attribute '%s' holds more than a-z and 0-9",
                              cat_quote(name).text);
        }
    }
    return 0;
}

int cat_attribute_name_check(struct chassis_view name, struct chassis_error *err)
{
    return name_check(name, cat_attribute_known(name), err);
}

bool cat_schema_uri(struct chassis_view schema, struct chassis_buf *out)
{
    size_t begin = out->len;
    if (!cat_check_uri(schema, true)) {
        chassis_buf_append_str(out, "https://");
    }
    chassis_buf_append_view(out, schema);
    return cat_check_uri(cat_appended(out, begin), true);
}

static bool timestamp_ok(struct cat_timestamp t)
{
    return t.seconds >= -62135596800 && t.seconds <= 253402300799 && t.nanos >= 0 &&
           t.nanos <= 999999999;
}

static bool read_timestamp(struct chassis_view bytes, struct cat_timestamp *ret_time)
{
    struct cat_timestamp time = {0, 0};
    const uint8_t *end = cat_wire_end(bytes);
    for (const uint8_t *p = bytes.data; p < end;) {
        struct cat_field field;
        p = cat_wire_next(p, end, &field);
        bool known = p != NULL && field.number <= CAT_TIMESTAMP_NANOS;
        if (p == NULL || (known && field.wire != CAT_WIRE_VARINT)) {
            return false;
        }
        if (known && field.number == CAT_TIMESTAMP_SECONDS) {
            time.seconds = (int64_t)field.value;
        } else if (known) {
            if (field.value > 999999999) {
                return false;
            }
            time.nanos = (int32_t)field.value;
        }
    }
    *ret_time = time;
    return timestamp_ok(time);
}

static struct chassis_view slot_name(const struct cat_event *event, const struct cat_slot *slot)
{
    return chassis_view(event->bytes.data + slot->name_at, slot->name_len);
}

static struct cat_value slot_value(const struct cat_event *event, const struct cat_slot *slot)
{
    struct chassis_view bytes = chassis_view(event->bytes.data + slot->value_at, slot->value_len);
    struct cat_value value = {.type = (enum cat_type)slot->type};
    uint64_t varint = 0;
    switch (value.type) {
    case CAT_BOOLEAN:
        cat_wire_varint(bytes.data, cat_wire_end(bytes), &varint);
        value.boolean = varint != 0;
        break;
    case CAT_INTEGER:
        cat_wire_varint(bytes.data, cat_wire_end(bytes), &varint);
        value.integer = (int32_t)varint;
        break;
    case CAT_TIMESTAMP:
        read_timestamp(bytes, &value.time);
        break;
    case CAT_NONE:
    case CAT_STRING:
    case CAT_BYTES:
    case CAT_URI:
    case CAT_URI_REF:
        value.text = bytes;
        break;
    }
    return value;
}

static int refuse_value(const struct cat_event *event, const struct cat_slot *slot,
                        enum cat_rule rule, const char *what, struct chassis_error *err)
{
    return cat_refuse(err, rule, "attribute '%s' %s", cat_quote(slot_name(event, slot)).text, what);
}

/* Does the text of a slot obey its type. */
static int check_typed(const struct cat_event *event, const struct cat_slot *slot,
                       struct chassis_error *err)
{
    struct chassis_view bytes = chassis_view(event->bytes.data + slot->value_at, slot->value_len);
    struct cat_timestamp time;
    switch ((enum cat_type)slot->type) {
    case CAT_STRING:
        return cat_check_string(bytes)
                   ? 0
                   : refuse_value(event, slot, CAT_RULE_STRING,
                                  "is not valid UTF-8 or holds a control character", err);
    case CAT_URI:
    case CAT_URI_REF:
        /* dataschema: with its own rule when the whole event is known */
        return cat_check_uri(bytes, slot->type == CAT_URI) ||
                       cat_attribute_known(slot_name(event, slot)) == CAT_KNOWN_DATASCHEMA
                   ? 0
                   : refuse_value(event, slot, CAT_RULE_URI,
                                  slot->type == CAT_URI ? "is no URI" : "is no URI reference", err);
    case CAT_TIMESTAMP:
        return read_timestamp(bytes, &time)
                   ? 0
                   : refuse_value(event, slot, CAT_RULE_TIMESTAMP,
                                  "is no time of the years 1 to 9999", err);
    case CAT_NONE:
    case CAT_BOOLEAN:
    case CAT_INTEGER:
    case CAT_BYTES:
        break;
    }
    return 0;
}

/* `field` is the one value of an attribute: check it and fill the slot. */
static int take_value(const struct cat_event *event, struct cat_slot *slot,
                      const struct cat_field *field, struct chassis_error *err)
{
    bool varint = field->number == CAT_BOOLEAN || field->number == CAT_INTEGER;
    if (slot->type != CAT_NONE) {
        return refuse_value(event, slot, CAT_RULE_EMPTY, "has several values", err);
    }
    if (field->wire != (varint ? CAT_WIRE_VARINT : CAT_WIRE_BYTES)) {
        return refuse_value(event, slot, CAT_RULE_WIRE_FORMAT, "has a wrong wire type", err);
    }
    if (field->bytes.len > CAT_EVENT_ATTRIBUTE_SIZE_MAX) {
        return cat_refuse(err, CAT_RULE_SIZE, "attribute '%s' has %zu bytes, at most %d are taken",
                          cat_quote(slot_name(event, slot)).text, field->bytes.len,
                          CAT_EVENT_ATTRIBUTE_SIZE_MAX);
    }
    slot->type = (uint8_t)field->number;
    slot->value_at = (uint32_t)(field->bytes.data - event->bytes.data);
    slot->value_len = (uint16_t)field->bytes.len;
    if (field->number == CAT_INTEGER && (int64_t)field->value != (int32_t)field->value) {
        return refuse_value(event, slot, CAT_RULE_INTEGER, "is beyond 32 bits", err);
    }
    return check_typed(event, slot, err);
}

/* The CloudEventAttributeValue of an entry. */
static int scan_value(const struct cat_event *event, struct cat_slot *slot,
                      struct chassis_view message, struct chassis_error *err)
{
    const uint8_t *end = cat_wire_end(message);
    for (const uint8_t *p = message.data; p < end;) {
        struct cat_field field;
        p = cat_wire_next(p, end, &field);
        if (p == NULL) {
            return refuse_value(event, slot, CAT_RULE_WIRE_FORMAT, "is not protobuf wire format",
                                err);
        }
        int rc = field.number <= CAT_TIMESTAMP ? take_value(event, slot, &field, err) : 0;
        if (rc != 0) {
            return rc;
        }
    }
    return slot->type != CAT_NONE
               ? 0
               : refuse_value(event, slot, CAT_RULE_EMPTY, "has no value: leave it out", err);
}

/* A text that stands for a value of another type, or that type itself. */
static int known_value(const struct cat_event *event, const struct cat_slot *slot,
                       enum cat_type type, enum cat_rule rule, struct cat_value *ret_value,
                       struct chassis_error *err)
{
    struct cat_value value = slot_value(event, slot);
    if (value.type != type && value.type != CAT_STRING) {
        return refuse_value(event, slot, CAT_RULE_TYPE, "has another type than it must have", err);
    }
    if (value.type != type && !cat_value_parse(value.text, type, &value)) {
        return refuse_value(event, slot, rule, "does not read as what it must be", err);
    }
    *ret_value = value;
    return 0;
}

static int known_time(const struct cat_event *event, const struct cat_slot *slot,
                      struct cat_timestamp *ret_time, bool *ret_has, struct chassis_error *err)
{
    struct cat_value value;
    int rc = known_value(event, slot, CAT_TIMESTAMP, CAT_RULE_TIMESTAMP, &value, err);
    if (rc == 0) {
        *ret_time = value.time;
        *ret_has = true;
    }
    return rc;
}

/* Of a text that may not be empty. */
static int known_text(const struct cat_event *event, const struct cat_slot *slot, bool uri,
                      struct chassis_view *ret_text, struct chassis_error *err)
{
    if (slot->type != CAT_STRING &&
        !(uri && (slot->type == CAT_URI || slot->type == CAT_URI_REF))) {
        return refuse_value(event, slot, CAT_RULE_TYPE, "has another type than it must have", err);
    }
    if (slot->value_len == 0) {
        return refuse_value(event, slot, CAT_RULE_EMPTY, "is empty: leave it out", err);
    }
    *ret_text = chassis_view(event->bytes.data + slot->value_at, slot->value_len);
    return 0;
}

static int note_known(struct cat_event *event, const struct cat_slot *slot, enum cat_known known,
                      struct chassis_error *err)
{
    struct cat_value value;
    int rc = 0;
    switch (known) {
    case CAT_KNOWN_SUBJECT:
        return known_text(event, slot, false, &event->subject, err);
    case CAT_KNOWN_TIME:
        return known_time(event, slot, &event->time, &event->has_time, err);
    case CAT_KNOWN_DATACONTENTTYPE:
        rc = known_text(event, slot, false, &event->datacontenttype, err);
        return rc != 0 || cat_check_media_type(event->datacontenttype)
                   ? rc
                   : refuse_value(event, slot, CAT_RULE_MEDIA_TYPE, "is no media type", err);
    case CAT_KNOWN_DATASCHEMA:
        return known_text(event, slot, true, &event->dataschema, err);
    case CAT_KNOWN_PARTITIONKEY:
        return known_text(event, slot, false, &event->partitionkey, err);
    case CAT_KNOWN_EXPIRYTIME:
        return known_time(event, slot, &event->expirytime, &event->has_expirytime, err);
    case CAT_KNOWN_NOTBEFORE:
        return known_time(event, slot, &event->notbefore, &event->has_notbefore, err);
    case CAT_KNOWN_DELAYMS:
        rc = known_value(event, slot, CAT_INTEGER, CAT_RULE_INTEGER, &value, err);
        if (rc == 0 && value.integer < 0) {
            return refuse_value(event, slot, CAT_RULE_INTEGER, "is negative", err);
        }
        event->delay_ms = rc == 0 ? value.integer : -1;
        return rc;
    case CAT_KNOWN_ISDURABLE:
        if (event->durable >= 0) {
            return refuse_value(event, slot, CAT_RULE_DUPLICATE, "is given twice", err);
        }
        rc = known_value(event, slot, CAT_BOOLEAN, CAT_RULE_TYPE, &value, err);
        event->durable = rc == 0 ? value.boolean : -1;
        return rc;
    case CAT_KNOWN_NONE:
    case CAT_KNOWN_RESERVED:
        break;
    }
    return 0;
}

static bool is_duplicate(const struct cat_event *event, const struct cat_slot *slot)
{
    for (uint32_t i = 0; i < event->attribute_count; i++) {
        const struct cat_slot *other = &event->slots[i];
        if (other->name_len == slot->name_len &&
            memcmp(event->bytes.data + other->name_at, event->bytes.data + slot->name_at,
                   slot->name_len) == 0) {
            return true;
        }
    }
    return false;
}

/* Key and value of an entry; what is absent stays empty. */
static int scan_entry(struct chassis_view entry, struct chassis_view *ret_name,
                      struct chassis_view *ret_value, struct chassis_error *err)
{
    *ret_name = *ret_value = chassis_view(NULL, 0);
    const uint8_t *end = cat_wire_end(entry);
    for (const uint8_t *p = entry.data; p < end;) {
        struct cat_field field;
        p = cat_wire_next(p, end, &field);
        bool known = p != NULL && field.number <= CAT_ENTRY_VALUE;
        if (p == NULL || (known && field.wire != CAT_WIRE_BYTES)) {
            return cat_refuse(err, CAT_RULE_WIRE_FORMAT,
                              "an entry of the attributes is not protobuf wire format");
        }
        if (known) {
            struct chassis_view *to = field.number == CAT_ENTRY_KEY ? ret_name : ret_value;
            if (to->data != NULL) {
                return cat_refuse(err, CAT_RULE_EMPTY,
                                  "an entry of the attributes has two names or two values");
            }
            *to = field.bytes;
        }
    }
    return 0;
}

int cat_attribute_take(struct cat_event *event, struct chassis_view entry,
                       struct chassis_error *err)
{
    struct chassis_view name, message;
    int rc = scan_entry(entry, &name, &message, err);
    enum cat_known known = rc == 0 ? cat_attribute_known(name) : CAT_KNOWN_NONE;
    if (rc != 0 || (rc = name_check(name, known, err)) != 0) {
        return rc;
    }
    if (event->attribute_count == CAT_EVENT_ATTRIBUTES_MAX) {
        return cat_refuse(err, CAT_RULE_COUNT, "the event has more than %d attributes",
                          CAT_EVENT_ATTRIBUTES_MAX);
    }
    struct cat_slot *slot = &event->slots[event->attribute_count];
    *slot = (struct cat_slot){.name_at = (uint32_t)(name.data - event->bytes.data),
                              .name_len = (uint8_t)name.len};
    if (is_duplicate(event, slot)) {
        return refuse_value(event, slot, CAT_RULE_DUPLICATE, "is given twice", err);
    }
    rc = scan_value(event, slot, message, err);
    if (rc == 0) {
        rc = note_known(event, slot, known, err);
    }
    event->attribute_count += rc == 0;
    return rc;
}

struct cat_attribute cat_event_attribute_at(const struct cat_event *event, uint32_t i)
{
    CHASSIS_ASSERT(i < event->attribute_count);
    const struct cat_slot *slot = &event->slots[i];
    struct cat_attribute attribute = {slot_name(event, slot), slot_value(event, slot)};
    return attribute;
}

/* The attributes that are fields of the message. */
static bool required_value(const struct cat_event *event, struct chassis_view name,
                           struct cat_value *ret_value)
{
    switch (name.len) {
    case 2:
        *ret_value = (struct cat_value){.type = CAT_STRING, .text = event->id};
        return true;
    case 4:
        *ret_value = (struct cat_value){.type = CAT_STRING, .text = event->type};
        return name.data[0] == 't';
    case 6:
        *ret_value = (struct cat_value){.type = CAT_URI_REF, .text = event->source};
        return true;
    default:
        *ret_value = (struct cat_value){.type = CAT_STRING, .text = event->spec_version};
        return true;
    }
}

bool cat_event_attribute(const struct cat_event *event, struct chassis_view name,
                         struct cat_value *ret_value)
{
    struct cat_value value;
    enum cat_known known = cat_attribute_known(name);
    if (known == CAT_KNOWN_RESERVED) {
        if (!required_value(event, name, &value)) {
            return false; /* "data" */
        }
        *ret_value = value;
        return true;
    }
    for (uint32_t i = 0; i < event->attribute_count; i++) {
        const struct cat_slot *slot = &event->slots[i];
        if (slot->name_len == name.len &&
            (memcmp(event->bytes.data + slot->name_at, name.data, name.len) == 0 ||
             (known == CAT_KNOWN_ISDURABLE &&
              cat_attribute_known(slot_name(event, slot)) == CAT_KNOWN_ISDURABLE))) {
            *ret_value = slot_value(event, slot);
            return true;
        }
    }
    return false;
}
