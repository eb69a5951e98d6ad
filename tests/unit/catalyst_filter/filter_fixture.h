/* The event that the tests of filters ask about. */
#ifndef FILTER_FIXTURE_H
#define FILTER_FIXTURE_H

#include "catalyst/event/build.h"
#include "catalyst/filter/sql.h"

struct filter_fixture {
    struct chassis_buf bytes;
    struct cat_event event;
    struct cat_filter_scratch scratch;
};

static inline struct chassis_view filter_view(const char *text)
{
    return chassis_view_str(text);
}

static inline void filter_fixture_init(struct filter_fixture *f)
{
    const struct cat_attribute attributes[] = {
        {filter_view("subject"), cat_value_string(filter_view("orders/42"))},
        {filter_view("time"), cat_value_timestamp(1524746889, 0)},
        {filter_view("sequence"), cat_value_string(filter_view("5"))},
        {filter_view("myint"), cat_value_integer(10)},
        {filter_view("low"), cat_value_integer(INT32_MIN)},
        {filter_view("mytrue"), cat_value_boolean(true)},
        {filter_view("myfalse"), cat_value_boolean(false)},
        {filter_view("firstname"), cat_value_string(filter_view("Fran\xc3\xa7ois"))},
        {filter_view("hop"), cat_value_string(filter_view("5"))},
        {filter_view("ttl"), cat_value_string(filter_view("10"))},
        {filter_view("raw"), {.type = CAT_BYTES, .text = filter_view("abc")}},
        {filter_view("odd"), cat_value_string(filter_view("100%_\\done"))},
        {filter_view("link"), {.type = CAT_URI, .text = filter_view("urn:x:y")}},
        {filter_view("blank"), cat_value_string(filter_view(""))},
        {filter_view("isDurable"), cat_value_boolean(true)},
    };
    const struct cat_event_parts parts = {.id = filter_view("id-1"),
                                          .source = filter_view("https://example.com/shop"),
                                          .type = filter_view("com.example.order.created"),
                                          .attributes = attributes,
                                          .attribute_count =
                                              sizeof attributes / sizeof attributes[0]};
    *f = (struct filter_fixture){0};
    cat_event_build(&parts, &f->bytes);
    if (cat_event_parse(chassis_buf_view(&f->bytes), &f->event, NULL) != 0) {
        abort();
    }
}

static inline void filter_fixture_fini(struct filter_fixture *f)
{
    chassis_buf_fini(&f->bytes);
    cat_filter_scratch_fini(&f->scratch);
}

#endif
