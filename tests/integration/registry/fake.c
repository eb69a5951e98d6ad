#include "fake.h"

#include "test.h"

typedef Core__Registry__ServiceDiscovery__V1__ProcessEvent event_msg;
typedef Core__Registry__ServiceDiscovery__V1__Process process_msg;

static void changed(struct fake *fake)
{
    pthread_cond_broadcast(&fake->changed);
    pthread_mutex_unlock(&fake->mutex);
}

static void initialize(struct chassis_call *call,
                       const Core__Registry__ServiceDiscovery__V1__InitializeRequest *req)
{
    struct fake *fake = chassis_call_data(call);
    Core__Registry__ServiceDiscovery__V1__InitializeResponse res =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__INITIALIZE_RESPONSE__INIT;
    Core__Registry__ServiceDiscovery__V1__ProcessIdentity id =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_IDENTITY__INIT;
    Core__Registry__ServiceDiscovery__V1__Token token =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__TOKEN__INIT;
    char pid[64], jwt[64];
    pthread_mutex_lock(&fake->mutex);
    int refuse = fake->refuse_initialize;
    fake->initialized++;
    snprintf(fake->last_nonce, sizeof fake->last_nonce, "%s", req->nonce);
    snprintf(pid, sizeof pid, "pid-%u", fake->initialized);
    snprintf(jwt, sizeof jwt, "token-%u", fake->initialized);
    changed(fake);
    if (refuse != 0) {
        chassis_call_fail(call, refuse, "refused by the test");
        return;
    }
    token.jwt = jwt;
    id.pid = pid;
    id.token = &token;
    res.process_identity = &id;
    service_discovery_initialize_reply(call, &res);
}

static void note_report(struct fake *fake,
                        const Core__Registry__ServiceDiscovery__V1__ClientDetails *req)
{
    fake->reports++;
    snprintf(fake->last_pid, sizeof fake->last_pid, "%s", req->pid);
    snprintf(fake->last_token, sizeof fake->last_token, "%s", req->token);
    snprintf(fake->last_address, sizeof fake->last_address, "%s", req->advertise_address);
    fake->last_healthy =
        req->health_state ==
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_HEALTH_STATE__PROCESS_HEALTHY;
    for (size_t i = 0; i < req->n_metadata; i++) {
        if (strcmp(req->metadata[i]->key, "draft.rpc_services") == 0) {
            snprintf(fake->last_services, sizeof fake->last_services, "%s",
                     req->metadata[i]->value);
        }
    }
}

static void report(struct chassis_call *call,
                   const Core__Registry__ServiceDiscovery__V1__ClientDetails *req)
{
    struct fake *fake = chassis_call_data(call);
    Core__Registry__ServiceDiscovery__V1__ClusterDetails res =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__CLUSTER_DETAILS__INIT;
    Core__Registry__ServiceDiscovery__V1__Node nodes[4], *refs[4];
    Core__Registry__ServiceDiscovery__V1__Token token =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__TOKEN__INIT;
    pthread_mutex_lock(&fake->mutex);
    note_report(fake, req);
    int refuse = fake->refuse_report;
    bool mute = fake->mute;
    for (unsigned i = 0; i < fake->n_nodes; i++) {
        nodes[i] = (Core__Registry__ServiceDiscovery__V1__Node)
            CORE__REGISTRY__SERVICE_DISCOVERY__V1__NODE__INIT;
        nodes[i].address = (char *)(uintptr_t)fake->nodes[i];
        refs[i] = &nodes[i];
    }
    res.n_nodes = fake->n_nodes;
    res.nodes = refs;
    res.interval_ms = fake->interval_ms;
    if (fake->next_token != NULL) {
        token.jwt = (char *)(uintptr_t)fake->next_token;
        res.token = &token;
        fake->next_token = NULL;
    }
    changed(fake);
    if (refuse != 0) {
        chassis_call_fail(call, refuse, "refused by the test");
    } else if (!mute) {
        service_discovery_synchronize_send(call, &res);
    }
}

/* One completion-queue thread runs everything here: a call is not ended twice. */
static void end_synchronize(struct chassis_call *call)
{
    chassis_call_finish(call);
}
static void cancelled(struct chassis_call *call, void *data)
{
    chassis_call_finish(call);
}
static void open_synchronize(struct chassis_call *call)
{
    chassis_call_on_cancel(call, cancelled, NULL);
}

static void finalize(struct chassis_call *call,
                     const Core__Registry__ServiceDiscovery__V1__FinalizeRequest *req)
{
    struct fake *fake = chassis_call_data(call);
    Core__Registry__ServiceDiscovery__V1__FinalizeResponse res =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__FINALIZE_RESPONSE__INIT;
    const char *authorization = chassis_call_metadata(call, "authorization");
    pthread_mutex_lock(&fake->mutex);
    fake->finalized++;
    snprintf(fake->finalize_authorization, sizeof fake->finalize_authorization, "%s",
             authorization != NULL ? authorization : "");
    bool later = fake->finalize_later != 0;
    fake->finalize_later -= later;
    changed(fake);
    if (later) {
        chassis_call_fail(call, CHASSIS_NO_QUORUM, "the cluster elects");
        return;
    }
    res.pid = req->pid;
    service_discovery_finalize_reply(call, &res);
}

static void send_event(struct chassis_call *call,
                       Core__Registry__ServiceDiscovery__V1__ProcessEvent__Type type,
                       const struct fake_process *p)
{
    event_msg event = CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__INIT;
    process_msg process = CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS__INIT;
    event.type = type;
    if (p != NULL) {
        process.pid = (char *)(uintptr_t)p->pid;
        process.ip_address = (char *)(uintptr_t)p->address;
        process.running_state =
            p->running
                ? CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_RUNNING_STATE__PROCESS_RUNNING
                : CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_RUNNING_STATE__PROCESS_STARTING;
        process.health_state =
            p->healthy
                ? CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_HEALTH_STATE__PROCESS_HEALTHY
                : CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_HEALTH_STATE__PROCESS_UNHEALTHY;
        event.process = &process;
    }
    chassis_call_send(call, &event);
}

/* With the mutex of the fake, so that no event comes between; ends the call. */
static void end_watch(struct chassis_call *call, void *data)
{
    struct fake *fake = data;
    bool ours = false;
    pthread_mutex_lock(&fake->mutex);
    for (unsigned i = 0; i < FAKE_STREAMS_MAX; i++) {
        if (fake->streams[i] == call) {
            fake->streams[i] = NULL;
            ours = true;
        }
    }
    pthread_mutex_unlock(&fake->mutex);
    if (ours) {
        chassis_call_finish(call);
    }
}

static void watch(struct chassis_call *call,
                  const Core__Registry__ServiceDiscovery__V1__WatchRequest *req)
{
    struct fake *fake = chassis_call_data(call);
    pthread_mutex_lock(&fake->mutex);
    for (unsigned i = 0; i < fake->n_processes; i++) {
        send_event(call, CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE__JOINED,
                   &fake->processes[i]);
    }
    send_event(call, CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE__SYNCED, NULL);
    unsigned i = 0;
    while (fake->streams[i] != NULL) {
        i++;
    }
    assert_true(i < FAKE_STREAMS_MAX);
    fake->streams[i] = call;
    fake->watches++;
    changed(fake);
    chassis_call_on_cancel(call, end_watch, fake);
}

static const struct service_discovery_handlers handlers = {
    .initialize = initialize,
    .synchronize = {.open = open_synchronize, .message = report, .end = end_synchronize},
    .finalize = finalize,
    .watch = watch,
};

void fake_start(struct fake *fake, const char *address)
{
    struct chassis_error err = {0};
    struct chassis_listener_options listener = {.address = address};
    struct chassis_server_options options = {
        .listeners = &listener, .n_listeners = 1, .n_queues = 1};
    pthread_mutex_init(&fake->mutex, NULL);
    pthread_cond_init(&fake->changed, NULL);
    assert_int_equal(chassis_server_new(&options, &fake->server, &err), 0);
    assert_int_equal(
        chassis_server_add(fake->server, service_discovery_service(&handlers, fake), &err), 0);
    if (chassis_server_start(fake->server, &err) != 0) {
        fail_msg("%s", err.text);
    }
    snprintf(fake->address, sizeof fake->address, "127.0.0.1:%u",
             chassis_server_port(fake->server, 0));
}

void fake_stop(struct fake *fake)
{
    chassis_server_free(fake->server);
    fake->server = NULL;
    pthread_cond_destroy(&fake->changed);
    pthread_mutex_destroy(&fake->mutex);
}

void fake_wait(struct fake *fake, const unsigned *counter, unsigned n)
{
    pthread_mutex_lock(&fake->mutex);
    while (*counter < n) {
        pthread_cond_wait(&fake->changed, &fake->mutex);
    }
    pthread_mutex_unlock(&fake->mutex);
}

void fake_event(struct fake *fake, Core__Registry__ServiceDiscovery__V1__ProcessEvent__Type type,
                const struct fake_process *process)
{
    pthread_mutex_lock(&fake->mutex);
    for (unsigned i = 0; i < FAKE_STREAMS_MAX; i++) {
        if (fake->streams[i] != NULL) {
            send_event(fake->streams[i], type, process);
        }
    }
    pthread_mutex_unlock(&fake->mutex);
}
