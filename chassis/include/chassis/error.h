/* Status codes and error texts.
 *
 * Every fallible function of the chassis returns an int: 0 for success or a negative code. Codes of
 * the operating system and of libuv keep their value (-errno); the chassis' own lie in -1000…-1999
 * and come from one table, which also gives the text, the gRPC status and the class of each.
 * The text of what went wrong travels in an optional last parameter `struct chassis_error *err`,
 * is written where the fact is known and is prefixed on the way up:
 *     start node 2: open store '/var/x': permission denied
 *
 * Invariants: the text is always NUL-terminated; nothing here allocates; an error is returned or
 * logged-and-handled, never both.
 * Threads: any; a struct chassis_error belongs to its caller.
 */
#ifndef CHASSIS_ERROR_H
#define CHASSIS_ERROR_H

#include <stdarg.h>
#include <stddef.h>

/* What a caller can do about an error. */
enum chassis_error_class {
    CHASSIS_CLASS_NONE,     /* no error */
    CHASSIS_CLASS_RETRY,    /* the same call may succeed later */
    CHASSIS_CLASS_REDIRECT, /* the same call may succeed at another node */
    CHASSIS_CLASS_CALLER,   /* the request itself is wrong */
    CHASSIS_CLASS_GONE,     /* the subject does not exist (any more) */
    CHASSIS_CLASS_FATAL,    /* a bug, damage, or a broken machine */
};

/* clang-format off: a table */
/*      name                code   gRPC  class     text */
#define CHASSIS_STATUS_TABLE(X)                                                                    \
    X(CANCELLED, -1001, 1, RETRY, "cancelled")                                                     \
    X(UNKNOWN, -1002, 2, FATAL, "unknown error")                                                   \
    X(INVALID_ARGUMENT, -1003, 3, CALLER, "invalid argument")                                      \
    X(DEADLINE_EXCEEDED, -1004, 4, RETRY, "deadline exceeded")                                     \
    X(NOT_FOUND, -1005, 5, GONE, "not found")                                                      \
    X(ALREADY_EXISTS, -1006, 6, CALLER, "already exists")                                          \
    X(PERMISSION_DENIED, -1007, 7, CALLER, "permission denied")                                    \
    X(RESOURCE_EXHAUSTED, -1008, 8, RETRY, "resource exhausted")                                   \
    X(FAILED_PRECONDITION, -1009, 9, CALLER, "failed precondition")                                \
    X(ABORTED, -1010, 10, CALLER, "aborted")                                                       \
    X(OUT_OF_RANGE, -1011, 11, CALLER, "out of range")                                             \
    X(UNIMPLEMENTED, -1012, 12, CALLER, "unimplemented")                                           \
    X(INTERNAL, -1013, 13, FATAL, "internal error")                                                \
    X(UNAVAILABLE, -1014, 14, RETRY, "unavailable")                                                \
    X(DATA_LOSS, -1015, 15, FATAL, "data loss")                                                    \
    X(UNAUTHENTICATED, -1016, 16, CALLER, "unauthenticated")                                       \
    X(NOT_LEADER, -1101, 14, REDIRECT, "not the leader")                                           \
    X(NO_QUORUM, -1102, 14, RETRY, "no quorum")                                                    \
    X(OUTCOME_UNKNOWN, -1103, 14, RETRY, "outcome unknown")                                        \
    X(SHUTTING_DOWN, -1104, 14, REDIRECT, "shutting down")                                         \
    X(NO_SPACE, -1105, 8, RETRY, "no space left")                                                  \
    X(CORRUPT, -1106, 15, FATAL, "data is damaged")                                                \
    X(BAD_VERSION, -1107, 9, FATAL, "format version not supported")                                \
    X(COMPACTED, -1108, 11, GONE, "compacted")                                                     \
    X(MALFORMED, -1109, 3, CALLER, "malformed")                                                    \
    X(TOO_LARGE, -1110, 3, CALLER, "too large")                                                    \
    X(BUSY, -1111, 8, RETRY, "busy")                                                               \
    X(EOF_REACHED, -1112, 11, GONE, "end of data")                                                 \
    X(CONFIG, -1113, 3, CALLER, "bad configuration")
/* clang-format on */

enum chassis_status {
    CHASSIS_OK = 0,
#define CHASSIS_X(name, code, grpc, class_, text) CHASSIS_##name = (code),
    CHASSIS_STATUS_TABLE(CHASSIS_X)
#undef CHASSIS_X
};

/* The short text of a code ("not found"); also knows -errno. Never NULL, never to be freed. */
const char *chassis_status_text(int code);
/* The symbolic name of a code ("NOT_FOUND", "ENOENT"), for logs and JSON. */
const char *chassis_status_name(int code);
/* What a caller can do about it. Codes of the operating system are FATAL but for the transient ones. */
enum chassis_error_class chassis_status_class(int code);
/* The gRPC status number (0…16) that stands for a code on the wire, and back. */
int chassis_status_to_grpc(int code);
int chassis_status_from_grpc(int grpc);

enum { CHASSIS_ERROR_TEXT_MAX = 512 };

struct chassis_error {
    int code;                          /* 0 while nothing went wrong */
    char text[CHASSIS_ERROR_TEXT_MAX]; /* cut at the end, never overrun */
};

#if defined(__GNUC__)
#define CHASSIS_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#else
#define CHASSIS_PRINTF(fmt, first)
#endif

/* Set code and text and return `code`, so that a failure is one statement:
 *     return chassis_error_set(err, CHASSIS_NOT_FOUND, "no such key '%s'", key);
 * `err` may be NULL. */
int chassis_error_set(struct chassis_error *err, int code, const char *format, ...)
    CHASSIS_PRINTF(3, 4);
int chassis_error_setv(struct chassis_error *err, int code, const char *format, va_list args);
/* As chassis_error_set, with ": " and the text of `code` appended ("open '/x': permission denied"). */
int chassis_error_code(struct chassis_error *err, int code, const char *format, ...)
    CHASSIS_PRINTF(3, 4);
/* Put "prefix: " before the text that is there; returns the code that is there. */
int chassis_error_wrap(struct chassis_error *err, const char *format, ...) CHASSIS_PRINTF(2, 3);
/* Back to "no error". */
void chassis_error_clear(struct chassis_error *err);
/* The text, or the short text of the code if no text was written. */
const char *chassis_error_text(const struct chassis_error *err);
#endif
