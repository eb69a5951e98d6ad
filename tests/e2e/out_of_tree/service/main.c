#include <chassis/chassis.h>
#include <demo/hello/v1/hello.chassis.h>

static void hello(struct chassis_call *call, const Demo__Hello__V1__HelloRequest *req)
{
    Demo__Hello__V1__HelloResponse res = DEMO__HELLO__V1__HELLO_RESPONSE__INIT;
    Core__Registry__KeyValue__V1__Value greeting = CORE__REGISTRY__KEY_VALUE__V1__VALUE__INIT;
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    greeting.data = chassis_arena_printf(chassis_call_arena(call), "hello %s", req->name);
    res.greeting = &greeting;
    res.time = &time;
    hello_hello_reply(call, &res);
}

int main(int argc, char **argv)
{
    static const struct hello_handlers handlers = {.hello = hello};
    struct chassis *c = chassis_new("hello", argc, argv);
    chassis_with_rpc_handler(c, hello_service(&handlers, NULL));
    return chassis_run(c);
}
