/* Any text as JSON of a message: what is taken must print, and what is printed must be taken and
 * print the same. The first byte selects the type; its top bit, wire bytes instead of text. */
#include <stdlib.h>

#include <core/registry/key_value/v1/key_value.pb-c.h>
#include <google/protobuf/duration.pb-c.h>
#include <google/protobuf/field_mask.pb-c.h>
#include <google/protobuf/struct.pb-c.h>
#include <google/protobuf/timestamp.pb-c.h>

#include "proto/message.h"

static const ProtobufCMessageDescriptor *const all[] = {
    &core__registry__key_value__v1__txn_request__descriptor,
    &core__registry__key_value__v1__list_response__descriptor,
    &google__protobuf__value__descriptor,
    &google__protobuf__timestamp__descriptor,
    &google__protobuf__duration__descriptor,
    &core__registry__key_value__v1__watch_response__descriptor,
    &google__protobuf__any__descriptor,
    &google__protobuf__field_mask__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct chassis_type_registry *types;
    if (types == NULL) {
        types = chassis_type_registry_new();
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
            chassis_type_registry_add(types, all[i]);
        }
    }
    if (size == 0) {
        return 0;
    }
    const ProtobufCMessageDescriptor *type = all[data[0] % 8];
    struct chassis_view input = chassis_view(data + 1, size - 1);
    struct chassis_arena arena;
    struct chassis_buf bytes = {0}, text = {0}, again = {0}, third = {0};
    struct chassis_error err = {0};
    chassis_arena_init(&arena, NULL, 0, 1 << 20);
    if (data[0] & 0x80) {
        chassis_buf_append_view(&bytes, input);
    } else if (chassis_json_parse_bytes(type, input, types, true, &arena, &bytes, &err) != 0) {
        goto out;
    }
    if (chassis_json_print_bytes(type, chassis_buf_view(&bytes), types, &text, &err) != 0) {
        goto out; /* numbers and times out of range, or too deep on the wire */
    }
    if (chassis_json_parse_bytes(type, chassis_buf_view(&text), types, false, &arena, &again,
                                 &err) == 0) {
        if (chassis_json_print_bytes(type, chassis_buf_view(&again), types, &third, &err) != 0 ||
            !chassis_view_eq(chassis_buf_view(&text), chassis_buf_view(&third))) {
            abort();
        }
    } else if (err.code != CHASSIS_TOO_LARGE) {
        abort();
    }
out:
    chassis_arena_fini(&arena);
    chassis_buf_fini(&bytes);
    chassis_buf_fini(&text);
    chassis_buf_fini(&again);
    chassis_buf_fini(&third);
    return 0;
}
