#include <ctype.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "fuse/haproxy/text.h"

bool fuse_text_is_plain(const char *text)
{
    for (const uint8_t *p = (const uint8_t *)text; *p != '\0'; p++) {
        if (*p < 0x20 || *p == 0x7f) {
            return false;
        }
    }
    return true;
}

bool fuse_text_is_key(const char *text)
{
    return fuse_text_is_plain(text) && strchr(text, ' ') == NULL;
}

void fuse_text_inner(struct chassis_buf *out, const char *text)
{
    CHASSIS_ASSERT(fuse_text_is_plain(text));
    for (const char *quote; (quote = strchr(text, '\'')) != NULL; text = quote + 1) {
        chassis_buf_append(out, text, (size_t)(quote - text));
        chassis_buf_append_str(out, "'\\''");
    }
    chassis_buf_append_str(out, text);
}

void fuse_text_word(struct chassis_buf *out, const char *text)
{
    chassis_buf_append_byte(out, '\'');
    fuse_text_inner(out, text);
    chassis_buf_append_byte(out, '\'');
}

void fuse_text_format(struct chassis_buf *out, const char *text)
{
    for (char one[2] = ""; *text != '\0'; text++) {
        one[0] = *text;
        fuse_text_inner(out, one[0] == '%' ? "%%" : one);
    }
}

void fuse_text_literal(struct chassis_buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        uint8_t c = (uint8_t)*text;
        if (c < 0x80 && isalnum(c)) {
            chassis_buf_append_byte(out, c);
        } else {
            chassis_buf_printf(out, "\\x%02x", c);
        }
    }
}

bool fuse_text_argument(struct chassis_buf *out, const char *text)
{
    if (text[0] == '\0' || strpbrk(text, " \",()\\;=[]{}<>@:/?") != NULL ||
        !fuse_text_is_plain(text)) {
        return false;
    }
    for (char one[2] = ""; *text != '\0'; text++) {
        one[0] = *text;
        if (one[0] == '\'') {
            chassis_buf_append_byte(out, '\\');
        }
        fuse_text_inner(out, one);
    }
    return true;
}

void fuse_texts_fini(struct fuse_texts *texts)
{
    for (uint32_t i = 0; i < texts->n_slots; i++) {
        free(texts->slots[i].text);
    }
    free(texts->slots);
    *texts = (struct fuse_texts){0};
}

static struct fuse_texts_slot *slot_of(const struct fuse_texts *texts, uint64_t hash,
                                       struct chassis_view text)
{
    for (uint32_t i = (uint32_t)hash & (texts->n_slots - 1);; i = (i + 1) & (texts->n_slots - 1)) {
        struct fuse_texts_slot *slot = &texts->slots[i];
        if (slot->text == NULL ||
            (slot->hash == hash && chassis_view_eq(chassis_view(slot->text, slot->len), text))) {
            return slot;
        }
    }
}

static void grow(struct fuse_texts *texts)
{
    struct fuse_texts old = *texts;
    texts->n_slots = old.n_slots == 0 ? 64 : old.n_slots * 2;
    texts->slots = chassis_base_zalloc(texts->n_slots * sizeof *texts->slots);
    for (uint32_t i = 0; i < old.n_slots; i++) {
        if (old.slots[i].text != NULL) {
            struct fuse_texts_slot *from = &old.slots[i];
            *slot_of(texts, from->hash, chassis_view(from->text, from->len)) = *from;
        }
    }
    free(old.slots);
}

uint32_t fuse_texts_put(struct fuse_texts *texts, struct chassis_view text, uint32_t value,
                        bool *ret_new)
{
    if (texts->n * 2 >= texts->n_slots) {
        grow(texts);
    }
    uint64_t hash = chassis_fnv1a(text.data, text.len);
    struct fuse_texts_slot *slot = slot_of(texts, hash, text);
    *ret_new = slot->text == NULL;
    if (slot->text == NULL) {
        slot->text = chassis_base_alloc(text.len + 1);
        memcpy(slot->text, text.len != 0 ? (const void *)text.data : "", text.len);
        slot->len = (uint32_t)text.len;
        slot->hash = hash;
        slot->value = value;
        texts->n++;
    }
    return slot->value;
}
