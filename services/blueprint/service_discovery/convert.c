#include "convert.h"

#include "../key_value/controller.h"

#include "base/bytes.h"

static char *text_of(struct chassis_arena *arena, struct chassis_view text)
{
    return chassis_arena_strndup(arena, text.data, text.len);
}

static Google__Protobuf__Timestamp *time_of(struct chassis_arena *arena, int64_t time_ns)
{
    if (time_ns == 0) {
        return NULL;
    }
    Google__Protobuf__Timestamp *t = chassis_arena_alloc(arena, sizeof *t);
    google__protobuf__timestamp__init(t);
    t->seconds = time_ns / 1000000000;
    t->nanos = (int32_t)(time_ns % 1000000000);
    return t;
}

static void add_lists(SD(Process) * m, struct chassis_arena *arena, const struct bp_sd_process *p)
{
    const struct bp_sd_metadata *metadata = p->details.metadata.items;
    m->metadata = chassis_arena_alloc(arena, (p->details.metadata.n + 1) * sizeof *m->metadata);
    for (size_t i = 0; i < p->details.metadata.n; i++) {
        SD(Metadata) *e = chassis_arena_alloc(arena, sizeof *e);
        core__registry__service_discovery__v1__metadata__init(e);
        e->pid = m->pid;
        e->key = text_of(arena, metadata[i].key);
        e->value = text_of(arena, metadata[i].value);
        m->metadata[m->n_metadata++] = e;
    }
    const struct bp_sd_text *services = p->details.services.items;
    m->rpc_services =
        chassis_arena_alloc(arena, (p->details.services.n + 1) * sizeof *m->rpc_services);
    for (size_t i = 0; i < p->details.services.n; i++) {
        m->rpc_services[m->n_rpc_services++] = text_of(arena, services[i].text);
    }
}

SD(Process) * bp_sd_process_message(struct chassis_arena *arena, const struct bp_sd_process *p,
                                    int64_t last_seen_ns)
{
    SD(Process) *m = chassis_arena_alloc(arena, sizeof *m);
    core__registry__service_discovery__v1__process__init(m);
    m->pid = text_of(arena, p->pid);
    m->name = text_of(arena, p->name);
    m->group = text_of(arena, p->details.group);
    m->ip_address = text_of(arena, p->details.address);
    m->http_address = text_of(arena, p->details.http_address);
    m->process_kind = (SD(ProcessKind))p->details.kind;
    m->running_state = (SD(ProcessRunningState))p->details.running;
    m->health_state = (SD(ProcessHealthState))p->details.health;
    if (p->details.lat != 0 || p->details.lng != 0) {
        m->location = chassis_arena_alloc(arena, sizeof *m->location);
        core__registry__service_discovery__v1__geo_point__init(m->location);
        m->location->lat = p->details.lat;
        m->location->lng = p->details.lng;
    }
    m->joined_time = time_of(arena, p->joined_ns);
    m->left_time = time_of(arena, p->left_ns);
    m->last_status_time = time_of(arena, last_seen_ns);
    m->incarnation = p->incarnation;
    m->reason = text_of(arena, p->reason);
    add_lists(m, arena, p);
    return m;
}

/* "a,b,c" */
static int split_services(struct chassis_view list, struct chassis_arena *arena,
                          struct bp_array *ret_services, struct chassis_error *err)
{
    struct bp_sd_text *items = chassis_arena_alloc(arena, BP_SD_SERVICES_MAX * sizeof *items);
    size_t n = 0;
    while (list.len != 0 && items != NULL) {
        const uint8_t *comma = memchr(list.data, ',', list.len);
        size_t len = comma != NULL ? (size_t)(comma - list.data) : list.len;
        if (n == BP_SD_SERVICES_MAX) {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                     "draft.rpc_services names more than %d services",
                                     BP_SD_SERVICES_MAX);
        }
        if (len != 0) {
            items[n++].text = chassis_view(list.data, len);
        }
        len += comma != NULL ? 1 : 0;
        list = chassis_view(list.data + len, list.len - len);
    }
    *ret_services = (struct bp_array){items, n};
    return 0;
}

static int own_metadata(const SD(Metadata) * m, struct chassis_arena *arena,
                        struct bp_sd_details *details, struct chassis_error *err)
{
    struct chassis_view value = chassis_view_str(m->value);
    if (strcmp(m->key, "draft.group") == 0) {
        details->group = value;
    } else if (strcmp(m->key, "draft.http_address") == 0) {
        details->http_address = value;
    } else if (strcmp(m->key, "draft.rpc_services") == 0) {
        return split_services(value, arena, &details->services, err);
    }
    return 0;
}

int bp_sd_details_of(const SD(ClientDetails) * message, struct chassis_arena *arena,
                     struct bp_sd_details *ret_details, struct chassis_error *err)
{
    struct bp_sd_details d = {
        .running = (uint32_t)message->running_state,
        .health = (uint32_t)message->health_state,
        .kind = (uint32_t)message->process_kind,
        .address = chassis_view_str(message->advertise_address),
    };
    if (message->location != NULL) {
        d.lat = message->location->lat;
        d.lng = message->location->lng;
    }
    if (message->n_metadata > BP_SD_METADATA_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "%zu metadata entries, the limit is %d", message->n_metadata,
                                 BP_SD_METADATA_MAX);
    }
    struct bp_sd_metadata *metadata =
        chassis_arena_alloc(arena, (message->n_metadata + 1) * sizeof *metadata);
    if (metadata == NULL) {
        return chassis_error_code(err, CHASSIS_RESOURCE_EXHAUSTED, "memory of the call");
    }
    for (size_t i = 0; i < message->n_metadata; i++) {
        const SD(Metadata) *m = message->metadata[i];
        metadata[i] = (struct bp_sd_metadata){chassis_view_str(m->key), chassis_view_str(m->value)};
        if (metadata[i].value.len > BP_SD_METADATA_VALUE_MAX) {
            continue; /* refused below, with its limit */
        }
        int r = own_metadata(m, arena, &d, err);
        if (r != 0) {
            return r;
        }
    }
    d.metadata = (struct bp_array){metadata, message->n_metadata};
    int r = bp_sd_check_details(&d, err);
    if (r == 0) {
        *ret_details = d;
    }
    return r;
}

int bp_sd_filter_of(const SD(Filter) * message, struct bp_sd_filter *ret_filter,
                    struct chassis_error *err)
{
    *ret_filter = (struct bp_sd_filter){BP_SD_FILTER_ALL, {NULL, 0}};
    if (message == NULL) {
        return 0;
    }
    switch (message->attribute_case) {
    case CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__ATTRIBUTE_ID:
        *ret_filter = (struct bp_sd_filter){BP_SD_FILTER_ID, chassis_view_str(message->id)};
        break;
    case CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__ATTRIBUTE_GROUP:
        *ret_filter = (struct bp_sd_filter){BP_SD_FILTER_GROUP, chassis_view_str(message->group)};
        break;
    case CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__ATTRIBUTE_NAME:
        *ret_filter = (struct bp_sd_filter){BP_SD_FILTER_NAME, chassis_view_str(message->name)};
        break;
    case CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__ATTRIBUTE_RPC_SERVICE:
        *ret_filter =
            (struct bp_sd_filter){BP_SD_FILTER_SERVICE, chassis_view_str(message->rpc_service)};
        break;
    case CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__ATTRIBUTE_ALL:
    case CORE__REGISTRY__SERVICE_DISCOVERY__V1__FILTER__ATTRIBUTE__NOT_SET:
    default:
        break;
    }
    if (ret_filter->text.len > BP_SD_METADATA_VALUE_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "the filter has %zu bytes, the limit is %d", ret_filter->text.len,
                                 BP_SD_METADATA_VALUE_MAX);
    }
    return 0;
}

struct keys {
    struct chassis_arena *arena;
    SD(ClusterDetails) * message;
};

static int add_key(struct chassis_view key_id, struct chassis_view public_key, void *data)
{
    struct keys *keys = data;
    SD(ClusterDetails) *m = keys->message;
    SD(NodeKey) *key = chassis_arena_alloc(keys->arena, sizeof *key);
    core__registry__service_discovery__v1__node_key__init(key);
    struct chassis_view copy = chassis_arena_copy(keys->arena, public_key);
    key->key_id = text_of(keys->arena, key_id);
    key->public_key = (ProtobufCBinaryData){copy.len, (uint8_t *)(uintptr_t)copy.data};
    m->node_keys[m->n_node_keys++] = key;
    return m->n_node_keys == BP_SD_KEYS_TOLD ? 1 : 0;
}

static int walk_keys(struct chassis_txn *txn, void *data, struct chassis_error *err)
{
    return bp_sd_key_each(txn, add_key, data, err);
}

/* Which keys sign tokens, so that every process can verify those of others. */
static void add_keys(struct bp_sd *sd, struct chassis_arena *arena, SD(ClusterDetails) * m)
{
    struct keys keys = {arena, m};
    struct chassis_error err = {0};
    m->node_keys = chassis_arena_alloc(arena, BP_SD_KEYS_TOLD * sizeof *m->node_keys);
    int r = bp_read(sd->options.consensus, walk_keys, &keys, &err);
    if (r < 0) {
        chassis_log_error(sd->log, "cannot tell the nodes' keys", chassis_f_err(&err));
    }
}

SD(ClusterDetails) * bp_sd_cluster_message(struct bp_sd *sd, struct chassis_arena *arena)
{
    struct chassis_consensus_status status;
    chassis_consensus_status(sd->options.consensus, &status);
    SD(ClusterDetails) *m = chassis_arena_alloc(arena, sizeof *m);
    core__registry__service_discovery__v1__cluster_details__init(m);
    m->nodes = chassis_arena_alloc(arena, (status.n_members + 1) * sizeof *m->nodes);
    for (unsigned i = 0; i < status.n_members; i++) {
        SD(Node) *node = chassis_arena_alloc(arena, sizeof *node);
        core__registry__service_discovery__v1__node__init(node);
        node->id = text_of(arena, chassis_view_str(status.members[i].name));
        node->address = text_of(arena, chassis_view_str(status.members[i].service));
        node->leadership_status = status.leader_id == 0                      ? 0
                                  : status.members[i].id == status.leader_id ? 1
                                                                             : 2;
        m->nodes[m->n_nodes++] = node;
    }
    m->interval_ms = (uint32_t)sd->options.interval_ms;
    add_keys(sd, arena, m);
    return m;
}

/* "who: why" */
static char *reason_of(struct chassis_arena *arena, const struct bp_sd_process *p)
{
    return p->actor.len == 0
               ? text_of(arena, p->reason)
               : chassis_arena_printf(arena, "%.*s (by %.*s)", CHASSIS_VIEW_ARG(p->reason),
                                      CHASSIS_VIEW_ARG(p->actor));
}

SD(ProcessEvent) *
    bp_sd_event_message(struct chassis_arena *arena, const struct bp_sd_transition *t)
{
    SD(ProcessEvent) *event = chassis_arena_alloc(arena, sizeof *event);
    core__registry__service_discovery__v1__process_event__init(event);
    event->type = (SD(ProcessEvent__Type))t->type;
    event->time = time_of(arena, t->time_ns);
    event->revision = t->revision;
    if (t->process.pid.len != 0) {
        event->process = bp_sd_process_message(arena, &t->process, 0);
        event->reason = reason_of(arena, &t->process);
    }
    return event;
}

void bp_sd_encode_batch(const struct bp_feed_batch *batch, struct chassis_buf *out)
{
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    for (size_t i = 0; i < batch->n; i++) {
        const SD(ProcessEvent) *event = bp_sd_event_message(&arena, batch->events[i]);
        size_t size = core__registry__service_discovery__v1__process_event__get_packed_size(event);
        chassis_buf_append_varint(out, size);
        chassis_buf_reserve(out, size);
        core__registry__service_discovery__v1__process_event__pack(event, out->data + out->len);
        out->len += size;
    }
    chassis_arena_fini(&arena);
}

struct chassis_view bp_sd_actor(struct chassis_call *call)
{
    struct chassis_view actor = chassis_view_str(chassis_call_peer(call)->actor);
    if (actor.len > BP_SD_ACTOR_MAX || !bp_text_valid(actor)) {
        return chassis_view_str(chassis_call_peer(call)->address);
    }
    return actor;
}
