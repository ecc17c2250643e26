/*
 * Preloaded into the daemon: notes every write and sync of the log's data file in a file of its own, in the order in
 * which they happen, with the time of the machine's monotonic clock.
 *
 * A write is noted before it is done, and a sync after it was done, so the notes never promise more than the disk.
 * RECORD_TO names the file of notes. With RECORD_NO_SYNC nothing is synced and no sync is noted: what a daemon would
 * be that only says so.
 *
 * A note is a kind, a time, an offset and a length (three 64-bit numbers after one byte padded to eight), and the bytes
 * of a write. Kinds: W a write, D the write before it is on disk, S all writes before it are on disk, T the file's length
 * was set.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define DATA_FILE "/log/data.mdb"
#define PIECES_MAX 1024

struct note {
    uint64_t kind;
    uint64_t time_ns;
    uint64_t offset;
    uint64_t length;
};

static int is_data_file(int descriptor)
{
    char link[64] = "/proc/self/fd/", digits[16], path[PATH_MAX];
    int length = 0, number = descriptor;
    size_t end = strlen(link), suffix = strlen(DATA_FILE);
    ssize_t count;

    if (descriptor < 0)
        return 0;
    do
        digits[length++] = '0' + number % 10;
    while (number /= 10);
    while (length)
        link[end++] = digits[--length];
    link[end] = 0;
    count = readlink(link, path, sizeof path);
    return count >= (ssize_t)suffix && memcmp(path + count - suffix, DATA_FILE, suffix) == 0;
}

static void take_note(char kind, off_t offset, size_t length, const struct iovec *pieces, int piece_count)
{
    static int notes = -1;
    struct timespec now;
    struct note note;
    struct iovec all[PIECES_MAX + 1];
    size_t wanted = sizeof note;
    int piece;

    if (notes < 0) {
        const char *path = getenv("RECORD_TO");
        if (path == NULL)
            return;
        notes = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (notes < 0)
            abort();
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    note.kind = (unsigned char)kind;
    note.time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    note.offset = (uint64_t)offset;
    note.length = length;
    all[0].iov_base = &note;
    all[0].iov_len = sizeof note;
    if (piece_count > PIECES_MAX - 1)
        abort();
    for (piece = 0; piece < piece_count; piece++) {
        all[piece + 1] = pieces[piece];
        wanted += pieces[piece].iov_len;
    }
    /* In one piece, so that notes of several processes never mix; without going through our own writev. */
    if (syscall(SYS_writev, notes, all, piece_count + 1) != (long)wanted)
        abort();
}

static int is_synced_write(int descriptor)
{
    return (fcntl(descriptor, F_GETFL) & O_DSYNC) != 0 && getenv("RECORD_NO_SYNC") == NULL;
}

ssize_t pwrite(int descriptor, const void *content, size_t count, off_t offset)
{
    ssize_t (*next)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
    struct iovec piece = {(void *)content, count};
    ssize_t done;

    if (!is_data_file(descriptor))
        return next(descriptor, content, count, offset);
    take_note('W', offset, count, &piece, 1);
    done = next(descriptor, content, count, offset);
    if (done == (ssize_t)count && is_synced_write(descriptor))
        take_note('D', offset, 0, NULL, 0);
    return done;
}

ssize_t pwrite64(int descriptor, const void *content, size_t count, off_t offset)
{
    return pwrite(descriptor, content, count, offset);
}

ssize_t writev(int descriptor, const struct iovec *pieces, int piece_count)
{
    ssize_t (*next)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
    size_t length = 0;
    int piece;
    ssize_t done;

    if (!is_data_file(descriptor))
        return next(descriptor, pieces, piece_count);
    for (piece = 0; piece < piece_count; piece++)
        length += pieces[piece].iov_len;
    take_note('W', lseek(descriptor, 0, SEEK_CUR), length, pieces, piece_count);
    done = next(descriptor, pieces, piece_count);
    if (done == (ssize_t)length && is_synced_write(descriptor))
        take_note('D', 0, 0, NULL, 0);
    return done;
}

ssize_t write(int descriptor, const void *content, size_t count)
{
    ssize_t (*next)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    struct iovec piece = {(void *)content, count};

    if (is_data_file(descriptor))
        take_note('W', lseek(descriptor, 0, SEEK_CUR), count, &piece, 1);
    return next(descriptor, content, count);
}

int ftruncate(int descriptor, off_t length)
{
    int (*next)(int, off_t) = dlsym(RTLD_NEXT, "ftruncate");

    if (is_data_file(descriptor))
        take_note('T', length, 0, NULL, 0);
    return next(descriptor, length);
}

static int synced(int descriptor, const char *name)
{
    int (*next)(int) = dlsym(RTLD_NEXT, name);
    int status;

    if (!is_data_file(descriptor))
        return next(descriptor);
    if (getenv("RECORD_NO_SYNC") != NULL)
        return 0;
    status = next(descriptor);
    if (status == 0)
        take_note('S', 0, 0, NULL, 0);
    return status;
}

int fdatasync(int descriptor)
{
    return synced(descriptor, "fdatasync");
}

int fsync(int descriptor)
{
    return synced(descriptor, "fsync");
}
