/* Envelopes: what a log entry's payload is made of, around the service's command.
 *
 *   format u8 (1) | time i64 | origin node varint | origin boot varint | origin sequence varint
 *   | floor varint | client's request id (block) | command (the rest)
 *
 * `time` is the leader's wall clock, written when it takes the command into the log; the rest comes
 * from the node that accepted it. `floor` is 0 on a first submission; on a resubmission it is an
 * index below which the first one cannot stand, so that a state machine whose memory of ids does not
 * reach back that far refuses instead of applying twice.
 *
 * Threads: any. Ownership: decoded views borrow.
 */
#ifndef CHASSIS_CONSENSUS_ENVELOPE_H
#define CHASSIS_CONSENSUS_ENVELOPE_H

#include "base/bytes.h"

enum {
    ENVELOPE_FORMAT = 1,
    ENVELOPE_TIME_OFFSET = 1,
    ENVELOPE_REQUEST_ID_MAX = 64,
    ENVELOPE_OVERHEAD_MAX = 1 + 8 + 40 + 2 + ENVELOPE_REQUEST_ID_MAX,
};

struct envelope {
    int64_t time_ns;
    uint64_t node, boot, sequence; /* of the node that accepted it */
    uint64_t floor;
    struct chassis_view request_id;
    struct chassis_view command;
};

void envelope_encode(struct chassis_buf *out, const struct envelope *envelope);
/* CHASSIS_MALFORMED, CHASSIS_BAD_VERSION. */
int envelope_decode(struct chassis_view payload, struct envelope *ret_envelope);
/* The identity by which duplicates are found: the client's id, else the origin's. */
struct chassis_view envelope_id(const struct envelope *envelope, uint8_t out[1 + 64]);

#endif
