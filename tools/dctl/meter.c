/* The rate line: see meter.h. */
#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#include "meter.h"

enum { WINDOW_MS = 1000, SHOW_MS = 200 };

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void dctl_meter_init(struct dctl_meter *m, struct dctl *d, const char *verb)
{
    *m = (struct dctl_meter){.d = d, .verb = verb};
    pthread_mutex_init(&m->mutex, NULL);
    m->terminal = isatty(fileno(d->err));
    m->started_ns = m->window_ns = now_ns();
}

/* With the mutex held. */
static void take_away(struct dctl_meter *m)
{
    if (m->shown) {
        fputs("\r\033[K", m->d->err);
        fflush(m->d->err);
        m->shown = false;
    }
}

void dctl_meter_begin(struct dctl_meter *m)
{
    pthread_mutex_lock(&m->mutex);
    take_away(m);
}

void dctl_meter_end(struct dctl_meter *m, uint64_t events, uint64_t bytes)
{
    m->events += events;
    m->bytes += bytes;
    pthread_mutex_unlock(&m->mutex);
}

void dctl_meter_show(struct dctl_meter *m)
{
    if (!m->terminal) {
        return;
    }
    pthread_mutex_lock(&m->mutex);
    uint64_t now = now_ns(), passed = now - m->window_ns;
    if (passed >= WINDOW_MS * 1000000ULL) {
        m->rate = (double)(m->events - m->window_events) * 1e9 / (double)passed;
        m->bytes_rate = (double)(m->bytes - m->window_bytes) * 1e9 / (double)passed;
        m->window_ns = now;
        m->window_events = m->events;
        m->window_bytes = m->bytes;
    }
    fprintf(m->d->err, "\r\033[K%s %" PRIu64 " events, %.0f/s, %.2f MB/s", m->verb, m->events,
            m->rate, m->bytes_rate / 1e6);
    fflush(m->d->err);
    m->shown = true;
    pthread_mutex_unlock(&m->mutex);
}

void dctl_meter_fini(struct dctl_meter *m)
{
    double seconds = (double)(now_ns() - m->started_ns) / 1e9;
    take_away(m);
    if (m->terminal && m->events > 1 && seconds > 0) {
        fprintf(m->d->err, "%s %" PRIu64 " events in %.1f s: %.0f/s, %.2f MB/s\n", m->verb,
                m->events, seconds, (double)m->events / seconds, (double)m->bytes / seconds / 1e6);
    }
    pthread_mutex_destroy(&m->mutex);
}
