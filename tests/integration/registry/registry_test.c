#include "test.h"

#include "fake.h"
#include "loop/loop.h"
#include "registry/registry.h"

static struct chassis_loop *loop;
static struct fake fakes[2];
static struct chassis_registry *registry;

static int setup(void **state)
{
    memset(fakes, 0, sizeof fakes);
    registry = NULL;
    assert_int_equal(chassis_loop_start("loop", &loop, NULL), 0);
    fake_start(&fakes[0], "127.0.0.1:0");
    return 0;
}
static int teardown(void **state)
{
    chassis_registry_close(registry, 2000);
    for (unsigned i = 0; i < 2; i++) {
        if (fakes[i].server != NULL) {
            fake_stop(&fakes[i]);
        }
    }
    chassis_loop_stop(loop);
    return 0;
}

static void open_registry(const char *entrypoint)
{
    struct chassis_error err = {0};
    struct chassis_registry_options options = {
        .entrypoints = &entrypoint,
        .n_entrypoints = 1,
        .loop = chassis_loop_executor(loop),
        .interval_ms = 100,
        .backoff_min_ms = 5,
        .backoff_max_ms = 50,
    };
    assert_int_equal(chassis_registry_open(&options, &registry, &err), 0);
}

static const char *const services[] = {"a.b.C", "d.e.F"};
static void do_register(void)
{
    static const struct chassis_metadata_pair zone = {"zone", "7"};
    struct chassis_registration registration = {
        .name = "echo",
        .group = "examples",
        .address = "10.0.0.1:8090",
        .http_address = "10.0.0.1:8091",
        .services = services,
        .n_services = 2,
        .metadata = &zone,
        .n_metadata = 1,
        .healthy = true,
    };
    assert_int_equal(chassis_registry_register(registry, &registration, NULL), 0);
}

static void a_process_registers_and_reports_who_it_is(void **state)
{
    open_registry(fakes[0].address);
    do_register();
    fake_wait(&fakes[0], &fakes[0].reports, 3);
    assert_int_equal(strlen(fakes[0].last_nonce), 32);
    assert_string_equal(fakes[0].last_pid, "pid-1");
    assert_string_equal(fakes[0].last_token, "token-1");
    assert_string_equal(fakes[0].last_services, "a.b.C,d.e.F");
    assert_string_equal(fakes[0].last_address, "10.0.0.1:8090");
    assert_true(fakes[0].last_healthy);
    struct chassis_registry_status status;
    chassis_registry_status(registry, &status);
    assert_string_equal(status.pid, "pid-1");
}

static void health_is_reported_when_it_changes(void **state)
{
    pthread_mutex_lock(&fakes[0].mutex);
    fakes[0].interval_ms = 60000; /* no report but those asked for */
    pthread_mutex_unlock(&fakes[0].mutex);
    open_registry(fakes[0].address);
    do_register();
    fake_wait(&fakes[0], &fakes[0].reports, 1);
    chassis_registry_set_healthy(registry, false);
    fake_wait(&fakes[0], &fakes[0].reports, 2);
    pthread_mutex_lock(&fakes[0].mutex);
    assert_false(fakes[0].last_healthy);
    pthread_mutex_unlock(&fakes[0].mutex);
}

static void leaving_is_tried_until_a_node_can(void **state)
{
    open_registry(fakes[0].address);
    do_register();
    fake_wait(&fakes[0], &fakes[0].reports, 1);
    pthread_mutex_lock(&fakes[0].mutex);
    fakes[0].finalize_later = 3;
    pthread_mutex_unlock(&fakes[0].mutex);
    chassis_registry_leave(registry);
    assert_true(chassis_registry_wait_left(registry, 30000));
    pthread_mutex_lock(&fakes[0].mutex);
    unsigned finalized = fakes[0].finalized;
    pthread_mutex_unlock(&fakes[0].mutex);
    assert_int_equal(finalized, 4);
}

static void leaving_a_cluster_that_cannot_ends_with_close(void **state)
{
    open_registry(fakes[0].address);
    do_register();
    fake_wait(&fakes[0], &fakes[0].reports, 1);
    pthread_mutex_lock(&fakes[0].mutex);
    fakes[0].finalize_later = 1000000;
    pthread_mutex_unlock(&fakes[0].mutex);
    chassis_registry_leave(registry);
    fake_wait(&fakes[0], &fakes[0].finalized, 2);
    assert_false(chassis_registry_wait_left(registry, 1));
    chassis_registry_close(registry, 1);
    registry = NULL;
}

static void leaving_proves_who_leaves(void **state)
{
    open_registry(fakes[0].address);
    do_register();
    fake_wait(&fakes[0], &fakes[0].reports, 1);
    chassis_registry_leave(registry);
    chassis_registry_close(registry, 5000);
    registry = NULL;
    assert_int_equal(fakes[0].finalized, 1);
    assert_string_equal(fakes[0].finalize_authorization, "Bearer token-1");
}

static void a_renewed_token_is_used_from_then_on(void **state)
{
    open_registry(fakes[0].address);
    pthread_mutex_lock(&fakes[0].mutex);
    fakes[0].next_token = "renewed";
    pthread_mutex_unlock(&fakes[0].mutex);
    do_register();
    fake_wait(&fakes[0], &fakes[0].reports, 2);
    assert_string_equal(fakes[0].last_token, "renewed");
}

static void a_blueprint_that_forgot_us_is_told_anew(void **state)
{
    open_registry(fakes[0].address);
    do_register();
    fake_wait(&fakes[0], &fakes[0].reports, 1);
    pthread_mutex_lock(&fakes[0].mutex);
    char nonce[130];
    memcpy(nonce, fakes[0].last_nonce, sizeof nonce);
    fakes[0].refuse_report = CHASSIS_UNAUTHENTICATED;
    pthread_mutex_unlock(&fakes[0].mutex);
    fake_wait(&fakes[0], &fakes[0].initialized, 2);
    pthread_mutex_lock(&fakes[0].mutex);
    assert_string_not_equal(nonce, fakes[0].last_nonce);
    fakes[0].refuse_report = 0;
    unsigned reports = fakes[0].reports;
    pthread_mutex_unlock(&fakes[0].mutex);
    fake_wait(&fakes[0], &fakes[0].reports, reports + 2);
    assert_string_not_equal(fakes[0].last_pid, "pid-1");
}

static void a_lost_answer_is_asked_for_with_the_same_nonce(void **state)
{
    pthread_mutex_lock(&fakes[0].mutex);
    fakes[0].refuse_initialize = CHASSIS_UNAVAILABLE;
    pthread_mutex_unlock(&fakes[0].mutex);
    open_registry(fakes[0].address);
    do_register();
    fake_wait(&fakes[0], &fakes[0].initialized, 1);
    pthread_mutex_lock(&fakes[0].mutex);
    char nonce[130];
    memcpy(nonce, fakes[0].last_nonce, sizeof nonce);
    pthread_mutex_unlock(&fakes[0].mutex);
    fake_wait(&fakes[0], &fakes[0].initialized, 3);
    pthread_mutex_lock(&fakes[0].mutex);
    assert_string_equal(nonce, fakes[0].last_nonce);
    fakes[0].refuse_initialize = 0;
    pthread_mutex_unlock(&fakes[0].mutex);
    fake_wait(&fakes[0], &fakes[0].reports, 1);
}

static void when_its_node_dies_it_goes_on_at_another_of_the_cluster_with_its_identity(void **state)
{
    fake_start(&fakes[1], "127.0.0.1:0");
    for (unsigned i = 0; i < 2; i++) {
        fakes[i].nodes[0] = fakes[0].address;
        fakes[i].nodes[1] = fakes[1].address;
        fakes[i].n_nodes = 2;
    }
    open_registry(fakes[0].address); /* the other one is only known from the view */
    do_register();
    fake_wait(&fakes[0], &fakes[0].reports, 2);
    fake_stop(&fakes[0]);
    fake_wait(&fakes[1], &fakes[1].reports, 2);
    assert_string_equal(fakes[1].last_pid, "pid-1");
    assert_int_equal(fakes[1].initialized, 0);
}

static void a_blueprint_that_comes_back_is_found_again(void **state)
{
    char address[64];
    open_registry(fakes[0].address);
    do_register();
    fake_wait(&fakes[0], &fakes[0].reports, 1);
    memcpy(address, fakes[0].address, sizeof address);
    fake_stop(&fakes[0]);
    memset(&fakes[0], 0, sizeof fakes[0]);
    fake_start(&fakes[0], address);
    fake_wait(&fakes[0], &fakes[0].reports, 2);
    assert_string_equal(fakes[0].last_pid, "pid-1");
}

static void a_node_that_hears_but_does_not_answer_is_left(void **state)
{
    pthread_mutex_lock(&fakes[0].mutex);
    fakes[0].mute = true;
    pthread_mutex_unlock(&fakes[0].mutex);
    open_registry(fakes[0].address);
    do_register();
    struct chassis_registry_status status = {0};
    while (status.reconnects == 0) { /* 1.3 s of silence */
        chassis_registry_status(registry, &status);
        sched_yield();
    }
    pthread_mutex_lock(&fakes[0].mutex);
    fakes[0].mute = false;
    pthread_mutex_unlock(&fakes[0].mutex);
    while (status.state != REGISTRY_MEMBER) {
        chassis_registry_status(registry, &status);
        sched_yield();
    }
}

/* --- names --- */

struct seen {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    char endpoints[256]; /* joined by blanks */
    char why[256];
    unsigned updates;
};
static void on_update(const struct chassis_endpoint *endpoints, size_t n, const char *why,
                      void *data)
{
    struct seen *seen = data;
    pthread_mutex_lock(&seen->mutex);
    seen->endpoints[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        strcat(seen->endpoints, endpoints[i].address);
        strcat(seen->endpoints, " ");
    }
    snprintf(seen->why, sizeof seen->why, "%s", why);
    seen->updates++;
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->mutex);
}
static void seen_init(struct seen *seen)
{
    memset(seen, 0, sizeof *seen);
    pthread_mutex_init(&seen->mutex, NULL);
    pthread_cond_init(&seen->changed, NULL);
}
static void seen_wait(struct seen *seen, const char *endpoints)
{
    pthread_mutex_lock(&seen->mutex);
    while (seen->updates == 0 || strcmp(seen->endpoints, endpoints) != 0) {
        pthread_cond_wait(&seen->changed, &seen->mutex);
    }
    pthread_mutex_unlock(&seen->mutex);
}
static struct chassis_resolution *resolve(struct seen *seen)
{
    struct chassis_resolver *resolver = chassis_registry_resolver(registry);
    struct chassis_resolution *resolution = NULL;
    seen_init(seen);
    assert_int_equal(resolver->start(resolver, "echo", on_update, seen, &resolution, NULL), 0);
    return resolution;
}
static void unresolve(struct chassis_resolution *resolution)
{
    struct chassis_resolver *resolver = chassis_registry_resolver(registry);
    resolver->stop(resolver, resolution);
}
static void add_process(const char *pid, const char *address, bool healthy, bool running)
{
    struct fake_process *p = &fakes[0].processes[fakes[0].n_processes++];
    snprintf(p->pid, sizeof p->pid, "%s", pid);
    snprintf(p->address, sizeof p->address, "%s", address);
    p->healthy = healthy;
    p->running = running;
}

static void a_name_resolves_to_healthy_running_processes_and_follows_them(void **state)
{
    struct seen seen;
    add_process("p2", "h:2", true, true);
    add_process("p1", "h:1", true, true);
    add_process("p3", "h:3", false, true);
    add_process("p4", "h:4", true, false);
    open_registry(fakes[0].address);
    struct chassis_resolution *resolution = resolve(&seen);
    seen_wait(&seen, "h:1 h:2 ");
    fakes[0].processes[2].healthy = true;
    fake_event(&fakes[0], CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE__CHANGED,
               &fakes[0].processes[2]);
    seen_wait(&seen, "h:1 h:2 h:3 ");
    fake_event(&fakes[0], CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE__EXPIRED,
               &fakes[0].processes[1]);
    seen_wait(&seen, "h:2 h:3 ");
    fake_event(&fakes[0], CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE__RESYNC, NULL);
    fake_event(&fakes[0], CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE__JOINED,
               &fakes[0].processes[0]);
    fake_event(&fakes[0], CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE__SYNCED, NULL);
    seen_wait(&seen, "h:2 ");
    unresolve(resolution);
}

static void nobody_serving_a_name_is_said_in_words(void **state)
{
    struct seen seen;
    open_registry(fakes[0].address);
    struct chassis_resolution *resolution = resolve(&seen);
    seen_wait(&seen, "");
    assert_string_equal(seen.why, "no healthy process of 'echo' is registered");
    unresolve(resolution);
}

static void a_name_is_watched_once_however_many_ask(void **state)
{
    struct seen one, two;
    add_process("p1", "h:1", true, true);
    open_registry(fakes[0].address);
    struct chassis_resolution *first = resolve(&one), *second;
    seen_wait(&one, "h:1 ");
    second = resolve(&two);
    seen_wait(&two, "h:1 ");
    assert_int_equal(fakes[0].watches, 1);
    unresolve(first);
    fake_event(&fakes[0], CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE__LEFT,
               &fakes[0].processes[0]);
    seen_wait(&two, "");
    assert_string_equal(one.endpoints, "h:1 "); /* not told after its stop */
    unresolve(second);
}

static void the_last_known_endpoints_outlive_blueprint(void **state)
{
    struct seen seen, late;
    char address[64];
    add_process("p1", "h:1", true, true);
    open_registry(fakes[0].address);
    struct chassis_resolution *resolution = resolve(&seen);
    seen_wait(&seen, "h:1 ");
    memcpy(address, fakes[0].address, sizeof address);
    fake_stop(&fakes[0]);
    struct chassis_resolution *second = resolve(&late);
    seen_wait(&late, "h:1 "); /* with no Blueprint at all */
    memset(&fakes[0], 0, sizeof fakes[0]);
    add_process("p9", "h:9", true, true);
    fake_start(&fakes[0], address);
    seen_wait(&seen, "h:9 ");
    unresolve(resolution);
    unresolve(second);
}

static void entrypoints_that_are_none_are_refused_in_words(void **state)
{
    const char *const wrong = "http://nowhere";
    struct chassis_error err = {0};
    struct chassis_registry_options options = {
        .entrypoints = &wrong, .n_entrypoints = 1, .loop = chassis_loop_executor(loop)};
    assert_int_equal(chassis_registry_open(&options, &registry, &err), CHASSIS_CONFIG);
    assert_string_equal(err.text, "service.entrypoint 'http://nowhere': must be http://host:port");
}

#define TEST_OF(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_OF(a_process_registers_and_reports_who_it_is),
        TEST_OF(health_is_reported_when_it_changes),
        TEST_OF(leaving_proves_who_leaves),
        TEST_OF(leaving_is_tried_until_a_node_can),
        TEST_OF(leaving_a_cluster_that_cannot_ends_with_close),
        TEST_OF(a_renewed_token_is_used_from_then_on),
        TEST_OF(a_blueprint_that_forgot_us_is_told_anew),
        TEST_OF(a_lost_answer_is_asked_for_with_the_same_nonce),
        TEST_OF(when_its_node_dies_it_goes_on_at_another_of_the_cluster_with_its_identity),
        TEST_OF(a_blueprint_that_comes_back_is_found_again),
        TEST_OF(a_node_that_hears_but_does_not_answer_is_left),
        TEST_OF(a_name_resolves_to_healthy_running_processes_and_follows_them),
        TEST_OF(nobody_serving_a_name_is_said_in_words),
        TEST_OF(a_name_is_watched_once_however_many_ask),
        TEST_OF(the_last_known_endpoints_outlive_blueprint),
        TEST_OF(entrypoints_that_are_none_are_refused_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
