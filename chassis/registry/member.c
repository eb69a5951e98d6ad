/* Being registered.
 *
 *            register                 identity             first answer
 *   OUT ──────────────▶ INITIALIZING ─────────▶ OPENING ─────────────────▶ MEMBER
 *                        ▲     │ failed            │ closed                 │ closed, silent
 *      no identity, or   │     ▼                   ▼                        ▼
 *      it was refused    └── WAITING ◀─────────────┴────────────────────────┘
 *                              └── identity kept ──▶ OPENING (at the next node)
 *
 *   leave, from anywhere with an identity: LEAVING ── Finalize over ──▶ GONE
 *                                          (no node could: again at the next, until close)
 *
 * | in           | event                              | then                                     |
 * |--------------|------------------------------------|------------------------------------------|
 * | INITIALIZING | answered                           | keep pid and token, OPENING              |
 * | INITIALIZING | ALREADY_EXISTS                     | forget the nonce, WAITING                |
 * | INITIALIZING | failed otherwise                   | next node, WAITING                       |
 * | OPENING      | first answer                       | MEMBER, backoff forgotten                |
 * | MEMBER       | answer                             | learn nodes, token, interval             |
 * | MEMBER       | interval over                      | report; silent for 3: cancel the stream  |
 * | both         | closed: UNAUTHENTICATED, NOT_FOUND | forget identity, WAITING (same node)     |
 * | both         | closed otherwise                   | next node, WAITING                       |
 * | WAITING      | delay over                         | OPENING with an identity, else INITIALIZING |
 */
#include <stdio.h>

#include "registry/internal.h"

enum { NONCE_LIFE_S = 90, SILENT_REPORTS = 3, INTERVAL_MIN_MS = 100, INTERVAL_MAX_MS = 60000 };
enum { FINALIZE_MS = 1000, FINALIZE_PAUSE_MS = 100 }; /* of one attempt, and between two */

static void wait_and_retry(struct chassis_registry *r, uint64_t delay_ns);
static void open_stream(struct chassis_registry *r);
static void finalize(struct chassis_registry *r);

static void enter(struct chassis_registry *r, enum registry_state state)
{
    struct registry_member *m = &r->member;
    bool was = m->state == REGISTRY_MEMBER, is = state == REGISTRY_MEMBER;
    if (was != is) {
        chassis_gauge_set(r->registered, is);
    }
    m->state = state;
    pthread_mutex_lock(&r->mutex);
    struct chassis_registry_status *s = &r->status;
    s->state = state;
    snprintf(s->pid, sizeof s->pid, "%s", m->pid);
    snprintf(s->node, sizeof s->node, "%s", registry_node_address(r, &m->backoff));
    s->n_nodes = 0;
    for (unsigned i = 0; i < r->n_nodes; i++) {
        s->n_nodes += r->nodes[i].listed;
    }
    r->left = r->left || state == REGISTRY_GONE;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
}

static void forget_identity(struct registry_member *m)
{
    m->pid[0] = '\0';
    m->nonce_ns = 0;
    chassis_buf_clear(&m->token);
}

/* The same nonce while it may still be answered with the same pid: a lost answer costs nothing. */
static void fresh_nonce(struct chassis_registry *r)
{
    struct registry_member *m = &r->member;
    uint64_t now = chassis_now_ns(r->loop);
    if (m->nonce_ns != 0 && now - m->nonce_ns < NONCE_LIFE_S * CHASSIS_NS_PER_S) {
        return;
    }
    uint8_t bytes[16];
    chassis_base_random_bytes(bytes, sizeof bytes);
    for (unsigned i = 0; i < sizeof bytes; i++) {
        snprintf(m->nonce + 2 * i, 3, "%02x", bytes[i]);
    }
    m->nonce_ns = now != 0 ? now : 1;
}

static void failed(struct chassis_registry *r, const char *what, int code, const char *text)
{
    struct registry_member *m = &r->member;
    const char *node = registry_node_address(r, &m->backoff);
    uint64_t delay_ns;
    if (code == CHASSIS_UNAUTHENTICATED || code == CHASSIS_NOT_FOUND) {
        struct registry_backoff same = m->backoff;
        forget_identity(m);
        registry_set_token(r, "");
        delay_ns = registry_next_attempt_ns(r, &m->backoff);
        m->backoff.node = same.node;
    } else {
        if (code == CHASSIS_ALREADY_EXISTS) {
            m->nonce_ns = 0;
        }
        delay_ns = registry_next_attempt_ns(r, &m->backoff);
    }
    enum chassis_log_level level = m->backoff.attempt <= 1 ? CHASSIS_LOG_INFO : CHASSIS_LOG_WARN;
    chassis_log_at(r->log, level, what, chassis_f_str("node", node), chassis_f_code(code),
                   chassis_f_str("text", text),
                   chassis_f_str("next", registry_node_address(r, &m->backoff)),
                   chassis_f_u64("in_ms", delay_ns / CHASSIS_NS_PER_MS));
    chassis_counter_add(r->reconnects, 1);
    pthread_mutex_lock(&r->mutex);
    r->status.reconnects++;
    pthread_mutex_unlock(&r->mutex);
    wait_and_retry(r, delay_ns);
}

static void on_initialized(const struct chassis_reply *reply, void *data)
{
    struct chassis_registry *r = data;
    struct registry_member *m = &r->member;
    const Core__Registry__ServiceDiscovery__V1__InitializeResponse *res =
        service_discovery_initialize_response(reply);
    m->calling = false;
    if (!r->closing) {
        const Core__Registry__ServiceDiscovery__V1__ProcessIdentity *id =
            res != NULL ? res->process_identity : NULL;
        if (reply->code == 0 && id != NULL && id->pid[0] != '\0') {
            snprintf(m->pid, sizeof m->pid, "%s", id->pid);
            chassis_buf_clear(&m->token);
            chassis_buf_append_str(&m->token, id->token != NULL ? id->token->jwt : "");
            registry_set_token(r, id->token != NULL ? id->token->jwt : "");
            pthread_mutex_lock(&r->mutex);
            r->status.registrations++;
            pthread_mutex_unlock(&r->mutex);
            chassis_log_info(r->log, "registered", chassis_f_str("name", m->name),
                             chassis_f_str("pid", m->pid),
                             chassis_f_str("node", registry_node_address(r, &m->backoff)));
            if (m->leave_asked) {
                member_leave(r);
            } else {
                open_stream(r);
            }
        } else if (m->leave_asked) {
            enter(r, REGISTRY_GONE);
        } else {
            failed(r, "cannot register", reply->code != 0 ? reply->code : CHASSIS_INTERNAL,
                   reply->text);
        }
    }
    registry_done_one(r);
}

static void initialize(struct chassis_registry *r)
{
    struct registry_member *m = &r->member;
    struct chassis_error err = {0};
    struct chassis_client *client = registry_client(r, &m->backoff, &err);
    if (client == NULL) {
        failed(r, "cannot register", err.code, err.text);
        return;
    }
    fresh_nonce(r);
    Core__Registry__ServiceDiscovery__V1__InitializeRequest req =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__INITIALIZE_REQUEST__INIT;
    req.name = m->name;
    req.nonce = m->nonce;
    enter(r, REGISTRY_INITIALIZING);
    m->calling = true;
    r->in_flight++;
    struct chassis_call_options options = {.timeout_ms = r->options.call_timeout_ms};
    service_discovery_initialize(client, &req, &options, on_initialized, r);
}

static void on_timer(struct chassis_timer *timer);

static void wait_and_retry(struct chassis_registry *r, uint64_t delay_ns)
{
    enter(r, REGISTRY_WAITING);
    r->member.timer.run = on_timer;
    chassis_post_after(r->loop, &r->member.timer, delay_ns);
}

static void send_report(struct chassis_registry *r)
{
    typedef Core__Registry__ServiceDiscovery__V1__Metadata metadata_msg;
    struct registry_member *m = &r->member;
    Core__Registry__ServiceDiscovery__V1__ClientDetails details =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__CLIENT_DETAILS__INIT;
    metadata_msg *items = chassis_base_zalloc((m->n_metadata + 1) * sizeof *items);
    metadata_msg **refs = chassis_base_zalloc((m->n_metadata + 1) * sizeof(metadata_msg *));
    for (size_t i = 0; i < m->n_metadata; i++) {
        items[i] = (metadata_msg)CORE__REGISTRY__SERVICE_DISCOVERY__V1__METADATA__INIT;
        items[i].pid = m->pid;
        items[i].key = (char *)(uintptr_t)m->metadata[i].key;
        items[i].value = (char *)(uintptr_t)m->metadata[i].value;
        refs[i] = &items[i];
    }
    details.pid = m->pid;
    details.token = m->token.len != 0 ? (char *)m->token.data : details.token;
    details.running_state =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_RUNNING_STATE__PROCESS_RUNNING;
    details.health_state =
        m->healthy ? CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_HEALTH_STATE__PROCESS_HEALTHY
                   : CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_HEALTH_STATE__PROCESS_UNHEALTHY;
    details.process_kind = CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_KIND__SERVER_PROCESS;
    details.advertise_address = m->address;
    details.n_metadata = m->n_metadata;
    details.metadata = refs;
    int rc = service_discovery_synchronize_stream_send(m->stream, &details);
    if (rc != 0) {
        /* A full queue is a node that does not read: the silence will end the stream. */
        chassis_log_debug(r->log, "report not sent", chassis_f_code(rc));
    }
    free(items);
    free(refs);
    chassis_post_after(r->loop, &m->timer, m->interval_ms * CHASSIS_NS_PER_MS);
}

static void learn(struct chassis_registry *r,
                  const Core__Registry__ServiceDiscovery__V1__ClusterDetails *details)
{
    struct registry_member *m = &r->member;
    const char *addresses[REGISTRY_NODES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < details->n_nodes && n < REGISTRY_NODES_MAX; i++) {
        addresses[n++] = details->nodes[i]->address;
    }
    registry_learn(r, addresses, n);
    if (details->token != NULL && details->token->jwt[0] != '\0') {
        chassis_buf_clear(&m->token);
        chassis_buf_append_str(&m->token, details->token->jwt);
        registry_set_token(r, details->token->jwt);
    }
    registry_learn_keys(r, details->node_keys, details->n_node_keys);
    if (details->interval_ms != 0) {
        uint64_t ms = details->interval_ms;
        m->interval_ms = ms < INTERVAL_MIN_MS   ? INTERVAL_MIN_MS
                         : ms > INTERVAL_MAX_MS ? INTERVAL_MAX_MS
                                                : ms;
    }
}

static void on_answer(struct chassis_client_stream *stream, const void *message,
                      struct chassis_view encoded, void *data)
{
    struct chassis_registry *r = data;
    struct registry_member *m = &r->member;
    if (r->closing || stream != m->stream || message == NULL) {
        return;
    }
    m->answered_ns = chassis_now_ns(r->loop);
    learn(r, message);
    pthread_mutex_lock(&r->mutex);
    r->status.reports++;
    pthread_mutex_unlock(&r->mutex);
    if (m->state == REGISTRY_OPENING) {
        m->backoff.attempt = 0;
        enter(r, REGISTRY_MEMBER);
    }
}

static void on_closed(struct chassis_client_stream *stream, const struct chassis_reply *status,
                      void *data)
{
    struct chassis_registry *r = data;
    struct registry_member *m = &r->member;
    if (stream == m->stream) {
        m->stream = NULL;
        if (m->state != REGISTRY_LEAVING) {
            chassis_cancel(r->loop, &m->timer);
        }
        if (!r->closing && (m->state == REGISTRY_OPENING || m->state == REGISTRY_MEMBER)) {
            failed(r, "lost Blueprint", status->code != 0 ? status->code : CHASSIS_UNAVAILABLE,
                   status->code != 0 ? status->text : "the node ended the stream");
        }
    }
    registry_done_one(r);
}

static const struct chassis_stream_handlers stream_handlers = {.message = on_answer,
                                                               .closed = on_closed};

static void open_stream(struct chassis_registry *r)
{
    struct registry_member *m = &r->member;
    struct chassis_error err = {0};
    struct chassis_client *client = registry_client(r, &m->backoff, &err);
    int rc = client == NULL ? err.code
                            : service_discovery_synchronize_open(client, NULL, &stream_handlers, r,
                                                                 &m->stream, &err);
    if (rc != 0) {
        m->stream = NULL;
        failed(r, "cannot report to Blueprint", rc, err.text);
        return;
    }
    r->in_flight++;
    m->answered_ns = chassis_now_ns(r->loop);
    m->timer.run = on_timer;
    enter(r, REGISTRY_OPENING);
    send_report(r);
}

/* The delay is over: try again; or the interval: report, unless the node has fallen silent. */
static void on_timer(struct chassis_timer *timer)
{
    struct chassis_registry *r = chassis_container_of(timer, struct chassis_registry, member.timer);
    struct registry_member *m = &r->member;
    switch (m->state) {
    case REGISTRY_WAITING:
        if (m->pid[0] != '\0') {
            open_stream(r);
        } else {
            initialize(r);
        }
        return;
    case REGISTRY_OPENING:
    case REGISTRY_MEMBER: {
        uint64_t silent_ns = chassis_now_ns(r->loop) - m->answered_ns;
        uint64_t limit_ns = (m->interval_ms * SILENT_REPORTS + 1000) * CHASSIS_NS_PER_MS;
        if (silent_ns > limit_ns) {
            chassis_log_warn(r->log, "Blueprint does not answer",
                             chassis_f_str("node", registry_node_address(r, &m->backoff)),
                             chassis_f_u64("silent_ms", silent_ns / CHASSIS_NS_PER_MS));
            chassis_stream_cancel(m->stream); /* on_closed goes on */
        } else {
            send_report(r);
        }
        return;
    }
    case REGISTRY_LEAVING:
        finalize(r);
        return;
    case REGISTRY_OUT:
    case REGISTRY_INITIALIZING:
    case REGISTRY_GONE:
        return;
    }
}

void member_begin(struct chassis_registry *r)
{
    if (r->member.leave_asked) {
        enter(r, REGISTRY_GONE);
        return;
    }
    initialize(r);
}

void member_report_now(struct chassis_registry *r)
{
    if (r->member.stream != NULL && !r->closing && r->member.state <= REGISTRY_MEMBER) {
        send_report(r);
    }
}

static void on_finalized(const struct chassis_reply *reply, void *data)
{
    struct chassis_registry *r = data;
    struct registry_member *m = &r->member;
    enum chassis_error_class c = chassis_status_class(reply->code);
    if (!r->closing && (c == CHASSIS_CLASS_RETRY || c == CHASSIS_CLASS_REDIRECT)) {
        /* The node is gone, or the cluster elects: whoever reads the registry sends calls here. */
        (void)registry_next_attempt_ns(r, &m->backoff);
        m->timer.run = on_timer;
        chassis_post_after(r->loop, &m->timer, FINALIZE_PAUSE_MS * CHASSIS_NS_PER_MS);
        registry_done_one(r);
        return;
    }
    chassis_log_info(r->log, "left", chassis_f_str("pid", m->pid), chassis_f_code(reply->code));
    if (m->stream != NULL) {
        chassis_stream_cancel(m->stream);
    }
    enter(r, REGISTRY_GONE);
    registry_done_one(r);
}

static void finalize(struct chassis_registry *r)
{
    struct registry_member *m = &r->member;
    struct chassis_error err = {0};
    struct chassis_client *client =
        m->pid[0] != '\0' && !r->closing ? registry_client(r, &m->backoff, &err) : NULL;
    if (client == NULL) {
        enter(r, REGISTRY_GONE);
        return;
    }
    Core__Registry__ServiceDiscovery__V1__FinalizeRequest req =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__FINALIZE_REQUEST__INIT;
    req.pid = m->pid;
    struct chassis_buf bearer = {0};
    chassis_buf_printf(&bearer, "Bearer %s", m->token.len != 0 ? (const char *)m->token.data : "");
    struct chassis_metadata metadata = {"authorization", (const char *)bearer.data};
    struct chassis_call_options options = {
        .timeout_ms = FINALIZE_MS, .metadata = &metadata, .n_metadata = 1};
    enter(r, REGISTRY_LEAVING);
    r->in_flight++;
    service_discovery_finalize(client, &req, &options, on_finalized, r);
    chassis_buf_fini(&bearer);
}

void member_leave(struct chassis_registry *r)
{
    struct registry_member *m = &r->member;
    m->leave_asked = true;
    if (m->calling || m->state == REGISTRY_LEAVING || m->state == REGISTRY_GONE) {
        return; /* on_initialized comes back here */
    }
    chassis_cancel(r->loop, &m->timer);
    finalize(r);
}

void member_stop(struct chassis_registry *r)
{
    chassis_cancel(r->loop, &r->member.timer);
    if (r->member.stream != NULL) {
        chassis_stream_cancel(r->member.stream);
    }
}

void member_fini(struct chassis_registry *r)
{
    struct registry_member *m = &r->member;
    for (size_t i = 0; i < m->n_metadata; i++) {
        free((void *)(uintptr_t)m->metadata[i].key);
        free((void *)(uintptr_t)m->metadata[i].value);
    }
    free(m->metadata);
    free(m->name);
    free(m->address);
    chassis_buf_fini(&m->token);
}
