/* Reading: records as of a revision, and ranges of them. */
#include "model.h"

#include "base/bytes.h"

int bp_kv_revisions(struct chassis_txn *txn, uint64_t *ret_revision, uint64_t *ret_floor,
                    struct chassis_error *err)
{
    int r = bp_store_counter(txn, BP_COUNTER_REVISION, ret_revision, err);
    return r != 0 ? r : bp_store_counter(txn, BP_COUNTER_FLOOR, ret_floor, err);
}

int bp_kv_kind_id(struct chassis_txn *txn, struct chassis_view kind, uint32_t *ret_id,
                  struct chassis_error *err)
{
    struct bp_key key = {.len = 0};
    bp_key_append(&key, "u", 1);
    bp_key_append(&key, kind.data, kind.len);
    uint8_t room[64];
    struct chassis_arena arena;
    chassis_arena_init(&arena, room, sizeof room, 0);
    struct bp_counter id = {0};
    int r =
        bp_store_get(txn, BP_TABLE_KINDS, bp_key_view(&key), &bp_layout_counter, &arena, &id, err);
    chassis_arena_fini(&arena);
    if (r == 0 || r == CHASSIS_NOT_FOUND) {
        *ret_id = (uint32_t)id.value;
        r = 0;
    }
    return r;
}

int bp_kv_kind_name(struct chassis_txn *txn, uint32_t id, struct chassis_view *ret_kind,
                    struct chassis_error *err)
{
    struct bp_key key = {.len = 0};
    bp_key_append(&key, "i", 1);
    bp_key_append_be32(&key, id);
    uint8_t room[64];
    struct chassis_arena arena;
    chassis_arena_init(&arena, room, sizeof room, 0);
    struct bp_text name;
    int r =
        bp_store_get(txn, BP_TABLE_KINDS, bp_key_view(&key), &bp_layout_text, &arena, &name, err);
    chassis_arena_fini(&arena);
    if (r == 0) {
        *ret_kind = name.text;
    }
    return r;
}

static int check_revision(struct chassis_txn *txn, uint64_t at_revision, struct chassis_error *err)
{
    uint64_t revision, floor;
    int r = bp_kv_revisions(txn, &revision, &floor, err);
    if (r != 0 || at_revision == 0) {
        return r;
    }
    if (at_revision < floor) {
        return chassis_error_set(err, CHASSIS_OUT_OF_RANGE,
                                 "revision %llu was compacted away, the oldest kept is %llu",
                                 (unsigned long long)at_revision, (unsigned long long)floor);
    }
    if (at_revision > revision) {
        return chassis_error_set(err, CHASSIS_OUT_OF_RANGE,
                                 "revision %llu is in the future, the newest is %llu",
                                 (unsigned long long)at_revision, (unsigned long long)revision);
    }
    return 0;
}

static int lost_version(struct chassis_view key, uint64_t revision, struct chassis_error *err)
{
    struct chassis_error local = {0};
    err = err != NULL ? err : &local;
    chassis_error_set(err, CHASSIS_CORRUPT,
                      "the version of record '%.*s' at revision %llu is missing: the store must be "
                      "rebuilt from checkpoint and journal",
                      CHASSIS_VIEW_ARG(key), (unsigned long long)revision);
    return bp_store_damaged(err);
}

/* From the newest version back to the one of `at_revision`. A version that is missing was compacted
 * away, which only happens to what no kept revision shows; a version > 1 proves that it had a
 * predecessor at or above the floor. */
static int find_version(struct chassis_txn *txn, const struct bp_kv_index *index,
                        struct chassis_view key, uint64_t at_revision,
                        struct bp_kv_version *ret_version, struct chassis_error *err)
{
    struct bp_kv_version v;
    int r = bp_kv_version_at(txn, index->at, &v, err);
    if (r == CHASSIS_NOT_FOUND) {
        return lost_version(key, index->at.revision, err);
    }
    while (r == 0 && at_revision != 0 && v.at.revision > at_revision) {
        bool far = v.jump.revision != 0 && v.jump.revision >= at_revision;
        struct bp_position next = far ? v.jump : v.prev;
        bool must_exist = !v.deleted && v.version > 1 && !far;
        if (next.revision == 0) {
            return CHASSIS_NOT_FOUND;
        }
        r = bp_kv_version_at(txn, next, &v, err);
        if (r == CHASSIS_NOT_FOUND && must_exist) {
            return lost_version(key, next.revision, err);
        }
    }
    if (r == 0 && v.deleted) {
        r = CHASSIS_NOT_FOUND;
    }
    if (r == 0) {
        *ret_version = v;
    }
    return r;
}

static int not_found(struct chassis_view kind, struct chassis_view key, struct chassis_error *err)
{
    return chassis_error_set(err, CHASSIS_NOT_FOUND, "no record '%.*s' of kind '%.*s'",
                             CHASSIS_VIEW_ARG(key), CHASSIS_VIEW_ARG(kind));
}

int bp_kv_get(struct chassis_txn *txn, struct chassis_view kind, struct chassis_view key,
              uint64_t at_revision, struct bp_kv_version *ret_version, struct chassis_error *err)
{
    uint32_t id = 0;
    int r = at_revision != 0 ? check_revision(txn, at_revision, err) : 0;
    if (r == 0) {
        r = bp_kv_kind_id(txn, kind, &id, err);
    }
    if (r != 0) {
        return r;
    }
    if (id == 0) {
        return not_found(kind, key, err);
    }
    struct bp_key index_key;
    bp_kv_index_key(&index_key, id, key);
    uint8_t room[sizeof(struct bp_kv_index) + 64];
    struct chassis_arena arena;
    chassis_arena_init(&arena, room, sizeof room, 0);
    struct bp_kv_index index;
    r = bp_store_get(txn, BP_TABLE_INDEX, bp_key_view(&index_key), &bp_kv_layout_index, &arena,
                     &index, err);
    chassis_arena_fini(&arena);
    if (r == 0) {
        r = find_version(txn, &index, key, at_revision, ret_version, err);
    }
    return r == CHASSIS_NOT_FOUND ? not_found(kind, key, err) : r;
}

struct walk {
    struct chassis_txn *txn;
    const struct bp_kv_range *range;
    struct bp_key prefix;
    int (*each)(const struct bp_kv_version *version, void *data);
    void *data;
    struct chassis_error *err;
};

static int visit(struct walk *w, struct chassis_view key, struct chassis_view value)
{
    uint8_t room[sizeof(struct bp_kv_index) + 64];
    struct chassis_arena arena;
    chassis_arena_init(&arena, room, sizeof room, 0);
    struct bp_kv_index index;
    int r =
        bp_store_unseal(BP_TABLE_INDEX, key, value, &bp_kv_layout_index, &arena, &index, w->err);
    chassis_arena_fini(&arena);
    if (r != 0 || (index.version == 0 && w->range->at_revision == 0)) {
        return r;
    }
    struct bp_kv_version v;
    r = find_version(w->txn, &index, chassis_view(key.data + 4, key.len - 4), w->range->at_revision,
                     &v, w->err);
    if (r == CHASSIS_NOT_FOUND) {
        return 0;
    }
    return r != 0 ? r : w->each(&v, w->data);
}

static int walk_index(struct walk *w, struct chassis_cursor *cursor, const struct bp_key *from)
{
    struct chassis_view k, v;
    int r = chassis_cursor_seek(cursor, bp_key_view(from), &k, &v);
    while (r == 0 && chassis_view_starts_with(k, bp_key_view(&w->prefix))) {
        bool skip = w->range->after.len != 0 &&
                    chassis_view_eq(chassis_view(k.data + 4, k.len - 4), w->range->after);
        r = skip ? 0 : visit(w, k, v);
        if (r != 0) {
            return r;
        }
        r = chassis_cursor_next(cursor, &k, &v);
    }
    return r == CHASSIS_NOT_FOUND ? 0
           : r != 0               ? chassis_error_code(w->err, r, "walk table 'index'")
                                  : 0;
}

int bp_kv_list(struct chassis_txn *txn, const struct bp_kv_range *range,
               int (*each)(const struct bp_kv_version *version, void *data), void *data,
               struct chassis_error *err)
{
    uint32_t id = 0;
    int r = check_revision(txn, range->at_revision, err);
    if (r == 0) {
        r = bp_kv_kind_id(txn, range->kind, &id, err);
    }
    if (r != 0 || id == 0) {
        return r;
    }
    struct walk w = {.txn = txn, .range = range, .each = each, .data = data, .err = err};
    bp_kv_index_key(&w.prefix, id, range->prefix);
    struct bp_key from;
    bool after = chassis_view_cmp(range->after, range->prefix) > 0;
    bp_kv_index_key(&from, id, after ? range->after : range->prefix);
    struct chassis_cursor *cursor;
    r = chassis_cursor_open(txn, BP_TABLE_INDEX, &cursor);
    if (r != 0) {
        return chassis_error_code(err, r, "open a cursor on table 'index'");
    }
    r = walk_index(&w, cursor, &from);
    chassis_cursor_close(cursor);
    return r;
}
