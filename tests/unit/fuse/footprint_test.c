/* What a route costs: memory beyond its own bytes, with everything that finds it again. */
#include "test.h"

#include <malloc.h>

#include "fuse/control_plane/convert.h"
#include "fuse/control_plane/model.h"

#include "fixture.h"

enum { ROUTES = 10000, PER_ROUTE_MAX = 1024 };

static size_t in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* As AddRoute makes it: from a message, with its encoding. */
static struct fuse_route *real_route(const char *name, const char *host)
{
    struct fuse_named_match header = fixture_match("x-tenant", name);
    struct fuse_route *plain =
        route(.name = name, .host = host, .path = "/api/v1/orders", .service = name,
              .method = "GET", .rewrite = "/orders", .http2 = true,
              .rest = {.headers = &header, .n_headers = 1, .timeout_ms = 1500});
    struct fuse_problems problems = {0};
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    struct fuse_route *made =
        fuse_route_of_message(fuse_route_to_message(plain, &arena), NULL, &problems);
    chassis_arena_fini(&arena);
    fuse_route_unref(plain);
    assert_non_null(made);
    return made;
}

static void a_route_takes_at_most_a_kilobyte_beyond_its_bytes(void **state)
{
    (void)state;
    char name[32], host[64];
    size_t encoded = 0, before = in_use();
    if (before == 0) {
        skip(); /* another allocator, which does not tell */
    }
    struct fuse_model *m = fuse_model_new();
    for (unsigned i = 0; i < ROUTES; i++) { /* a host and a service each: the most there can be */
        snprintf(name, sizeof name, "route-%05u", i);
        snprintf(host, sizeof host, "shop-%05u.example.com", i);
        struct fuse_route *r = real_route(name, host);
        encoded += r->encoded.len;
        fixture_put(m, i + 1, r);
    }
    size_t per_route = (in_use() - before - encoded) / ROUTES;
    print_message("%zu bytes per route beyond its %zu bytes\n", per_route, encoded / ROUTES);
    assert_true(per_route <= PER_ROUTE_MAX);
    for (unsigned i = 0; i < ROUTES; i++) {
        snprintf(name, sizeof name, "route-%05u", i);
        fuse_model_delete_route(m, name, ROUTES + 1);
    }
    fuse_model_free(m);
    assert_true(in_use() - before < 64UL * 1024); /* nothing stays; stdio may have taken a buffer */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_route_takes_at_most_a_kilobyte_beyond_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
