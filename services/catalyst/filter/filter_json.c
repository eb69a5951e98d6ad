/* Filters as the Subscriptions API writes them in JSON, §3.2.4. */
#include "base/assert.h"
#include "catalyst/event/check.h"
#include "catalyst/filter/filter.h"
#include "proto/json_lex.h"

/* Lists of unknown length while they are read; the arena forgets the outgrown ones. */
struct list {
    void *items;
    size_t count, cap;
};

static void *list_add(struct lexer *l, struct list *list, size_t size, size_t max)
{
    if (list->count == list->cap) {
        size_t cap = list->cap == 0 ? 4 : 2 * list->cap;
        void *items = list->count < max ? chassis_arena_alloc(l->arena, cap * size) : NULL;
        if (items == NULL) {
            lex_fail(l, CHASSIS_TOO_LARGE, "more than %zu in one list", max);
            return NULL;
        }
        if (list->count != 0) {
            memcpy(items, list->items, list->count * size);
        }
        list->items = items;
        list->cap = cap;
    }
    return (uint8_t *)list->items + size * list->count++;
}

static int read_filter(struct lexer *l, struct cat_filter_spec *ret_spec, unsigned depth);

/* {"type": "x", …} */
static int read_pairs(struct lexer *l, struct cat_filter_spec *spec)
{
    struct list list = {0};
    int rc = lex_expect(l, '{');
    if (rc != 0 || lex_take(l, '}')) {
        return rc;
    }
    do {
        struct cat_filter_pair pair, *to;
        if ((rc = lex_string(l, &pair.attribute)) != 0 || (rc = lex_expect(l, ':')) != 0 ||
            (rc = lex_string(l, &pair.value)) != 0) {
            return rc;
        }
        to = list_add(l, &list, sizeof pair, CAT_FILTER_PAIRS_MAX);
        if (to == NULL) {
            return CHASSIS_TOO_LARGE;
        }
        *to = pair;
    } while (lex_take(l, ','));
    spec->pairs = list.items;
    spec->pair_count = list.count;
    return lex_expect(l, '}');
}

/* [filter, …] */
static int read_filters(struct lexer *l, struct cat_filter_spec *spec, unsigned depth)
{
    struct list list = {0};
    int rc = lex_expect(l, '[');
    if (rc != 0 || lex_take(l, ']')) {
        return rc;
    }
    do {
        struct cat_filter_spec child, *to;
        if ((rc = read_filter(l, &child, depth + 1)) != 0) {
            return rc;
        }
        to = list_add(l, &list, sizeof child, CAT_FILTER_COUNT_MAX);
        if (to == NULL) {
            return CHASSIS_TOO_LARGE;
        }
        *to = child;
    } while (lex_take(l, ','));
    spec->children = list.items;
    spec->child_count = list.count;
    return lex_expect(l, ']');
}

static int read_not(struct lexer *l, struct cat_filter_spec *spec, unsigned depth)
{
    struct cat_filter_spec *child = chassis_arena_alloc(l->arena, sizeof *child);
    if (child == NULL) {
        return lex_fail(l, CHASSIS_TOO_LARGE, "the filters take too much memory");
    }
    int rc = read_filter(l, child, depth + 1);
    spec->children = child;
    spec->child_count = 1;
    return rc;
}

/* {"dialect": …} */
static int read_filter(struct lexer *l, struct cat_filter_spec *ret_spec, unsigned depth)
{
    static const struct {
        const char *name;
        enum cat_dialect dialect;
    } dialects[] = {{"exact", CAT_DIALECT_EXACT},   {"prefix", CAT_DIALECT_PREFIX},
                    {"suffix", CAT_DIALECT_SUFFIX}, {"all", CAT_DIALECT_ALL},
                    {"any", CAT_DIALECT_ANY},       {"not", CAT_DIALECT_NOT},
                    {"sql", CAT_DIALECT_SQL}};
    struct chassis_view name;
    struct cat_filter_spec spec = {0};
    int rc = depth <= CAT_FILTER_DEPTH_MAX
                 ? lex_expect(l, '{')
                 : lex_fail(l, CHASSIS_TOO_LARGE, "nested deeper than %d", CAT_FILTER_DEPTH_MAX);
    if (rc != 0 || (rc = lex_string(l, &name)) != 0 || (rc = lex_expect(l, ':')) != 0) {
        return rc;
    }
    for (size_t i = 0; i < sizeof dialects / sizeof dialects[0]; i++) {
        if (chassis_view_eq(name, chassis_view_str(dialects[i].name))) {
            spec.dialect = dialects[i].dialect;
        }
    }
    switch ((int)spec.dialect) {
    case CAT_DIALECT_EXACT:
    case CAT_DIALECT_PREFIX:
    case CAT_DIALECT_SUFFIX:
        rc = read_pairs(l, &spec);
        break;
    case CAT_DIALECT_ALL:
    case CAT_DIALECT_ANY:
        rc = read_filters(l, &spec, depth);
        break;
    case CAT_DIALECT_NOT:
        rc = read_not(l, &spec, depth);
        break;
    case CAT_DIALECT_SQL:
        rc = lex_string(l, &spec.sql);
        break;
    default:
        rc = lex_fail(l, CHASSIS_INVALID_ARGUMENT,
                      "no such dialect: '%s' (there are exact, prefix, suffix, all, any, not, sql)",
                      cat_quote(name).text);
    }
    *ret_spec = spec;
    return rc != 0 ? rc : lex_expect(l, '}');
}

int cat_filter_compile_json(struct chassis_view text, struct cat_filter **ret_filter,
                            struct chassis_error *err)
{
    enum { TEXT_MAX = 1 << 20 };
    struct chassis_arena arena;
    struct cat_filter_spec spec = {0};
    if (text.len == 0 || text.len > TEXT_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "filters are 1 to %d bytes of JSON, not %zu", TEXT_MAX, text.len);
    }
    chassis_arena_init(&arena, NULL, 0, 16 * TEXT_MAX);
    struct lexer l = {text.data, text.data, text.data + text.len, &arena, err};
    bool array = lex_peek(&l) == '[';
    int rc = array ? read_filters(&l, &spec, 0) : read_filter(&l, &spec, 1);
    if (rc == 0 && lex_peek(&l) != 0) {
        rc = lex_fail(&l, CHASSIS_MALFORMED, "something follows the filters");
    }
    if (rc == 0) {
        rc = array ? cat_filter_compile_list(spec.children, spec.child_count, ret_filter, err)
                   : cat_filter_compile(&spec, ret_filter, err);
    }
    chassis_arena_fini(&arena);
    return rc;
}
