/* Random routes, of values that are fine, at a limit or wrong: a route is refused with an error or
 * accepted for good, that is, its own encoding and its own JSON give the very same route.
 */
#include "base/prng.h"
#include "json.h"

enum { ROUTES = 20000 };

static struct chassis_prng prng;

static unsigned below(unsigned n)
{
    return (unsigned)chassis_prng_below(&prng, n);
}

/* Of a list that ends with NULL; the wrong ones stand behind ERRORS and are rare. */
#define ERRORS "!"
static const char *pick(const char *const *list)
{
    unsigned n_fine = 0, n_wrong = 0;
    while (strcmp(list[n_fine], ERRORS) != 0) {
        n_fine++;
    }
    while (list[n_fine + 1 + n_wrong] != NULL) {
        n_wrong++;
    }
    return n_wrong != 0 && below(60) == 0 ? list[n_fine + 1 + below(n_wrong)] : list[below(n_fine)];
}
#define PICK(...) pick((const char *const[]){__VA_ARGS__, NULL})

static const char *string_match(void)
{
    static char out[160];
    const char *match =
        PICK("'exact':'a b'", "'prefix':'x-'", "'suffix':'.y'", "'contains':'%41'",
             "'regex':'[a-z]+(x|y)?'", "'present':true", "'regex':'(?i)abc'", ERRORS, "'exact':''",
             "'regex':'(?=a)'", "'present':false", "'prefix':'ä'");
    snprintf(out, sizeof out, "{%s%s}", match, below(4) == 0 ? ",'invert':true" : "");
    return out;
}

static const char *query_match(void)
{
    return PICK("{'exact':'a%20b'}", "{'prefix':'x-'}", "{'regex':'.*'}", "{'present':true}",
                "{'suffix':'(z)','invert':true}", ERRORS, "{'exact':'a b'}", "{}");
}

static void add_list(struct chassis_buf *out, const char *name, void (*add)(struct chassis_buf *))
{
    unsigned n = below(12) == 0 ? 15 + below(3) : below(4);
    chassis_buf_printf(out, ",'%s':[", name);
    for (unsigned i = 0; i < n; i++) {
        chassis_buf_append_str(out, i != 0 ? "," : "");
        add(out);
    }
    chassis_buf_append_str(out, "]");
}

static void add_method(struct chassis_buf *out)
{
    chassis_buf_printf(out, "'%s%u'", PICK("GET", "PUT", "M-SEARCH", ERRORS, "get"), below(100));
}
static void add_header(struct chassis_buf *out)
{
    chassis_buf_printf(out, "{'name':'%s','value':%s}",
                       PICK("X-A", "content-type", "grpc-x", "k-bin", ERRORS, "host", ":path"),
                       string_match());
}
static void add_query(struct chassis_buf *out)
{
    chassis_buf_printf(out, "{'name':'%s','value':%s}", PICK("q", "f[a]", "%41", ERRORS, "a&b"),
                       query_match());
}
static void add_target(struct chassis_buf *out)
{
    if (below(2) == 0) {
        chassis_buf_printf(out, "{'service':'%s%u','weight':%s}", PICK("s", "t.x-y", ERRORS, "a/b"),
                           below(1000), PICK("1", "50", "10000", "0", ERRORS, "10001"));
    } else {
        chassis_buf_printf(out, "{'host':'%s','port':%u,'weight':%u}",
                           PICK("10.0.0.1", "B.example", "::1", "0:0::2", ERRORS, "1.2.3", "h h"),
                           1 + below(65536), below(3));
    }
}
static void add_name(struct chassis_buf *out)
{
    chassis_buf_printf(out, "'%s%u'", PICK("l", "edge.", ERRORS, "a b"), below(1000));
}

static void add_match(struct chassis_buf *out)
{
    chassis_buf_printf(out, ",'match':{'host':'%s'%s",
                       PICK("*", "*.A.example", "b.example", "1.2.3.4", ERRORS, "a:1", "a..b"),
                       PICK(",'prefix':'/'", ",'prefix':'/a.S/'", ",'path':'/a.S/M'",
                            ",'path':'/a/b/'", ",'regex':'/[0-9]{2,3}/.*'", ",'prefix':'/p%2f'",
                            ERRORS, ",'prefix':'x'", ",'path':'/','regex':'/'", ",'path':'/ '"));
    if (below(3) == 0) {
        chassis_buf_printf(out, ",'grpcMatchOptions':{%s}",
                           PICK("", ERRORS, "'service':'a.S'", "'method':'M'"));
    }
    if (below(3) == 0) {
        chassis_buf_printf(out, ",'headers':{'key':'%s','value':'%s'}",
                           PICK("A", "b", ERRORS, "te"), PICK("x", "y z", ERRORS, " x"));
    }
    add_list(out, "methods", add_method);
    add_list(out, "headerMatches", add_header);
    add_list(out, "queryMatches", add_query);
    chassis_buf_append_str(out, "}");
}

static void add_policies(struct chassis_buf *out)
{
    static const char *const some[] = {
        ",'timeout':'1.5s'",
        ",'retry':{'on':['RESET','GRPC_INTERNAL'],'retries':3,'backoffBase':'0.001s'}",
        ",'retry':{'on':[1],'retries':10,'perTryTimeout':'3600s','backoffMax':'1s'}",
        ",'hashKey':{'header':'X-K'}",
        ",'hashKey':{'sourceAddress':true}",
        ",'circuitBreaker':{'maxRequests':7,'maxRetries':1}",
        ",'circuitBreaker':{}",
        ",'outlierDetection':{'maxEjectionPercent':50}",
        ",'enableHttp2':true",
        ",'priority':-1000",
    };
    uint64_t which = chassis_prng_next(&prng);
    for (unsigned i = 0; i < sizeof some / sizeof *some; i++) {
        if ((which >> i & 1) != 0 && !(i == 2 && (which & 2) != 0) &&
            !(i == 4 && (which & 8) != 0) && !(i == 6 && (which & 32) != 0)) {
            chassis_buf_append_str(out, some[i]);
        }
    }
}

static void make_json(struct chassis_buf *out)
{
    chassis_buf_clear(out);
    chassis_buf_printf(out, "{'name':'%s'", PICK("r", "A.b-c_9", ERRORS, "a b", ""));
    add_match(out);
    if (below(3) != 0) {
        add_list(out, "targets", add_target);
    } else {
        chassis_buf_printf(out, ",'endpoint':{'host':'%s','port':%u}",
                           PICK("h", "0:0::0:1", "127.0.0.1", ERRORS, "[::1]"), 1 + below(65536));
    }
    if (below(4) == 0) {
        chassis_buf_printf(out, ",'prefixRewrite':'%s'", PICK("/", "/v2/", ERRORS, "v2"));
    }
    add_policies(out);
    add_list(out, "listeners", add_name);
    add_list(out, "groups", add_name);
    chassis_buf_append_str(out, "}");
}

/* The route as dctl prints it, and as it comes back. */
static struct fuse_route *through_json(const struct fuse_route *r)
{
    struct chassis_arena arena;
    struct chassis_buf json = {0};
    struct chassis_error err;
    struct fuse_problems problems = {0};
    ProtobufCMessage *message = NULL;
    chassis_arena_init(&arena, NULL, 0, 0);
    Core__ControlPlane__Networking__V1__Route *shown = fuse_route_to_message(r, &arena);
    assert_int_equal(chassis_json_print(&shown->base, NULL, &json, &err), 0);
    assert_int_equal(chassis_json_parse(shown->base.descriptor, chassis_buf_view(&json), NULL,
                                        false, &arena, &message, &err),
                     0);
    struct fuse_route *again = fuse_route_of_message(
        (const Core__ControlPlane__Networking__V1__Route *)(const void *)message, NULL, &problems);
    chassis_arena_fini(&arena);
    chassis_buf_fini(&json);
    return again;
}

static void want_same(const char *json, const struct fuse_route *r, struct fuse_route *again)
{
    if (again == NULL || !chassis_view_eq(r->encoded, again->encoded) ||
        fuse_route_conditions(r) != fuse_route_conditions(again) ||
        r->retry.on != again->retry.on) {
        fail_msg("%s: another route", json);
    }
    fuse_route_unref(again);
}

static void a_route_is_refused_or_accepted_for_good(void **state)
{
    unsigned n_accepted = 0;
    struct chassis_buf json = {0};
    chassis_prng_init(&prng, 4);
    for (unsigned i = 0; i < ROUTES; i++) {
        struct fuse_problems problems, none = {0};
        make_json(&json);
        const char *text = (const char *)json.data;
        struct fuse_route *r = json_route(text, NULL, &problems);
        if ((r == NULL) != (problems.n_errors != 0)) {
            fail_msg("%s: %u errors", text, problems.n_errors);
        }
        if (r == NULL) {
            continue;
        }
        n_accepted++;
        want_same(text, r, fuse_route_of_bytes(r->encoded, &none));
        want_same(text, r, through_json(r));
        fuse_route_unref(r);
    }
    chassis_buf_fini(&json);
    assert_in_range(n_accepted, ROUTES / 10, ROUTES - ROUTES / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_route_is_refused_or_accepted_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
