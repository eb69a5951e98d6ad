/* Any bytes as a message: what the pre-scan lets through must decode (or reach the limit of memory)
 * and survive encoding and decoding again. The first byte selects the type. */
#include <stdlib.h>

#include <core/registry/key_value/v1/key_value.pb-c.h>
#include <google/protobuf/descriptor.pb-c.h>
#include <google/protobuf/struct.pb-c.h>

#include "proto/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &core__registry__key_value__v1__txn_request__descriptor,
        &core__registry__key_value__v1__list_response__descriptor,
        &google__protobuf__struct__descriptor,
        &google__protobuf__file_descriptor_proto__descriptor,
    };
    if (size == 0) {
        return 0;
    }
    const ProtobufCMessageDescriptor *type = types[data[0] % 4];
    struct chassis_arena arena;
    struct chassis_error err = {0};
    ProtobufCMessage *message = NULL;
    chassis_arena_init(&arena, NULL, 0, 1 << 20);
    struct chassis_view bytes = chassis_view(data + 1, size - 1);
    int scanned = chassis_message_scan(type, bytes, NULL, NULL);
    int decoded = chassis_message_decode(type, bytes, NULL, &arena, &message, &err);
    if (scanned != 0 && decoded == 0) {
        abort();
    }
    if (decoded == 0) {
        struct chassis_buf again = {0};
        struct chassis_arena second;
        chassis_message_encode(message, &again);
        chassis_arena_init(&second, NULL, 0, 4 << 20);
        if (chassis_message_decode(type, chassis_buf_view(&again), NULL, &second, &message, &err) !=
            0) {
            abort();
        }
        chassis_arena_fini(&second);
        chassis_buf_fini(&again);
    }
    chassis_arena_fini(&arena);
    return 0;
}
