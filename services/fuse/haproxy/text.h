/* Texts of HAProxy's configuration: quoting that nothing escapes from, names, and a table of texts.
 *
 * HAProxy reads a line in two levels: words (quotes, spaces, "#", "$", "\"), and within some words
 * arguments in parentheses (commas, quotes, ")"). What users wrote passes through these functions
 * and nowhere else.
 *
 * Invariants: a text with a control character cannot be written in either level and is refused by
 * fuse_text_is_plain; callers ask it first.
 * Threads: any.
 */
#ifndef FUSE_HAPROXY_TEXT_H
#define FUSE_HAPROXY_TEXT_H

#include <chassis/buf.h>

/* No control character: can stand in the configuration at all. */
bool fuse_text_is_plain(const char *text);
/* Printable and without spaces: can be the key of a map. No request has another host or path. */
bool fuse_text_is_key(const char *text);
/* One word, as it is. */
void fuse_text_word(struct chassis_buf *out, const char *text);
/* Between the single quotes of a word: for words made of several pieces. */
void fuse_text_inner(struct chassis_buf *out, const char *text);
/* A log-format string's literal part, between the single quotes of a word. */
void fuse_text_format(struct chassis_buf *out, const char *text);
/* A regular expression that matches exactly this text, of letters, digits and \xHH only. */
void fuse_text_literal(struct chassis_buf *out, const char *text);
/* A name of a header or cookie as an argument in parentheses, between the single quotes of a word.
 * False, and nothing written: no header or cookie can have this name. */
bool fuse_text_argument(struct chassis_buf *out, const char *text);

/* Texts, each with a number; open addressing, nothing is ever taken out. Zeroed = empty. */
struct fuse_texts {
    struct fuse_texts_slot {
        uint64_t hash;
        uint8_t *text; /* NULL = free */
        uint32_t len, value;
    } * slots;
    uint32_t n, n_slots;
};
void fuse_texts_fini(struct fuse_texts *texts);
/* The slot's value of this text; a text that is new gets `value` (and *ret_new). */
uint32_t fuse_texts_put(struct fuse_texts *texts, struct chassis_view text, uint32_t value,
                        bool *ret_new);

#endif
