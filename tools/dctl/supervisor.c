/* The supervisor of dctl run: see supervisor.h. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "probe.h"
#include "supervisor.h"

enum {
    PROBE_EVERY_MS = 100,
    PAUSE_FIRST_MS = 250,
    PAUSE_MAX_MS = 30000,
    STABLE_MS = 30000, /* a service that ran this long is restarted without a growing pause */
    COMPLAIN_MS = 10000,
    GRACE_MS = 15000,
};

enum state {
    WAITING,
    STARTING,
    HEALTHY,
    PAUSING, /* before a restart */
    ENDED,   /* for good */
};

struct supervisor;

struct member {
    struct supervisor *s;
    const struct dctl_service *service;
    struct chassis_child *child; /* NULL while it does not run */
    struct dctl_probe *probe;
    const char *const *environment;
    struct chassis_timer timer; /* the next probe, the end of the pause, or the end of the grace */
    enum state state;
    bool was_healthy; /* at least once: those after it may start */
    bool probing, failed;
    unsigned restarts; /* in a row */
    uint64_t started_ns, complained_ns;
};

/* Owner: the loop, but for `done`, which the mutex guards. */
struct supervisor {
    struct dctl *d;
    const struct dctl_supervisor_options *options;
    struct chassis_loop *loop;
    struct chassis_executor *executor;
    struct member members[DCTL_SERVICES_MAX];
    unsigned n;
    int name_width;
    bool announced, draining;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool done;
};

static void step(struct supervisor *s);

static uint64_t ms_since(const struct supervisor *s, uint64_t start_ns)
{
    return (chassis_now_ns(s->executor) - start_ns) / CHASSIS_NS_PER_MS;
}

/* One line of a service's output, or of ours about it. */
static void print_line(const struct member *m, bool ours, const char *text, int len)
{
    static const int colours[] = {36, 33, 32, 35, 34, 31, 96, 93, 92, 95, 94, 91};
    const struct supervisor *s = m->s;
    unsigned at = (unsigned)(m - s->members);
    if (s->d->colour) {
        fprintf(s->d->out, "\033[%dm%-*s |\033[0m %s%.*s%s\n",
                colours[at % (sizeof colours / sizeof colours[0])], s->name_width, m->service->name,
                ours ? "\033[1m" : "", len, text, ours ? "\033[0m" : "");
    } else {
        fprintf(s->d->out, "%-*s | %s%.*s\n", s->name_width, m->service->name, ours ? "-- " : "",
                len, text);
    }
    fflush(s->d->out);
}

static void say(const struct member *m, const char *format, ...) CHASSIS_PRINTF(2, 3);
static void say(const struct member *m, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    print_line(m, true, text, n < (int)sizeof text ? n : (int)sizeof text - 1);
}

static void on_line(struct chassis_child *child, enum chassis_child_stream stream,
                    struct chassis_view line, void *data)
{
    print_line(data, false, line.len != 0 ? (const char *)line.data : "", (int)line.len);
}

static void finish(struct supervisor *s)
{
    pthread_mutex_lock(&s->mutex);
    s->done = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->mutex);
}

static void announce_if_ready(struct supervisor *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        if (!s->members[i].was_healthy) {
            return;
        }
    }
    if (s->announced || s->draining) {
        return;
    }
    s->announced = true;
    fprintf(s->d->out, "%s%u service%s healthy; Ctrl-C stops%s\n", s->d->colour ? "\033[1m" : "",
            s->n, s->n == 1 ? " is" : "s are", s->d->colour ? "\033[0m" : "");
    fflush(s->d->out);
    if (s->options->ready_file != NULL) {
        FILE *f = fopen(s->options->ready_file, "we");
        if (f == NULL || fprintf(f, "%d\n", (int)getpid()) < 0 || fclose(f) != 0) {
            fprintf(s->d->err, "dctl: cannot write '%s': %s\n", s->options->ready_file,
                    strerror(errno));
        }
    }
}

static void arm(struct member *m, chassis_timer_fn run, uint64_t ms)
{
    m->timer.run = run;
    chassis_post_after(m->s->executor, &m->timer, ms * CHASSIS_NS_PER_MS);
}

static void on_probe_time(struct chassis_timer *timer);

static void on_probed(const char *problem, void *data)
{
    struct member *m = data;
    m->probing = false;
    if (m->s->draining) {
        step(m->s);
        return;
    }
    if (m->state != STARTING) {
        return;
    }
    if (problem == NULL) {
        m->state = HEALTHY;
        m->was_healthy = true;
        say(m, "healthy after %llu ms", (unsigned long long)ms_since(m->s, m->started_ns));
        announce_if_ready(m->s);
        step(m->s);
        return;
    }
    if (ms_since(m->s, m->complained_ns) >= COMPLAIN_MS) {
        m->complained_ns = chassis_now_ns(m->s->executor);
        say(m, "not healthy yet: %s", problem);
    }
    arm(m, on_probe_time, PROBE_EVERY_MS);
}

static void on_probe_time(struct chassis_timer *timer)
{
    struct member *m = chassis_container_of(timer, struct member, timer);
    if (m->state == STARTING && !m->probing) {
        m->probing = true;
        dctl_probe_start(m->probe, on_probed, m);
    } else if (m->state == STARTING) {
        arm(m, on_probe_time, PROBE_EVERY_MS);
    }
}

static void on_pause_over(struct chassis_timer *timer)
{
    struct member *m = chassis_container_of(timer, struct member, timer);
    m->state = WAITING;
    step(m->s);
}

static void pause_or_end(struct member *m, bool failed)
{
    enum dctl_restart policy = m->service->restart;
    if (policy == DCTL_RESTART_NEVER || (policy == DCTL_RESTART_ON_FAILURE && !failed)) {
        m->state = ENDED;
        m->failed = failed;
        m->was_healthy = m->was_healthy || !failed; /* a job that is done */
        announce_if_ready(m->s);
        return;
    }
    m->restarts = ms_since(m->s, m->started_ns) >= STABLE_MS ? 0 : m->restarts + 1;
    uint64_t pause = m->restarts > 8 ? PAUSE_MAX_MS : (uint64_t)PAUSE_FIRST_MS << m->restarts;
    pause = pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS;
    say(m, "starting it again in %.1f s", (double)pause / 1000);
    m->state = PAUSING;
    arm(m, on_pause_over, pause);
}

static void on_exited(struct chassis_child *child, int exit_code, int signal, void *data)
{
    struct member *m = data;
    m->child = NULL;
    chassis_cancel(m->s->executor, &m->timer);
    if (signal != 0) {
        say(m, "ended by signal %d (%s)", signal, strsignal(signal));
    } else {
        say(m, "ended with exit code %d", exit_code);
    }
    if (m->s->draining) {
        m->state = ENDED;
    } else {
        pause_or_end(m, exit_code != 0 || signal != 0);
    }
    step(m->s);
}

static void start(struct member *m)
{
    struct chassis_error err = {0};
    struct chassis_child_options options = {
        .argv = m->service->argv,
        .environment = m->environment,
        .directory = m->service->directory,
        .own_group = true,
        .line = on_line,
        .exited = on_exited,
        .data = m,
    };
    m->started_ns = m->complained_ns = chassis_now_ns(m->s->executor);
    m->state = STARTING;
    int rc = chassis_child_spawn(m->s->loop, &options, &m->child, &err);
    if (rc != 0) {
        m->child = NULL;
        say(m, "cannot be started: %s", chassis_error_text(&err));
        pause_or_end(m, true);
        return;
    }
    say(m, "started as process %d", (int)chassis_child_pid(m->child));
    arm(m, on_probe_time, 1);
}

static void on_grace_over(struct chassis_timer *timer)
{
    struct member *m = chassis_container_of(timer, struct member, timer);
    if (m->child != NULL) {
        say(m, "does not end by itself; killing it");
        chassis_child_kill(m->child, SIGKILL);
    }
}

/* Stop the last one that runs; when it has ended, its turn comes to the one before. */
static void drain_step(struct supervisor *s)
{
    bool probing = false;
    for (unsigned i = s->n; i-- > 0;) {
        struct member *m = &s->members[i];
        probing = probing || m->probing;
        if (m->child == NULL) {
            continue;
        }
        if (m->timer.run != on_grace_over || m->timer.due_ns == 0) {
            say(m, "stopping");
            chassis_child_kill(m->child, SIGTERM);
            arm(m, on_grace_over, s->options->grace_ms != 0 ? s->options->grace_ms : GRACE_MS);
        }
        return;
    }
    if (!probing) {
        finish(s);
    }
}

/* Do what the present states ask for: start those whose turn it is, or stop the next one. */
static void step(struct supervisor *s)
{
    uint64_t healthy = 0;
    unsigned alive = 0;
    if (s->draining) {
        drain_step(s);
        return;
    }
    for (unsigned i = 0; i < s->n; i++) {
        healthy |= s->members[i].was_healthy ? UINT64_C(1) << i : 0;
    }
    for (unsigned i = 0; i < s->n; i++) {
        struct member *m = &s->members[i];
        if (m->state == WAITING && (m->service->after & ~healthy) == 0) {
            start(m);
        }
        alive += m->state != ENDED && m->state != WAITING;
    }
    if (alive == 0) { /* all are done, or wait for one that failed for good */
        s->draining = true;
        drain_step(s);
    }
}

static void on_signal(int signal, void *data)
{
    struct supervisor *s = data;
    if (s->draining) {
        for (unsigned i = 0; i < s->n; i++) {
            if (s->members[i].child != NULL) {
                chassis_child_kill(s->members[i].child, SIGKILL);
            }
        }
        return;
    }
    s->draining = true;
    for (unsigned i = 0; i < s->n; i++) {
        chassis_cancel(s->executor, &s->members[i].timer);
    }
    drain_step(s);
}

/* The environment of dctl, PATH with ours in front, and what the service sets. */
static const char *const *environment_of(struct dctl *d, const struct dctl_service *service,
                                         const char *path)
{
    extern char **environ;
    unsigned n = 0, more = 0;
    const char *old = getenv("PATH");
    while (environ[n] != NULL) {
        n++;
    }
    while (service->environment[more] != NULL) {
        more++;
    }
    const char **list = chassis_arena_zalloc(&d->arena, (n + more + 2) * sizeof *list);
    unsigned count = 0;
    for (unsigned i = 0; i < n; i++) {
        size_t len = strcspn(environ[i], "=") + 1;
        bool replaced = path != NULL && strncmp(environ[i], "PATH=", 5) == 0;
        for (unsigned k = 0; k < more && !replaced; k++) {
            replaced = strncmp(environ[i], service->environment[k], len) == 0;
        }
        if (!replaced) {
            list[count++] = environ[i];
        }
    }
    if (path != NULL) {
        list[count++] = chassis_arena_printf(&d->arena, "PATH=%s:%s", path,
                                             old != NULL ? old : "/usr/local/bin:/usr/bin:/bin");
    }
    for (unsigned k = 0; k < more; k++) {
        list[count++] = service->environment[k];
    }
    return list;
}

/* On the loop. */
static int begin(void *data)
{
    struct supervisor *s = data;
    struct chassis_error err = {0};
    for (unsigned i = 0; i < s->n; i++) {
        if (dctl_probe_new(s->loop, s->members[i].service, &s->members[i].probe, &err) != 0) {
            return dctl_fail(s->d, &err);
        }
    }
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        if (chassis_loop_on_signal(s->loop, signals[i], on_signal, s, &err) != 0) {
            return dctl_fail(s->d, &err);
        }
    }
    step(s);
    return 0;
}

static void supervisor_init(struct supervisor *s, struct dctl *d,
                            const struct dctl_supervisor_options *options)
{
    *s = (struct supervisor){.d = d, .options = options, .n = options->n_services};
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    for (unsigned i = 0; i < s->n; i++) {
        struct member *m = &s->members[i];
        m->s = s;
        m->service = &options->services[i];
        m->environment = environment_of(d, m->service, options->path);
        int width = (int)strlen(m->service->name);
        s->name_width = width > s->name_width ? width : s->name_width;
    }
}

static void wait_until_done(struct supervisor *s)
{
    pthread_mutex_lock(&s->mutex);
    while (!s->done) {
        pthread_cond_wait(&s->changed, &s->mutex);
    }
    pthread_mutex_unlock(&s->mutex);
}

int dctl_supervise(struct dctl *d, const struct dctl_supervisor_options *options)
{
    struct chassis_error err = {0};
    struct supervisor *s = chassis_base_alloc(sizeof *s);
    supervisor_init(s, d, options);
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &ours, NULL);
    int exit_code = DCTL_FAILED;
    if (chassis_loop_start("supervisor", &s->loop, &err) != 0) {
        exit_code = dctl_fail(d, &err);
    } else {
        s->executor = chassis_loop_executor(s->loop);
        exit_code = chassis_loop_call(s->loop, begin, s);
        if (exit_code == DCTL_OK) {
            wait_until_done(s);
        }
        for (unsigned i = 0; i < s->n; i++) {
            exit_code = s->members[i].failed ? DCTL_FAILED : exit_code;
            dctl_probe_free(s->members[i].probe);
        }
        chassis_loop_stop(s->loop);
    }
    if (s->announced && options->ready_file != NULL) {
        unlink(options->ready_file);
    }
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->mutex);
    free(s);
    return exit_code;
}
