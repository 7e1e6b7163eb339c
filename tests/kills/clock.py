"""A clock that jumps, for the processes that are started with its variables.

A library of some lines, compiled here, stands before libc's: whoever asks for the time of day gets it with the seconds
added that a mapped file holds, so that the clock of a running process jumps when the file changes. As when a real clock
is set, waits for a length of time are not changed by it. What differs from a clock that is set: the kernel's own times,
such as files' times of change, stay what they are.
"""

import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
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

static const volatile int64_t *ahead;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("KILLS_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(0, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) ahead = mapped;
    close(file);
}

static int64_t seconds(void) { return ahead ? *ahead : 0; }

int clock_gettime(clockid_t which, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, which, now);
    if (!failed && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) now->tv_sec += seconds();
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    int failed = syscall(SYS_gettimeofday, now, zone);
    if (!failed && now) now->tv_sec += seconds();
    return failed;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

/* A deadline that was reckoned with the moved clock, for the kernel, whose own has not moved. */
static struct timespec kernels(const struct timespec *deadline) {
    struct timespec moved = *deadline;
    moved.tv_sec -= seconds();
    return moved;
}

int sem_timedwait(sem_t *semaphore, const struct timespec *deadline) {
    struct timespec moved = kernels(deadline);
    return sem_clockwait(semaphore, CLOCK_REALTIME, &moved);
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *deadline) {
    /* Of a condition with the monotonic clock it is seconds since the start of the machine. */
    if (deadline->tv_sec < 1000000000) return pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, deadline);
    struct timespec moved = kernels(deadline);
    return pthread_cond_clockwait(condition, mutex, CLOCK_REALTIME, &moved);
}
"""


class Clock:
    """The clock of one runner."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file, library = folder / "clock", folder / "clock.so"
        self.set(0)
        (folder / "clock.c").write_text(SOURCE)
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", library, folder / "clock.c"]
        subprocess.run(command, check=True)
        self.variables = {"LD_PRELOAD": str(library), "KILLS_CLOCK": str(self.file)}

    def set(self, ahead: int) -> None:
        """Let it be so many seconds ahead of the machine's."""
        # In place: a new file would not be the one that is mapped.
        with self.file.open("r+b" if self.file.exists() else "w+b") as file:
            file.write(struct.pack("=q", ahead))


def compiler() -> bool:
    """Whether a C compiler is here."""
    return shutil.which("cc") is not None
