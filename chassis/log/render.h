/* Rendering of records: JSON text into a fixed room, cut cleanly when the room ends.
 *
 * Invariants: never writes beyond `limit`; what was written is always whole (a string is cut between
 * two characters and closed, a field that does not fit is left out); `cut` says that happened.
 * Threads: none of its own; a render belongs to its caller.
 */
#ifndef CHASSIS_LOG_RENDER_H
#define CHASSIS_LOG_RENDER_H

#include <chassis/plugin/log_sink.h>

enum {
    CHASSIS_LOG_RECORD_MAX = 16 * 1024,   /* bytes of one record, its newline included */
    CHASSIS_LOG_MESSAGE_MAX = 8 * 1024,   /* bytes of the rendered message */
    CHASSIS_LOG_INHERITED_MAX = 4 * 1024, /* bytes of a child logger's own fields */
};

struct chassis_log_render {
    char *text;
    size_t len, limit; /* bytes */
    bool cut;
};

/* All of `text` or nothing of it (then `cut`). */
bool chassis_log_render_put(struct chassis_log_render *r, const void *text, size_t len);
bool chassis_log_render_puts(struct chassis_log_render *r, const char *text);
/* Escaped for JSON: control characters as \n or \u001b, bytes that are no UTF-8 as U+FFFD. With
 * `quoted` the two quotes are written and '"' and '\' are escaped as well. */
void chassis_log_render_text(struct chassis_log_render *r, struct chassis_view text, bool quoted,
                             size_t len_max);
/* `,"key":value` of each field. */
void chassis_log_render_fields(struct chassis_log_render *r, const struct chassis_log_field *fields,
                               size_t n);
/* The JSON object of a record, with `"cut":true` at its end if something did not fit. */
void chassis_log_render_record(struct chassis_log_render *r,
                               const struct chassis_log_record *record);

#endif
