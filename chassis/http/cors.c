/* Browsers: which pages may call us (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol), and
 * protection of listeners on loopback against pages that reach them by a name of their own (DNS
 * rebinding). */
#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

#include "http/internal.h"

static bool origin_allowed(const struct chassis_http_options *o, const char *origin)
{
    for (size_t i = 0; i < o->n_origins; i++) {
        if (strcmp(o->origins[i], "*") == 0 || strcasecmp(o->origins[i], origin) == 0) {
            return true;
        }
    }
    return false;
}

/* "host" of "host:port"; brackets of IPv6 taken off. */
static void host_of(const char *authority, char ret_host[256])
{
    const char *end = authority[0] == '[' ? strchr(authority, ']') : strchr(authority, ':');
    const char *begin = authority + (authority[0] == '[');
    int len = end != NULL ? (int)(end - begin) : (int)strlen(begin);
    snprintf(ret_host, 256, "%.*s", len < 255 ? len : 255, begin);
}

static bool is_local_name(const char *host)
{
    unsigned char addr[16];
    size_t len = strlen(host);
    return inet_pton(AF_INET, host, addr) == 1 || inet_pton(AF_INET6, host, addr) == 1 ||
           strcasecmp(host, "localhost") == 0 ||
           (len > 10 && strcasecmp(host + len - 10, ".localhost") == 0);
}

static bool host_of_allowed_origin(const struct chassis_http_options *o, const char *authority)
{
    for (size_t i = 0; i < o->n_origins; i++) {
        const char *scheme_end = strstr(o->origins[i], "://");
        if (scheme_end != NULL && strcasecmp(scheme_end + 3, authority) == 0) {
            return true;
        }
    }
    return false;
}

static bool peer_is_loopback(const struct http_exchange *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *addr = info->client_addr;
    if (addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)addr;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)addr;
    return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

bool http_foreign_browser(const struct http_exchange *x)
{
    static const char *const browser_headers[] = {"Origin", "Sec-Fetch-Site", "Referer"};
    bool browser = false;
    for (unsigned i = 0; i < 3; i++) {
        browser = browser || http_header(x, browser_headers[i]) != NULL;
    }
    const char *authority = http_header(x, "Host");
    if (!browser || authority == NULL || !peer_is_loopback(x)) {
        return false;
    }
    char host[256];
    host_of(authority, host);
    return !is_local_name(host) && !host_of_allowed_origin(&x->http->options, authority);
}

enum MHD_Result http_preflight(struct http_exchange *x)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    const char *origin = http_header(x, "Origin");
    const char *headers = http_header(x, "Access-Control-Request-Headers");
    struct chassis_buf methods = {0};
    http_route_methods(x, &methods);
    bool route = methods.len != 0;
    if (!route || strstr((const char *)methods.data, "OPTIONS") == NULL) {
        chassis_buf_append_str(&methods, route ? ", OPTIONS" : "GET, HEAD, POST, OPTIONS");
    }
    if (origin != NULL && !x->listener->admin && origin_allowed(&x->http->options, origin)) {
        MHD_add_response_header(response, "Access-Control-Allow-Methods",
                                route ? (const char *)methods.data : "GET, POST");
        MHD_add_response_header(response, "Access-Control-Max-Age", "7200");
        if (headers != NULL) {
            MHD_add_response_header(response, "Access-Control-Allow-Headers", headers);
        }
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, (const char *)methods.data);
    chassis_buf_fini(&methods);
    return http_queue(x, 204, response);
}

static enum MHD_Result collect_name(void *data, enum MHD_ValueKind kind, const char *key,
                                    const char *value)
{
    struct chassis_buf *names = data;
    chassis_buf_printf(names, "%s%s", names->len != 0 ? ", " : "", key);
    return MHD_YES;
}

void http_cors_headers(const struct http_exchange *x, struct MHD_Response *response)
{
    const struct chassis_http_options *o = &x->http->options;
    if (o->n_origins == 0 || x->listener->admin) {
        return;
    }
    const char *origin = http_header(x, "Origin");
    if (origin != NULL && origin_allowed(o, origin)) {
        struct chassis_buf names = {0};
        MHD_get_response_headers(response, collect_name, &names);
        MHD_add_response_header(response, "Access-Control-Allow-Origin", origin);
        if (names.len != 0) {
            MHD_add_response_header(response, "Access-Control-Expose-Headers",
                                    (const char *)names.data);
        }
        chassis_buf_fini(&names);
    }
    MHD_add_response_header(response, "Vary", "Origin");
}
