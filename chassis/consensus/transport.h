/* The way between the nodes of a cluster.
 *
 * One ordered stream of frames to each peer. A frame is either delivered once and in order within
 * its session or, with everything behind it, lost when the session ends; consensus copes with loss,
 * not with repetition or disorder.
 *
 * Threads: `start`, `send` and `stop` are called on the loop role, and the events must be delivered
 * there. Ownership: `send` takes the frame only when it returns 0.
 */
#ifndef CHASSIS_CONSENSUS_TRANSPORT_H
#define CHASSIS_CONSENSUS_TRANSPORT_H

#include <chassis/buf.h>
#include <chassis/consensus.h>
#include <chassis/error.h>
#include <chassis/executor.h>

struct chassis_transport_self {
    uint8_t cluster_id[16];
    uint64_t id;
    uint64_t boot;    /* number of this start of the node */
    uint32_t version; /* newest command version understood */
    struct chassis_view secret;
    struct chassis_executor *loop;
    const struct chassis_consensus_member *members;
    unsigned n_members;
    unsigned heartbeat_ms;
};

struct chassis_transport_events {
    /* The stream to `peer` is open: it proved to be a member of this cluster. */
    void (*up)(void *data, uint64_t peer, uint64_t boot, uint32_t version);
    void (*down)(void *data, uint64_t peer);
    void (*writable)(void *data, uint64_t peer); /* after a refused send */
    /* May this member take part with this boot number? Asked before anything of it is believed, from
     * any role. 0, or CHASSIS_PERMISSION_DENIED with a text. */
    int (*admit)(void *data, uint64_t peer, uint64_t boot, struct chassis_error *err);
    void (*frame)(void *data, uint64_t peer, struct chassis_view frame);
};

struct chassis_transport;
struct chassis_transport_ops {
    int (*start)(struct chassis_transport *transport, const struct chassis_transport_self *self,
                 const struct chassis_transport_events *events, void *data,
                 struct chassis_error *err);
    /* 0, CHASSIS_RESOURCE_EXHAUSTED (wait for writable) or CHASSIS_UNAVAILABLE (not up). */
    int (*send)(struct chassis_transport *transport, uint64_t peer, struct chassis_buf *frame);
    /* No event is delivered once `stopped` ran. */
    void (*stop)(struct chassis_transport *transport, void (*stopped)(void *data), void *data);
};
struct chassis_transport {
    const struct chassis_transport_ops *ops;
};

#endif
