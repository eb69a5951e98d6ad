/* The embedded single-page application: its files, and its index for every path that has no file and
 * is not meant to be one (no extension, wanted as HTML): the application routes those itself. */
#include <stdio.h>

#include "http/internal.h"

static const struct chassis_http_file *find(const struct chassis_http_options *o, const char *path,
                                            size_t *ret_index)
{
    for (size_t i = 0; i < o->n_files; i++) {
        if (strcmp(o->files[i].path, path) == 0) {
            *ret_index = i;
            return &o->files[i];
        }
    }
    return NULL;
}

static bool wants_index(const struct http_exchange *x)
{
    const char *accept = http_header(x, "Accept");
    const char *last = strrchr(x->path, '/');
    return strchr(last != NULL ? last : x->path, '.') == NULL &&
           (accept == NULL || strstr(accept, "text/html") != NULL || strstr(accept, "*/*") != NULL);
}

bool http_web_file(struct http_exchange *x, enum MHD_Result *ret_result)
{
    const struct chassis_http_options *o = &x->http->options;
    if (o->n_files == 0 || (strcmp(x->method, "GET") != 0 && strcmp(x->method, "HEAD") != 0)) {
        return false;
    }
    size_t i = 0;
    const struct chassis_http_file *file = find(o, x->path, &i);
    if (file == NULL && wants_index(x)) {
        file = find(o, "/index.html", &i);
    }
    if (file == NULL) {
        return false;
    }
    char etag[32];
    snprintf(etag, sizeof etag, "\"%016llx\"", (unsigned long long)x->http->etags[i]);
    const char *known = http_header(x, "If-None-Match");
    bool same = known != NULL && strstr(known, etag) != NULL;
    /* The files live as long as the process: nothing is copied. */
    struct MHD_Response *response = MHD_create_response_from_buffer(
        same ? 0 : file->len, same ? NULL : (void *)(uintptr_t)file->data, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, etag);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, file->content_type);
    *ret_result = http_queue(x, same ? 304 : 200, response);
    return true;
}
