/* What a peer may send: frames, their entries, the envelopes in them, and hellos. The checksum is set
 * right first, or nothing behind it would ever be reached. */
#include <stdlib.h>

#include "base/hash.h"
#include "consensus/envelope.h"
#include "consensus/frame.h"
#include "consensus/hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int see(const struct frame_message *m, void *data)
{
    static struct frame_entry entries[FRAME_ENTRIES_MAX];
    struct envelope e;
    if (m->type == FRAME_APPEND && frame_entries(m, entries) == 0) {
        for (uint32_t i = 0; i < m->n_entries; i++) {
            (void)envelope_decode(entries[i].payload, &e);
        }
    }
    if (m->type == FRAME_PROPOSE) {
        (void)envelope_decode(m->body, &e);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hello expected = {.to = 2}, got;
    uint8_t *copy = malloc(size + 1);
    memcpy(copy, data, size);
    if (size >= FRAME_HEADER_LEN) {
        chassis_put_le32(copy + 4,
                         chassis_crc32c(0, copy + FRAME_HEADER_LEN, size - FRAME_HEADER_LEN));
    }
    (void)frame_decode(chassis_view(copy, size), see, NULL, NULL);
    (void)hello_decode(chassis_view(data, size), &expected, chassis_view_str("s"), &got, NULL);
    free(copy);
    return 0;
}
