#include "metrics/trace.h"

#include "base/bytes.h"
#include "base/prng.h"

static uint64_t next_random(void)
{
    static _Thread_local struct chassis_prng prng;
    static _Thread_local bool seeded;
    if (!seeded) {
        /* All 256 bits from the kernel: with a 64-bit seed two threads of a big fleet may meet. */
        chassis_base_random_bytes(prng.s, sizeof prng.s);
        prng.s[0] |= 1; /* the all-zero state would stay zero */
        seeded = true;
    }
    uint64_t value;
    do {
        value = chassis_prng_next(&prng);
    } while (value == 0);
    return value;
}

void chassis_trace_new(struct chassis_trace *ret_trace)
{
    chassis_put_le64(ret_trace->trace_id, next_random());
    chassis_put_le64(ret_trace->trace_id + 8, next_random());
    chassis_put_le64(ret_trace->span_id, next_random());
    ret_trace->flags = 0;
}

void chassis_trace_child(const struct chassis_trace *parent, struct chassis_trace *ret_child)
{
    *ret_child = *parent;
    chassis_put_le64(ret_child->span_id, next_random());
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; /* the standard wants lower case */
}

static bool hex_decode(const uint8_t *text, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool all_zero(const uint8_t *bytes, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

int chassis_trace_parse(struct chassis_view header, struct chassis_trace *ret_trace)
{
    const uint8_t *p = header.data;
    struct chassis_trace trace;
    uint8_t version, flags;
    if (header.len < CHASSIS_TRACE_PARENT_LEN || !hex_decode(p, &version, 1) || version == 0xff ||
        p[2] != '-' || p[35] != '-' || p[52] != '-') {
        return CHASSIS_MALFORMED;
    }
    /* A later version may go on after a dash; what comes first means the same. */
    if (header.len > CHASSIS_TRACE_PARENT_LEN && (version == 0 || p[55] != '-')) {
        return CHASSIS_MALFORMED;
    }
    if (!hex_decode(p + 3, trace.trace_id, 16) || !hex_decode(p + 36, trace.span_id, 8) ||
        !hex_decode(p + 53, &flags, 1) || all_zero(trace.trace_id, 16) ||
        all_zero(trace.span_id, 8)) {
        return CHASSIS_MALFORMED;
    }
    trace.flags = flags & CHASSIS_TRACE_SAMPLED; /* the other bits are not to be passed on */
    *ret_trace = trace;
    return 0;
}

static char *hex_encode(const uint8_t *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
    return out;
}

void chassis_trace_format(const struct chassis_trace *trace,
                          char ret_header[CHASSIS_TRACE_PARENT_LEN + 1])
{
    char *p = ret_header;
    memcpy(p, "00-", 3);
    p = hex_encode(trace->trace_id, 16, p + 3);
    *p++ = '-';
    p = hex_encode(trace->span_id, 8, p);
    *p++ = '-';
    hex_encode(&trace->flags, 1, p);
}

void chassis_trace_id_text(const struct chassis_trace *trace, char ret_text[33])
{
    hex_encode(trace->trace_id, 16, ret_text);
}

void chassis_trace_span_text(const struct chassis_trace *trace, char ret_text[17])
{
    hex_encode(trace->span_id, 8, ret_text);
}
