/* The floor under everything that reads a file: `sum THREADS FILE` maps it and sums its 64-bit words. */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct part {
    const uint64_t *words;
    size_t len;
    uint64_t sum;
};

static void *sum(void *argument)
{
    struct part *part = argument;
    uint64_t sum = 0;
    for (size_t i = 0; i < part->len; i++)
        sum += part->words[i];
    part->sum = sum;
    return NULL;
}

int main(int argc, char **argv)
{
    enum { MOST = 64 };
    struct part parts[MOST];
    pthread_t threads[MOST];
    size_t count = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
    int file = count ? open(argv[2], O_RDONLY) : -1;
    struct stat status;
    if (count < 1 || count > MOST || file < 0 || fstat(file, &status)) {
        fprintf(stderr, "usage: sum THREADS FILE\n");
        return 2;
    }
    size_t len = (size_t)status.st_size / 8;
    /* Without MAP_POPULATE: the kernel maps many pages at each fault, which is faster. */
    const uint64_t *words = mmap(NULL, len * 8, PROT_READ, MAP_SHARED, file, 0);
    if (words == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        size_t from = len * i / count, to = len * (i + 1) / count;
        parts[i] = (struct part){ words + from, to - from, 0 };
        if (i > 0)
            pthread_create(&threads[i], NULL, sum, &parts[i]);
    }
    sum(&parts[0]);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            pthread_join(threads[i], NULL);
        total += parts[i].sum;
    }
    printf("%" PRIu64 "\n", total);
}
