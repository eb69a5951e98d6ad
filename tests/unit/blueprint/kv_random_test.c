/* Random commands against a naive reference that keeps a whole copy of the data per revision, and
 * two stores fed alike. A failing seed is printed by the assertion's context. */
#include "base/prng.h"
#include "kv_fixture.h"

enum { KEYS = 12, STEPS = 600, VALUE_MAX = 12 };

/* What each revision shows. */
struct state {
    bool live[KEYS];
    char value[KEYS][VALUE_MAX];
    uint64_t changed[KEYS], created[KEYS], version[KEYS];
};
struct reference {
    struct state at[STEPS * 4];
    uint64_t revision, floor;
};

static const char *key_name(unsigned k)
{
    static const char *const names[KEYS] = {"a",  "a/1", "a/2",  "ab", "b",   "b/x",
                                            "ba", "c",   "c/cc", "d",  "d/1", "\xc3\xa9"};
    return names[k];
}

static void put(struct state *s, unsigned k, const char *value, uint64_t revision)
{
    s->created[k] = s->live[k] ? s->created[k] : revision;
    s->version[k] = s->live[k] ? s->version[k] + 1 : 1;
    s->live[k] = true;
    s->changed[k] = revision;
    snprintf(s->value[k], VALUE_MAX, "%s", value);
}

static void del(struct state *s, unsigned k)
{
    s->live[k] = false;
    s->version[k] = 0;
}

static struct state *next_revision(struct reference *r)
{
    r->at[r->revision + 1] = r->at[r->revision];
    r->revision++;
    return &r->at[r->revision];
}

static void step_write(struct chassis_prng *p, struct reference *r, struct kv *one, struct kv *two)
{
    unsigned k = (unsigned)chassis_prng_below(p, KEYS);
    struct state *now = &r->at[r->revision];
    uint64_t present = now->live[k] ? now->changed[k] : 0;
    char value[VALUE_MAX];
    snprintf(value, sizeof value, "%u", (unsigned)chassis_prng_below(p, 100000));
    struct bp_kv_op op = {.type = chassis_prng_chance(p, 0.7) ? BP_KV_OP_SET : BP_KV_OP_DELETE,
                          .kind = V(KIND),
                          .key = V(key_name(k)),
                          .value = V(value)};
    if (op.type == BP_KV_OP_DELETE) {
        op.value = V("");
    }
    if (chassis_prng_chance(p, 0.3)) {
        op.has_expected = true;
        op.expected = chassis_prng_chance(p, 0.5) ? present : chassis_prng_below(p, 5);
    }
    int expect = op.has_expected && op.expected != present     ? CHASSIS_ABORTED
                 : op.type == BP_KV_OP_DELETE && !now->live[k] ? CHASSIS_NOT_FOUND
                                                               : 0;
    assert_int_equal(kv_op(one, &op), expect);
    assert_int_equal(kv_op(two, &op), expect);
    if (expect == 0) {
        struct state *next = next_revision(r);
        if (op.type == BP_KV_OP_SET) {
            put(next, k, value, r->revision);
        } else {
            del(next, k);
        }
    }
}

static void step_txn(struct chassis_prng *p, struct reference *r, struct kv *one, struct kv *two)
{
    struct bp_kv_op ops[4];
    char values[4][VALUE_MAX];
    unsigned keys[4], n = 1 + (unsigned)chassis_prng_below(p, 4);
    bool used[KEYS] = {false}, writes = false;
    unsigned c = (unsigned)chassis_prng_below(p, KEYS);
    bool want = chassis_prng_chance(p, 0.5);
    struct state *now = &r->at[r->revision];
    struct bp_kv_compare compare = {
        .target = BP_KV_TARGET_EXISTS, .kind = V(KIND), .key = V(key_name(c)), .number = want};
    for (unsigned i = 0; i < n; i++) {
        do {
            keys[i] = (unsigned)chassis_prng_below(p, KEYS);
        } while (used[keys[i]]);
        used[keys[i]] = true;
        snprintf(values[i], VALUE_MAX, "t%u", (unsigned)chassis_prng_below(p, 1000));
        bool set = chassis_prng_chance(p, 0.6);
        ops[i] = (struct bp_kv_op){.type = set ? BP_KV_OP_SET : BP_KV_OP_DELETE,
                                   .kind = V(KIND),
                                   .key = V(key_name(keys[i])),
                                   .value = V(set ? values[i] : "")};
        writes |= set || now->live[keys[i]];
    }
    struct bp_kv_txn txn = {V("r"), {&compare, 1}, {ops, n}, {NULL, 0}};
    assert_int_equal(kv_txn(one, &txn), 0);
    assert_int_equal(kv_txn(two, &txn), 0);
    bool succeeded = now->live[c] == want;
    assert_int_equal(kv_txn_result(one).succeeded, succeeded);
    if (!succeeded || !writes) {
        return;
    }
    struct state *next = next_revision(r);
    for (unsigned i = 0; i < n; i++) {
        if (ops[i].type == BP_KV_OP_SET) {
            put(next, keys[i], values[i], r->revision);
        } else {
            del(next, keys[i]);
        }
    }
}

static void check_at(struct kv *kv, const struct reference *r, uint64_t at)
{
    struct chassis_txn *txn;
    assert_int_equal(chassis_store_begin(kv->store, false, &txn, NULL), 0);
    for (unsigned k = 0; k < KEYS; k++) {
        struct bp_kv_version v;
        int status = bp_kv_get(txn, V(KIND), V(key_name(k)), at, &v, NULL);
        const struct state *s = &r->at[at];
        assert_int_equal(status, s->live[k] ? 0 : CHASSIS_NOT_FOUND);
        if (status == 0) {
            assert_true(chassis_view_eq(v.value, V(s->value[k])));
            assert_int_equal(v.at.revision, s->changed[k]);
            assert_int_equal(v.created, s->created[k]);
            assert_int_equal(v.version, s->version[k]);
        }
    }
    chassis_txn_abort(txn);
}

static void check_list(struct kv *kv, const struct reference *r, uint64_t at, const char *prefix)
{
    struct chassis_buf expect = {0};
    /* The names are in byte order. */
    for (unsigned k = 0; k < KEYS; k++) {
        if (r->at[at].live[k] && strncmp(key_name(k), prefix, strlen(prefix)) == 0) {
            chassis_buf_printf(&expect, "%s%s=%s", expect.len != 0 ? " " : "", key_name(k),
                               r->at[at].value[k]);
        }
    }
    assert_string_equal(kv_list(kv, prefix, at), expect.len != 0 ? (char *)expect.data : "");
    chassis_buf_fini(&expect);
}

static void run_seed(uint64_t seed)
{
    struct kv one, two;
    struct chassis_prng p;
    struct reference *r = calloc(1, sizeof *r);
    struct chassis_buf a = {0}, b = {0};
    chassis_prng_init(&p, seed);
    kv_init(&one);
    kv_init(&two);
    for (unsigned i = 0; i < STEPS; i++) {
        if (chassis_prng_chance(&p, 0.02) && r->revision > r->floor) {
            uint64_t to = r->floor + 1 + chassis_prng_below(&p, r->revision - r->floor);
            assert_int_equal(kv_compact(&one, to), 0);
            assert_int_equal(kv_compact(&two, to), 0);
            r->floor = to;
        } else if (chassis_prng_chance(&p, 0.2)) {
            step_txn(&p, r, &one, &two);
        } else {
            step_write(&p, r, &one, &two);
        }
        assert_int_equal(kv_revision(&one), r->revision);
        if (r->revision > 0 && r->revision > r->floor) {
            uint64_t at = r->floor + 1 + chassis_prng_below(&p, r->revision - r->floor);
            check_at(&one, r, at);
            check_list(&one, r, at, chassis_prng_chance(&p, 0.5) ? "" : "a/");
        }
        if (r->floor != 0) {
            check_at(&one, r, r->floor);
        }
    }
    for (uint64_t at = r->floor != 0 ? r->floor : 1; at <= r->revision; at++) {
        check_at(&one, r, at);
        check_list(&one, r, at, "");
    }
    array_store_dump(one.store, &a);
    array_store_dump(two.store, &b);
    assert_true(chassis_view_eq(chassis_buf_view(&a), chassis_buf_view(&b)));
    chassis_buf_fini(&a);
    chassis_buf_fini(&b);
    kv_fini(&one);
    kv_fini(&two);
    free(r);
}

static void random_histories_equal_the_reference(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        run_seed(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_histories_equal_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
