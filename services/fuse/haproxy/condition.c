#include "base/assert.h"
#include "fuse/haproxy/condition.h"

/* A whole-text regular expression with something before it that is no part of it. */
static void write_regex(struct chassis_buf *out, const char *before, const char *pattern)
{
    chassis_buf_printf(out, " -m reg -- '^%s(?:", before);
    fuse_text_inner(out, pattern);
    chassis_buf_append_str(out, ")$'");
}

/* The text as a regular expression: where a plain word would not do. */
static void write_literal(struct chassis_buf *out, const char *before, const char *text,
                          const char *after)
{
    chassis_buf_printf(out, " -m reg -- '%s", before);
    fuse_text_literal(out, text);
    chassis_buf_printf(out, "%s'", after);
}

static void write_header_match(struct chassis_buf *out, const struct fuse_string_match *match)
{
    static const char *const words[] = {
        [FUSE_MATCH_EXACT] = "str",
        [FUSE_MATCH_PREFIX] = "beg",
        [FUSE_MATCH_SUFFIX] = "end",
        [FUSE_MATCH_CONTAINS] = "sub",
    };
    static const char *const before[] = {"^", "^", "", ""};
    static const char *const after[] = {"$", "", "$", ""};
    switch (match->kind) {
    case FUSE_MATCH_REGEX:
        write_regex(out, "", match->text);
        return;
    case FUSE_MATCH_PRESENT:
        chassis_buf_append_str(out, " -m found");
        return;
    case FUSE_MATCH_EXACT:
    case FUSE_MATCH_PREFIX:
    case FUSE_MATCH_SUFFIX:
    case FUSE_MATCH_CONTAINS:
        /* An empty word or a lone brace would end the condition. */
        if (match->text[0] == '\0' && match->kind != FUSE_MATCH_EXACT) {
            chassis_buf_append_str(out, " -m found");
        } else if (match->text[0] == '\0' || strcmp(match->text, "}") == 0) {
            write_literal(out, before[match->kind], match->text, after[match->kind]);
        } else {
            chassis_buf_printf(out, " -m %s -- ", words[match->kind]);
            fuse_text_word(out, match->text);
        }
        return;
    }
}

/* The first parameter of that name, behind a space: no query string has one, so that a parameter that
 * is not there (the converter leaves the text alone then) never looks like one that is. */
static void write_query_fetch(struct chassis_buf *out, const char *name)
{
    static const char quote[] = "'\\''";
    chassis_buf_printf(out, "'query,regsub(%s^(?:[^&]*&)*?", quote);
    fuse_text_literal(out, name);
    chassis_buf_printf(out, "(?:=([^&]*))?(?:&.*)?$%s,%s \\1%s)'", quote, quote, quote);
}

static void write_query_match(struct chassis_buf *out, const struct fuse_string_match *match)
{
    switch (match->kind) {
    case FUSE_MATCH_EXACT:
        write_literal(out, "^ ", match->text, "$");
        return;
    case FUSE_MATCH_PREFIX:
        write_literal(out, "^ ", match->text, "");
        return;
    case FUSE_MATCH_SUFFIX:
        write_literal(out, "^ .*", match->text, "$");
        return;
    case FUSE_MATCH_CONTAINS:
        write_literal(out, "^ .*", match->text, "");
        return;
    case FUSE_MATCH_REGEX:
        write_regex(out, " ", match->text);
        return;
    case FUSE_MATCH_PRESENT:
        chassis_buf_append_str(out, " -m beg -- ' '");
        return;
    }
}

/* What no request can carry: never there, so that only the opposite holds. */
static void write_impossible(struct chassis_buf *out, const struct fuse_string_match *match)
{
    chassis_buf_append_str(out, match->invert ? " { always_true }" : " { always_false }");
}

/* A header that comes more often than this cannot be told apart any more: refused. */
enum { REPEATED_MAX = 8 };

static void write_header_rules(struct chassis_buf *out, const char *name, unsigned number)
{
    static const char wanted[] = "if { var(txn.n) -m beg ! }";
    chassis_buf_printf(out, "    http-request set-var(txn.h%u) 'req.fhdr(%s,1)' %s\n", number, name,
                       wanted);
    for (unsigned i = 2; i <= REPEATED_MAX; i++) {
        chassis_buf_printf(
            out,
            "    http-request set-var-fmt(txn.h%u) "
            "'%%[var(txn.h%u)],%%[req.fhdr(%s,%u)]' %s { 'req.fhdr_cnt(%s)' ge %u }\n",
            number, number, name, i, wanted, name, i);
    }
    chassis_buf_printf(out,
                       "    http-request deny deny_status 400 %s { 'req.fhdr_cnt(%s)' gt %d }\n",
                       wanted, name, REPEATED_MAX);
}

void fuse_condition_headers_fini(struct fuse_condition_headers *headers)
{
    fuse_texts_fini(&headers->numbers);
    chassis_buf_fini(&headers->rules);
}

static void write_header(struct chassis_buf *out, const struct fuse_named_match *header,
                         struct fuse_condition_headers *headers)
{
    struct chassis_buf name = {0};
    if (!fuse_text_argument(&name, header->name) || !fuse_text_is_plain(header->value.text)) {
        write_impossible(out, &header->value);
    } else {
        bool is_new = false;
        unsigned number =
            fuse_texts_put(&headers->numbers, chassis_buf_view(&name), headers->n + 1, &is_new);
        if (is_new) {
            headers->n++;
            write_header_rules(&headers->rules, (const char *)name.data, number);
        }
        chassis_buf_printf(out, " %s{ var(txn.h%u)", header->value.invert ? "!" : "", number);
        write_header_match(out, &header->value);
        chassis_buf_append_str(out, " }");
    }
    chassis_buf_fini(&name);
}

static void write_query(struct chassis_buf *out, const struct fuse_named_match *query)
{
    if (!fuse_text_is_plain(query->value.text)) {
        write_impossible(out, &query->value);
        return;
    }
    chassis_buf_append_str(out, query->value.invert ? " !{ " : " { ");
    write_query_fetch(out, query->name);
    write_query_match(out, &query->value);
    chassis_buf_append_str(out, " }");
}

void fuse_condition_write(const struct fuse_route *route, struct fuse_condition_headers *headers,
                          struct chassis_buf *out)
{
    if (route->path_kind == FUSE_PATH_REGEX) {
        if (fuse_text_is_plain(route->path)) {
            chassis_buf_append_str(out, " { path");
            write_regex(out, "", route->path);
            chassis_buf_append_str(out, " }");
        } else {
            chassis_buf_append_str(out, " { always_false }");
        }
    }
    for (unsigned i = 0; i < route->n_headers; i++) {
        write_header(out, &route->headers[i], headers);
    }
    for (unsigned i = 0; i < route->n_queries; i++) {
        write_query(out, &route->queries[i]);
    }
}
