/* Where log records go: what the author of a log sink implements.
 *
 * Threads: `write` is called under the log's own lock, one record at a time.
 * Ownership: the sink is caller's memory and must outlive its use.
 */
#ifndef CHASSIS_PLUGIN_LOG_SINK_H
#define CHASSIS_PLUGIN_LOG_SINK_H

#include <chassis/log.h>

struct chassis_log_record {
    int64_t time_ns; /* since the epoch */
    enum chassis_log_level level;
    const char *module;
    const char *message;
    struct chassis_view json; /* the whole record as one JSON object, without the newline */
    const struct chassis_log_field *fields;
    size_t n_fields;
    struct chassis_view inherited; /* the logger's own fields: `,"key":value` … */
};

struct chassis_log_sink {
    void (*write)(struct chassis_log_sink *sink, const struct chassis_log_record *record);
    void (*flush)(struct chassis_log_sink *sink);
};

/* JSON lines to a descriptor, and coloured lines for a person. Both live as long as the process. */
struct chassis_log_sink *chassis_log_sink_json(int fd);
struct chassis_log_sink *chassis_log_sink_console(int fd, bool colour);
/* Replace the present sink (at first: console on standard error, coloured on a terminal). */
void chassis_log_set_sink(struct chassis_log_sink *sink);

#endif
