/* A service whose calls show what the chassis does around them. What Speak does is said by its input:
 *
 *     wait:FILE      make FILE.began, wait until FILE is there or the call is cancelled
 *     deaf:FILE      the same, deaf to cancellation
 *     secret:NAME    the secret of that name
 *     peer:          who calls: "name access encrypted"
 *     call:TEXT      Speak(TEXT) to the service probe.target names
 *     log:           a debug record of module "probe"
 *
 * With PROBE_ACCESS=service in its environment it serves registered processes only.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <chassis/chassis.h>
#include <examples/echo/v1/echo.chassis.h>

struct settings {
    const char *target;
};
static const struct chassis_config_key table[] = {
    {.name = "probe.target",
     .type = CHASSIS_CONFIG_STRING,
     .offset = offsetof(struct settings, target),
     .help = "What call: calls."},
    {.name = NULL},
};
static struct settings settings;
static struct chassis_client *client;

static void reply(struct chassis_call *call, const char *text)
{
    Examples__Echo__V1__SpeakResponse res = EXAMPLES__ECHO__V1__SPEAK_RESPONSE__INIT;
    res.output = (char *)(uintptr_t)text;
    echo_speak_reply(call, &res);
}

static void touch(const char *path, const char *suffix)
{
    char name[512];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    close(open(name, O_CREAT | O_WRONLY, 0600));
}

static void wait_for_file(struct chassis_call *call, const char *path, bool deaf)
{
    touch(path, ".began");
    while (access(path, F_OK) != 0) {
        if (!deaf && chassis_call_cancelled(call)) {
            touch(path, ".cancelled");
            chassis_call_fail(call, CHASSIS_CANCELLED, "cancelled while waiting");
            return;
        }
        poll(NULL, 0, 2);
    }
    reply(call, "waited");
}

static void secret(struct chassis_call *call, const char *name)
{
    struct chassis_buf value = {0};
    struct chassis_error err = {0};
    if (chassis_secret(chassis_call_data(call), name, &value, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    reply(call, chassis_arena_printf(chassis_call_arena(call), "%.*s", CHASSIS_VIEW_ARG(value)));
    chassis_buf_fini(&value);
}

static void peer(struct chassis_call *call)
{
    static const char *const classes[] = {"public", "service", "operator", "peer"};
    const struct chassis_peer *p = chassis_call_peer(call);
    reply(call, chassis_arena_printf(chassis_call_arena(call), "%s %s %s", p->name,
                                     classes[p->access], p->encrypted ? "encrypted" : "plain"));
}

static void forward(struct chassis_call *call, char *text)
{
    Examples__Echo__V1__SpeakRequest req = EXAMPLES__ECHO__V1__SPEAK_REQUEST__INIT;
    Examples__Echo__V1__SpeakResponse *res = NULL;
    struct chassis_call_options options = {.parent = call};
    struct chassis_error err = {0};
    req.input = text;
    if (echo_speak_sync(client, &req, &options, chassis_call_arena(call), &res, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    reply(call, res->output);
}

static void speak(struct chassis_call *call, const Examples__Echo__V1__SpeakRequest *req)
{
    if (strncmp(req->input, "wait:", 5) == 0) {
        wait_for_file(call, req->input + 5, false);
    } else if (strncmp(req->input, "deaf:", 5) == 0) {
        wait_for_file(call, req->input + 5, true);
    } else if (strncmp(req->input, "secret:", 7) == 0) {
        secret(call, req->input + 7);
    } else if (strncmp(req->input, "peer:", 5) == 0) {
        peer(call);
    } else if (strncmp(req->input, "call:", 5) == 0) {
        forward(call, req->input + 5);
    } else if (strncmp(req->input, "log:", 4) == 0) {
        chassis_log_debug(chassis_log_module("probe"), "a debug record");
        reply(call, "logged");
    } else {
        reply(call, req->input);
    }
}

static int start(struct chassis *c, void *data, struct chassis_error *err)
{
    return settings.target != NULL ? chassis_client(c, settings.target, &client, err) : 0;
}

static const struct chassis_method_options registered_only[] = {
    {.method = "*", .access = CHASSIS_ACCESS_SERVICE},
    {0},
};

int main(int argc, char **argv)
{
    static const struct echo_handlers handlers = {.speak = speak};
    static const struct chassis_runner runner = {.start = start};
    struct chassis *c = chassis_new("probe", argc, argv);
    chassis_with_config(c, table, &settings);
    struct chassis_service service = echo_service(&handlers, c);
    const char *access = getenv("PROBE_ACCESS");
    if (access != NULL && strcmp(access, "service") == 0) {
        service.options = registered_only;
    }
    chassis_with_rpc_handler(c, service);
    chassis_with_runner(c, &runner);
    chassis_register(c, "tests", NULL, 0);
    return chassis_run(c);
}
