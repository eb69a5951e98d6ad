/* The simplest workload: registers. Each applied write also leaves a record under its unique value,
 * so that a lost or doubled one is seen even where a later write covered it. */
#include <stdlib.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "workload.h"

enum { KEYS = 4, TABLE_VALUES = 0, TABLE_APPLIED = 1, COMMAND_LEN = 1 + 4 + 8 + 8 };
static const char *const tables[] = {"values", "applied"};

struct registers {
    struct sim_workload base;
    uint64_t next_value;
    uint64_t *acked;
    size_t n_acked, cap_acked;
};

static uint64_t get_u64(struct chassis_txn *txn, unsigned table, struct chassis_view key)
{
    struct chassis_view v;
    return chassis_txn_get(txn, table, key, &v) == 0 ? chassis_get_le64(v.data) : 0;
}

static int apply(void *data, struct chassis_txn *txn, const struct chassis_entry *entry,
                 struct chassis_buf *ret_result)
{
    struct chassis_reader r = chassis_reader(entry->command);
    uint8_t kind = chassis_read_byte(&r);
    uint32_t key = chassis_read_le32(&r);
    uint64_t value = chassis_read_le64(&r), expected = chassis_read_le64(&r);
    uint8_t key_bytes[4], value_bytes[8], count[8];
    CHASSIS_ASSERT(!r.bad);
    chassis_put_be32(key_bytes, key);
    chassis_put_be64(value_bytes, value);
    struct chassis_view k = chassis_view(key_bytes, 4), v = chassis_view(value_bytes, 8);
    if (kind == SIM_CAS && get_u64(txn, TABLE_VALUES, k) != expected) {
        return CHASSIS_ABORTED;
    }
    chassis_put_le64(count, get_u64(txn, TABLE_APPLIED, v) + 1);
    uint8_t stored[8];
    chassis_put_le64(stored, value);
    CHASSIS_ASSERT(chassis_txn_put(txn, TABLE_VALUES, k, chassis_view(stored, 8)) == 0);
    CHASSIS_ASSERT(chassis_txn_put(txn, TABLE_APPLIED, v, chassis_view(count, 8)) == 0);
    chassis_buf_append(ret_result, value_bytes, 8);
    return 0;
}

static const struct chassis_state_machine_ops ops = {.apply = apply, .version = 1};

static struct chassis_state_machine *machine_new(struct sim_workload *w, unsigned node)
{
    struct chassis_state_machine *m = chassis_base_zalloc(sizeof *m);
    m->ops = &ops;
    m->data = w;
    m->tables = tables;
    m->n_tables = 2;
    return m;
}

static void machine_free(struct sim_workload *w, struct chassis_state_machine *m)
{
    free(m);
}

static void next(struct sim_workload *w, struct chassis_prng *prng, struct sim_op *op,
                 struct chassis_buf *ret_command)
{
    struct registers *r = (struct registers *)w;
    uint64_t dice = chassis_prng_below(prng, 10);
    op->kind = dice < 4 ? SIM_READ : dice < 8 ? SIM_WRITE : SIM_CAS;
    op->key = (unsigned)chassis_prng_below(prng, KEYS);
    op->value = op->expected = 0;
    if (op->kind == SIM_READ) {
        return;
    }
    op->value = ++r->next_value;
    if (op->kind == SIM_CAS) {
        uint64_t back = chassis_prng_below(prng, 8);
        op->expected = op->value > back ? op->value - back : 0;
    }
    chassis_buf_append_byte(ret_command, (uint8_t)op->kind);
    chassis_buf_append_le32(ret_command, op->key);
    chassis_buf_append_le64(ret_command, op->value);
    chassis_buf_append_le64(ret_command, op->expected);
}

static bool wrote(struct sim_workload *w, struct sim_op *op, int status, struct chassis_view result)
{
    struct registers *r = (struct registers *)w;
    if (op->unknown) {
        return true;
    }
    if (status == CHASSIS_ABORTED && op->kind == SIM_CAS) {
        op->swapped = false;
        return true;
    }
    if (status != 0) {
        return false;
    }
    op->swapped = true;
    CHASSIS_ASSERT(result.len == 8 && chassis_get_be64(result.data) == op->value);
    if (r->n_acked == r->cap_acked) {
        r->cap_acked = r->cap_acked != 0 ? r->cap_acked * 2 : 256;
        r->acked = chassis_base_realloc(r->acked, r->cap_acked * sizeof *r->acked);
    }
    r->acked[r->n_acked++] = op->value;
    return true;
}

static bool read_op(struct sim_workload *w, struct chassis_store *store, struct sim_op *op)
{
    struct chassis_txn *txn;
    uint8_t key[4];
    chassis_put_be32(key, op->key);
    CHASSIS_ASSERT(chassis_store_begin(store, false, &txn, NULL) == 0);
    op->value = get_u64(txn, TABLE_VALUES, chassis_view(key, 4));
    chassis_txn_abort(txn);
    return true;
}

static bool check(struct sim_workload *w, struct chassis_store *store, unsigned node)
{
    struct registers *r = (struct registers *)w;
    struct chassis_txn *txn;
    bool ok = true;
    CHASSIS_ASSERT(chassis_store_begin(store, false, &txn, NULL) == 0);
    for (size_t i = 0; i < r->n_acked && ok; i++) {
        uint8_t v[8];
        chassis_put_be64(v, r->acked[i]);
        uint64_t times = get_u64(txn, TABLE_APPLIED, chassis_view(v, 8));
        if (times != 1) {
            fprintf(stderr, "node %u: acknowledged write %llu was applied %llu times\n", node,
                    (unsigned long long)r->acked[i], (unsigned long long)times);
            ok = false;
        }
    }
    for (uint64_t value = 1; value <= r->next_value && ok; value++) {
        uint8_t v[8];
        chassis_put_be64(v, value);
        if (get_u64(txn, TABLE_APPLIED, chassis_view(v, 8)) > 1) {
            fprintf(stderr, "node %u: write %llu was applied more than once\n", node,
                    (unsigned long long)value);
            ok = false;
        }
    }
    chassis_txn_abort(txn);
    return ok;
}

struct sim_workload *sim_register_new(unsigned planted)
{
    struct registers *r = chassis_base_zalloc(sizeof *r);
    r->base = (struct sim_workload){.name = "registers",
                                    .n_keys = KEYS,
                                    .machine_new = machine_new,
                                    .machine_free = machine_free,
                                    .next = next,
                                    .wrote = wrote,
                                    .read = read_op,
                                    .check = check};
    return &r->base;
}

void sim_register_free(struct sim_workload *w)
{
    free(((struct registers *)w)->acked);
    free(w);
}
