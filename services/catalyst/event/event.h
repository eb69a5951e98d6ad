/* A CloudEvent as it travels and as it is kept: the protobuf bytes of
 * core.message_broker.actors.v1.CloudEvent, and a view over them. An event is never decoded into a
 * tree: one pass over the bytes checks every rule of CloudEvents 1.0 and notes where things lie.
 *
 * What a producer may ask for by attributes, beyond those the specification names:
 *     expirytime   timestamp   from then on the event is of no use and is not delivered
 *     notbefore    timestamp   not delivered before then
 *     delayms      integer     not delivered for so many ms after it was accepted; excludes notbefore
 *     isdurable    boolean     asks for storage; the original's spelling `isDurable` counts too
 * Timestamps also come as RFC 3339 text, integers and booleans as their canonical text, because an
 * HTTP header has no types.
 *
 * Invariants: what parses obeys every rule of CAT_RULE_TABLE; a refusal's text begins with the name
 * of the rule: "rule 'attribute-name': …"; unknown fields of the message are kept and ignored.
 * Threads: any. Ownership: a parsed event borrows from the bytes, nothing is allocated.
 */
#ifndef CAT_EVENT_EVENT_H
#define CAT_EVENT_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/buf.h>
#include <chassis/error.h>

enum {
    CAT_EVENT_SIZE_MAX = 4 << 20,        /* bytes of a whole event */
    CAT_EVENT_ID_SIZE_MAX = 255,         /* bytes of id, source and type each */
    CAT_EVENT_ATTRIBUTES_MAX = 64,       /* optional and extension attributes of an event */
    CAT_EVENT_ATTRIBUTE_SIZE_MAX = 8192, /* bytes of one attribute's value */
    CAT_EVENT_ATTRIBUTE_NAME_MAX = 64,   /* the specification advises 20 */
};

/* clang-format off: a table */
/*      name, as in the text           status */
#define CAT_RULE_TABLE(X)                                                                          \
    X(WIRE_FORMAT, "wire-format", MALFORMED) /* not the bytes of a CloudEvent */                   \
    X(EVENT_SIZE, "event-size", TOO_LARGE)                                                         \
    X(ID_REQUIRED, "id-required", INVALID_ARGUMENT)                                                \
    X(SOURCE_REQUIRED, "source-required", INVALID_ARGUMENT)                                        \
    X(TYPE_REQUIRED, "type-required", INVALID_ARGUMENT)                                            \
    X(SPECVERSION, "specversion", INVALID_ARGUMENT)  /* required, and it is "1.0" */               \
    X(STRING, "string-characters", INVALID_ARGUMENT) /* UTF-8, no control characters */            \
    X(SOURCE_URI, "source-uri-reference", INVALID_ARGUMENT)                                        \
    X(DATASCHEMA_URI, "dataschema-uri", INVALID_ARGUMENT)                                          \
    X(MEDIA_TYPE, "datacontenttype-media-type", INVALID_ARGUMENT)                                  \
    X(NAME, "attribute-name", INVALID_ARGUMENT)         /* a-z and 0-9, not "data" */              \
    X(RESERVED, "attribute-reserved", INVALID_ARGUMENT) /* id, source … given as extension */    \
    X(DUPLICATE, "attribute-duplicate", INVALID_ARGUMENT)                                          \
    X(COUNT, "attribute-count", TOO_LARGE)                                                         \
    X(SIZE, "attribute-size", TOO_LARGE)                                                           \
    X(EMPTY, "attribute-empty", INVALID_ARGUMENT) /* no value, or "" where that is none */         \
    X(TYPE, "attribute-type", INVALID_ARGUMENT)   /* subject is a string, time a time … */       \
    X(URI, "attribute-uri", INVALID_ARGUMENT)     /* of an attribute typed as URI */               \
    X(TIMESTAMP, "attribute-timestamp", INVALID_ARGUMENT) /* years 1 to 9999, RFC 3339 */          \
    X(INTEGER, "attribute-integer", INVALID_ARGUMENT)     /* 32 bits; delayms not negative */      \
    X(DELAY, "delay-once", INVALID_ARGUMENT)              /* notbefore or delayms, not both */     \
    X(DATA_ONCE, "data-once", INVALID_ARGUMENT)                                                    \
    X(DATA_TEXT, "data-text", INVALID_ARGUMENT)   /* text data is UTF-8 without NUL */             \
    X(DATA_PROTO, "data-proto", INVALID_ARGUMENT) /* an Any with a type URL */
/* clang-format on */

enum cat_rule {
#define CAT_X(name, text, status) CAT_RULE_##name,
    CAT_RULE_TABLE(CAT_X)
#undef CAT_X
};

/* The types of attributes; the values are the field numbers of CloudEventAttributeValue. */
enum cat_type {
    CAT_NONE = 0,
    CAT_BOOLEAN = 1,
    CAT_INTEGER = 2,
    CAT_STRING = 3,
    CAT_BYTES = 4,
    CAT_URI = 5,
    CAT_URI_REF = 6,
    CAT_TIMESTAMP = 7,
};
struct cat_timestamp {
    int64_t seconds; /* since 1970-01-01T00:00:00Z, years 1 to 9999 */
    int32_t nanos;   /* 0 … 999,999,999 */
};
struct cat_value {
    enum cat_type type;
    union {
        bool boolean;
        int32_t integer;
        struct chassis_view text; /* of string, bytes, URI and URI reference */
        struct cat_timestamp time;
    };
};
struct cat_attribute {
    struct chassis_view name;
    struct cat_value value;
};

enum cat_data {
    CAT_DATA_NONE = 0, /* the event has no data; the others are the field numbers of CloudEvent */
    CAT_DATA_BINARY = 6,
    CAT_DATA_TEXT = 7,
    CAT_DATA_PROTO = 8, /* an encoded google.protobuf.Any: cat_event_proto */
};

/* Where one attribute lies in the bytes. */
struct cat_slot {
    uint32_t name_at, value_at;
    uint16_t value_len;
    uint8_t name_len;
    uint8_t type; /* enum cat_type */
};

/* About 1 KB: pass a pointer. Texts that are absent have data == NULL. */
struct cat_event {
    struct chassis_view bytes;
    struct chassis_view id, source, type, spec_version;
    struct chassis_view subject, datacontenttype, dataschema, partitionkey;
    struct cat_timestamp time, expirytime, notbefore;
    bool has_time, has_expirytime, has_notbefore;
    int8_t durable;   /* what isdurable says: 1, 0, or -1 when absent */
    int32_t delay_ms; /* what delayms says, -1 when absent */
    enum cat_data data_kind;
    struct chassis_view data; /* an empty one may have data == NULL: look at data_kind */
    uint32_t attribute_count; /* optional and extension attributes */
    struct cat_slot slots[CAT_EVENT_ATTRIBUTES_MAX];
};

/* Check the rules and fill *ret_event (after a failure its content is undefined: it is large and
 * this is the hot path). CHASSIS_MALFORMED, CHASSIS_INVALID_ARGUMENT, CHASSIS_TOO_LARGE. */
int cat_event_parse(struct chassis_view bytes, struct cat_event *ret_event,
                    struct chassis_error *err);

/* Optional and extension attributes by number, 0 … attribute_count-1, in the order of the bytes. */
struct cat_attribute cat_event_attribute_at(const struct cat_event *event, uint32_t i);
/* Any attribute by its name, id, source, type and specversion too; false if the event has none. */
bool cat_event_attribute(const struct cat_event *event, struct chassis_view name,
                         struct cat_value *ret_value);
/* The Any of CAT_DATA_PROTO. */
void cat_event_proto(const struct cat_event *event, struct chassis_view *ret_type_url,
                     struct chassis_view *ret_value);
/* The datacontenttype declares JSON: subtype "json" or ending in "+json". */
bool cat_media_type_is_json(struct chassis_view media_type);
/* Media type without parameters, in any case: cat_media_type_is(t, "text/plain"). */
bool cat_media_type_is(struct chassis_view media_type, const char *name);

/* The canonical text of a value (CloudEvents 1.0, "Type System"), appended: true, -5, base64, RFC
 * 3339. A value of CAT_NONE has none. */
void cat_value_print(const struct cat_value *value, struct chassis_buf *out);
bool cat_value_eq(const struct cat_value *a, const struct cat_value *b);
/* The type an attribute of this name has by specification; CAT_STRING for extensions. */
enum cat_type cat_attribute_type(struct chassis_view name);
/* Text as a value of a type, its canonical form read back; true and *ret_value, or false. Texts are
 * borrowed; CAT_BYTES is not offered (nothing to decode into). */
bool cat_value_parse(struct chassis_view text, enum cat_type type, struct cat_value *ret_value);
/* A name an optional or extension attribute may have: a-z and 0-9, at most
 * CAT_EVENT_ATTRIBUTE_NAME_MAX, neither reserved nor a required attribute's. */
int cat_attribute_name_check(struct chassis_view name, struct chassis_error *err);

static inline int64_t cat_timestamp_ms(struct cat_timestamp t)
{
    return t.seconds * 1000 + t.nanos / 1000000;
}

/* A CloudEventBatch, event by event: 1 and the next event's bytes (*rest moves on), 0 at the end,
 * CHASSIS_MALFORMED. The events themselves are not looked at. */
int cat_batch_next(struct chassis_view *rest, struct chassis_view *ret_event,
                   struct chassis_error *err);

const char *cat_rule_name(enum cat_rule rule);
#endif
