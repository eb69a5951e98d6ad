#include "registry.h"

#include "wire.h"

#define EVENT(name)   CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE__##name
#define RUNNING(name) CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_RUNNING_STATE__##name
#define HEALTH(name)  CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_HEALTH_STATE__##name

static void open_watch(struct fuse_registry *r);

static void on_timer(struct chassis_timer *timer)
{
    open_watch(chassis_container_of(timer, struct fuse_registry, timer));
}

static void lost(struct fuse_registry *r, int code, const char *text)
{
    r->losses++;
    chassis_log_info(r->log, "processes cannot be followed for a moment", chassis_f_code(code),
                     chassis_f_str("text", text));
    chassis_post_after(r->loop, &r->timer, fuse_backoff_ns(&r->prng, &r->attempt));
}

static enum fuse_instance_state state_of(const SD(Process) * p)
{
    if (p->running_state == RUNNING(PROCESS_DICONNECTED)) {
        return FUSE_INSTANCE_DISCONNECTED;
    }
    if (p->running_state != RUNNING(PROCESS_RUNNING)) {
        return FUSE_INSTANCE_STARTING;
    }
    return p->health_state == HEALTH(PROCESS_HEALTHY) ? FUSE_INSTANCE_USABLE
                                                      : FUSE_INSTANCE_UNHEALTHY;
}

static void put(struct fuse_registry *r, const SD(Process) * p)
{
    struct fuse_instance instance = {
        .pid = p->pid,
        .service = p->name,
        .group = p->group,
        .rpc_address = p->ip_address,
        .http_address = p->http_address,
        .locality = p->local,
        .state = state_of(p),
    };
    fuse_model_put_instance(r->model, &instance, p->incarnation);
}

/* Of one that expired a record stays for a while: an instance that gets no requests, as in a list. */
static void on_event(struct chassis_client_stream *stream, const void *message,
                     struct chassis_view encoded, void *data)
{
    struct fuse_registry *r = data;
    const SD(ProcessEvent) *event = message;
    if (r->stopped || event == NULL) {
        return;
    }
    switch (event->type) {
    case EVENT(JOINED):
    case EVENT(CHANGED):
    case EVENT(EXPIRED):
        if (event->process != NULL) {
            put(r, event->process);
        }
        break;
    case EVENT(LEFT):
        if (event->process != NULL) {
            fuse_model_delete_instance(r->model, event->process->pid, event->revision);
        }
        break;
    case EVENT(RESYNC):
        fuse_model_instances_begin(r->model);
        r->filling = true;
        break;
    case EVENT(SYNCED): {
        bool first = !r->synced;
        if (r->filling) {
            fuse_model_instances_end(r->model, event->revision);
        }
        r->filling = false;
        r->synced = true;
        r->attempt = 0;
        if (first) {
            r->synced_first(r->data);
        }
        break;
    }
    case EVENT(INVALID_TYPE):
    case _CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_EVENT__TYPE_IS_INT_SIZE:
    default: /* of a newer Blueprint */
        break;
    }
    r->revision = event->revision > r->revision ? event->revision : r->revision;
}

static void on_closed(struct chassis_client_stream *stream, const struct chassis_reply *status,
                      void *data)
{
    struct fuse_registry *r = data;
    r->stream = NULL;
    if (!r->stopped) {
        lost(r, status->code, status->code != 0 ? status->text : "the node ended the stream");
    }
}

static void open_watch(struct fuse_registry *r)
{
    static const struct chassis_stream_handlers handlers = {.message = on_event,
                                                            .closed = on_closed};
    SD(WatchRequest) req = SD_INIT(WATCH_REQUEST);
    struct chassis_error err = {0};
    int rc = service_discovery_watch_open(r->client, &req, NULL, &handlers, r, &r->stream, &err);
    if (rc != 0) {
        r->stream = NULL;
        lost(r, rc, err.text);
        return;
    }
    /* What the broken stream left half told is forgotten with it. */
    fuse_model_instances_begin(r->model);
    r->filling = true;
}

void fuse_registry_start(struct fuse_registry *registry)
{
    registry->timer.run = on_timer;
    chassis_prng_init(&registry->prng,
                      chassis_now_ns(registry->loop) ^ (uintptr_t)(const void *)registry);
    open_watch(registry);
}

void fuse_registry_stop(struct fuse_registry *registry)
{
    registry->stopped = true;
    chassis_cancel(registry->loop, &registry->timer);
    if (registry->stream != NULL) {
        chassis_stream_cancel(registry->stream);
    }
}
