/* The broker's small parts, each against something simpler: dedupe, what is late, places, rows. */
#include "tests/test.h"

#include "base/prng.h"
#include "catalyst/broker/codec.h"
#include "catalyst/broker/dedupe.h"
#include "catalyst/broker/late.h"
#include "catalyst/broker/places.h"
#include "catalyst/broker/weights.h"

static const uint8_t key[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static struct fingerprint print_of(unsigned id)
{
    char text[16];
    snprintf(text, sizeof text, "%u", id);
    return cat_dedupe_fingerprint(key, chassis_view_str("/source"), chassis_view_str(text));
}

static void fingerprints_tell_source_from_id(void **state)
{
    struct fingerprint a =
        cat_dedupe_fingerprint(key, chassis_view_str("ab"), chassis_view_str("c"));
    struct fingerprint b =
        cat_dedupe_fingerprint(key, chassis_view_str("a"), chassis_view_str("bc"));
    struct fingerprint again =
        cat_dedupe_fingerprint(key, chassis_view_str("ab"), chassis_view_str("c"));
    uint8_t other[16] = {1};
    struct fingerprint keyed =
        cat_dedupe_fingerprint(other, chassis_view_str("ab"), chassis_view_str("c"));
    assert_true(a.low == again.low && a.high == again.high);
    assert_true(a.low != b.low && a.high != b.high);
    assert_true(a.low != keyed.low && a.high != keyed.high);
}

/* Random adds, finds and removals against an array of when each id was added. */
static void dedupe_knows_what_was_there_within_the_window(void **state)
{
    enum { IDS = 3000, WINDOW_MS = 1000 };
    static int64_t added_ns[IDS];
    static uint64_t entries[IDS];
    memset(added_ns, -1, sizeof added_ns);
    struct chassis_prng prng;
    chassis_prng_init(&prng, 5);
    struct dedupe_pool pool = {.max = 1 << 20};
    struct dedupe *d = cat_dedupe_new(&pool, WINDOW_MS, 1);
    int64_t now_ns = 0;
    unsigned long found = 0;
    for (unsigned i = 0; i < 200000; i++) {
        now_ns += (int64_t)chassis_prng_below(&prng, i % 5000 == 0 ? 3000000000 : 3000000);
        unsigned id = (unsigned)chassis_prng_below(&prng, IDS);
        bool known = added_ns[id] >= 0 && now_ns - added_ns[id] <= WINDOW_MS * 1000000LL;
        uint64_t entry = 0;
        assert_int_equal(cat_dedupe_find(d, print_of(id), now_ns, &entry), known);
        if (known) {
            found++;
            assert_int_equal(entry, entries[id]);
            assert_int_equal(cat_dedupe_sequence(d, entry), id + 1);
            if (chassis_prng_chance(&prng, 0.2)) {
                cat_dedupe_remove(d, entry);
                added_ns[id] = -1;
            }
        } else {
            entries[id] = cat_dedupe_add(d, print_of(id), now_ns);
            cat_dedupe_set_sequence(d, entries[id], id + 1);
            added_ns[id] = now_ns;
        }
    }
    assert_true(found > 1000);
    assert_int_equal(pool.n, cat_dedupe_count(d));
    cat_dedupe_free(d);
    assert_int_equal(pool.n, 0);
}

static void dedupe_forgets_the_oldest_when_there_are_too_many(void **state)
{
    struct dedupe_pool pool = {.max = 100};
    struct dedupe *a = cat_dedupe_new(&pool, 1000000, 1), *b = cat_dedupe_new(&pool, 1000000, 1);
    uint64_t entry;
    for (unsigned id = 0; id < 80; id++) {
        cat_dedupe_add(a, print_of(id), 1);
    }
    for (unsigned id = 0; id < 80; id++) {
        cat_dedupe_add(b, print_of(id), 1);
    }
    assert_int_equal(pool.n, 100);
    assert_int_equal(cat_dedupe_count(a), 80); /* it takes from itself, not from others */
    assert_true(cat_dedupe_find(a, print_of(0), 1, &entry));
    assert_false(cat_dedupe_find(b, print_of(59), 1, &entry));
    assert_true(cat_dedupe_find(b, print_of(60), 1, &entry));
    cat_dedupe_free(a);
    cat_dedupe_free(b);
    pool = (struct dedupe_pool){.max = 1 << 20};
    a = cat_dedupe_new(&pool, 1000000, 7);
    for (unsigned id = 0; id < CAT_DEDUPE_EVENTS_MAX + 10; id++) {
        assert_int_equal(cat_dedupe_add(a, print_of(id), 1), id + 7);
    }
    assert_int_equal(cat_dedupe_count(a), CAT_DEDUPE_EVENTS_MAX);
    assert_false(cat_dedupe_find(a, print_of(9), 1, &entry));
    assert_true(cat_dedupe_find(a, print_of(10), 1, &entry));
    assert_int_equal(entry, 17);
    cat_dedupe_free(a);
}

static void late_events_come_earliest_first(void **state)
{
    struct chassis_prng prng;
    chassis_prng_init(&prng, 6);
    struct late late = {0};
    for (unsigned i = 1; i <= 3000; i++) {
        cat_late_add(&late, (struct late_event){.due_ns = (int64_t)chassis_prng_below(&prng, 1000),
                                                .sequence = i,
                                                .stream = 16 + i % 3});
    }
    assert_int_equal(late.lowest, 1);
    cat_late_drop_stream(&late, 17); /* those of 1, 4, 7 … */
    assert_int_equal(late.lowest, 2);
    assert_int_equal(late.n, 2000);
    int64_t before = 0;
    while (late.n != 0) {
        uint64_t lowest = UINT64_MAX;
        for (uint32_t i = 0; i < late.n; i++) {
            lowest = late.heap[i].sequence < lowest ? late.heap[i].sequence : lowest;
        }
        assert_int_equal(late.lowest, lowest);
        assert_true(late.heap[0].due_ns >= before);
        before = late.heap[0].due_ns;
        cat_late_pop(&late);
    }
    cat_late_fini(&late);
}

static void places_are_found_and_all_have_their_turn(void **state)
{
    struct chassis_prng prng;
    chassis_prng_init(&prng, 7);
    struct places places = {0};
    static uint64_t next[5000];
    uint32_t n = 0;
    memset(next, 0, sizeof next);
    for (unsigned i = 0; i < 60000; i++) {
        uint32_t stream = 16 + (uint32_t)chassis_prng_below(&prng, 4000);
        struct place_in *place = cat_places_find(&places, stream);
        assert_int_equal(place != NULL ? place->next : 0, next[stream]);
        if (place == NULL) {
            next[stream] = i + 1;
            cat_places_add(&places, stream, i + 1);
            n++;
        } else {
            next[stream] = 0;
            cat_places_remove(&places, stream);
            n--;
        }
        assert_int_equal(places.n, n);
    }
    unsigned seen = 0;
    for (uint32_t i = 0; i < n; i++) { /* once round */
        struct place_in *place = cat_places_any(&places);
        seen += next[place->stream] == place->next;
        next[place->stream] = UINT64_MAX;
    }
    assert_int_equal(seen, n);
    cat_places_fini(&places);
    assert_null(cat_places_any(&places));
}

/* A limit on bytes over events of very different sizes: never too much, never far too little. */
static void weights_find_what_fits_a_limit(void **state)
{
    enum { N = 20000, LIMIT = 1 << 20 };
    static uint64_t sizes[N + 1];
    struct chassis_prng prng;
    chassis_prng_init(&prng, 8);
    struct weights w = {0};
    uint64_t trimmed = 1;
    cat_weights_init(&w, 1, 0, 0, LIMIT / 32);
    for (unsigned i = 1; i <= N; i++) {
        sizes[i] = i / 2000 % 2 == 0 ? 100 : 5000 + chassis_prng_below(&prng, 3000);
        cat_weights_add(&w, sizes[i]);
        if (i % 97 == 0) {
            uint64_t first = cat_weights_at(&w, LIMIT), bytes = 0;
            for (uint64_t k = first; k <= i; k++) {
                bytes += sizes[k];
            }
            assert_true(bytes <= LIMIT + LIMIT / 4);
            assert_true(first == trimmed || bytes + LIMIT / 4 >= LIMIT);
            if (i % 388 == 0) { /* behind, as floors are */
                trimmed = first;
                cat_weights_trim(&w, first);
            }
        }
    }
    assert_true(cat_weights_at(&w, UINT64_MAX) <= trimmed);
    assert_int_equal(cat_weights_at(&w, 0), N + 1);
    cat_weights_fini(&w);
}

static void rows_read_back_and_what_is_none_is_refused(void **state)
{
    struct cat_selection takes[2] = {
        {.type = chassis_view_str("a.>")},
        {.source = chassis_view_str("/s"), .subject = chassis_view_str("x*")}};
    struct cat_stream_config config = {.name = chassis_view_str("orders"),
                                       .takes = takes,
                                       .n_takes = 2,
                                       .durability = CAT_INTERVAL,
                                       .interval_ms = 250,
                                       .age_max_ms = 1,
                                       .bytes_max = UINT64_MAX / 2,
                                       .events_max = 3,
                                       .dedupe_ms = 4,
                                       .event_bytes_max = 5,
                                       .when_full = CAT_REFUSE_NEW,
                                       .backend = chassis_view_str("journal"),
                                       .description = chassis_view_str("of people")};
    struct chassis_buf row = {0};
    static struct cat_stream_row back;
    struct chassis_error err = {0};
    cat_stream_row_encode(&config, 77, 99, &row);
    assert_int_equal(cat_stream_row_decode(chassis_buf_view(&row), &back, &err), 0);
    assert_int_equal(back.number, 77);
    assert_int_equal(back.created_ns, 99);
    assert_int_equal(back.config.bytes_max, config.bytes_max);
    assert_int_equal(back.config.when_full, CAT_REFUSE_NEW);
    assert_int_equal(back.config.n_takes, 2);
    assert_true(chassis_view_eq(back.config.takes[1].subject, takes[1].subject));
    assert_true(chassis_view_eq(back.config.description, config.description));
    for (size_t len = 0; len < row.len; len++) {
        assert_int_not_equal(cat_stream_row_decode(chassis_view(row.data, len), &back, &err), 0);
    }
    row.data[0] = 9;
    assert_int_equal(cat_stream_row_decode(chassis_buf_view(&row), &back, &err),
                     CHASSIS_BAD_VERSION);
    assert_non_null(strstr(err.text, "9"));
    chassis_buf_fini(&row);
    uint64_t value = 0;
    struct cat_number_row number = cat_number_row(0x123456789abcULL);
    assert_int_equal(cat_number_row_decode(chassis_view(&number, sizeof number), &value, &err), 0);
    assert_int_equal(value, 0x123456789abcULL);
    assert_int_equal(cat_number_row_decode(chassis_view(&number, 5), &value, &err),
                     CHASSIS_CORRUPT);
}

/* A row as version 1 wrote it: never changes. */
static void rows_of_version_1_are_read_for_ever(void **state)
{
    static const uint8_t golden[] = {1, 16,  2,   3,   'o', 'l', 'd', 1,   0,   1,  'a',
                                     0, 1,   100, 0,   0,   0,   0,   128, 128, 64, 1,
                                     7, 'j', 'o', 'u', 'r', 'n', 'a', 'l', 0};
    static struct cat_stream_row row;
    struct chassis_error err = {0};
    assert_int_equal(cat_stream_row_decode(chassis_view(golden, sizeof golden), &row, &err), 0);
    assert_int_equal(row.number, 16);
    assert_true(chassis_view_eq(row.config.name, chassis_view_str("old")));
    assert_true(chassis_view_eq(row.config.takes[0].type, chassis_view_str("a")));
    assert_int_equal(row.config.durability, CAT_FSYNC);
    assert_int_equal(row.config.interval_ms, 100);
    assert_int_equal(row.config.event_bytes_max, 1 << 20);
    assert_int_equal(row.config.when_full, CAT_DISCARD_OLD);
    assert_true(chassis_view_eq(row.config.backend, chassis_view_str("journal")));
    struct chassis_buf out = {0};
    cat_stream_row_encode(&row.config, row.number, row.created_ns, &out);
    assert_int_equal(out.len, sizeof golden);
    assert_memory_equal(out.data, golden, sizeof golden);
    chassis_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fingerprints_tell_source_from_id),
        cmocka_unit_test(dedupe_knows_what_was_there_within_the_window),
        cmocka_unit_test(dedupe_forgets_the_oldest_when_there_are_too_many),
        cmocka_unit_test(late_events_come_earliest_first),
        cmocka_unit_test(places_are_found_and_all_have_their_turn),
        cmocka_unit_test(weights_find_what_fits_a_limit),
        cmocka_unit_test(rows_read_back_and_what_is_none_is_refused),
        cmocka_unit_test(rows_of_version_1_are_read_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
