/* Pages of the public listener: health, version, metrics. */
#include <stdio.h>
#include <unistd.h>

#include "http/internal.h"

static enum MHD_Result page_live(struct http_exchange *x)
{
    struct chassis_buf body = {0};
    chassis_buf_append_str(&body, "{\"status\":\"alive\"}\n");
    return http_answer(x, 200, "application/json", &body);
}

static enum MHD_Result page_ready(struct http_exchange *x)
{
    const struct chassis_http_options *o = &x->http->options;
    struct chassis_buf checks = {0}, body = {0};
    bool ready = o->ready == NULL || o->ready(o->ready_data, &checks);
    chassis_buf_printf(&body, "{\"status\":\"%s\",\"checks\":%s}\n", ready ? "ready" : "not ready",
                       checks.len != 0 ? (const char *)checks.data : "{}");
    chassis_buf_fini(&checks);
    return http_answer(x, ready ? 200 : 503, "application/json", &body);
}

static enum MHD_Result page_version(struct http_exchange *x)
{
    const struct chassis_http_options *o = &x->http->options;
    struct chassis_buf body = {0};
    chassis_buf_append_str(&body, "{\"name\":");
    connect_json_string(o->name != NULL ? o->name : "", &body);
    chassis_buf_append_str(&body, ",\"version\":");
    connect_json_string(o->version != NULL ? o->version : "", &body);
    chassis_buf_printf(&body, ",\"pid\":%d,\"started\":%lld}\n", (int)getpid(),
                       (long long)x->http->started_s);
    return http_answer(x, 200, "application/json", &body);
}

static enum MHD_Result page_metrics(struct http_exchange *x)
{
    struct chassis_buf body = {0};
    chassis_metrics_render(&body);
    return http_answer(x, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}

static const struct {
    const char *path;
    enum MHD_Result (*page)(struct http_exchange *x);
} pages[] = {
    {"/livez", page_live},
    {"/readyz", page_ready},
    {"/version", page_version},
    {"/metrics", page_metrics},
};

bool http_is_page(const char *path)
{
    bool is = false;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        is = is || strcmp(pages[i].path, path) == 0;
    }
    return is;
}

bool http_page(struct http_exchange *x, enum MHD_Result *ret_result)
{
    if (strcmp(x->method, "GET") != 0 && strcmp(x->method, "HEAD") != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (strcmp(pages[i].path, x->path) == 0) {
            *ret_result = pages[i].page(x);
            return true;
        }
    }
    return false;
}
