#include "proto/dynamic.h"

#include <google/protobuf/descriptor.pb-c.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "proto/schema.h"

typedef Google__Protobuf__FileDescriptorProto file_proto;
typedef Google__Protobuf__DescriptorProto message_proto;
typedef Google__Protobuf__FieldDescriptorProto field_proto;
typedef Google__Protobuf__EnumDescriptorProto enum_proto;
typedef Google__Protobuf__ServiceDescriptorProto service_proto;

enum { MEMORY_MAX = 32 << 20, NUMBER_MAX = (1 << 29) - 1 };

/* A message or enum under its full name. `message` comes first: the registry hands out its address.
 */
struct type {
    ProtobufCMessageDescriptor message;
    ProtobufCEnumDescriptor enumeration;
    const message_proto *proto; /* NULL for an enum */
    const file_proto *file;
    struct type *next;
    bool linked;
};
struct service {
    const char *name;
    const service_proto *proto;
    struct service *next;
};
struct file {
    const file_proto *proto;
    struct file *next;
};
struct chassis_dynamic {
    struct chassis_arena arena;
    struct file *files;
    struct type *types; /* newest first */
    struct service *services, **services_end;
    struct chassis_type_registry *names;    /* messages and enums: struct type */
    struct chassis_type_registry *messages; /* messages only, for Any */
};

struct chassis_dynamic *chassis_dynamic_new(void)
{
    struct chassis_dynamic *d = chassis_base_zalloc(sizeof *d);
    chassis_arena_init(&d->arena, NULL, 0, MEMORY_MAX);
    d->services_end = &d->services;
    d->names = chassis_type_registry_new();
    d->messages = chassis_type_registry_new();
    return d;
}

void chassis_dynamic_free(struct chassis_dynamic *d)
{
    if (d != NULL) {
        chassis_type_registry_free(d->names);
        chassis_type_registry_free(d->messages);
        chassis_arena_fini(&d->arena);
        free(d);
    }
}

static int full(const struct chassis_dynamic *d, struct chassis_error *err)
{
    return chassis_error_set(err, CHASSIS_TOO_LARGE, "the descriptors take more than %zu bytes",
                             d->arena.limit);
}

static int nameless(const file_proto *file, const char *what, struct chassis_error *err)
{
    return chassis_error_set(err, CHASSIS_MALFORMED, "descriptor '%s': %s without a name",
                             file->name, what);
}

/* Enter a type under scope.name. */
static int add_type(struct chassis_dynamic *d, const file_proto *file, const char *scope,
                    const char *name, struct type **ret_type, struct chassis_error *err)
{
    if (name == NULL || name[0] == '\0') {
        return nameless(file, "a type", err);
    }
    struct type *type = chassis_arena_zalloc(&d->arena, sizeof *type);
    char *full_name = type == NULL ? NULL
                                   : chassis_arena_printf(&d->arena, "%s%s%s", scope,
                                                          scope[0] != '\0' ? "." : "", name);
    if (full_name == NULL) {
        return full(d, err);
    }
    if (chassis_type_registry_find(d->names, chassis_view_str(full_name)) != NULL) {
        return chassis_error_set(err, CHASSIS_MALFORMED, "descriptor '%s' defines '%s' again",
                                 file->name, full_name);
    }
    type->file = file;
    type->message = (ProtobufCMessageDescriptor){.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
                                                 .name = full_name,
                                                 .short_name = name,
                                                 .c_name = full_name,
                                                 .package_name = scope};
    type->next = d->types;
    d->types = type;
    chassis_type_registry_add(d->names, &type->message);
    *ret_type = type;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    int x = ((const ProtobufCEnumValue *)a)->value, y = ((const ProtobufCEnumValue *)b)->value;
    return (x > y) - (x < y);
}

/* Values by number without aliases, names with them, and the ranges protobuf-c searches. */
static int fill_enum(struct chassis_dynamic *d, struct type *type, const enum_proto *proto,
                     struct chassis_error *err)
{
    size_t n = proto->n_value, unique = 0;
    ProtobufCEnumValue *values = chassis_arena_zalloc(&d->arena, (n + 1) * sizeof *values);
    ProtobufCEnumValueIndex *names = chassis_arena_zalloc(&d->arena, (n + 1) * sizeof *names);
    ProtobufCIntRange *ranges = chassis_arena_zalloc(&d->arena, (n + 1) * sizeof *ranges);
    if (values == NULL || names == NULL || ranges == NULL) {
        return full(d, err);
    }
    for (size_t i = 0; i < n; i++) {
        if (proto->value[i]->name == NULL) {
            return nameless(type->file, "an enum value", err);
        }
        values[i] = (ProtobufCEnumValue){proto->value[i]->name, proto->value[i]->name,
                                         proto->value[i]->number};
    }
    qsort(values, n, sizeof *values, by_number);
    unsigned n_ranges = 0;
    for (size_t i = 0; i < n; i++) {
        if (unique == 0 || values[i].value != values[unique - 1].value) {
            values[unique++] = values[i];
        }
    }
    for (size_t i = 0; i < unique; i++) {
        if (i == 0 || (int64_t)values[i].value != (int64_t)values[i - 1].value + 1) {
            ranges[n_ranges++] = (ProtobufCIntRange){values[i].value, (unsigned)i};
        }
    }
    ranges[n_ranges] = (ProtobufCIntRange){0, (unsigned)unique};
    for (size_t i = 0; i < n; i++) {
        const ProtobufCEnumValue key = {.value = proto->value[i]->number};
        const ProtobufCEnumValue *at = bsearch(&key, values, unique, sizeof *values, by_number);
        names[i] = (ProtobufCEnumValueIndex){proto->value[i]->name, (unsigned)(at - values)};
    }
    type->enumeration = (ProtobufCEnumDescriptor){.magic = PROTOBUF_C__ENUM_DESCRIPTOR_MAGIC,
                                                  .name = type->message.name,
                                                  .short_name = type->message.short_name,
                                                  .c_name = type->message.name,
                                                  .package_name = type->message.package_name,
                                                  .n_values = (unsigned)unique,
                                                  .values = values,
                                                  .n_value_names = (unsigned)n,
                                                  .values_by_name = names,
                                                  .n_value_ranges = n_ranges,
                                                  .value_ranges = ranges};
    type->linked = true;
    return 0;
}

static int add_enum(struct chassis_dynamic *d, const file_proto *file, const char *scope,
                    const enum_proto *proto, struct chassis_error *err)
{
    struct type *type;
    int rc = add_type(d, file, scope, proto->name, &type, err);
    return rc != 0 ? rc : fill_enum(d, type, proto, err);
}

/* Recursion is bounded by the depth the pre-scan allows. */
static int add_message(struct chassis_dynamic *d, const file_proto *file, const char *scope,
                       const message_proto *proto, struct chassis_error *err)
{
    struct type *type;
    int rc = add_type(d, file, scope, proto->name, &type, err);
    if (rc != 0) {
        return rc;
    }
    type->proto = proto;
    bool entry =
        proto->options != NULL && proto->options->has_map_entry && proto->options->map_entry;
    union {
        const void *constant;
        void *reserved; /* protobuf-c's field is not const; nobody writes through it */
    } mark = {.constant = entry ? &schema_mark_map_entry : &schema_mark_no_map_entry};
    type->message.reserved1 = mark.reserved;
    chassis_type_registry_add(d->messages, &type->message);
    for (size_t i = 0; i < proto->n_nested_type && rc == 0; i++) {
        rc = add_message(d, file, type->message.name, proto->nested_type[i], err);
    }
    for (size_t i = 0; i < proto->n_enum_type && rc == 0; i++) {
        rc = add_enum(d, file, type->message.name, proto->enum_type[i], err);
    }
    return rc;
}

static int add_service(struct chassis_dynamic *d, const file_proto *file, const char *package,
                       const service_proto *proto, struct chassis_error *err)
{
    if (proto->name == NULL) {
        return nameless(file, "a service", err);
    }
    for (size_t i = 0; i < proto->n_method; i++) {
        if (proto->method[i]->name == NULL || proto->method[i]->input_type == NULL ||
            proto->method[i]->output_type == NULL) {
            return nameless(file, "a method or its type", err);
        }
    }
    struct service *s = chassis_arena_zalloc(&d->arena, sizeof *s);
    char *name = s == NULL ? NULL
                           : chassis_arena_printf(&d->arena, "%s%s%s", package,
                                                  package[0] != '\0' ? "." : "", proto->name);
    if (name == NULL) {
        return full(d, err);
    }
    s->name = name;
    s->proto = proto;
    *d->services_end = s;
    d->services_end = &s->next;
    return 0;
}

static bool has_file(const struct chassis_dynamic *d, const char *name)
{
    for (const struct file *f = d->files; f != NULL; f = f->next) {
        if (strcmp(f->proto->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static int add_proto(struct chassis_dynamic *d, const file_proto *proto, struct chassis_error *err)
{
    if (proto->name == NULL) {
        return chassis_error_set(err, CHASSIS_MALFORMED, "a file descriptor without a name");
    }
    if (has_file(d, proto->name)) {
        return 0;
    }
    struct file *file = chassis_arena_zalloc(&d->arena, sizeof *file);
    if (file == NULL) {
        return full(d, err);
    }
    *file = (struct file){proto, d->files};
    d->files = file;
    const char *package = proto->package != NULL ? proto->package : "";
    int rc = 0;
    for (size_t i = 0; i < proto->n_message_type && rc == 0; i++) {
        rc = add_message(d, proto, package, proto->message_type[i], err);
    }
    for (size_t i = 0; i < proto->n_enum_type && rc == 0; i++) {
        rc = add_enum(d, proto, package, proto->enum_type[i], err);
    }
    for (size_t i = 0; i < proto->n_service && rc == 0; i++) {
        rc = add_service(d, proto, package, proto->service[i], err);
    }
    return rc;
}

int chassis_dynamic_add_file(struct chassis_dynamic *d, struct chassis_view bytes,
                             struct chassis_error *err)
{
    ProtobufCMessage *message;
    int rc = chassis_message_decode(&google__protobuf__file_descriptor_proto__descriptor, bytes,
                                    NULL, &d->arena, &message, err);
    return rc != 0 ? rc : add_proto(d, (const file_proto *)(const void *)message, err);
}

int chassis_dynamic_add_set(struct chassis_dynamic *d, struct chassis_view bytes,
                            struct chassis_error *err)
{
    ProtobufCMessage *message;
    int rc = chassis_message_decode(&google__protobuf__file_descriptor_set__descriptor, bytes, NULL,
                                    &d->arena, &message, err);
    if (rc != 0) {
        return rc;
    }
    const Google__Protobuf__FileDescriptorSet *set =
        (const Google__Protobuf__FileDescriptorSet *)(const void *)message;
    for (size_t i = 0; i < set->n_file && rc == 0; i++) {
        rc = add_proto(d, set->file[i], err);
    }
    return rc;
}

int chassis_dynamic_add_embedded(struct chassis_dynamic *d,
                                 const struct chassis_file_descriptor *file,
                                 struct chassis_error *err)
{
    if (has_file(d, file->name)) {
        return 0;
    }
    int rc = chassis_dynamic_add_file(d, chassis_view(file->data, file->len), err);
    for (size_t i = 0; file->imports[i] != NULL && rc == 0; i++) {
        rc = chassis_dynamic_add_embedded(d, file->imports[i], err);
    }
    return rc;
}

const char *chassis_dynamic_missing(const struct chassis_dynamic *d)
{
    for (const struct file *f = d->files; f != NULL; f = f->next) {
        for (size_t i = 0; i < f->proto->n_dependency; i++) {
            if (!has_file(d, f->proto->dependency[i])) {
                return f->proto->dependency[i];
            }
        }
    }
    return NULL;
}

static const struct type *find_type(const struct chassis_dynamic *d, const char *name)
{
    const ProtobufCMessageDescriptor *found =
        chassis_type_registry_find(d->names, chassis_view_str(name + (name[0] == '.')));
    return (const struct type *)(const void *)found;
}

/* FieldDescriptorProto.Type, in its order from 1; a group has none of protobuf-c's. */
static const int types_of_protobuf_c[] = {
    -1,
    PROTOBUF_C_TYPE_DOUBLE,
    PROTOBUF_C_TYPE_FLOAT,
    PROTOBUF_C_TYPE_INT64,
    PROTOBUF_C_TYPE_UINT64,
    PROTOBUF_C_TYPE_INT32,
    PROTOBUF_C_TYPE_FIXED64,
    PROTOBUF_C_TYPE_FIXED32,
    PROTOBUF_C_TYPE_BOOL,
    PROTOBUF_C_TYPE_STRING,
    -1,
    PROTOBUF_C_TYPE_MESSAGE,
    PROTOBUF_C_TYPE_BYTES,
    PROTOBUF_C_TYPE_UINT32,
    PROTOBUF_C_TYPE_ENUM,
    PROTOBUF_C_TYPE_SFIXED32,
    PROTOBUF_C_TYPE_SFIXED64,
    PROTOBUF_C_TYPE_SINT32,
    PROTOBUF_C_TYPE_SINT64,
};

static int resolve(const struct chassis_dynamic *d, const struct type *owner,
                   const field_proto *proto, ProtobufCFieldDescriptor *field,
                   struct chassis_error *err)
{
    bool message = field->type == PROTOBUF_C_TYPE_MESSAGE;
    if (!message && field->type != PROTOBUF_C_TYPE_ENUM) {
        return 0;
    }
    const char *name = proto->type_name != NULL ? proto->type_name : "";
    const struct type *type = find_type(d, name);
    if (type == NULL || (type->proto != NULL) != message) {
        return chassis_error_set(err, CHASSIS_NOT_FOUND, "type '%s' of field %s.%s is not known",
                                 name, owner->message.name, proto->name);
    }
    field->descriptor = message ? (const void *)&type->message : (const void *)&type->enumeration;
    return 0;
}

static void set_label(const struct type *owner, const field_proto *proto,
                      ProtobufCFieldDescriptor *field)
{
    bool proto3 = owner->file->syntax != NULL && strcmp(owner->file->syntax, "proto3") == 0;
    bool scalar = field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_BYTES &&
                  field->type != PROTOBUF_C_TYPE_MESSAGE;
    if (proto->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED) {
        bool packed = proto->options != NULL && proto->options->has_packed
                          ? proto->options->packed != 0
                          : proto3;
        field->label = PROTOBUF_C_LABEL_REPEATED;
        field->flags |= packed && scalar ? PROTOBUF_C_FIELD_FLAG_PACKED : 0;
    } else if (proto->has_oneof_index) {
        field->label = PROTOBUF_C_LABEL_NONE;
        field->flags |= PROTOBUF_C_FIELD_FLAG_ONEOF;
        field->quantifier_offset = (unsigned)proto->oneof_index;
    } else {
        field->label = proto3 ? PROTOBUF_C_LABEL_NONE : PROTOBUF_C_LABEL_OPTIONAL;
    }
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = ((const ProtobufCFieldDescriptor *)a)->id;
    uint32_t y = ((const ProtobufCFieldDescriptor *)b)->id;
    return (x > y) - (x < y);
}

static int link_message(struct chassis_dynamic *d, struct type *type, struct chassis_error *err)
{
    const message_proto *proto = type->proto;
    unsigned n = 0;
    ProtobufCFieldDescriptor *fields =
        chassis_arena_zalloc(&d->arena, (proto->n_field + 1) * sizeof *fields);
    if (fields == NULL) {
        return full(d, err);
    }
    for (size_t i = 0; i < proto->n_field; i++) {
        const field_proto *f = proto->field[i];
        bool known = f->type >= 1 && f->type < (int)(sizeof types_of_protobuf_c / sizeof(int));
        if (f->name == NULL || f->number < 1 || f->number > NUMBER_MAX || !known) {
            return chassis_error_set(err, CHASSIS_MALFORMED,
                                     "message '%s' has a field without name, number or type",
                                     type->message.name);
        }
        if (types_of_protobuf_c[f->type] < 0) {
            continue; /* a group */
        }
        ProtobufCFieldDescriptor *field = &fields[n++];
        field->name = f->name;
        field->id = (uint32_t)f->number;
        field->type = (ProtobufCType)types_of_protobuf_c[f->type];
        field->reserved2 = f->json_name;
        set_label(type, f, field);
        int rc = resolve(d, type, f, field, err);
        if (rc != 0) {
            return rc;
        }
    }
    qsort(fields, n, sizeof *fields, by_id);
    for (unsigned i = 1; i < n; i++) {
        if (fields[i].id == fields[i - 1].id) {
            return chassis_error_set(err, CHASSIS_MALFORMED, "message '%s' has two fields %u",
                                     type->message.name, fields[i].id);
        }
    }
    type->message.fields = fields;
    type->message.n_fields = n;
    type->linked = true;
    return 0;
}

int chassis_dynamic_link(struct chassis_dynamic *d, struct chassis_error *err)
{
    for (struct type *type = d->types; type != NULL; type = type->next) {
        int rc = type->linked ? 0 : link_message(d, type, err);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static const struct service *service_at(const struct chassis_dynamic *d, size_t n)
{
    const struct service *s = d->services;
    while (s != NULL && n-- > 0) {
        s = s->next;
    }
    return s;
}

const char *chassis_dynamic_service_name(const struct chassis_dynamic *d, size_t n)
{
    const struct service *s = service_at(d, n);
    return s != NULL ? s->name : NULL;
}

const char *chassis_dynamic_method_name(const struct chassis_dynamic *d, size_t n, size_t m)
{
    const struct service *s = service_at(d, n);
    return s != NULL && m < s->proto->n_method ? s->proto->method[m]->name : NULL;
}

static int no_such_service(const struct chassis_dynamic *d, const char *name,
                           struct chassis_error *err)
{
    char list[300] = "";
    size_t len = 0;
    for (const struct service *s = d->services; s != NULL && len < sizeof list; s = s->next) {
        len +=
            (size_t)snprintf(list + len, sizeof list - len, "%s%s", len != 0 ? ", " : "", s->name);
    }
    return chassis_error_set(err, CHASSIS_NOT_FOUND, "no service '%s' (there is: %s)", name, list);
}

static int no_such_method(const struct service *s, const char *name, struct chassis_error *err)
{
    char list[300] = "";
    size_t len = 0;
    for (size_t i = 0; i < s->proto->n_method && len < sizeof list; i++) {
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", len != 0 ? ", " : "",
                                s->proto->method[i]->name);
    }
    return chassis_error_set(err, CHASSIS_NOT_FOUND, "%s has no method '%s' (it has: %s)", s->name,
                             name, list);
}

int chassis_dynamic_method(const struct chassis_dynamic *d, const char *service, const char *method,
                           struct chassis_dynamic_method *ret_method, struct chassis_error *err)
{
    const struct service *s = d->services;
    while (s != NULL && strcmp(s->name, service) != 0) {
        s = s->next;
    }
    if (s == NULL) {
        return no_such_service(d, service, err);
    }
    for (size_t i = 0; i < s->proto->n_method; i++) {
        const Google__Protobuf__MethodDescriptorProto *m = s->proto->method[i];
        if (strcmp(m->name, method) != 0) {
            continue;
        }
        const struct type *request = find_type(d, m->input_type);
        const struct type *response = find_type(d, m->output_type);
        if (request == NULL || request->proto == NULL || !request->linked || response == NULL ||
            response->proto == NULL || !response->linked) {
            return chassis_error_set(err, CHASSIS_NOT_FOUND, "the types of %s/%s are not known",
                                     s->name, m->name);
        }
        bool in = m->has_client_streaming && m->client_streaming;
        bool out = m->has_server_streaming && m->server_streaming;
        *ret_method = (struct chassis_dynamic_method){
            .name = m->name,
            .kind = in ? (out ? CHASSIS_BIDI_STREAM : CHASSIS_CLIENT_STREAM)
                       : (out ? CHASSIS_SERVER_STREAM : CHASSIS_UNARY),
            .request = &request->message,
            .response = &response->message};
        snprintf(ret_method->path, sizeof ret_method->path, "/%s/%s", s->name, m->name);
        return 0;
    }
    return no_such_method(s, method, err);
}

const ProtobufCMessageDescriptor *chassis_dynamic_message(const struct chassis_dynamic *d,
                                                          struct chassis_view name)
{
    return chassis_type_registry_find(d->messages, name);
}

const struct chassis_type_registry *chassis_dynamic_types(const struct chassis_dynamic *d)
{
    return d->messages;
}
