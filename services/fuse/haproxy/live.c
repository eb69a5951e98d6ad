#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "fuse/haproxy/live.h"

enum { GONE_MAX = 64 };

struct live_server {
    char *name;
    unsigned weight;
    bool ready; /* else in maintenance */
    bool seen;
};
struct live_pool {
    struct live_server *items; /* by name */
    unsigned n, cap;
};
struct fuse_live {
    const struct fuse_plan *plan;
    struct live_pool *pools;
};

static struct live_server *add(struct live_pool *pool, unsigned at, const char *name)
{
    if (pool->n == pool->cap) {
        pool->cap = pool->cap == 0 ? 4 : pool->cap * 2;
        pool->items = chassis_base_realloc(pool->items, pool->cap * sizeof *pool->items);
    }
    memmove(pool->items + at + 1, pool->items + at, (pool->n - at) * sizeof *pool->items);
    pool->n++;
    pool->items[at] = (struct live_server){.name = chassis_base_strdup(name)};
    return &pool->items[at];
}

/* Where the server is or would be. */
static unsigned place_of(const struct live_pool *pool, const char *name, bool *ret_found)
{
    unsigned low = 0, high = pool->n;
    *ret_found = false;
    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        int by = strcmp(pool->items[mid].name, name);
        if (by == 0) {
            *ret_found = true;
            return mid;
        }
        low = by < 0 ? mid + 1 : low;
        high = by < 0 ? high : mid;
    }
    return low;
}

static struct fuse_live *live_new(const struct fuse_plan *plan)
{
    struct fuse_live *live = chassis_base_zalloc(sizeof *live);
    live->plan = plan;
    live->pools = chassis_base_zalloc((plan->pools.n + 1) * sizeof *live->pools);
    return live;
}

struct fuse_live *fuse_live_of_plan(const struct fuse_plan *plan)
{
    struct fuse_live *live = live_new(plan);
    for (unsigned i = 0; i < plan->pools.n; i++) {
        for (unsigned k = 0; k < plan->servers[i].n; k++) {
            struct live_server *server = add(&live->pools[i], k, plan->servers[i].items[k].name);
            server->weight = plan->servers[i].items[k].weight;
            server->ready = true;
        }
    }
    return live;
}

void fuse_live_free(struct fuse_live *live)
{
    if (live == NULL) {
        return;
    }
    for (unsigned i = 0; i < live->plan->pools.n; i++) {
        for (unsigned k = 0; k < live->pools[i].n; k++) {
            free(live->pools[i].items[k].name);
        }
        free(live->pools[i].items);
    }
    free(live->pools);
    free(live);
}

static struct live_pool *pool_named(const struct fuse_live *live, const char *name)
{
    unsigned low = 0, high = live->plan->pools.n;
    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        int by = strcmp(live->plan->pools.items[mid]->name, name);
        if (by == 0) {
            return &live->pools[mid];
        }
        low = by < 0 ? mid + 1 : low;
        high = by < 0 ? high : mid;
    }
    return NULL;
}

struct fuse_live *fuse_live_of_state(const struct fuse_plan *plan, const char *answer)
{
    enum { FORCED_MAINTENANCE = 1 }; /* of srv_admin_state */
    struct fuse_live *live = live_new(plan);
    for (const char *line = answer; line != NULL; line = strchr(line, '\n')) {
        line += line[0] == '\n';
        char pool_name[256], name[FUSE_SERVER_NAME_MAX];
        unsigned admin, weight;
        if (sscanf(line, "%*u %255s %*u %279s %*s %*u %u %u", pool_name, name, &admin, &weight) !=
            4) {
            continue;
        }
        struct live_pool *pool = pool_named(live, pool_name);
        bool found = false;
        unsigned at = pool != NULL ? place_of(pool, name, &found) : 0;
        if (pool != NULL && !found) {
            struct live_server *server = add(pool, at, name);
            server->weight = weight;
            server->ready = (admin & FORCED_MAINTENANCE) == 0;
        }
    }
    return live;
}

static void bring(struct live_pool *pool, const struct fuse_pool *of,
                  const struct fuse_server *server, struct fuse_live_change *change)
{
    struct fuse_runtime_batch *commands = change->commands;
    bool found;
    unsigned at = place_of(pool, server->name, &found);
    if (!found && server->by_name) {
        change->needs_configuration = true;
        return;
    }
    struct live_server *is = found ? &pool->items[at] : add(pool, at, server->name);
    is->seen = true;
    if (!found) {
        struct chassis_buf text = {0};
        fuse_pool_server_text(of, server, &text);
        fuse_runtime_add(commands, "add server %s/%s %s", of->name, server->name,
                         (const char *)text.data);
        chassis_buf_fini(&text);
        if (of->checked) {
            fuse_runtime_add(commands, "enable health %s/%s", of->name, server->name);
        }
    } else if (is->weight != server->weight) {
        fuse_runtime_add(commands, "set server %s/%s weight %u", of->name, server->name,
                         server->weight);
    }
    if (!is->ready) {
        fuse_runtime_add(commands, "set server %s/%s state ready", of->name, server->name);
    }
    is->weight = server->weight;
    is->ready = true;
}

void fuse_live_change(struct fuse_live *live, unsigned i, const struct fuse_model *model,
                      struct fuse_live_change *change)
{
    const struct fuse_pool *of = live->plan->pools.items[i];
    struct live_pool *pool = &live->pools[i];
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    struct fuse_server *wanted;
    unsigned n = fuse_pool_servers(of, model, &arena, &wanted), gone = 0;
    for (unsigned k = 0; k < pool->n; k++) {
        pool->items[k].seen = false;
    }
    for (unsigned k = 0; k < n; k++) {
        bring(pool, of, &wanted[k], change);
    }
    for (unsigned k = 0; k < pool->n; k++) {
        struct live_server *server = &pool->items[k];
        if (server->ready && !server->seen) {
            server->ready = false;
            fuse_runtime_add(change->commands, "set server %s/%s state maint", of->name,
                             server->name);
            if (change->removals != NULL) {
                fuse_runtime_add(change->removals, "set server %s/%s state maint", of->name,
                                 server->name);
            }
        }
        gone += !server->ready;
    }
    change->needs_configuration = change->needs_configuration || gone > GONE_MAX + 2 * n;
    chassis_arena_fini(&arena);
}

bool fuse_live_answer_is_fine(const char *answer)
{
    return answer[0] == '\0' || strcmp(answer, "New server registered.") == 0;
}
