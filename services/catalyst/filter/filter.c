/* The dialects. A compiled filter is a tree as the description was, its texts in one block. */
#include "catalyst/filter/filter.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/utf8.h"
#include "catalyst/event/check.h"
#include "catalyst/filter/scratch.h"
#include "catalyst/filter/sql_node.h"

struct cat_filter {
    enum cat_dialect dialect;
    struct cat_filter_pair *pairs;
    struct cat_filter *children;
    size_t pair_count, child_count;
    struct cat_sql *sql;
    uint8_t *text; /* of the pairs */
};

static const char *dialect_name(enum cat_dialect dialect)
{
    static const char *const names[] = {
        [CAT_DIALECT_EXACT] = "exact",   [CAT_DIALECT_PREFIX] = "prefix",
        [CAT_DIALECT_SUFFIX] = "suffix", [CAT_DIALECT_ALL] = "all",
        [CAT_DIALECT_ANY] = "any",       [CAT_DIALECT_NOT] = "not",
        [CAT_DIALECT_SQL] = "sql"};
    return (unsigned)dialect < sizeof names / sizeof names[0] ? names[dialect] : NULL;
}

/* What of the limits is used up by one description. */
struct compiler {
    size_t filters, pairs;
    unsigned depth;
    struct chassis_error *err;
};

static void fini(struct cat_filter *filter)
{
    for (size_t i = 0; i < filter->child_count; i++) {
        fini(&filter->children[i]);
    }
    free(filter->children);
    free(filter->pairs);
    free(filter->text);
    cat_sql_free(filter->sql);
}

void cat_filter_free(struct cat_filter *filter)
{
    if (filter != NULL) {
        fini(filter);
        free(filter);
    }
}

static int check_pair(const struct cat_filter_pair *pair, struct chassis_error *err)
{
    if (pair->attribute.len == 0 || pair->value.len == 0) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "attribute '%s': name and value may not be empty",
                                 cat_quote(pair->attribute).text);
    }
    if (pair->attribute.len > CAT_EVENT_ATTRIBUTE_NAME_MAX ||
        pair->value.len > CAT_FILTER_TEXT_MAX) {
        return chassis_error_set(
            err, CHASSIS_TOO_LARGE, "attribute '%s': the name may have %d bytes, the value %d",
            cat_quote(pair->attribute).text, CAT_EVENT_ATTRIBUTE_NAME_MAX, CAT_FILTER_TEXT_MAX);
    }
    for (size_t i = 0; i < pair->attribute.len; i++) {
        uint8_t c = pair->attribute.data[i];
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9')) {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                     "attribute '%s': a name holds a-z and 0-9 only",
                                     cat_quote(pair->attribute).text);
        }
    }
    if (!chassis_utf8_valid(pair->value)) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "attribute '%s': the value is not valid UTF-8",
                                 cat_quote(pair->attribute).text);
    }
    return 0;
}

static int compile_pairs(struct compiler *c, const struct cat_filter_spec *spec,
                         struct cat_filter *filter)
{
    size_t len = 0;
    if (spec->pair_count == 0) {
        return chassis_error_set(c->err, CHASSIS_INVALID_ARGUMENT, "no attribute is given");
    }
    if (spec->pair_count > CAT_FILTER_PAIRS_MAX - c->pairs) {
        return chassis_error_set(c->err, CHASSIS_TOO_LARGE,
                                 "more than %d attributes in one description",
                                 CAT_FILTER_PAIRS_MAX);
    }
    c->pairs += spec->pair_count;
    for (size_t i = 0; i < spec->pair_count; i++) {
        int rc = check_pair(&spec->pairs[i], c->err);
        if (rc != 0) {
            return rc;
        }
        len += spec->pairs[i].attribute.len + spec->pairs[i].value.len;
    }
    filter->pairs = chassis_base_alloc(spec->pair_count * sizeof *filter->pairs);
    filter->pair_count = spec->pair_count;
    uint8_t *to = filter->text = chassis_base_alloc(len);
    for (size_t i = 0; i < spec->pair_count; i++) {
        const struct chassis_view from[2] = {spec->pairs[i].attribute, spec->pairs[i].value};
        struct chassis_view *into[2] = {&filter->pairs[i].attribute, &filter->pairs[i].value};
        for (int k = 0; k < 2; k++) {
            memcpy(to, from[k].data, from[k].len);
            *into[k] = chassis_view(to, from[k].len);
            to += from[k].len;
        }
    }
    return 0;
}

static int compile(struct compiler *c, const struct cat_filter_spec *spec,
                   struct cat_filter *filter);

static int compile_children(struct compiler *c, const struct cat_filter_spec *spec,
                            struct cat_filter *filter)
{
    bool one = spec->dialect == CAT_DIALECT_NOT;
    if (spec->child_count == 0 || (one && spec->child_count != 1)) {
        return chassis_error_set(c->err, CHASSIS_INVALID_ARGUMENT, "%s filter must be inside",
                                 one ? "exactly one" : "at least one");
    }
    if (spec->child_count > CAT_FILTER_COUNT_MAX - c->filters) {
        return chassis_error_set(c->err, CHASSIS_TOO_LARGE, "more than %d filters",
                                 CAT_FILTER_COUNT_MAX);
    }
    filter->children = chassis_base_zalloc(spec->child_count * sizeof *filter->children);
    filter->child_count = spec->child_count;
    for (size_t i = 0; i < spec->child_count; i++) {
        int rc = compile(c, &spec->children[i], &filter->children[i]);
        if (rc != 0) {
            if (c->err != NULL) {
                chassis_error_wrap(c->err, "[%zu]", i);
            }
            return rc;
        }
    }
    return 0;
}

static int compile_sql(struct compiler *c, const struct cat_filter_spec *spec,
                       struct cat_filter *filter)
{
    int rc = cat_sql_compile(spec->sql, &filter->sql, c->err);
    const char *missing = rc == 0 ? cat_sql_missing_function(filter->sql) : NULL;
    if (missing != NULL) {
        return chassis_error_set(c->err, CHASSIS_INVALID_ARGUMENT,
                                 "MissingFunctionError: no function '%s' takes so many arguments",
                                 cat_quote(chassis_view_str(missing)).text);
    }
    return rc;
}

/* `filter` is zeroed; after a failure it still wants fini. */
static int compile(struct compiler *c, const struct cat_filter_spec *spec,
                   struct cat_filter *filter)
{
    int rc = 0;
    if (c->depth == CAT_FILTER_DEPTH_MAX || c->filters == CAT_FILTER_COUNT_MAX) {
        return chassis_error_set(c->err, CHASSIS_TOO_LARGE,
                                 "filters are nested deeper than %d or more than %d",
                                 CAT_FILTER_DEPTH_MAX, CAT_FILTER_COUNT_MAX);
    }
    filter->dialect = spec->dialect;
    c->filters++;
    c->depth++;
    switch (spec->dialect) {
    case CAT_DIALECT_EXACT:
    case CAT_DIALECT_PREFIX:
    case CAT_DIALECT_SUFFIX:
        rc = compile_pairs(c, spec, filter);
        break;
    case CAT_DIALECT_ALL:
    case CAT_DIALECT_ANY:
    case CAT_DIALECT_NOT:
        rc = compile_children(c, spec, filter);
        break;
    case CAT_DIALECT_SQL:
        rc = compile_sql(c, spec, filter);
        break;
    default:
        rc = chassis_error_set(c->err, CHASSIS_INVALID_ARGUMENT, "no such dialect: %d",
                               (int)spec->dialect);
    }
    c->depth--;
    if (rc != 0 && c->err != NULL && dialect_name(spec->dialect) != NULL) {
        chassis_error_wrap(c->err, "filter %s", dialect_name(spec->dialect));
    }
    return rc;
}

int cat_filter_compile(const struct cat_filter_spec *spec, struct cat_filter **ret_filter,
                       struct chassis_error *err)
{
    struct compiler c = {.err = err};
    struct cat_filter *filter = chassis_base_zalloc(sizeof *filter);
    int rc = compile(&c, spec, filter);
    if (rc != 0) {
        cat_filter_free(filter);
        return rc;
    }
    *ret_filter = filter;
    return 0;
}

int cat_filter_compile_list(const struct cat_filter_spec *specs, size_t count,
                            struct cat_filter **ret_filter, struct chassis_error *err)
{
    if (count == 0) {
        *ret_filter = NULL;
        return 0;
    }
    if (count == 1) {
        return cat_filter_compile(specs, ret_filter, err);
    }
    struct cat_filter_spec all = {
        .dialect = CAT_DIALECT_ALL, .children = specs, .child_count = count};
    return cat_filter_compile(&all, ret_filter, err);
}

static bool compare(enum cat_dialect dialect, struct chassis_view text, struct chassis_view value)
{
    if (dialect == CAT_DIALECT_EXACT) {
        return chassis_view_eq(text, value);
    }
    if (text.len < value.len) {
        return false;
    }
    const uint8_t *at = text.data + (dialect == CAT_DIALECT_SUFFIX ? text.len - value.len : 0);
    return memcmp(at, value.data, value.len) == 0;
}

/* Values that are not text are compared by their canonical text. */
static bool pair_matches(enum cat_dialect dialect, const struct cat_filter_pair *pair,
                         const struct cat_event *event, struct cat_filter_scratch *scratch)
{
    struct cat_value value;
    struct chassis_view text;
    if (!cat_event_attribute(event, pair->attribute, &value)) {
        return false;
    }
    scratch_reset(scratch);
    return scratch_text(scratch, &value, &text) && compare(dialect, text, pair->value);
}

static bool matches(const struct cat_filter *filter, const struct cat_event *event,
                    struct cat_filter_scratch *scratch)
{
    struct cat_sql_value value;
    switch (filter->dialect) {
    case CAT_DIALECT_EXACT:
    case CAT_DIALECT_PREFIX:
    case CAT_DIALECT_SUFFIX:
        for (size_t i = 0; i < filter->pair_count; i++) {
            if (!pair_matches(filter->dialect, &filter->pairs[i], event, scratch)) {
                return false;
            }
        }
        return true;
    case CAT_DIALECT_ALL:
    case CAT_DIALECT_ANY:
        for (size_t i = 0; i < filter->child_count; i++) {
            bool match = matches(&filter->children[i], event, scratch);
            if (match == (filter->dialect == CAT_DIALECT_ANY)) {
                return match;
            }
        }
        return filter->dialect == CAT_DIALECT_ALL;
    case CAT_DIALECT_NOT:
        return !matches(&filter->children[0], event, scratch);
    case CAT_DIALECT_SQL:
        return sql_evaluate_within(filter->sql, event, scratch, &value) == CAT_SQL_OK &&
               value.type == CAT_SQL_BOOLEAN && value.boolean;
    }
    return false;
}

bool cat_filter_matches(const struct cat_filter *filter, const struct cat_event *event,
                        struct cat_filter_scratch *scratch)
{
    scratch->work = CAT_SQL_WORK_MAX;
    return filter == NULL || matches(filter, event, scratch);
}
