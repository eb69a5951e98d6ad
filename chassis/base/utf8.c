#include "base/utf8.h"

#include <string.h>

/* Table 3-7 of the Unicode Standard. */
size_t chassis_utf8_len(const uint8_t *p, size_t left)
{
    static const struct {
        uint8_t first_low, first_high, second_low, second_high;
        uint8_t len;
    } rows[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (p[0] < rows[i].first_low || p[0] > rows[i].first_high) {
            continue;
        }
        if (rows[i].len > left ||
            (rows[i].len > 1 && (p[1] < rows[i].second_low || p[1] > rows[i].second_high))) {
            return 0;
        }
        for (size_t n = 2; n < rows[i].len; n++) {
            if ((p[n] & 0xc0) != 0x80) {
                return 0;
            }
        }
        return rows[i].len;
    }
    return 0;
}

bool chassis_utf8_valid(struct chassis_view text)
{
    const uint8_t *p = text.data;
    size_t left = text.len;
    while (left > 0) {
        if (left >= 8) {
            uint64_t word;
            memcpy(&word, p, 8);
            /* no byte above 0x7f, and none that is 0 (Mycroft's test) */
            if (((word | (word - 0x0101010101010101ULL)) & 0x8080808080808080ULL) == 0) {
                p += 8;
                left -= 8;
                continue;
            }
        }
        if (*p - 1U < 0x7f) { /* ASCII, the usual tail of a short text */
            p++;
            left--;
            continue;
        }
        size_t len = chassis_utf8_len(p, left);
        if (len == 0 || *p == 0) {
            return false;
        }
        p += len;
        left -= len;
    }
    return true;
}
