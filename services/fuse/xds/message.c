#include "fuse/xds/message.h"

#include "base/assert.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

#include <chassis/message.h>

void *fuse_message_new(struct chassis_arena *arena, const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *message = chassis_arena_alloc(arena, type->sizeof_message);
    CHASSIS_ASSERT(message != NULL);
    type->message_init(message);
    return message;
}

void *fuse_message_list(struct chassis_arena *arena, const void *element)
{
    void **list = chassis_arena_alloc(arena, sizeof *list);
    CHASSIS_ASSERT(list != NULL);
    *list = (void *)(uintptr_t)element;
    return list;
}

Google__Protobuf__Any *fuse_message_any(struct chassis_arena *arena,
                                        const ProtobufCMessage *message)
{
    Google__Protobuf__Any *any = fuse_message_new(arena, &google__protobuf__any__descriptor);
    struct chassis_buf encoded = {0};
    chassis_encode(message, &encoded);
    struct chassis_view copy = chassis_arena_copy(arena, chassis_buf_view(&encoded));
    chassis_buf_fini(&encoded);
    any->type_url =
        chassis_arena_printf(arena, "type.googleapis.com/%s", message->descriptor->name);
    any->value.data = (uint8_t *)(uintptr_t)copy.data;
    any->value.len = copy.len;
    return any;
}

Google__Protobuf__Duration *fuse_message_ms(struct chassis_arena *arena, uint64_t ms)
{
    Google__Protobuf__Duration *duration =
        fuse_message_new(arena, &google__protobuf__duration__descriptor);
    duration->seconds = (int64_t)(ms / 1000);
    duration->nanos = (int32_t)(ms % 1000) * 1000000;
    return duration;
}

Google__Protobuf__UInt32Value *fuse_message_u32(struct chassis_arena *arena, uint32_t value)
{
    Google__Protobuf__UInt32Value *message =
        fuse_message_new(arena, &google__protobuf__uint32_value__descriptor);
    message->value = value;
    return message;
}

Google__Protobuf__BoolValue *fuse_message_true(struct chassis_arena *arena)
{
    Google__Protobuf__BoolValue *message =
        fuse_message_new(arena, &google__protobuf__bool_value__descriptor);
    message->value = true;
    return message;
}

CORE(ConfigSource) * fuse_message_ads(struct chassis_arena *arena)
{
    CORE(ConfigSource) *source =
        fuse_message_new(arena, &envoy__config__core__v3__config_source__descriptor);
    source->config_source_specifier_case =
        ENVOY__CONFIG__CORE__V3__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_ADS;
    source->ads =
        fuse_message_new(arena, &envoy__config__core__v3__aggregated_config_source__descriptor);
    source->resource_api_version = ENVOY__CONFIG__CORE__V3__API_VERSION__V3;
    return source;
}

CORE(Address) * fuse_message_address(struct chassis_arena *arena, const char *host, uint16_t port)
{
    CORE(SocketAddress) *socket =
        fuse_message_new(arena, &envoy__config__core__v3__socket_address__descriptor);
    socket->address = fuse_message_text(host);
    socket->port_specifier_case =
        ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE;
    socket->port_value = port;
    CORE(Address) *address = fuse_message_new(arena, &envoy__config__core__v3__address__descriptor);
    address->address_case = ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS;
    address->socket_address = socket;
    return address;
}
