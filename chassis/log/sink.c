/* The two sinks that come with the chassis: JSON lines and console. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "log/render.h"

enum { FULL_PIPE_WAIT_MS = 100 };

struct fd_sink {
    struct chassis_log_sink base;
    int fd;
    bool colour;
    uint64_t lost; /* records the descriptor did not take, told as soon as it takes one again */
    struct fd_sink *next; /* of all that were made: they live as long as the process */
    bool torn; /* the last of them is there in part and must not run into the next line */
};

/* One write(2) per record; only a pipe that is full or a signal makes it more than one. A reader
 * that stays away costs records, never the service. */
static bool write_all(struct fd_sink *sink, const char *text, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(sink->fd, text + done, len - done);
        if (n >= 0) {
            done += (size_t)n;
            continue;
        }
        struct pollfd pollfd = {.fd = sink->fd, .events = POLLOUT};
        if (errno != EINTR && (errno != EAGAIN || poll(&pollfd, 1, FULL_PIPE_WAIT_MS) <= 0)) {
            sink->torn = sink->torn || done != 0;
            sink->lost++;
            return false;
        }
    }
    return true;
}

static void emit(struct fd_sink *sink, const char *line, size_t len, const char *lost_format)
{
    if (sink->lost != 0) {
        char note[128];
        int n = snprintf(note, sizeof note, lost_format, sink->torn ? "\n" : "",
                         (unsigned long long)sink->lost);
        if (!write_all(sink, note, (size_t)n)) {
            return;
        }
        sink->lost = 0;
        sink->torn = false;
    }
    write_all(sink, line, len);
}

static void json_write(struct chassis_log_sink *base, const struct chassis_log_record *record)
{
    char line[CHASSIS_LOG_RECORD_MAX];
    CHASSIS_ASSERT(record->json.len < sizeof line);
    memcpy(line, record->json.data, record->json.len);
    line[record->json.len] = '\n';
    emit((struct fd_sink *)base, line, record->json.len + 1,
         "%s{\"level\":\"warn\",\"module\":\"log\",\"msg\":\"records were "
         "lost\",\"records\":%llu}\n");
}

/* A string value goes without its quotes when nothing in it could be misread. */
static bool plain(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ' ' || text[i] == '=' || text[i] == '\\') {
            return false;
        }
    }
    return len != 0;
}

/* End of the JSON value at `p` in a text of our own making. */
static const char *value_end(const char *p, const char *end)
{
    if (*p != '"') {
        while (p < end && *p != ',') {
            p++;
        }
        return p;
    }
    for (p++; p < end && *p != '"'; p++) {
        if (*p == '\\') {
            p++;
        }
    }
    return p < end ? p + 1 : end;
}

/* `,"key":value` … becomes ` key=value` …. */
static void put_fields(struct chassis_log_render *r, const char *text, size_t len, bool colour)
{
    const char *end = len != 0 ? text + len : text; /* no fields: `text` may be NULL */
    while (text < end) {
        const char *key = text + 2; /* behind the comma and the quote */
        const char *key_end = value_end(text + 1, end) - 1;
        const char *value = key_end + 2; /* behind the quote and the colon */
        const char *next = value_end(value, end);
        size_t value_len = (size_t)(next - value);
        if (*value == '"' && plain(value + 1, value_len - 2)) {
            value++;
            value_len -= 2;
        }
        size_t start = r->len;
        bool whole = chassis_log_render_puts(r, colour ? " \x1b[2m" : " ") &&
                     chassis_log_render_put(r, key, (size_t)(key_end - key)) &&
                     chassis_log_render_puts(r, colour ? "=\x1b[0m" : "=") &&
                     chassis_log_render_put(r, value, value_len);
        if (!whole) {
            r->len = start;
        }
        text = next;
    }
}

static void console_write(struct chassis_log_sink *base, const struct chassis_log_record *record)
{
    static const struct {
        const char *name, *colour;
    } levels[] = {
        [CHASSIS_LOG_TRACE] = {"TRACE", "\x1b[2m"},  [CHASSIS_LOG_DEBUG] = {"DEBUG", "\x1b[36m"},
        [CHASSIS_LOG_INFO] = {"INFO ", "\x1b[32m"},  [CHASSIS_LOG_WARN] = {"WARN ", "\x1b[33m"},
        [CHASSIS_LOG_ERROR] = {"ERROR", "\x1b[31m"}, [CHASSIS_LOG_FATAL] = {"FATAL", "\x1b[1;31m"},
    };
    static const char mark[] = " cut=true\n";
    struct fd_sink *sink = (struct fd_sink *)base;
    char line[CHASSIS_LOG_RECORD_MAX], own[CHASSIS_LOG_RECORD_MAX], head[32];
    CHASSIS_ASSERT(record->level >= CHASSIS_LOG_TRACE && record->level <= CHASSIS_LOG_FATAL);

    struct tm tm;
    time_t seconds = (time_t)(record->time_ns / 1000000000);
    localtime_r(&seconds, &tm);
    size_t len = strftime(head, sizeof head, "%H:%M:%S", &tm);
    snprintf(head + len, sizeof head - len, ".%03d ", (int)(record->time_ns / 1000000 % 1000));

    struct chassis_log_render r = {.text = line, .limit = sizeof line - (sizeof mark - 1)};
    chassis_log_render_puts(&r, head);
    chassis_log_render_puts(&r, sink->colour ? levels[record->level].colour : "");
    chassis_log_render_puts(&r, levels[record->level].name);
    chassis_log_render_puts(&r, sink->colour ? "\x1b[0m " : " ");
    chassis_log_render_text(&r, chassis_view_str(record->module), false, 256);
    chassis_log_render_puts(&r, " ");
    chassis_log_render_text(&r, chassis_view_str(record->message), false, CHASSIS_LOG_MESSAGE_MAX);
    put_fields(&r, (const char *)record->inherited.data, record->inherited.len, sink->colour);
    struct chassis_log_render fields = {.text = own, .limit = sizeof own};
    chassis_log_render_fields(&fields, record->fields, record->n_fields);
    put_fields(&r, own, fields.len, sink->colour);
    r.limit = sizeof line;
    chassis_log_render_puts(&r, r.cut || fields.cut ? mark : "\n");
    emit(sink, line, r.len, "%slog: %llu records were lost\n");
}

static struct chassis_log_sink *sink_new(int fd, bool colour,
                                         void (*write_record)(struct chassis_log_sink *sink,
                                                              const struct chassis_log_record *))
{
    static struct fd_sink *all;
    struct fd_sink *sink = chassis_base_zalloc(sizeof *sink);
    sink->base.write = write_record;
    sink->fd = fd;
    sink->colour = colour;
    sink->next = __atomic_load_n(&all, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&all, &sink->next, sink, false, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED)) {
    }
    return &sink->base;
}

struct chassis_log_sink *chassis_log_sink_json(int fd)
{
    return sink_new(fd, false, json_write);
}

struct chassis_log_sink *chassis_log_sink_console(int fd, bool colour)
{
    const char *no_colour = getenv("NO_COLOR"); /* https://no-color.org */
    bool wanted = no_colour == NULL || no_colour[0] == '\0';
    return sink_new(fd, colour && wanted, console_write);
}
