/* Where Blueprint's events go: one stream of a broker, as the publisher (controller.h) sees it.
 *
 * Threads: the loop role. Ownership: callbacks' views live during the call.
 */
#ifndef BP_EVENTS_SINK_H
#define BP_EVENTS_SINK_H

#include "rows.h"

struct bp_events_sink;

/* What the publisher wants to hear of. */
struct bp_events_sink_handlers {
    /* To `find`: the id of the newest event of this source, "" if there is none. */
    void (*found)(void *data, const char *last_id);
    /* The oldest batch is stored, but for `refused` of its events. */
    void (*stored)(void *data, unsigned refused);
    /* A refused publish may be tried again. */
    void (*writable)(void *data);
    /* The way is broken, or find failed: find again before anything else. */
    void (*lost)(void *data, int code, const char *text);
};

struct bp_events_sink_ops {
    /* Look for the newest event of `source`; ends in found or lost. */
    void (*find)(struct bp_events_sink *sink, const char *source);
    /* Begin a batch, add to it, send it. */
    void (*add)(struct bp_events_sink *sink, const char *source, const struct bp_events_row *row);
    void (*add_gap)(struct bp_events_sink *sink, const char *source, const char *id, uint64_t from,
                    uint64_t through);
    /* Bytes of the batch so far. */
    size_t (*size)(struct bp_events_sink *sink);
    /* 0, CHASSIS_RESOURCE_EXHAUSTED (the batch is forgotten: make it again when writable) or
     * CHASSIS_CANCELLED (lost comes). */
    int (*send)(struct bp_events_sink *sink);
    /* No callback comes after this until the next find. */
    void (*close)(struct bp_events_sink *sink);
};
struct bp_events_sink {
    const struct bp_events_sink_ops *ops;
    struct bp_events_sink_handlers handlers;
    void *data;
};

#endif
