/* Routes whose every text tries to get out of its place in HAProxy's configuration; validation lets none
 * of them pass, which must not be all that protects us.
 */
#ifndef TESTS_UNIT_FUSE_HAPROXY_NASTY_H
#define TESTS_UNIT_FUSE_HAPROXY_NASTY_H

#include "unit/fuse/fixture.h"

static const char *const nasty_texts[] = {
    "x' } || { always_true } '",
    "x\" } \"",
    "a\nbackend evil\n",
    "}",
    "\r\n    default_backend x",
    "a\\",
    "${HOME}",
    "# x",
    "%[env(HOME)]",
    "--",
    "-f /etc/passwd",
    " ",
    "a b } if { always_true",
    "\t",
    "\x01",
    "\xc3\xa9'",
    "))'|(?",
    "x,lower) -m f",
    "\\x27",
    "'\\''",
    "x)'(",
    "a,b",
    "`id`",
    "%%[",
};
enum { NASTY_TEXTS = sizeof nasty_texts / sizeof nasty_texts[0] };

static inline void nasty_route(struct fuse_model *model, unsigned i)
{
    const char *t = nasty_texts[i];
    struct fuse_named_match matches[2] = {
        {.name = t, .value = {.kind = FUSE_MATCH_EXACT, .text = t}},
        {.name = "x", .value = {.kind = (enum fuse_match_kind)(i % 4), .text = t}}};
    struct fixture_spec spec = {
        .name = "r", .path = t, .host = t, .rewrite = t, .service = t, .method = t};
    spec.rest = (struct fuse_route){.headers = matches,
                                    .n_headers = 2,
                                    .queries = matches,
                                    .n_queries = 2,
                                    .hash_kind = FUSE_HASH_HEADER,
                                    .hash_name = t};
    fixture_put(model, 2 * i + 1, fixture_route(spec));
    spec.name = "s";
    spec.host = "*";
    spec.path = "/";
    fixture_put(model, 2 * i + 2, fixture_route(spec));
}

#endif
