#include "auth/identity.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <chassis/log.h>
#include <chassis/metrics.h>

#include "auth/internal.h"
#include "base/assert.h"
#include "os/os.h"

enum {
    PARTS = 3,
    SAY_AGAIN_S = 600, /* that files are still refused */
    WARN_S = 30 * 86400,
};

/* Enough of a file's state to see that it was replaced, written, or may be read now. */
struct stamp {
    uint64_t device, inode, size;
    int64_t modified_ns, changed_ns;
};

struct content {
    struct chassis_auth_tls tls;
    unsigned refs; /* under `lock` */
};

enum age { FRESH, ENDING, ENDED };

struct chassis_auth_identity {
    struct chassis_auth_tls_paths paths; /* constant */
    char *names[PARTS];                  /* the same: ca, certificate, key */
    struct content *content;             /* changed under both locks */

    struct chassis_list link; /* under `looking`, as all below */
    unsigned refs;
    struct stamp read[PARTS], seen[PARTS];
    bool refused;
    char said[512]; /* why they are refused, as it was logged */
    uint64_t said_ns;
    enum age age; /* as it was logged */
    struct chassis_list watches;
    struct chassis_gauge *is_refused;
};

struct looker {
    struct chassis_executor *thread;
    struct chassis_timer timer;
    struct chassis_task begin;
};

/* `looking` is held through a look, files and callbacks included; `lock` for moments. Who wants both
 * takes `looking` first. */
static struct {
    pthread_mutex_t looking;
    struct chassis_list identities; /* under `looking` */
    struct looker *looker;          /* the same; NULL = no identity */
    pthread_mutex_t lock;           /* contents: which, and their refs */
    uint64_t generation;            /* under `lock` */
    unsigned every_ms;              /* atomic */
} env = {
    .looking = PTHREAD_MUTEX_INITIALIZER,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .identities = {&env.identities, &env.identities},
    .every_ms = CHASSIS_AUTH_LOOK_MS,
};

/* ---- contents ---- */

/* Under `lock`. */
static struct content *content_new(struct chassis_auth_tls *tls)
{
    struct content *content = chassis_base_zalloc(sizeof *content);
    content->tls = *tls;
    content->tls.generation = ++env.generation;
    content->refs = 1;
    *tls = (struct chassis_auth_tls){0};
    return content;
}

const struct chassis_auth_tls *chassis_auth_identity_ref(struct chassis_auth_identity *identity)
{
    pthread_mutex_lock(&env.lock);
    struct content *content = identity->content;
    content->refs++;
    pthread_mutex_unlock(&env.lock);
    return &content->tls;
}

void chassis_auth_identity_unref(const struct chassis_auth_tls *tls)
{
    if (tls == NULL) {
        return;
    }
    struct content *content =
        chassis_container_of((struct chassis_auth_tls *)(uintptr_t)tls, struct content, tls);
    pthread_mutex_lock(&env.lock);
    bool last = --content->refs == 0;
    pthread_mutex_unlock(&env.lock);
    if (last) {
        chassis_auth_tls_fini(&content->tls);
        free(content);
    }
}

static bool same_text(const struct chassis_buf *a, const struct chassis_buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* ---- what is told ---- */

static struct chassis_logger *logger(void)
{
    return chassis_log_module("certificates");
}

/* What the identity is called: its certificate, else its authorities. */
static const char *name_of(const struct chassis_auth_identity *id)
{
    return id->paths.certificate != NULL ? id->paths.certificate : id->paths.ca;
}

static void show_end(const char *file, int64_t end_s)
{
    struct chassis_label label = {"file", file};
    if (file != NULL) {
        chassis_gauge_set(chassis_gauge("chassis_certificate_not_after_seconds",
                                        "When the certificate in use ends (of authorities: the "
                                        "last of them), in seconds since 1970.",
                                        &label, 1),
                          end_s);
    }
}

static void show_content(const struct chassis_auth_identity *id, const struct chassis_auth_tls *tls)
{
    show_end(id->paths.certificate, tls->ends_s);
    show_end(id->paths.ca, tls->ca_ends_s);
}

static void count(const struct chassis_auth_identity *id, const char *result)
{
    struct chassis_label labels[] = {{"file", name_of(id)}, {"result", result}};
    chassis_counter_add(chassis_counter("chassis_certificate_reloads_total",
                                        "Changed TLS files by what became of them.", labels, 2),
                        1);
}

/* Whoever rotates does so when a third of the life is left at the latest; a quarter is late. */
static enum age age_of(const struct chassis_auth_tls *tls)
{
    int64_t now_s = time(NULL), warn_s = (tls->ends_s - tls->begins_s) / 4;
    warn_s = warn_s > WARN_S ? WARN_S : warn_s;
    return tls->ends_s == 0 || tls->ends_s - now_s > warn_s ? FRESH
           : tls->ends_s > now_s                            ? ENDING
                                                            : ENDED;
}

static void tell_age(struct chassis_auth_identity *id, const struct chassis_auth_tls *tls)
{
    enum age age = age_of(tls);
    char date[32];
    if (age <= id->age) {
        id->age = age;
        return;
    }
    id->age = age;
    chassis_auth_date_text(tls->ends_s, date);
    if (age == ENDING) {
        chassis_log_warn(logger(), "the certificate ends soon: put a new one in its place",
                         chassis_f_str("file", name_of(id)), chassis_f_str("ends", date));
    } else {
        chassis_log_error(logger(), "the certificate has ended: new connections will fail",
                          chassis_f_str("file", name_of(id)), chassis_f_str("ended", date));
    }
}

/* ---- looking ---- */

static void take_stamps(const struct chassis_auth_identity *id, struct stamp ret_stamps[PARTS])
{
    for (unsigned i = 0; i < PARTS; i++) {
        struct stat st;
        ret_stamps[i] = (struct stamp){0};
        if (id->names[i] != NULL && stat(id->names[i], &st) == 0) {
            ret_stamps[i] =
                (struct stamp){(uint64_t)st.st_dev, (uint64_t)st.st_ino, (uint64_t)st.st_size,
                               (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
                               (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec};
        }
    }
}

static bool same(const struct stamp a[PARTS], const struct stamp b[PARTS])
{
    return memcmp(a, b, PARTS * sizeof *a) == 0;
}

static void refuse(struct chassis_auth_identity *id, const struct chassis_error *why)
{
    uint64_t now_ns = chassis_os_monotonic_ns();
    bool news = !id->refused || strcmp(id->said, chassis_error_text(why)) != 0;
    if (news) {
        count(id, "refused");
    } else if (now_ns - id->said_ns < SAY_AGAIN_S * CHASSIS_NS_PER_S) {
        return;
    }
    id->refused = true;
    id->said_ns = now_ns;
    snprintf(id->said, sizeof id->said, "%s", chassis_error_text(why));
    chassis_gauge_set(id->is_refused, 1);
    char date[32];
    chassis_auth_date_text(id->content->tls.ends_s, date);
    chassis_log_error(logger(), "TLS files cannot be used: the ones before stay in use",
                      chassis_f_str("file", name_of(id)), chassis_f_err(why),
                      chassis_f_str("in_use_until", date));
}

static void take(struct chassis_auth_identity *id, struct chassis_auth_tls *tls)
{
    pthread_mutex_lock(&env.lock);
    struct content *old = id->content, *content = content_new(tls);
    id->content = content;
    pthread_mutex_unlock(&env.lock);
    chassis_auth_identity_unref(&old->tls);
    char date[32];
    chassis_auth_date_text(content->tls.ends_s, date);
    count(id, "taken");
    show_content(id, &content->tls);
    id->age = FRESH;
    chassis_log_info(logger(), "TLS files were read again", chassis_f_str("file", name_of(id)),
                     chassis_f_str("ends", date));
    chassis_list_foreach (it, &id->watches) {
        struct chassis_auth_watch *watch = chassis_list_entry(it, struct chassis_auth_watch, link);
        watch->changed(watch->data);
    }
}

static void read_again(struct chassis_auth_identity *id, const struct stamp now[PARTS])
{
    struct chassis_auth_tls tls = {0};
    struct chassis_error err = {0};
    int rc = chassis_auth_tls_load(&id->paths, &tls, &err);
    take_stamps(id, id->seen);
    if (!same(id->seen, now)) { /* written under our eyes: they rest again first */
        chassis_auth_tls_fini(&tls);
        return;
    }
    memcpy(id->read, now, sizeof id->read);
    if (rc != 0) {
        refuse(id, &err);
        return;
    }
    if (id->refused) {
        id->refused = false;
        chassis_gauge_set(id->is_refused, 0);
        chassis_log_info(logger(), "TLS files are good again", chassis_f_str("file", name_of(id)));
    }
    const struct chassis_auth_tls *old = &id->content->tls;
    if (same_text(&old->certificate, &tls.certificate) && same_text(&old->key, &tls.key) &&
        same_text(&old->ca, &tls.ca)) {
        chassis_auth_tls_fini(&tls);
    } else {
        take(id, &tls);
    }
}

static void look_at(struct chassis_auth_identity *id)
{
    struct stamp now[PARTS];
    take_stamps(id, now);
    bool rested = same(now, id->seen);
    memcpy(id->seen, now, sizeof id->seen);
    /* What is refused may be good later: its day comes, its mode is mended, a directory appears. */
    if (rested && (id->refused || !same(now, id->read))) {
        read_again(id, now);
    }
    tell_age(id, &id->content->tls);
}

static void arm(struct looker *looker)
{
    uint64_t ms = __atomic_load_n(&env.every_ms, __ATOMIC_RELAXED);
    chassis_post_after(looker->thread, &looker->timer, ms * CHASSIS_NS_PER_MS);
}

static void look(struct chassis_timer *timer)
{
    pthread_mutex_lock(&env.looking);
    chassis_list_foreach (it, &env.identities) {
        look_at(chassis_list_entry(it, struct chassis_auth_identity, link));
    }
    pthread_mutex_unlock(&env.looking);
    arm(chassis_container_of(timer, struct looker, timer));
}

static void begin(struct chassis_task *task)
{
    arm(chassis_container_of(task, struct looker, begin));
}

static int looker_start(struct looker **ret_looker, struct chassis_error *err)
{
    struct looker *looker = chassis_base_zalloc(sizeof *looker);
    looker->timer.run = look;
    looker->begin.run = begin;
    int rc = chassis_os_thread_start("certs", &looker->thread);
    if (rc != 0) {
        free(looker);
        return chassis_error_code(err, rc, "start the thread that looks after certificates");
    }
    chassis_post(looker->thread, &looker->begin);
    *ret_looker = looker;
    return 0;
}

static void looker_stop(struct looker *looker)
{
    if (looker != NULL) {
        chassis_os_thread_stop(looker->thread);
        free(looker);
    }
}

void chassis_auth_look_every_ms(unsigned ms)
{
    __atomic_store_n(&env.every_ms, ms, __ATOMIC_RELAXED);
}

/* ---- life ---- */

static bool same_name(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static struct chassis_auth_identity *find(const char *const names[PARTS])
{
    chassis_list_foreach (it, &env.identities) {
        struct chassis_auth_identity *id =
            chassis_list_entry(it, struct chassis_auth_identity, link);
        if (same_name(id->names[0], names[0]) && same_name(id->names[1], names[1]) &&
            same_name(id->names[2], names[2])) {
            return id;
        }
    }
    return NULL;
}

static void identity_free(struct chassis_auth_identity *id)
{
    if (id->content != NULL) {
        chassis_auth_identity_unref(&id->content->tls);
    }
    for (unsigned i = 0; i < PARTS; i++) {
        free(id->names[i]);
    }
    free(id);
}

static int identity_new(const char *const names[PARTS], struct chassis_auth_identity **ret_identity,
                        struct chassis_error *err)
{
    struct chassis_auth_identity *id = chassis_base_zalloc(sizeof *id);
    struct chassis_auth_tls tls = {0};
    chassis_list_init(&id->watches);
    for (unsigned i = 0; i < PARTS; i++) {
        id->names[i] = names[i] != NULL ? chassis_base_strdup(names[i]) : NULL;
    }
    id->paths = (struct chassis_auth_tls_paths){id->names[0], id->names[1], id->names[2]};
    take_stamps(id, id->read); /* before: what changes meanwhile is read again */
    int rc = chassis_auth_tls_load(&id->paths, &tls, err);
    if (rc != 0) {
        identity_free(id);
        return rc;
    }
    memcpy(id->seen, id->read, sizeof id->seen);
    id->refs = 1;
    *ret_identity = id;
    pthread_mutex_lock(&env.lock);
    id->content = content_new(&tls);
    pthread_mutex_unlock(&env.lock);
    if (name_of(id) != NULL) {
        struct chassis_label label = {"file", name_of(id)};
        id->is_refused = chassis_gauge("chassis_certificate_refused",
                                       "1 while the TLS files on disk cannot be used.", &label, 1);
        chassis_gauge_set(id->is_refused, 0);
    }
    show_content(id, &id->content->tls);
    tell_age(id, &id->content->tls);
    return 0;
}

/* Under `looking`. */
static int open_new(const char *const names[PARTS], struct chassis_auth_identity **ret_identity,
                    struct chassis_error *err)
{
    struct chassis_auth_identity *id = NULL;
    int rc = identity_new(names, &id, err);
    if (rc == 0 && env.looker == NULL) {
        rc = looker_start(&env.looker, err);
    }
    if (rc != 0) {
        if (id != NULL) {
            identity_free(id);
        }
        return rc;
    }
    chassis_list_append(&env.identities, &id->link);
    *ret_identity = id;
    return 0;
}

int chassis_auth_identity_open(const char *ca, const char *certificate, const char *key,
                               struct chassis_auth_identity **ret_identity,
                               struct chassis_error *err)
{
    const char *names[PARTS] = {ca, certificate, key};
    int rc = 0;
    pthread_mutex_lock(&env.looking);
    struct chassis_auth_identity *id = find(names);
    if (id != NULL) {
        id->refs++;
        *ret_identity = id;
    } else {
        rc = open_new(names, ret_identity, err);
    }
    pthread_mutex_unlock(&env.looking);
    return rc;
}

void chassis_auth_identity_close(struct chassis_auth_identity *identity)
{
    struct looker *looker = NULL;
    if (identity == NULL) {
        return;
    }
    pthread_mutex_lock(&env.looking);
    bool last = --identity->refs == 0;
    if (last) {
        CHASSIS_ASSERT(chassis_list_empty(&identity->watches));
        chassis_list_remove(&identity->link);
        if (chassis_list_empty(&env.identities)) {
            looker = env.looker;
            env.looker = NULL;
        }
    }
    pthread_mutex_unlock(&env.looking);
    looker_stop(looker);
    if (last) {
        identity_free(identity);
    }
}

void chassis_auth_watch_start(struct chassis_auth_identity *identity,
                              struct chassis_auth_watch *watch)
{
    pthread_mutex_lock(&env.looking);
    chassis_list_append(&identity->watches, &watch->link);
    pthread_mutex_unlock(&env.looking);
}

void chassis_auth_watch_stop(struct chassis_auth_watch *watch)
{
    pthread_mutex_lock(&env.looking);
    chassis_list_remove(&watch->link);
    pthread_mutex_unlock(&env.looking);
}
