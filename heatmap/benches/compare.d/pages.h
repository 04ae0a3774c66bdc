/* A table of counters by page frame number (open addressing, linear probing), and large reads of standard input:
 * what a counter of `perf script` lines needs. Page frame 0 cannot be counted: perf prints 0 for "no address". */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct page {
    uint64_t pfn;
    uint64_t count;
};

static struct page *table;
static unsigned bits = 17;
static uint64_t used;

static inline struct page *find(uint64_t pfn)
{
    uint64_t at = (pfn * 0x9e3779b97f4a7c15u) >> (64 - bits);
    while (table[at].pfn != pfn && table[at].pfn != 0)
        at = (at + 1) & ((UINT64_C(1) << bits) - 1);
    return &table[at];
}

static void *room(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory) {
        perror("calloc");
        exit(1);
    }
    return memory;
}

static void grow(void)
{
    struct page *old = table;
    uint64_t len = UINT64_C(1) << bits++;
    table = room(UINT64_C(1) << bits, sizeof *table);
    for (uint64_t i = 0; i < len; i++)
        if (old[i].pfn)
            *find(old[i].pfn) = old[i];
    free(old);
}

static inline void count_page(uint64_t pfn)
{
    struct page *page = find(pfn);
    if (page->pfn == 0) {
        page->pfn = pfn;
        if (++used * 2 > UINT64_C(1) << bits) {
            grow();
            page = find(pfn);
        }
    }
    page->count++;
}

static int by_pfn(const void *a, const void *b)
{
    uint64_t left = ((const struct page *)a)->pfn, right = ((const struct page *)b)->pfn;
    return (left > right) - (left < right);
}

/* Prints what `folioscope pages` prints. */
static void print_pages(void)
{
    uint64_t len = 0;
    for (uint64_t i = 0; i < UINT64_C(1) << bits; i++)
        if (table[i].pfn)
            table[len++] = table[i];
    qsort(table, len, sizeof *table, by_pfn);
    for (uint64_t i = 0; i < len; i++)
        printf("0x%" PRIx64 " %" PRIu64 "\n", table[i].pfn, table[i].count);
}

/* Calls `line` for every line of standard input, which ends with a newline. */
static inline void each_line(void (*line)(const char *begin, const char *end))
{
    enum { BUFFER = 1 << 20 };
    char *buffer = room(BUFFER, 1);
    size_t held = 0;
    ssize_t got;
    while ((got = read(STDIN_FILENO, buffer + held, BUFFER - held)) > 0) {
        held += (size_t)got;
        const char *begin = buffer, *end;
        while ((end = __builtin_memchr(begin, '\n', (size_t)(buffer + held - begin)))) {
            line(begin, end);
            begin = end + 1;
        }
        held = (size_t)(buffer + held - begin);
        if (held == BUFFER) {
            fprintf(stderr, "a line is too long\n");
            exit(1);
        }
        __builtin_memmove(buffer, begin, held);
    }
    if (got < 0) {
        perror("read");
        exit(1);
    }
}

/* The hexadecimal number that ends at `end`. */
static inline uint64_t number_before(const char *begin, const char *end)
{
    uint64_t value = 0;
    for (unsigned shift = 0; end > begin && end[-1] != ' '; shift += 4) {
        unsigned digit = (unsigned char)*--end;
        /* 'a' to 'f' have bit 6 and end in 1 to 6. */
        value |= (uint64_t)((digit & 15) + (digit >> 6) * 9) << shift;
    }
    return value;
}
