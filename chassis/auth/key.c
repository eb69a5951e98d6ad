/* Ed25519 keys (RFC 8032). */
#include <errno.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "auth/internal.h"
#include "base/assert.h"

struct chassis_auth_key {
    EVP_PKEY *pkey;
    uint8_t public[CHASSIS_AUTH_PUBLIC_KEY_LEN];
};

/* Takes over `pkey`. */
static struct chassis_auth_key *key_new(EVP_PKEY *pkey)
{
    struct chassis_auth_key *key = chassis_base_zalloc(sizeof *key);
    size_t len = sizeof key->public;
    key->pkey = pkey;
    CHASSIS_ASSERT(EVP_PKEY_get_raw_public_key(pkey, key->public, &len) == 1);
    CHASSIS_ASSERT(len == sizeof key->public);
    return key;
}

struct chassis_auth_key *chassis_auth_key_from_seed(const uint8_t seed[32])
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    CHASSIS_ASSERT(pkey != NULL);
    return key_new(pkey);
}

/* The file as it is made: the private key, then the public one. */
static BIO *key_text(EVP_PKEY *pkey, bool with_public)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    CHASSIS_ASSERT(bio != NULL);
    CHASSIS_ASSERT(PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) == 1);
    CHASSIS_ASSERT(!with_public || PEM_write_bio_PUBKEY(bio, pkey) == 1);
    return bio;
}

/* Any bytes of the right length are a private key: only the public half shows that they are those
 * that were written. A file with nothing behind the private key was made by other means. */
static bool key_intact(EVP_PKEY *pkey, struct chassis_view text)
{
    static const char end[] = "-----END PRIVATE KEY-----\n";
    const char *last = memmem(text.data, text.len, end, sizeof end - 1);
    size_t head = last != NULL ? (size_t)(last - (const char *)text.data) + sizeof end - 1 : 0;
    BIO *bio = key_text(pkey, last == NULL || head != text.len);
    char *expected = NULL;
    long len = BIO_get_mem_data(bio, &expected);
    bool same = last != NULL && (head == text.len || ((size_t)len == text.len &&
                                                      memcmp(expected, text.data, text.len) == 0));
    BIO_free(bio);
    return same;
}

static int key_load(const char *path, struct chassis_auth_key **ret_key, struct chassis_error *err)
{
    struct chassis_buf pem = {0};
    int rc = chassis_auth_file_read(path, 077, &pem, err);
    if (rc != 0) {
        return rc;
    }
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    CHASSIS_ASSERT(bio != NULL);
    /* An empty passphrase instead of the default, which would ask at the terminal. */
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t) "");
    BIO_free(bio);
    bool ed25519 = pkey != NULL && EVP_PKEY_get_id(pkey) == EVP_PKEY_ED25519;
    bool intact = ed25519 && key_intact(pkey, chassis_buf_view(&pem));
    chassis_auth_wipe(&pem);
    if (pkey == NULL) {
        return chassis_error_set(err, CHASSIS_CORRUPT, "'%s' is not a private key in PEM form",
                                 path);
    }
    if (!intact) {
        EVP_PKEY_free(pkey);
        return chassis_error_set(err, CHASSIS_CORRUPT,
                                 ed25519 ? "the key in '%s' is damaged: its halves do not belong "
                                           "together; remove the file, and a new key is made"
                                         : "the key in '%s' is not an Ed25519 key",
                                 path);
    }
    *ret_key = key_new(pkey);
    return 0;
}

static int key_make(const char *path, struct chassis_error *err)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    CHASSIS_ASSERT(pkey != NULL);
    BIO *bio = key_text(pkey, true);
    char *pem = NULL;
    long len = BIO_get_mem_data(bio, &pem);
    int rc = chassis_auth_file_create(path, chassis_view(pem, (size_t)len), err);
    BIO_free(bio);
    EVP_PKEY_free(pkey);
    return rc;
}

int chassis_auth_key_open(const char *path, struct chassis_auth_key **ret_key,
                          struct chassis_error *err)
{
    int rc = key_load(path, ret_key, err);
    if (rc == -ENOENT) {
        rc = key_make(path, err);
        if (rc == 0 || rc == -EEXIST) { /* -EEXIST: somebody was faster, theirs counts */
            chassis_error_clear(err);
            rc = key_load(path, ret_key, err);
        }
    }
    return rc;
}

void chassis_auth_key_close(struct chassis_auth_key *key)
{
    if (key != NULL) {
        EVP_PKEY_free(key->pkey);
        free(key);
    }
}

void chassis_auth_key_public(const struct chassis_auth_key *key,
                             uint8_t ret_public[CHASSIS_AUTH_PUBLIC_KEY_LEN])
{
    memcpy(ret_public, key->public, sizeof key->public);
}

void chassis_auth_sign(const struct chassis_auth_key *key, struct chassis_view message,
                       uint8_t ret_signature[CHASSIS_AUTH_SIGNATURE_LEN])
{
    size_t len = CHASSIS_AUTH_SIGNATURE_LEN;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    CHASSIS_ASSERT(ctx != NULL);
    CHASSIS_ASSERT(EVP_DigestSignInit(ctx, NULL, NULL, NULL, key->pkey) == 1);
    CHASSIS_ASSERT(EVP_DigestSign(ctx, ret_signature, &len, message.data, message.len) == 1);
    CHASSIS_ASSERT(len == CHASSIS_AUTH_SIGNATURE_LEN);
    EVP_MD_CTX_free(ctx);
}

bool chassis_auth_verify(const uint8_t public_key[CHASSIS_AUTH_PUBLIC_KEY_LEN],
                         struct chassis_view message,
                         const uint8_t signature[CHASSIS_AUTH_SIGNATURE_LEN])
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key,
                                                 CHASSIS_AUTH_PUBLIC_KEY_LEN);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    CHASSIS_ASSERT(ctx != NULL);
    bool good = pkey != NULL && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
                EVP_DigestVerify(ctx, signature, CHASSIS_AUTH_SIGNATURE_LEN, message.data,
                                 message.len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return good;
}
