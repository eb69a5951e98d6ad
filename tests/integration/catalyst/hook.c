#include "hook.h"

#include <time.h>

#include "base/assert.h"
#include "http/http.h"
#include "rpc/server.h"

struct hook hook;

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

void hook_consent(struct consent consent)
{
    pthread_mutex_lock(&hook.lock);
    hook.consent = consent;
    pthread_mutex_unlock(&hook.lock);
}

struct hit hook_question(void)
{
    pthread_mutex_lock(&hook.lock);
    struct hit question = hook.question;
    pthread_mutex_unlock(&hook.lock);
    return question;
}

static void on_question(struct chassis_call *call, const struct chassis_http_request *request)
{
    pthread_mutex_lock(&hook.lock);
    struct consent consent = hook.consent;
    copy(call, "webhook-request-origin", hook.question.origin, sizeof hook.question.origin);
    copy(call, "webhook-request-rate", hook.question.type, sizeof hook.question.type);
    copy(call, "authorization", hook.question.authorization, sizeof hook.question.authorization);
    atomic_fetch_add(&hook.asked, 1);
    pthread_mutex_unlock(&hook.lock);
    if (consent.origin != NULL) {
        chassis_call_set_header(call, "webhook-allowed-origin", chassis_view_str(consent.origin));
    }
    if (consent.rate != NULL) {
        chassis_call_set_header(call, "webhook-allowed-rate", chassis_view_str(consent.rate));
    }
    chassis_http_answer(call, consent.status, NULL, chassis_view(NULL, 0));
}

uint64_t hook_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void on_hit(struct chassis_call *call, const struct chassis_http_request *request)
{
    chassis_call_on_cancel(call, on_cancel, NULL); /* before others may answer it */
    pthread_mutex_lock(&hook.lock);
    unsigned n = atomic_load(&hook.n);
    CHASSIS_ASSERT(n < HITS_MAX);
    struct hit *hit = &hook.hits[n];
    hit->at_ms = hook_now_ms();
    copy(call, "ce-id", hit->id, sizeof hit->id);
    copy(call, "ce-type", hit->type, sizeof hit->type);
    copy(call, "content-type", hit->content_type, sizeof hit->content_type);
    copy(call, "authorization", hit->authorization, sizeof hit->authorization);
    copy(call, "draft-attempt", hit->attempt, sizeof hit->attempt);
    copy(call, "webhook-request-origin", hit->origin, sizeof hit->origin);
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

int hook_setup(void **state)
{
    static const struct chassis_http_route routes[] = {
        {.method = "POST",
         .path = "/hook",
         .handle = on_hit,
         .never_blocks = true,
         .lasting = true},
        {.method = "OPTIONS", .path = "/hook", .handle = on_question, .never_blocks = true}};
    struct chassis_server_options server = {0};
    memset(&hook, 0, sizeof hook);
    pthread_mutex_init(&hook.lock, NULL);
    hook.consent = (struct consent){200, "*", "*"};
    assert_int_equal(chassis_server_new(&server, &hook.server, NULL), 0);
    assert_int_equal(chassis_server_start(hook.server, NULL), 0);
    const struct chassis_http_options options = {.address = "127.0.0.1:0",
                                                 .server = hook.server,
                                                 .routes = routes,
                                                 .n_routes = 2,
                                                 .name = "hook",
                                                 .version = "1"};
    assert_int_equal(chassis_http_start(&options, &hook.http, NULL), 0);
    snprintf(hook.url, sizeof hook.url, "http://127.0.0.1:%u/hook", chassis_http_port(hook.http));
    return rig_setup(state);
}

int hook_teardown(void **state)
{
    rig_teardown(state);
    chassis_http_quiesce(hook.http, 0);
    chassis_server_drain(hook.server, 1000);
    chassis_http_stop(hook.http);
    chassis_server_free(hook.server);
    return 0;
}

void push_group_init(struct group *g)
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

void push_group_create(struct rig *rig, struct group *g)
{
    struct chassis_arena arena;
    EV(CreateGroupRequest) req = EV_INIT(CREATE_GROUP_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    req.config = &g->config;
    rig_call(rig, &events_group_service_create_method, &req, 0, &arena, NULL);
    chassis_arena_fini(&arena);
}

uint64_t push_group_ask(struct rig *rig, int what)
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

struct status push_status(struct rig *rig)
{
    struct chassis_arena arena;
    char stream[] = "s", name[] = "g";
    struct status status = {0};
    EV(GetGroupRequest) req = EV_INIT(GET_GROUP_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    req.stream = stream;
    req.name = name;
    const EV(GetGroupResponse) *res =
        rig_call(rig, &events_group_service_get_method, &req, 0, &arena, NULL);
    const EV(PushStatus) *push = res->group->push;
    assert_non_null(push);
    status.state = push->state;
    status.per_minute = push->requests_per_minute;
    status.next_time_ns = push->next_time_ns;
    snprintf(status.reason, sizeof status.reason, "%s", push->reason);
    chassis_arena_fini(&arena);
    return status;
}

bool is_refused_with(struct rig *rig, const char *reason)
{
    struct status status = push_status(rig);
    return status.state == STATE(UNVERIFIED) && strstr(status.reason, reason) != NULL;
}

void push_group_update(struct rig *rig, struct group *g)
{
    struct chassis_arena arena;
    EV(UpdateGroupRequest) req = EV_INIT(UPDATE_GROUP_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    req.config = &g->config;
    rig_call(rig, &events_group_service_update_method, &req, 0, &arena, NULL);
    chassis_arena_fini(&arena);
}
