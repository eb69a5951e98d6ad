#include "test.h"

#include "rpc/access.h"
#include "rpc/recent.h"
#include "rpc/retry.h"

static const char secret_text[] = "0123456789abcdef0123456789abcdef";

static struct rpc_access *access_with(const char *secret)
{
    const struct chassis_server_options options = {.cluster_secret = chassis_view_str(secret)};
    return rpc_access_new(&options);
}

static void proof_made_with_the_secret_is_good_once(void **state)
{
    struct rpc_access *a = access_with(secret_text);
    struct chassis_error err = {0};
    char proof[CHASSIS_PROOF_MAX];
    chassis_proof_make(chassis_view_str(secret_text), "/s/M", 1000, proof);
    assert_int_equal(rpc_access_check_proof(a, proof, "/s/M", 1000, &err), 0);
    assert_int_equal(rpc_access_check_proof(a, proof, "/s/M", 1000, &err), CHASSIS_UNAUTHENTICATED);
    assert_non_null(strstr(err.text, "used before"));
    rpc_access_free(a);
}

static void proof_for_another_method_time_or_secret_is_refused(void **state)
{
    struct rpc_access *a = access_with(secret_text);
    struct chassis_error err = {0};
    char proof[CHASSIS_PROOF_MAX];
    chassis_proof_make(chassis_view_str(secret_text), "/s/M", 1000, proof);
    assert_int_equal(rpc_access_check_proof(a, proof, "/s/Other", 1000, &err),
                     CHASSIS_UNAUTHENTICATED);
    assert_int_equal(rpc_access_check_proof(a, proof, "/s/M", 1061, &err), CHASSIS_UNAUTHENTICATED);
    assert_int_equal(rpc_access_check_proof(a, proof, "/s/M", 939, &err), CHASSIS_UNAUTHENTICATED);
    assert_int_equal(rpc_access_check_proof(a, proof, "/s/M", 1060, &err), 0);
    chassis_proof_make(chassis_view_str("another secret"), "/s/M", 1000, proof);
    assert_int_equal(rpc_access_check_proof(a, proof, "/s/M", 1000, &err), CHASSIS_UNAUTHENTICATED);
    rpc_access_free(a);
}

static void malformed_proofs_are_refused(void **state)
{
    static const char *const bad[] = {"",           "v1.",
                                      "v1.1000",    "v2.1000.aa.bb",
                                      "v1.x.aa.bb", "v1.1000.00000000000000000000000000000000."};
    struct rpc_access *a = access_with(secret_text);
    struct chassis_error err = {0};
    char proof[CHASSIS_PROOF_MAX];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(rpc_access_check_proof(a, bad[i], "/s/M", 1000, &err),
                         CHASSIS_UNAUTHENTICATED);
    }
    chassis_proof_make(chassis_view_str(secret_text), "/s/M", 1000, proof);
    for (size_t i = 0; proof[i] != '\0'; i++) { /* one character wrong anywhere */
        char kept = proof[i];
        proof[i] = kept == '0' ? '1' : '0';
        assert_int_equal(rpc_access_check_proof(a, proof, "/s/M", 1000, &err),
                         CHASSIS_UNAUTHENTICATED);
        proof[i] = kept;
    }
    rpc_access_free(a);
}

static void without_a_secret_nothing_proves(void **state)
{
    struct rpc_access *a = access_with("");
    struct chassis_error err = {0};
    char proof[CHASSIS_PROOF_MAX];
    chassis_proof_make(chassis_view_str(""), "/s/M", 1000, proof);
    assert_int_equal(rpc_access_check_proof(a, proof, "/s/M", 1000, &err), CHASSIS_UNAUTHENTICATED);
    rpc_access_free(a);
}

static void many_proofs_are_remembered_and_bounded(void **state)
{
    struct rpc_access *a = access_with(secret_text);
    struct chassis_error err = {0};
    char proof[CHASSIS_PROOF_MAX];
    int rc = 0;
    unsigned n = 0;
    while (rc == 0 && n < 40000) {
        chassis_proof_make(chassis_view_str(secret_text), "/s/M", 1000, proof);
        rc = rpc_access_check_proof(a, proof, "/s/M", 1000, &err);
        n += rc == 0;
    }
    assert_int_equal(rc, CHASSIS_RESOURCE_EXHAUSTED);
    assert_int_equal(n, 32768);
    /* the window has moved on twice */
    chassis_proof_make(chassis_view_str(secret_text), "/s/M", 1200, proof);
    assert_int_equal(rpc_access_check_proof(a, proof, "/s/M", 1200, &err), 0);
    assert_int_equal(rpc_access_check_proof(a, proof, "/s/M", 1200, &err), CHASSIS_UNAUTHENTICATED);
    rpc_access_free(a);
}

static void retries_end_when_the_budget_is_spent(void **state)
{
    struct rpc_budget budget;
    unsigned n = 0;
    rpc_budget_init(&budget, 0);
    while (rpc_budget_take(&budget, 0)) {
        n++;
    }
    assert_int_equal(n, 10);
    for (int i = 0; i < 10; i++) { /* ten calls pay for one retry */
        assert_false(rpc_budget_take(&budget, 0));
        rpc_budget_call(&budget);
    }
    assert_true(rpc_budget_take(&budget, 0));
    assert_false(rpc_budget_take(&budget, 0));
    assert_true(rpc_budget_take(&budget, 100 * CHASSIS_NS_PER_MS)); /* and time: ten a second */
    assert_false(rpc_budget_take(&budget, 100 * CHASSIS_NS_PER_MS));
}

static void waits_between_attempts_grow_to_a_second(void **state)
{
    assert_int_equal(rpc_retry_delay_ns(2, 0.5), 20 * CHASSIS_NS_PER_MS);
    assert_int_equal(rpc_retry_delay_ns(3, 0.5), 40 * CHASSIS_NS_PER_MS);
    assert_int_equal(rpc_retry_delay_ns(100, 0.5), CHASSIS_NS_PER_S);
}

static void recent_requests_come_newest_first(void **state)
{
    static struct chassis_recent_entry out[CHASSIS_RECENT_MAX];
    struct chassis_recent *r = chassis_recent_new();
    for (unsigned i = 0; i < CHASSIS_RECENT_MAX + 10; i++) {
        struct chassis_recent_entry e = {.path = "/s/M", .duration_ns = i};
        chassis_recent_add(r, &e, i % 100 == 0);
    }
    assert_int_equal(chassis_recent_list(r, false, out, CHASSIS_RECENT_MAX), CHASSIS_RECENT_MAX);
    assert_int_equal(out[0].duration_ns, CHASSIS_RECENT_MAX + 9);
    assert_int_equal(out[CHASSIS_RECENT_MAX - 1].duration_ns, 10);
    assert_int_equal(chassis_recent_list(r, true, out, CHASSIS_RECENT_MAX), 3);
    assert_int_equal(out[0].duration_ns, 200);
    chassis_recent_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proof_made_with_the_secret_is_good_once),
        cmocka_unit_test(proof_for_another_method_time_or_secret_is_refused),
        cmocka_unit_test(malformed_proofs_are_refused),
        cmocka_unit_test(without_a_secret_nothing_proves),
        cmocka_unit_test(many_proofs_are_remembered_and_bounded),
        cmocka_unit_test(retries_end_when_the_budget_is_spent),
        cmocka_unit_test(waits_between_attempts_grow_to_a_second),
        cmocka_unit_test(recent_requests_come_newest_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
