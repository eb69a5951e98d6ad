/* Trace context (W3C Recommendation "Trace Context", level 1): which request a piece of work belongs
 * to, across processes.
 *
 * Invariants: a valid context has ids that are not all zero. Ids come from a generator per thread,
 * seeded by the kernel: they are unique, not secret.
 * Threads: any; a struct belongs to its caller.
 */
#ifndef CHASSIS_METRICS_TRACE_H
#define CHASSIS_METRICS_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/buf.h>

enum {
    CHASSIS_TRACE_PARENT_LEN = 55, /* "00-<32 hex>-<16 hex>-<2 hex>" */
    CHASSIS_TRACE_SAMPLED = 1,
};

struct chassis_trace {
    uint8_t trace_id[16];
    uint8_t span_id[8];
    uint8_t flags; /* CHASSIS_TRACE_SAMPLED or 0 */
};

/* A new trace with its first span, not sampled. */
void chassis_trace_new(struct chassis_trace *ret_trace);
/* A new span in the trace of `parent`, with its flags. */
void chassis_trace_child(const struct chassis_trace *parent, struct chassis_trace *ret_child);
/* Take a traceparent header apart: exactly the form of version 00, or the start of a later one;
 * upper case, version ff and zero ids are CHASSIS_MALFORMED. */
int chassis_trace_parse(struct chassis_view header, struct chassis_trace *ret_trace);
/* The traceparent header. */
void chassis_trace_format(const struct chassis_trace *trace,
                          char ret_header[CHASSIS_TRACE_PARENT_LEN + 1]);
/* The ids as hexadecimal text, for logs. */
void chassis_trace_id_text(const struct chassis_trace *trace, char ret_text[33]);
void chassis_trace_span_text(const struct chassis_trace *trace, char ret_text[17]);

#endif
