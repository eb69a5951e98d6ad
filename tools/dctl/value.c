/* Values as people write and read them: see value.h. */
#include <string.h>
#include <time.h>

#include <google/protobuf/duration.pb-c.h>
#include <google/protobuf/empty.pb-c.h>
#include <google/protobuf/struct.pb-c.h>
#include <google/protobuf/wrappers.pb-c.h>

#include "core/control_plane/networking/v1/networking.pb-c.h"
#include "core/registry/key_value/v1/key_value.pb-c.h"
#include "core/registry/service_discovery/v1/service_discovery.pb-c.h"
#include "draft/routing/v1/routing.pb-c.h"
#include "examples/crud/v1/crud.pb-c.h"
#include "value.h"

static const char prefix[] = "type.googleapis.com/";
static const char plain[] = "core.registry.key_value.v1.Value";

static int read_stream(FILE *f, struct chassis_buf *out)
{
    for (;;) {
        chassis_buf_reserve(out, 65536);
        size_t n = fread(out->data + out->len, 1, 65535, f);
        out->len += n;
        if (out->len > DCTL_INPUT_MAX) {
            return CHASSIS_TOO_LARGE;
        }
        if (n == 0) {
            return ferror(f) ? CHASSIS_UNKNOWN : 0;
        }
    }
}

int dctl_read_input(struct dctl *d, const char *argument, struct chassis_view *ret_bytes,
                    struct chassis_error *err)
{
    bool standard = strcmp(argument, "-") == 0;
    if (!standard && argument[0] != '@') {
        *ret_bytes = chassis_view_str(argument);
        return 0;
    }
    FILE *f = standard ? stdin : fopen(argument + 1, "re");
    if (f == NULL) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "cannot open '%s'", argument + 1);
    }
    struct chassis_buf bytes = {0};
    int rc = read_stream(f, &bytes);
    if (!standard) {
        fclose(f);
    }
    if (rc == 0) {
        *ret_bytes = chassis_arena_copy(&d->arena, chassis_buf_view(&bytes));
    } else {
        chassis_error_set(err, rc, "read '%s': %s", standard ? "standard input" : argument + 1,
                          rc == CHASSIS_TOO_LARGE ? "more than 64 MiB" : "the file cannot be read");
    }
    chassis_buf_fini(&bytes);
    return rc;
}

const struct chassis_type_registry *dctl_types(void)
{
    static const ProtobufCMessageDescriptor *const known[] = {
        &core__registry__key_value__v1__value__descriptor,
        &core__registry__key_value__v1__id__descriptor,
        &core__registry__service_discovery__v1__process__descriptor,
        &core__control_plane__networking__v1__route__descriptor,
        &draft__routing__v1__route_version__descriptor,
        &draft__routing__v1__quarantine__descriptor,
        &examples__crud__v1__name__descriptor,
        &google__protobuf__any__descriptor,
        &google__protobuf__struct__descriptor,
        &google__protobuf__value__descriptor,
        &google__protobuf__list_value__descriptor,
        &google__protobuf__timestamp__descriptor,
        &google__protobuf__duration__descriptor,
        &google__protobuf__empty__descriptor,
        &google__protobuf__string_value__descriptor,
        &google__protobuf__bytes_value__descriptor,
        &google__protobuf__bool_value__descriptor,
        &google__protobuf__int32_value__descriptor,
        &google__protobuf__int64_value__descriptor,
        &google__protobuf__uint32_value__descriptor,
        &google__protobuf__uint64_value__descriptor,
        &google__protobuf__float_value__descriptor,
        &google__protobuf__double_value__descriptor,
    };
    static struct chassis_type_registry *types;
    if (types == NULL) {
        types = chassis_type_registry_new();
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            chassis_type_registry_add(types, known[i]);
        }
    }
    return types;
}

const char *dctl_type_name(const char *type_url)
{
    const char *slash = strrchr(type_url, '/');
    return slash != NULL ? slash + 1 : type_url;
}

static Google__Protobuf__Any *any_new(struct dctl *d, const char *type)
{
    Google__Protobuf__Any *any = chassis_arena_alloc(&d->arena, sizeof *any);
    google__protobuf__any__init(any);
    any->type_url = strchr(type, '/') != NULL
                        ? chassis_arena_strdup(&d->arena, type)
                        : chassis_arena_printf(&d->arena, "%s%s", prefix, type);
    return any;
}

static const char *type_option(const struct dctl *d)
{
    const char *type = dctl_string(d, "type");
    return type != NULL ? type : plain;
}

int dctl_kind(struct dctl *d, Google__Protobuf__Any **ret_kind, struct chassis_error *err)
{
    const char *type = type_option(d);
    if (dctl_type_name(type)[0] == '\0') {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "'%s' names no message type", type);
    }
    *ret_kind = any_new(d, type);
    return 0;
}

static void pack(struct dctl *d, const ProtobufCMessage *message, Google__Protobuf__Any *any)
{
    struct chassis_buf bytes = {0};
    chassis_message_encode(message, &bytes);
    struct chassis_view copy = chassis_arena_copy(&d->arena, chassis_buf_view(&bytes));
    any->value.len = copy.len;
    any->value.data = (uint8_t *)(uintptr_t)copy.data;
    chassis_buf_fini(&bytes);
}

static int parse_plain(struct dctl *d, struct chassis_view text, Google__Protobuf__Any *any,
                       struct chassis_error *err)
{
    Core__Registry__KeyValue__V1__Value value = CORE__REGISTRY__KEY_VALUE__V1__VALUE__INIT;
    if (text.len != 0 && memchr(text.data, 0, text.len) != NULL) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "the value holds a zero byte: text is expected; for bytes use "
                                 "--type google.protobuf.BytesValue and base64 in quotes");
    }
    value.data = chassis_arena_strndup(&d->arena, text.data, text.len);
    pack(d, &value.base, any);
    return 0;
}

int dctl_value_parse(struct dctl *d, struct chassis_view text, Google__Protobuf__Any **ret_any,
                     struct chassis_error *err)
{
    const char *name = dctl_type_name(type_option(d));
    Google__Protobuf__Any *any;
    int rc = dctl_kind(d, &any, err);
    if (rc != 0) {
        return rc;
    }
    if (strcmp(name, plain) == 0) {
        rc = parse_plain(d, text, any, err);
    } else {
        const ProtobufCMessageDescriptor *type =
            chassis_type_registry_find(dctl_types(), chassis_view_str(name));
        ProtobufCMessage *message;
        if (type == NULL) {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                     "--type '%s' is not known to dctl: use dctl call %s", name,
                                     "core.registry.key_value.v1.KeyValueService/Set");
        }
        rc = chassis_json_parse(type, text, dctl_types(), false, &d->arena, &message, err);
        if (rc == 0) {
            pack(d, message, any);
        }
    }
    if (rc == 0) {
        *ret_any = any;
    }
    return rc;
}

/* The message inside; NULL when its type is not known or its bytes are not of that type. */
static const ProtobufCMessage *unpack(struct dctl *d, const Google__Protobuf__Any *any)
{
    ProtobufCMessage *message = NULL;
    const ProtobufCMessageDescriptor *type =
        chassis_type_registry_find(dctl_types(), chassis_view_str(dctl_type_name(any->type_url)));
    if (type == NULL || chassis_message_decode(type, chassis_view(any->value.data, any->value.len),
                                               NULL, &d->arena, &message, NULL) != 0) {
        return NULL;
    }
    return message;
}

void dctl_add_any(struct dctl *d, struct dctl_node *parent, const char *key,
                  const Google__Protobuf__Any *any)
{
    if (any == NULL) {
        dctl_add_text(&d->arena, parent, key, NULL);
        return;
    }
    const ProtobufCMessage *message = unpack(d, any);
    if (message != NULL &&
        message->descriptor == &core__registry__key_value__v1__value__descriptor) {
        const void *value = message;
        dctl_add_text(&d->arena, parent, key,
                      ((const Core__Registry__KeyValue__V1__Value *)value)->data);
        return;
    }
    struct chassis_buf json = {0};
    struct dctl_node *tree;
    const ProtobufCMessage *shown = message != NULL ? message : &any->base;
    struct chassis_error err = {0};
    int rc = chassis_json_print(shown, dctl_types(), &json, &err);
    if (rc == 0) {
        rc = dctl_json_parse(&d->arena, chassis_buf_view(&json), &tree, &err);
    }
    chassis_buf_fini(&json);
    if (rc == 0) {
        dctl_add(parent, key, tree);
    } else {
        dctl_add_text(
            &d->arena, parent, key,
            chassis_arena_printf(&d->arena, "(cannot be shown: %s)", chassis_error_text(&err)));
    }
}

void dctl_add_time(struct dctl *d, struct dctl_node *parent, const char *key,
                   const Google__Protobuf__Timestamp *time)
{
    char text[48];
    struct tm tm;
    time_t seconds = time != NULL ? (time_t)time->seconds : 0;
    if (time == NULL || gmtime_r(&seconds, &tm) == NULL) {
        dctl_add_text(&d->arena, parent, key, NULL);
        return;
    }
    size_t n = strftime(text, sizeof text - 8, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof text - n, ".%03dZ", (int)(time->nanos / 1000000) % 1000);
    dctl_add_text(&d->arena, parent, key, text);
}

void dctl_add_time_ns(struct chassis_arena *a, struct dctl_node *map, const char *key,
                      uint64_t time_ns)
{
    char text[48];
    struct tm tm;
    time_t seconds = (time_t)(time_ns / 1000000000);
    if (time_ns == 0 || gmtime_r(&seconds, &tm) == NULL) {
        dctl_add_text(a, map, key, NULL);
        return;
    }
    size_t n = strftime(text, sizeof text - 8, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof text - n, ".%03uZ", (unsigned)(time_ns / 1000000 % 1000));
    dctl_add_text(a, map, key, text);
}
