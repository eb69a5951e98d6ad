/* The floor of the rpc benchmark: a unary echo on the bare gRPC C core that looks at nothing. One
 * completion queue, one thread, a registered method, the request's bytes sent back as they came. */
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARMED = 100 };

struct job {
    grpc_call *call;
    gpr_timespec deadline;
    grpc_metadata_array metadata;
    grpc_byte_buffer *payload;
    bool answering;
};

static grpc_server *server;
static grpc_completion_queue *queue;
static void *method;

static void arm(struct job *job)
{
    memset(job, 0, sizeof *job);
    grpc_metadata_array_init(&job->metadata);
    grpc_server_request_registered_call(server, method, &job->call, &job->deadline, &job->metadata,
                                        &job->payload, queue, queue, job);
}

static void answer(struct job *job)
{
    grpc_op ops[4];
    memset(ops, 0, sizeof ops);
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = job->payload;
    ops[2].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    ops[2].data.send_status_from_server.status = GRPC_STATUS_OK;
    static int cancelled;
    ops[3].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    ops[3].data.recv_close_on_server.cancelled = &cancelled;
    job->answering = true;
    grpc_call_start_batch(job->call, ops, 4, job, NULL);
}

static void finish(struct job *job)
{
    grpc_byte_buffer_destroy(job->payload);
    grpc_metadata_array_destroy(&job->metadata);
    grpc_call_unref(job->call);
}

int main(void)
{
    static struct job jobs[ARMED];
    grpc_init();
    queue = grpc_completion_queue_create_for_next(NULL);
    server = grpc_server_create(NULL, NULL);
    grpc_server_register_completion_queue(server, queue, NULL);
    method = grpc_server_register_method(server, "/draft.bench.v1.BenchService/Echo", NULL,
                                         GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    grpc_server_credentials *plain = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(server, "127.0.0.1:0", plain);
    grpc_server_start(server);
    for (int i = 0; i < ARMED; i++) {
        arm(&jobs[i]);
    }
    printf("%d\n", port);
    fflush(stdout);
    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        struct job *job = event.tag;
        if (job->answering) {
            finish(job);
            arm(job);
        } else if (event.success) {
            answer(job);
        }
    }
}
