/* A whole service: it answers Speak with what it was told, by gRPC, JSON and Connect, and publishes
 * an event of it if brokers.catalyst.url is set. */
#include <chassis/chassis.h>
#include <examples/echo/v1/echo.chassis.h>

static void speak(struct chassis_call *call, const Examples__Echo__V1__SpeakRequest *req)
{
    struct chassis_event spoken = {.type = chassis_view_str("echo.spoken"),
                                   .content_type = chassis_view_str("text/plain"),
                                   .data = chassis_view_str(req->input)};
    Examples__Echo__V1__SpeakResponse res = EXAMPLES__ECHO__V1__SPEAK_RESPONSE__INIT;
    chassis_publish(chassis_broker(chassis_call_data(call), "catalyst"), &spoken, NULL, NULL, NULL,
                    NULL);
    res.output = req->input;
    echo_speak_reply(call, &res);
}

int main(int argc, char **argv)
{
    static const struct echo_handlers handlers = {.speak = speak};
    struct chassis *c = chassis_new("echo", argc, argv);
    chassis_with_rpc_handler(c, echo_service(&handlers, c));
    chassis_with_broker(c, &chassis_broker_catalyst);
    chassis_register(c, "examples", NULL, 0);
    chassis_with_route(c, &(struct chassis_route){.prefix = "/examples.echo.v1.EchoService/"});
    chassis_with_route(c, &(struct chassis_route){.name = "echo-grpc",
                                                  .grpc_service = "examples.echo.v1.EchoService"});
    return chassis_run(c);
}
