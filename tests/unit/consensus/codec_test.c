#include "test.h"

#include "base/hash.h"
#include "consensus/envelope.h"
#include "consensus/frame.h"
#include "consensus/hello.h"

struct seen {
    unsigned n;
    struct frame_message last;
};
static int see(const struct frame_message *m, void *data)
{
    struct seen *s = data;
    s->n++;
    s->last = *m;
    return 0;
}

static void build(struct chassis_buf *frame)
{
    struct frame_message vote = {.type = FRAME_VOTE,
                                 .term = 7,
                                 .index = 12,
                                 .index_term = 6,
                                 .pre_vote = true,
                                 .version = 2};
    struct frame_message append = {
        .type = FRAME_APPEND, .term = 7, .index = 12, .index_term = 6, .commit = 11};
    struct frame_entry entries[2] = {{7, 1, chassis_view_str("first")},
                                     {7, 1, chassis_view_str("")}};
    frame_begin(frame);
    frame_append(frame, &vote);
    size_t begin = frame_append_begin(frame, &append);
    frame_append_entry(frame, &entries[0]);
    frame_append_entry(frame, &entries[1]);
    frame_append_end(frame, begin, 2);
    frame_seal(frame);
}

static void a_frame_arrives_as_it_was_sent(void **state)
{
    struct chassis_buf frame = {0};
    struct seen s = {0};
    struct frame_entry out[2];
    build(&frame);
    assert_int_equal(frame_decode(chassis_buf_view(&frame), see, &s, NULL), 0);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.last.type, FRAME_APPEND);
    assert_int_equal(s.last.commit, 11);
    assert_int_equal(frame_entries(&s.last, out), 0);
    assert_memory_equal(out[0].payload.data, "first", 5);
    assert_int_equal(out[1].payload.len, 0);
    chassis_buf_fini(&frame);
}

static void a_flipped_bit_is_noticed_wherever_it_is(void **state)
{
    struct chassis_buf frame = {0};
    build(&frame);
    for (size_t bit = 0; bit < frame.len * 8; bit++) {
        struct seen s = {0};
        frame.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_not_equal(frame_decode(chassis_buf_view(&frame), see, &s, NULL), 0);
        assert_int_equal(s.n, 0); /* nothing of it was believed */
        frame.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    chassis_buf_fini(&frame);
}

static void a_cut_frame_is_refused(void **state)
{
    struct chassis_buf frame = {0};
    build(&frame);
    for (size_t len = 0; len < frame.len; len++) {
        struct seen s = {0};
        assert_int_not_equal(frame_decode(chassis_view(frame.data, len), see, &s, NULL), 0);
    }
    chassis_buf_fini(&frame);
}

static void lengths_beyond_the_frame_are_refused_under_a_right_checksum(void **state)
{
    struct chassis_buf frame = {0};
    struct seen s = {0};
    build(&frame);
    chassis_put_le32(frame.data + FRAME_HEADER_LEN + 1, 0xfffffff0U);
    frame_seal(&frame);
    assert_int_equal(frame_decode(chassis_buf_view(&frame), see, &s, NULL), CHASSIS_MALFORMED);
    assert_int_equal(s.n, 0);
    chassis_buf_fini(&frame);
}

static void an_envelope_keeps_everything(void **state)
{
    struct chassis_buf out = {0};
    struct envelope e = {.time_ns = 99,
                         .node = 3,
                         .boot = 300,
                         .sequence = 70000,
                         .floor = 5,
                         .request_id = chassis_view_str("id"),
                         .command = chassis_view_str("command")},
                    got;
    envelope_encode(&out, &e);
    assert_int_equal(envelope_decode(chassis_buf_view(&out), &got), 0);
    assert_int_equal(got.time_ns, 99);
    assert_int_equal(got.sequence, 70000);
    assert_int_equal(got.floor, 5);
    assert_true(chassis_view_eq(got.request_id, e.request_id));
    assert_true(chassis_view_eq(got.command, e.command));
    out.data[0] = 2;
    assert_int_equal(envelope_decode(chassis_buf_view(&out), &got), CHASSIS_BAD_VERSION);
    chassis_buf_fini(&out);
}

static void a_hello_of_another_cluster_is_refused(void **state)
{
    struct hello h = {.from = 1, .to = 2, .boot = 3, .session = 4, .version = 5}, got;
    struct hello expected = {.to = 2};
    struct chassis_error err = {0};
    uint8_t bytes[HELLO_LEN] = {0};
    struct chassis_view v = chassis_view(bytes, sizeof bytes);
    hello_encode(&h, chassis_view_str("secret"), bytes);
    assert_int_equal(hello_decode(v, &expected, chassis_view_str("secret"), &got, &err), 0);
    assert_int_equal(got.session, 4);
    assert_int_equal(hello_decode(v, &expected, chassis_view_str("other"), &got, &err),
                     CHASSIS_PERMISSION_DENIED);
    expected.to = 3;
    assert_int_equal(hello_decode(v, &expected, chassis_view_str("secret"), &got, &err),
                     CHASSIS_PERMISSION_DENIED);
    expected.to = 2;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] ^= 1;
        assert_int_not_equal(hello_decode(v, &expected, chassis_view_str("secret"), &got, &err), 0);
        bytes[i] ^= 1;
    }
    expected.welcome = true; /* a hello sent back is no welcome */
    assert_int_not_equal(hello_decode(v, &expected, chassis_view_str("secret"), &got, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_arrives_as_it_was_sent),
        cmocka_unit_test(a_flipped_bit_is_noticed_wherever_it_is),
        cmocka_unit_test(a_cut_frame_is_refused),
        cmocka_unit_test(lengths_beyond_the_frame_are_refused_under_a_right_checksum),
        cmocka_unit_test(an_envelope_keeps_everything),
        cmocka_unit_test(a_hello_of_another_cluster_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
