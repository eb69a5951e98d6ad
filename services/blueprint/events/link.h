/* The sink of events that is Catalyst: one stream of it, made if it is not there.
 *
 * Threads: the loop role, on which the client's callbacks run, too.
 * Ownership: the client is the chassis' and lives longer than the link is used.
 */
#ifndef BP_EVENTS_LINK_H
#define BP_EVENTS_LINK_H

#include <chassis/client.h>
#include <chassis/log.h>

#include "convert.h"
#include "sink.h"

enum { BP_LINK_ROWS_MAX = 512 };

struct bp_link {
    struct bp_events_sink sink;
    struct chassis_client *client;
    struct chassis_logger *log;
    char stream[129];
    char source[64];
    uint64_t generation; /* answers of an older one are not ours any more */
    /* finding */
    uint64_t first, low, high, chunk; /* of the stream; of what is being read */
    char last_id[BP_EVENTS_ID_MAX];
    /* publishing */
    struct bp_link_stream *up;
    uint64_t request, answered;
    struct chassis_arena arena; /* of the batch being made */
    Core__MessageBroker__Actors__V1__CloudEvent *events[BP_LINK_ROWS_MAX];
    size_t n_events, bytes;
};

void bp_link_init(struct bp_link *link, struct chassis_client *client, const char *stream);

#endif
