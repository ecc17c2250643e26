/*
 * Preloaded into the daemon: its wall clock says what the file WALL_CLOCK says. Of the numbers in it (nanoseconds), the
 * first is added to the true time; the second, unless it is 0, is told in place of any. The third is added to what
 * measures durations (CLOCK_MONOTONIC), as if that much time had passed.
 */

#define _GNU_SOURCE
#include <fcntl.h>
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
