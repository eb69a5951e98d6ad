/* interop_server: prints its port, serves grpc.testing.TestService until SIGTERM or SIGINT. */
#include <signal.h>
#include <stdio.h>

#include "os/os.h"
#include "rpc/server.h"
#include "test_service.h"

int main(void)
{
    sigset_t wait_for;
    sigemptyset(&wait_for);
    sigaddset(&wait_for, SIGTERM);
    sigaddset(&wait_for, SIGINT);
    sigprocmask(SIG_BLOCK, &wait_for, NULL);

    struct chassis_error err = {0};
    struct chassis_pool *pool = NULL;
    struct chassis_server *server = NULL;
    int rc = chassis_os_pool_start("worker", 4, 1024, &pool);
    if (rc != 0) {
        fprintf(stderr, "interop_server: start workers: %s\n", chassis_status_text(rc));
        return 1;
    }
    const struct chassis_listener_options listener = {.address = "127.0.0.1:0"};
    const struct chassis_server_options options = {
        .listeners = &listener, .n_listeners = 1, .workers = chassis_os_pool_executor(pool)};
    if (chassis_server_new(&options, &server, &err) != 0 ||
        chassis_server_add(server, test_service(), &err) != 0 ||
        chassis_server_start(server, &err) != 0) {
        fprintf(stderr, "interop_server: %s\n", chassis_error_text(&err));
        return 1;
    }
    chassis_server_set_serving(server, "", true);
    printf("%u\n", chassis_server_port(server, 0));
    fflush(stdout);
    int signal_number;
    sigwait(&wait_for, &signal_number);
    chassis_server_drain(server, 1000);
    chassis_server_free(server);
    chassis_os_pool_stop(pool);
    return 0;
}
