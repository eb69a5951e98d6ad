/* The published test vectors. */
#ifndef DRAFT_TESTS_AUTH_VECTORS_H
#define DRAFT_TESTS_AUTH_VECTORS_H

void ed25519_gives_the_signatures_of_rfc_8032(void **state);
void a_signature_of_rfc_8037_is_accepted(void **state);
void hmac_sha256_gives_the_macs_of_rfc_4231(void **state);
void base64url_gives_the_texts_of_rfc_4648(void **state);

#endif
