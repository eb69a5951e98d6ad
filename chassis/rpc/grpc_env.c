#include "rpc/grpc_env.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdlib.h>

#include <chassis/log.h>

#include "base/assert.h"
#include "os/os.h"
#include "proto/message.h"

static void log_from_grpc(gpr_log_func_args *args)
{
    enum chassis_log_level level = args->severity == GPR_LOG_SEVERITY_ERROR  ? CHASSIS_LOG_WARN
                                   : args->severity == GPR_LOG_SEVERITY_INFO ? CHASSIS_LOG_DEBUG
                                                                             : CHASSIS_LOG_TRACE;
    if (strcmp(args->message, "Failed accept4: Invalid argument") == 0) {
        level = CHASSIS_LOG_DEBUG; /* no longer a listening socket: our doing (hang_up.h) */
    }
    chassis_log_at(chassis_log_module("rpc.grpc"), level, args->message,
                   chassis_f_str("file", args->file), chassis_f_i64("line", args->line));
}

/* Debian builds Abseil with its checks of the order of locks: a tenth of what a message costs in gRPC.
 * They are for whoever works on gRPC; a build without them, or with another name for the switch, has
 * nothing to turn off. OnDeadlockCycle::kIgnore is 0. */
static void skip_lock_order_checks(void)
{
    void (*set_mode)(int) = NULL;
    void *found = dlsym(RTLD_DEFAULT,
                        "_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE");
    memcpy(&set_mode, &found, sizeof set_mode);
    if (set_mode != NULL) {
        set_mode(0);
    }
}

/* Names are resolved by the system (getaddrinfo on a helper thread), as everything else on the
 * machine does it; c-ares costs memory and leaks some. A choice made in the environment stands. */
static void set_up_once(void)
{
    setenv("GRPC_DNS_RESOLVER", "native", 0);
    gpr_set_log_function(log_from_grpc);
    skip_lock_order_checks();
}

void rpc_grpc_ref(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_up_once);
    grpc_init();
}

void rpc_grpc_unref(void)
{
    grpc_shutdown();
}

/* ---- addresses ---- */

static bool host_is_local(const char *host)
{
    struct in_addr a4;
    struct in6_addr a6;
    if (strcmp(host, "localhost") == 0) {
        return true;
    }
    if (inet_pton(AF_INET, host, &a4) == 1) {
        return ntohl(a4.s_addr) >> 24 == 127;
    }
    if (inet_pton(AF_INET6, host, &a6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&a6) || (IN6_IS_ADDR_V4MAPPED(&a6) && a6.s6_addr[12] == 127);
    }
    return false;
}

bool rpc_address_is_local(const char *address)
{
    char host[256];
    if (strncmp(address, "unix:", 5) == 0 || strncmp(address, "unix-abstract:", 14) == 0) {
        return true;
    }
    const char *colon = strrchr(address, ':');
    size_t n = colon != NULL ? (size_t)(colon - address) : strlen(address);
    if (n >= 2 && address[0] == '[' && address[n - 1] == ']') {
        address++;
        n -= 2;
    }
    if (n >= sizeof host) {
        return false;
    }
    memcpy(host, address, n);
    host[n] = '\0';
    return host_is_local(host);
}

/* "ipv4:127.0.0.1:50312", "ipv6:[::1]:50312" or "ipv6:%5B::1%5D:50312", "unix:…" */
bool rpc_peer_is_local(const char *peer_uri)
{
    char host[256];
    if (strncmp(peer_uri, "ipv4:", 5) == 0) {
        return rpc_address_is_local(peer_uri + 5);
    }
    if (strncmp(peer_uri, "ipv6:", 5) == 0) {
        const char *from = peer_uri + 5;
        from += strncmp(from, "%5B", 3) == 0 ? 3 : from[0] == '[' ? 1 : 0;
        size_t n = strcspn(from, "%]");
        if (n >= sizeof host) {
            return false;
        }
        memcpy(host, from, n);
        host[n] = '\0';
        return host_is_local(host);
    }
    return strncmp(peer_uri, "unix", 4) == 0;
}

/* ---- bytes ---- */

void rpc_bytes_init(struct rpc_bytes *bytes, grpc_byte_buffer *buffer)
{
    grpc_byte_buffer_reader reader;
    bytes->slice = grpc_empty_slice();
    if (buffer != NULL && grpc_byte_buffer_reader_init(&reader, buffer)) {
        grpc_slice *first = NULL;
        if (buffer->data.raw.slice_buffer.count == 1 &&
            grpc_byte_buffer_reader_peek(&reader, &first)) {
            bytes->slice = grpc_slice_ref(*first);
        } else {
            bytes->slice = grpc_byte_buffer_reader_readall(&reader);
        }
        grpc_byte_buffer_reader_destroy(&reader);
    }
    bytes->view = rpc_slice_view(&bytes->slice);
}

void rpc_bytes_fini(struct rpc_bytes *bytes)
{
    grpc_slice_unref(bytes->slice);
}

grpc_slice rpc_slice_of(const void *message, struct chassis_view encoded)
{
    if (message == NULL) {
        return grpc_slice_from_copied_buffer((const char *)encoded.data, encoded.len);
    }
    grpc_slice slice = grpc_slice_malloc(chassis_message_size(message));
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    return slice;
}

/* ---- time ---- */

gpr_timespec rpc_deadline(uint64_t monotonic_ns)
{
    if (monotonic_ns == UINT64_MAX) {
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    }
    uint64_t now = chassis_os_monotonic_ns();
    int64_t left = monotonic_ns > now ? (int64_t)(monotonic_ns - now) : 0;
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(left, GPR_TIMESPAN));
}

uint64_t rpc_deadline_from(gpr_timespec deadline)
{
    if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) {
        return UINT64_MAX;
    }
    gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
    if (gpr_time_cmp(left, gpr_time_0(GPR_TIMESPAN)) <= 0) {
        return 0;
    }
    if (left.tv_sec > 365LL * 86400) {
        return UINT64_MAX;
    }
    return chassis_os_monotonic_ns() + (uint64_t)left.tv_sec * CHASSIS_NS_PER_S +
           (uint64_t)left.tv_nsec;
}
