/* A row remembers where in the log its value stands, and all rows are linked in that order. So the
 * front of the list says which part of the log is still needed, and keeping the log small is copying
 * rows from the front of the list to the end of the log: no phases, nothing to recover after a crash,
 * because a copy is a change like any other.
 *
 *     record: version 1 · number of changes varint · changes
 *     change: kind 1 · what follows 1 (0 deleted, 1 value) · key block · value block
 */
#include "catalyst/broker/catalog.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/list.h"

enum {
    CATALOG_VERSION = 1,
    CATALOG_RECORD = 1, /* type of its journal records */
    SLICE_BYTES = 64 << 10,
    SLACK_BYTES = 256 << 10, /* of overwritten rows, beyond once the live ones */
    READ_BYTES = 1 << 20,
    KEY_MAX = 4096,
    ROW_OVERHEAD = 16, /* of a row in a record, for the accounting */
    KIND_MAX = 255,
};

struct row {
    struct chassis_list link; /* of live rows, in the order of their places in the log */
    struct row *chain;        /* of its bucket */
    uint64_t index, at;       /* record of its value, and bytes written before it */
    uint32_t hash, value_len, pending;
    uint16_t key_len;
    uint8_t kind;
    bool live;
    uint8_t bytes[]; /* key, value */
};

struct cat_catalog {
    struct chassis_journal *journal;
    struct chassis_logger *log;
    struct row **buckets;
    uint32_t n_rows, n_buckets; /* rows: those not live but awaited too */
    struct chassis_list rows;
    uint64_t written, live_bytes, applied_index;
    uint64_t trimmed_at; /* bytes written when the log was last trimmed */
    uint32_t under_way;
    struct cat_commit copy;
    bool copying;
    void (*idle)(void *data);
    void *idle_data;
};

/* ---- rows ---- */

static uint32_t row_hash(enum cat_row_kind kind, struct chassis_view key)
{
    uint64_t h = chassis_fnv1a(key.data, key.len) + (uint64_t)kind * 0x9e3779b97f4a7c15ULL;
    return (uint32_t)((h * 0x9e3779b97f4a7c15ULL) >> 32);
}

static struct row **row_find(struct cat_catalog *c, enum cat_row_kind kind, struct chassis_view key,
                             uint32_t hash)
{
    struct row **at = &c->buckets[hash & (c->n_buckets - 1)];
    while (*at != NULL && !((*at)->hash == hash && (*at)->kind == (uint8_t)kind &&
                            chassis_view_eq(chassis_view((*at)->bytes, (*at)->key_len), key))) {
        at = &(*at)->chain;
    }
    return at;
}

static void grow(struct cat_catalog *c)
{
    uint32_t n = c->n_buckets != 0 ? c->n_buckets * 2 : 64;
    struct row **buckets = chassis_base_zalloc(n * sizeof(struct row *));
    for (uint32_t i = 0; i < c->n_buckets; i++) {
        for (struct row *r = c->buckets[i], *next; r != NULL; r = next) {
            next = r->chain;
            r->chain = buckets[r->hash & (n - 1)];
            buckets[r->hash & (n - 1)] = r;
        }
    }
    free(c->buckets);
    c->buckets = buckets;
    c->n_buckets = n;
}

static uint64_t row_size(const struct row *r)
{
    return (uint64_t)r->key_len + r->value_len + ROW_OVERHEAD;
}

/* The row of a key, made if it is not there. */
static struct row **row_make(struct cat_catalog *c, const struct cat_change *change)
{
    uint32_t hash = row_hash(change->kind, change->key);
    struct row **at = row_find(c, change->kind, change->key, hash);
    if (*at != NULL) {
        return at;
    }
    if (c->n_rows >= c->n_buckets) {
        grow(c);
        at = row_find(c, change->kind, change->key, hash);
    }
    struct row *r = chassis_base_zalloc(sizeof *r + change->key.len);
    chassis_list_init(&r->link);
    r->hash = hash;
    r->kind = (uint8_t)change->kind;
    r->key_len = (uint16_t)change->key.len;
    if (change->key.len != 0) {
        memcpy(r->bytes, change->key.data, change->key.len);
    }
    c->n_rows++;
    *at = r;
    return at;
}

static void row_drop_if_unused(struct cat_catalog *c, struct row **at)
{
    struct row *r = *at;
    if (!r->live && r->pending == 0) {
        *at = r->chain;
        c->n_rows--;
        free(r);
    }
}

/* One change becomes visible. */
static void apply(struct cat_catalog *c, const struct cat_change *change, uint64_t index,
                  uint64_t at, bool awaited)
{
    struct row **place = row_make(c, change);
    struct row *r = *place;
    if (r->live) {
        c->live_bytes -= row_size(r);
    }
    chassis_list_remove(&r->link);
    r->pending -= awaited ? 1 : 0;
    r->live = change->value.data != NULL;
    if (r->live) {
        if (r->value_len != change->value.len) {
            *place = r =
                chassis_base_realloc(r, sizeof *r + (size_t)r->key_len + change->value.len);
            chassis_list_init(&r->link);
            r->value_len = (uint32_t)change->value.len;
        }
        if (change->value.len != 0) {
            memcpy(r->bytes + r->key_len, change->value.data, change->value.len);
        }
        r->index = index;
        r->at = at;
        chassis_list_append(&c->rows, &r->link);
        c->live_bytes += row_size(r);
    }
    row_drop_if_unused(c, place);
}

/* ---- records ---- */

static void encode(const struct cat_change *changes, size_t n, struct chassis_buf *out)
{
    chassis_buf_append_byte(out, CATALOG_VERSION);
    chassis_buf_append_varint(out, n);
    for (size_t i = 0; i < n; i++) {
        chassis_buf_append_byte(out, (uint8_t)changes[i].kind);
        chassis_buf_append_byte(out, changes[i].value.data != NULL);
        chassis_buf_append_block(out, changes[i].key);
        if (changes[i].value.data != NULL) {
            chassis_buf_append_block(out, changes[i].value);
        }
    }
}

static int malformed(uint64_t index, struct chassis_error *err)
{
    return chassis_error_set(
        err, CHASSIS_CORRUPT,
        "catalog record %llu is not what this program writes: restore the data "
        "directory from a backup",
        (unsigned long long)index);
}

static int decode(struct cat_catalog *c, struct chassis_view payload, uint64_t index, bool awaited,
                  struct chassis_error *err)
{
    struct chassis_reader reader = chassis_reader(payload);
    uint8_t version = chassis_read_byte(&reader);
    if (version > CATALOG_VERSION) {
        return chassis_error_set(err, CHASSIS_BAD_VERSION,
                                 "catalog record %llu has format %u, this program knows up to %u: "
                                 "run the newer version",
                                 (unsigned long long)index, version, CATALOG_VERSION);
    }
    uint64_t n = chassis_read_varint(&reader);
    for (uint64_t i = 0; i < n && !reader.bad; i++) {
        struct cat_change change = {.kind = (enum cat_row_kind)chassis_read_byte(&reader)};
        bool live = chassis_read_byte(&reader) != 0;
        change.key = chassis_read_block(&reader);
        if (live) {
            change.value = chassis_read_block(&reader);
            if (change.value.data == NULL) {
                change.value.data = (const uint8_t *)"";
            }
        }
        if (!reader.bad && change.key.len <= KEY_MAX) {
            apply(c, &change, index, c->written, awaited);
        }
    }
    if (version == 0 || reader.bad || chassis_reader_left(&reader) != 0) {
        return malformed(index, err);
    }
    c->written += payload.len;
    c->applied_index = index;
    return 0;
}

/* ---- keeping the log small ---- */

static void trim(struct cat_catalog *c)
{
    uint64_t needed = c->applied_index + 1;
    if (!chassis_list_empty(&c->rows)) {
        needed = chassis_list_entry(c->rows.next, struct row, link)->index;
    }
    if (needed > 1) {
        chassis_journal_trim(c->journal, CAT_CATALOG_STREAM, needed - 1);
    }
    c->trimmed_at = c->written;
}

static void copied(struct cat_commit *commit)
{
    struct cat_catalog *c = chassis_container_of(commit, struct cat_catalog, copy);
    c->copying = false;
    trim(c);
}

/* Copy rows from the front to the end of the log while less than half of it is live. A row that is
 * being changed moves by itself: the copy waits for it. */
static void compact(struct cat_catalog *c)
{
    if (c->written - c->trimmed_at > SLACK_BYTES) {
        trim(c);
    }
    if (c->copying || chassis_list_empty(&c->rows)) {
        return;
    }
    const struct row *front = chassis_list_entry(c->rows.next, struct row, link);
    if (c->written - front->at <= 2 * c->live_bytes + SLACK_BYTES) {
        return;
    }
    struct cat_change changes[256];
    size_t n = 0, bytes = 0;
    chassis_list_foreach (link, &c->rows) {
        const struct row *r = chassis_list_entry(link, struct row, link);
        if (r->pending != 0 || n == sizeof changes / sizeof changes[0] || bytes > SLICE_BYTES) {
            break;
        }
        changes[n++] =
            (struct cat_change){(enum cat_row_kind)r->kind, chassis_view(r->bytes, r->key_len),
                                chassis_view(r->bytes + r->key_len, r->value_len)};
        bytes += row_size(r);
    }
    if (n == 0) {
        return;
    }
    c->copy.done = copied;
    c->copying = true;
    if (cat_catalog_commit(c, changes, n, &c->copy, NULL) < 0) {
        c->copying = false; /* no room now: the next change tries again */
    }
}

/* ---- changes ---- */

static void on_durable(struct chassis_journal_append *append)
{
    struct cat_commit *commit = chassis_container_of(append, struct cat_commit, append);
    struct cat_catalog *c = commit->catalog;
    struct chassis_buf payload = chassis_buf_move(&commit->payload);
    struct chassis_error err = {0};
    int rc = decode(c, chassis_buf_view(&payload), append->last_index, true, &err);
    CHASSIS_ASSERT(rc == 0);
    chassis_buf_fini(&payload);
    c->under_way--;
    commit->done(commit);
    compact(c);
    if (c->under_way == 0 && c->idle != NULL) {
        c->idle(c->idle_data);
    }
}

/* What makes room must be possible when there is none: floors, and rows that go. */
static bool makes_room(const struct cat_change *changes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (changes[i].kind != CAT_ROW_FLOOR && changes[i].value.data != NULL) {
            return false;
        }
    }
    return true;
}

int cat_catalog_commit(struct cat_catalog *c, const struct cat_change *changes, size_t n,
                       struct cat_commit *commit, struct chassis_error *err)
{
    CHASSIS_ASSERT(n != 0);
    if (CHASSIS_FAULT("catalyst.catalog.commit")) {
        return chassis_error_set(err, CHASSIS_NO_SPACE, "catalog: fault point");
    }
    for (size_t i = 0; i < n; i++) {
        CHASSIS_ASSERT(changes[i].key.len <= KEY_MAX && (unsigned)changes[i].kind <= KIND_MAX);
    }
    chassis_buf_init(&commit->payload);
    encode(changes, n, &commit->payload);
    struct chassis_journal_record record = {
        .index = chassis_journal_stream(c->journal, CAT_CATALOG_STREAM).last_index + 1,
        .type = CATALOG_RECORD,
        .payload = chassis_buf_view(&commit->payload),
    };
    commit->catalog = c;
    commit->append = (struct chassis_journal_append){.stream = CAT_CATALOG_STREAM,
                                                     .urgent = makes_room(changes, n),
                                                     .records = &record,
                                                     .n_records = 1,
                                                     .done = on_durable};
    int rc = chassis_journal_append(c->journal, &commit->append, err);
    commit->append.records = NULL;
    if (rc < 0) {
        chassis_buf_fini(&commit->payload);
        chassis_error_wrap(err, "change the catalog");
        return rc;
    }
    for (size_t i = 0; i < n; i++) {
        (*row_make(c, &changes[i]))->pending++;
    }
    c->under_way++;
    return 0;
}

void cat_catalog_on_idle(struct cat_catalog *c, void (*idle)(void *data), void *data)
{
    c->idle = idle;
    c->idle_data = data;
}

uint32_t cat_catalog_under_way(const struct cat_catalog *c)
{
    return c->under_way;
}

int cat_catalog_get(struct cat_catalog *c, enum cat_row_kind kind, struct chassis_view key,
                    struct chassis_view *ret_value)
{
    const struct row *r = *row_find(c, kind, key, row_hash(kind, key));
    if (r == NULL || !r->live) {
        return CHASSIS_NOT_FOUND;
    }
    *ret_value = chassis_view(r->bytes + r->key_len, r->value_len);
    return 0;
}

void cat_catalog_each(struct cat_catalog *c, enum cat_row_kind kind,
                      int (*each)(void *data, struct chassis_view key, struct chassis_view value),
                      void *data)
{
    chassis_list_foreach_safe (link, &c->rows) {
        const struct row *r = chassis_list_entry(link, struct row, link);
        if (r->kind == (uint8_t)kind && each(data, chassis_view(r->bytes, r->key_len),
                                             chassis_view(r->bytes + r->key_len, r->value_len))) {
            return;
        }
    }
}

/* ---- life ---- */

struct replay {
    struct cat_catalog *catalog;
    struct chassis_error *err;
    uint64_t next;
    int rc;
};

static int replay_one(const struct chassis_journal_record *record, void *data)
{
    struct replay *r = data;
    r->rc = record->type == CATALOG_RECORD
                ? decode(r->catalog, record->payload, record->index, false, r->err)
                : malformed(record->index, r->err);
    r->next = record->index + 1;
    return r->rc;
}

int cat_catalog_open(struct chassis_journal *journal, struct chassis_logger *log,
                     struct cat_catalog **ret_catalog, struct chassis_error *err)
{
    struct cat_catalog *c = chassis_base_zalloc(sizeof *c);
    c->journal = journal;
    c->log = log;
    chassis_list_init(&c->rows);
    grow(c);
    struct chassis_journal_stream s = chassis_journal_stream(journal, CAT_CATALOG_STREAM);
    struct replay replay = {.catalog = c, .err = err, .next = s.first_index};
    int rc = 0;
    while (rc == 0 && s.last_index != 0 && replay.next <= s.last_index) {
        rc = chassis_journal_read(journal, CAT_CATALOG_STREAM, replay.next, READ_BYTES, replay_one,
                                  &replay, err);
        rc = replay.rc < 0 ? replay.rc : rc;
    }
    if (rc < 0) {
        chassis_error_wrap(err, "read the catalog");
        cat_catalog_close(c);
        return rc;
    }
    trim(c);
    *ret_catalog = c;
    return 0;
}

void cat_catalog_close(struct cat_catalog *c)
{
    if (c == NULL) {
        return;
    }
    for (uint32_t i = 0; i < c->n_buckets; i++) {
        for (struct row *r = c->buckets[i], *next; r != NULL; r = next) {
            next = r->chain;
            free(r);
        }
    }
    free(c->buckets);
    chassis_buf_fini(&c->copy.payload);
    free(c);
}
