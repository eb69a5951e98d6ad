/* Any text as an event and as a batch in JSON, and as the value of an HTTP header: refused, or what is
 * written from it reads and writes the same again. */
#include <stdlib.h>

#include "catalyst/event/http.h"
#include "catalyst/event/json.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_it(const struct chassis_buf *bytes, struct chassis_buf *text)
{
    struct cat_event event;
    CHECK(cat_event_parse(chassis_buf_view(bytes), &event, NULL) == 0);
    chassis_buf_clear(text);
    cat_json_write(&event, text);
}

static void one_event(struct chassis_view input)
{
    struct chassis_buf bytes = {0}, once = {0}, twice = {0};
    struct chassis_error err;
    int rc = cat_json_read(input, &bytes, &err);
    CHECK(rc == 0 || bytes.len == 0);
    if (rc == 0) {
        write_it(&bytes, &once);
        chassis_buf_clear(&bytes);
        CHECK(cat_json_read(chassis_buf_view(&once), &bytes, NULL) == 0);
        write_it(&bytes, &twice);
        CHECK(chassis_view_eq(chassis_buf_view(&once), chassis_buf_view(&twice)));
    }
    chassis_buf_fini(&bytes);
    chassis_buf_fini(&once);
    chassis_buf_fini(&twice);
}

static void each(void *data, const struct cat_json_item *item)
{
    struct cat_event event;
    size_t *next = data;
    CHECK(item->index == (*next)++);
    CHECK((item->status == 0) == (cat_event_parse(item->bytes, &event, NULL) == 0));
}

static void one_header(struct chassis_view input)
{
    struct chassis_buf plain = {0}, value = {0}, again = {0};
    if (cat_http_decode(input, &plain, NULL) == 0) {
        cat_http_encode(chassis_buf_view(&plain), &value);
        CHECK(cat_http_decode(chassis_buf_view(&value), &again, NULL) == 0);
        CHECK(chassis_view_eq(chassis_buf_view(&plain), chassis_buf_view(&again)));
    }
    chassis_buf_fini(&plain);
    chassis_buf_fini(&value);
    chassis_buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chassis_view input = chassis_view(data, size);
    struct chassis_error err;
    size_t next = 0;
    one_event(input);
    cat_json_read_batch(input, each, &next, &err);
    one_header(input);
    return 0;
}
