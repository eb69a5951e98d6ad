/* Attributes inside the bytes of an event: reading their entries, what is known of each name.
 * Shared by the files of this folder.
 *
 * Threads: any.
 */
#ifndef CAT_EVENT_ATTRIBUTE_H
#define CAT_EVENT_ATTRIBUTE_H

#include "base/assert.h"
#include "catalyst/event/event.h"

/* Set "rule 'NAME': …" with the status of the rule, which is returned. */
int cat_refuse(struct chassis_error *err, enum cat_rule rule, const char *format, ...)
    CHASSIS_PRINTF(3, 4);

/* One entry of the map of attributes: checked, noted in a slot, and in its field if it has one. */
int cat_attribute_take(struct cat_event *event, struct chassis_view entry,
                       struct chassis_error *err);

enum cat_known {
    CAT_KNOWN_NONE, /* an extension nobody here knows */
    CAT_KNOWN_SUBJECT,
    CAT_KNOWN_TIME,
    CAT_KNOWN_DATACONTENTTYPE,
    CAT_KNOWN_DATASCHEMA,
    CAT_KNOWN_PARTITIONKEY,
    CAT_KNOWN_EXPIRYTIME,
    CAT_KNOWN_NOTBEFORE,
    CAT_KNOWN_DELAYMS,
    CAT_KNOWN_ISDURABLE,
    CAT_KNOWN_RESERVED, /* id, source, type, specversion, data: never in the map */
};
enum cat_known cat_attribute_known(struct chassis_view name);

/* What was appended to a buffer since it had `begin` bytes. */
static inline struct chassis_view cat_appended(const struct chassis_buf *buf, size_t begin)
{
    return buf->len > begin ? chassis_view(buf->data + begin, buf->len - begin)
                            : chassis_view(NULL, 0);
}

/* A dataschema as an absolute URI: of protobuf data it may be a type URL, in which https is meant
 * when there is no scheme (any.proto). False if that makes no URI. */
bool cat_schema_uri(struct chassis_view schema, struct chassis_buf *out);

#endif
