#include <stdio.h>
#include <stdlib.h>

#include <chassis/buf.h>

#include "base/assert.h"
#include "base/bytes.h"

bool chassis_view_eq(struct chassis_view a, struct chassis_view b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

int chassis_view_cmp(struct chassis_view a, struct chassis_view b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common != 0 ? memcmp(a.data, b.data, common) : 0;
    if (order != 0) {
        return order;
    }
    return a.len < b.len ? -1 : a.len > b.len;
}

bool chassis_view_starts_with(struct chassis_view v, struct chassis_view prefix)
{
    return v.len >= prefix.len && (prefix.len == 0 || memcmp(v.data, prefix.data, prefix.len) == 0);
}

void chassis_buf_init(struct chassis_buf *buf)
{
    *buf = (struct chassis_buf){0};
}

void chassis_buf_fini(struct chassis_buf *buf)
{
    free(buf->data);
    chassis_buf_init(buf);
}

struct chassis_buf chassis_buf_move(struct chassis_buf *from)
{
    struct chassis_buf taken = *from;
    chassis_buf_init(from);
    return taken;
}

void chassis_buf_reserve(struct chassis_buf *buf, size_t more)
{
    CHASSIS_ASSERT(more < SIZE_MAX / 4 && buf->len < SIZE_MAX / 4);
    size_t need = buf->len + more + 1; /* one for the NUL after the data */
    if (need <= buf->cap) {
        return;
    }
    size_t cap = buf->cap < 64 ? 64 : buf->cap;
    while (cap < need) {
        cap += cap / 2 + 1;
    }
    buf->data = chassis_base_realloc(buf->data, cap);
    buf->cap = cap;
}

void chassis_buf_clear(struct chassis_buf *buf)
{
    buf->len = 0;
}

void chassis_buf_append(struct chassis_buf *buf, const void *data, size_t len)
{
    chassis_buf_reserve(buf, len);
    if (len != 0) {
        memcpy(buf->data + buf->len, data, len);
    }
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void chassis_buf_append_view(struct chassis_buf *buf, struct chassis_view view)
{
    chassis_buf_append(buf, view.data, view.len);
}

void chassis_buf_append_str(struct chassis_buf *buf, const char *text)
{
    chassis_buf_append(buf, text, strlen(text));
}

void chassis_buf_append_byte(struct chassis_buf *buf, uint8_t byte)
{
    chassis_buf_append(buf, &byte, 1);
}

void chassis_buf_vprintf(struct chassis_buf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    chassis_buf_reserve(buf, 128);
    size_t room = buf->cap - buf->len;
    int n = vsnprintf((char *)buf->data + buf->len, room, format, args);
    CHASSIS_ASSERT(n >= 0);
    if ((size_t)n >= room) {
        chassis_buf_reserve(buf, (size_t)n);
        vsnprintf((char *)buf->data + buf->len, buf->cap - buf->len, format, again);
    }
    va_end(again);
    buf->len += (size_t)n;
}

void chassis_buf_printf(struct chassis_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    chassis_buf_vprintf(buf, format, args);
    va_end(args);
}

void chassis_buf_consume(struct chassis_buf *buf, size_t len)
{
    CHASSIS_ASSERT(len <= buf->len);
    if (len != 0) {
        memmove(buf->data, buf->data + len, buf->len - len);
        buf->len -= len;
        buf->data[buf->len] = '\0';
    }
}

void chassis_buf_append_le32(struct chassis_buf *buf, uint32_t v)
{
    uint8_t b[4];
    chassis_put_le32(b, v);
    chassis_buf_append(buf, b, sizeof b);
}

void chassis_buf_append_le64(struct chassis_buf *buf, uint64_t v)
{
    uint8_t b[8];
    chassis_put_le64(b, v);
    chassis_buf_append(buf, b, sizeof b);
}

void chassis_buf_append_varint(struct chassis_buf *buf, uint64_t v)
{
    uint8_t b[10];
    size_t n = 0;
    while (v >= 0x80) {
        b[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    b[n++] = (uint8_t)v;
    chassis_buf_append(buf, b, n);
}

void chassis_buf_append_block(struct chassis_buf *buf, struct chassis_view view)
{
    chassis_buf_append_varint(buf, view.len);
    chassis_buf_append_view(buf, view);
}

/* The next `len` bytes, or NULL (and `bad`) if they are not there. */
static const uint8_t *take(struct chassis_reader *r, size_t len)
{
    if (r->bad || chassis_reader_left(r) < len) {
        r->bad = true;
        r->next = r->end;
        return NULL;
    }
    const uint8_t *p = r->next;
    r->next += len;
    return p;
}

uint8_t chassis_read_byte(struct chassis_reader *r)
{
    const uint8_t *p = take(r, 1);
    return p != NULL ? *p : 0;
}

uint32_t chassis_read_le32(struct chassis_reader *r)
{
    const uint8_t *p = take(r, 4);
    return p != NULL ? chassis_get_le32(p) : 0;
}

uint64_t chassis_read_le64(struct chassis_reader *r)
{
    const uint8_t *p = take(r, 8);
    return p != NULL ? chassis_get_le64(p) : 0;
}

uint64_t chassis_read_varint(struct chassis_reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        const uint8_t *p = take(r, 1);
        if (p == NULL) {
            return 0;
        }
        if (shift == 63 && *p > 1) {
            break; /* more than 64 bits */
        }
        v |= (uint64_t)(*p & 0x7f) << shift;
        if ((*p & 0x80) == 0) {
            return v;
        }
    }
    r->bad = true;
    r->next = r->end;
    return 0;
}

struct chassis_view chassis_read_bytes(struct chassis_reader *r, size_t len)
{
    const uint8_t *p = len != 0 ? take(r, len) : r->next;
    return chassis_view(p, p != NULL ? len : 0);
}

struct chassis_view chassis_read_block(struct chassis_reader *r)
{
    uint64_t len = chassis_read_varint(r);
    if (len > chassis_reader_left(r)) {
        r->bad = true;
        r->next = r->end;
        return chassis_view(NULL, 0);
    }
    return chassis_read_bytes(r, (size_t)len);
}
