#include "catalyst/event/check.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/utf8.h"

static const uint64_t ones = 0x0101010101010101ULL, highs = 0x8080808080808080ULL;

static uint32_t decode(const uint8_t *p, size_t len)
{
    uint32_t c = len == 2 ? p[0] & 0x1fU : len == 3 ? p[0] & 0x0fU : p[0] & 0x07U;
    for (size_t i = 1; i < len; i++) {
        c = c << 6 | (p[i] & 0x3f);
    }
    return c;
}

/* A character of more than one byte at `p`: its length if it may stand in a String, else 0. */
static size_t wide_char(const uint8_t *p, size_t left)
{
    size_t len = chassis_utf8_len(p, left);
    if (len < 2) {
        return 0;
    }
    uint32_t c = decode(p, len);
    bool refused = c < 0xa0 || (c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef);
    return refused ? 0 : len;
}

bool cat_check_string(struct chassis_view text)
{
    const uint8_t *p = text.data;
    size_t left = text.len;
    while (left > 0) {
        if (left >= 8) {
            uint64_t word;
            memcpy(&word, p, 8);
            /* no byte below 0x20 and none above 0x7e; a false alarm costs only the slow way */
            if (((word | (word + ones) | (word - 0x20 * ones)) & highs) == 0) {
                p += 8;
                left -= 8;
                continue;
            }
        }
        size_t len = *p - 0x20U < 0x5f ? 1 : wide_char(p, left);
        if (len == 0) {
            return false;
        }
        p += len;
        left -= len;
    }
    return true;
}

enum {
    ALPHA = 1,
    DIGIT = 2,
    HEX = 4,
    SCHEME = 8,  /* after the first character */
    NAME = 16,   /* unreserved and sub-delims: a registered name */
    PCHAR = 32,  /* and ':' '@': a path segment */
    PATH = 64,   /* and '/': a path */
    TOKEN = 128, /* RFC 9110 token */
};
/* clang-format off: a table */
#define A_ (ALPHA | SCHEME | NAME | PCHAR | PATH | TOKEN)
#define H_ (A_ | HEX)
#define D_ (DIGIT | HEX | SCHEME | NAME | PCHAR | PATH | TOKEN)
#define S_ (NAME | PCHAR | PATH)         /* sub-delims, not tokens */
#define T_ (NAME | PCHAR | PATH | TOKEN) /* also in tokens */
#define U_ (T_ | SCHEME)                 /* also in schemes */
static const uint8_t classes[256] = {
    ['!'] = T_,  ['#'] = TOKEN, ['$'] = T_,           ['%'] = TOKEN, ['&'] = T_,
    ['\''] = T_, ['('] = S_,    [')'] = S_,           ['*'] = T_,    ['+'] = U_,
    [','] = S_,  ['-'] = U_,    ['.'] = U_,           ['/'] = PATH,  ['0'] = D_,
    ['1'] = D_,  ['2'] = D_,    ['3'] = D_,           ['4'] = D_,    ['5'] = D_,
    ['6'] = D_,  ['7'] = D_,    ['8'] = D_,           ['9'] = D_,    [':'] = PCHAR | PATH,
    [';'] = S_,  ['='] = S_,    ['@'] = PCHAR | PATH, ['A'] = H_,    ['B'] = H_,
    ['C'] = H_,  ['D'] = H_,    ['E'] = H_,           ['F'] = H_,    ['G'] = A_,
    ['H'] = A_,  ['I'] = A_,    ['J'] = A_,           ['K'] = A_,    ['L'] = A_,
    ['M'] = A_,  ['N'] = A_,    ['O'] = A_,           ['P'] = A_,    ['Q'] = A_,
    ['R'] = A_,  ['S'] = A_,    ['T'] = A_,           ['U'] = A_,    ['V'] = A_,
    ['W'] = A_,  ['X'] = A_,    ['Y'] = A_,           ['Z'] = A_,    ['^'] = TOKEN,
    ['_'] = T_,  ['`'] = TOKEN, ['a'] = H_,           ['b'] = H_,    ['c'] = H_,
    ['d'] = H_,  ['e'] = H_,    ['f'] = H_,           ['g'] = A_,    ['h'] = A_,
    ['i'] = A_,  ['j'] = A_,    ['k'] = A_,           ['l'] = A_,    ['m'] = A_,
    ['n'] = A_,  ['o'] = A_,    ['p'] = A_,           ['q'] = A_,    ['r'] = A_,
    ['s'] = A_,  ['t'] = A_,    ['u'] = A_,           ['v'] = A_,    ['w'] = A_,
    ['x'] = A_,  ['y'] = A_,    ['z'] = A_,           ['|'] = TOKEN, ['~'] = T_,
};
/* clang-format on */

/* Pass characters of `class`, the one `extra` (0 for none), and percent-encoded bytes. */
static const uint8_t *pass(const uint8_t *p, const uint8_t *end, uint8_t class, uint8_t extra)
{
    while (p < end) {
        if (classes[*p] & class) {
            p++;
        } else if (*p == '%' && end - p >= 3 && classes[p[1]] & HEX && classes[p[2]] & HEX) {
            p += 3;
        } else if (extra != 0 && *p == extra) {
            p++;
        } else {
            break;
        }
    }
    return p;
}

static bool ip_literal(const uint8_t *p, const uint8_t *end)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (p < end && (*p == 'v' || *p == 'V')) { /* IPvFuture */
        const uint8_t *dot = ++p;
        while (dot < end && classes[*dot] & HEX) {
            dot++;
        }
        if (dot == p || dot == end || *dot != '.' || dot + 1 == end) {
            return false;
        }
        for (p = dot + 1; p < end && (classes[*p] & NAME || *p == ':'); p++) {
        }
        return p == end;
    }
    size_t len = (size_t)(end - p);
    if (len >= sizeof text || len == 0) {
        return false;
    }
    memcpy(text, p, len);
    text[len] = 0;
    return strlen(text) == len && inet_pton(AF_INET6, text, &address) == 1;
}

/* [ userinfo "@" ] host [ ":" port ], all of it. */
static bool authority(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *at = memchr(p, '@', (size_t)(end - p));
    if (at != NULL) {
        if (pass(p, at, NAME, ':') != at) {
            return false;
        }
        p = at + 1;
    }
    if (p < end && *p == '[') {
        const uint8_t *close = memchr(p, ']', (size_t)(end - p));
        if (close == NULL || !ip_literal(p + 1, close)) {
            return false;
        }
        p = close + 1;
    } else {
        p = pass(p, end, NAME, 0);
    }
    if (p < end && *p++ != ':') {
        return false;
    }
    while (p < end && classes[*p] & DIGIT) {
        p++;
    }
    return p == end;
}

bool cat_check_uri(struct chassis_view text, bool absolute)
{
    const uint8_t *p = text.data, *end = p + text.len, *scheme_end = p;
    if (text.len == 0) {
        return false;
    }
    while (scheme_end < end && classes[*scheme_end] & SCHEME) {
        scheme_end++;
    }
    bool scheme = scheme_end < end && *scheme_end == ':' && classes[*p] & ALPHA;
    if (scheme) {
        p = scheme_end + 1;
    } else if (absolute) {
        return false;
    }
    if (end - p >= 2 && p[0] == '/' && p[1] == '/') {
        const uint8_t *begin = p += 2;
        while (p < end && *p != '/' && *p != '?' && *p != '#') {
            p++;
        }
        if (!authority(begin, p)) {
            return false;
        }
    } else if (!scheme) { /* the first segment of a relative path has no colon */
        p = pass(p, end, NAME, '@');
        if (p < end && *p == ':') {
            return false;
        }
    }
    p = pass(p, end, PATH, 0);
    if (p < end && *p == '?') {
        p = pass(p + 1, end, PATH, '?');
    }
    if (p < end && *p == '#') {
        p = pass(p + 1, end, PATH, '?');
    }
    return p == end;
}

static const uint8_t *token(const uint8_t *p, const uint8_t *end)
{
    while (p < end && classes[*p] & TOKEN) {
        p++;
    }
    return p;
}

static const uint8_t *space(const uint8_t *p, const uint8_t *end)
{
    while (p < end && (*p == ' ' || *p == '\t')) {
        p++;
    }
    return p;
}

/* name "=" (token / quoted-string); NULL if it is none. */
static const uint8_t *parameter(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *q = token(p, end);
    if (q == p || q == end || *q != '=') {
        return NULL;
    }
    p = q + 1;
    if (p == end || *p != '"') {
        q = token(p, end);
        return q != p ? q : NULL;
    }
    for (p++; p < end && *p != '"'; p++) {
        p += *p == '\\' && p + 1 < end;
    }
    return p < end ? p + 1 : NULL;
}

bool cat_check_media_type(struct chassis_view text)
{
    const uint8_t *p = text.data, *end = p + text.len;
    const uint8_t *q = text.len != 0 ? token(p, end) : p;
    if (q == p || q == end || *q != '/') {
        return false;
    }
    p = q + 1;
    q = token(p, end);
    if (q == p) {
        return false;
    }
    for (p = space(q, end); p < end && *p == ';'; p = space(p, end)) {
        p = space(p + 1, end);
        if (p < end && *p != ';') {
            p = parameter(p, end);
            if (p == NULL) {
                return false;
            }
        }
    }
    return p == end;
}

struct cat_quoted cat_quote(struct chassis_view text)
{
    struct cat_quoted q = {0};
    size_t max = sizeof q.text - 4, n = text.len < max ? text.len : max;
    for (size_t i = 0; i < n; i++) {
        q.text[i] = text.data[i] >= 0x20 && text.data[i] < 0x7f ? (char)text.data[i] : '?';
    }
    memcpy(q.text + n, n < text.len ? "..." : "", n < text.len ? 4 : 1);
    return q;
}
