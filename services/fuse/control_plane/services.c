#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "fuse/control_plane/services.h"

void fuse_service_node_free(struct fuse_service_node *service)
{
    free(service->instances);
    free(service);
}

void fuse_services_fini(struct fuse_services *services)
{
    for (struct fuse_tree_node *node; (node = fuse_tree_pop(&services->tree)) != NULL;) {
        fuse_service_node_free(fuse_tree_entry(node, struct fuse_service_node, node));
    }
    for (struct fuse_tree_node *node; (node = fuse_tree_pop(&services->instances)) != NULL;) {
        free(fuse_tree_entry(node, struct fuse_instance_node, node));
    }
}

struct fuse_service_node *fuse_services_find(const struct fuse_services *services, const char *name)
{
    struct fuse_tree_node *node = fuse_tree_find(&services->tree, name);
    return node != NULL ? fuse_tree_entry(node, struct fuse_service_node, node) : NULL;
}

struct fuse_service_node *fuse_services_get(struct fuse_services *services, const char *name)
{
    struct fuse_service_node *s = fuse_services_find(services, name);
    if (s == NULL) {
        size_t len = strlen(name) + 1;
        s = chassis_base_zalloc(sizeof *s + len);
        memcpy(s->name, name, len);
        s->service.name = s->node.key = s->name;
        s->fresh = s->listed = true;
        fuse_tree_put(&services->tree, &s->node);
    }
    return s;
}

bool fuse_services_drop(struct fuse_services *services, struct fuse_service_node *service)
{
    if (service->service.n_instances > 0 || service->service.n_targets > 0) {
        return false;
    }
    fuse_tree_remove(&services->tree, &service->node);
    service->listed = false;
    return true;
}

struct fuse_instance_node *fuse_services_instance(const struct fuse_services *services,
                                                  const char *pid)
{
    struct fuse_tree_node *node = fuse_tree_find(&services->instances, pid);
    return node != NULL ? fuse_tree_entry(node, struct fuse_instance_node, node) : NULL;
}

/* The texts of an instance. */
enum { TEXTS = 6 };
static const size_t texts[TEXTS] = {
    offsetof(struct fuse_instance, pid),         offsetof(struct fuse_instance, service),
    offsetof(struct fuse_instance, rpc_address), offsetof(struct fuse_instance, http_address),
    offsetof(struct fuse_instance, locality),    offsetof(struct fuse_instance, group),
};

static const char **text_of(struct fuse_instance *instance, unsigned i)
{
    return (const char **)(void *)((char *)instance + texts[i]);
}

struct fuse_instance_node *fuse_instance_node_new(const struct fuse_instance *instance,
                                                  uint64_t revision)
{
    struct fuse_instance from = *instance;
    size_t len = 0;
    from.group = from.group != NULL ? from.group : "";
    for (unsigned i = 0; i < TEXTS; i++) {
        len += strlen(*text_of(&from, i)) + 1;
    }
    struct fuse_instance_node *node = chassis_base_zalloc(sizeof *node + len);
    char *at = node->texts;
    node->instance.state = from.state;
    for (unsigned i = 0; i < TEXTS; i++) {
        size_t n = strlen(*text_of(&from, i)) + 1;
        memcpy(at, *text_of(&from, i), n);
        *text_of(&node->instance, i) = at;
        at += n;
    }
    node->revision = revision;
    node->node.key = node->instance.pid;
    return node;
}

bool fuse_instance_node_equal(const struct fuse_instance_node *node,
                              const struct fuse_instance *instance, uint64_t revision)
{
    struct fuse_instance a = node->instance, b = *instance;
    b.group = b.group != NULL ? b.group : "";
    if (node->revision != revision || a.state != b.state) {
        return false;
    }
    for (unsigned i = 0; i < TEXTS; i++) {
        if (strcmp(*text_of(&a, i), *text_of(&b, i)) != 0) {
            return false;
        }
    }
    return true;
}

static unsigned place_of(const struct fuse_service_node *s, const char *pid)
{
    unsigned low = 0, high = s->service.n_instances;
    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        if (strcmp(s->instances[mid]->pid, pid) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

void fuse_services_enter(struct fuse_services *services, struct fuse_service_node *s,
                         struct fuse_instance_node *instance)
{
    struct fuse_tree_node *old = fuse_tree_put(&services->instances, &instance->node);
    CHASSIS_ASSERT(old == NULL);
    unsigned n = s->service.n_instances;
    if (n == s->cap) {
        s->cap = n < 4 ? 4 : n + n / 2;
        s->instances = chassis_base_realloc(s->instances, s->cap * sizeof *s->instances);
        s->service.instances = s->instances;
    }
    unsigned at = place_of(s, instance->instance.pid);
    memmove(s->instances + at + 1, s->instances + at, (n - at) * sizeof *s->instances);
    s->instances[at] = &instance->instance;
    s->service.n_instances++;
    s->service.n_usable += instance->instance.state == FUSE_INSTANCE_USABLE;
    if (instance->revision > s->service.revision) {
        s->service.revision = instance->revision;
    }
    instance->service = s;
}

static uint64_t newest(const struct fuse_service_node *s)
{
    uint64_t revision = 0;
    for (unsigned i = 0; i < s->service.n_instances; i++) {
        const struct fuse_instance_node *node =
            (const struct fuse_instance_node *)(const void *)s->instances[i];
        if (node->revision > revision) {
            revision = node->revision;
        }
    }
    return revision;
}

void fuse_services_leave(struct fuse_services *services, struct fuse_instance_node *instance)
{
    struct fuse_service_node *s = instance->service;
    unsigned at = place_of(s, instance->instance.pid), n = --s->service.n_instances;
    CHASSIS_ASSERT(at <= n && s->instances[at] == &instance->instance);
    memmove(s->instances + at, s->instances + at + 1, (n - at) * sizeof *s->instances);
    s->service.n_usable -= instance->instance.state == FUSE_INSTANCE_USABLE;
    if (instance->revision == s->service.revision) {
        s->service.revision = newest(s);
    }
    fuse_tree_remove(&services->instances, &instance->node);
    free(instance);
}

static const char *const reasons[] = {
    [FUSE_INSTANCE_STARTING] = "starting",
    [FUSE_INSTANCE_UNHEALTHY] = "unhealthy",
    [FUSE_INSTANCE_DISCONNECTED] = "disconnected",
};

const char *fuse_instance_reason(enum fuse_instance_state state)
{
    return reasons[state];
}

const char *fuse_instance_address(const struct fuse_instance *instance, bool http2)
{
    return http2 ? instance->rpc_address : instance->http_address;
}
