#include "fuse/control_plane/convert_parts.h"
#include "fuse/control_plane/regex.h"

/* ---- texts ---- */

static struct fuse_regex *convert_regex(struct fuse_converting *c, const char *field,
                                        const char *pattern)
{
    struct fuse_regex *regex = NULL;
    struct chassis_error err = {0};
    if (fuse_regex_new(pattern, &regex, &err) < 0) {
        fuse_problem_error(c->problems, field, "%s", chassis_error_text(&err));
    }
    return regex;
}

/* The members of StringMatch's oneof. */
static const struct match_case {
    POL(StringMatch__MatchCase) number;
    enum fuse_match_kind kind;
    const char *member;
} match_cases[] = {
    {DRAFT__ROUTING__V1__STRING_MATCH__MATCH_EXACT, FUSE_MATCH_EXACT, "exact"},
    {DRAFT__ROUTING__V1__STRING_MATCH__MATCH_PREFIX, FUSE_MATCH_PREFIX, "prefix"},
    {DRAFT__ROUTING__V1__STRING_MATCH__MATCH_SUFFIX, FUSE_MATCH_SUFFIX, "suffix"},
    {DRAFT__ROUTING__V1__STRING_MATCH__MATCH_CONTAINS, FUSE_MATCH_CONTAINS, "contains"},
    {DRAFT__ROUTING__V1__STRING_MATCH__MATCH_REGEX, FUSE_MATCH_REGEX, "regex"},
    {DRAFT__ROUTING__V1__STRING_MATCH__MATCH_PRESENT, FUSE_MATCH_PRESENT, "present"},
};

/* Proxies take spaces off both ends of a value, so it is never found with them. */
static bool outer_space(enum fuse_match_kind kind, const char *text)
{
    size_t len = strlen(text);
    bool at_start = kind == FUSE_MATCH_EXACT || kind == FUSE_MATCH_PREFIX;
    bool at_end = kind == FUSE_MATCH_EXACT || kind == FUSE_MATCH_SUFFIX;
    return (at_start && text[0] == ' ') || (at_end && len != 0 && text[len - 1] == ' ');
}

static void convert_text(struct fuse_converting *c, const char *field, const char *text,
                         const char *(*check)(const char *), struct fuse_string_match *value)
{
    if (value->kind == FUSE_MATCH_REGEX) {
        value->regex = convert_regex(c, field, text);
    } else if (fuse_convert_fine(c, field, text, check(text)) && outer_space(value->kind, text)) {
        fuse_problem_error(c->problems, field,
                           "'%.64s' has a space at its end, where no value has one: leave it out",
                           text);
    }
    value->text = text;
}

static void convert_value(struct fuse_converting *c, const char *field,
                          const POL(StringMatch) * message, const char *(*check)(const char *),
                          struct fuse_string_match *value)
{
    *value = (struct fuse_string_match){.text = ""};
    const struct match_case *found = NULL;
    for (size_t i = 0; message != NULL && i < sizeof match_cases / sizeof *match_cases; i++) {
        found = match_cases[i].number == message->match_case ? &match_cases[i] : found;
    }
    if (found == NULL) {
        fuse_problem_error(c->problems, field,
                           "is not set: give exact, prefix, suffix, contains, regex or present");
        return;
    }
    const char *member = chassis_arena_printf(c->arena, "%s.%s", field, found->member);
    value->kind = found->kind;
    value->invert = message->invert;
    if (value->kind != FUSE_MATCH_PRESENT) {
        convert_text(c, member, message->exact, check, value); /* the texts share their place */
    } else if (!message->present) {
        fuse_problem_error(c->problems, member, "is false: write present: true with invert: true");
    }
}

/* ---- path ---- */

static void convert_grpc(struct fuse_converting *c, const NET(GrpcMatchOptions) * grpc)
{
    const char *field = "match.grpc_match_options.service";
    struct fuse_route *draft = c->draft;
    draft->grpc = true;
    if (*grpc->service == '\0') {
        if (*grpc->method != '\0') {
            fuse_problem_error(c->problems, field, "is not set, but a method is: give its service");
        }
        return;
    }
    bool fine = fuse_convert_fine(c, field, grpc->service, fuse_check_grpc_service(grpc->service));
    draft->path_kind = *grpc->method != '\0' ? FUSE_PATH_EXACT : FUSE_PATH_PREFIX;
    if (draft->path_kind == FUSE_PATH_EXACT) {
        fine = fuse_convert_fine(c, "match.grpc_match_options.method", grpc->method,
                                 fuse_check_grpc_method(grpc->method)) &&
               fine;
    }
    if (fine) {
        draft->path = chassis_arena_printf(c->arena, "/%s/%s", grpc->service, grpc->method);
    }
}

static void convert_path(struct fuse_converting *c, const NET(RouteMatch) * match)
{
    const NET(GrpcMatchOptions) *grpc =
        match->_grpc_match_options_case != 0 ? match->grpc_match_options : NULL;
    const struct {
        const char *text, *field;
        enum fuse_path_kind kind;
    } ways[] = {{match->prefix, "match.prefix", FUSE_PATH_PREFIX},
                {match->path, "match.path", FUSE_PATH_EXACT},
                {match->regex, "match.regex", FUSE_PATH_REGEX}};
    unsigned n_set = grpc != NULL && *grpc->service != '\0';
    if (grpc != NULL) {
        convert_grpc(c, grpc);
    }
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (*ways[i].text == '\0') {
            continue;
        }
        if (++n_set > 1) {
            fuse_problem_error(c->problems, ways[i].field,
                               "stands beside another: give one of prefix, path, regex and the "
                               "service of grpc_match_options");
            continue;
        }
        c->draft->path_kind = ways[i].kind;
        c->draft->path = ways[i].text;
        if (ways[i].kind == FUSE_PATH_REGEX) {
            c->draft->path_regex = convert_regex(c, ways[i].field, ways[i].text);
        } else {
            fuse_convert_fine(c, ways[i].field, ways[i].text, fuse_check_path(ways[i].text));
        }
    }
}

/* ---- further conditions ---- */

static void convert_methods(struct fuse_converting *c, const NET(RouteMatch) * match)
{
    unsigned n = fuse_convert_count(c, "match.methods", match->n_methods);
    for (unsigned i = 0; i < n; i++) {
        const char *field = fuse_convert_field(c, "match.methods", i, "");
        fuse_convert_fine(c, field, match->methods[i], fuse_check_method(match->methods[i]));
        for (unsigned k = 0; k < i; k++) {
            if (strcmp(match->methods[k], match->methods[i]) == 0) {
                fuse_problem_error(c->problems, field, "'%.64s' is named twice", match->methods[i]);
                break;
            }
        }
    }
    c->draft->methods = (const char *const *)match->methods;
    c->draft->n_methods = n;
}

static void convert_header_option(struct fuse_converting *c, const NET(HeaderMatchOptions) * option,
                                  struct fuse_named_match *header)
{
    *header = (struct fuse_named_match){
        .name = fuse_convert_lower(c, option->key),
        .value = {.kind = *option->value != '\0' ? FUSE_MATCH_EXACT : FUSE_MATCH_PRESENT,
                  .text = ""}};
    fuse_convert_fine(c, "match.headers.key", option->key, fuse_check_header(option->key));
    if (header->value.kind == FUSE_MATCH_EXACT) {
        convert_text(c, "match.headers.value", option->value, fuse_check_header_text,
                     &header->value);
    }
    c->draft->by_header_option = true;
}

static void convert_headers(struct fuse_converting *c, const NET(RouteMatch) * match)
{
    bool option = match->_headers_case != 0 && match->headers != NULL;
    unsigned n = fuse_convert_count(c, "match.header_matches", match->n_header_matches);
    struct fuse_named_match *headers =
        chassis_arena_zalloc(c->arena, (n + option) * sizeof *headers);
    if (option) {
        convert_header_option(c, match->headers, &headers[0]);
    }
    for (unsigned i = 0; i < n; i++) {
        const POL(HeaderMatch) *message = match->header_matches[i];
        struct fuse_named_match *header = &headers[i + option];
        fuse_convert_fine(c, fuse_convert_field(c, "match.header_matches", i, "name"),
                          message->name, fuse_check_header(message->name));
        header->name = fuse_convert_lower(c, message->name);
        convert_value(c, fuse_convert_field(c, "match.header_matches", i, "value"), message->value,
                      fuse_check_header_text, &header->value);
    }
    c->draft->headers = headers;
    c->draft->n_headers = n + option;
}

static void convert_queries(struct fuse_converting *c, const NET(RouteMatch) * match)
{
    unsigned n = fuse_convert_count(c, "match.query_matches", match->n_query_matches);
    struct fuse_named_match *queries = chassis_arena_zalloc(c->arena, n * sizeof *queries);
    for (unsigned i = 0; i < n; i++) {
        const POL(QueryMatch) *message = match->query_matches[i];
        fuse_convert_fine(c, fuse_convert_field(c, "match.query_matches", i, "name"), message->name,
                          fuse_check_query(message->name));
        queries[i].name = message->name;
        convert_value(c, fuse_convert_field(c, "match.query_matches", i, "value"), message->value,
                      fuse_check_query_text, &queries[i].value);
    }
    c->draft->queries = queries;
    c->draft->n_queries = n;
}

void fuse_convert_match(struct fuse_converting *c, const NET(RouteMatch) * match)
{
    if (match == NULL) {
        return; /* every request */
    }
    if (*match->host != '\0' &&
        fuse_convert_fine(c, "match.host", match->host, fuse_check_host(match->host))) {
        c->draft->host = fuse_convert_lower(c, match->host);
    }
    if (match->_dynamic_metadata_case != 0) {
        fuse_problem_error(c->problems, "match.dynamic_metadata",
                           "is not supported by any proxy here: leave it out");
    }
    convert_path(c, match);
    convert_methods(c, match);
    convert_headers(c, match);
    convert_queries(c, match);
}
