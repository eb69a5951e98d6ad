/* Groups above the real broker, catalog and journal on a simulated machine. */
#ifndef TESTS_CATALYST_GROUPS_RIG_H
#define TESTS_CATALYST_GROUPS_RIG_H

#include "tests/unit/journal/rig.h"

#include "catalyst/event/build.h"
#include "catalyst/groups/groups.h"
#include "catalyst/groups/letter.h"

#define V(text) chassis_view_str(text)
#define MS      CHASSIS_NS_PER_MS

enum { SEEN_MAX = 20000, TAKEN_MAX = 64, TEXT_MAX = 64 };

struct world {
    struct rig rig;
    struct chassis_executor *worker;
    struct cat_broker *broker;
    struct cat_groups *groups;
    int rc;
    bool done;
    struct chassis_error err;
    uint64_t count; /* of replay, purge */
    unsigned pushes;
    uint32_t entries_max; /* of the next start */
    char pushed[TEXT_MAX];
};
extern struct world w;

struct seen {
    uint64_t sequence, at_ns;
    uint32_t attempt;
    char id[TEXT_MAX];
};
/* A member, what it got, and how it answers. */
struct consumer {
    const char *stream, *group, *name;
    enum { HOLD, ANSWER_ACK, ANSWER_NACK, ANSWER_TERM } policy;
    uint32_t credit, delay_ms;
    bool refill; /* credit for each event it got */
    bool push;
    struct cat_member *member;
    struct seen seen[SEEN_MAX];
    unsigned n, flushes, gaps;
    uint64_t gap_from, gap_to;
    uint64_t next;
    int ended; /* its status */
    int rc;
    uint64_t waiting[SEEN_MAX]; /* to be answered in the flush */
    unsigned n_waiting;
};

void world_init(uint64_t seed);
void world_fini(void);
/* Members vanish too. */
void world_crash(bool power);
void world_restart(void); /* orderly */
void world_run(uint64_t ms);
/* Run until `done`, at most a minute. */
void world_wait(void);

/* Each waits until it is done and gives its status; the text is in w.err. */
int make_stream(const struct cat_stream_config *config);
int make_group(const struct cat_group_config *config);
int update_group(const struct cat_group_config *config);
int delete_group(const char *stream, const char *group);
int delete_stream(const char *stream);
int purge_stream(const char *stream, uint64_t keep_from);
int seek_group(const char *stream, const char *group, struct cat_start start);
int replay(const char *stream, const char *group, const uint64_t *sequences, uint32_t n);
int purge_letters(const char *stream, const char *group, uint64_t through);
struct cat_group_info group_info(const char *stream, const char *group);
struct cat_stream_info stream_info(const char *stream);

/* Publish n events "<prefix><i>", i from 1, of this subject (NULL = none), with more attributes. */
int publish(const char *stream, const char *prefix, unsigned n, const char *subject,
            const struct cat_attribute *more, size_t n_more);

int join(struct consumer *c);
void leave(struct consumer *c);
void give_credit(struct consumer *c, uint32_t credit);
int answer(struct consumer *c, uint64_t sequence, enum cat_answer_kind kind, uint32_t delay_ms,
           const char *reason);
int answer_through(struct consumer *c, uint64_t sequence);
/* How often it saw the event. */
unsigned saw(const struct consumer *c, uint64_t sequence);

/* The events of a stream (dead letters of a group, if one is named). */
struct letters {
    struct seen seen[256];
    struct {
        char reason[300], group[TEXT_MAX];
        uint64_t sequence;
        uint32_t attempts;
        bool is;
    } letter[256];
    unsigned n;
};
void read_stream(const char *stream, struct letters *out);
void peek_letters(const char *stream, const char *group, uint64_t from, uint32_t limit,
                  struct letters *out);

#endif
