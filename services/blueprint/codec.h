/* Commands and records as bytes: one table of fields per message gives encode and decode.
 *
 * The first byte is the version of the format, the second says which message it is; then come the
 * fields in the order of their table: integers as base-128 varints, texts and bytes with a length
 * before them, lists with a count. A field names the version it came with, so a message of an older
 * version decodes with that field zero, and a node can go on writing the old version until all
 * understand the new one.
 *
 * Invariants: no input makes decode read out of bounds, recurse without end or allocate beyond the
 * arena's limit; what decodes, encodes; a newer version is CHASSIS_BAD_VERSION naming both.
 * Threads: any. Ownership: decoded views point into the input, lists into the arena.
 */
#ifndef BP_CODEC_H
#define BP_CODEC_H

#include <chassis/arena.h>
#include <chassis/buf.h>
#include <chassis/error.h>

enum { BP_CODEC_VERSION = 1 };

enum bp_field_type {
    BP_FIELD_BOOL,  /* bool */
    BP_FIELD_U32,   /* uint32_t */
    BP_FIELD_U64,   /* uint64_t */
    BP_FIELD_I64,   /* int64_t, zigzag */
    BP_FIELD_FLOAT, /* float, 4 bytes */
    BP_FIELD_BYTES, /* struct chassis_view */
    BP_FIELD_TEXT,  /* struct chassis_view of valid UTF-8 without NUL */
    BP_FIELD_LIST,  /* struct bp_array of structs, described by `of` */
};

/* A decoded list: `n` structs of the layout's size. */
struct bp_array {
    const void *items;
    size_t n;
};

struct bp_layout;
struct bp_field {
    const char *name;
    enum bp_field_type type;
    uint8_t since; /* the version that brought it */
    size_t offset;
    uint64_t max; /* greatest integer, or bytes of a text, or elements of a list; 0 = no bound */
    const struct bp_layout *of;
};
struct bp_layout {
    const char *name; /* "set command" */
    uint8_t id;       /* second byte; 0 for the elements of lists */
    size_t size;      /* of the struct */
    const struct bp_field *fields;
    size_t n_fields;
};

/* Appends. `version` 1 … BP_CODEC_VERSION. */
void bp_codec_encode(const struct bp_layout *layout, uint8_t version, const void *message,
                     struct chassis_buf *out);
/* CHASSIS_MALFORMED, CHASSIS_BAD_VERSION; *ret_message is written only on success. */
int bp_codec_decode(const struct bp_layout *layout, struct chassis_view encoded,
                    struct chassis_arena *arena, void *ret_message, struct chassis_error *err);
/* Which message it is; 0 for something too short. */
uint8_t bp_codec_id(struct chassis_view encoded);

/* Valid UTF-8 (RFC 3629: no surrogates, no overlong forms) without NUL. */
bool bp_text_valid(struct chassis_view text);

#endif
