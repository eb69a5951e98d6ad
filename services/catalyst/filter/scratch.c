#include "catalyst/filter/scratch.h"

#include <stdlib.h>

#include "base/assert.h"

void cat_filter_scratch_fini(struct cat_filter_scratch *scratch)
{
    free(scratch->room);
    *scratch = (struct cat_filter_scratch){0};
}

void *scratch_alloc(struct cat_filter_scratch *scratch, size_t len)
{
    if (scratch->room == NULL) {
        scratch->room = chassis_base_alloc(SCRATCH_SIZE);
        scratch->cap = SCRATCH_SIZE;
    }
    size_t need = (len + 15) & ~(size_t)15;
    if (len > scratch->cap || need > scratch->cap - scratch->used) {
        return NULL;
    }
    void *room = scratch->room + scratch->used;
    scratch->used += need;
    return room;
}

bool scratch_text(struct cat_filter_scratch *scratch, const struct cat_value *value,
                  struct chassis_view *ret_text)
{
    /* Printing must never make the buffer grow: it is no heap. chassis_buf_printf wants 128 bytes. */
    size_t cap = 256;
    switch (value->type) {
    case CAT_STRING:
    case CAT_URI:
    case CAT_URI_REF:
        *ret_text = value->text;
        return true;
    case CAT_BYTES:
        cap += value->text.len / 3 * 4;
        break;
    case CAT_NONE:
    case CAT_BOOLEAN:
    case CAT_INTEGER:
    case CAT_TIMESTAMP:
        break;
    }
    struct chassis_buf text = {scratch_alloc(scratch, cap), 0, cap};
    const uint8_t *room = text.data;
    if (room == NULL) {
        return false;
    }
    cat_value_print(value, &text);
    CHASSIS_ASSERT(text.data == room && text.cap == cap);
    *ret_text = chassis_buf_view(&text);
    return true;
}
