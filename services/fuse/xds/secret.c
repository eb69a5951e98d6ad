/* Secrets: a certificate with its key as "<name>", whom it trusts as "<name>/ca". */
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb-c.h"
#include "fuse/xds/message.h"
#include "fuse/xds/part.h"

#include <chassis/message.h>

static CORE(DataSource) * inline_bytes(struct chassis_view bytes, struct chassis_arena *arena)
{
    CORE(DataSource) *data =
        fuse_message_new(arena, &envoy__config__core__v3__data_source__descriptor);
    data->specifier_case = ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_BYTES;
    data->inline_bytes.data = (uint8_t *)(uintptr_t)bytes.data;
    data->inline_bytes.len = bytes.len;
    return data;
}

static void certificate(TLS(Secret) * secret, const struct fuse_secret_files *files,
                        struct chassis_arena *arena)
{
    TLS(TlsCertificate) *tls = fuse_message_new(
        arena, &envoy__extensions__transport_sockets__tls__v3__tls_certificate__descriptor);
    tls->certificate_chain = inline_bytes(files->certificate, arena);
    tls->private_key = inline_bytes(files->key, arena);
    secret->type_case = ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SECRET__TYPE_TLS_CERTIFICATE;
    secret->tls_certificate = tls;
}

static void validation(TLS(Secret) * secret, const struct fuse_secret_files *files,
                       struct chassis_arena *arena)
{
    TLS(CertificateValidationContext) *context = fuse_message_new(
        arena,
        &envoy__extensions__transport_sockets__tls__v3__certificate_validation_context__descriptor);
    context->trusted_ca = inline_bytes(files->ca, arena);
    secret->type_case =
        ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SECRET__TYPE_VALIDATION_CONTEXT;
    secret->validation_context = context;
}

bool fuse_secret_build(const struct fuse_resource_source *source, const char *name,
                       struct chassis_arena *arena, struct chassis_buf *out, uint64_t *ret_revision)
{
    for (unsigned i = 0; i < source->statics->n_secrets; i++) {
        const struct fuse_secret_files *files = &source->statics->secrets[i];
        size_t len = strlen(files->name);
        if (strncmp(name, files->name, len) != 0) {
            continue;
        }
        bool is_ca = strcmp(name + len, "/ca") == 0;
        if (is_ca ? files->ca.len == 0 : name[len] != '\0') {
            continue;
        }
        TLS(Secret) *secret = fuse_message_new(
            arena, &envoy__extensions__transport_sockets__tls__v3__secret__descriptor);
        secret->name = fuse_message_text(name);
        (is_ca ? validation : certificate)(secret, files, arena);
        chassis_encode(secret, out);
        *ret_revision = files->revision;
        return true;
    }
    return false;
}
