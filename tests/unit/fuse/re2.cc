// RE2, which Envoy and gRPC match with, for a test in C.
#include <re2/re2.h>

extern "C" {
void *re2_compile(const char *pattern, int *ret_size);
int re2_matches(void *regex, const char *text, unsigned long len);
void re2_free(void *regex);
}

// NULL when RE2 refuses the pattern. The options are those of Envoy's GoogleReMatcher: the defaults.
void *re2_compile(const char *pattern, int *ret_size)
{
    auto *regex = new RE2(pattern, RE2::Quiet);
    if (!regex->ok()) {
        delete regex;
        return nullptr;
    }
    *ret_size = regex->ProgramSize();
    return regex;
}

int re2_matches(void *regex, const char *text, unsigned long len)
{
    return RE2::FullMatch(re2::StringPiece(text, len), *static_cast<RE2 *>(regex));
}

void re2_free(void *regex)
{
    delete static_cast<RE2 *>(regex);
}
