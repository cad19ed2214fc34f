// Runs a program and makes one of its system calls fail, tear, wait, or be its last.
//
//   inject DIRECTORY KIND MODE FIRST TIMES ERRNO REPORT -- PROGRAM [ARGUMENT...]
//
// KIND     disk: calls on files below DIRECTORY; net: calls on sockets
// MODE     count: change nothing
//          fail:  calls FIRST to FIRST+TIMES-1 fail with ERRNO; TIMES 0 means all from FIRST on
//          short: the call moves half of its bytes and returns their number
//          torn:  the call moves half of its bytes and fails with ERRNO
//          kill:  the call moves half of its bytes, and the process is killed
//          delay: the call waits for a fifth of a second first
// REPORT   a file: a line for each call that was changed, and at the end `total N`
//
// The program keeps the process's number, so signals and its exit status are its own. Linux tells the
// calls to a child of it (seccomp's user notification), raw ones as well as those of the C library.
// Calls are numbered from 1 in the order in which they arrive, over all threads and child processes.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

// The kinds of a call's first arguments.
enum shape {
    BY_FD,        // a descriptor
    BY_FD_WRITES, // a descriptor, a buffer that is written from, its length
    BY_FD_READS,  // a descriptor, a buffer that is read into, its length
    BY_PATH,      // a path
    BY_PATH_AT,   // a descriptor of a directory, a path
    BY_MAPPING,   // as mmap: the descriptor is the fifth
};

static const struct call {
    int number;
    const char *name;
    enum shape shape;
    int net;  // of sockets, too
} CALLS[] = {
    {SYS_write, "write", BY_FD_WRITES, 1},
    {SYS_pwrite64, "pwrite", BY_FD_WRITES, 0},
    {SYS_writev, "writev", BY_FD, 1},
    {SYS_pwritev, "pwritev", BY_FD, 0},
    {SYS_read, "read", BY_FD_READS, 1},
    {SYS_pread64, "pread", BY_FD_READS, 0},
    {SYS_readv, "readv", BY_FD, 1},
    {SYS_preadv2, "preadv2", BY_FD, 0},
    {SYS_sendto, "send", BY_FD_WRITES, 1},
    {SYS_recvfrom, "recv", BY_FD_READS, 1},
    {SYS_sendmsg, "sendmsg", BY_FD, 1},
    {SYS_recvmsg, "recvmsg", BY_FD, 1},
    {SYS_accept4, "accept", BY_FD, 1},
    {SYS_shutdown, "shutdown", BY_FD, 1},
    {SYS_setsockopt, "setsockopt", BY_FD, 1},
    {SYS_getsockname, "getsockname", BY_FD, 1},
    {SYS_fsync, "fsync", BY_FD, 0},
    {SYS_fdatasync, "fdatasync", BY_FD, 0},
    {SYS_ftruncate, "ftruncate", BY_FD, 0},
    {SYS_fallocate, "fallocate", BY_FD, 0},
    {SYS_flock, "flock", BY_FD, 0},
    {SYS_getdents64, "getdents", BY_FD, 0},
    {SYS_fstatfs, "fstatfs", BY_FD, 0},
    {SYS_copy_file_range, "copy_file_range", BY_FD, 0},
    {SYS_mmap, "mmap", BY_MAPPING, 0},
    {SYS_openat, "open", BY_PATH_AT, 0},
    {SYS_statfs, "statfs", BY_PATH, 0},
    {SYS_unlinkat, "unlink", BY_PATH_AT, 0},
    {SYS_mkdirat, "mkdir", BY_PATH_AT, 0},
    {SYS_renameat2, "rename", BY_PATH_AT, 0},
#ifdef SYS_renameat
    {SYS_renameat, "rename", BY_PATH_AT, 0},
#endif
#ifdef SYS_rename
    {SYS_rename, "rename", BY_PATH, 0},
#endif
#ifdef SYS_unlink
    {SYS_unlink, "unlink", BY_PATH, 0},
#endif
#ifdef SYS_mkdir
    {SYS_mkdir, "mkdir", BY_PATH, 0},
#endif
#ifdef SYS_open
    {SYS_open, "open", BY_PATH, 0},
#endif
};
enum { CALL_COUNT = sizeof CALLS / sizeof *CALLS };

enum mode { COUNT, FAIL, SHORT, TORN, KILL, DELAY };
static const char *const MODES[] = {"count", "fail", "short", "torn", "kill", "delay"};

static const char *directory;
static int net;
static enum mode mode;
static unsigned long first, times;
static int error_number;
static FILE *report;

static void die(const char *what) {
    fprintf(stderr, "inject: %s: %s\n", what, strerror(errno));
    exit(99);
}

// Has the kernel report the calls of this process and its children; returns the descriptor for it.
static int listen_to_calls(void) {
    struct sock_filter code[3 + 2 * CALL_COUNT + 2];
    size_t n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < CALL_COUNT; i++) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CALLS[i].number, 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = n, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) die("no new privileges");
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

// Reads where a link below /proc leads; an empty text if it cannot be read.
static void link_of(char *out, pid_t pid, const char *format, int fd) {
    char link[64];
    int at = snprintf(link, sizeof link, "/proc/%d/", pid);
    snprintf(link + at, sizeof link - at, format, fd);
    ssize_t length = readlink(link, out, PATH_MAX - 1);
    out[length < 0 ? 0 : length] = 0;
}

// Finds the file or socket of a call.
static void target_of(char *out, const struct seccomp_notif *event, const struct call *call) {
    const __u64 *arguments = event->data.args;
    int at_directory = call->shape == BY_PATH_AT;
    switch (call->shape) {
    case BY_PATH:
    case BY_PATH_AT: {
        char path[PATH_MAX] = "";
        unsigned long from = arguments[at_directory];
        // To the end of its page at first: the next one may not be there.
        size_t page = 4096 - from % 4096;
        struct iovec here = {path, page}, there = {(void *)from, page};
        ssize_t got = process_vm_readv(event->pid, &here, 1, &there, 1, 0);
        if (got > 0 && !memchr(path, 0, got) && got < PATH_MAX) {
            struct iovec rest = {path + got, PATH_MAX - 1 - got};
            struct iovec more = {(void *)(from + got), PATH_MAX - 1 - got};
            process_vm_readv(event->pid, &rest, 1, &more, 1, 0);
        }
        path[PATH_MAX - 1] = 0;
        if (path[0] == '/') {
            strcpy(out, path);
            return;
        }
        int fd = (int)arguments[0];
        if (!at_directory || fd == AT_FDCWD) link_of(out, event->pid, "cwd", 0);
        else link_of(out, event->pid, "fd/%d", fd);
        size_t length = strlen(out);
        snprintf(out + length, PATH_MAX - length, "/%s", path);
        return;
    }
    case BY_MAPPING:
        if ((int)arguments[4] < 0) out[0] = 0;
        else link_of(out, event->pid, "fd/%d", (int)arguments[4]);
        return;
    default:
        link_of(out, event->pid, "fd/%d", (int)arguments[0]);
    }
}

// The process of a thread.
static pid_t process_of(pid_t thread) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", thread);
    FILE *status = fopen(path, "re");
    pid_t process = thread;
    while (status && fgets(line, sizeof line, status)) sscanf(line, "Tgid: %d", &process);
    if (status) fclose(status);
    return process;
}

// Returns 1 if a descriptor is a socket of the network, and not one between programs of this machine.
static int of_network(const struct seccomp_notif *event) {
    int process = syscall(SYS_pidfd_open, process_of(event->pid), 0);
    int fd = syscall(SYS_pidfd_getfd, process, (int)event->data.args[0], 0);
    int domain = 0;
    socklen_t length = sizeof domain;
    if (fd >= 0) {
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length);
        close(fd);
    }
    if (process >= 0) close(process);
    return domain == AF_INET || domain == AF_INET6;
}

// Does half of a call that moves bytes, in its place; returns their number, or -1.
static ssize_t half(const struct seccomp_notif *event, const struct call *call) {
    if (call->shape != BY_FD_WRITES && call->shape != BY_FD_READS) return -1;
    const __u64 *arguments = event->data.args;
    size_t length = arguments[2] / 2;
    if (length == 0) return -1;
    // A socket that gives less than was asked for has no more at that time, and programs rely on it.
    if (net && call->shape == BY_FD_READS) return -1;
    if (length > 1 << 20) length = 1 << 20;
    int process = syscall(SYS_pidfd_open, process_of(event->pid), 0);
    int fd = syscall(SYS_pidfd_getfd, process, (int)arguments[0], 0);
    void *bytes = malloc(length);
    struct iovec here = {bytes, length}, there = {(void *)arguments[1], length};
    ssize_t moved = -1;
    if (fd >= 0 && call->shape == BY_FD_WRITES &&
        process_vm_readv(event->pid, &here, 1, &there, 1, 0) == (ssize_t)length) {
        if (call->number == SYS_pwrite64) moved = pwrite(fd, bytes, length, arguments[3]);
        else if (call->number == SYS_sendto) moved = send(fd, bytes, length, arguments[3] | MSG_NOSIGNAL);
        else moved = write(fd, bytes, length);
    } else if (fd >= 0 && call->shape == BY_FD_READS) {
        if (call->number == SYS_pread64) moved = pread(fd, bytes, length, arguments[3]);
        else if (call->number == SYS_recvfrom) moved = recv(fd, bytes, length, arguments[3]);
        else moved = read(fd, bytes, length);
        if (moved < 0) moved = -errno;
        if (moved > 0) {
            here.iov_len = there.iov_len = moved;
            process_vm_writev(event->pid, &here, 1, &there, 1, 0);
        }
    }
    free(bytes);
    if (fd >= 0) close(fd);
    if (process >= 0) close(process);
    return moved;
}

static void answer(int listener, const struct seccomp_notif *event, unsigned long number,
                   const struct call *call, const char *target) {
    struct seccomp_notif_resp reply = {.id = event->id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    int due = number >= first && (times == 0 || number < first + times);
    if (number > 0 && due && mode != COUNT) {
        fprintf(report, "%s %lu %s %s\n", MODES[mode], number, call->name, target);
        fflush(report);
        struct timespec wait = {0, 200000000};
        ssize_t moved = -1;
        switch (mode) {
        case DELAY:
            nanosleep(&wait, NULL);
            break;
        case SHORT:
            moved = half(event, call);
            if (moved >= 0) reply.flags = 0, reply.val = moved;
            else if (moved < -1) reply.flags = 0, reply.error = moved;
            break;
        case TORN:
            half(event, call);
            reply.flags = 0;
            reply.error = -error_number;
            break;
        case FAIL:
            reply.flags = 0;
            reply.error = -error_number;
            break;
        case KILL:
            half(event, call);
            kill(process_of(event->pid), SIGKILL);
            reply.flags = 0;
            reply.error = -EIO;
            break;
        case COUNT:
            break;
        }
    }
    // Fails if the caller is gone.
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply);
}

static void supervise(int listener) {
    unsigned long number = 0;
    size_t prefix = strlen(directory);
    for (;;) {
        struct pollfd ready = {.fd = listener, .events = POLLIN};
        if (poll(&ready, 1, -1) < 0 && errno != EINTR) break;
        if (ready.revents & POLLHUP) break;
        if (!(ready.revents & POLLIN)) continue;
        struct seccomp_notif event;
        memset(&event, 0, sizeof event);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &event) != 0) continue;
        const struct call *call = CALLS;
        while (call < CALLS + CALL_COUNT && call->number != event.data.nr) call++;
        char target[2 * PATH_MAX] = "";
        if (call < CALLS + CALL_COUNT) target_of(target, &event, call);
        int counts = net ? call->net && strncmp(target, "socket:", 7) == 0 && of_network(&event)
                         : strncmp(target, directory, prefix) == 0;
        answer(listener, &event, counts ? ++number : 0, call, target);
    }
    fprintf(report, "total %lu\n", number);
    fclose(report);
}

int main(int count, char **arguments) {
    if (count < 10 || strcmp(arguments[8], "--") != 0) {
        fprintf(stderr, "usage: inject DIRECTORY KIND MODE FIRST TIMES ERRNO REPORT -- PROGRAM...\n");
        return 99;
    }
    directory = arguments[1];
    net = strcmp(arguments[2], "net") == 0;
    while (mode < DELAY && strcmp(arguments[3], MODES[mode]) != 0) mode++;
    first = strtoul(arguments[4], NULL, 10);
    times = strtoul(arguments[5], NULL, 10);
    error_number = atoi(arguments[6]);
    report = fopen(arguments[7], "we");
    if (!report) die(arguments[7]);

    // The child supervises, so that the program keeps the number of this process. They share their
    // descriptors until the program starts, which is how the child gets the listener.
    int *listener = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (listener == MAP_FAILED) die("shared memory");
    *listener = -1;
    pid_t child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
    if (child < 0) die("clone");
    if (child == 0) {
        while (__atomic_load_n(listener, __ATOMIC_ACQUIRE) == -1) sched_yield();
        if (*listener < 0 || unshare(CLONE_FILES) != 0) _exit(99);
        int mine = *listener;
        __atomic_store_n(listener + 1, 1, __ATOMIC_RELEASE);
        // Whoever reads what the program prints sees its end.
        close(0), close(1), close(2);
        signal(SIGPIPE, SIG_IGN), signal(SIGINT, SIG_IGN), signal(SIGTERM, SIG_IGN);
        supervise(mine);
        _exit(0);
    }
    prctl(PR_SET_PTRACER, child, 0, 0, 0);
    int found = listen_to_calls();
    __atomic_store_n(listener, found < 0 ? -2 : found, __ATOMIC_RELEASE);
    if (found < 0) die("seccomp cannot tell the calls");
    while (__atomic_load_n(listener + 1, __ATOMIC_ACQUIRE) == 0) sched_yield();
    execvp(arguments[9], arguments + 9);
    die(arguments[9]);
}
