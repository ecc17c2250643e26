/*
 * Preloaded into the daemon: the disk under the log's data file is as bad as the files in the folder BAD_DISK say.
 * "writes-fail" is there: every write to it fails with EIO. "syncs-slow" is there: every sync of it takes half a second.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define DATA_FILE "/log/data.mdb"

static int is_bad(const char *how)
{
    char flag[PATH_MAX];
    const char *folder = getenv("BAD_DISK");

    if (folder == NULL)
        return 0;
    snprintf(flag, sizeof flag, "%s/%s", folder, how);
    return access(flag, F_OK) == 0;
}

static int is_data_file(int descriptor)
{
    char link[64], path[PATH_MAX];
    size_t suffix = strlen(DATA_FILE);
    ssize_t count;

    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    count = readlink(link, path, sizeof path);
    return count >= (ssize_t)suffix && memcmp(path + count - suffix, DATA_FILE, suffix) == 0;
}

static int write_must_fail(int descriptor)
{
    if (!is_bad("writes-fail") || !is_data_file(descriptor))
        return 0;
    errno = EIO;
    return 1;
}

ssize_t pwrite(int descriptor, const void *content, size_t count, off_t offset)
{
    ssize_t (*next)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
    return write_must_fail(descriptor) ? -1 : next(descriptor, content, count, offset);
}

ssize_t pwrite64(int descriptor, const void *content, size_t count, off_t offset)
{
    return pwrite(descriptor, content, count, offset);
}

ssize_t writev(int descriptor, const struct iovec *pieces, int count)
{
    ssize_t (*next)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
    return write_must_fail(descriptor) ? -1 : next(descriptor, pieces, count);
}

int fdatasync(int descriptor)
{
    int (*next)(int) = dlsym(RTLD_NEXT, "fdatasync");
    struct timespec half_a_second = {0, 500000000};

    if (is_bad("syncs-slow") && is_data_file(descriptor))
        nanosleep(&half_a_second, NULL);
    return next(descriptor);
}
