#include "rpc/recent.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/assert.h"

struct ring {
    struct chassis_recent_entry entries[CHASSIS_RECENT_MAX];
    size_t next, n;
};

/* A mutex: the copy under it takes some 20 ns and nobody reads but an operator's page. */
struct chassis_recent {
    pthread_mutex_t lock;
    struct ring recent, slow;
};

struct chassis_recent *chassis_recent_new(void)
{
    struct chassis_recent *r = chassis_base_zalloc(sizeof *r);
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

void chassis_recent_free(struct chassis_recent *recent)
{
    if (recent != NULL) {
        pthread_mutex_destroy(&recent->lock);
        free(recent);
    }
}

static void ring_add(struct ring *ring, const struct chassis_recent_entry *entry)
{
    ring->entries[ring->next] = *entry;
    ring->next = (ring->next + 1) % CHASSIS_RECENT_MAX;
    ring->n += ring->n < CHASSIS_RECENT_MAX;
}

void chassis_recent_add(struct chassis_recent *recent, const struct chassis_recent_entry *entry,
                        bool slow)
{
    pthread_mutex_lock(&recent->lock);
    ring_add(&recent->recent, entry);
    if (slow) {
        ring_add(&recent->slow, entry);
    }
    pthread_mutex_unlock(&recent->lock);
}

size_t chassis_recent_list(struct chassis_recent *recent, bool slow,
                           struct chassis_recent_entry *out, size_t max)
{
    pthread_mutex_lock(&recent->lock);
    const struct ring *ring = slow ? &recent->slow : &recent->recent;
    size_t n = ring->n < max ? ring->n : max;
    for (size_t i = 0; i < n; i++) {
        out[i] = ring->entries[(ring->next + CHASSIS_RECENT_MAX - 1 - i) % CHASSIS_RECENT_MAX];
    }
    pthread_mutex_unlock(&recent->lock);
    return n;
}
