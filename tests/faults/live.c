// A library that counts the bytes that a program has allocated and not freed. The sum is in a file that
// anybody may read while the program runs: eight bytes, in the order of the machine. LIVE_BYTES names the
// file; a program without it, or one that another such program started, is left alone.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static _Atomic(int64_t) before_the_file;
static _Atomic(int64_t) *live = &before_the_file;

__attribute__((constructor)) static void map_file(void) {
    const char *path = getenv("LIVE_BYTES");
    if (!path) return;
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) return;
    if (ftruncate(file, sizeof *live) == 0) {
        void *place = mmap(NULL, sizeof *live, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (place != MAP_FAILED) {
            _Atomic(int64_t) *shared = place;
            atomic_store(shared, atomic_load(&before_the_file));
            live = shared;
        }
    }
    close(file);
}

static void *came(void *memory) {
    if (memory) atomic_fetch_add_explicit(live, malloc_usable_size(memory), memory_order_relaxed);
    return memory;
}

static void goes(void *memory) {
    if (memory) atomic_fetch_sub_explicit(live, malloc_usable_size(memory), memory_order_relaxed);
}

// The C library's own functions under the names that it keeps for such libraries.
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

void *malloc(size_t size) { return came(__libc_malloc(size)); }
void *calloc(size_t many, size_t size) { return came(__libc_calloc(many, size)); }
void *aligned_alloc(size_t align, size_t size) { return came(__libc_memalign(align, size)); }
void *memalign(size_t align, size_t size) { return came(__libc_memalign(align, size)); }

void *realloc(void *old, size_t size) {
    size_t was = old ? malloc_usable_size(old) : 0;
    void *new = __libc_realloc(old, size);
    if (new || size == 0) {
        atomic_fetch_sub_explicit(live, was, memory_order_relaxed);
        came(new);
    }
    return new;
}

int posix_memalign(void **into, size_t align, size_t size) {
    void *memory = came(__libc_memalign(align, size));
    if (!memory) return ENOMEM;
    *into = memory;
    return 0;
}

void free(void *memory) {
    goes(memory);
    __libc_free(memory);
}
