#include "tests/test.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include <jansson.h>

#include <chassis/log.h>
#include <chassis/plugin/log_sink.h>

#include "base/assert.h"

static int ends[2]; /* a pipe that catches what the sink under test writes */
static char caught[1 << 17];

static void catch_with(struct chassis_log_sink *(*make)(int fd))
{
    assert_int_equal(pipe(ends), 0);
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 17);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    chassis_log_set_sink(make(ends[1]));
}

static struct chassis_log_sink *console(int fd)
{
    return chassis_log_sink_console(fd, false);
}

static struct chassis_log_sink *console_coloured(int fd)
{
    return chassis_log_sink_console(fd, true);
}

static const char *what_came(void)
{
    size_t len = 0;
    for (;;) {
        ssize_t n = read(ends[0], caught + len, sizeof caught - 1 - len);
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
    }
    caught[len] = '\0';
    return caught;
}

/* One line that a foreign parser takes as one JSON object. */
static json_t *one_json_line(void)
{
    const char *line = what_came();
    size_t len = strlen(line);
    assert_true(len > 0 && len <= 16 * 1024);
    assert_ptr_equal(strchr(line, '\n'), line + len - 1);
    json_error_t error;
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    if (object == NULL) {
        fail_msg("not JSON: %s: %s", error.text, line);
    }
    return object;
}

static const char *text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "(no text)";
}

static void done(void)
{
    chassis_log_set_sink(chassis_log_sink_json(STDERR_FILENO));
    close(ends[0]);
    close(ends[1]);
}

static void a_record_is_one_json_line_with_all_its_fields(void **state)
{
    catch_with(chassis_log_sink_json);
    struct chassis_logger *log = chassis_log_module("test.json");
    const uint8_t bytes[] = {0x00, 0xab, 0xff};
    struct chassis_error err = {.code = CHASSIS_NOT_FOUND, .text = "no \"such\" key"};
    chassis_log_warn(log, "hello\n\"world\"\\", chassis_f_str("s", "tab\there \x1b[31m"),
                     chassis_f_str("none", NULL), chassis_f_view("view", chassis_view("ab", 2)),
                     chassis_f_i64("i", INT64_MIN), chassis_f_u64("u", 7), chassis_f_f64("f", 0.1),
                     chassis_f_f64("nan", NAN), chassis_f_f64("inf", -INFINITY),
                     chassis_f_bool("b", true), chassis_f_hex("h", chassis_view(bytes, 3)),
                     chassis_f_code(CHASSIS_NO_QUORUM), chassis_f_err(&err));
    json_t *o = one_json_line();
    assert_null(strchr(caught, '\x1b'));
    assert_string_equal(text_of(o, "level"), "warn");
    assert_string_equal(text_of(o, "module"), "test.json");
    assert_string_equal(text_of(o, "msg"), "hello\n\"world\"\\");
    assert_string_equal(text_of(o, "s"), "tab\there \x1b[31m");
    assert_true(json_is_null(json_object_get(o, "none")));
    assert_string_equal(text_of(o, "view"), "ab");
    assert_true(json_integer_value(json_object_get(o, "i")) == INT64_MIN);
    assert_true(json_real_value(json_object_get(o, "f")) == 0.1);
    assert_string_equal(text_of(o, "nan"), "NaN");
    assert_string_equal(text_of(o, "inf"), "-Inf");
    assert_true(json_is_true(json_object_get(o, "b")));
    assert_string_equal(text_of(o, "h"), "00abff");
    assert_string_equal(text_of(o, "code"), "NO_QUORUM");
    assert_string_equal(text_of(o, "error"), "no \"such\" key");
    int year, ms, n = 0;
    const char *time = text_of(o, "time");
    assert_int_equal(sscanf(time, "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%3dZ%n", &year, &ms, &n), 2);
    assert_int_equal(n, 24);
    assert_int_equal(strlen(time), 24);
    json_decref(o);
    done();
}

static void bytes_that_are_no_utf8_are_replaced(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* overlong */
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* surrogate */
        {"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* ends too early */
        {"\xc2\x9b", "\xc2\x9b"}, /* C1 control, escaped on the way */
    };
    catch_with(chassis_log_sink_json);
    struct chassis_logger *log = chassis_log_module("test.utf8");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        chassis_log_info(log, cases[i].in, chassis_f_str("k", cases[i].in));
        json_t *o = one_json_line();
        assert_null(strstr(caught, "\xc2\x9b"));
        assert_string_equal(text_of(o, "msg"), cases[i].out);
        assert_string_equal(text_of(o, "k"), cases[i].out);
        json_decref(o);
    }
    done();
}

static void a_huge_record_is_cut_and_says_so(void **state)
{
    catch_with(chassis_log_sink_json);
    struct chassis_logger *log = chassis_log_module("test.cut");
    for (size_t size = 16200; size < 16500; size++) {
        /* Every place where the cut may fall, a quote (two bytes escaped) among them. */
        char *huge = chassis_base_alloc(size + 1);
        memset(huge, size % 2 != 0 ? '"' : 'x', size);
        huge[size] = '\0';
        chassis_log_info(log, "big", chassis_f_str("k", huge), chassis_f_u64("after", 1),
                         chassis_f_hex("hex", chassis_view(huge, size)));
        json_t *o = one_json_line();
        assert_true(json_is_true(json_object_get(o, "cut")));
        assert_string_equal(text_of(o, "msg"), "big");
        assert_true(strlen(text_of(o, "k")) > 8000);
        json_decref(o);
        free(huge);
    }
    char message[20000];
    memset(message, '\n', sizeof message);
    message[sizeof message - 1] = '\0';
    chassis_log_info(log, message, chassis_f_str("kept", "yes"));
    json_t *o = one_json_line();
    assert_string_equal(text_of(o, "kept"), "yes");
    json_decref(o);
    done();
}

static void a_child_carries_its_fields_and_those_of_its_parent(void **state)
{
    catch_with(chassis_log_sink_json);
    struct chassis_logger *log = chassis_log_module("test.child");
    char key[] = "value that changes";
    struct chassis_log_field first[] = {chassis_f_str("request", key), chassis_f_u64("n", 1)};
    struct chassis_log_field second[] = {chassis_f_str("peer", "a b")};
    struct chassis_logger *child = chassis_log_child(log, first, 2);
    struct chassis_logger *grandchild = chassis_log_child(child, second, 1);
    memset(key, 'x', sizeof key - 1);
    chassis_log_free(child);
    chassis_log_info(grandchild, "m", chassis_f_bool("own", true));
    json_t *o = one_json_line();
    assert_string_equal(text_of(o, "request"), "value that changes");
    assert_string_equal(text_of(o, "peer"), "a b");
    assert_true(json_is_true(json_object_get(o, "own")));
    json_decref(o);

    char huge[6000];
    memset(huge, 'y', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    struct chassis_log_field big[] = {chassis_f_str("big", huge)};
    struct chassis_logger *cut = chassis_log_child(grandchild, big, 1);
    struct chassis_logger *below = chassis_log_child(cut, second, 1);
    chassis_log_info(below, "m");
    o = one_json_line();
    assert_true(json_is_true(json_object_get(o, "fields_cut")));
    json_decref(o);
    chassis_log_free(below);
    chassis_log_free(cut);
    chassis_log_free(grandchild);
    chassis_log_free(NULL);
    done();
}

static int evaluated(int *count)
{
    return ++*count;
}

static void a_level_changes_live_for_a_module_and_what_is_below_it(void **state)
{
    catch_with(chassis_log_sink_json);
    struct chassis_logger *rpc = chassis_log_module("lv");
    struct chassis_logger *client = chassis_log_module("lv.client");
    struct chassis_logger *other = chassis_log_module("lvx");
    assert_ptr_equal(rpc, chassis_log_module("lv"));
    int count = 0;
    chassis_log_debug(rpc, "m", chassis_f_i64("n", evaluated(&count)));
    assert_int_equal(count, 0);
    chassis_log_set_level("lv", CHASSIS_LOG_DEBUG);
    assert_true(chassis_log_on(rpc, CHASSIS_LOG_DEBUG));
    assert_true(chassis_log_on(client, CHASSIS_LOG_DEBUG));
    assert_false(chassis_log_on(other, CHASSIS_LOG_DEBUG));
    assert_true(chassis_log_on(chassis_log_module("lv.made.later"), CHASSIS_LOG_DEBUG));
    chassis_log_debug(rpc, "m", chassis_f_i64("n", evaluated(&count)));
    assert_int_equal(count, 1);
    chassis_log_set_level("lv.client", CHASSIS_LOG_ERROR);
    assert_false(chassis_log_on(chassis_log_module("lv.client.inner"), CHASSIS_LOG_WARN));
    assert_true(chassis_log_on(chassis_log_module("lv.server"), CHASSIS_LOG_DEBUG));
    chassis_log_set_level("", CHASSIS_LOG_OFF);
    assert_false(chassis_log_on(client, CHASSIS_LOG_FATAL));
    assert_false(chassis_log_on(chassis_log_module("made.later"), CHASSIS_LOG_FATAL));
    chassis_log_set_level("", CHASSIS_LOG_INFO);
    assert_true(chassis_log_on(chassis_log_module("lv.again"), CHASSIS_LOG_INFO));

    enum chassis_log_level level = CHASSIS_LOG_FATAL;
    assert_int_equal(chassis_log_level_parse("loud", &level), CHASSIS_INVALID_ARGUMENT);
    assert_int_equal(level, CHASSIS_LOG_FATAL);
    assert_int_equal(chassis_log_level_parse("trace", &level), 0);
    assert_int_equal(level, CHASSIS_LOG_TRACE);
    assert_string_equal(chassis_log_level_name(CHASSIS_LOG_OFF), "off");
    done();
}

static void the_console_shows_a_line_for_a_person(void **state)
{
    catch_with(console);
    struct chassis_log_field inherited[] = {chassis_f_str("a", "with space"),
                                            chassis_f_str("b", "q\"uote"), chassis_f_u64("c", 3)};
    struct chassis_logger *log =
        chassis_log_child(chassis_log_module("test.console"), inherited, 3);
    chassis_log_error(log, "store \"x\"\nopened\x1b[2J", chassis_f_str("path", "/var/x"),
                      chassis_f_str("e", ""), chassis_f_bool("ok", false));
    const char *line = what_came();
    assert_true(strlen(line) > 13);
    assert_string_equal(line + 12, " ERROR test.console store \"x\"\\nopened\\u001b[2J "
                                   "a=\"with space\" b=\"q\\\"uote\" c=3 path=/var/x e=\"\" "
                                   "ok=false\n");
    char huge[40000];
    memset(huge, 'z', sizeof huge);
    huge[sizeof huge - 1] = '\0';
    chassis_log_error(log, huge, chassis_f_str("k", huge));
    line = what_came();
    assert_true(strlen(line) <= 16 * 1024);
    assert_non_null(strstr(line, "cut=true\n"));
    chassis_log_free(log);
    done();
}

static void colours_only_when_asked_and_no_color_is_unset(void **state)
{
    struct chassis_logger *log = chassis_log_module("test.colour");
    unsetenv("NO_COLOR");
    catch_with(console_coloured);
    chassis_log_info(log, "m", chassis_f_str("k", "v"));
    assert_non_null(strstr(what_came(), "\x1b[32mINFO "));
    done();
    setenv("NO_COLOR", "1", 1);
    catch_with(console_coloured);
    chassis_log_info(log, "m", chassis_f_str("k", "v"));
    assert_null(strchr(what_came(), '\x1b'));
    done();
    unsetenv("NO_COLOR");
}

static void a_reader_that_stays_away_costs_records_and_is_told_so(void **state)
{
    catch_with(chassis_log_sink_json);
    fcntl(ends[1], F_SETPIPE_SZ, 4096);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    struct chassis_logger *log = chassis_log_module("test.full");
    char text[3000];
    memset(text, 't', sizeof text);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < 3; i++) {
        chassis_log_info(log, text);
    }
    const char *before = strstr(what_came(), "records\":");
    unsigned lost = before != NULL ? (unsigned)strtoul(before + 9, NULL, 10) : 0;
    chassis_log_info(log, "back again");
    const char *note = what_came();
    assert_non_null(strstr(note, "back again"));
    while ((note = strstr(note, "\"msg\":\"records were lost\",\"records\":")) != NULL) {
        note = strchr(note + 30, ':') + 1;
        lost += (unsigned)strtoul(note, NULL, 10);
    }
    assert_int_equal(lost, 2);
    done();
}

static void *shout(void *data)
{
    for (int i = 0; i < 200; i++) {
        chassis_log_info(chassis_log_module("test.threads"), "from a thread",
                         chassis_f_str("who", data), chassis_f_i64("i", i));
        chassis_log_set_level("test.threads.other", i % 2 ? CHASSIS_LOG_WARN : CHASSIS_LOG_INFO);
        chassis_log_trace(chassis_log_module("test.threads.other"), "never");
    }
    return NULL;
}

static void lines_of_many_threads_never_mix(void **state)
{
    catch_with(chassis_log_sink_json);
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    pthread_t threads[4];
    static char *names[4] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, shout, names[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    what_came();
    int lines = 0;
    for (char *line = strtok(caught, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        json_t *o = json_loads(line, 0, NULL);
        assert_non_null(o);
        json_decref(o);
        lines++;
    }
    assert_int_equal(lines, 800);
    done();
}

static void a_panic_leaves_a_fatal_record(void **state)
{
    catch_with(chassis_log_sink_json);
    chassis_log_module("test.panic");
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        CHASSIS_PANIC("the %s is wrong", "invariant");
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    json_t *o = one_json_line();
    assert_string_equal(text_of(o, "level"), "fatal");
    assert_non_null(strstr(text_of(o, "msg"), "the invariant is wrong"));
    json_decref(o);
    done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_one_json_line_with_all_its_fields),
        cmocka_unit_test(bytes_that_are_no_utf8_are_replaced),
        cmocka_unit_test(a_huge_record_is_cut_and_says_so),
        cmocka_unit_test(a_child_carries_its_fields_and_those_of_its_parent),
        cmocka_unit_test(a_level_changes_live_for_a_module_and_what_is_below_it),
        cmocka_unit_test(the_console_shows_a_line_for_a_person),
        cmocka_unit_test(colours_only_when_asked_and_no_color_is_unset),
        cmocka_unit_test(a_reader_that_stays_away_costs_records_and_is_told_so),
        cmocka_unit_test(lines_of_many_threads_never_mix),
        cmocka_unit_test(a_panic_leaves_a_fatal_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
