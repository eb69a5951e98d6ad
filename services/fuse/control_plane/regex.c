#define PCRE2_CODE_UNIT_WIDTH 8
#include "fuse/control_plane/regex.h"

#include <stdlib.h>

#include <pcre2.h>

#include "base/assert.h"
#include "base/fault.h"
#include "fuse/control_plane/pattern.h"

/* About 10 ms of backtracking at most, and no memory to speak of. */
enum { STEPS_MAX = 200000, HEAP_KIB_MAX = 4096 };

struct fuse_regex {
    pcre2_code *code;
    unsigned size;
};

/* Groups only group, "." is any byte but a line feed, and the whole text has to match. */
static const uint32_t options =
    PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOLLAR_ENDONLY | PCRE2_NO_AUTO_CAPTURE;

static pcre2_code *compile(const char *pattern, int *ret_code, size_t *ret_at)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context == NULL) {
        CHASSIS_PANIC("out of memory compiling a regular expression");
    }
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)(const void *)pattern, PCRE2_ZERO_TERMINATED,
                                     options, ret_code, ret_at, context);
    pcre2_compile_context_free(context);
    return code;
}

int fuse_regex_new(const char *pattern, struct fuse_regex **ret_regex, struct chassis_error *err)
{
    unsigned size;
    int rc = fuse_pattern_check(pattern, &size, err), code_of_error = PCRE2_ERROR_NOMEMORY;
    size_t at = 0;
    if (rc < 0) {
        return rc;
    }
    pcre2_code *code =
        CHASSIS_FAULT("fuse.regex.compile") ? NULL : compile(pattern, &code_of_error, &at);
    if (code == NULL) {
        char text[128] = "";
        pcre2_get_error_message(code_of_error, (PCRE2_UCHAR *)text, sizeof text);
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "%s at byte %zu of '%s'", text,
                                 at + 1, pattern);
    }
    struct fuse_regex *regex = chassis_base_alloc(sizeof *regex);
    *regex = (struct fuse_regex){.code = code, .size = size};
    *ret_regex = regex;
    return 0;
}

void fuse_regex_free(struct fuse_regex *regex)
{
    if (regex != NULL) {
        pcre2_code_free(regex->code);
        free(regex);
    }
}

bool fuse_regex_matches(const struct fuse_regex *regex, struct chassis_view text)
{
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    if (context == NULL || data == NULL) {
        CHASSIS_PANIC("out of memory matching a regular expression");
    }
    pcre2_set_match_limit(context, STEPS_MAX);
    pcre2_set_heap_limit(context, HEAP_KIB_MAX);
    PCRE2_SPTR bytes = text.len != 0 ? text.data : (PCRE2_SPTR)(const void *)"";
    int rc = pcre2_match(regex->code, bytes, text.len, 0, 0, data, context);
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    return rc >= 0;
}

unsigned fuse_regex_size(const struct fuse_regex *regex)
{
    return regex->size;
}
