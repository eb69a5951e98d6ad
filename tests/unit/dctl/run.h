/* Running dctl inside the test and keeping what it printed. */
#ifndef DRAFT_TESTS_UNIT_DCTL_RUN_H
#define DRAFT_TESTS_UNIT_DCTL_RUN_H

#include "test.h"

#include "dctl.h"

struct run {
    char *out, *err;
    size_t out_len, err_len;
    int exit;
};

static inline struct run run_dctl(const char *const *words)
{
    struct run r = {0};
    char *argv[32] = {(char *)(uintptr_t) "dctl"};
    int argc = 1;
    for (; *words != NULL; words++) {
        argv[argc++] = (char *)(uintptr_t)*words;
    }
    FILE *out = open_memstream(&r.out, &r.out_len);
    FILE *err = open_memstream(&r.err, &r.err_len);
    r.exit = dctl_main(argc, argv, out, err);
    fclose(out);
    fclose(err);
    return r;
}
#define RUN(...) run_dctl((const char *const[]){__VA_ARGS__, NULL})

static inline void run_fini(struct run *r)
{
    free(r->out);
    free(r->err);
}

#define assert_contains(text, part)                                                                \
    do {                                                                                           \
        if (strstr((text), (part)) == NULL) {                                                      \
            fail_msg("'%s' does not contain '%s'", (text), (part));                                \
        }                                                                                          \
    } while (0)

#endif
