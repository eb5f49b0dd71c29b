/* Faults for a program that is not changed: loaded with LD_PRELOAD, told what to do by a file in shared memory.

   Calls on files below two folders are counted, in all processes of the run together: `output` for what is written,
   `input` for what is read. At the n-th one the fault happens, whatever it is. With `recording` set, what would be lost
   in a power cut is written down: see power_loss.py, which reads it. The structure is control.py's. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { NOTHING, FAIL, SIGNAL, CLOCK, SWAP };
enum { WRITE = 1, SYNC = 2, NAME = 4, CREATE = 8, READ = 16, OPEN = 32, LOOK = 64 };

struct control {
  int32_t armed, action, error, signal, half, recording, victim, fired;
  int32_t calls, strangers;
  int64_t at, span, clock_ns, boot_ns;
  int64_t count;
  int64_t by_kind[7];
  char output[256], input[256], log[256], place[256], other[256];
};

static struct control *control;
static int log_file = -1;

#define REAL(name) ({ static __typeof__(&name) f; if (!f) f = (__typeof__(&name))dlsym(RTLD_NEXT, #name); f; })

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("AVPENET_FAULTS");
  int file = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0) : -1;
  if (file < 0) return;
  void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (at != MAP_FAILED) control = at;
  syscall(SYS_close, file);
}

static int below(const char *path, const char *folder) {
  size_t length = strlen(folder);
  return length && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

/* The path of a descriptor, or of a name relative to one; empty where it is none of a file. */
static void path_of(int descriptor, const char *name, char *path) {
  char link[64];
  path[0] = 0;
  if (name && name[0] == '/' && strncmp(name, "/dev/fd/", 8) && strncmp(name, "/proc/self/fd/", 14)) {
    snprintf(path, 512, "%s", name);
    return;
  }
  if (name && name[0] == '/') { descriptor = atoi(strrchr(name, '/') + 1); name = NULL; }
  if (name && descriptor == AT_FDCWD) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, 511);
  path[length > 0 ? length : 0] = 0;
  if (name && name[0] && length > 0) snprintf(path + length, 512 - length, "/%s", name);
}

/* The worker process that makes this call, itself or in a decoder of its own; 0 for the run's own process. */
static int worker(void) {
  const char *pid = getenv("AVPENET_FAULTS_WORKER");
  return pid ? atoi(pid) : 0;
}

/* A folder disappears, and another one may take its place. */
static void swap(void) {
  char away[300];
  snprintf(away, sizeof away, "%s.away", control->place);
  syscall(SYS_renameat, AT_FDCWD, control->place, AT_FDCWD, away);
  if (control->other[0]) syscall(SYS_renameat, AT_FDCWD, control->other, AT_FDCWD, control->place);
}

/* Whether this call is to fail: with errno set. It may not return at all. */
static int fault(int kind, const char *path) {
  if (!control || !control->armed || !path[0]) return 0;
  int reads = kind & (READ | OPEN | LOOK);
  if (!below(path, reads ? control->input : control->output)) return 0;
  if (!reads && worker()) control->strangers = 1;
  if (control->victim < 0 && !worker()) return 0;
  __atomic_add_fetch(&control->by_kind[__builtin_ctz(kind)], 1, __ATOMIC_SEQ_CST);
  if (!(control->calls & kind)) return 0;
  int64_t number = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
  if (control->at <= 0 || number < control->at) return 0;
  if (control->action == FAIL) {
    if (control->span >= 0 && number >= control->at + control->span) return 0;
    control->fired = 1;
    errno = control->error;
    return 1;
  }
  if (number == control->at) {
    control->fired = 1;
    if (control->action == SWAP) swap();
    if (control->signal) { /* without a victim, whoever made the call */
      int victim = control->victim < 0 ? worker() : control->victim;
      syscall(SYS_kill, victim ? victim : syscall(SYS_getpid), control->signal);
    }
  }
  return 0;
}

static int fault_of(int kind, int descriptor) {
  char path[512];
  if (!control || !control->armed) return 0;
  path_of(descriptor, NULL, path);
  return fault(kind, path);
}

/* What was done: a line with numbers, two paths and the bytes that were written. */
static void record(char what, int descriptor, const char *first, const char *second, int64_t at, const void *data,
                   int64_t size) {
  struct stat state = {0};
  char head[1400], own[512];
  if (!control || !control->armed || !control->recording) return;
  if (descriptor >= 0 && !first) { path_of(descriptor, NULL, own); first = own; }
  if (!below(first, control->output)) return;
  if (descriptor >= 0) { if (syscall(SYS_fstat, descriptor, &state)) return; }
  else syscall(SYS_newfstatat, AT_FDCWD, first, &state, AT_SYMLINK_NOFOLLOW);
  if (log_file < 0) log_file = syscall(SYS_openat, AT_FDCWD, control->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  int length = snprintf(head, sizeof head, "%c\t%lld\t%lld\t%lld\t%s\t%s\n", what, (long long)state.st_ino,
                        (long long)at, (long long)size, first, second ? second : "");
  struct iovec parts[2] = {{head, length}, {(void *)data, data ? size : 0}};
  syscall(SYS_writev, log_file, parts, data ? 2 : 1);
}

static int64_t position(int descriptor) { return syscall(SYS_lseek, descriptor, 0, SEEK_CUR); }

ssize_t write(int descriptor, const void *data, size_t size) {
  int saved = errno;
  if (fault_of(WRITE, descriptor)) {
    if (!control->half || size < 2) return -1;
    size /= 2; /* a disk that is full takes what it has room for */
  }
  errno = saved;
  ssize_t done = syscall(SYS_write, descriptor, data, size);
  if (done > 0 && control && control->recording && control->armed) {
    saved = errno;
    record('W', descriptor, NULL, NULL, position(descriptor) - done, data, done);
    errno = saved;
  }
  return done;
}

static ssize_t put_at(int descriptor, const void *data, size_t size, off_t at) {
  if (fault_of(WRITE, descriptor)) return -1;
  ssize_t done = syscall(SYS_pwrite64, descriptor, data, size, at);
  if (done > 0) record('W', descriptor, NULL, NULL, at, data, done);
  return done;
}
ssize_t pwrite(int d, const void *data, size_t size, off_t at) { return put_at(d, data, size, at); }
ssize_t pwrite64(int d, const void *data, size_t size, off64_t at) { return put_at(d, data, size, at); }

static int sync_file(int descriptor, long number) {
  if (fault_of(SYNC, descriptor)) return -1;
  int result = syscall(number, descriptor);
  if (!result) record('F', descriptor, NULL, NULL, 0, NULL, 0);
  return result;
}
int fsync(int descriptor) { return sync_file(descriptor, SYS_fsync); }
int fdatasync(int descriptor) { return sync_file(descriptor, SYS_fdatasync); }

static int cut(int descriptor, off_t size) {
  if (fault_of(WRITE, descriptor)) return -1;
  int result = syscall(SYS_ftruncate, descriptor, size);
  if (!result) record('T', descriptor, NULL, NULL, size, NULL, 0);
  return result;
}
int ftruncate(int descriptor, off_t size) { return cut(descriptor, size); }
int ftruncate64(int descriptor, off64_t size) { return cut(descriptor, size); }

static int move(int from, const char *old, int to, const char *new, unsigned flags) {
  char first[512], second[512];
  path_of(from, old, first), path_of(to, new, second);
  if (fault(NAME, first)) return -1;
  int result = syscall(SYS_renameat2, from, old, to, new, flags);
  if (!result && control) record('R', -1, first, second, 0, NULL, 0);
  return result;
}
int rename(const char *old, const char *new) { return move(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat(int a, const char *old, int b, const char *new) { return move(a, old, b, new, 0); }
int renameat2(int a, const char *old, int b, const char *new, unsigned flags) { return move(a, old, b, new, flags); }

static int removed(int folder, const char *name, int flags) {
  char path[512];
  path_of(folder, name, path);
  if (fault(NAME, path)) return -1;
  int result = syscall(SYS_unlinkat, folder, name, flags);
  if (!result) record(flags ? 'D' : 'U', -1, path, NULL, 0, NULL, 0);
  return result;
}
int unlink(const char *name) { return removed(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return removed(AT_FDCWD, name, AT_REMOVEDIR); }
int unlinkat(int folder, const char *name, int flags) { return removed(folder, name, flags); }

int mkdirat(int folder, const char *name, mode_t mode) {
  char path[512];
  path_of(folder, name, path);
  if (fault(NAME, path)) return -1;
  int result = syscall(SYS_mkdirat, folder, name, mode);
  if (!result) record('M', -1, path, NULL, 0, NULL, 0);
  return result;
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

static int opened(int folder, const char *name, int flags, mode_t mode) {
  char path[512];
  if (control && control->armed) {
    int saved = errno;
    path_of(folder, name, path);
    if (fault(flags & O_CREAT ? CREATE : OPEN, path)) return -1;
    errno = saved;
  }
  int file = syscall(SYS_openat, folder, name, flags, mode);
  if (file >= 0 && control && control->armed && control->recording && flags & (O_CREAT | O_TRUNC)) {
    int saved = errno;
    record('C', file, path, NULL, (flags & O_TRUNC) != 0, NULL, 0);
    errno = saved;
  }
  return file;
}
#define MODE(flags) mode_t mode = 0; if (flags & (O_CREAT | __O_TMPFILE)) { va_list l; va_start(l, flags); mode = va_arg(l, mode_t); va_end(l); }
int open(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags, mode); }
int openat(int folder, const char *name, int flags, ...) { MODE(flags) return opened(folder, name, flags, mode); }
int openat64(int folder, const char *name, int flags, ...) { MODE(flags) return opened(folder, name, flags, mode); }

ssize_t read(int descriptor, void *data, size_t size) {
  int saved = errno;
  if (fault_of(READ, descriptor)) return -1;
  errno = saved;
  return syscall(SYS_read, descriptor, data, size);
}
ssize_t pread(int d, void *data, size_t size, off_t at) { return fault_of(READ, d) ? -1 : syscall(SYS_pread64, d, data, size, at); }
ssize_t pread64(int d, void *data, size_t size, off64_t at) { return fault_of(READ, d) ? -1 : syscall(SYS_pread64, d, data, size, at); }

static int looked(int folder, const char *name) {
  char path[512];
  if (!control || !control->armed || !name) return 0;
  path_of(folder, name, path);
  return fault(LOOK, path);
}
int stat(const char *name, struct stat *s) { return looked(AT_FDCWD, name) ? -1 : REAL(stat)(name, s); }
int stat64(const char *name, struct stat64 *s) { return looked(AT_FDCWD, name) ? -1 : REAL(stat64)(name, s); }
int lstat(const char *name, struct stat *s) { return looked(AT_FDCWD, name) ? -1 : REAL(lstat)(name, s); }
int lstat64(const char *name, struct stat64 *s) { return looked(AT_FDCWD, name) ? -1 : REAL(lstat64)(name, s); }
int fstatat(int f, const char *n, struct stat *s, int o) { return looked(f, n) ? -1 : REAL(fstatat)(f, n, s, o); }
int fstatat64(int f, const char *n, struct stat64 *s, int o) { return looked(f, n) ? -1 : REAL(fstatat64)(f, n, s, o); }
int access(const char *name, int mode) { return looked(AT_FDCWD, name) ? -1 : REAL(access)(name, mode); }
int faccessat(int f, const char *n, int m, int o) { return looked(f, n) ? -1 : REAL(faccessat)(f, n, m, o); }
DIR *opendir(const char *name) { return looked(AT_FDCWD, name) ? NULL : REAL(opendir)(name); }

/* The clocks jump once, as a clock does that is set, or that went on while the machine slept. */
static void jump(clockid_t clock, struct timespec *now) {
  if (!control || !control->armed || control->action != CLOCK) return;
  int64_t number = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
  if (number < control->at) return;
  int64_t by = clock == CLOCK_REALTIME ? control->clock_ns : clock == CLOCK_BOOTTIME ? control->boot_ns : 0;
  if (!by) return;
  control->fired = 1;
  int64_t all = now->tv_sec * 1000000000LL + now->tv_nsec + by;
  now->tv_sec = all / 1000000000LL, now->tv_nsec = all % 1000000000LL;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = REAL(clock_gettime)(clock, now);
  if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME)) jump(clock, now);
  return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec t;
  (void)zone;
  int result = clock_gettime(CLOCK_REALTIME, &t);
  now->tv_sec = t.tv_sec, now->tv_usec = t.tv_nsec / 1000;
  return result;
}
time_t time(time_t *now) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  if (now) *now = t.tv_sec;
  return t.tv_sec;
}
