// A library that lets one allocation of a program fail. The count begins with an allocation of
// FIRST_SIZE bytes; allocation number MEMORY_FAILS after it, counted from 1, gets nothing. At the
// next allocation of LAST_SIZE bytes the count ends, and the number goes to standard error.

#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FIRST_SIZE 1234577
#define LAST_SIZE 1234589

static atomic_bool counts;
static atomic_ulong count;
static unsigned long fails;

__attribute__((constructor)) static void read_number(void) {
    const char *text = getenv("MEMORY_FAILS");
    if (text) fails = strtoul(text, NULL, 10);
}

static int must_fail(size_t size) {
    if (size == FIRST_SIZE) {
        atomic_store(&counts, 1);
        return 0;
    }
    if (!atomic_load(&counts)) return 0;
    if (size == LAST_SIZE) {
        char line[64];
        atomic_store(&counts, 0);
        int len = snprintf(line, sizeof line, "allocations %lu\n", atomic_load(&count));
        if (write(2, line, len) < 0) return 0;
        return 0;
    }
    return atomic_fetch_add(&count, 1) + 1 == fails;
}

// The C library's own functions under the names that it keeps for such libraries.
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

void *malloc(size_t size) {
    if (!must_fail(size)) return __libc_malloc(size);
    errno = ENOMEM;
    return NULL;
}

void *calloc(size_t many, size_t size) {
    if (!must_fail(many * size)) return __libc_calloc(many, size);
    errno = ENOMEM;
    return NULL;
}

void *realloc(void *old, size_t size) {
    if (!must_fail(size)) return __libc_realloc(old, size);
    errno = ENOMEM;
    return NULL;
}

void *aligned_alloc(size_t align, size_t size) {
    if (!must_fail(size)) return __libc_memalign(align, size);
    errno = ENOMEM;
    return NULL;
}

int posix_memalign(void **into, size_t align, size_t size) {
    if (must_fail(size)) return ENOMEM;
    *into = __libc_memalign(align, size);
    return *into ? 0 : ENOMEM;
}
