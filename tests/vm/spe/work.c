// SPDX-License-Identifier: GPL-2.0
/*
 * Touches pages that it has registered with virtual_spe, with threads, children and programs it becomes, on changing CPUs.
 *
 *   work [-s SECONDS] [-t THREADS] [-f CHILDREN] [-x EXECS] [-m MS] [-p PAGES] [-h HOT] [-H] [-c CPUS] [-d FOLDER]
 *     -m  every MS milliseconds a thread asks for the next of CPUS CPUs; 0: stays where the kernel puts it
 *     -H  2 MiB pages
 *     -d  at the end writes FOLDER/PID.map: `0xVIRT 0xPFN COUNT FRAME` of every page, 0xPFN as /proc/self/pagemap tells
 *         and FRAME and COUNT as the module does
 *   work -u UID PROGRAM ARG...   runs another program as that user
 *   Children share the parent's addresses but not its frames. -x: becomes itself again after SECONDS, EXECS times.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "virtual_spe.h"

static double seconds = 2;
static int threads = 1, children, execs, move_ms, cpus = 1, huge, fd = -1;
static unsigned pages = 512, hot = 64;
static const char *folder;
static volatile char *area;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void *work(void *arg)
{
	double start = now(), moved = start;
	int me = (intptr_t)arg, hops = me;
	uint64_t x = 88172645463325252ull + me;
	long sum = 0;

	while (now() - start < seconds) {
		for (int i = 0; i < 20000; i++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			sum += area[(x >> 20) % (pages * 4096ull)]++;
		}
		if (move_ms && now() - moved > move_ms * 1e-3) {
			cpu_set_t set;

			CPU_ZERO(&set);
			CPU_SET(++hops % cpus, &set);
			sched_setaffinity(0, sizeof(set), &set);
			moved = now();
		}
	}
	return (void *)sum;
}

static void enrol(void)
{
	struct virtual_spe_reg r = { .addr = (uintptr_t)area, .pages = pages, .hot = hot };

	if (fd >= 0)
		close(fd);
	for (size_t i = 0; i < pages; i++)
		area[i * 4096] = i;
	fd = open("/dev/virtual_spe", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, VIRTUAL_SPE_REGISTER, &r)) {
		perror("work: register");
		exit(1);
	}
}

static void tell(void)
{
	uint64_t *n = calloc(pages, 8), *frame = calloc(pages, 8);
	struct virtual_spe_counts c = { (uintptr_t)area, (uintptr_t)n, (uintptr_t)frame };
	char name[200];
	int map = open("/proc/self/pagemap", O_RDONLY);
	FILE *f;
	static int turn;

	if (!folder)
		return;
	snprintf(name, sizeof(name), "%s/%d-%d-%d.map", folder, getpid(), execs, turn++);
	f = fopen(name, "w");
	if (!f || ioctl(fd, VIRTUAL_SPE_COUNTS, &c)) {
		perror("work: counts");
		exit(1);
	}
	for (size_t i = 0; i < pages; i++) {
		uint64_t entry = 0;

		if (pread(map, &entry, 8, ((uintptr_t)area / 4096 + i) * 8) != 8)
			perror("pagemap");
		fprintf(f, "0x%lx 0x%llx %llu 0x%llx\n", (unsigned long)area + i * 4096,
			(unsigned long long)(entry & ((1ull << 55) - 1)), (unsigned long long)n[i],
			(unsigned long long)frame[i]);
	}
	fclose(f);
}

int main(int argc, char **argv)
{
	int o;

	if (argc > 3 && !strcmp(argv[1], "-u")) {
		if (setgid(atoi(argv[2])) || setuid(atoi(argv[2])))
			return 1;
		execvp(argv[3], argv + 3);
		perror(argv[3]);
		return 127;
	}
	while ((o = getopt(argc, argv, "s:t:f:x:m:p:h:Hc:d:")) != -1)
		switch (o) {
		case 's': seconds = atof(optarg); break;
		case 't': threads = atoi(optarg); break;
		case 'f': children = atoi(optarg); break;
		case 'x': execs = atoi(optarg); break;
		case 'm': move_ms = atoi(optarg); break;
		case 'p': pages = atoi(optarg); break;
		case 'h': hot = atoi(optarg); break;
		case 'H': huge = 1; break;
		case 'c': cpus = atoi(optarg); break;
		case 'd': folder = optarg; break;
		default: return 2;
		}
	size_t bytes = pages * 4096ull, round = 2 << 20;
	char *p = mmap(NULL, bytes + 2 * round, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return 1;
	area = (char *)(((uintptr_t)p + round - 1) & ~(round - 1));
	madvise((void *)area, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	for (int i = 0; i < children; i++)
		if (fork() == 0) {
			children = 0;
			break;
		}
	enrol();

	pthread_t t[64];

	for (int i = 1; i < threads && i < 64; i++)
		pthread_create(&t[i], NULL, work, (void *)(intptr_t)i);
	work(0);
	for (int i = 1; i < threads && i < 64; i++)
		pthread_join(t[i], NULL);
	tell();
	if (execs > 0) {
		char left[16];

		snprintf(left, sizeof(left), "%d", execs - 1);
		for (int i = 1; i < argc - 1; i++)
			if (!strcmp(argv[i], "-x"))
				argv[i + 1] = left;
			else if (!strcmp(argv[i], "-f"))
				argv[i + 1] = "0";
		execv("/proc/self/exe", argv);
		perror("exec");
	}
	while (wait(NULL) > 0)
		;
	return 0;
}
