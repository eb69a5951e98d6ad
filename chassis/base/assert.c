#include "base/assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void (*panic_hook)(const char *text);

void chassis_base_on_panic(void (*hook)(const char *text))
{
    panic_hook = hook;
}

void chassis_base_panic(const char *file, int line, const char *format, ...)
{
    char what[512], text[768];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    snprintf(text, sizeof text, "panic at %s:%d: %s", file, line, what);
    fprintf(stderr, "%s\n", text);
    if (panic_hook != NULL) {
        void (*hook)(const char *) = panic_hook;
        panic_hook = NULL;
        hook(text);
    }
    abort();
}

void *chassis_base_alloc(size_t len)
{
    void *p = malloc(len != 0 ? len : 1);
    if (p == NULL) {
        CHASSIS_PANIC("out of memory allocating %zu bytes", len);
    }
    return p;
}

void *chassis_base_zalloc(size_t len)
{
    void *p = calloc(1, len != 0 ? len : 1);
    if (p == NULL) {
        CHASSIS_PANIC("out of memory allocating %zu bytes", len);
    }
    return p;
}

void *chassis_base_realloc(void *old, size_t len)
{
    void *p = realloc(old, len != 0 ? len : 1);
    if (p == NULL) {
        CHASSIS_PANIC("out of memory allocating %zu bytes", len);
    }
    return p;
}

char *chassis_base_strdup(const char *text)
{
    size_t len = strlen(text) + 1;
    return memcpy(chassis_base_alloc(len), text, len);
}
