/* Push subscriptions: a group whose events are posted to a URL. The endpoint is a route in this
 * process that answers as each test tells it. */
#include "rig.h"

#include <chassis/http_route.h>

#include <time.h>

#include "base/assert.h"
#include "http/http.h"
#include "rpc/server.h"

enum { HITS_MAX = 1000 };

struct hit {
    char id[32], type[64], content_type[128], body[256], authorization[64], attempt[16];
    uint64_t at_ms;
};

static struct {
    struct chassis_server *server;
    struct chassis_http *http;
    char url[64];
    pthread_mutex_t lock;
    struct hit hits[HITS_MAX];
    atomic_uint n;
    unsigned status[64]; /* of the n-th answer; 0 = 200 */
    const char *retry_after;
    struct chassis_call *parked[64]; /* status 1: not answered */
    unsigned n_parked;
} hook;

static void copy(struct chassis_call *call, const char *name, char *out, size_t size)
{
    const char *value = chassis_call_metadata(call, name);
    snprintf(out, size, "%s", value != NULL ? value : "");
}

static void on_cancel(struct chassis_call *call, void *data)
{
    pthread_mutex_lock(&hook.lock);
    bool mine = false;
    for (unsigned i = 0; i < hook.n_parked; i++) {
        if (hook.parked[i] == call) {
            hook.parked[i] = hook.parked[--hook.n_parked];
            mine = true;
        }
    }
    pthread_mutex_unlock(&hook.lock);
    if (mine) {
        chassis_call_fail(call, CHASSIS_CANCELLED, "gone");
    }
}

static void on_hit(struct chassis_call *call, const struct chassis_http_request *request)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    chassis_call_on_cancel(call, on_cancel, NULL); /* before others may answer it */
    pthread_mutex_lock(&hook.lock);
    unsigned n = atomic_load(&hook.n);
    CHASSIS_ASSERT(n < HITS_MAX);
    struct hit *hit = &hook.hits[n];
    hit->at_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    copy(call, "ce-id", hit->id, sizeof hit->id);
    copy(call, "ce-type", hit->type, sizeof hit->type);
    copy(call, "content-type", hit->content_type, sizeof hit->content_type);
    copy(call, "authorization", hit->authorization, sizeof hit->authorization);
    copy(call, "draft-attempt", hit->attempt, sizeof hit->attempt);
    snprintf(hit->body, sizeof hit->body, "%.*s", CHASSIS_VIEW_ARG(request->body));
    unsigned status = n < 64 && hook.status[n] != 0 ? hook.status[n] : 200;
    if (status == 1) {
        hook.parked[hook.n_parked++] = call;
    }
    atomic_store(&hook.n, n + 1);
    pthread_mutex_unlock(&hook.lock);
    if (status == 1) {
        return;
    }
    if (hook.retry_after != NULL && (status == 429 || status == 503)) {
        chassis_call_set_header(call, "retry-after", chassis_view_str(hook.retry_after));
    }
    chassis_http_answer(call, status, NULL, chassis_view(NULL, 0));
}

static int setup(void **state)
{
    static const struct chassis_http_route route = {
        .method = "POST", .path = "/hook", .handle = on_hit, .never_blocks = true, .lasting = true};
    struct chassis_server_options server = {0};
    memset(&hook, 0, sizeof hook);
    pthread_mutex_init(&hook.lock, NULL);
    assert_int_equal(chassis_server_new(&server, &hook.server, NULL), 0);
    assert_int_equal(chassis_server_start(hook.server, NULL), 0);
    const struct chassis_http_options options = {.address = "127.0.0.1:0",
                                                 .server = hook.server,
                                                 .routes = &route,
                                                 .n_routes = 1,
                                                 .name = "hook",
                                                 .version = "1"};
    assert_int_equal(chassis_http_start(&options, &hook.http, NULL), 0);
    snprintf(hook.url, sizeof hook.url, "http://127.0.0.1:%u/hook", chassis_http_port(hook.http));
    return rig_setup(state);
}

static int teardown(void **state)
{
    rig_teardown(state);
    chassis_http_quiesce(hook.http, 0);
    chassis_server_drain(hook.server, 1000);
    chassis_http_stop(hook.http);
    chassis_server_free(hook.server);
    return 0;
}

struct group {
    EV(Push) push;
    EV(Start) start;
    EV(GroupConfig) config;
    uint32_t backoff[1];
};

static void group_init(struct group *g)
{
    static char stream[] = "s", name[] = "g";
    draft__events__v1__push__init(&g->push);
    draft__events__v1__start__init(&g->start);
    draft__events__v1__group_config__init(&g->config);
    g->start.at_case = DRAFT__EVENTS__V1__START__AT_EARLIEST;
    g->start.earliest = true;
    g->push.url = hook.url;
    g->backoff[0] = 1;
    g->config.stream = stream;
    g->config.name = name;
    g->config.start = &g->start;
    g->config.push = &g->push;
    g->config.backoff_ms = g->backoff;
    g->config.n_backoff_ms = 1;
}

static void create(struct rig *rig, struct group *g)
{
    struct chassis_arena arena;
    EV(CreateGroupRequest) req = EV_INIT(CREATE_GROUP_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    req.config = &g->config;
    rig_call(rig, &events_group_service_create_method, &req, 0, &arena, NULL);
    chassis_arena_fini(&arena);
}

enum { LAG, DEAD, MEMBERS, IN_FLIGHT };

static uint64_t ask_group(struct rig *rig, int what)
{
    struct chassis_arena arena;
    char stream[] = "s", name[] = "g";
    EV(GetGroupRequest) req = EV_INIT(GET_GROUP_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    req.stream = stream;
    req.name = name;
    const EV(GetGroupResponse) *res =
        rig_call(rig, &events_group_service_get_method, &req, 0, &arena, NULL);
    uint64_t values[] = {[LAG] = res->group->lag,
                         [DEAD] = res->group->dead_lettered,
                         [MEMBERS] = res->group->n_members,
                         [IN_FLIGHT] = res->group->in_flight};
    chassis_arena_fini(&arena);
    return values[what];
}

static void events_are_posted_in_binary_mode_and_done_with_2xx(void **state)
{
    struct rig *rig = *state;
    struct group g;
    char secret[] = "hook";
    bool seen[101] = {false};
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 50);
    group_init(&g);
    g.push.token_secret = secret;
    create(rig, &g);
    rig_publish(rig, "s", 51, 50);
    test_wait_until(ask_group(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.n), 100);
    for (unsigned i = 0; i < 100; i++) {
        unsigned id = (unsigned)atoi(hook.hits[i].id);
        assert_true(id >= 1 && id <= 100 && !seen[id]);
        seen[id] = true;
        assert_string_equal(hook.hits[i].type, "test.type");
        assert_string_equal(hook.hits[i].authorization, "Bearer open-sesame");
        assert_string_equal(hook.hits[i].attempt, "1");
    }
}

static void structured_mode_is_one_json_object(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 1);
    group_init(&g);
    g.push.structured = true;
    create(rig, &g);
    test_wait_until(ask_group(rig, LAG) == 0);
    assert_non_null(strstr(hook.hits[0].content_type, "application/cloudevents+json"));
    assert_non_null(strstr(hook.hits[0].body, "\"id\":\"1\""));
}

static void a_failed_post_is_made_again_and_in_the_end_a_dead_letter(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_stream(rig, "s");
    group_init(&g);
    g.config.deliveries_max = 3;
    g.push.concurrency = 1;
    hook.status[0] = 500;
    hook.status[1] = 400; /* then it goes well */
    hook.status[3] = hook.status[4] = hook.status[5] = 404;
    create(rig, &g);
    rig_publish(rig, "s", 1, 1);
    test_wait_until(ask_group(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.n), 3);
    assert_string_equal(hook.hits[2].attempt, "3");
    rig_publish(rig, "s", 2, 1);
    test_wait_until(ask_group(rig, DEAD) == 1);
    assert_int_equal(atomic_load(&hook.n), 6);
}

static void retry_after_is_heeded(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_stream(rig, "s");
    group_init(&g);
    hook.status[0] = 503;
    hook.retry_after = "1";
    create(rig, &g);
    rig_publish(rig, "s", 1, 1);
    test_wait_until(ask_group(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.n), 2);
    assert_true(hook.hits[1].at_ms - hook.hits[0].at_ms >= 990);
}

static void an_endpoint_that_is_gone_is_left_alone_until_the_group_is_updated(void **state)
{
    struct rig *rig = *state;
    struct group g;
    struct chassis_arena arena;
    EV(UpdateGroupRequest) update = EV_INIT(UPDATE_GROUP_REQUEST);
    rig_stream(rig, "s");
    group_init(&g);
    g.push.concurrency = 1;
    hook.status[0] = 410;
    create(rig, &g);
    rig_publish(rig, "s", 1, 5);
    test_wait_until(ask_group(rig, MEMBERS) == 0); /* so nothing more can come */
    assert_int_equal(atomic_load(&hook.n), 1);
    assert_int_equal(ask_group(rig, LAG), 5);
    chassis_arena_init(&arena, NULL, 0, 0);
    update.config = &g.config;
    rig_call(rig, &events_group_service_update_method, &update, 0, &arena, NULL);
    chassis_arena_fini(&arena);
    test_wait_until(ask_group(rig, LAG) == 0);
}

static void a_post_without_an_answer_ends_in_time(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_stream(rig, "s");
    group_init(&g);
    g.push.timeout_ms = 200;
    hook.status[0] = 1;
    create(rig, &g);
    rig_publish(rig, "s", 1, 1);
    test_wait_until(ask_group(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.n), 2);
    assert_string_equal(hook.hits[1].attempt, "2");
}

static void no_more_requests_are_under_way_than_allowed(void **state)
{
    struct rig *rig = *state;
    struct group g;
    struct chassis_call *calls[3];
    rig_stream(rig, "s");
    group_init(&g);
    g.push.concurrency = 3;
    for (unsigned i = 0; i < 3; i++) {
        hook.status[i] = 1;
    }
    create(rig, &g);
    rig_publish(rig, "s", 1, 10);
    test_wait_until(atomic_load(&hook.n) == 3);
    assert_int_equal(ask_group(rig, IN_FLIGHT), 3);
    assert_int_equal(ask_group(rig, LAG), 10);
    assert_int_equal(atomic_load(&hook.n), 3);
    pthread_mutex_lock(&hook.lock);
    unsigned n = hook.n_parked;
    memcpy(calls, hook.parked, sizeof calls);
    hook.n_parked = 0;
    pthread_mutex_unlock(&hook.lock);
    assert_int_equal(n, 3);
    for (unsigned i = 0; i < n; i++) {
        chassis_http_answer(calls[i], 204, NULL, chassis_view(NULL, 0));
    }
    test_wait_until(ask_group(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.n), 10);
}

static void closing_breaks_off_what_hangs_and_a_restart_goes_on(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_stream(rig, "s");
    group_init(&g);
    g.push.timeout_ms = 20000;
    hook.status[0] = 1;
    create(rig, &g);
    rig_publish(rig, "s", 1, 1);
    test_wait_until(atomic_load(&hook.n) == 1);
    rig_close(rig);
    rig_open(rig);
    test_wait_until(ask_group(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.n), 2);
}

static void a_group_that_is_deleted_is_not_pushed_any_more(void **state)
{
    struct rig *rig = *state;
    struct group g;
    struct chassis_arena arena;
    EV(DeleteGroupRequest) delete = EV_INIT(DELETE_GROUP_REQUEST);
    rig_stream(rig, "s");
    group_init(&g);
    create(rig, &g);
    rig_publish(rig, "s", 1, 3);
    test_wait_until(ask_group(rig, LAG) == 0);
    chassis_arena_init(&arena, NULL, 0, 0);
    delete.stream = g.config.stream;
    delete.name = g.config.name;
    rig_call(rig, &events_group_service_delete_method, &delete, 0, &arena, NULL);
    chassis_arena_fini(&arena);
    rig_publish(rig, "s", 4, 3);
    assert_int_equal(atomic_load(&hook.n), 3);
}

#define TEST_OF(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_OF(events_are_posted_in_binary_mode_and_done_with_2xx),
        TEST_OF(structured_mode_is_one_json_object),
        TEST_OF(a_failed_post_is_made_again_and_in_the_end_a_dead_letter),
        TEST_OF(retry_after_is_heeded),
        TEST_OF(an_endpoint_that_is_gone_is_left_alone_until_the_group_is_updated),
        TEST_OF(a_post_without_an_answer_ends_in_time),
        TEST_OF(no_more_requests_are_under_way_than_allowed),
        TEST_OF(closing_breaks_off_what_hangs_and_a_restart_goes_on),
        TEST_OF(a_group_that_is_deleted_is_not_pushed_any_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
