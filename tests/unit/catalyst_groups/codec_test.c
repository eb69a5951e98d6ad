/* The bytes of rows are kept in golden files, one per row and version: a change of the format that
 * forgets to raise the version fails here. With GOLDEN_WRITE set in the environment missing files are
 * written (never replaced). */
#include "catalyst/groups/codec.h"
#include "catalyst/groups/letter.h"
#include "catalyst/event/build.h"
#include "test.h"

#define T(text)                                                                                    \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

static const struct cat_group_row group_row = {
    .config = {.stream = T("orders"),
               .name = T("billing"),
               .description = T("sends invoices"),
               .start = {CAT_START_TIME, 7, -1700000000000000000},
               .filter = T("\x01\x02 filter"),
               .ack_wait_ms = 30000,
               .deliveries_max = 5,
               .in_flight_max = 1024,
               .backoff_ms = {100, 2000, 86400000},
               .n_backoff = 3,
               .ordered_by_key = true,
               .dead_letter_stream = T("morgue"),
               .push = {T("https://example.org/hook"), T("token"), true, 10000, 16, 600}},
    .number = 4711,
    .created_ns = 1700000000000000000,
};
static const int64_t WALL = 1700000000000;

static void make_place(struct cat_place *p, struct cat_runs *runs, bool ordered)
{
    struct cat_place_rules rules = {
        .ack_wait_ns = 1000, .deliveries_max = 3, .in_flight_max = 10, .ordered = ordered};
    struct cat_holder h = {0};
    cat_place_init(p, &rules, 5);
    cat_place_deliver(p, cat_place_take(p, 5, 77, 0, 0), &h, 0, WALL - 5);
    cat_place_take(p, 9, 77, 0, 0);
    cat_place_take(p, 300, 78, UINT64_C(60000000000), 0);
    cat_place_deliver(p, cat_place_take(p, 301, 0, 0, 0), &h, 0, WALL - 70000);
    cat_place_term(p, &h, 301, chassis_view_str("why"));
    cat_place_pass(p, 400);
    bool full;
    assert_true(cat_place_reopen(p, 200, 79, 17, &full));
    cat_place_release(p, &h);
    cat_runs_add(runs, 1, 3);
    cat_runs_add(runs, 10, 10);
}

static void golden_path(char out[512], const char *name)
{
    snprintf(out, 512, "%s/tests/fuzz/catalyst_groups_codec/corpus/%s", getenv("DRAFT_SOURCE"),
             name);
}

static size_t read_golden(const char *name, uint8_t kept[4096])
{
    char path[512];
    golden_path(path, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(kept, 1, 4096, f);
    fclose(f);
    return n;
}

static void compare_golden(const char *name, struct chassis_view bytes)
{
    char path[512];
    uint8_t kept[4096];
    golden_path(path, name);
    FILE *f = fopen(path, "rb");
    if (f == NULL && getenv("GOLDEN_WRITE") != NULL) {
        f = fopen(path, "wb");
        assert_int_equal(fwrite(bytes.data, 1, bytes.len, f), bytes.len);
        fclose(f);
        return;
    }
    if (f != NULL) {
        fclose(f);
    }
    size_t n = read_golden(name, kept);
    assert_int_equal(n, bytes.len);
    assert_memory_equal(kept, bytes.data, n);
}

static void rows_have_the_bytes_they_always_had(void **state)
{
    struct chassis_buf b = {0};
    struct cat_place p;
    struct cat_runs runs = {0};
    cat_group_row_encode(&group_row, &b);
    compare_golden("group-v2", chassis_buf_view(&b));
    for (unsigned ordered = 0; ordered < 2; ordered++) {
        make_place(&p, &runs, ordered != 0);
        chassis_buf_clear(&b);
        cat_place_row_encode(&p, &runs, 0, WALL, &b);
        compare_golden(ordered ? "place-ordered-v2" : "place-v2", chassis_buf_view(&b));
        cat_place_fini(&p);
        cat_runs_fini(&runs);
    }
    chassis_buf_fini(&b);
}

static void a_row_of_an_older_version_is_understood(void **state)
{
    struct cat_group_row row;
    struct chassis_error err = {0};
    uint8_t kept[4096];
    size_t n = read_golden("group-v1", kept);
    assert_int_equal(cat_group_row_decode(chassis_view(kept, n), &row, &err), 0);
    assert_true(chassis_view_eq(row.config.push.url, group_row.config.push.url));
    assert_int_equal(row.config.push.concurrency, 16);
    assert_int_equal(row.config.push.per_minute, 0);
    assert_int_equal(row.number, 4711);
    for (unsigned ordered = 0; ordered < 2; ordered++) {
        struct cat_place p;
        struct cat_runs runs = {0};
        cat_place_init(&p,
                       &(struct cat_place_rules){
                           .deliveries_max = 5, .in_flight_max = 4, .ordered = ordered != 0},
                       1);
        n = read_golden(ordered ? "place-ordered-v1" : "place-v1", kept);
        assert_int_equal(cat_place_row_decode(chassis_view(kept, n), 1000, WALL, &p, &runs, &err),
                         0);
        assert_int_equal(p.next, 400);
        assert_int_equal(p.n_entries, 4);
        assert_int_equal(cat_place_find(&p, 5)->attempts, 1);
        assert_int_equal(cat_place_find(&p, 5)->first_ms, WALL - 5);
        assert_int_equal(cat_place_find(&p, 301)->cause, CAT_CAUSE_TERMINATED);
        assert_int_equal(cat_place_find(&p, 301)->letter, 0);
        cat_place_fini(&p);
        cat_runs_fini(&runs);
    }
}

static void a_configuration_comes_back_as_it_was(void **state)
{
    struct chassis_buf b = {0}, again = {0};
    struct cat_group_row row;
    struct chassis_error err = {0};
    cat_group_row_encode(&group_row, &b);
    assert_int_equal(cat_group_row_decode(chassis_buf_view(&b), &row, &err), 0);
    assert_int_equal(row.number, 4711);
    assert_int_equal(row.created_ns, group_row.created_ns);
    assert_int_equal(row.config.start.time_ns, group_row.config.start.time_ns);
    assert_int_equal(row.config.backoff_ms[2], 86400000);
    assert_true(row.config.ordered_by_key && row.config.push.structured);
    assert_int_equal(row.config.push.per_minute, 600);
    assert_true(chassis_view_eq(row.config.push.url, group_row.config.push.url));
    cat_group_row_encode(&row, &again);
    assert_true(chassis_view_eq(chassis_buf_view(&b), chassis_buf_view(&again)));
    for (size_t cut = 0; cut < b.len; cut++) {
        assert_int_equal(cat_group_row_decode(chassis_view(b.data, cut), &row, &err),
                         CHASSIS_CORRUPT);
    }
    chassis_buf_append_byte(&b, 0);
    assert_int_equal(cat_group_row_decode(chassis_buf_view(&b), &row, &err), CHASSIS_CORRUPT);
    b.data[0] = 3;
    assert_int_equal(cat_group_row_decode(chassis_buf_view(&b), &row, &err), CHASSIS_BAD_VERSION);
    assert_non_null(strstr(err.text, "version 3"));
    chassis_buf_fini(&b);
    chassis_buf_fini(&again);
}

static void what_waited_goes_on_waiting_for_what_is_left(void **state)
{
    struct chassis_buf b = {0};
    struct cat_place p, q;
    struct cat_runs runs = {0}, read = {0};
    struct chassis_error err = {0};
    make_place(&p, &runs, true);
    cat_place_row_encode(&p, &runs, 0, WALL, &b);
    cat_place_init(&q, &p.rules, 1);
    /* 40 of 60 s passed while nobody was there. */
    assert_int_equal(
        cat_place_row_decode(chassis_buf_view(&b), 1000, WALL + 40000, &q, &read, &err), 0);
    assert_int_equal(q.next, 400);
    assert_int_equal(cat_place_floor(&q), 5);
    assert_int_equal(cat_place_due(&q), 1000 + UINT64_C(20000000000));
    assert_int_equal(cat_place_find(&q, 5)->attempts, 1);
    assert_int_equal(cat_place_find(&q, 5)->first_ms, WALL - 5);
    assert_int_equal(cat_place_find(&q, 5)->state, CAT_ENTRY_READY);
    assert_int_equal(cat_place_find(&q, 9)->state, CAT_ENTRY_BLOCKED);
    assert_int_equal(cat_place_find(&q, 200)->letter, 17);
    assert_int_equal(cat_place_find(&q, 9)->letter, 0);
    struct cat_entry *dead = cat_place_bury(&q);
    assert_int_equal(dead->sequence, 301);
    assert_int_equal(dead->cause, CAT_CAUSE_TERMINATED);
    assert_true(cat_runs_has(&read, 3) && cat_runs_has(&read, 10) && !cat_runs_has(&read, 9));
    for (size_t cut = 0; cut < b.len; cut++) {
        cat_place_seek(&q, 1);
        cat_runs_fini(&read);
        assert_int_equal(cat_place_row_decode(chassis_view(b.data, cut), 0, WALL, &q, &read, &err),
                         CHASSIS_CORRUPT);
    }
    cat_place_fini(&p);
    cat_place_fini(&q);
    cat_runs_fini(&runs);
    cat_runs_fini(&read);
    chassis_buf_fini(&b);
}

static void runs_grow_together_and_are_cut(void **state)
{
    struct cat_runs r = {0};
    assert_true(cat_runs_add(&r, 5, 5) && cat_runs_add(&r, 9, 12) && cat_runs_add(&r, 7, 7));
    assert_int_equal(r.n, 3);
    assert_true(cat_runs_add(&r, 6, 6));
    assert_int_equal(r.n, 2);
    assert_true(cat_runs_add(&r, 8, 8));
    assert_int_equal(r.n, 1);
    assert_int_equal(cat_runs_count(&r), 8);
    assert_true(cat_runs_add(&r, 1, 100));
    assert_int_equal(r.n, 1);
    assert_int_equal(cat_runs_count(&r), 100);
    cat_runs_cut(&r, 51);
    assert_false(cat_runs_has(&r, 50));
    assert_true(cat_runs_has(&r, 51));
    cat_runs_cut(&r, 101);
    assert_int_equal(r.n, 0);
    for (uint64_t i = 1; i <= CAT_RUNS_MAX; i++) {
        assert_true(cat_runs_add(&r, 2 * i, 2 * i));
    }
    assert_false(cat_runs_add(&r, 1000000, 1000000));
    assert_true(cat_runs_add(&r, 3, 3)); /* fills a gap */
    assert_int_equal(r.n, CAT_RUNS_MAX - 1);
    cat_runs_fini(&r);
}

static void make_event(struct chassis_buf *out, const struct cat_attribute *more, size_t n)
{
    struct cat_event_parts parts = {.id = T("e-1"),
                                    .source = T("/shop"),
                                    .type = T("order.placed"),
                                    .attributes = more,
                                    .attribute_count = n,
                                    .data_kind = CAT_DATA_TEXT,
                                    .data = T("payload")};
    cat_event_build(&parts, out);
}

static void parse(struct chassis_buf *bytes, struct cat_event *event)
{
    struct chassis_error err = {0};
    int rc = cat_event_parse(chassis_buf_view(bytes), event, &err);
    if (rc != 0) {
        fail_msg("%s", err.text);
    }
}

static void a_dead_letter_says_why_and_becomes_the_event_again(void **state)
{
    const struct cat_attribute attributes[] = {
        {T("subject"), {.type = CAT_STRING, .text = T("order-7")}},
        {T("delayms"), {.type = CAT_INTEGER, .integer = 5}},
        {T("deadreplay"), {.type = CAT_STRING, .text = T("billing")}},
        {T("tenant"), {.type = CAT_STRING, .text = T("t")}},
    };
    struct chassis_buf bytes = {0}, dead = {0}, back = {0};
    struct cat_event event, letter_event, restored;
    struct cat_letter letter = {.reason = T("broken\x01 \xff\xe2\x82\xac"),
                                .stream = T("orders"),
                                .group = T("billing"),
                                .sequence = UINT64_MAX / 4,
                                .attempts = 5,
                                .first_ms = 1700000000123,
                                .dead_ms = 1700000009456};
    struct cat_letter read;
    struct cat_value value;
    make_event(&bytes, attributes, 4);
    parse(&bytes, &event);
    assert_false(cat_letter_read(&event, &read));
    cat_letter_build(&event, &letter, (struct cat_letter_form){0}, &dead);
    parse(&dead, &letter_event);
    assert_true(cat_letter_read(&letter_event, &read));
    assert_true(cat_letter_same(&letter, &read));
    assert_int_equal(read.attempts, 5);
    assert_int_equal(read.dead_ms, letter.dead_ms);
    assert_true(chassis_view_eq(read.reason, chassis_view_str("broken? ?\xe2\x82\xac")));
    assert_true(cat_event_attribute(&letter_event, chassis_view_str("deadid"), &value));
    assert_true(chassis_view_eq(value.text, event.id));
    assert_true(chassis_view_eq(letter_event.data, event.data));
    assert_false(cat_event_attribute(&letter_event, chassis_view_str("deadreplay"), &value));
    assert_int_equal(letter_event.delay_ms, -1);

    chassis_buf_clear(&dead);
    cat_letter_build(&event, &letter, (struct cat_letter_form){.renames = 1}, &dead);
    parse(&dead, &letter_event);
    assert_false(chassis_view_eq(letter_event.id, event.id));
    cat_letter_restore(&letter_event, chassis_view_str("billing"), &back);
    parse(&back, &restored);
    assert_true(chassis_view_eq(restored.id, event.id));
    assert_true(chassis_view_eq(restored.subject, event.subject));
    assert_true(chassis_view_eq(restored.data, event.data));
    assert_false(cat_letter_read(&restored, &read));
    assert_int_equal(restored.attribute_count, 3); /* subject, tenant, deadreplay */
    chassis_buf_fini(&bytes);
    chassis_buf_fini(&dead);
    chassis_buf_fini(&back);
}

/* The id of the letter of this event, which came back from the letter at `from`. */
static void letter_id(uint64_t from, unsigned renames, char out[64])
{
    struct chassis_buf bytes = {0}, dead = {0};
    struct cat_event event, made;
    const struct cat_letter letter = {.stream = T("orders"),
                                      .group = T("billing"),
                                      .sequence = 4,
                                      .came_back_from = from,
                                      .attempts = 1,
                                      .first_ms = 1,
                                      .dead_ms = 1};
    make_event(&bytes, NULL, 0);
    parse(&bytes, &event);
    cat_letter_build(&event, &letter, (struct cat_letter_form){.renames = renames}, &dead);
    parse(&dead, &made);
    snprintf(out, 64, "%.*s", CHASSIS_VIEW_ARG(made.id));
    chassis_buf_fini(&bytes);
    chassis_buf_fini(&dead);
}

static void every_death_of_an_event_has_an_id_of_its_own(void **state)
{
    char ids[5][64], again[64];
    for (unsigned i = 0; i < 3; i++) {
        letter_id(10 * i, 0, ids[i]);
    }
    letter_id(0, 1, ids[3]);
    letter_id(10, 1, ids[4]);
    assert_string_equal(ids[0], "e-1"); /* the first keeps it */
    for (unsigned i = 0; i < 5; i++) {
        for (unsigned j = 0; j < i; j++) {
            assert_string_not_equal(ids[i], ids[j]);
        }
    }
    letter_id(20, 0, again);
    assert_string_equal(again, ids[2]);
}

static void an_event_full_of_attributes_still_becomes_a_dead_letter(void **state)
{
    struct cat_attribute attributes[CAT_EVENT_ATTRIBUTES_MAX];
    static char names[CAT_EVENT_ATTRIBUTES_MAX][8];
    struct chassis_buf bytes = {0}, dead = {0};
    struct cat_event event, letter_event;
    struct cat_letter read, letter = {.stream = T("orders"),
                                      .group = T("billing"),
                                      .sequence = 1,
                                      .attempts = 1,
                                      .first_ms = 1,
                                      .dead_ms = 1};
    for (size_t i = 0; i < CAT_EVENT_ATTRIBUTES_MAX; i++) {
        snprintf(names[i], sizeof names[i], "a%zu", i);
        attributes[i].name = chassis_view_str(names[i]);
        attributes[i].value = cat_value_string(chassis_view_str("v"));
    }
    make_event(&bytes, attributes, CAT_EVENT_ATTRIBUTES_MAX);
    parse(&bytes, &event);
    cat_letter_build(&event, &letter, (struct cat_letter_form){0}, &dead);
    assert_int_not_equal(cat_event_parse(chassis_buf_view(&dead), &letter_event, NULL), 0);
    chassis_buf_clear(&dead);
    cat_letter_build(&event, &letter, (struct cat_letter_form){.bare = true}, &dead);
    parse(&dead, &letter_event);
    assert_true(cat_letter_read(&letter_event, &read));
    assert_int_equal(letter_event.data_kind, CAT_DATA_NONE);
    chassis_buf_fini(&bytes);
    chassis_buf_fini(&dead);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_have_the_bytes_they_always_had),
        cmocka_unit_test(a_row_of_an_older_version_is_understood),
        cmocka_unit_test(a_configuration_comes_back_as_it_was),
        cmocka_unit_test(what_waited_goes_on_waiting_for_what_is_left),
        cmocka_unit_test(runs_grow_together_and_are_cut),
        cmocka_unit_test(a_dead_letter_says_why_and_becomes_the_event_again),
        cmocka_unit_test(every_death_of_an_event_has_an_id_of_its_own),
        cmocka_unit_test(an_event_full_of_attributes_still_becomes_a_dead_letter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
