#include "consensus/hello.h"

#include "auth/auth.h"
#include "base/bytes.h"

enum { MAC_OFFSET = HELLO_LEN - CHASSIS_AUTH_MAC_LEN };

static void sign(struct chassis_view secret, const uint8_t *bytes, uint8_t *out)
{
    chassis_auth_mac(secret.len != 0 ? secret : chassis_view_str("draft"),
                     chassis_view(bytes, MAC_OFFSET), out);
}

void hello_encode(const struct hello *h, struct chassis_view secret, uint8_t out[HELLO_LEN])
{
    memcpy(out, h->welcome ? "DPWE" : "DPHE", 4);
    chassis_put_le32(out + 4, HELLO_FORMAT);
    memcpy(out + 8, h->cluster_id, 16);
    chassis_put_le64(out + 24, h->from);
    chassis_put_le64(out + 32, h->to);
    chassis_put_le64(out + 40, h->boot);
    chassis_put_le64(out + 48, h->session);
    chassis_put_le32(out + 56, h->version);
    memcpy(out + 60, h->nonce, HELLO_NONCE_LEN);
    sign(secret, out, out + MAC_OFFSET);
}

int hello_decode(struct chassis_view data, const struct hello *expected, struct chassis_view secret,
                 struct hello *ret_hello, struct chassis_error *err)
{
    uint8_t mac[CHASSIS_AUTH_MAC_LEN];
    const uint8_t *p = data.data;
    if (data.len < 8 || memcmp(p, expected->welcome ? "DPWE" : "DPHE", 4) != 0) {
        return chassis_error_set(err, CHASSIS_MALFORMED, "this is not the peer protocol");
    }
    if (chassis_get_le32(p + 4) != HELLO_FORMAT) {
        return chassis_error_set(err, CHASSIS_BAD_VERSION,
                                 "the peer speaks version %u of the peer protocol, this node %d",
                                 chassis_get_le32(p + 4), HELLO_FORMAT);
    }
    if (data.len != HELLO_LEN) {
        return chassis_error_set(err, CHASSIS_MALFORMED, "a hello of %zu bytes", data.len);
    }
    sign(secret, p, mac);
    if (!chassis_auth_equal(chassis_view(mac, sizeof mac),
                            chassis_view(p + MAC_OFFSET, sizeof mac)) ||
        memcmp(p + 8, expected->cluster_id, 16) != 0) {
        return chassis_error_set(err, CHASSIS_PERMISSION_DENIED,
                                 "the peer belongs to another cluster: member lists or cluster "
                                 "secrets differ");
    }
    if (chassis_get_le64(p + 32) != expected->to) {
        return chassis_error_set(
            err, CHASSIS_PERMISSION_DENIED,
            "the peer wanted node %llu, this is node %llu: check the addresses "
            "in the member list",
            (unsigned long long)chassis_get_le64(p + 32), (unsigned long long)expected->to);
    }
    ret_hello->welcome = expected->welcome;
    memcpy(ret_hello->cluster_id, p + 8, 16);
    ret_hello->from = chassis_get_le64(p + 24);
    ret_hello->to = chassis_get_le64(p + 32);
    ret_hello->boot = chassis_get_le64(p + 40);
    ret_hello->session = chassis_get_le64(p + 48);
    ret_hello->version = chassis_get_le32(p + 56);
    memcpy(ret_hello->nonce, p + 60, HELLO_NONCE_LEN);
    return 0;
}
