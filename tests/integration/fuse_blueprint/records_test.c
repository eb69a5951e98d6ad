/* Following a kind of records against a Blueprint that ends streams, falls behind, compacts and comes
 * back as another one. */
#include "fuse/blueprint/records.h"

#include <pthread.h>

#include "fuse/blueprint/wire.h"
#include "os/os.h"
#include "rpc/server.h"
#include "test.h"

#define KIND "type.googleapis.com/test.Kind"
enum { RECORDS_MAX = 16 };

struct record {
    const char *key;
    uint64_t revision;
};

/* What the other side says; one completion-queue thread runs its handlers. */
struct fake {
    struct chassis_server *server;
    pthread_mutex_t mutex;
    struct record records[RECORDS_MAX]; /* by key */
    unsigned n;
    uint64_t revision;
    struct chassis_call *watch; /* NULL = none */
    uint64_t watch_start;
    unsigned lists, watches;
    int refuse_next_list, refuse_next_watch; /* codes */
    unsigned refuse_list_after;              /* so many are answered before */
};

struct rig {
    struct fake fake;
    struct chassis_client *client;
    struct chassis_executor *loop;
    struct chassis_task start, stop;
    struct fuse_records records;
    pthread_mutex_t mutex;
    char told[4096]; /* what the handlers heard */
    int stopped;     /* atomic */
};

/* ---- the fake ---- */

static void list(struct chassis_call *call, const KV(ListRequest) * req)
{
    struct fake *f = chassis_call_data(call);
    KV(ListResponse) res = KV_INIT(LIST_RESPONSE);
    KV(ListResponse__ValuesEntry) values[RECORDS_MAX], *value_list[RECORDS_MAX];
    KV(ListResponse__MetasEntry) metas[RECORDS_MAX], *meta_list[RECORDS_MAX];
    KV(Meta) meta[RECORDS_MAX];
    Google__Protobuf__Any any = fuse_any(KIND, chassis_view("v", 1));
    char token[16] = "";
    pthread_mutex_lock(&f->mutex);
    f->lists++;
    if (f->refuse_next_list != 0 && f->refuse_list_after-- == 0) {
        int code = f->refuse_next_list;
        f->refuse_next_list = 0;
        pthread_mutex_unlock(&f->mutex);
        chassis_call_fail(call, code, "told to");
        return;
    }
    unsigned at = (unsigned)atoi(req->page_token), n = 0;
    for (; at + n < f->n && n < req->limit; n++) {
        char *key = (char *)(uintptr_t)f->records[at + n].key;
        core__registry__key_value__v1__list_response__values_entry__init(&values[n]);
        core__registry__key_value__v1__list_response__metas_entry__init(&metas[n]);
        core__registry__key_value__v1__meta__init(&meta[n]);
        meta[n].revision = f->records[at + n].revision;
        values[n].key = metas[n].key = key;
        values[n].value = &any;
        metas[n].value = &meta[n];
        value_list[n] = &values[n];
        meta_list[n] = &metas[n];
    }
    if (at + n < f->n) {
        snprintf(token, sizeof token, "%u", at + n);
    }
    res.values = value_list;
    res.metas = meta_list;
    res.n_values = res.n_metas = n;
    res.next_page_token = token;
    res.revision = f->revision;
    key_value_list_reply(call, &res);
    pthread_mutex_unlock(&f->mutex);
}

static void end_watch(struct fake *f, int code)
{
    pthread_mutex_lock(&f->mutex);
    struct chassis_call *call = f->watch;
    f->watch = NULL;
    pthread_mutex_unlock(&f->mutex);
    if (call != NULL) {
        chassis_call_fail(call, code, "told to");
    }
}

static void on_cancel(struct chassis_call *call, void *data)
{
    end_watch(data, CHASSIS_CANCELLED);
}

static void watch(struct chassis_call *call, const KV(WatchRequest) * req)
{
    struct fake *f = chassis_call_data(call);
    pthread_mutex_lock(&f->mutex);
    int refuse = f->refuse_next_watch;
    f->refuse_next_watch = 0;
    f->watches++;
    f->watch = refuse == 0 ? call : NULL;
    f->watch_start = req->start_revision;
    if (refuse != 0) {
        chassis_call_fail(call, refuse, "told to");
    } else {
        chassis_call_on_cancel(call, on_cancel, f); /* with the mutex: the test may end the call */
    }
    pthread_mutex_unlock(&f->mutex);
}

static const struct key_value_handlers handlers = {.list = list, .watch = watch};

/* Something for the watcher; there is one. */
static void say(struct fake *f, KV(WatchResponse__Kind) kind, const char *key, bool deleted)
{
    KV(WatchResponse) res = KV_INIT(WATCH_RESPONSE);
    KV(Event) event = KV_INIT(EVENT), *events[] = {&event};
    KV(Meta) meta = KV_INIT(META);
    Google__Protobuf__Any any = fuse_any(KIND, chassis_view("v", 1));
    pthread_mutex_lock(&f->mutex);
    assert_non_null(f->watch);
    meta.revision = res.revision = ++f->revision;
    res.kind = kind;
    event.type = deleted ? CORE__REGISTRY__KEY_VALUE__V1__EVENT__TYPE__DELETE
                         : CORE__REGISTRY__KEY_VALUE__V1__EVENT__TYPE__PUT;
    event.key = (char *)(uintptr_t)(key != NULL ? key : "");
    event.value = &any;
    event.meta = &meta;
    res.events = events;
    res.n_events = key != NULL;
    assert_int_equal(chassis_call_send(f->watch, &res), 0);
    pthread_mutex_unlock(&f->mutex);
}

#define NORMAL CORE__REGISTRY__KEY_VALUE__V1__WATCH_RESPONSE__KIND__NORMAL
#define RESYNC CORE__REGISTRY__KEY_VALUE__V1__WATCH_RESPONSE__KIND__RESYNC

static void set_records(struct fake *f, uint64_t revision, const struct record *records, unsigned n)
{
    pthread_mutex_lock(&f->mutex);
    memcpy(f->records, records, n * sizeof *records);
    f->n = n;
    f->revision = revision;
    pthread_mutex_unlock(&f->mutex);
}

/* Of the lists to come, answer `after` and refuse one. */
static void refuse_list(struct fake *f, int code, unsigned after)
{
    pthread_mutex_lock(&f->mutex);
    f->refuse_next_list = code;
    f->refuse_list_after = after;
    pthread_mutex_unlock(&f->mutex);
}

static uint64_t watch_start(struct fake *f)
{
    pthread_mutex_lock(&f->mutex);
    uint64_t start = f->watch != NULL ? f->watch_start : 0;
    pthread_mutex_unlock(&f->mutex);
    return start;
}

/* ---- our side ---- */

static void tell(struct rig *rig, const char *format, ...) CHASSIS_PRINTF(2, 3);
static void tell(struct rig *rig, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&rig->mutex);
    size_t n = strlen(rig->told);
    vsnprintf(rig->told + n, sizeof rig->told - n, format, args);
    pthread_mutex_unlock(&rig->mutex);
    va_end(args);
}

static void on_begin(void *data)
{
    tell(data, "begin ");
}
static void on_put(void *data, const char *key, struct chassis_view value,
                   const struct fuse_record_meta *meta)
{
    tell(data, "%s=%llu ", key, (unsigned long long)meta->revision);
}
static void on_deleted(void *data, const char *key, uint64_t revision)
{
    tell(data, "-%s=%llu ", key, (unsigned long long)revision);
}
static void on_end(void *data, uint64_t revision)
{
    tell(data, "end(%llu) ", (unsigned long long)revision);
}

static bool told(struct rig *rig, const char *expected)
{
    pthread_mutex_lock(&rig->mutex);
    bool equal = strcmp(rig->told, expected) == 0;
    pthread_mutex_unlock(&rig->mutex);
    return equal;
}

static void forget(struct rig *rig)
{
    pthread_mutex_lock(&rig->mutex);
    rig->told[0] = '\0';
    pthread_mutex_unlock(&rig->mutex);
}

/* Exactly this since the last time. */
static void hear(struct rig *rig, const char *expected)
{
    test_wait_until(told(rig, expected));
    forget(rig);
}

static void run_start(struct chassis_task *task)
{
    static const struct fuse_records_handlers ours = {on_begin, on_put, on_deleted, on_end};
    struct rig *rig = chassis_container_of(task, struct rig, start);
    rig->records = (struct fuse_records){.client = rig->client,
                                         .loop = rig->loop,
                                         .log = chassis_log_module("test"),
                                         .kind = KIND,
                                         .prefix = "",
                                         .handlers = &ours,
                                         .data = rig,
                                         .page_size = 2};
    fuse_records_start(&rig->records);
}

static void run_stop(struct chassis_task *task)
{
    struct rig *rig = chassis_container_of(task, struct rig, stop);
    fuse_records_stop(&rig->records);
    __atomic_store_n(&rig->stopped, 1, __ATOMIC_RELEASE);
}

static const struct record abc[] = {{"a", 3}, {"b", 5}, {"c", 7}, {"d", 8}, {"e", 9}};
#define ALL_ABC "begin a=3 b=5 c=7 d=8 e=9 end(10) "

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    struct chassis_error err = {0};
    const struct chassis_listener_options listener = {.address = "127.0.0.1:0"};
    const struct chassis_server_options options = {
        .listeners = &listener, .n_listeners = 1, .n_queues = 1};
    char target[64];
    pthread_mutex_init(&rig->mutex, NULL);
    pthread_mutexattr_t recursive; /* on_cancel may run at once */
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&rig->fake.mutex, &recursive);
    set_records(&rig->fake, 10, abc, 5);
    int rc = chassis_server_new(&options, &rig->fake.server, &err);
    rc = rc == 0
             ? chassis_server_add(rig->fake.server, key_value_service(&handlers, &rig->fake), &err)
             : rc;
    rc = rc == 0 ? chassis_server_start(rig->fake.server, &err) : rc;
    rc = rc == 0 ? chassis_os_thread_start("loop", &rig->loop) : rc;
    snprintf(target, sizeof target, "127.0.0.1:%u", chassis_server_port(rig->fake.server, 0));
    rc = rc == 0 ? chassis_client_new(
                       &(struct chassis_client_options){.target = target, .executor = rig->loop},
                       &rig->client, &err)
                 : rc;
    if (rc != 0) {
        fail_msg("%s", chassis_error_text(&err));
    }
    rig->start.run = run_start;
    rig->stop.run = run_stop;
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    chassis_post(rig->loop, &rig->stop);
    test_wait_until(__atomic_load_n(&rig->stopped, __ATOMIC_ACQUIRE) == 1);
    chassis_client_free(rig->client);
    chassis_server_free(rig->fake.server);
    chassis_os_thread_stop(rig->loop);
    free(rig);
    return 0;
}

static void follow(struct rig *rig)
{
    chassis_post(rig->loop, &rig->start);
    hear(rig, ALL_ABC);
    test_wait_until(watch_start(&rig->fake) == 11);
}

static void all_pages_then_every_change(void **state)
{
    struct rig *rig = *state;
    follow(rig);
    say(&rig->fake, NORMAL, "f", false);
    say(&rig->fake, NORMAL, "a", true);
    hear(rig, "f=11 -a=12 ");
}

static void a_page_that_fails_begins_the_list_anew(void **state)
{
    struct rig *rig = *state;
    refuse_list(&rig->fake, CHASSIS_UNAVAILABLE, 1);
    chassis_post(rig->loop, &rig->start);
    /* The client may try the page again by itself. */
    test_wait_until(told(rig, ALL_ABC) || told(rig, "begin a=3 b=5 " ALL_ABC));
    forget(rig);
    refuse_list(&rig->fake, CHASSIS_OUT_OF_RANGE, 1); /* the pages' revision is compacted */
    test_wait_until(watch_start(&rig->fake) == 11);
    say(&rig->fake, RESYNC, NULL, false);
    hear(rig, "begin a=3 b=5 begin a=3 b=5 c=7 d=8 e=9 end(11) ");
}

static void a_stream_that_ends_goes_on_where_it_was(void **state)
{
    struct rig *rig = *state;
    follow(rig);
    say(&rig->fake, NORMAL, "f", false);
    hear(rig, "f=11 ");
    end_watch(&rig->fake, CHASSIS_UNAVAILABLE);
    test_wait_until(watch_start(&rig->fake) == 12);
    say(&rig->fake, NORMAL, "g", false);
    hear(rig, "g=12 ");
}

static void who_fell_behind_lists_again(void **state)
{
    struct rig *rig = *state;
    follow(rig);
    say(&rig->fake, RESYNC, NULL, false);
    hear(rig, "begin a=3 b=5 c=7 d=8 e=9 end(11) ");
    test_wait_until(watch_start(&rig->fake) == 12);
}

static void who_was_away_for_too_long_lists_again(void **state)
{
    struct rig *rig = *state;
    follow(rig);
    pthread_mutex_lock(&rig->fake.mutex);
    rig->fake.refuse_next_watch = CHASSIS_OUT_OF_RANGE;
    pthread_mutex_unlock(&rig->fake.mutex);
    end_watch(&rig->fake, CHASSIS_UNAVAILABLE);
    hear(rig, ALL_ABC);
    test_wait_until(watch_start(&rig->fake) == 11);
}

static void a_blueprint_with_other_data_is_believed(void **state)
{
    struct rig *rig = *state;
    static const struct record other[] = {{"z", 2}};
    follow(rig);
    set_records(&rig->fake, 4, other, 1);
    end_watch(&rig->fake, CHASSIS_UNAVAILABLE);
    hear(rig, "begin z=2 end(4) ");
    test_wait_until(watch_start(&rig->fake) == 5);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(all_pages_then_every_change),
        CASE(a_page_that_fails_begins_the_list_anew),
        CASE(a_stream_that_ends_goes_on_where_it_was),
        CASE(who_fell_behind_lists_again),
        CASE(who_was_away_for_too_long_lists_again),
        CASE(a_blueprint_with_other_data_is_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
