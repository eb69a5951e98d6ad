/* Pages of the admin listener, as HTML for people and as JSON with ?format=json. */
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "http/internal.h"
#include "rpc/recent.h"

static void html(struct chassis_buf *out, const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        switch (*p) {
        case '<':
            chassis_buf_append_str(out, "&lt;");
            break;
        case '>':
            chassis_buf_append_str(out, "&gt;");
            break;
        case '&':
            chassis_buf_append_str(out, "&amp;");
            break;
        case '"':
            chassis_buf_append_str(out, "&quot;");
            break;
        default:
            chassis_buf_append_byte(out, (uint8_t)*p);
        }
    }
}

static void page_begin(struct http_exchange *x, struct chassis_buf *out, const char *title)
{
    const char *name = x->http->options.name != NULL ? x->http->options.name : "service";
    chassis_buf_append_str(out, "<!doctype html><meta charset=utf-8><title>");
    html(out, name);
    chassis_buf_printf(out,
                       " %s</title><style>body{font:14px sans-serif;margin:2em}table{border-"
                       "collapse:collapse}td,th{padding:2px 12px 2px 0;text-align:left;vertical-"
                       "align:top}tr:nth-child(even){background:#f4f4f4}</style><h1>",
                       title);
    html(out, name);
    chassis_buf_printf(
        out,
        " %s</h1><p><a href=/>index</a> · <a href=/requests>requests</a> · <a href=/config>"
        "configuration</a> · <a href=/metrics>metrics</a></p>",
        title);
}

static bool wants_json(const struct http_exchange *x)
{
    const char *format = http_query(x, "format"), *accept = http_header(x, "Accept");
    return (format != NULL && strcmp(format, "json") == 0) ||
           (accept != NULL && strncasecmp(accept, "application/json", 16) == 0);
}

static enum MHD_Result answer_html(struct http_exchange *x, struct chassis_buf *body)
{
    return http_answer(x, 200, "text/html; charset=utf-8", body);
}

static enum MHD_Result page_index(struct http_exchange *x)
{
    struct chassis_buf out = {0};
    const struct chassis_server *server = x->http->options.server;
    page_begin(x, &out, "");
    chassis_buf_append_str(&out, "<p>Version ");
    html(&out, x->http->options.version != NULL ? x->http->options.version : "?");
    chassis_buf_printf(&out,
                       ", up %lld s.</p><form method=post action=/loglevel>Log level of module "
                       "<input name=module placeholder='(all)'> <select name=level>",
                       (long long)(time(NULL) - x->http->started_s));
    for (int level = CHASSIS_LOG_TRACE; level <= CHASSIS_LOG_OFF; level++) {
        chassis_buf_printf(&out, "<option%s>%s", level == CHASSIS_LOG_INFO ? " selected" : "",
                           chassis_log_level_name((enum chassis_log_level)level));
    }
    chassis_buf_append_str(&out, "</select> <button>set</button></form><h2>Methods</h2><table>");
    size_t n = server != NULL ? chassis_server_method_count(server) : 0;
    static const char *const kinds[] = {"unary", "server stream", "client stream", "bidi stream"};
    static const char *const access[] = {"public", "service", "operator", "peer"};
    for (size_t i = 0; i < n; i++) {
        const struct chassis_server_method *m = chassis_server_method_at(server, i);
        chassis_buf_append_str(&out, "<tr><td>");
        html(&out, m->method->path);
        chassis_buf_printf(&out, "<td>%s<td>%s", kinds[m->method->kind], access[m->access]);
    }
    chassis_buf_append_str(&out, "</table>");
    return answer_html(x, &out);
}

static void entry_json(const struct chassis_recent_entry *e, struct chassis_buf *out)
{
    chassis_buf_append_str(out, "{\"method\":");
    connect_json_string(e->path, out);
    chassis_buf_printf(out,
                       ",\"transport\":\"%s\",\"ended_ns\":%lld,\"duration_ns\":%llu,\"request_"
                       "bytes\":%llu,\"response_bytes\":%llu,\"code\":\"%s\",\"trace_id\":\"%s\","
                       "\"peer\":",
                       e->transport, (long long)e->ended_ns, (unsigned long long)e->duration_ns,
                       (unsigned long long)e->request_bytes, (unsigned long long)e->response_bytes,
                       chassis_status_name(e->code), e->trace_id);
    connect_json_string(e->peer, out);
    chassis_buf_append_str(out, ",\"text\":");
    connect_json_string(e->text, out);
    chassis_buf_append_byte(out, '}');
}

static void entry_html(const struct chassis_recent_entry *e, struct chassis_buf *out)
{
    time_t s = (time_t)(e->ended_ns / 1000000000);
    struct tm tm;
    char when[32];
    gmtime_r(&s, &tm);
    strftime(when, sizeof when, "%H:%M:%S", &tm);
    chassis_buf_printf(out, "<tr><td>%s.%03d<td>", when, (int)(e->ended_ns / 1000000 % 1000));
    html(out, e->path);
    chassis_buf_printf(out, "<td>%s<td>%.3f ms<td>%llu / %llu<td>%s<td>%s<td>", e->transport,
                       (double)e->duration_ns / 1e6, (unsigned long long)e->request_bytes,
                       (unsigned long long)e->response_bytes, chassis_status_name(e->code),
                       e->trace_id);
    html(out, e->peer);
    chassis_buf_append_str(out, "<td>");
    html(out, e->text);
}

static void list_requests(struct chassis_recent *recent, bool slow, bool json,
                          struct chassis_buf *out)
{
    struct chassis_recent_entry *entries = chassis_base_alloc(CHASSIS_RECENT_MAX * sizeof *entries);
    size_t n = chassis_recent_list(recent, slow, entries, CHASSIS_RECENT_MAX);
    if (json) {
        chassis_buf_printf(out, "\"%s\":[", slow ? "slow" : "recent");
        for (size_t i = 0; i < n; i++) {
            chassis_buf_append_str(out, i != 0 ? "," : "");
            entry_json(&entries[i], out);
        }
        chassis_buf_append_byte(out, ']');
    } else {
        chassis_buf_printf(out,
                           "<h2>%s</h2><table><tr><th>ended (UTC)<th>method<th>by<th>took<th>"
                           "bytes in / out<th>status<th>trace<th>peer<th>text",
                           slow ? "Slow" : "Recent");
        for (size_t i = 0; i < n; i++) {
            entry_html(&entries[i], out);
        }
        chassis_buf_append_str(out, "</table>");
    }
    free(entries);
}

static enum MHD_Result page_requests(struct http_exchange *x)
{
    struct chassis_buf out = {0};
    bool json = wants_json(x);
    if (x->http->options.server == NULL) {
        return http_answer_text(x, 404, "this process serves no calls");
    }
    struct chassis_recent *recent = chassis_server_recent(x->http->options.server);
    if (json) {
        chassis_buf_append_byte(&out, '{');
        list_requests(recent, true, true, &out);
        chassis_buf_append_byte(&out, ',');
        list_requests(recent, false, true, &out);
        chassis_buf_append_str(&out, "}\n");
        return http_answer(x, 200, "application/json", &out);
    }
    page_begin(x, &out, "requests");
    list_requests(recent, true, false, &out);
    list_requests(recent, false, false, &out);
    return answer_html(x, &out);
}

struct listing {
    struct chassis_buf *out;
    bool json, first;
};

static void config_row(const char *name, const char *value, const char *origin, const char *help,
                       void *data)
{
    struct listing *l = data;
    if (l->json) {
        chassis_buf_append_str(l->out, l->first ? "{\"key\":" : ",\n{\"key\":");
        connect_json_string(name, l->out);
        chassis_buf_append_str(l->out, ",\"value\":");
        connect_json_string(value != NULL ? value : "", l->out);
        chassis_buf_append_str(l->out, ",\"origin\":");
        connect_json_string(origin != NULL ? origin : "", l->out);
        chassis_buf_append_byte(l->out, '}');
    } else {
        const char *cells[] = {name, value, origin, help};
        chassis_buf_append_str(l->out, "<tr>");
        for (unsigned i = 0; i < 4; i++) {
            chassis_buf_append_str(l->out, "<td>");
            html(l->out, cells[i] != NULL ? cells[i] : "");
        }
    }
    l->first = false;
}

static enum MHD_Result page_config(struct http_exchange *x)
{
    if (x->http->options.config == NULL) {
        return http_answer_text(x, 404, "this process has no configuration");
    }
    struct chassis_buf out = {0};
    struct listing listing = {&out, wants_json(x), true};
    if (listing.json) {
        chassis_buf_append_byte(&out, '[');
        chassis_config_each(x->http->options.config, config_row, &listing);
        chassis_buf_append_str(&out, "]\n");
        return http_answer(x, 200, "application/json", &out);
    }
    page_begin(x, &out, "configuration");
    chassis_buf_append_str(&out, "<table><tr><th>key<th>value<th>from<th>meaning");
    chassis_config_each(x->http->options.config, config_row, &listing);
    chassis_buf_append_str(&out, "</table>");
    return answer_html(x, &out);
}

/* The value of `key` in module=rpc&level=debug (names are plain: nothing is unescaped). */
static void form_value(struct chassis_view form, const char *key, char ret_value[64])
{
    size_t key_len = strlen(key);
    ret_value[0] = '\0';
    while (form.len != 0) {
        const uint8_t *amp = memchr(form.data, '&', form.len);
        size_t len = amp != NULL ? (size_t)(amp - form.data) : form.len;
        if (len > key_len && memcmp(form.data, key, key_len) == 0 && form.data[key_len] == '=') {
            size_t n = len - key_len - 1;
            snprintf(ret_value, 64, "%.*s", (int)(n < 63 ? n : 63),
                     (const char *)form.data + key_len + 1);
            return;
        }
        len += amp != NULL;
        form = chassis_view(form.data + len, form.len - len);
    }
}

static void parameter(struct http_exchange *x, const char *key, char ret_value[64])
{
    const char *query = http_query(x, key);
    if (query != NULL) {
        snprintf(ret_value, 64, "%s", query);
    } else {
        form_value(chassis_buf_view(&x->body), key, ret_value);
    }
}

static enum MHD_Result page_loglevel(struct http_exchange *x)
{
    /* A page of another site can make a browser post a form here; its Origin tells. */
    const char *origin = http_header(x, "Origin"), *host = http_header(x, "Host");
    if (origin != NULL &&
        (host == NULL || strncmp(origin, "http://", 7) != 0 || strcmp(origin + 7, host) != 0)) {
        return http_answer_text(x, 403, "not from another site");
    }
    char module[64], text[64];
    parameter(x, "module", module);
    parameter(x, "level", text);
    enum chassis_log_level level;
    if (chassis_log_level_parse(text, &level) != 0) {
        return http_answer_text(x, 400,
                                "level '%s': must be trace, debug, info, warn, error, fatal "
                                "or off; usage: POST /loglevel?module=rpc&level=debug",
                                text);
    }
    chassis_log_set_level(module, level);
    chassis_log_info(x->http->log, "log level changed", chassis_f_str("of", module),
                     chassis_f_str("level", chassis_log_level_name(level)));
    return http_answer_text(x, 200, "%s: %s", module[0] != '\0' ? module : "all modules",
                            chassis_log_level_name(level));
}

static const struct {
    const char *method, *path;
    enum MHD_Result (*page)(struct http_exchange *x);
} pages[] = {
    {"GET", "/", page_index},
    {"GET", "/requests", page_requests},
    {"GET", "/config", page_config},
    {"POST", "/loglevel", page_loglevel},
};

bool http_admin_page(struct http_exchange *x, enum MHD_Result *ret_result)
{
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (strcmp(pages[i].path, x->path) == 0) {
            *ret_result = strcmp(pages[i].method, x->method) == 0
                              ? pages[i].page(x)
                              : http_answer_text(x, 405, "use %s", pages[i].method);
            return true;
        }
    }
    return http_page(x, ret_result);
}
