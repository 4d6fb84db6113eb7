/* SPDX-License-Identifier: (Apache-2.0 OR MIT)
 *
 * System calls that fail, or that a signal meets, on demand; for LD_PRELOAD. Does nothing unless it is told to by
 *
 *   FAULTS_CALLS    kinds of calls, with commas: open write truncate sync name remove mkdir attr read lock fork thread
 *   FAULTS_PATH     only what is below this directory; of calls that name no path, all
 *   FAULTS_ERRNO    what they fail with
 *   FAULTS_SKIP     calls that work before (0); FAULTS_TIMES: calls that fail then (all)
 *   FAULTS_SIGNAL   sent to the whole process group before call number FAULTS_SKIP, which then goes on
 *   FAULTS_CLOCK    seconds that the wall clock is wrong by
 *   FAULTS_COUNTER  a file of 8 bytes that counts these calls, in all processes together
 *
 * in the environment at the start, or when faults_arm() is called, which a forked process does.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static const char *const KINDS[] = {"open", "write",  "truncate", "sync", "name", "remove", "mkdir",
                                    "attr", "read", "lock",     "fork", "thread"};
enum { OPEN, WRITE, TRUNCATE, SYNC, NAME, REMOVE, MKDIR, ATTR, READ, LOCK, FORK, THREAD, KIND_COUNT };

static int armed[KIND_COUNT];
static int active, number, signal_number;
static char directory[4096];
static long skip, times, clock_offset;
static int64_t own_count, *count = &own_count;

static long setting(const char *name, long otherwise) {
    const char *value = getenv(name);
    return value && *value ? atol(value) : otherwise;
}

static int is_listed(const char *words, const char *word) {
    size_t length = strlen(word);
    for (const char *at = strstr(words, word); at; at = strstr(at + 1, word))
        if ((at == words || at[-1] == ',') && (at[length] == ',' || at[length] == 0))
            return 1;
    return 0;
}

__attribute__((constructor)) void faults_arm(void) {
    const char *calls = getenv("FAULTS_CALLS"), *path = getenv("FAULTS_PATH"), *file = getenv("FAULTS_COUNTER");
    active = 0;
    clock_offset = setting("FAULTS_CLOCK", 0);
    if (!calls)
        return;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        armed[kind] = is_listed(calls, KINDS[kind]);
        active |= armed[kind];
    }
    snprintf(directory, sizeof directory, "%s", path ? path : "");
    number = (int)setting("FAULTS_ERRNO", 0);
    signal_number = (int)setting("FAULTS_SIGNAL", 0);
    skip = setting("FAULTS_SKIP", 0);
    times = setting("FAULTS_TIMES", -1);
    own_count = 0;
    count = &own_count;
    if (file && *file) {
        int descriptor = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (descriptor >= 0 && syscall(SYS_ftruncate, descriptor, sizeof(int64_t)) == 0) {
            void *shared = mmap(NULL, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
            if (shared != MAP_FAILED)
                count = shared;
        }
        syscall(SYS_close, descriptor);
    }
}

/* Whether the call is to fail; errno is then set. */
static int fails(void) {
    int64_t now = __atomic_fetch_add(count, 1, __ATOMIC_SEQ_CST);
    if (signal_number) {
        if (now == skip)
            kill(0, signal_number);
        return 0;
    }
    if (now < skip || (times >= 0 && now >= skip + times) || !number)
        return 0;
    errno = number;
    return 1;
}

static int is_below(const char *path) {
    size_t length = strlen(directory);
    return strncmp(path, directory, length) == 0 && (!length || path[length] == '/' || path[length] == 0);
}

static int of_descriptor(int descriptor) {
    char link[64], target[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length <= 0 || target[0] != '/')
        return 0;
    target[length] = 0;
    return strncmp(target, "/dev/", 5) != 0 || strncmp(target, "/dev/shm/", 9) == 0 ? is_below(target) : 0;
}

static int of_path(int at, const char *path) {
    if (!path)
        return of_descriptor(at);
    if (path[0] == '/')
        return is_below(path);
    if (at != AT_FDCWD)
        return of_descriptor(at);
    char here[4096];
    return getcwd(here, sizeof here) && is_below(here);
}

#define MEETS_PATH(kind, at, path) (active && armed[kind] && of_path(at, path) && fails())
#define MEETS_DESCRIPTOR(kind, descriptor) (active && armed[kind] && of_descriptor(descriptor) && fails())
#define MEETS(kind) (active && armed[kind] && fails())
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* -- opening: for writing it is "open", for reading "read" -- */
static int meets_open(int at, const char *path, int flags) {
    int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT);
    return writes ? MEETS_PATH(OPEN, at, path) : 0;
}

#define MODE                                                                                                           \
    va_list list;                                                                                                      \
    va_start(list, flags);                                                                                             \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;                                            \
    va_end(list)

int open(const char *path, int flags, ...) {
    MODE;
    return meets_open(AT_FDCWD, path, flags) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE;
    return meets_open(AT_FDCWD, path, flags) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
int openat(int at, const char *path, int flags, ...) {
    MODE;
    return meets_open(at, path, flags) ? -1 : (int)syscall(SYS_openat, at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...) {
    MODE;
    return meets_open(at, path, flags) ? -1 : (int)syscall(SYS_openat, at, path, flags, mode);
}

/* -- the rest is the same wrapper again and again -- */
#define OF_PATH(type, name, kind, at, path, parameters, arguments)                                                     \
    type name parameters { return MEETS_PATH(kind, at, path) ? -1 : NEXT(name) arguments; }
#define OF_DESCRIPTOR(type, name, kind, descriptor, parameters, arguments)                                             \
    type name parameters { return MEETS_DESCRIPTOR(kind, descriptor) ? -1 : NEXT(name) arguments; }

OF_DESCRIPTOR(ssize_t, write, WRITE, fd, (int fd, const void *data, size_t size), (fd, data, size))
OF_DESCRIPTOR(ssize_t, writev, WRITE, fd, (int fd, const struct iovec *v, int n), (fd, v, n))
OF_DESCRIPTOR(ssize_t, pwrite, WRITE, fd, (int fd, const void *d, size_t n, off_t at), (fd, d, n, at))
OF_DESCRIPTOR(ssize_t, pwrite64, WRITE, fd, (int fd, const void *d, size_t n, off64_t at), (fd, d, n, at))
OF_DESCRIPTOR(ssize_t, sendfile64, WRITE, fd, (int fd, int from, off64_t *at, size_t n), (fd, from, at, n))
OF_DESCRIPTOR(ssize_t, copy_file_range, WRITE, to, (int from, off64_t *a, int to, off64_t *b, size_t n, unsigned f), (from, a, to, b, n, f))
OF_DESCRIPTOR(int, ftruncate, TRUNCATE, fd, (int fd, off_t size), (fd, size))
OF_DESCRIPTOR(int, ftruncate64, TRUNCATE, fd, (int fd, off64_t size), (fd, size))
OF_DESCRIPTOR(int, fsync, SYNC, fd, (int fd), (fd))
OF_DESCRIPTOR(int, fdatasync, SYNC, fd, (int fd), (fd))
OF_DESCRIPTOR(int, fchmod, ATTR, fd, (int fd, mode_t mode), (fd, mode))
OF_DESCRIPTOR(int, fchown, ATTR, fd, (int fd, uid_t u, gid_t g), (fd, u, g))
OF_DESCRIPTOR(int, futimens, ATTR, fd, (int fd, const struct timespec t[2]), (fd, t))
OF_DESCRIPTOR(ssize_t, read, READ, fd, (int fd, void *data, size_t size), (fd, data, size))
OF_DESCRIPTOR(ssize_t, pread, READ, fd, (int fd, void *data, size_t n, off_t at), (fd, data, n, at))
OF_DESCRIPTOR(ssize_t, pread64, READ, fd, (int fd, void *data, size_t n, off64_t at), (fd, data, n, at))
OF_DESCRIPTOR(int, flock, LOCK, fd, (int fd, int how), (fd, how))
OF_PATH(int, rename, NAME, AT_FDCWD, to, (const char *from, const char *to), (from, to))
OF_PATH(int, renameat, NAME, a, to, (int f, const char *from, int a, const char *to), (f, from, a, to))
OF_PATH(int, link, NAME, AT_FDCWD, to, (const char *from, const char *to), (from, to))
OF_PATH(int, linkat, NAME, a, to, (int f, const char *from, int a, const char *to, int flags), (f, from, a, to, flags))
OF_PATH(int, symlink, NAME, AT_FDCWD, to, (const char *target, const char *to), (target, to))
OF_PATH(int, symlinkat, NAME, a, to, (const char *target, int a, const char *to), (target, a, to))
OF_PATH(int, unlink, REMOVE, AT_FDCWD, path, (const char *path), (path))
OF_PATH(int, unlinkat, REMOVE, a, path, (int a, const char *path, int flags), (a, path, flags))
OF_PATH(int, rmdir, REMOVE, AT_FDCWD, path, (const char *path), (path))
OF_PATH(int, mkdir, MKDIR, AT_FDCWD, path, (const char *path, mode_t mode), (path, mode))
OF_PATH(int, mkdirat, MKDIR, a, path, (int a, const char *path, mode_t mode), (a, path, mode))
OF_PATH(int, chmod, ATTR, AT_FDCWD, path, (const char *path, mode_t mode), (path, mode))
OF_PATH(int, fchmodat, ATTR, a, path, (int a, const char *path, mode_t mode, int flags), (a, path, mode, flags))
OF_PATH(int, utimensat, ATTR, a, path, (int a, const char *path, const struct timespec t[2], int f), (a, path, t, f))
OF_PATH(int, lchown, ATTR, AT_FDCWD, path, (const char *path, uid_t u, gid_t g), (path, u, g))

static int locks(int command) {
    return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW;
}
#define FCNTL(name)                                                                                                    \
    int name(int fd, int command, ...) {                                                                               \
        va_list list;                                                                                                  \
        va_start(list, command);                                                                                       \
        void *argument = va_arg(list, void *);                                                                         \
        va_end(list);                                                                                                  \
        if (locks(command) && MEETS_DESCRIPTOR(LOCK, fd))                                                              \
            return -1;                                                                                                 \
        return NEXT(name)(fd, command, argument);                                                                      \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

pid_t fork(void) { return MEETS(FORK) ? -1 : NEXT(fork)(); }

/* vfork() is none that a wrapper can call; who uses it (subprocess) takes what fork() gives */
pid_t vfork(void) { return fork(); }

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    return MEETS(THREAD) ? number : NEXT(pthread_create)(thread, attributes, run, argument);
}

int clock_gettime(clockid_t clock, struct timespec *found) {
    int result = (int)syscall(SYS_clock_gettime, clock, found);
    if (result == 0 && clock == CLOCK_REALTIME)
        found->tv_sec += clock_offset;
    return result;
}
