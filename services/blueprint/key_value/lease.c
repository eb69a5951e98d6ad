/* Leases: which records go together with a registered process. */
#include "model.h"

#include "base/assert.h"
#include "base/bytes.h"

static void lease_key(struct bp_key *key, struct chassis_view lease)
{
    key->len = 0;
    bp_key_append(key, "l", 1);
    bp_key_append(key, lease.data, lease.len);
}

static void attached_key(struct bp_key *key, uint64_t number, struct chassis_view index_key)
{
    key->len = 0;
    bp_key_append(key, "a", 1);
    bp_key_append_be64(key, number);
    bp_key_append(key, index_key.data, index_key.len);
}

/* Collects what is attached, copied, for the table changes while it is used. */
static size_t attached(struct bp_change *change, uint64_t number, struct chassis_view *out,
                       size_t max)
{
    struct bp_key prefix;
    attached_key(&prefix, number, chassis_view(NULL, 0));
    struct chassis_cursor *cursor;
    struct chassis_view k, v;
    int r = chassis_cursor_open(change->txn, BP_TABLE_LEASES, &cursor);
    if (r != 0) {
        bp_change_damaged("open a cursor: %s", chassis_status_text(r));
    }
    size_t n = 0;
    r = chassis_cursor_seek(cursor, bp_key_view(&prefix), &k, &v);
    while (r == 0 && chassis_view_starts_with(k, bp_key_view(&prefix)) && n < max) {
        if (out != NULL) {
            out[n] = chassis_arena_copy(&change->arena,
                                        chassis_view(k.data + prefix.len, k.len - prefix.len));
        }
        n++;
        r = chassis_cursor_next(cursor, &k, &v);
    }
    if (r != 0 && r != CHASSIS_NOT_FOUND) {
        bp_change_damaged("walk a lease: %s", chassis_status_text(r));
    }
    chassis_cursor_close(cursor);
    return n;
}

bool bp_kv_lease_find(struct bp_change *change, struct chassis_view lease, uint64_t *ret_number,
                      unsigned *ret_records)
{
    struct bp_key key;
    lease_key(&key, lease);
    struct bp_counter number;
    if (!bp_change_get(change, BP_TABLE_LEASES, bp_key_view(&key), &bp_layout_counter, false,
                       &number)) {
        return false;
    }
    *ret_number = number.value;
    if (ret_records != NULL) {
        *ret_records = (unsigned)attached(change, number.value, NULL, BP_KV_LEASE_RECORDS_MAX + 1);
    }
    return true;
}

void bp_kv_lease_attach(struct bp_change *change, uint64_t number, const struct bp_kv_slot *slot,
                        bool attach)
{
    struct bp_key key;
    attached_key(&key, number, bp_key_view(&slot->index_key));
    if (attach) {
        struct bp_counter one = {1};
        bp_change_put(change, BP_TABLE_LEASES, bp_key_view(&key), &bp_layout_counter, &one);
    } else {
        bp_change_del(change, BP_TABLE_LEASES, bp_key_view(&key));
    }
}

void bp_kv_lease_grant(struct bp_change *change, struct chassis_view lease)
{
    CHASSIS_ASSERT(lease.len != 0 && lease.len <= BP_KV_LEASE_MAX);
    uint64_t number;
    if (bp_kv_lease_find(change, lease, &number, NULL)) {
        return;
    }
    struct bp_counter counter = {bp_change_counter(change, BP_COUNTER_LEASES) + 1};
    bp_change_set_counter(change, BP_COUNTER_LEASES, counter.value);
    struct bp_key key;
    lease_key(&key, lease);
    bp_change_put(change, BP_TABLE_LEASES, bp_key_view(&key), &bp_layout_counter, &counter);
}

unsigned bp_kv_lease_revoke(struct bp_change *change, struct chassis_view lease)
{
    uint64_t number;
    if (!bp_kv_lease_find(change, lease, &number, NULL)) {
        return 0;
    }
    struct chassis_view *keys =
        chassis_arena_alloc(&change->arena, BP_KV_LEASE_RECORDS_MAX * sizeof(struct chassis_view));
    size_t n = attached(change, number, keys, BP_KV_LEASE_RECORDS_MAX);
    for (size_t i = 0; i < n; i++) {
        struct chassis_view key = chassis_view(keys[i].data + 4, keys[i].len - 4);
        struct bp_kv_slot slot;
        bp_kv_slot_find(change, chassis_get_be32(keys[i].data), key, &slot);
        CHASSIS_ASSERT(slot.exists && slot.index.lease == number);
        bp_kv_slot_delete(change, &slot, key);
    }
    struct bp_key key;
    lease_key(&key, lease);
    bp_change_del(change, BP_TABLE_LEASES, bp_key_view(&key));
    return (unsigned)n;
}
