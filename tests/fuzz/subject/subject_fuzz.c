/* Lines: a pattern, a name, a name … Matching must agree with the naive one, and the index with
 * matching. */
#include <stdlib.h>

#include "catalyst/event/subject.h"
#include "tests/unit/catalyst_event/naive_subject.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct chassis_view line(struct chassis_view *rest)
{
    const uint8_t *end = rest->len != 0 ? memchr(rest->data, '\n', rest->len) : NULL;
    size_t n = end != NULL ? (size_t)(end - rest->data) : rest->len;
    struct chassis_view taken = chassis_view(rest->data, n);
    n += end != NULL;
    *rest = chassis_view(rest->data + n, rest->len - n);
    return taken;
}

static void found(void *data, uint32_t id)
{
    CHECK(id == 7);
    *(bool *)data = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chassis_view rest = chassis_view(data, size), none = {NULL, 0};
    struct chassis_view pattern = line(&rest), first = line(&rest);
    struct chassis_error err;
    struct cat_subject_index *index = cat_subject_index_new();
    bool valid = cat_subject_valid(pattern, &err) == 0;
    if (valid) {
        CHECK(cat_subject_index_add(index, 7, none, pattern, none, NULL) == 0);
    } else {
        CHECK(pattern.len == 0 || cat_subject_index_add(index, 7, none, pattern, none, NULL) < 0);
    }
    for (struct chassis_view name = first;; name = line(&rest)) {
        bool match = valid && cat_subject_match(pattern, name), told = false;
        CHECK(!valid || match == naive_match(pattern, name));
        cat_subject_index_match(index, none, name, none, found, &told);
        CHECK(told == match);
        if (rest.len == 0) {
            break;
        }
    }
    cat_subject_index_remove(index, 7);
    CHECK(cat_subject_index_count(index) == 0);
    cat_subject_index_free(index);
    return 0;
}
