/* Endpoints: the usable instances of a service, or one fixed address. */
#include "base/assert.h"
#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "fuse/xds/message.h"
#include "fuse/xds/names.h"
#include "fuse/xds/part.h"

#include <stdlib.h>

#include <chassis/message.h>

struct place {
    const char *locality; /* "region/zone/sub_zone" */
    const char *address;  /* as registered */
    const char *host;     /* an IP address */
    uint16_t port;
};

/* Proxies take IP addresses here, nothing else. */
static bool place_of(const char *address, const char *locality, struct chassis_arena *arena,
                     struct place *ret_place)
{
    struct place place = {.locality = locality, .address = address};
    if (!fuse_address_parse(address, arena, &place.host, &place.port)) {
        return false;
    }
    if (strcmp(place.host, "localhost") == 0) {
        place.host = "127.0.0.1";
    }
    if (!fuse_is_ip(place.host)) {
        return false;
    }
    *ret_place = place;
    return true;
}

static int by_address(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    int order = strcmp(x->host, y->host);
    if (order == 0) {
        order = (x->port > y->port) - (x->port < y->port);
    }
    return order != 0 ? order : strcmp(x->locality, y->locality);
}

static int by_locality(const void *a, const void *b)
{
    int order = strcmp(((const struct place *)a)->locality, ((const struct place *)b)->locality);
    return order != 0 ? order : by_address(a, b);
}

/* Two instances may share an address for a while (one restarted, its ghost not yet gone); proxies
 * refuse the whole resource for it. */
static size_t tidy(struct place *places, size_t n)
{
    if (n == 0) {
        return 0;
    }
    qsort(places, n, sizeof *places, by_address);
    size_t kept = 1;
    for (size_t i = 1; i < n; i++) {
        const struct place *last = &places[kept - 1];
        if (strcmp(places[i].host, last->host) != 0 || places[i].port != last->port) {
            places[kept++] = places[i];
        }
    }
    qsort(places, kept, sizeof *places, by_locality);
    return kept;
}

/* Region, zone and sub-zone by slashes, as far as they are there. */
static CORE(Locality) * locality_of(const char *text, struct chassis_arena *arena)
{
    CORE(Locality) *locality =
        fuse_message_new(arena, &envoy__config__core__v3__locality__descriptor);
    char **parts[] = {&locality->region, &locality->zone, &locality->sub_zone};
    for (size_t i = 0; i < 3 && *text != '\0'; i++) {
        size_t len = i < 2 ? strcspn(text, "/") : strlen(text);
        *parts[i] = chassis_arena_strndup(arena, text, len);
        text += len + (text[len] == '/');
    }
    return locality;
}

static ENDPOINT(LbEndpoint) * endpoint_of(const struct place *place, struct chassis_arena *arena)
{
    ENDPOINT(Endpoint) *endpoint =
        fuse_message_new(arena, &envoy__config__endpoint__v3__endpoint__descriptor);
    endpoint->address = fuse_message_address(arena, place->host, place->port);
    ENDPOINT(LbEndpoint) *lb =
        fuse_message_new(arena, &envoy__config__endpoint__v3__lb_endpoint__descriptor);
    lb->host_identifier_case = ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT;
    lb->endpoint = endpoint;
    lb->health_status = ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__HEALTHY;
    return lb;
}

/* Places of one locality; its weight is their number, so that every instance gets the same
 * share. */
static ENDPOINT(LocalityLbEndpoints) *
    group_of(const struct place *places, size_t n, struct chassis_arena *arena)
{
    ENDPOINT(LocalityLbEndpoints) *group =
        fuse_message_new(arena, &envoy__config__endpoint__v3__locality_lb_endpoints__descriptor);
    group->locality = locality_of(places[0].locality, arena);
    group->load_balancing_weight = fuse_message_u32(arena, (uint32_t)n);
    group->lb_endpoints = chassis_arena_alloc(arena, n * sizeof *group->lb_endpoints);
    CHASSIS_ASSERT(group->lb_endpoints != NULL);
    for (size_t i = 0; i < n; i++) {
        group->lb_endpoints[i] = endpoint_of(&places[i], arena);
    }
    group->n_lb_endpoints = n;
    return group;
}

static void append(const char *name, struct place *places, size_t n, struct chassis_arena *arena,
                   struct chassis_buf *out)
{
    ENDPOINT(ClusterLoadAssignment) *assignment =
        fuse_message_new(arena, &envoy__config__endpoint__v3__cluster_load_assignment__descriptor);
    assignment->cluster_name = fuse_message_text(name);
    n = tidy(places, n);
    assignment->endpoints = chassis_arena_alloc(arena, (n + 1) * sizeof *assignment->endpoints);
    CHASSIS_ASSERT(assignment->endpoints != NULL);
    for (size_t i = 0, next; i < n; i = next) {
        for (next = i + 1; next < n && strcmp(places[next].locality, places[i].locality) == 0;) {
            next++;
        }
        assignment->endpoints[assignment->n_endpoints++] = group_of(&places[i], next - i, arena);
    }
    chassis_encode(assignment, out);
}

bool fuse_endpoints_build(const struct fuse_resource_source *source, const char *name,
                          struct chassis_arena *arena, struct chassis_buf *out,
                          uint64_t *ret_revision)
{
    const struct fuse_model *model = fuse_view_model(source->view);
    struct fuse_cluster_name parsed;
    if (!fuse_cluster_parse(model, name, arena, &parsed)) {
        return false;
    }
    switch (parsed.kind) {
    case FUSE_CLUSTER_OF_SERVICE: {
        const struct fuse_service *service = fuse_model_service(model, parsed.service);
        struct place *places = chassis_arena_alloc(arena, (service->n_usable + 1) * sizeof *places);
        CHASSIS_ASSERT(places != NULL);
        size_t n = 0;
        for (unsigned i = 0; i < service->n_instances; i++) {
            const struct fuse_instance *instance = service->instances[i];
            if (instance->state == FUSE_INSTANCE_USABLE) {
                CHASSIS_ASSERT(n < service->n_usable);
                n += place_of(fuse_instance_address(instance, parsed.http2), instance->locality,
                              arena, &places[n]);
            }
        }
        append(name, places, n, arena, out);
        *ret_revision = service->revision;
        return true;
    }
    case FUSE_CLUSTER_OF_ADDRESS: {
        struct place place = {.locality = "", .host = parsed.host, .port = parsed.port};
        if (!fuse_is_ip(parsed.host)) {
            return false; /* DNS is asked instead */
        }
        append(name, &place, 1, arena, out);
        *ret_revision = 0;
        return true;
    }
    case FUSE_CLUSTER_OF_ROUTE:
        break; /* its endpoints go by the name of the cluster without policies */
    }
    return false;
}
