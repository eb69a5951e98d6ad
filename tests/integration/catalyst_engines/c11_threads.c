/* C11 threads as POSIX threads, in this program only and only under ThreadSanitizer.
 *
 * librdkafka starts its threads by thrd_create, which the sanitizer of GCC 12 does not know: it never
 * hears of them and dies at their first call that it watches. Debian's C library has the same types
 * below both, so what librdkafka is given here are the functions that the sanitizer does watch.
 *
 * Threads: any.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "one mutex");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "one condition");
_Static_assert(sizeof(thrd_t) == sizeof(pthread_t), "one thread");

struct start {
    thrd_start_t run;
    void *data;
};

static void *run(void *data)
{
    struct start start = *(struct start *)data;
    free(data);
    return (void *)(intptr_t)start.run(start.data);
}

static int result(int rc)
{
    return rc == 0 ? thrd_success : rc == ETIMEDOUT ? thrd_timedout : thrd_error;
}

int thrd_create(thrd_t *ret_thread, thrd_start_t function, void *data)
{
    struct start *start = malloc(sizeof *start);
    if (start == NULL) {
        return thrd_nomem;
    }
    *start = (struct start){function, data};
    int rc = pthread_create(ret_thread, NULL, run, start);
    if (rc != 0) {
        free(start);
    }
    return result(rc);
}

int thrd_join(thrd_t thread, int *ret_result)
{
    void *value = NULL;
    int rc = pthread_join(thread, &value);
    if (rc == 0 && ret_result != NULL) {
        *ret_result = (int)(intptr_t)value;
    }
    return result(rc);
}

int mtx_init(mtx_t *mutex, int type)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, (type & mtx_recursive) != 0 ? PTHREAD_MUTEX_RECURSIVE
                                                                       : PTHREAD_MUTEX_NORMAL);
    int rc = pthread_mutex_init((pthread_mutex_t *)mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return result(rc);
}

void mtx_destroy(mtx_t *mutex)
{
    pthread_mutex_destroy((pthread_mutex_t *)mutex);
}

int mtx_lock(mtx_t *mutex)
{
    return result(pthread_mutex_lock((pthread_mutex_t *)mutex));
}

int mtx_unlock(mtx_t *mutex)
{
    return result(pthread_mutex_unlock((pthread_mutex_t *)mutex));
}

int cnd_init(cnd_t *condition)
{
    return result(pthread_cond_init((pthread_cond_t *)condition, NULL));
}

void cnd_destroy(cnd_t *condition)
{
    pthread_cond_destroy((pthread_cond_t *)condition);
}

int cnd_signal(cnd_t *condition)
{
    return result(pthread_cond_signal((pthread_cond_t *)condition));
}

int cnd_broadcast(cnd_t *condition)
{
    return result(pthread_cond_broadcast((pthread_cond_t *)condition));
}

int cnd_wait(cnd_t *condition, mtx_t *mutex)
{
    return result(pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex));
}

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until)
{
    return result(
        pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until));
}
