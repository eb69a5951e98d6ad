/* Assertions: they stay on in release builds, and a failing one means a bug in our own code.
 *
 * What a peer, a user or a disk can cause is never asserted: it is an error with a code and a text.
 * Threads: any.
 */
#ifndef CHASSIS_BASE_ASSERT_H
#define CHASSIS_BASE_ASSERT_H

#include <stddef.h>

_Noreturn void chassis_base_panic(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Called once with the text before the process aborts (the log hooks in here); NULL for none. */
void chassis_base_on_panic(void (*hook)(const char *text));

#define CHASSIS_ASSERT(condition)                                                                  \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0)) {                                                   \
            chassis_base_panic(__FILE__, __LINE__, "assertion failed: %s", #condition);            \
        }                                                                                          \
    } while (0)

#define CHASSIS_PANIC(...) chassis_base_panic(__FILE__, __LINE__, __VA_ARGS__)

/* malloc family that aborts when memory runs out (a replica that cannot apply must not go on). */
void *chassis_base_alloc(size_t len);
void *chassis_base_zalloc(size_t len);
void *chassis_base_realloc(void *old, size_t len);
char *chassis_base_strdup(const char *text);

#endif
