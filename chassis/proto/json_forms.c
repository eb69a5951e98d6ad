/* The JSON forms of google.protobuf's own types, as the protobuf language guide gives them. */
#include "base/assert.h"
#include "base/bytes.h"
#include "proto/json_parse.h"
#include "proto/text.h"
#include "proto/wire.h"

/* Where a member of the object ahead begins, without consuming anything; NULL if it is not there. */
static int find_member(struct parser *p, const char *name, unsigned depth,
                       const uint8_t **ret_value)
{
    struct lexer *l = &p->l;
    const uint8_t *before = l->p;
    struct chassis_view key;
    *ret_value = NULL;
    int rc = lex_expect(l, '{');
    if (rc == 0 && !lex_take(l, '}')) {
        do {
            if ((rc = lex_string(l, &key)) != 0 || (rc = lex_expect(l, ':')) != 0) {
                return rc;
            }
            if (chassis_view_eq(key, chassis_view_str(name))) {
                *ret_value = l->p;
                break;
            }
            if ((rc = lex_skip(l, depth)) != 0) {
                return rc;
            }
        } while (lex_take(l, ','));
    }
    l->p = before;
    return rc;
}

/* The value of an Any that stands under "value": special forms, and base64 of unknown types. */
static int parse_any_value(struct parser *p, const ProtobufCMessageDescriptor *type,
                           struct chassis_view url, unsigned depth)
{
    const uint8_t *value;
    int rc = find_member(p, "value", depth, &value);
    if (rc != 0) {
        return rc;
    }
    if (value == NULL) {
        return lex_fail(&p->l, type == NULL ? CHASSIS_NOT_FOUND : CHASSIS_MALFORMED,
                        type == NULL ? "type '%.*s' is not known here; give its \"value\" as base64"
                                     : "an Any of '%.*s' needs a \"value\"",
                        CHASSIS_VIEW_ARG(url));
    }
    const uint8_t *before = p->l.p;
    p->l.p = value;
    if (type != NULL) {
        rc = parse_message(p, type, depth + 1);
    } else {
        static const ProtobufCFieldDescriptor bytes = {.name = "value",
                                                       .type = PROTOBUF_C_TYPE_BYTES};
        struct chassis_view data = {0};
        rc = parse_base64(p, &bytes, &data);
        chassis_buf_append_view(p->out, rc == 0 ? data : (struct chassis_view){0});
    }
    if (rc == 0) {
        p->l.p = before;
        rc = lex_skip(&p->l, depth); /* the whole object, now that its value is taken */
    }
    return rc;
}

static int parse_any(struct parser *p, unsigned depth)
{
    const uint8_t *at, *before;
    struct chassis_view url, name;
    int rc = find_member(p, "@type", depth, &at);
    if (rc != 0) {
        return rc;
    }
    if (at == NULL) {
        lex_expect(&p->l, '{');
        return lex_take(&p->l, '}')
                   ? 0
                   : lex_fail(&p->l, CHASSIS_MALFORMED, "an Any needs an \"@type\"");
    }
    before = p->l.p;
    p->l.p = at;
    rc = lex_string(&p->l, &url);
    if (rc != 0) {
        return rc;
    }
    p->l.p = before;
    name = url;
    for (size_t i = 0; i < url.len; i++) {
        if (url.data[i] == '/') {
            name = chassis_view(url.data + i + 1, url.len - i - 1);
        }
    }
    const ProtobufCMessageDescriptor *type = chassis_type_registry_find(p->types, name);
    wire_append_tag(p->out, 1, WIRE_BYTES);
    chassis_buf_append_block(p->out, url);
    wire_append_tag(p->out, 2, WIRE_BYTES);
    size_t begin = parse_block_begin(p->out);
    rc = type != NULL && schema_form(type) == FORM_PLAIN ? parse_object(p, type, true, depth + 1)
                                                         : parse_any_value(p, type, url, depth);
    parse_block_end(p->out, begin);
    return rc;
}

static void append_i64_field(struct parser *p, uint32_t number, int64_t value)
{
    if (value != 0) {
        wire_append_tag(p->out, number, WIRE_VARINT);
        chassis_buf_append_varint(p->out, (uint64_t)value);
    }
}

static int parse_time(struct parser *p, const ProtobufCMessageDescriptor *type, bool duration)
{
    struct chassis_view text;
    int64_t seconds = 0;
    int32_t nanos = 0;
    int rc = lex_string(&p->l, &text);
    if (rc != 0) {
        return rc;
    }
    if (!(duration ? text_parse_duration : text_parse_timestamp)(text, &seconds, &nanos)) {
        return lex_fail(&p->l, CHASSIS_MALFORMED, "'%.*s' is not a %s (%s)", CHASSIS_VIEW_ARG(text),
                        type->name,
                        duration ? "such as \"1.5s\"" : "such as \"2024-05-06T07:08:09Z\"");
    }
    append_i64_field(p, 1, seconds);
    append_i64_field(p, 2, nanos);
    return 0;
}

/* "a.bC,d" → the paths a.b_c and d. */
static int parse_field_mask(struct parser *p)
{
    struct chassis_view text;
    int rc = lex_string(&p->l, &text);
    for (size_t from = 0, to; rc == 0 && from < text.len; from = to + 1) {
        wire_append_tag(p->out, 1, WIRE_BYTES);
        size_t begin = parse_block_begin(p->out);
        for (to = from; to < text.len && text.data[to] != ','; to++) {
            uint8_t c = text.data[to];
            bool upper = c >= 'A' && c <= 'Z';
            if (!upper && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '.') {
                return lex_fail(&p->l, CHASSIS_MALFORMED,
                                "a field mask takes lowerCamelCase paths by comma");
            }
            if (upper) {
                chassis_buf_append_byte(p->out, '_');
                c = (uint8_t)(c - 'A' + 'a');
            }
            chassis_buf_append_byte(p->out, c);
        }
        if (to == from || to + 1 == text.len) {
            return lex_fail(&p->l, CHASSIS_MALFORMED, "an empty path in a field mask");
        }
        parse_block_end(p->out, begin);
    }
    return rc;
}

/* google.protobuf.Value: the kind of JSON value says which member. */
static int parse_value(struct parser *p, const ProtobufCMessageDescriptor *type, unsigned depth)
{
    static const struct {
        char first;
        unsigned index; /* of the member in the type: null, number, string, bool, struct, list */
    } rows[] = {{'n', 0}, {'-', 1}, {'"', 2}, {'t', 3}, {'f', 3}, {'{', 4}, {'[', 5}};
    char c = lex_peek(&p->l);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].first == c) {
            return parse_one(p, &type->fields[rows[i].index], true, depth);
        }
    }
    return lex_fail(&p->l, CHASSIS_MALFORMED, "a value is expected");
}

int parse_form(struct parser *p, const ProtobufCMessageDescriptor *type, enum schema_form form,
               unsigned depth)
{
    switch (form) {
    case FORM_ANY:
        return parse_any(p, depth);
    case FORM_TIMESTAMP:
        return parse_time(p, type, false);
    case FORM_DURATION:
        return parse_time(p, type, true);
    case FORM_WRAPPER:
        return parse_one(p, &type->fields[0], false, depth);
    case FORM_STRUCT:
        return parse_map(p, &type->fields[0],
                         (const ProtobufCMessageDescriptor *)type->fields[0].descriptor, depth);
    case FORM_LIST:
        return parse_array(p, &type->fields[0], depth);
    case FORM_VALUE:
        return parse_value(p, type, depth);
    case FORM_FIELD_MASK:
        return parse_field_mask(p);
    case FORM_PLAIN:
        break;
    }
    CHASSIS_PANIC("%s has no form of its own", type->name);
}
