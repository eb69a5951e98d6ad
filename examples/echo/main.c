/* A whole service: it answers Speak with what it was told, by gRPC, JSON and Connect. */
#include <chassis/chassis.h>
#include <examples/echo/v1/echo.chassis.h>

static void speak(struct chassis_call *call, const Examples__Echo__V1__SpeakRequest *req)
{
    Examples__Echo__V1__SpeakResponse res = EXAMPLES__ECHO__V1__SPEAK_RESPONSE__INIT;
    res.output = req->input;
    echo_speak_reply(call, &res);
}

int main(int argc, char **argv)
{
    static const struct echo_handlers handlers = {.speak = speak};
    struct chassis *c = chassis_new("echo", argc, argv);
    chassis_with_rpc_handler(c, echo_service(&handlers, NULL));
    chassis_register(c, "examples", NULL, 0);
    return chassis_run(c);
}
