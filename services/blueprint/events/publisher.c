#include "publisher.h"

#include "broker/broker.h"
#include "runtime/runtime.h"

static void committed(void *data)
{
    bp_events_committed(data);
}

static void leadership(void *data, bool leader)
{
    bp_events_leadership(data, leader);
}

static int open_link(struct bp_publisher *p, struct chassis *c, const char *url, const char *stream,
                     struct chassis_error *err)
{
    char target[1024];
    struct chassis_client *client;
    if (strlen(stream) >= sizeof p->link.stream) {
        return chassis_error_set(err, CHASSIS_CONFIG,
                                 "blueprint.events.stream '%s': at most %zu bytes", stream,
                                 sizeof p->link.stream - 1);
    }
    int rc = chassis_broker_target(url, target, sizeof target, err);
    rc = rc == 0 ? chassis_runtime_client(c, target, chassis_loop(c), &client, err) : rc;
    if (rc == 0) {
        bp_link_init(&p->link, client, stream);
    }
    return rc;
}

int bp_publisher_start(struct bp_publisher *p, struct chassis *c, struct blueprint *blueprint,
                       const char *stream, struct chassis_error *err)
{
    const char *url = chassis_runtime_broker_url(c, "catalyst");
    if (url == NULL || stream == NULL || stream[0] == '\0') {
        return 0;
    }
    int rc = open_link(p, c, url, stream, err);
    if (rc != 0) {
        return rc;
    }
    p->on = true;
    bp_events_start(&p->events, &(struct bp_events_options){.consensus = chassis_consensus(c),
                                                            .loop = chassis_loop(c),
                                                            .kv = &blueprint->kv,
                                                            .sink = &p->link.sink});
    blueprint->follower =
        (struct bp_follower){.committed = committed, .leadership = leadership, .data = &p->events};
    return 0;
}

void bp_publisher_stop(struct bp_publisher *p)
{
    if (p->on) {
        bp_events_stop(&p->events);
    }
}
