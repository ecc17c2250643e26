/*
 * Preloaded into the daemon: its wall clock says what the file WALL_CLOCK says. Of the numbers in it (nanoseconds), the
 * first is added to the true time; the second, unless it is 0, is told in place of any. The third is added to what
 * measures durations (CLOCK_MONOTONIC), as if that much time had passed. Who waits until a moment of either clock has
 * read it here, and is let wait until that moment of the true one.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static volatile const int64_t *settings;

__attribute__((constructor)) static void open_settings(void)
{
    const char *path = getenv("WALL_CLOCK");
    int descriptor = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *found;

    if (descriptor < 0)
        return;
    found = mmap(NULL, 3 * sizeof *settings, PROT_READ, MAP_SHARED, descriptor, 0);
    if (found != MAP_FAILED)
        settings = found;
    close(descriptor);
}

int clock_gettime(clockid_t clock, struct timespec *told)
{
    int status = (int)syscall(SYS_clock_gettime, clock, told);
    int64_t now_ns;

    if (status != 0 || settings == NULL)
        return status;
    if (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE) {
        now_ns = told->tv_sec * SECOND + told->tv_nsec + settings[2];
        told->tv_sec = now_ns / SECOND;
        told->tv_nsec = now_ns % SECOND;
    }
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
        return status;
    now_ns = settings[1] ? settings[1] : told->tv_sec * SECOND + told->tv_nsec + settings[0];
    told->tv_sec = now_ns / SECOND;
    told->tv_nsec = now_ns % SECOND;
    return 0;
}

int gettimeofday(struct timeval *restrict told, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    told->tv_sec = now.tv_sec;
    told->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *told)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (told != NULL)
        *told = now.tv_sec;
    return now.tv_sec;
}

static struct timespec true_moment(clockid_t clock, const struct timespec *told)
{
    int64_t moment_ns = told->tv_sec * SECOND + told->tv_nsec;
    struct timespec moment;

    if (settings != NULL && clock == CLOCK_MONOTONIC)
        moment_ns -= settings[2];
    if (settings != NULL && clock == CLOCK_REALTIME && !settings[1])
        moment_ns -= settings[0];
    if (moment_ns < 0)
        moment_ns = 0;
    moment.tv_sec = moment_ns / SECOND;
    moment.tv_nsec = moment_ns % SECOND;
    return moment;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *asked, struct timespec *left)
{
    static int (*sleep_on)(clockid_t, int, const struct timespec *, struct timespec *);
    struct timespec moment = flags & TIMER_ABSTIME ? true_moment(clock, asked) : *asked;

    if (sleep_on == NULL)
        *(void **)&sleep_on = dlsym(RTLD_NEXT, "clock_nanosleep");
    return sleep_on(clock, flags, &moment, left);
}

int sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until)
{
    static int (*wait_on)(sem_t *, clockid_t, const struct timespec *);
    struct timespec moment = true_moment(clock, until);

    if (wait_on == NULL)
        *(void **)&wait_on = dlsym(RTLD_NEXT, "sem_clockwait");
    return wait_on(semaphore, clock, &moment);
}

int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock,
                           const struct timespec *until)
{
    static int (*wait_on)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
    struct timespec moment = true_moment(clock, until);

    if (wait_on == NULL)
        *(void **)&wait_on = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
    return wait_on(condition, mutex, clock, &moment);
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until)
{
    /* Which clock a condition goes by cannot be asked; no machine has been up for as long as it is since 1970. */
    clockid_t clock = until->tv_sec < 1000000000 ? CLOCK_MONOTONIC : CLOCK_REALTIME;

    return pthread_cond_clockwait(condition, mutex, clock, until);
}
