/* What is refused and what is only remarked on: every field, every limit, the field's name as users
 * write it.
 */
#include "json.h"

#define ROUTE(rest)         "{'name':'r','targets':[{'service':'e'}]" rest "}"
#define MATCH(inner)        ROUTE(",'match':{" inner "}")
#define HEADER(name, value) MATCH("'headerMatches':[{'name':'" name "','value':{" value "}}]")
#define QUERY(name, value)  MATCH("'queryMatches':[{'name':'" name "','value':{" value "}}]")
#define TARGETS(list)       "{'name':'r','targets':[" list "]}"
#define RETRY(rest)         ROUTE(",'retry':{'on':['RESET'],'retries':1" rest "}")

struct row {
    const char *json, *field, *text;
};

static const struct row refused[] = {
    /* name */
    {"{'targets':[{'service':'e'}]}", "name", "is empty"},
    {"{'name':'a b','targets':[{'service':'e'}]}", "name", "'a b' may have letters"},
    {"{'name':'a/b','targets':[{'service':'e'}]}", "name", "may have letters"},
    {"{'name':'a\\nb','targets':[{'service':'e'}]}", "name", "'a?b' may have"},
    /* where to */
    {"{'name':'r'}", "targets", "is not set"},
    {"{'name':'r','endpoint':{}}", "endpoint.host", "is not set"},
    {"{'name':'r','endpoint':{'port':80}}", "endpoint.host", "is not set"},
    {"{'name':'r','endpoint':{'host':'h'}}", "endpoint.port", "is 0"},
    {"{'name':'r','endpoint':{'host':'h','port':65536}}", "endpoint.port", "is 65536"},
    {"{'name':'r','endpoint':{'host':'1.2.3','port':1}}", "endpoint.host", "no IPv4 address"},
    {"{'name':'r','endpoint':{'host':'1.2.3.256','port':1}}", "endpoint.host", "no IPv4 address"},
    {"{'name':'r','endpoint':{'host':'[::1]','port':1}}", "endpoint.host", "without brackets"},
    {"{'name':'r','endpoint':{'host':'h:80','port':1}}", "endpoint.host", "in the field 'port'"},
    {"{'name':'r','endpoint':{'host':'h h','port':1}}", "endpoint.host", "is no host"},
    {"{'name':'r','endpoint':{'host':'*','port':1}}", "endpoint.host", "is no host"},
    {"{'name':'r','endpoint':{'host':'a..b','port':1}}", "endpoint.host", "empty part"},
    {"{'name':'r','endpoint':{'host':'h','port':1},'targets':[{'service':'e'}]}", "endpoint",
     "beside targets"},
    {TARGETS("{}"), "targets[0]", "is empty"},
    {TARGETS("{'weight':3}"), "targets[0]", "is empty"},
    {TARGETS("{'service':'e','host':'h'}"), "targets[0]", "one of them"},
    {TARGETS("{'service':'e','port':1}"), "targets[0]", "one of them"},
    {TARGETS("{'host':'h'}"), "targets[0].port", "is 0"},
    {TARGETS("{'port':1}"), "targets[0].host", "is empty"},
    {TARGETS("{'service':'a b'}"), "targets[0].service", "may have letters"},
    {TARGETS("{'service':'a','weight':1},{'service':'b','weight':10001}"), "targets[1].weight",
     "at most 10,000"},
    {TARGETS("{'service':'a'},{'service':'b'}"), "targets", "weight 0"},
    {TARGETS("{'service':'a','weight':1},{'service':'a','weight':2}"), "targets[1]",
     "same as targets[0]"},
    {TARGETS("{'host':'::1','port':1,'weight':1},{'host':'0::1','port':1,'weight':2}"),
     "targets[1]", "same as targets[0]"},
    /* match: host */
    {MATCH("'host':'a:80'"), "match.host", "without port"},
    {MATCH("'host':'a*'"), "match.host", "as the first part"},
    {MATCH("'host':'*.*.a'"), "match.host", "as the first part"},
    {MATCH("'host':'*.'"), "match.host", "is empty"},
    {MATCH("'host':'a.'"), "match.host", "empty part"},
    {MATCH("'host':'.a'"), "match.host", "empty part"},
    {MATCH("'host':'-a'"), "match.host", "begins or ends with '-'"},
    {MATCH("'host':'a b'"), "match.host", "is no host"},
    {MATCH("'host':'ä'"), "match.host", "xn--"},
    {MATCH("'host':'a/b'"), "match.host", "is no host"},
    /* match: path */
    {MATCH("'prefix':'api'"), "match.prefix", "must begin with '/'"},
    {MATCH("'path':'*'"), "match.path", "must begin with '/'"},
    {MATCH("'prefix':'/a b'"), "match.prefix", "percent-encode"},
    {MATCH("'prefix':'/a?b'"), "match.prefix", "query_matches"},
    {MATCH("'prefix':'/a#b'"), "match.prefix", "percent-encode"},
    {MATCH("'prefix':'/\\\"'"), "match.prefix", "percent-encode"},
    {MATCH("'prefix':'/\\\\'"), "match.prefix", "percent-encode"},
    {MATCH("'prefix':'/{x}'"), "match.prefix", "percent-encode"},
    {MATCH("'prefix':'/ä'"), "match.prefix", "percent-encode"},
    {MATCH("'prefix':'/\\u0001'"), "match.prefix", "percent-encode"},
    {MATCH("'prefix':'/%[src]'"), "match.prefix", "write '%25'"},
    {MATCH("'prefix':'/%'"), "match.prefix", "write '%25'"},
    {MATCH("'prefix':'/%2'"), "match.prefix", "write '%25'"},
    {MATCH("'prefix':'/a','path':'/b'"), "match.path", "stands beside another"},
    {MATCH("'prefix':'/a','regex':'/b'"), "match.regex", "stands beside another"},
    {MATCH("'path':'/a','grpcMatchOptions':{'service':'S'}"), "match.path", "stands beside"},
    {MATCH("'regex':'('"), "match.regex", "a group without its ')' at byte 1 of '('"},
    {MATCH("'regex':'(?=a)'"), "match.regex", "look-around"},
    {MATCH("'grpcMatchOptions':{'method':'M'}"), "match.grpc_match_options.service", "is not set"},
    {MATCH("'grpcMatchOptions':{'service':'/S'}"), "match.grpc_match_options.service", "slashes"},
    {MATCH("'grpcMatchOptions':{'service':'a..S'}"), "match.grpc_match_options.service", "empty"},
    {MATCH("'grpcMatchOptions':{'service':'a-S'}"), "match.grpc_match_options.service", "protobuf"},
    {MATCH("'grpcMatchOptions':{'service':'1S'}"), "match.grpc_match_options.service", "digit"},
    {MATCH("'grpcMatchOptions':{'service':'S','method':'a.M'}"), "match.grpc_match_options.method",
     "own name"},
    {MATCH("'dynamicMetadata':{}"), "match.dynamic_metadata", "not supported"},
    /* match: methods */
    {MATCH("'methods':['get']"), "match.methods[0]", "upper case"},
    {MATCH("'methods':['GET','']"), "match.methods[1]", "is empty"},
    {MATCH("'methods':['GET','GET']"), "match.methods[1]", "named twice"},
    {MATCH("'methods':['G\\\"T']"), "match.methods[0]", "is no method"},
    /* match: headers */
    {MATCH("'headers':{}"), "match.headers.key", "is empty"},
    {MATCH("'headers':{'key':':path'}"), "match.headers.key", "use match.path"},
    {MATCH("'headers':{'key':'a','value':'b\\n'}"), "match.headers.value", "control character"},
    {MATCH("'headers':{'key':'a','value':' b'}"), "match.headers.value", "space at its end"},
    {HEADER("Host", "'exact':'a'"), "match.header_matches[0].name", "use match.host"},
    {HEADER(":method", "'exact':'a'"), "match.header_matches[0].name", "is no header"},
    {HEADER("Connection", "'exact':'a'"), "match.header_matches[0].name", "take it off"},
    {HEADER("te", "'exact':'a'"), "match.header_matches[0].name", "take it off"},
    {HEADER("a b", "'exact':'a'"), "match.header_matches[0].name", "is no header"},
    {HEADER("a:", "'exact':'a'"), "match.header_matches[0].name", "is no header"},
    {HEADER("", "'exact':'a'"), "match.header_matches[0].name", "is empty"},
    {HEADER("a", ""), "match.header_matches[0].value", "is not set"},
    {HEADER("a", "'exact':''"), "match.header_matches[0].value.exact", "use present"},
    {HEADER("a", "'prefix':''"), "match.header_matches[0].value.prefix", "use present"},
    {HEADER("a", "'suffix':''"), "match.header_matches[0].value.suffix", "use present"},
    {HEADER("a", "'contains':''"), "match.header_matches[0].value.contains", "use present"},
    {HEADER("a", "'regex':''"), "match.header_matches[0].value.regex", "1 to 512"},
    {HEADER("a", "'present':false"), "match.header_matches[0].value.present", "invert: true"},
    {HEADER("a", "'exact':'a '"), "match.header_matches[0].value.exact", "space"},
    {HEADER("a", "'prefix':' a'"), "match.header_matches[0].value.prefix", "space"},
    {HEADER("a", "'suffix':'a '"), "match.header_matches[0].value.suffix", "space"},
    {HEADER("a", "'exact':'ä'"), "match.header_matches[0].value.exact", "beyond ASCII"},
    {HEADER("a", "'exact':'\\t'"), "match.header_matches[0].value.exact", "control character"},
    {HEADER("a", "'regex':'a\\nb'"), "match.header_matches[0].value.regex", "control character"},
    {HEADER("a", "'regex':'[z-a]'"), "match.header_matches[0].value.regex", "comes before"},
    {MATCH("'headerMatches':[{'name':'a'}]"), "match.header_matches[0].value", "is not set"},
    /* match: query */
    {QUERY("", "'exact':'a'"), "match.query_matches[0].name", "is empty"},
    {QUERY("a=b", "'exact':'a'"), "match.query_matches[0].name", "percent-encoded"},
    {QUERY("a&b", "'exact':'a'"), "match.query_matches[0].name", "percent-encoded"},
    {QUERY("a)", "'exact':'a'"), "match.query_matches[0].name", "percent-encoded"},
    {QUERY("%[a]", "'exact':'a'"), "match.query_matches[0].name", "write '%25'"},
    {QUERY("a", "'exact':'a b'"), "match.query_matches[0].value.exact", "percent-encoded"},
    {QUERY("a", "'exact':'a#'"), "match.query_matches[0].value.exact", "percent-encoded"},
    {QUERY("a", "'exact':'%[src]'"), "match.query_matches[0].value.exact", "write '%25'"},
    {QUERY("a", ""), "match.query_matches[0].value", "is not set"},
    /* the rest */
    {ROUTE(",'priority':1001"), "priority", "is 1001"},
    {ROUTE(",'priority':-1001"), "priority", "is -1001"},
    {ROUTE(",'prefixRewrite':'x'"), "prefix_rewrite", "must begin with '/'"},
    {ROUTE(",'prefixRewrite':'/%[x]'"), "prefix_rewrite", "write '%25'"},
    {ROUTE(",'match':{'regex':'/a'},'prefixRewrite':'/x'"), "prefix_rewrite", "match.regex"},
    {ROUTE(",'timeout':'0s'"), "timeout", "1 ms to 24 h"},
    {ROUTE(",'timeout':'-1s'"), "timeout", "negative"},
    {ROUTE(",'timeout':'0.0005s'"), "timeout", "whole number of milliseconds"},
    {ROUTE(",'timeout':'86400.001s'"), "timeout", "is 86400.001 s: 1 ms to 24 h"},
    {ROUTE(",'timeout':'315576000000s'"), "timeout", "1 ms to 24 h"},
    {ROUTE(",'retry':{'retries':1}"), "retry.on", "is empty"},
    {ROUTE(",'retry':{'on':['RESET']}"), "retry.retries", "is 0: 1 to 10"},
    {ROUTE(",'retry':{'on':['RESET'],'retries':11}"), "retry.retries", "is 11: 1 to 10"},
    {ROUTE(",'retry':{'on':[0],'retries':1}"), "retry.on[0]", "no condition"},
    {ROUTE(",'retry':{'on':[1,10],'retries':1}"), "retry.on[1]", "is 10"},
    {ROUTE(",'retry':{'on':[-1],'retries':1}"), "retry.on[0]", "is -1"},
    {RETRY(",'perTryTimeout':'3600.001s'"), "retry.per_try_timeout", "1 ms to 1 h"},
    {RETRY(",'backoffBase':'61s'"), "retry.backoff_base", "1 ms to 1 min"},
    {RETRY(",'backoffMax':'61s'"), "retry.backoff_max", "1 ms to 1 min"},
    {RETRY(",'backoffMax':'0.010s'"), "retry.backoff_max", "25 ms"},
    {RETRY(",'backoffBase':'1s','backoffMax':'0.5s'"), "retry.backoff_max", "1000 ms"},
    {ROUTE(",'hashKey':{}"), "hash_key", "is empty"},
    {ROUTE(",'hashKey':{'header':'host'}"), "hash_key.header", "match.host"},
    {ROUTE(",'hashKey':{'header':''}"), "hash_key.header", "is empty"},
    {ROUTE(",'hashKey':{'cookie':'a=b'}"), "hash_key.cookie", "is no cookie"},
    {ROUTE(",'hashKey':{'query':'a,b'}"), "hash_key.query", "percent-encoded"},
    {ROUTE(",'hashKey':{'sourceAddress':false}"), "hash_key.source_address", "is false"},
    {ROUTE(",'circuitBreaker':{'maxRequests':2147483648}"), "circuit_breaker.max_requests",
     "at most 2147483647"},
    {ROUTE(",'outlierDetection':{'consecutiveErrors':1001}"),
     "outlier_detection.consecutive_errors", "1 to 1000"},
    {ROUTE(",'outlierDetection':{'maxEjectionPercent':101}"),
     "outlier_detection.max_ejection_percent", "1 to 100"},
    {ROUTE(",'outlierDetection':{'interval':'0.099s'}"), "outlier_detection.interval", "100 ms"},
    {ROUTE(",'outlierDetection':{'baseEjectionTime':'3601s'}"),
     "outlier_detection.base_ejection_time", "100 ms to 1 h"},
    {ROUTE(",'listeners':['']"), "listeners[0]", "is empty"},
    {ROUTE(",'listeners':['a','a']"), "listeners[1]", "named twice"},
    {ROUTE(",'groups':['a b']"), "groups[0]", "may have letters"},
};

static const struct fuse_problem *find(const struct fuse_problems *problems, const struct row *row)
{
    for (unsigned i = 0; i < problems->n; i++) {
        const struct fuse_problem *p = &problems->items[i];
        if (strcmp(p->field, row->field) == 0 && strstr(p->text, row->text) != NULL) {
            return p;
        }
    }
    for (unsigned i = 0; i < problems->n; i++) {
        print_error("%s: %s\n", problems->items[i].field, problems->items[i].text);
    }
    fail_msg("%s: nobody says '%s' of %s", row->json, row->text, row->field);
    return NULL;
}

static void what_a_proxy_would_refuse_is_refused_by_field(void **state)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct fuse_problems problems;
        struct fuse_route *r = json_route(refused[i].json, NULL, &problems);
        if (r != NULL) {
            fail_msg("%s is accepted", refused[i].json);
        }
        assert_true(find(&problems, &refused[i])->is_error);
        if (problems.n_errors != 1) {
            print_error("%s: %s\n", problems.items[1].field, problems.items[1].text);
            fail_msg("%s: %u errors", refused[i].json, problems.n_errors);
        }
    }
}

static const char *const accepted[] = {
    ROUTE(""),
    "{'name':'A-z.0_9','targets':[{'service':'a.b-c_d'}]}",
    TARGETS("{'service':'a','weight':10000},{'service':'b'}"),
    TARGETS("{'service':'a','weight':10000}"),
    TARGETS("{'host':'h','port':65535}"),
    MATCH("'host':'*'"),
    MATCH("'host':'*.com'"),
    MATCH("'host':'10.0.0.1'"),
    MATCH("'host':'xn--bcher-kva.example'"),
    MATCH("'prefix':'/'"),
    MATCH("'prefix':'/a%2f/~x;y=1,2@:!$()*+&.-_'"),
    MATCH("'path':'/','methods':['M-SEARCH','PROPFIND']"),
    MATCH("'headers':{'key':'upgrade','value':'websocket'}"),
    HEADER("x_y.z", "'contains':' \\\\ %[x] # ${y} '"),
    HEADER("x", "'regex':'Mozilla/.*'"),
    QUERY("filter[a]", "'exact':'a=b+%20(c)'"),
    ROUTE(",'priority':1000,'timeout':'0.001s'"),
    ROUTE(",'priority':-1000,'timeout':'86400s'"),
    RETRY(",'perTryTimeout':'3600s','backoffBase':'0.001s','backoffMax':'60s'"),
    ROUTE(",'retry':{'on':[1,2,3,4,5,6,7,8,9],'retries':10}"),
    ROUTE(",'circuitBreaker':{'maxRequests':2147483647}"),
    ROUTE(",'outlierDetection':{'consecutiveErrors':1000,'maxEjectionPercent':100,'interval':"
          "'3600s','baseEjectionTime':'0.1s'}"),
};

static void what_is_at_the_limit_is_accepted(void **state)
{
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        fuse_route_unref(json_accepted(accepted[i]));
    }
}

static const struct row warned[] = {
    {ROUTE(",'retry':{'on':['GRPC_INTERNAL'],'retries':1}"), "retry.on", "HAProxy"},
    {ROUTE(",'enableHttp2':true,'retry':{'on':['RESET'],'retries':1}"), "retry.on", "proxyless"},
    {RETRY(",'perTryTimeout':'1s'"), "retry.per_try_timeout", "HAProxy"},
    {ROUTE(",'timeout':'1s','retry':{'on':['RESET'],'retries':1,'perTryTimeout':'1s'}"),
     "retry.per_try_timeout", "not shorter"},
    {RETRY(",'backoffBase':'1s'"), "retry", "pauses"},
    {ROUTE(",'enableHttp2':true,'match':{'queryMatches':[{'name':'a','value':{'present':true}}]}"),
     "match.query_matches", "proxyless"},
    {ROUTE(",'enableHttp2':true,'prefixRewrite':'/'"), "prefix_rewrite", "proxyless"},
    {ROUTE(",'enableHttp2':true,'hashKey':{'cookie':'a'}"), "hash_key", "by header only"},
    {MATCH("'grpcMatchOptions':{}"), "enable_http2", "set it"},
    {ROUTE(",'enableHttp2':true,'match':{'methods':['GET'],'grpcMatchOptions':{}}"),
     "match.methods", "never matches"},
    {ROUTE(",'match':{'prefix':'/a/'},'prefixRewrite':'/b'"), "prefix_rewrite", "ends with '/'"},
    {ROUTE(",'enableHttp2':true,'match':{'headers':{'key':'a'},'headerMatches':[{'name':'x-bin',"
           "'value':{'present':true}}]}"),
     "match.header_matches[0].name", "x-bin"},
    {ROUTE(",'match':{'regex':'[a-z]{100}'}"), "match.regex", "Envoy takes 100"},
    {HEADER("a", "'regex':'(.*a){20}'"), "match.header_matches[0].value.regex", "Envoy"},
    {QUERY("a", "'regex':'[^a]{9}'"), "match.query_matches[0].value.regex", "Envoy"},
};

static void what_only_some_proxies_can_is_remarked_on(void **state)
{
    for (size_t i = 0; i < sizeof warned / sizeof *warned; i++) {
        struct fuse_problems problems;
        struct fuse_route *r = json_route(warned[i].json, NULL, &problems);
        if (r == NULL) {
            fail_msg("%s: %s: %s", warned[i].json, problems.items[0].field, problems.items[0].text);
        }
        assert_false(find(&problems, &warned[i])->is_error);
        fuse_route_unref(r);
    }
}

static void an_ordinary_route_has_no_remarks(void **state)
{
    static const char *const plain[] = {
        ROUTE(",'match':{'prefix':'/api','host':'a.example.com'},'timeout':'5s'"),
        ROUTE(",'enableHttp2':true,'match':{'grpcMatchOptions':{'service':'a.S'}},'retry':{'on':"
              "['GRPC_UNAVAILABLE'],'retries':2}"),
        ROUTE(",'match':{'regex':'/v[0-9]+/x'}"),
        ROUTE(",'match':{'prefix':'/a/'},'prefixRewrite':'/'"),
    };
    static const unsigned remarks[] = {0, 1, 0, 0};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        struct fuse_problems problems;
        struct fuse_route *r = json_route(plain[i], NULL, &problems);
        assert_non_null(r);
        assert_int_equal(problems.n, remarks[i]);
        fuse_route_unref(r);
    }
}

/* ---- sizes ---- */

static void check_size(const char *before, char fill, size_t len, const char *after,
                       const char *field)
{
    char json[4096];
    struct fuse_problems problems;
    for (unsigned more = 0; more < 2; more++) {
        size_t at = (size_t)snprintf(json, sizeof json, "%s", before);
        memset(json + at, fill, len + more);
        snprintf(json + at + len + more, sizeof json - at - len - more, "%s", after);
        struct fuse_route *r = json_route(json, NULL, &problems);
        if ((r != NULL) != (more == 0)) {
            fail_msg("%s of %zu bytes: %s", field, len + more,
                     problems.n != 0 ? problems.items[0].text : "accepted");
        }
        if (more == 1) {
            assert_string_equal(problems.items[0].field, field);
        }
        fuse_route_unref(r);
    }
}

static void texts_have_their_largest_size(void **state)
{
#define TAIL     ",'targets':[{'service':'e'}]}"
#define IN_MATCH "{'name':'r','match':{"
    check_size("{'name':'", 'n', 128, "'" TAIL, "name");
    check_size("{'name':'r','targets':[{'service':'", 's', 128, "'}]}", "targets[0].service");
    check_size(IN_MATCH "'prefix':'/", 'p', 1023, "'}" TAIL, "match.prefix");
    check_size(IN_MATCH "'path':'/", 'p', 1023, "'}" TAIL, "match.path");
    check_size(IN_MATCH "'regex':'", 'r', 512, "'}" TAIL, "match.regex");
    check_size(IN_MATCH "'host':'", 'h', 63, "'}" TAIL, "match.host");
    check_size(IN_MATCH "'methods':['", 'M', 32, "']}" TAIL, "match.methods[0]");
    check_size(IN_MATCH "'headers':{'key':'", 'h', 128, "'}}" TAIL, "match.headers.key");
    check_size(IN_MATCH "'headers':{'key':'k','value':'", 'v', 1024, "'}}" TAIL,
               "match.headers.value");
    check_size(IN_MATCH "'queryMatches':[{'name':'", 'q', 128, "','value':{'present':true}}]}" TAIL,
               "match.query_matches[0].name");
    check_size(IN_MATCH "'queryMatches':[{'name':'q','value':{'prefix':'", 'v', 1024, "'}}]}" TAIL,
               "match.query_matches[0].value.prefix");
    check_size(IN_MATCH "'grpcMatchOptions':{'service':'", 'S', 256, "'}}" TAIL,
               "match.grpc_match_options.service");
    check_size("{'name':'r','prefixRewrite':'/", 'p', 1023, "'" TAIL, "prefix_rewrite");
    check_size("{'name':'r','hashKey':{'cookie':'", 'c', 128, "'}" TAIL, "hash_key.cookie");
#undef IN_MATCH
#undef TAIL
}

static void check_count(const char *before, const char *element, const char *after,
                        const char *field)
{
    for (unsigned n = FUSE_LIST_MAX; n <= FUSE_LIST_MAX + 1; n++) {
        struct chassis_buf json = {0};
        struct fuse_problems problems;
        chassis_buf_append_str(&json, before);
        for (unsigned i = 0; i < n; i++) {
            const char *hash = strchr(element, '#'); /* where the number goes */
            chassis_buf_printf(&json, "%s%.*s%c%s", i != 0 ? "," : "", (int)(hash - element),
                               element, 'A' + (char)i, hash + 1);
        }
        chassis_buf_append_str(&json, after);
        struct fuse_route *r = json_route((const char *)json.data, NULL, &problems);
        if ((r != NULL) != (n == FUSE_LIST_MAX)) {
            fail_msg("%s: %u", field, n);
        }
        if (r == NULL) {
            assert_string_equal(problems.items[0].field, field);
            assert_non_null(strstr(problems.items[0].text, "has 17 entries"));
        }
        fuse_route_unref(r);
        chassis_buf_fini(&json);
    }
}

static void lists_have_sixteen_entries_at_most(void **state)
{
#define TAIL ",'targets':[{'service':'e'}]}"
    check_count("{'name':'r','targets':[", "{'service':'#','weight':1}", "]}", "targets");
    check_count("{'name':'r','match':{'methods':[", "'#'", "]}" TAIL, "match.methods");
    check_count("{'name':'r','match':{'headers':{'key':'a'},'headerMatches':[",
                "{'name':'#','value':{'present':true}}", "]}" TAIL, "match.header_matches");
    check_count("{'name':'r','match':{'queryMatches':[", "{'name':'#','value':{'regex':'a'}}",
                "]}" TAIL, "match.query_matches");
    check_count("{'name':'r','listeners':[", "'#'", "]" TAIL, "listeners");
    check_count("{'name':'r','groups':[", "'#'", "]" TAIL, "groups");
#undef TAIL
}

static void more_problems_than_fit_are_counted(void **state)
{
    struct fuse_problems problems = {0};
    char long_text[600];
    memset(long_text, 'x', sizeof long_text);
    long_text[sizeof long_text - 1] = '\0';
    for (unsigned i = 0; i < FUSE_PROBLEMS_MAX + 5; i++) {
        fuse_problem_error(&problems, long_text, "%s", long_text);
    }
    fuse_problem_warning(&problems, "f", long_text, "w");
    assert_int_equal(problems.n, FUSE_PROBLEMS_MAX);
    assert_int_equal(problems.n_errors, FUSE_PROBLEMS_MAX + 5);
    assert_int_equal(problems.n_lost, 6);
    assert_int_equal(strlen(problems.items[0].text), FUSE_PROBLEM_TEXT_MAX - 1);
}

static void a_problem_is_one_line_of_ascii(void **state)
{
    struct fuse_problems problems = {0};
    struct chassis_buf line = {0};
    fuse_problem_error(&problems, "match.host", "'%s is none", "a\nb\x7f");
    fuse_problem_print(&problems.items[0], &line);
    assert_string_equal(line.data, "match.host: 'a?b? is none");
    chassis_buf_clear(&line);
    fuse_problem_error(&problems, "", "x");
    fuse_problem_print(&problems.items[1], &line);
    assert_string_equal(line.data, "x");
    chassis_buf_fini(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_proxy_would_refuse_is_refused_by_field),
        cmocka_unit_test(what_is_at_the_limit_is_accepted),
        cmocka_unit_test(what_only_some_proxies_can_is_remarked_on),
        cmocka_unit_test(an_ordinary_route_has_no_remarks),
        cmocka_unit_test(texts_have_their_largest_size),
        cmocka_unit_test(lists_have_sixteen_entries_at_most),
        cmocka_unit_test(more_problems_than_fit_are_counted),
        cmocka_unit_test(a_problem_is_one_line_of_ascii),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
