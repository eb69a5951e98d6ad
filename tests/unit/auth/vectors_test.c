#include "tests/unit/auth/vectors_test.h"

#include "tests/test.h"

#include "auth/internal.h"

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (uint8_t)byte;
    }
    return n;
}

void ed25519_gives_the_signatures_of_rfc_8032(void **state)
{
    static const struct {
        const char *seed, *public, *message, *signature;
    } cases[] = {
        {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701"
         "cf9"
         "b46bd25bf5f0595bbe24655141438e7a100b"},
        {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d"
         "0f1"
         "1d8c387b2eaeb4302aeeb00d291612bb0c00"},
        {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
         "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f7609"
         "84d"
         "c6594a7c15e9716ed28dc027beceea1ec40a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t seed[32], public[32], got[32], message[8], want[64], signature[64];
        from_hex(cases[i].seed, seed);
        from_hex(cases[i].public, public);
        from_hex(cases[i].signature, want);
        struct chassis_view text = chassis_view(message, from_hex(cases[i].message, message));
        struct chassis_auth_key *key = chassis_auth_key_from_seed(seed);
        chassis_auth_key_public(key, got);
        assert_memory_equal(got, public, 32);
        chassis_auth_sign(key, text, signature);
        assert_memory_equal(signature, want, 64);
        assert_true(chassis_auth_verify(public, text, want));
        for (size_t byte = 0; byte < 64; byte++) {
            want[byte] ^= 1;
            assert_false(chassis_auth_verify(public, text, want));
            want[byte] ^= 1;
        }
        chassis_auth_key_close(key);
    }
}

void a_signature_of_rfc_8037_is_accepted(void **state)
{
    static const char signed_text[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    struct chassis_buf public = {0}, signature = {0};
    assert_int_equal(chassis_auth_base64url_decode(
                         chassis_view_str("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"), &public),
                     0);
    assert_int_equal(chassis_auth_base64url_decode(
                         chassis_view_str("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4"
                                          "iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"),
                         &signature),
                     0);
    assert_int_equal(signature.len, 64);
    assert_true(chassis_auth_verify(public.data, chassis_view_str(signed_text), signature.data));
    chassis_buf_fini(&public);
    chassis_buf_fini(&signature);
}

void hmac_sha256_gives_the_macs_of_rfc_4231(void **state)
{
    uint8_t long_key[131], twenty[20], dd[50], aa[20], mac[32], want[32];
    memset(long_key, 0xaa, sizeof long_key);
    memset(twenty, 0x0b, sizeof twenty);
    memset(dd, 0xdd, sizeof dd);
    memset(aa, 0xaa, sizeof aa);
    const struct {
        struct chassis_view key, message;
        const char *mac;
    } cases[] = {
        {chassis_view(twenty, 20), chassis_view_str("Hi There"),
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {chassis_view_str("Jefe"), chassis_view_str("what do ya want for nothing?"),
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {chassis_view(aa, 20), chassis_view(dd, 50),
         "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
        {chassis_view(long_key, 131),
         chassis_view_str("Test Using Larger Than Block-Size Key - Hash Key First"),
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        from_hex(cases[i].mac, want);
        chassis_auth_mac(cases[i].key, cases[i].message, mac);
        assert_memory_equal(mac, want, 32);
    }
    assert_true(chassis_auth_equal(chassis_view(mac, 32), chassis_view(want, 32)));
    assert_false(chassis_auth_equal(chassis_view(mac, 32), chassis_view(want, 31)));
    want[31] ^= 1;
    assert_false(chassis_auth_equal(chassis_view(mac, 32), chassis_view(want, 32)));
}

void base64url_gives_the_texts_of_rfc_4648(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
        {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff", "-_8"},
    };
    static const char *const bad[] = {"Z", "Zg==", "Zh", "Zm9", "Z g", "+/8", "Zm9vY"};
    struct chassis_buf out = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        chassis_buf_clear(&out);
        chassis_auth_base64url(chassis_view_str(cases[i][0]), &out);
        assert_string_equal((char *)out.data, cases[i][1]);
        chassis_buf_clear(&out);
        assert_int_equal(chassis_auth_base64url_decode(chassis_view_str(cases[i][1]), &out), 0);
        assert_true(chassis_view_eq(chassis_buf_view(&out), chassis_view_str(cases[i][0])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        chassis_buf_clear(&out);
        assert_int_equal(chassis_auth_base64url_decode(chassis_view_str(bad[i]), &out),
                         CHASSIS_MALFORMED);
        assert_int_equal(out.len, 0);
    }
    chassis_buf_fini(&out);
}
