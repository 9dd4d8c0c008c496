/* Stands between a node and the C library: wrong clocks, and disks whose syncs are slow, fail or
 * lie. Loaded by LD_PRELOAD; what it does is read, at each call, from a small shared file. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SYNC_HONEST = 0, SYNC_LIES = 1, SYNC_FAILS = 2 };

struct control {
    volatile int64_t wall_offset_ns;
    volatile int64_t sync_delay_ns;
    volatile int64_t sync_mode;
    volatile int64_t syncs;
};

static const int64_t SECOND_NS = 1000000000;
static struct control *control;

__attribute__((constructor)) static void load(void)
{
    const char *path = getenv("RAFTQ_CHAOS_SHIM");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        control = mapped;
}

static int synced(int file, const char *name)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (!control)
        return real(file);
    __atomic_add_fetch(&control->syncs, 1, __ATOMIC_RELAXED);
    int64_t delay = control->sync_delay_ns;
    if (delay > 0) {
        struct timespec pause = {delay / SECOND_NS, delay % SECOND_NS};
        nanosleep(&pause, NULL);
    }
    if (control->sync_mode == SYNC_LIES)
        return 0;
    if (control->sync_mode == SYNC_FAILS) {
        errno = EIO;
        return -1;
    }
    return real(file);
}

int fsync(int file) { return synced(file, "fsync"); }
int fdatasync(int file) { return synced(file, "fdatasync"); }

static void shift(struct timespec *at)
{
    int64_t nanoseconds = at->tv_nsec + (control ? control->wall_offset_ns : 0);
    at->tv_sec += nanoseconds / SECOND_NS;
    nanoseconds %= SECOND_NS;
    if (nanoseconds < 0) {
        nanoseconds += SECOND_NS;
        at->tv_sec -= 1;
    }
    at->tv_nsec = nanoseconds;
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, at);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        shift(at);
    return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    (void)zone;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}
