/* dctl routes explain: which route a request takes, which not and why. */
#include <string.h>

#include "connect.h"
#include "routes.h"

enum { HEADERS_MAX = DCTL_GIVEN_MAX };

typedef Draft__Routing__V1__ExplainRequest explain_request;
typedef Draft__Routing__V1__ExplainResponse explain_response;

/* "https://host:port/path?query", "//host/path", "/path". */
static int split_url(struct dctl *d, const char *url, explain_request *req)
{
    const char *host = strstr(url, "://");
    const char *first_slash = strchr(url, '/');
    if (host != NULL && first_slash == host + 1) {
        host += 3;
    } else if (strncmp(url, "//", 2) == 0) {
        host = url + 2;
    } else if (url[0] == '/') {
        host = NULL;
    } else {
        return dctl_usage(d, "the address is https://host/path or /path, not '%s'", url);
    }
    const char *path = host != NULL ? host + strcspn(host, "/?#") : url;
    if (host != NULL) {
        size_t len = (size_t)(path - host);
        const char *at = memchr(host, '@', len);
        if (at != NULL) {
            len -= (size_t)(at + 1 - host);
            host = at + 1;
        }
        const char *bracket = host[0] == '[' ? memchr(host, ']', len) : NULL;
        const char *colon = memchr(bracket != NULL ? bracket : host, ':',
                                   len - (bracket != NULL ? (size_t)(bracket - host) : 0));
        len = colon != NULL ? (size_t)(colon - host) : len;
        req->host = chassis_arena_strndup(&d->arena, host, len);
    }
    size_t len = strcspn(path, "#");
    req->path =
        chassis_arena_printf(&d->arena, "%s%.*s", path[0] == '/' ? "" : "/", (int)len, path);
    return 0;
}

static int headers_of(struct dctl *d, explain_request *req)
{
    typedef Draft__Routing__V1__ExplainRequest__Header header;
    const char *text;
    req->headers = chassis_arena_alloc(&d->arena, HEADERS_MAX * sizeof *req->headers);
    while ((text = dctl_repeated(d, "header", (unsigned)req->n_headers)) != NULL) {
        header *h = chassis_arena_alloc(&d->arena, sizeof *h);
        draft__routing__v1__explain_request__header__init(h);
        if (!dctl_split(d, text, ':', &h->name, &h->value)) {
            return dctl_usage(d, "-H is 'name: value', not '%s'", text);
        }
        req->headers[req->n_headers++] = h;
    }
    return 0;
}

static void print_explained(struct dctl *d, const explain_request *req, explain_response *res)
{
    static const struct dctl_column columns[] = {{"ROUTE", "route", 0},
                                                 {"OUTCOME", "outcome", 0},
                                                 {"VERSION", "version", 0},
                                                 {"REASON", "reason", 0},
                                                 {0}};
    bool found = res->winner[0] != '\0';
    fprintf(d->out, "winner  %s\n", found ? res->winner : "none: the answer is 404");
    fprintf(d->out, "host    %s\n",
            res->virtual_host[0] != '\0' ? res->virtual_host : "none that fits");
    if (found && strcmp(res->rewritten_path, req->path) != 0 && res->rewritten_path[0] != '\0') {
        fprintf(d->out, "path    %s\n", res->rewritten_path);
    }
    dctl_print_targets(d, res->targets, res->n_targets);
    const struct dctl_node *verdicts = dctl_find(dctl_message_node(&d->arena, res), "verdicts");
    if (verdicts->first != NULL) {
        fputc('\n', d->out);
        dctl_print(d, verdicts, columns);
    }
}

int dctl_routes_explain(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    explain_request req = DRAFT__ROUTING__V1__EXPLAIN_REQUEST__INIT;
    explain_response *res;
    struct chassis_call_options options = dctl_call_options(d, 0);
    const char *group = dctl_string(d, "group"), *listener = dctl_string(d, "listener");
    options.idempotent = true;
    req.method = argc == 2 ? argv[0] : req.method;
    req.group = group != NULL ? chassis_arena_strdup(&d->arena, group) : req.group;
    req.listener = listener != NULL ? chassis_arena_strdup(&d->arena, listener) : req.listener;
    int code = split_url(d, argv[argc - 1], &req);
    code = code != 0 ? code : headers_of(d, &req);
    if (code != 0) {
        return code;
    }
    if (dctl_routes_client(d, &err) == NULL ||
        routing_explain_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    if (d->format == DCTL_TABLE) {
        print_explained(d, &req, res);
    } else {
        dctl_print(d, dctl_message_node(&d->arena, res), NULL);
    }
    return res->winner[0] != '\0' ? DCTL_OK : DCTL_NOT_FOUND;
}
