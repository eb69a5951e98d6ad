/* Any request headers at a method of each access class: what they claim never crashes, never raises
 * a stranger, and every call ends exactly once.
 *
 * The input is lines: peer address, draft-proof, authorization, traceparent, a response header's
 * name, its value; what is left is the message. An empty line means that header is absent.
 */
#include <stdlib.h>
#include <string.h>

#include <chassis/log.h>

#include "metrics/trace.h"
#include "rpc/access.h"
#include "rpc/grpc_env.h"
#include "rpc/transport.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ADDRESS, PROOF, AUTHORIZATION, TRACEPARENT, NAME, VALUE, LINES };
static const char *const keys[LINES] = {
    [PROOF] = CHASSIS_PROOF_HEADER,
    [AUTHORIZATION] = "authorization",
    [TRACEPARENT] = "traceparent",
};

/* The transport: one call at a time. */
static struct chassis_view lines[LINES];
static char address[256];
static unsigned ends, handled;
static int code;

static bool op_header(struct chassis_call *call, const char *key, struct chassis_view *ret_value)
{
    for (int i = 0; i < LINES; i++) {
        if (keys[i] != NULL && strcmp(keys[i], key) == 0 && lines[i].len != 0) {
            *ret_value = lines[i];
            return true;
        }
    }
    return false;
}

static void op_peer(struct chassis_call *call, struct chassis_transport_peer *ret_peer)
{
    ret_peer->address = address;
    ret_peer->loopback = rpc_peer_is_local(address);
}

static int op_send(struct chassis_call *call, const void *message, struct chassis_view encoded)
{
    return CHASSIS_CANCELLED;
}

static void op_end(struct chassis_call *call, const struct chassis_outcome *outcome)
{
    size_t n;
    ends++;
    code = outcome->code;
    const struct chassis_pair *headers = chassis_call_headers(call, &n);
    for (size_t i = 0; i < n; i++) { /* what goes out is fit for a header */
        if (strlen(headers[i].key) == 0 || memchr(headers[i].key, '\n', strlen(headers[i].key))) {
            abort();
        }
    }
}

static const struct chassis_transport_ops ops = {
    .name = "fuzz", .header = op_header, .peer = op_peer, .send = op_send, .end = op_end};

/* ---- the service ---- */

static void answer(const void *handlers, struct chassis_call *call, const void *request)
{
    char name[64];
    size_t n = lines[NAME].len < sizeof name ? lines[NAME].len : sizeof name - 1;
    memcpy(name, lines[NAME].data, n);
    name[n] = '\0';
    handled++;
    chassis_call_set_header(call, name, lines[VALUE]);
    chassis_call_set_trailer(call, name, lines[VALUE]);
    if (strlen(chassis_call_trace_id(call)) != 32 || strlen(chassis_call_traceparent(call)) != 55) {
        abort();
    }
    chassis_call_reply_bytes(call, *(const struct chassis_view *)request);
}

#define METHOD(n)                                                                                  \
    {                                                                                              \
        .name = n, .path = "/draft.fuzz.Access/" n, .service = "draft.fuzz.Access"                 \
    }
static const struct chassis_method methods[] = {METHOD("Public"), METHOD("Service"),
                                                METHOD("Operator"), METHOD("Peer")};
static const struct chassis_method_binding bindings[] = {
    {.method = &methods[0], .message = answer},
    {.method = &methods[1], .message = answer},
    {.method = &methods[2], .message = answer},
    {.method = &methods[3], .message = answer},
};
static const struct chassis_method_options options[] = {
    {.method = "Service", .access = CHASSIS_ACCESS_SERVICE},
    {.method = "Operator", .access = CHASSIS_ACCESS_OPERATOR},
    {.method = "Peer", .access = CHASSIS_ACCESS_PEER},
    {.method = NULL},
};
static const struct chassis_service_type type = {
    .name = "draft.fuzz.Access", .methods = bindings, .n_methods = 4};

/* A token is good if it ends in "!". */
static int verify(void *data, const char *token, struct chassis_auth_claims *ret_claims,
                  struct chassis_error *err)
{
    size_t n = strlen(token);
    if (n == 0 || token[n - 1] != '!') {
        return chassis_error_set(err, CHASSIS_UNAUTHENTICATED, "not good");
    }
    memset(ret_claims, 0, sizeof *ret_claims);
    return 0;
}

static struct chassis_server *server_open(void)
{
    static const struct chassis_server_options o = {
        .verify_token = verify,
        .cluster_secret = {(const uint8_t *)"0123456789abcdef0123456789abcdef", 32}};
    struct chassis_server *server = NULL;
    struct chassis_service service = {.type = &type, .options = options};
    if (chassis_server_new(&o, &server, NULL) != 0 ||
        chassis_server_add(server, service, NULL) != 0 || chassis_server_start(server, NULL) != 0) {
        abort();
    }
    return server;
}

static struct chassis_view line_next(struct chassis_view *rest)
{
    const uint8_t *end = rest->len != 0 ? memchr(rest->data, '\n', rest->len) : NULL;
    size_t n = end != NULL ? (size_t)(end - rest->data) : rest->len;
    struct chassis_view line = chassis_view(rest->data, n);
    size_t skip = n + (end != NULL);
    *rest = chassis_view(rest->data + skip, rest->len - skip);
    return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct chassis_server *server; /* with its replay cache: kept from input to input */
    if (server == NULL) {
        server = server_open();
    }
    struct chassis_view rest = chassis_view(data, size);
    for (int i = 0; i < LINES; i++) {
        lines[i] = line_next(&rest);
    }
    size_t n = lines[ADDRESS].len < sizeof address ? lines[ADDRESS].len : sizeof address - 1;
    memcpy(address, lines[ADDRESS].data != NULL ? lines[ADDRESS].data : (const uint8_t *)"", n);
    address[n] = '\0';
    bool token = lines[AUTHORIZATION].len >= 8 &&
                 memchr(lines[AUTHORIZATION].data, '!', lines[AUTHORIZATION].len) != NULL;
    for (int i = 0; i < 4; i++) {
        ends = handled = 0;
        struct chassis_call *call =
            chassis_call_new(server, chassis_server_find(server, chassis_view_str(methods[i].path)),
                             &ops, NULL, UINT64_MAX);
        chassis_call_start(call);
        chassis_call_deliver(call, rest);
        bool may = i == 0 || (i == 1 && token); /* nobody can make a proof by chance */
        if (ends != 1 || (code == 0) != (handled == 1) || (handled != 0 && !may)) {
            abort();
        }
        chassis_call_release(call);
    }
    return 0;
}
