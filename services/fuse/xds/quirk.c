#include "fuse/xds/quirk.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "proto/wire.h"

enum {
    FIXED_IN_CORE = 30,
    FIELD_LB_POLICY = 6, /* of Cluster; absent = round robin */
};

bool fuse_quirk_fears_ring_hash(const char *user_agent_name, const char *user_agent_version)
{
    static const char name[] = "gRPC C-core", version[] = "C-core ";
    if (strncmp(user_agent_name, name, sizeof name - 1) != 0) {
        return false;
    }
    return strncmp(user_agent_version, version, sizeof version - 1) != 0 ||
           strtoul(user_agent_version + sizeof version - 1, NULL, 10) < FIXED_IN_CORE;
}

void fuse_quirk_drop_ring_hash(struct chassis_view cluster, struct chassis_buf *out)
{
    const uint8_t *end = wire_end(cluster);
    for (const uint8_t *p = cluster.data, *next; p < end; p = next) {
        struct wire_field field;
        next = wire_next(p, end, &field);
        CHASSIS_ASSERT(next != NULL); /* we made it */
        if (field.number != FIELD_LB_POLICY) {
            chassis_buf_append(out, p, (size_t)(next - p));
        }
    }
}
