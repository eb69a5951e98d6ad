#include "proto/message.h"

#include "base/assert.h"
#include "proto/wire.h"

/* protobuf-c's allocator over an arena; what it gives back stays until the arena goes. */
struct arena_allocator {
    ProtobufCAllocator base;
    struct chassis_arena *arena;
    bool refused; /* the arena reached its limit */
};

static void *arena_alloc(void *data, size_t size)
{
    struct arena_allocator *a = (struct arena_allocator *)data;
    void *memory = chassis_arena_alloc(a->arena, size);
    a->refused |= memory == NULL;
    return memory;
}

static void arena_free(void *data, void *memory)
{
    (void)data;
    (void)memory;
}

int chassis_message_decode(const ProtobufCMessageDescriptor *type, struct chassis_view encoded,
                           const struct chassis_decode_limits *limits, struct chassis_arena *arena,
                           ProtobufCMessage **ret_message, struct chassis_error *err)
{
    int rc = chassis_message_scan(type, encoded, limits, err);
    if (rc != 0) {
        return rc;
    }
    struct arena_allocator a = {.arena = arena};
    a.base = (ProtobufCAllocator){arena_alloc, arena_free, &a};
    static const uint8_t nothing[1];
    ProtobufCMessage *message = protobuf_c_message_unpack(
        type, &a.base, encoded.len, encoded.len != 0 ? encoded.data : nothing);
    if (message != NULL) {
        *ret_message = message;
        return 0;
    }
    if (a.refused) {
        return chassis_error_set(err, CHASSIS_TOO_LARGE,
                                 "decoding %s takes more than the %zu bytes of memory a call has",
                                 type->name, arena->limit);
    }
    return chassis_error_set(err, CHASSIS_MALFORMED, "not a valid %s", type->name);
}

size_t chassis_message_size(const ProtobufCMessage *message)
{
    return protobuf_c_message_get_packed_size(message);
}

void chassis_message_encode(const ProtobufCMessage *message, struct chassis_buf *out)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    chassis_buf_reserve(out, len + 1);
    size_t written = protobuf_c_message_pack(message, out->data + out->len);
    CHASSIS_ASSERT(written == len);
    out->len += len;
    out->data[out->len] = 0;
}

void chassis_encode(const void *message, struct chassis_buf *out)
{
    chassis_message_encode(message, out);
}

int chassis_decode(const void *descriptor, struct chassis_view encoded, struct chassis_arena *arena,
                   void **ret_message, struct chassis_error *err)
{
    ProtobufCMessage *message;
    int rc = chassis_message_decode(descriptor, encoded, NULL, arena, &message, err);
    if (rc == 0) {
        *ret_message = message;
    }
    return rc;
}
