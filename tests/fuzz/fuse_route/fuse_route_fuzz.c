/* Any bytes as a route: no crash, and what is accepted is accepted from its own encoding without an
 * error and encodes to the same bytes. Behind a '~': any text as a regular expression and a text for
 * it, divided by a line feed.
 */
#include <stdlib.h>

#include "fuse/control_plane/convert.h"
#include "fuse/control_plane/regex.h"

static void want(bool condition)
{
    if (!condition) {
        abort();
    }
}

/* Nothing that was accepted can leave the line or the quotes it is written into. */
static void check_text(const char *text, const char *forbidden)
{
    for (const char *c = text; *c != '\0'; c++) {
        want(*c >= ' ' && *c <= '~' && strchr(forbidden, *c) == NULL);
    }
}

static void check_matches(const struct fuse_named_match *matches, unsigned n, const char *forbidden)
{
    static const char strict[] = " \"'\\#${}()";
    for (unsigned i = 0; i < n; i++) {
        check_text(matches[i].name, strict);
        check_text(matches[i].value.text, matches[i].value.regex != NULL ? "" : forbidden);
        want((matches[i].value.kind == FUSE_MATCH_REGEX) == (matches[i].value.regex != NULL));
    }
}

static void check_route(const struct fuse_route *r)
{
    static const char strict[] = " \"'\\#${}()%[]", path[] = " \"\\#{}[]";
    check_text(r->name, strict);
    check_text(r->host, strict);
    check_text(r->path, r->path_kind == FUSE_PATH_REGEX ? "" : path);
    check_text(r->prefix_rewrite, path);
    check_text(r->hash_name, " \"'\\#${}()");
    check_matches(r->headers, r->n_headers, "");
    check_matches(r->queries, r->n_queries, " \"\\#{}");
    want(r->n_targets != 0 && r->n_targets <= FUSE_LIST_MAX);
    want((r->path_kind == FUSE_PATH_REGEX) == (r->path_regex != NULL));
    for (unsigned i = 0; i < r->n_targets; i++) {
        check_text(r->targets[i].service, strict);
        check_text(r->targets[i].host, strict);
        want((*r->targets[i].service != '\0') != (*r->targets[i].host != '\0'));
    }
}

static void read_route(struct chassis_view input)
{
    struct fuse_problems problems = {0}, none = {0};
    struct fuse_route *r = fuse_route_of_bytes(input, &problems);
    want((r == NULL) == (problems.n_errors != 0));
    if (r == NULL) {
        return;
    }
    check_route(r);
    struct fuse_route *again = fuse_route_of_bytes(r->encoded, &none);
    want(again != NULL && none.n_errors == 0);
    want(chassis_view_eq(r->encoded, again->encoded));
    want(fuse_route_conditions(r) == fuse_route_conditions(again));
    fuse_route_unref(again);
    fuse_route_unref(r);
}

static void read_regex(const uint8_t *data, size_t size)
{
    char *pattern = malloc(size + 1);
    struct fuse_regex *regex = NULL;
    want(pattern != NULL);
    if (size != 0) {
        memcpy(pattern, data, size);
    }
    pattern[size] = '\0';
    char *line = memchr(pattern, '\n', size);
    const char *text = line != NULL ? line + 1 : pattern + size;
    if (line != NULL) {
        *line = '\0';
    }
    if (fuse_regex_new(pattern, &regex, NULL) == 0) {
        fuse_regex_matches(regex, chassis_view(text, (size_t)(pattern + size - text)));
        fuse_regex_free(regex);
    }
    free(pattern);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size != 0 && data[0] == '~') {
        read_regex(data + 1, size - 1);
    } else {
        read_route(chassis_view(data, size));
    }
    return 0;
}
