/* Versions of a key: appending, finding the one of a revision, and compaction. */
#include "model.h"

#include "base/assert.h"
#include "base/bytes.h"

void bp_kv_index_key(struct bp_key *ret_key, uint32_t kind, struct chassis_view key)
{
    ret_key->len = 0;
    bp_key_append_be32(ret_key, kind);
    bp_key_append(ret_key, key.data, key.len);
}

void bp_kv_slot_find(struct bp_change *change, uint32_t kind, struct chassis_view key,
                     struct bp_kv_slot *ret_slot)
{
    memset(ret_slot, 0, sizeof *ret_slot);
    ret_slot->kind = kind;
    if (kind == 0) {
        return;
    }
    bp_kv_index_key(&ret_slot->index_key, kind, key);
    ret_slot->exists = bp_change_get(change, BP_TABLE_INDEX, bp_key_view(&ret_slot->index_key),
                                     &bp_kv_layout_index, false, &ret_slot->index);
}

static bool load(struct bp_change *change, struct bp_position at, struct bp_kv_version *ret_version)
{
    struct bp_key key;
    bp_key_position(&key, at);
    return bp_change_get(change, BP_TABLE_REVS, bp_key_view(&key), &bp_kv_layout_version, false,
                         ret_version);
}

/* How far back the jump pointer of a version of this depth leads: the smallest term of the depth as a
 * sum of numbers 2^k - 1, greatest first (Myers, 1983). One for half of all depths. */
static uint64_t jump_length(uint64_t depth)
{
    uint64_t length = 0;
    while (depth != 0) {
        length = UINT64_MAX >> __builtin_clzll(depth);
        length = length > depth ? length >> 1 : length;
        depth -= length;
    }
    return length;
}

/* Where the jump pointer of the version after `newest` leads: one step, or from where newest's leads
 * to where that one's does, which was one as long. Compaction, a command and so the same on all nodes,
 * may have taken it away: then one step, for what lies behind is gone as well. */
static struct bp_position next_jump(struct bp_change *change, const struct bp_kv_index *newest)
{
    struct bp_kv_version j;
    bool far = jump_length(newest->depth + 1) > 1 && newest->jump.revision != 0 &&
               load(change, newest->jump, &j) && j.jump.revision != 0;
    return far ? j.jump : newest->at;
}

static void append_version(struct bp_change *change, struct bp_kv_slot *slot,
                           struct bp_kv_version *v)
{
    struct bp_position at = bp_change_next(change);
    v->kind = slot->kind;
    v->actor = change->actor;
    v->time_ns = change->time_ns;
    if (slot->exists) {
        v->prev = slot->index.at;
        v->jump = next_jump(change, &slot->index);
        v->depth = slot->index.depth + 1;
    }
    bool live = slot->exists && slot->index.version != 0;
    if (!v->deleted) {
        v->created = live ? slot->index.created : at.revision;
        v->version = live ? slot->index.version + 1 : 1;
    }
    struct bp_key key;
    bp_key_position(&key, at);
    bp_change_append(change, BP_TABLE_REVS, bp_key_view(&key), &bp_kv_layout_version, v);
    slot->exists = true;
    slot->index.at = at;
    slot->index.created = v->created;
    slot->index.version = v->version;
    slot->index.depth = v->depth;
    slot->index.jump = v->jump;
}

static void store_index(struct bp_change *change, const struct bp_kv_slot *slot)
{
    bp_change_put(change, BP_TABLE_INDEX, bp_key_view(&slot->index_key), &bp_kv_layout_index,
                  &slot->index);
}

static void change_lease(struct bp_change *change, struct bp_kv_slot *slot, uint64_t number)
{
    if (slot->index.lease == number) {
        return;
    }
    if (slot->index.lease != 0) {
        bp_kv_lease_attach(change, slot->index.lease, slot, false);
    }
    if (number != 0) {
        bp_kv_lease_attach(change, number, slot, true);
    }
    slot->index.lease = number;
}

void bp_kv_slot_set(struct bp_change *change, struct bp_kv_slot *slot, struct chassis_view key,
                    struct chassis_view value, struct chassis_view lease, uint64_t lease_number)
{
    struct bp_kv_version v = {.key = key, .value = value, .lease = lease};
    append_version(change, slot, &v);
    change_lease(change, slot, lease_number);
    store_index(change, slot);
}

void bp_kv_slot_delete(struct bp_change *change, struct bp_kv_slot *slot, struct chassis_view key)
{
    struct bp_kv_version v = {.key = key, .deleted = true};
    append_version(change, slot, &v);
    change_lease(change, slot, 0);
    store_index(change, slot);
}

int bp_kv_version_at(struct chassis_txn *txn, struct bp_position at,
                     struct bp_kv_version *ret_version, struct chassis_error *err)
{
    struct bp_key key;
    bp_key_position(&key, at);
    uint8_t room[sizeof(struct bp_kv_version) + 64];
    struct chassis_arena arena;
    chassis_arena_init(&arena, room, sizeof room, 0);
    int r = bp_store_get(txn, BP_TABLE_REVS, bp_key_view(&key), &bp_kv_layout_version, &arena,
                         ret_version, err);
    chassis_arena_fini(&arena);
    if (r == 0) {
        ret_version->at = at;
    }
    return r;
}

/* Compaction keeps, of every key, the newest version at or below the floor and all above it. A
 * version in (old floor, new floor] makes its predecessor superfluous; a deletion there is itself
 * superfluous, and with it the index record if nothing came after. */
static void compact_version(struct bp_change *change, struct bp_position at,
                            const struct bp_kv_version *v)
{
    struct bp_key key, index_key;
    bp_kv_index_key(&index_key, v->kind, v->key);
    bool deleted = v->deleted;
    if (v->prev.revision != 0) {
        bp_key_position(&key, v->prev);
        bp_change_del(change, BP_TABLE_REVS, bp_key_view(&key));
    }
    if (!deleted) {
        return;
    }
    struct bp_kv_index index;
    if (bp_change_get(change, BP_TABLE_INDEX, bp_key_view(&index_key), &bp_kv_layout_index, false,
                      &index) &&
        index.at.revision == at.revision && index.at.sub == at.sub) {
        bp_change_del(change, BP_TABLE_INDEX, bp_key_view(&index_key));
    }
    bp_key_position(&key, at);
    bp_change_del(change, BP_TABLE_REVS, bp_key_view(&key));
}

static int next_position(struct bp_change *change, struct bp_position from, uint64_t last,
                         struct bp_position *ret_at)
{
    struct bp_key key;
    bp_key_position(&key, from);
    struct chassis_cursor *cursor;
    struct chassis_view k, v;
    int r = chassis_cursor_open(change->txn, BP_TABLE_REVS, &cursor);
    if (r != 0) {
        bp_change_damaged("open a cursor: %s", chassis_status_text(r));
    }
    r = chassis_cursor_seek(cursor, bp_key_view(&key), &k, &v);
    if (r == 0) {
        *ret_at = bp_position_of(k);
        if (ret_at->revision > last) {
            r = CHASSIS_NOT_FOUND;
        }
    } else if (r != CHASSIS_NOT_FOUND) {
        bp_change_damaged("walk the revisions: %s", chassis_status_text(r));
    }
    chassis_cursor_close(cursor);
    return r;
}

int bp_kv_compact_to(struct bp_change *change, uint64_t revision)
{
    uint64_t floor = bp_change_counter(change, BP_COUNTER_FLOOR);
    if (revision > change->revision) {
        return bp_change_refuse(change, CHASSIS_OUT_OF_RANGE,
                                "cannot compact to revision %llu: the newest is %llu",
                                (unsigned long long)revision, (unsigned long long)change->revision);
    }
    if (revision <= floor) {
        return 0;
    }
    struct bp_position at = {floor + 1, 0};
    while (next_position(change, at, revision, &at) == 0) {
        struct bp_kv_version v;
        if (!load(change, at, &v)) {
            bp_change_damaged("revision %llu vanished", (unsigned long long)at.revision);
        }
        compact_version(change, at, &v);
        at.sub++;
        if (at.sub > UINT16_MAX) {
            at = (struct bp_position){at.revision + 1, 0};
        }
    }
    bp_change_set_counter(change, BP_COUNTER_FLOOR, revision);
    return 0;
}
