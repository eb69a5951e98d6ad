/* The cluster secret, HMAC, constant-time comparison, base64url. */
#include <errno.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "auth/internal.h"
#include "base/assert.h"
#include "base/prng.h"

enum { SECRET_LEN = 32 };

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int secret_load(const char *path, struct chassis_buf *ret_secret, struct chassis_error *err)
{
    struct chassis_buf text = {0};
    int rc = chassis_auth_file_read(path, 077, &text, err);
    if (rc != 0) {
        return rc;
    }
    size_t len = text.len;
    while (len != 0 && (text.data[len - 1] == '\n' || text.data[len - 1] == '\r')) {
        len--;
    }
    uint8_t secret[SECRET_LEN];
    bool good = len == sizeof secret * 2;
    for (size_t i = 0; good && i < sizeof secret; i++) {
        int high = hex_digit(text.data[2 * i]), low = hex_digit(text.data[2 * i + 1]);
        good = high >= 0 && low >= 0;
        secret[i] = good ? (uint8_t)(high << 4 | low) : 0;
    }
    chassis_auth_wipe(&text);
    if (good) {
        chassis_buf_init(ret_secret);
        chassis_buf_append(ret_secret, secret, sizeof secret);
    } else {
        rc = chassis_error_set(err, CHASSIS_CORRUPT,
                               "'%s' is not a cluster secret: 64 hexadecimal digits are expected",
                               path);
    }
    OPENSSL_cleanse(secret, sizeof secret);
    return rc;
}

static int secret_make(const char *path, struct chassis_error *err)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t secret[SECRET_LEN];
    char text[SECRET_LEN * 2 + 1];
    chassis_base_random_bytes(secret, sizeof secret);
    for (size_t i = 0; i < sizeof secret; i++) {
        text[2 * i] = digits[secret[i] >> 4];
        text[2 * i + 1] = digits[secret[i] & 15];
    }
    text[sizeof text - 1] = '\n';
    int rc = chassis_auth_file_create(path, chassis_view(text, sizeof text), err);
    OPENSSL_cleanse(secret, sizeof secret);
    OPENSSL_cleanse(text, sizeof text);
    return rc;
}

int chassis_auth_secret_open(const char *path, bool create, struct chassis_buf *ret_secret,
                             struct chassis_error *err)
{
    int rc = secret_load(path, ret_secret, err);
    if (rc == -ENOENT && create) {
        rc = secret_make(path, err);
        if (rc == 0 || rc == -EEXIST) {
            chassis_error_clear(err);
            rc = secret_load(path, ret_secret, err);
        }
    }
    return rc;
}

void chassis_auth_mac(struct chassis_view secret, struct chassis_view message,
                      uint8_t ret_mac[CHASSIS_AUTH_MAC_LEN])
{
    unsigned len = CHASSIS_AUTH_MAC_LEN;
    CHASSIS_ASSERT(secret.len <= INT32_MAX);
    CHASSIS_ASSERT(HMAC(EVP_sha256(), secret.len != 0 ? secret.data : (const uint8_t *)"",
                        (int)secret.len, message.data, message.len, ret_mac, &len) != NULL);
    CHASSIS_ASSERT(len == CHASSIS_AUTH_MAC_LEN);
}

bool chassis_auth_equal(struct chassis_view a, struct chassis_view b)
{
    return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.data, b.data, a.len) == 0);
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void chassis_auth_base64url(struct chassis_view data, struct chassis_buf *out)
{
    chassis_buf_append(out, "", 0);
    for (size_t i = 0; i < data.len; i += 3) {
        size_t n = data.len - i < 3 ? data.len - i : 3;
        uint32_t bits = (uint32_t)data.data[i] << 16;
        bits |= n > 1 ? (uint32_t)data.data[i + 1] << 8 : 0;
        bits |= n > 2 ? data.data[i + 2] : 0;
        for (size_t k = 0; k <= n; k++) {
            chassis_buf_append_byte(out, (uint8_t)alphabet[bits >> (18 - 6 * k) & 63]);
        }
    }
}

/* Strict: one text per value. Left-over bits must be zero, else a token could be changed without
 * changing what it says. */
int chassis_auth_base64url_decode(struct chassis_view text, struct chassis_buf *out)
{
    if (text.len % 4 == 1) {
        return CHASSIS_MALFORMED;
    }
    size_t start = out->len;
    uint32_t bits = 0;
    unsigned n_bits = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *at = text.data[i] != 0 ? strchr(alphabet, text.data[i]) : NULL;
        if (at == NULL) {
            out->len = start;
            return CHASSIS_MALFORMED;
        }
        bits = bits << 6 | (uint32_t)(at - alphabet);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            chassis_buf_append_byte(out, (uint8_t)(bits >> n_bits));
            bits &= (1U << n_bits) - 1;
        }
    }
    if (bits != 0) {
        out->len = start;
        return CHASSIS_MALFORMED;
    }
    return 0;
}
