/* Any text as CloudEvents SQL and as a filter in JSON: refused, or evaluated; and what it prints as
 * compiles, evaluates and prints the same. */
#include <stdlib.h>

#include "tests/unit/catalyst_filter/filter_fixture.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A result that outlives the scratch. */
struct result {
    enum cat_sql_error error;
    struct cat_sql_value value;
    struct chassis_buf string;
};

static struct result evaluate(const struct cat_sql *sql, struct filter_fixture *f)
{
    struct result r = {0};
    r.error = cat_sql_evaluate(sql, &f->event, &f->scratch, &r.value);
    if (r.value.type == CAT_SQL_STRING) {
        chassis_buf_append_view(&r.string, r.value.string);
    }
    return r;
}

static bool same(const struct result *a, const struct result *b)
{
    if (a->error != b->error || a->value.type != b->value.type) {
        return false;
    }
    switch (a->value.type) {
    case CAT_SQL_BOOLEAN:
        return a->value.boolean == b->value.boolean;
    case CAT_SQL_INTEGER:
        return a->value.integer == b->value.integer;
    case CAT_SQL_STRING:
        break;
    }
    return chassis_view_eq(chassis_buf_view(&a->string), chassis_buf_view(&b->string));
}

static void round_trip(const struct cat_sql *sql, struct filter_fixture *f)
{
    struct chassis_buf once = {0}, twice = {0};
    struct cat_sql *again;
    struct result first = evaluate(sql, f), second;
    cat_sql_print(sql, &once);
    if (once.len <= CAT_SQL_TEXT_MAX) {
        CHECK(cat_sql_compile(chassis_buf_view(&once), &again, NULL) == 0);
        second = evaluate(again, f);
        CHECK(same(&first, &second));
        cat_sql_print(again, &twice);
        CHECK(chassis_view_eq(chassis_buf_view(&once), chassis_buf_view(&twice)));
        chassis_buf_fini(&second.string);
        cat_sql_free(again);
    }
    chassis_buf_fini(&first.string);
    chassis_buf_fini(&once);
    chassis_buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chassis_view text = chassis_view(data, size);
    struct filter_fixture f;
    struct cat_sql *sql;
    struct cat_filter *filter = NULL;
    struct chassis_error err;
    filter_fixture_init(&f);
    if (cat_sql_compile(text, &sql, &err) == 0) {
        round_trip(sql, &f);
        cat_sql_free(sql);
    }
    if (cat_filter_compile_json(text, &filter, &err) == 0) {
        cat_filter_matches(filter, &f.event, &f.scratch);
        cat_filter_free(filter);
    }
    filter_fixture_fini(&f);
    return 0;
}
