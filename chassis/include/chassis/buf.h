/* Bytes: `struct chassis_view` borrows, `struct chassis_buf` owns.
 *
 * Invariants: a view never frees; a zeroed buf is valid and empty; data[len] of a buf is always a
 * NUL once something was appended, so text can be printed without a copy.
 * Threads: no locking; one owner at a time.
 * Ownership: a function that takes `struct chassis_buf *` "by move" empties it (chassis_buf_move).
 */
#ifndef CHASSIS_BUF_H
#define CHASSIS_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <chassis/error.h>

struct chassis_view {
    const uint8_t *data; /* may be NULL when len is 0 */
    size_t len;          /* bytes */
};

struct chassis_buf {
    uint8_t *data;
    size_t len; /* bytes in use */
    size_t cap; /* bytes allocated */
};

static inline struct chassis_view chassis_view(const void *data, size_t len)
{
    struct chassis_view v = {(const uint8_t *)data, len};
    return v;
}
static inline struct chassis_view chassis_view_str(const char *text)
{
    return chassis_view(text, text != NULL ? strlen(text) : 0);
}
static inline struct chassis_view chassis_buf_view(const struct chassis_buf *buf)
{
    return chassis_view(buf->data, buf->len);
}
bool chassis_view_eq(struct chassis_view a, struct chassis_view b);
/* Byte order; a prefix sorts first (as LMDB and memcmp do). */
int chassis_view_cmp(struct chassis_view a, struct chassis_view b);
bool chassis_view_starts_with(struct chassis_view v, struct chassis_view prefix);

/* For printf("%.*s", CHASSIS_VIEW_ARG(v)). */
#define CHASSIS_VIEW_ARG(v) (int)(v).len, (const char *)((v).len != 0 ? (const void *)(v).data : "")

void chassis_buf_init(struct chassis_buf *buf);
void chassis_buf_fini(struct chassis_buf *buf);
/* Take everything from `from`, which is left empty. */
struct chassis_buf chassis_buf_move(struct chassis_buf *from);
/* Make room for `more` bytes beyond len; running out of memory aborts. */
void chassis_buf_reserve(struct chassis_buf *buf, size_t more);
void chassis_buf_clear(struct chassis_buf *buf);
void chassis_buf_append(struct chassis_buf *buf, const void *data, size_t len);
void chassis_buf_append_view(struct chassis_buf *buf, struct chassis_view view);
void chassis_buf_append_str(struct chassis_buf *buf, const char *text);
void chassis_buf_append_byte(struct chassis_buf *buf, uint8_t byte);
void chassis_buf_printf(struct chassis_buf *buf, const char *format, ...) CHASSIS_PRINTF(2, 3);
void chassis_buf_vprintf(struct chassis_buf *buf, const char *format, va_list args);
/* Drop `len` bytes from the front. */
void chassis_buf_consume(struct chassis_buf *buf, size_t len);
#endif
