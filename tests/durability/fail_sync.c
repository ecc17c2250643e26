/* Preloaded into the daemon: every sync fails with EIO once the file named by FAIL_SYNC_WHEN exists. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int must_fail(void)
{
    const char *flag = getenv("FAIL_SYNC_WHEN");
    return flag != NULL && access(flag, F_OK) == 0;
}

int fdatasync(int descriptor)
{
    int (*next)(int) = dlsym(RTLD_NEXT, "fdatasync");
    if (must_fail()) {
        errno = EIO;
        return -1;
    }
    return next(descriptor);
}

int fsync(int descriptor)
{
    int (*next)(int) = dlsym(RTLD_NEXT, "fsync");
    if (must_fail()) {
        errno = EIO;
        return -1;
    }
    return next(descriptor);
}

int msync(void *start, size_t length, int flags)
{
    int (*next)(void *, size_t, int) = dlsym(RTLD_NEXT, "msync");
    if (must_fail()) {
        errno = EIO;
        return -1;
    }
    return next(start, length, flags);
}
