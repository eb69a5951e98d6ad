/* Events coming in by gRPC: Producer.Produce, EventService.Publish and PublishStream. */
#include "rig.h"
#include "base/bytes.h"

#include "catalyst/event/build.h"

static void send_event(struct tap *tap, unsigned n, const char *source)
{
    struct chassis_buf event = {0}, request = {0};
    rig_event(&event, n, source, NULL, "some data");
    chassis_buf_append_byte(&request, 1 << 3 | 2);
    chassis_buf_append_block(&request, chassis_buf_view(&event));
    tap_send_bytes(tap, chassis_buf_view(&request));
    chassis_buf_fini(&event);
    chassis_buf_fini(&request);
}

static ACTORS(ProduceResponse) * response(struct tap *tap, size_t i, struct chassis_arena *arena)
{
    ACTORS(ProduceResponse) *res = NULL;
    pthread_mutex_lock(&tap->lock);
    assert_int_equal(core__message_broker__actors__v1__produce_response__decode(
                         chassis_buf_view(&tap->messages[i]), arena, &res, NULL),
                     0);
    pthread_mutex_unlock(&tap->lock);
    return res;
}

static void every_event_is_answered_by_its_id_in_order(void **state)
{
    enum { N = 20000 };
    struct rig *rig = *state;
    struct tap tap;
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    tap_open(rig, &tap, &actors_producer_produce_method);
    for (unsigned i = 1; i <= N; i++) {
        send_event(&tap, i, NULL);
    }
    tap_wait(&tap, N);
    for (unsigned i = 0; i < N; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", i + 1);
        const ACTORS(ProduceResponse) *res = response(&tap, i, &arena);
        assert_string_equal(res->id, id);
        assert_null(res->refusal);
    }
    assert_int_equal(tap_end(&tap), 0);
    chassis_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_event_is_answered_by_its_id_in_order, rig_setup,
                                        rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
