/* SPDX-License-Identifier: GPL-2.0 */
/* What the module and the workload agree on. */
#ifndef VIRTUAL_SPE_H
#define VIRTUAL_SPE_H
#include <linux/ioctl.h>
#include <linux/types.h>

/* The pages at addr get records whenever a thread of this address space is sampled, until the file is closed. */
struct virtual_spe_reg {
	__u64 addr;
	__u32 pages;
	__u32 hot;		/* three records of four go to the first `hot` pages; 0: evenly */
};
#define VIRTUAL_SPE_REGISTER	_IOW('S', 1, struct virtual_spe_reg)
/* pointer to `pages` times __u64: records with a physical address that were placed, a page each */
struct virtual_spe_counts {
	__u64 addr;
	__u64 counts;
	__u64 frames;
};
#define VIRTUAL_SPE_COUNTS		_IOW('S', 2, struct virtual_spe_counts)

/* One entry of debugfs virtual_spe/log: a record that was placed in a ring. */
struct virtual_spe_log {
	__u64 pos;		/* where in the ring it starts, as aux_head counts: never back to 0 */
	__u64 pa, va, ts, pc;	/* 0: not in the record */
	__u32 tid, tgid, events;
	__u16 ring, cpu, latency, issue, xlat, len;
	__u8 kind, source, op, flags;
};
enum { KIND_LOAD, KIND_STORE, KIND_ATOMIC, KIND_BRANCH, KIND_OTHER };
#define LOG_PA		1
#define LOG_SOURCE	2
#define LOG_CONTEXT	4
#define LOG_TS		8

/* One entry of debugfs virtual_spe/auxlog: a perf_aux_output_end, or zeros that were skipped. */
struct virtual_spe_aux {
	__u64 pos, size, flags;
	__u16 ring, cpu;
	__u32 what;		/* 0 end, 1 zeros skipped, 2 nothing to begin with */
};
#endif
