/* What every unit and integration test includes: cmocka with its prerequisites, and helpers.
 *
 * Tests wait on conditions, never sleep; directories are temporary, ports are 0.
 */
#ifndef DRAFT_TESTS_TEST_H
#define DRAFT_TESTS_TEST_H

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fault.h"

/* A fresh directory below the build tree's file system (never tmpfs); removed by test_rmtree. */
static inline char *test_tmpdir(char out[256])
{
    const char *base = getenv("DRAFT_TMP");
    snprintf(out, 256, "%s/draft-test-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(out));
    return out;
}
static inline void test_rmtree(const char *dir)
{
    char command[512];
    snprintf(command, sizeof command, "rm -rf -- '%s'", dir);
    assert_int_equal(system(command), 0);
}

/* Wait until the condition holds, looking every millisecond; fails after 30 s. */
#define test_wait_until(condition)                                                                 \
    do {                                                                                           \
        for (int test_wait_ = 0; !(condition) && test_wait_ < 30000; test_wait_++) {               \
            poll(NULL, 0, 1);                                                                      \
        }                                                                                          \
        assert_true(condition);                                                                    \
    } while (0)

/* Run `body` once per fault point passage under `prefix`, failing passage 1, 2, 3 … until it passes
 * without a fault; `body` must leave nothing behind in either case. Returns how many faults fired.
 */
static inline unsigned test_each_fault(const char *prefix, void (*body)(void *), void *data)
{
    for (unsigned n = 1;; n++) {
        chassis_fault_arm(prefix, n);
        body(data);
        if (!chassis_fault_disarm()) {
            return n - 1;
        }
    }
}

#endif
