/* All records of one kind of Blueprint, and every change of them: List, then Watch, for ever.
 *
 *   ┌──▶ listing ──last page──▶ watching ──event──▶ watching
 *   │       ▲  │error              │ ended (backoff)   │ RESYNC
 *   │       │  └─▶ backoff         ▼                   │
 *   │       └──────────────── asking: is it the Blueprint we know? ──yes──▶ watching from there
 *   └─────────────────────────────────┴───────────no────────────────────────────┘
 *
 * Invariants: between begin and end is everything there is; changes come in the order of revisions,
 * each once; while Blueprint is away nothing is told.
 * Threads: `loop`, where the client's callbacks run, too.
 * Ownership: the caller's memory; it and the client must live until the client is freed after
 * fuse_records_stop.
 */
#ifndef FUSE_BLUEPRINT_RECORDS_H
#define FUSE_BLUEPRINT_RECORDS_H

#include <chassis/client.h>
#include <chassis/log.h>

#include "base/prng.h"

struct fuse_record_meta {
    uint64_t revision, created_revision;
    int64_t time_ns; /* Unix */
    const char *actor;
};
struct fuse_records_handlers {
    void (*begin)(void *data);
    void (*put)(void *data, const char *key, struct chassis_view value,
                const struct fuse_record_meta *meta);
    void (*deleted)(void *data, const char *key, uint64_t revision);
    void (*end)(void *data, uint64_t revision);
};

struct fuse_records {
    struct chassis_client *client;
    struct chassis_executor *loop;
    struct chassis_logger *log;
    const char *kind, *prefix; /* only keys that begin so; "" = all */
    const struct fuse_records_handlers *handlers;
    void *data;
    unsigned page_size; /* 0 = 1,000 */
    /* records.c's own */
    struct chassis_timer timer;
    struct chassis_prng prng;
    unsigned attempt;
    struct chassis_client_stream *stream;
    struct chassis_buf page; /* token of the next one; empty: the first */
    uint64_t revision;       /* everything up to this one has been told; 0 before the first end */
    bool relist, synced, stopped;
    uint64_t losses;
};
/* What is above `own` is filled in. */
void fuse_records_start(struct fuse_records *records);
void fuse_records_stop(struct fuse_records *records);

#endif
