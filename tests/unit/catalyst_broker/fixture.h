/* A broker on a simulated machine, and what tests do with it. */
#ifndef TESTS_CATALYST_BROKER_FIXTURE_H
#define TESTS_CATALYST_BROKER_FIXTURE_H

#include "tests/unit/journal/rig.h"

#include "catalyst/broker/broker.h"
#include "catalyst/broker/catalog.h"
#include "catalyst/event/build.h"

enum { EVENTS_MAX = 512, TEXT_MAX = 48 };

struct fixture {
    struct rig rig;
    struct cat_broker *broker;
    struct cat_broker_options options;
    struct chassis_clock *clock;
    int rc;
    bool closed;
};
extern struct fixture f;

void fixture_begin(uint64_t seed, uint64_t segment_bytes);
int fixture_try_begin(uint64_t seed, uint64_t segment_bytes);
void fixture_end(void);
int fixture_open(void);
/* Close properly, or crash (with loss of power), and open again. */
void fixture_reopen(bool crash);
void fixture_kill(void); /* the process only */
void fixture_run_ms(uint64_t ms);
/* Run `fn` on the loop. */
void fixture_call(void (*fn)(void *data), void *data);

/* A publish of up to EVENTS_MAX events, and what became of it. */
struct post {
    struct cat_publish publish;
    struct cat_publish_event events[EVENTS_MAX];
    struct chassis_buf bytes[EVENTS_MAX];
    char stream[64];
    bool done;
    unsigned turn;             /* the how manieth `done` of all */
    char why[EVENTS_MAX][160]; /* events were refused */
};
struct post *post_new(const char *stream);
void post_free(struct post *post);
/* One more event; attributes may be NULL. */
void post_add(struct post *post, const char *id, const char *type,
              const struct cat_attribute *attributes, size_t n);
void post_send(struct post *post);
void post_wait(struct post *post);
/* Publish one event and wait; its status. */
int post_one(const char *stream, const char *id, uint64_t *ret_sequence);
/* Publish events "first" … "first + n - 1" as batches of `batch`. */
void publish_many(const char *stream, unsigned first, unsigned n, unsigned batch);

/* A reader that remembers ids. */
struct seen {
    struct cat_reader *reader;
    struct cat_reader_options options;
    char stream[64];
    char ids[4096][TEXT_MAX];
    uint64_t sequences[4096];
    int64_t times[4096];
    unsigned n, room, gaps, pauses;
    uint64_t gap_from, gap_to, next;
    char gap_stream[64];
    int ended, rc;
    struct chassis_error err;
};
struct seen *seen_open(const char *stream, struct cat_start start, unsigned room);
void seen_more(struct seen *seen, unsigned room); /* and wake */
void seen_close(struct seen *seen);
bool seen_wait(struct seen *seen, unsigned n);

/* Wait for a change of a stream. */
struct cat_stream_config named(const char *name);
int stream_create(const struct cat_stream_config *config);
int stream_update(const struct cat_stream_config *config);
int stream_delete(const char *name);
int stream_purge(const char *name, uint64_t keep_from, uint64_t keep_events, uint64_t *ret_purged);
int stream_get(const char *name, struct cat_stream_info *ret_info);
extern struct chassis_error change_err;

#endif
