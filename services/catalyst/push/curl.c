/* The plugin: libcurl's multi interface on a thread of its own. Takes nothing from the service. */
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <chassis/error.h>

#include "catalyst/push/client.h"

enum { POLL_MS = 60000, CONNECT_MS = 5000, CONNECTIONS_MAX = 1024, KEPT_MAX = 64 };

struct client {
    struct cat_push_client client; /* first */
    struct chassis_executor *loop;
    CURLM *multi;
    pthread_t thread;
    CURL *kept[KEPT_MAX]; /* easy handles to use again; the thread's, as the next two */
    unsigned n_kept;
    struct cat_push_request *under_way; /* by `next` */
    pthread_mutex_t lock;               /* guards what follows */
    struct cat_push_request *inbox, **inbox_last;
    bool stop;
    struct chassis_task stopped;
    void (*closed)(void *data);
    void *closed_data;
};

struct transfer {
    CURL *easy;
    struct curl_slist *headers;
    char error[CURL_ERROR_SIZE];
};

static size_t discard(char *data, size_t size, size_t n, void *user)
{
    (void)data;
    (void)user;
    return size * n;
}

static void run_done(struct chassis_task *task)
{
    struct cat_push_request *r = chassis_container_of(task, struct cat_push_request, task);
    r->done(r);
}

static void request_done(struct client *c, struct cat_push_request *r)
{
    r->task.run = run_done;
    chassis_post(c->loop, &r->task);
}

/* ---- one transfer ---- */

static void transfer_free(struct client *c, struct transfer *t)
{
    curl_slist_free_all(t->headers);
    if (t->easy != NULL && c->n_kept < KEPT_MAX) {
        curl_easy_reset(t->easy);
        c->kept[c->n_kept++] = t->easy;
    } else {
        curl_easy_cleanup(t->easy);
    }
    free(t);
}

static void set_options(CURL *easy, struct transfer *t, struct cat_push_request *r)
{
    curl_easy_setopt(easy, CURLOPT_PRIVATE, r);
    curl_easy_setopt(easy, CURLOPT_URL, r->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    if (strcmp(r->method, "POST") == 0) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
                         r->body.len != 0 ? (const char *)r->body.data : "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
    } else {
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, r->method);
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "draft-catalyst");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(r->timeout_ms < CONNECT_MS ? r->timeout_ms : CONNECT_MS));
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, discard);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->error);
}

/* False: out of memory. */
static bool begin(struct client *c, struct cat_push_request *r)
{
    struct transfer *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return false;
    }
    t->easy = c->n_kept != 0 ? c->kept[--c->n_kept] : curl_easy_init();
    bool ok = t->easy != NULL;
    for (const char *h = r->headers; ok && *h != '\0'; h += strlen(h) + 1) {
        struct curl_slist *longer = curl_slist_append(t->headers, h);
        ok = longer != NULL;
        t->headers = ok ? longer : t->headers;
    }
    if (ok) {
        set_options(t->easy, t, r);
        ok = curl_multi_add_handle(c->multi, t->easy) == CURLM_OK;
    }
    if (!ok) {
        transfer_free(c, t);
        return false;
    }
    r->transfer = t;
    r->next = c->under_way;
    c->under_way = r;
    return true;
}

static void header(CURL *easy, const char *name, char *out, size_t size)
{
    struct curl_header *h;
    out[0] = '\0';
    if (curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK) {
        snprintf(out, size, "%s", strlen(h->value) < size ? h->value : "?");
    }
}

static void end(struct client *c, struct cat_push_request *r, CURLcode code)
{
    struct transfer *t = r->transfer;
    struct cat_push_request **at = &c->under_way;
    long status = 0;
    curl_off_t retry_s = 0;
    while (*at != r) {
        at = &(*at)->next;
    }
    *at = r->next;
    if (code == CURLE_OK) {
        curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &retry_s);
        header(t->easy, "WebHook-Allowed-Origin", r->allowed_origin, sizeof r->allowed_origin);
        header(t->easy, "WebHook-Allowed-Rate", r->allowed_rate, sizeof r->allowed_rate);
    }
    r->status = (unsigned)status;
    r->retry_after_ms = retry_s <= 0 ? 0 : retry_s > 86400 ? 86400000 : (uint32_t)retry_s * 1000;
    snprintf(r->text, sizeof r->text, "%s",
             code == CURLE_OK      ? ""
             : t->error[0] != '\0' ? t->error
                                   : curl_easy_strerror(code));
    curl_multi_remove_handle(c->multi, t->easy);
    transfer_free(c, t);
    request_done(c, r);
}

static void refuse(struct client *c, struct cat_push_request *r, const char *text)
{
    r->status = 0;
    r->retry_after_ms = 0;
    snprintf(r->text, sizeof r->text, "%s", text);
    request_done(c, r);
}

/* ---- the thread ---- */

static bool take_inbox(struct client *c)
{
    pthread_mutex_lock(&c->lock);
    struct cat_push_request *all = c->inbox;
    bool stop = c->stop;
    c->inbox = NULL;
    c->inbox_last = &c->inbox;
    pthread_mutex_unlock(&c->lock);
    while (all != NULL) {
        struct cat_push_request *r = all;
        all = r->next;
        if (stop || !begin(c, r)) {
            refuse(c, r, stop ? "the service is shutting down" : "out of memory");
        }
    }
    return !stop;
}

static void *client_main(void *data)
{
    struct client *c = data;
    while (take_inbox(c)) {
        int running, left;
        curl_multi_perform(c->multi, &running);
        for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left)) != NULL;) {
            char *request = NULL;
            if (m->msg == CURLMSG_DONE) {
                CURLcode code = m->data.result;
                curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &request);
                end(c, (struct cat_push_request *)(void *)request, code);
            }
        }
        curl_multi_poll(c->multi, NULL, 0, POLL_MS, NULL);
    }
    while (c->under_way != NULL) {
        end(c, c->under_way, CURLE_ABORTED_BY_CALLBACK);
    }
    for (unsigned i = 0; i < c->n_kept; i++) {
        curl_easy_cleanup(c->kept[i]);
    }
    curl_multi_cleanup(c->multi);
    chassis_post(c->loop, &c->stopped);
    return NULL;
}

/* ---- the interface ---- */

static void send_request(struct cat_push_client *client, struct cat_push_request *request)
{
    struct client *c = (struct client *)client;
    request->next = NULL;
    pthread_mutex_lock(&c->lock);
    *c->inbox_last = request;
    c->inbox_last = &request->next;
    pthread_mutex_unlock(&c->lock);
    curl_multi_wakeup(c->multi);
}

static void run_stopped(struct chassis_task *task)
{
    struct client *c = chassis_container_of(task, struct client, stopped);
    void (*closed)(void *data) = c->closed;
    void *data = c->closed_data;
    pthread_join(c->thread, NULL);
    pthread_mutex_destroy(&c->lock);
    free(c);
    curl_global_cleanup();
    closed(data);
}

static void close_client(struct cat_push_client *client, void (*closed)(void *data), void *data)
{
    struct client *c = (struct client *)client;
    c->closed = closed;
    c->closed_data = data;
    c->stopped.run = run_stopped;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    curl_multi_wakeup(c->multi); /* under the lock: afterwards the multi handle may be gone */
    pthread_mutex_unlock(&c->lock);
}

static const struct cat_push_client_ops ops = {send_request, close_client};

int cat_push_open(uint32_t version, struct chassis_executor *loop,
                  struct cat_push_client **ret_client);

__attribute__((visibility("default"))) int
cat_push_open(uint32_t version, struct chassis_executor *loop, struct cat_push_client **ret_client)
{
    if (version != CAT_PUSH_PLUGIN_VERSION) {
        return CHASSIS_BAD_VERSION;
    }
    struct client *c = calloc(1, sizeof *c);
    if (c == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        free(c);
        return -ENOMEM;
    }
    c->client.ops = &ops;
    c->loop = loop;
    c->inbox_last = &c->inbox;
    c->multi = curl_multi_init();
    curl_multi_setopt(c->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)CONNECTIONS_MAX);
    pthread_mutex_init(&c->lock, NULL);
    sigset_t all, old; /* signals are for the service's own thread */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = c->multi == NULL ? ENOMEM : pthread_create(&c->thread, NULL, client_main, c);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        curl_multi_cleanup(c->multi);
        pthread_mutex_destroy(&c->lock);
        curl_global_cleanup();
        free(c);
        return -rc;
    }
    pthread_setname_np(c->thread, "push");
    *ret_client = &c->client;
    return 0;
}
