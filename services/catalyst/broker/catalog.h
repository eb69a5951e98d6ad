/* The catalog: everything Catalyst knows beside the events, as rows of a durable table.
 *
 * A row is (kind, key) → bytes. Changes are appended to one journal stream (CAT_CATALOG_STREAM) and
 * applied in order; on open the stream is read from its beginning. When most of it is overwritten the
 * live rows are appended again in slices and the old part is trimmed, so it stays small.
 *
 * Kinds: 1 stream configuration (key: name), 2 stream floor (key: number), 3 group configuration
 * (key: stream number, name), 4 group place (key: group number), 5 counters.
 *
 * Invariants: `done` runs in order, when the change is synced; memory shows a change only then; a row
 * of a newer format version is refused naming both versions.
 * Threads: the loop role. Ownership: rows are copied.
 */
#ifndef CAT_BROKER_CATALOG_H
#define CAT_BROKER_CATALOG_H

#include <chassis/log.h>

#include "journal/journal.h"

enum { CAT_CATALOG_STREAM = 1, CAT_FIRST_STREAM = 16 };
enum cat_row_kind {
    CAT_ROW_STREAM = 1,
    CAT_ROW_FLOOR = 2,
    CAT_ROW_GROUP = 3,
    CAT_ROW_PLACE = 4,
    CAT_ROW_COUNTER = 5,
};

struct cat_catalog;

struct cat_change {
    enum cat_row_kind kind;
    struct chassis_view key;
    struct chassis_view value; /* data NULL = delete the row */
};
/* Caller's memory until `done`. */
struct cat_commit {
    void (*done)(struct cat_commit *commit);
    struct cat_commit *next;              /* the caller's, to keep it in a list */
    struct chassis_journal_append append; /* the catalog's own, as what follows */
    struct cat_catalog *catalog;
    struct chassis_buf payload;
};

int cat_catalog_open(struct chassis_journal *journal, struct chassis_logger *log,
                     struct cat_catalog **ret_catalog, struct chassis_error *err);
/* Nothing is under way any more (or the journal was abandoned). NULL is fine. */
void cat_catalog_close(struct cat_catalog *catalog);
/* Commits that are not done yet, the catalog's own copying included. */
uint32_t cat_catalog_under_way(const struct cat_catalog *catalog);
/* `idle` whenever nothing is under way any more. */
void cat_catalog_on_idle(struct cat_catalog *catalog, void (*idle)(void *data), void *data);
/* One record: all or none of the changes. CHASSIS_NO_SPACE, CHASSIS_BUSY: nothing was taken. */
int cat_catalog_commit(struct cat_catalog *catalog, const struct cat_change *changes, size_t n,
                       struct cat_commit *commit, struct chassis_error *err);
/* Durable rows. CHASSIS_NOT_FOUND. The value is borrowed until the next change of the row. */
int cat_catalog_get(struct cat_catalog *catalog, enum cat_row_kind kind, struct chassis_view key,
                    struct chassis_view *ret_value);
/* In the order they were written; non-zero stops. No commit inside. */
void cat_catalog_each(struct cat_catalog *catalog, enum cat_row_kind kind,
                      int (*each)(void *data, struct chassis_view key, struct chassis_view value),
                      void *data);
/* The catalog of a broker, for groups. */
struct cat_broker;
struct cat_catalog *cat_broker_catalog(struct cat_broker *broker);

#endif
