/* Filters of the CloudEvents Subscriptions API: exact, prefix, suffix, all, any, not and sql
 * (CloudEvents SQL 1.0, sql.h), compiled once and asked for every event.
 *
 * Invariants: asking allocates nothing beyond what the scratch keeps from one event to the next; its
 * time and memory are bounded whatever the filter and the event; an event for which an expression
 * ends in an error does not match it.
 * Threads: a filter is constant once compiled, any thread may ask it; a scratch has one user at a
 * time. Ownership: compiling copies what it needs; the description is borrowed meanwhile.
 */
#ifndef CAT_FILTER_FILTER_H
#define CAT_FILTER_FILTER_H

#include "catalyst/event/event.h"

enum {
    CAT_FILTER_DEPTH_MAX = 16,  /* filters inside filters */
    CAT_FILTER_COUNT_MAX = 256, /* filters of one description, itself included */
    CAT_FILTER_PAIRS_MAX = 256, /* attribute and value pairs of one description */
    CAT_FILTER_TEXT_MAX = 8192, /* bytes of one pair's value */
};

enum cat_dialect {
    CAT_DIALECT_EXACT = 1, /* numbered as in draft.events.v1.Filter */
    CAT_DIALECT_PREFIX = 2,
    CAT_DIALECT_SUFFIX = 3,
    CAT_DIALECT_ALL = 4,
    CAT_DIALECT_ANY = 5,
    CAT_DIALECT_NOT = 6,
    CAT_DIALECT_SQL = 7,
};

struct cat_filter_pair {
    struct chassis_view attribute, value; /* neither may be empty */
};
/* A filter as a caller describes it; what its dialect does not use is left zero. */
struct cat_filter_spec {
    enum cat_dialect dialect;
    const struct cat_filter_pair *pairs; /* exact, prefix, suffix: at least one, all must hold */
    size_t pair_count;
    const struct cat_filter_spec *children; /* all, any: at least one; not: exactly one */
    size_t child_count;
    struct chassis_view sql;
};

struct cat_filter;

/* CHASSIS_INVALID_ARGUMENT or CHASSIS_TOO_LARGE, saying which filter ("filters[1].any[0]: …"). */
int cat_filter_compile(const struct cat_filter_spec *spec, struct cat_filter **ret_filter,
                       struct chassis_error *err);
/* A list of which all must match, as subscriptions have it; an empty list gives NULL, which matches
 * every event. */
int cat_filter_compile_list(const struct cat_filter_spec *specs, size_t count,
                            struct cat_filter **ret_filter, struct chassis_error *err);
/* The JSON of the Subscriptions API: one filter {"exact": {"type": "x"}}, or an array of them. */
int cat_filter_compile_json(struct chassis_view text, struct cat_filter **ret_filter,
                            struct chassis_error *err);
void cat_filter_free(struct cat_filter *filter);

/* Memory for evaluating; kept and used again for every event. Zeroed = empty. */
struct cat_filter_scratch {
    uint8_t *room;
    size_t used, cap;
    int64_t work; /* characters that may still be looked at for this event */
};
void cat_filter_scratch_fini(struct cat_filter_scratch *scratch);

/* NULL matches every event. */
bool cat_filter_matches(const struct cat_filter *filter, const struct cat_event *event,
                        struct cat_filter_scratch *scratch);

#endif
