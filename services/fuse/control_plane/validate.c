#include "fuse/control_plane/validate.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

/* ---- problems ---- */

static void add(struct fuse_problems *problems, bool is_error, const char *field, const char *route,
                const char *format, va_list args)
{
    problems->n_errors += is_error;
    if (problems->n == FUSE_PROBLEMS_MAX) {
        problems->n_lost++;
        return;
    }
    struct fuse_problem *p = &problems->items[problems->n++];
    p->is_error = is_error;
    snprintf(p->field, sizeof p->field, "%s", field);
    snprintf(p->route, sizeof p->route, "%s", route);
    vsnprintf(p->text, sizeof p->text, format, args);
    /* It quotes what users sent and may be cut: keep it one line of valid UTF-8. */
    for (char *c = p->text; *c != '\0'; c++) {
        *c = *c < ' ' || *c > '~' ? '?' : *c;
    }
}

void fuse_problem_error(struct fuse_problems *problems, const char *field, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(problems, true, field, "", format, args);
    va_end(args);
}

void fuse_problem_warning(struct fuse_problems *problems, const char *field,
                          const char *other_route, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(problems, false, field, other_route != NULL ? other_route : "", format, args);
    va_end(args);
}

void fuse_problem_print(const struct fuse_problem *problem, struct chassis_buf *out)
{
    if (problem->field[0] != '\0') {
        chassis_buf_printf(out, "%s: ", problem->field);
    }
    chassis_buf_append_str(out, problem->text);
}

/* ---- characters ---- */

enum {
    UPPER = 1,
    LOWER = 2,
    DIGIT = 4,
    SPACE = 8,
    PERCENT = 16, /* with two hexadecimal digits behind it */
    WORD = UPPER | LOWER | DIGIT,
};

enum kind {
    NAME,
    HOST,
    PATH,
    METHOD,
    HEADER,
    HEADER_TEXT,
    QUERY,
    QUERY_TEXT,
    COOKIE,
    GRPC,
    N_KINDS
};
static const struct rule {
    unsigned classes;
    unsigned max; /* bytes */
    const char *further, *empty, *too_long, *wrong;
} rules[N_KINDS] = {
    [NAME] = {WORD, 128, "._-", "is empty: give it a name", "is longer than 128 bytes",
              "may have letters, digits, '.', '_' and '-' only"},
    [HOST] =
        {WORD, 253, "_-.", "is empty", "is longer than 253 bytes",
         "is no host: letters, digits, '-', '_' and '.' only, without port; names beyond ASCII in "
         "their xn-- form"},
    [PATH] =
        {WORD | PERCENT, 1024, "/-._~!$&'()*+,;=:@", "is empty: begin it with '/'",
         "is longer than 1,024 bytes",
         "has a character that no path has: percent-encode it (%20), and match the query string by "
         "query_matches"},
    [METHOD] = {UPPER | DIGIT, 32, "-_", "is empty: leave it out for any method",
                "is longer than 32 bytes", "is no method: write it in upper case ('GET')"},
    [HEADER] = {WORD, 128, "-_.", "is empty: give the header's name", "is longer than 128 bytes",
                "is no header: letters, digits, '-', '_' and '.' only"},
    [HEADER_TEXT] = {WORD | SPACE, 1024, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
                     "is empty: use present for any value", "is longer than 1,024 bytes",
                     "has a control character or one beyond ASCII, which no proxy takes"},
    [QUERY] = {WORD | PERCENT, 128, "-._~:[]@+", "is empty: give the parameter's name",
               "is longer than 128 bytes",
               "is no name of a query parameter: write it percent-encoded, as it is sent"},
    [QUERY_TEXT] = {WORD | PERCENT, 1024, "-._~:[]@+!$'()*,;=/?|",
                    "is empty: use present for any value", "is longer than 1,024 bytes",
                    "cannot stand in a query string: write it percent-encoded, as it is sent"},
    [COOKIE] = {WORD, 128, "-_.", "is empty: give the cookie's name", "is longer than 128 bytes",
                "is no cookie: letters, digits, '-', '_' and '.' only"},
    [GRPC] = {WORD, 256, "_.", "is empty", "is longer than 256 bytes",
              "is no name of protobuf: letters, digits, '_' (and '.' in a service's name) only"},
};

static bool in_class(unsigned classes, char c)
{
    return ((classes & UPPER) != 0 && c >= 'A' && c <= 'Z') ||
           ((classes & LOWER) != 0 && c >= 'a' && c <= 'z') ||
           ((classes & DIGIT) != 0 && c >= '0' && c <= '9') || ((classes & SPACE) != 0 && c == ' ');
}
static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static const char *check(enum kind kind, const char *text)
{
    const struct rule *rule = &rules[kind];
    if (*text == '\0') {
        return rule->empty;
    }
    if (strlen(text) > rule->max) {
        return rule->too_long;
    }
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '%' && (rule->classes & PERCENT) != 0) {
            if (!is_hex(c[1]) || !is_hex(c[2])) {
                return "has a '%' without two hexadecimal digits behind it: write '%25'";
            }
        } else if (!in_class(rule->classes, *c) && strchr(rule->further, *c) == NULL) {
            return rule->wrong;
        }
    }
    return NULL;
}

/* ---- values ---- */

const char *fuse_check_name(const char *name)
{
    return check(NAME, name);
}

/* What is wrong with the labels of a name that is not empty. */
static const char *check_labels(const char *name)
{
    for (const char *label = name;; label++) {
        size_t len = strcspn(label, ".");
        if (len == 0) {
            return "has an empty part: no '.' at the beginning, at the end or next to another";
        }
        if (len > 63) {
            return "has a part of more than 63 bytes between its dots";
        }
        if (label[0] == '-' || label[len - 1] == '-') {
            return "has a part that begins or ends with '-'";
        }
        label += len;
        if (*label == '\0') {
            return NULL;
        }
    }
}

const char *fuse_check_host(const char *host)
{
    if (strcmp(host, "*") == 0) {
        return NULL;
    }
    const char *name = strncmp(host, "*.", 2) == 0 ? host + 2 : host;
    if (strchr(name, '*') != NULL) {
        return "may have '*' alone or as the first part ('*.example.com') only";
    }
    if (strchr(name, ':') != NULL) {
        return "must be without port (and no IPv6 address): a host has one set of routes on all "
               "ports";
    }
    const char *wrong = check(HOST, name);
    return wrong != NULL ? wrong : check_labels(name);
}

const char *fuse_check_path(const char *path)
{
    const char *wrong = check(PATH, path);
    return wrong == NULL && *path != '/' ? "must begin with '/'" : wrong;
}

const char *fuse_check_method(const char *method)
{
    return check(METHOD, method);
}

/* Headers that are not what they were when the proxy's routes see the request. */
static const struct refused_header {
    const char *name, *text;
} refused_headers[] = {
    {"host", "is not matched as a header: use match.host"},
    {"connection", "is between client and proxy only: proxies take it off"},
    {"keep-alive", "is between client and proxy only: proxies take it off"},
    {"proxy-connection", "is between client and proxy only: proxies take it off"},
    {"transfer-encoding", "is between client and proxy only: proxies take it off"},
    {"te", "is between client and proxy only: proxies take it off"},
    {"trailer", "is between client and proxy only: proxies take it off"},
    {"http2-settings", "is between client and proxy only: proxies take it off"},
};

const char *fuse_check_header(const char *name)
{
    if (*name == ':') {
        return "is no header: use match.path, match.host or match.methods";
    }
    for (size_t i = 0; i < sizeof refused_headers / sizeof *refused_headers; i++) {
        if (strcasecmp(name, refused_headers[i].name) == 0) {
            return refused_headers[i].text;
        }
    }
    return check(HEADER, name);
}

const char *fuse_check_header_text(const char *text)
{
    return check(HEADER_TEXT, text);
}

const char *fuse_check_query(const char *name)
{
    return check(QUERY, name);
}

const char *fuse_check_query_text(const char *text)
{
    return check(QUERY_TEXT, text);
}

const char *fuse_check_cookie(const char *name)
{
    return check(COOKIE, name);
}

const char *fuse_check_address(const char *host)
{
    uint8_t binary[16];
    if (inet_pton(AF_INET, host, binary) == 1 || inet_pton(AF_INET6, host, binary) == 1) {
        return NULL;
    }
    if (strchr(host, ':') != NULL) {
        return "is no address: IPv6 without brackets, and the port in the field 'port'";
    }
    const char *wrong = check(HOST, host);
    wrong = wrong != NULL ? wrong : check_labels(host);
    const char *last = strrchr(host, '.');
    last = last != NULL ? last + 1 : host;
    if (wrong == NULL && strspn(last, "0123456789") == strlen(last)) {
        return "is no IPv4 address of four numbers up to 255, and no name";
    }
    return wrong;
}

/* Letters, digits and '_', not beginning with a digit. */
static const char *check_identifier(const char *name, size_t len)
{
    if (len == 0) {
        return "has an empty part: no '.' at the beginning, at the end or next to another";
    }
    return in_class(DIGIT, name[0]) ? "has a part that begins with a digit" : NULL;
}

const char *fuse_check_grpc_service(const char *name)
{
    const char *wrong =
        *name == '/' ? "is written without slashes ('pkg.Service')" : check(GRPC, name);
    for (const char *part = name; wrong == NULL; part++) {
        size_t len = strcspn(part, ".");
        wrong = check_identifier(part, len);
        part += len;
        if (*part == '\0') {
            break;
        }
    }
    return wrong;
}

const char *fuse_check_grpc_method(const char *name)
{
    const char *wrong = check(GRPC, name);
    if (wrong == NULL && strchr(name, '.') != NULL) {
        return "is the method's own name only ('Speak')";
    }
    return wrong == NULL ? check_identifier(name, strlen(name)) : wrong;
}
