/* Frames: the messages of one turn to one peer, in one piece.
 *
 *   frame   = format u8 (1) | flags u8 (0) | count u16 | crc32c u32 of what follows | message…
 *   message = type u8 | length u32 | body
 * All integers little-endian; varints as in protobuf. Bodies are read with bounds; a frame that is
 * not exactly its messages is refused whole.
 *
 * Threads: any. Ownership: decoded views borrow from the frame.
 */
#ifndef CHASSIS_CONSENSUS_FRAME_H
#define CHASSIS_CONSENSUS_FRAME_H

#include "base/bytes.h"

enum {
    FRAME_FORMAT = 1,
    FRAME_HEADER_LEN = 8,
    FRAME_MESSAGE_HEADER_LEN = 5,
    FRAME_SOFT_MAX = 512 * 1024,       /* a new frame is begun beyond this */
    FRAME_BYTES_MAX = 8 * 1024 * 1024, /* what a peer may send in one piece */
    FRAME_MESSAGES_MAX = 65535,
    FRAME_ENTRIES_MAX = 8192,
};

enum frame_type {
    FRAME_APPEND = 1,
    FRAME_APPEND_RESULT,
    FRAME_VOTE,
    FRAME_VOTE_RESULT,
    FRAME_INSTALL, /* only a descriptor: the file is fetched in chunks */
    FRAME_TIMEOUT_NOW,
    FRAME_PROPOSE,
    FRAME_PROPOSE_REFUSED,
    FRAME_READ_PING,
    FRAME_READ_PONG,
    FRAME_READ_ASK,
    FRAME_READ_ANSWER,
    FRAME_ASK,
    FRAME_ANSWER,
    FRAME_FETCH,
    FRAME_CHUNK,
    FRAME_ABOUT,    /* where the sender serves clients; once per stream */
    FRAME_ASK_NODE, /* to the state machine of this very node; answered by FRAME_ANSWER */
    FRAME_TYPE_END,
};

struct frame_entry {
    uint64_t term;
    uint8_t type;
    struct chassis_view payload;
};
/* One message of any type; which fields mean something is said beside each. */
struct frame_message {
    enum frame_type type;
    uint64_t term;       /* APPEND … TIMEOUT_NOW, READ_PING/PONG, CHUNK (of its last index) */
    uint64_t index;      /* APPEND: previous; RESULT: last; VOTE, INSTALL, TIMEOUT_NOW: last;
                            READ_ANSWER: read index; FETCH, CHUNK: of the checkpoint */
    uint64_t index_term; /* APPEND, VOTE, INSTALL, TIMEOUT_NOW: term of `index` */
    uint64_t commit;     /* APPEND */
    uint64_t rejected;   /* APPEND_RESULT */
    uint64_t sequence;   /* READ_*, ASK, ANSWER, PROPOSE_REFUSED: the asker's */
    uint64_t boot;       /* READ_ASK/ANSWER, ASK, ANSWER, PROPOSE_REFUSED: the asker's */
    uint64_t offset;     /* FETCH, CHUNK */
    uint64_t size;       /* FETCH: most bytes wanted; CHUNK, INSTALL: of the whole file */
    int32_t status;      /* PROPOSE_REFUSED, READ_ANSWER, ANSWER, CHUNK */
    uint16_t features, capacity; /* APPEND_RESULT, VOTE_RESULT */
    uint8_t version;             /* of the raft message */
    bool granted, pre_vote, disrupt;
    uint32_t n_entries;       /* APPEND */
    struct chassis_view body; /* PROPOSE: envelope; ASK, ASK_NODE, ANSWER, CHUNK: bytes; INSTALL:
                                    configuration; refusals, ABOUT: text; APPEND: encoded entries */
};

/* Begin a frame in an empty buffer; append messages; seal. */
void frame_begin(struct chassis_buf *frame);
void frame_append(struct chassis_buf *frame, const struct frame_message *message);
/* An APPEND is written in steps, as its entries come from the log. Returns where it begins. */
size_t frame_append_begin(struct chassis_buf *frame, const struct frame_message *message);
void frame_append_entry(struct chassis_buf *frame, const struct frame_entry *entry);
void frame_append_end(struct chassis_buf *frame, size_t begin, uint32_t n_entries);
unsigned frame_count(const struct chassis_buf *frame);
void frame_seal(struct chassis_buf *frame);

/* Checks header, crc and every length, then calls `each`; stops at its first non-zero result and
 * returns it. CHASSIS_MALFORMED, CHASSIS_BAD_VERSION. */
int frame_decode(struct chassis_view frame, int (*each)(const struct frame_message *, void *data),
                 void *data, struct chassis_error *err);
/* The entries of an APPEND into `out`, which has room for n_entries. */
int frame_entries(const struct frame_message *message, struct frame_entry *out);

#endif
