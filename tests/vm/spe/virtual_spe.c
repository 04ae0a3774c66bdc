// SPDX-License-Identifier: GPL-2.0
/*
 * A PMU called arm_spe_0 without the hardware. On each CPU a timer writes records in the format of the Arm Statistical
 * Profiling Extension into the AUX ring of whoever has the event open. A log keeps every record: it is the truth that the
 * tests compare with.
 *
 * Written from the description of the format (Arm ARM DDI 0487) and of perf's interface for PMUs with an AUX area. Its
 * attributes have the names and bits of the kernel's driver (drivers/perf/arm_spe_pmu.c), so that perf uses it like that one.
 *
 * A program registers pages through /dev/virtual_spe. They are pinned, so that their frames are known, and records name them.
 * For tests in a virtual machine only: it makes up what it reports, and it cannot be unloaded.
 */
#define pr_fmt(fmt) "virtual_spe: " fmt
#include <linux/capability.h>
#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/vmalloc.h>
#include <asm/arch_timer.h>
#include <asm/irq_regs.h>
#include <asm/virt.h>
#include "virtual_spe.h"

static uint tick_us = 1000;
module_param(tick_us, uint, 0644);
MODULE_PARM_DESC(tick_us, "time between two bursts on a CPU");
static uint burst = 4;
module_param(burst, uint, 0644);
MODULE_PARM_DESC(burst, "records in a burst");
static uint compact;
module_param(compact, uint, 0644);
MODULE_PARM_DESC(compact, "0: fixed places in 64 bytes; 1: packets without gaps, records padded to 16 bytes");
static uint budget;
module_param(budget, uint, 0644);
MODULE_PARM_DESC(budget, "records since reset after which there are no more; 0: no end");
static uint others = 1;
module_param(others, uint, 0644);
MODULE_PARM_DESC(others, "a branch a burst also for tasks without registered pages");
static uint collide;
module_param(collide, uint, 0644);
MODULE_PARM_DESC(collide, "every so many buffers lose a record to a collision and say so");

static uint spare;
module_param(spare, uint, 0444);
MODULE_PARM_DESC(spare, "so many CPUs, the last ones, have no unit");
static uint units_wanted = 1;
module_param_named(units, units_wanted, uint, 0444);
MODULE_PARM_DESC(units, "2: arm_spe_0 has the first half of the CPUs, arm_spe_1 the others");

#define MAX_RECORD	64		/* PMSIDR_EL1.MaxSize 6 */
#define MIN_INTERVAL	1024
#define LOG_MAX		(1 << 18)
#define AUXLOG_MAX	(1 << 16)
#define REGIONS		256
#define RINGS		1024

/* attr.config */
#define CFG_TS		BIT_ULL(0)
#define CFG_PA		BIT_ULL(1)
#define CFG_PCT		BIT_ULL(2)
#define CFG_JITTER	BIT_ULL(16)
#define CFG_BRANCH	BIT_ULL(32)
#define CFG_LOAD	BIT_ULL(33)
#define CFG_STORE	BIT_ULL(34)
#define HW_CONTEXT	BIT(0)		/* event->hw.config: the opener may see contexts */

/* --- truth ----------------------------------------------------------------------------------------------------------- */

static struct virtual_spe_log *record_log;
static struct virtual_spe_aux *aux_log;
static atomic_t record_count, aux_count;
static atomic64_t dropped, truncated, collided, begin_failed, filtered, wraps, begins, ends;

struct ring {
	int id, nr_pages, cpu;
	bool overwrite;
	void *base;
};
static struct { int cpu, nr_pages; bool overwrite; } ring_table[RINGS];
static atomic_t ring_count;

struct region {
	struct mm_struct *mm;		/* identity only; NULL: over */
	pid_t tgid;
	unsigned long addr;
	u32 pages, hot;
	struct page **page;
	unsigned long *pfn;
	atomic64_t *count;
	bool pinned;
};
static struct region *regions[REGIONS];
static DEFINE_MUTEX(regions_lock);

static void log_aux(struct ring *r, u64 pos, u64 size, u64 flags, u32 what)
{
	int n = atomic_fetch_inc(&aux_count);

	if (n < AUXLOG_MAX)
		aux_log[n] = (struct virtual_spe_aux){ .pos = pos, .size = size, .flags = flags, .ring = r ? r->id : 0xffff,
						    .cpu = raw_smp_processor_id(), .what = what };
}

/* --- the unit of a CPU ----------------------------------------------------------------------------------------------- */

struct unit {
	struct perf_output_handle handle;
	struct perf_event *event;
	struct ring *ring;		/* while a buffer is open */
	unsigned long begin, at, limit;	/* offsets in the ring */
	u64 pos;			/* of `begin`, as aux_head counts */
	u64 random;
	u32 buffers;
	bool lose, collision;
	struct hrtimer timer;
};
static DEFINE_PER_CPU(struct unit, units);

/* One PMU, or two that share the CPUs as those of different cores do. */
struct vpmu {
	struct pmu pmu;
	cpumask_t mask;
	char name[16];
};
static struct vpmu vpmus[2];

static struct vpmu *vpmu_of(struct pmu *pmu)
{
	return container_of(pmu, struct vpmu, pmu);
}

static u32 draw(struct unit *u)
{
	u->random ^= u->random << 13;
	u->random ^= u->random >> 7;
	u->random ^= u->random << 17;
	return u->random >> 16;
}

static unsigned long ring_size(struct ring *r)
{
	return (unsigned long)r->nr_pages << PAGE_SHIFT;
}

/* Zeros from where the next buffer would begin; it begins behind them then. */
static void zeros(struct unit *u, unsigned long n)
{
	struct ring *r = u->ring;
	unsigned long size = ring_size(r), off = u->handle.head & (size - 1), first = min(n, size - off);

	memset(r->base + off, 0, first);
	memset(r->base, 0, n - first);
	log_aux(r, u->handle.head, n, 0, 1);
	if (r->overwrite)
		u->handle.head += n;
	else
		perf_aux_output_skip(&u->handle, n);
}

/*
 * Where the buffer ends that begins at the head: at a multiple of the page size, at the ring's end at the latest, before what
 * the reader has not taken yet, and where the reader is to be woken. 0: no space.
 */
static unsigned long end_of_buffer(struct unit *u)
{
	struct perf_output_handle *h = &u->handle;
	unsigned long size = ring_size(u->ring), off = h->head & (size - 1), end = size;
	long until_wakeup = h->wakeup - h->head;

	if (u->ring->overwrite)
		return off < size / 2 ? size / 2 : size;
	if (!h->size)
		return 0;
	if (off + h->size < size)
		end = round_down(off + h->size, PAGE_SIZE);
	if (until_wakeup >= 0 && until_wakeup < h->size && off + until_wakeup < size)
		end = min(end, round_up(off + until_wakeup, PAGE_SIZE));
	if (end > off)
		return end;
	zeros(u, h->size);
	return 0;
}

static bool open_buffer(struct unit *u, struct perf_event *event)
{
	struct perf_output_handle *h = &u->handle;
	unsigned long size, off, end;

	u->ring = perf_aux_output_begin(h, event);
	if (!u->ring) {
		atomic64_inc(&begin_failed);
		log_aux(NULL, 0, 0, 0, 2);
		return false;
	}
	atomic64_inc(&begins);
	size = ring_size(u->ring);
	for (;;) {
		off = h->head & (size - 1);
		end = end_of_buffer(u);
		if (!end) {
			perf_aux_output_flag(h, PERF_AUX_FLAG_TRUNCATED);
			log_aux(u->ring, h->head, 0, PERF_AUX_FLAG_TRUNCATED, 0);
			perf_aux_output_end(h, 0);
			atomic64_inc(&truncated);
			u->ring = NULL;
			return false;
		}
		if (end - off >= MAX_RECORD)
			break;
		zeros(u, end - off);
	}
	if (!off && h->head)
		atomic64_inc(&wraps);
	u->begin = u->at = off;
	u->limit = end;
	u->pos = h->head;
	u->collision = false;
	u->lose = collide && ++u->buffers % collide == 0;
	return true;
}

static void close_buffer(struct unit *u)
{
	struct perf_output_handle *h = &u->handle;
	unsigned long n = u->at - u->begin;

	if (!u->ring)
		return;
	if (u->ring->overwrite)
		h->head += n;
	if (u->collision) {
		perf_aux_output_flag(h, PERF_AUX_FLAG_COLLISION);
		atomic64_inc(&collided);
	}
	log_aux(u->ring, u->pos, n, h->aux_flags, 0);
	u->ring = NULL;
	atomic64_inc(&ends);
	perf_aux_output_end(h, n);
}

/* --- records --------------------------------------------------------------------------------------------------------- */

struct packets {
	u8 byte[128];
	int n;
};

static void put(struct packets *p, u8 header, u64 value, int bytes)
{
	p->byte[p->n++] = header;
	while (bytes--) {
		p->byte[p->n++] = value;
		value >>= 8;
	}
}

/* In the 64-byte form every packet has its place, and those that are absent leave zeros there. */
static void place(struct packets *p, int offset)
{
	while (!compact && p->n < offset)
		p->byte[p->n++] = 0;
}

static void encode(struct packets *p, struct perf_event *event, struct virtual_spe_log *e, u64 el)
{
	u64 code = BIT_ULL(63) | el << 61;

	put(p, 0xb0, (e->pc & GENMASK_ULL(55, 0)) | code, 8);
	if (event->hw.config & HW_CONTEXT) {
		put(p, is_kernel_in_hyp_mode() ? 0x65 : 0x64, e->tid, 4);
		e->flags |= LOG_CONTEXT;
	}
	place(p, 14);
	put(p, e->kind == KIND_BRANCH ? 0x4a : e->kind == KIND_OTHER ? 0x48 : 0x49, e->op, 1);
	if (e->events > 0xffff)
		put(p, 0x62, e->events, 4);
	else
		put(p, 0x52, e->events, 2);
	place(p, 19);
	put(p, 0x99, e->issue, 2);
	put(p, 0x98, e->latency, 2);
	if (e->kind == KIND_BRANCH) {
		if (!(e->events & BIT(6)))
			put(p, 0xb1, (e->pc + 64) | code, 8);
	} else if (e->kind != KIND_OTHER) {
		put(p, 0xb2, e->va & GENMASK_ULL(55, 0), 8);
		put(p, 0x9a, e->xlat, 2);
		if (e->flags & LOG_PA)
			put(p, 0xb3, e->pa | BIT_ULL(63), 8);
		place(p, 46);
		if (e->flags & LOG_SOURCE)
			put(p, 0x43, e->source, 1);
	}
	place(p, 55);
	if (event->attr.config & CFG_TS) {
		e->ts = arch_timer_read_counter();
		e->flags |= LOG_TS;
		put(p, 0x71, e->ts, 8);
	} else {
		put(p, 0x01, 0, 0);
	}
	while (p->n % (compact ? 16 : 64))
		p->byte[p->n++] = 0;
	e->len = p->n;
}

static bool wanted(struct perf_event *event, struct virtual_spe_log *e)
{
	u64 c = event->attr.config, f = event->attr.config1;
	u16 min = event->attr.config2 & 0xfff;

	if (c & (CFG_BRANCH | CFG_LOAD | CFG_STORE)) {
		bool load = e->kind == KIND_LOAD || e->kind == KIND_ATOMIC;
		bool store = e->kind == KIND_STORE || e->kind == KIND_ATOMIC;

		if (!((c & CFG_BRANCH && e->kind == KIND_BRANCH) || (c & CFG_LOAD && load) || (c & CFG_STORE && store)))
			return false;
	}
	return (e->events & f) == f && e->latency >= min;
}

static struct region *pick_region(struct unit *u, struct mm_struct *mm)
{
	struct region *found = NULL;
	u32 seen = 0;
	int i;

	for (i = 0; i < REGIONS; i++) {
		struct region *r = smp_load_acquire(&regions[i]);

		if (!r)
			break;
		if (READ_ONCE(r->mm) == mm && draw(u) % ++seen == 0)
			found = r;
	}
	return found;
}

/* False: nothing more can be placed. */
static bool sample(struct unit *u, struct region *r)
{
	static const u8 sources[8] = { 0x0, 0x0, 0x8, 0x9, 0xa, 0xb, 0xd, 0xe };
	struct perf_event *event = u->event;
	struct virtual_spe_log e = { .tid = task_pid_nr(current), .tgid = task_tgid_nr(current), .cpu = smp_processor_id() };
	struct pt_regs *regs = task_pt_regs(current), *irq = get_irq_regs();
	struct packets p = { .n = 0 };
	u32 what = draw(u) % 64, page = 0, offset;
	u64 el = 0;
	int n;

	e.pc = regs->pc;
	if (what % 8 == 0 && irq && !user_mode(irq) && !event->attr.exclude_kernel) {
		el = is_kernel_in_hyp_mode() ? 2 : 1;
		e.pc = irq->pc;
	} else if (event->attr.exclude_user) {
		return true;
	}
	e.issue = 1 + draw(u) % 30;
	e.latency = e.issue + 3 + (draw(u) % 5 ? draw(u) % 40 : draw(u) % 2000);
	e.events = BIT(1);				/* retired */
	if (!r || what < 6) {
		e.kind = KIND_BRANCH;
		e.op = draw(u) % 2;			/* conditional */
		if (e.op && draw(u) % 3 == 0)
			e.events |= BIT(6);		/* not taken */
		if (draw(u) % 8 == 0)
			e.events |= BIT(7);		/* mispredicted */
	} else if (what < 8) {
		e.kind = KIND_OTHER;
	} else {
		u32 source = draw(u) % 8;

		page = r->hot && draw(u) % 4 ? draw(u) % r->hot : draw(u) % r->pages;
		offset = draw(u) % 512 * 8;
		e.va = r->addr + page * PAGE_SIZE + offset;
		if (what < 44) {
			e.kind = KIND_LOAD;
			e.op = what % 9 ? 0x00 : 0x04;	/* general register or SIMD&FP */
		} else if (what < 60) {
			e.kind = KIND_STORE;
			e.op = 0x01;
		} else {
			e.kind = KIND_ATOMIC;
			e.op = 0x06;			/* atomic that returns a value */
		}
		e.xlat = 1 + draw(u) % 4;
		e.events |= BIT(2) | BIT(4);
		if (draw(u) % 16 == 0) {
			e.events |= BIT(5);
			e.xlat += draw(u) % 300;
		}
		if (e.kind != KIND_STORE) {
			e.source = sources[source];
			e.flags |= LOG_SOURCE;
			if (e.source)
				e.events |= BIT(3);
			if (e.source == 0xd || e.source == 0xe)
				e.events |= BIT(8) | BIT(9);
			if (e.source == 0xd)
				e.events |= BIT(10);
			if (draw(u) % 50 == 0)
				e.events |= BIT(17);	/* a wide events packet now and then */
		}
		if (event->attr.config & CFG_PA) {
			if (what == 8 && draw(u) % 4 == 0) {
				e.events &= ~BIT_ULL(1);	/* gave up before it had a physical address */
			} else {
				e.pa = PFN_PHYS(r->pfn[page]) + offset;
				e.flags |= LOG_PA;
			}
		}
	}
	if (!wanted(event, &e)) {
		atomic64_inc(&filtered);
		return true;
	}
	if (budget && atomic_read(&record_count) >= budget)
		return true;
	encode(&p, event, &e, el);

	if (u->lose) {				/* the flag comes with the end of the buffer */
		u->lose = false;
		u->collision = true;
		atomic64_inc(&dropped);
		return true;
	}
	if (u->at + MAX_RECORD > u->limit) {
		close_buffer(u);
		if (!open_buffer(u, event)) {
			event->hw.state |= PERF_HES_STOPPED;
			atomic64_inc(&dropped);
			return false;
		}
	}
	n = atomic_fetch_inc(&record_count);
	if (n >= LOG_MAX) {
		atomic_dec(&record_count);
		return true;
	}
	e.pos = u->pos + (u->at - u->begin);
	e.ring = u->ring->id;
	memcpy(u->ring->base + u->at, p.byte, p.n);
	u->at += p.n;
	record_log[n] = e;
	if (e.flags & LOG_PA)
		atomic64_inc(&r->count[page]);
	return true;
}

static enum hrtimer_restart tick(struct hrtimer *timer)
{
	struct unit *u = container_of(timer, struct unit, timer);
	struct region *r = NULL;
	uint n;

	if (!u->ring)
		return HRTIMER_NORESTART;
	if (!(current->flags & PF_KTHREAD) && current->mm) {
		r = pick_region(u, current->mm);
		n = r ? burst : others;
		while (n) {
			if (!sample(u, r)) {
				atomic64_add(n - 1, &dropped);
				return HRTIMER_NORESTART;
			}
			n--;
			if (r)
				r = pick_region(u, current->mm) ?: r;
		}
	}
	hrtimer_forward_now(timer, ns_to_ktime(1000ULL * max(tick_us, 50u)));
	return HRTIMER_RESTART;
}

/* --- what perf asks of a PMU ----------------------------------------------------------------------------------------- */

/* Older kernels do not let modules ask for what perf_event_paranoid allows; their driver wants the capability. */
static int may_see_kernel(struct perf_event_attr *attr)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
	return perfmon_capable() ? 0 : -EACCES;
#else
	return perf_allow_kernel(attr);
#endif
}

static int vpmu_event_init(struct perf_event *event)
{
	struct perf_event_attr *attr = &event->attr;

	if (attr->type != event->pmu->type)
		return -ENOENT;
	if (event->cpu >= 0 && !cpumask_test_cpu(event->cpu, &vpmu_of(event->pmu)->mask))
		return -ENOENT;
	if (attr->exclude_idle)
		return -EOPNOTSUPP;
	if (attr->freq)
		return -EINVAL;
	if (event->hw.sample_period < MIN_INTERVAL)
		event->hw.sample_period = MIN_INTERVAL;
	if (attr->config & (CFG_PA | CFG_PCT)) {
		int err = may_see_kernel(attr);

		if (err)
			return err;
	}
	event->hw.config = perfmon_capable() ? HW_CONTEXT : 0;
	return 0;
}

static void vpmu_start(struct perf_event *event, int flags)
{
	struct unit *u = this_cpu_ptr(&units);

	event->hw.state = 0;
	if (!open_buffer(u, event)) {
		event->hw.state = PERF_HES_STOPPED;
		return;
	}
	u->event = event;
	hrtimer_start(&u->timer, ns_to_ktime(500ULL * max(tick_us, 50u)), HRTIMER_MODE_REL_PINNED_HARD);
}

static void vpmu_stop(struct perf_event *event, int flags)
{
	struct unit *u = this_cpu_ptr(&units);

	if (u->event == event) {
		hrtimer_cancel(&u->timer);
		close_buffer(u);
		u->event = NULL;
	}
	event->hw.state |= PERF_HES_STOPPED | PERF_HES_UPTODATE;
}

static int vpmu_add(struct perf_event *event, int flags)
{
	if (!cpumask_test_cpu(smp_processor_id(), &vpmu_of(event->pmu)->mask))
		return -ENOENT;
	event->hw.state = PERF_HES_STOPPED | PERF_HES_UPTODATE;
	if (flags & PERF_EF_START) {
		vpmu_start(event, PERF_EF_RELOAD);
		if (event->hw.state & PERF_HES_STOPPED)
			return -EINVAL;
	}
	return 0;
}

static void vpmu_del(struct perf_event *event, int flags)
{
	vpmu_stop(event, PERF_EF_UPDATE);
}

static void vpmu_read(struct perf_event *event)
{
}

static void *vpmu_setup_aux(struct perf_event *event, void **pages, int nr_pages, bool overwrite)
{
	struct page **list;
	struct ring *r;
	int i;

	if (!nr_pages || !is_power_of_2(nr_pages) || (overwrite && nr_pages & 1))
		return NULL;
	r = kzalloc(sizeof(*r), GFP_KERNEL);
	list = kvcalloc(nr_pages, sizeof(*list), GFP_KERNEL);
	if (!r || !list)
		goto fail;
	for (i = 0; i < nr_pages; i++)
		list[i] = virt_to_page(pages[i]);
	r->base = vmap(list, nr_pages, VM_MAP, PAGE_KERNEL);
	if (!r->base)
		goto fail;
	kvfree(list);
	r->nr_pages = nr_pages;
	r->overwrite = overwrite;
	r->cpu = event->cpu;
	r->id = atomic_fetch_inc(&ring_count);
	if (r->id < RINGS) {
		ring_table[r->id].cpu = event->cpu;
		ring_table[r->id].nr_pages = nr_pages;
		ring_table[r->id].overwrite = overwrite;
	}
	return r;
fail:
	kvfree(list);
	kfree(r);
	return NULL;
}

static void vpmu_free_aux(void *aux)
{
	struct ring *r = aux;

	vunmap(r->base);
	kfree(r);
}

/* --- sysfs, as the kernel's driver has it ---------------------------------------------------------------------------- */

#define SHOW(kind, name, text)								\
	static ssize_t kind##_##name##_show(struct device *d, struct device_attribute *a, char *buf)	\
	{										\
		return sysfs_emit(buf, text "\n");					\
	}										\
	static struct device_attribute kind##_##name =					\
		__ATTR(name, 0444, kind##_##name##_show, NULL)

SHOW(format, ts_enable, "config:0");
SHOW(format, pa_enable, "config:1");
SHOW(format, pct_enable, "config:2");
SHOW(format, jitter, "config:16");
SHOW(format, branch_filter, "config:32");
SHOW(format, load_filter, "config:33");
SHOW(format, store_filter, "config:34");
SHOW(format, event_filter, "config1:0-63");
SHOW(format, min_latency, "config2:0-11");
static struct attribute *format_attrs[] = {
	&format_ts_enable.attr, &format_pa_enable.attr, &format_pct_enable.attr, &format_jitter.attr,
	&format_branch_filter.attr, &format_load_filter.attr, &format_store_filter.attr, &format_event_filter.attr,
	&format_min_latency.attr, NULL,
};
static const struct attribute_group format_group = { .name = "format", .attrs = format_attrs };

SHOW(caps, min_interval, "1024");
SHOW(caps, ernd, "1");
SHOW(caps, count_size, "12");
SHOW(caps, arch_inst, "1");
SHOW(caps, event_filter, "0xffffffffffffffff");
static struct attribute *caps_attrs[] = {
	&caps_min_interval.attr, &caps_ernd.attr, &caps_count_size.attr, &caps_arch_inst.attr, &caps_event_filter.attr, NULL,
};
static const struct attribute_group caps_group = { .name = "caps", .attrs = caps_attrs };

static ssize_t cpumask_show(struct device *d, struct device_attribute *a, char *buf)
{
	return sysfs_emit(buf, "%*pbl\n", cpumask_pr_args(&vpmu_of(dev_get_drvdata(d))->mask));
}
static struct device_attribute cpumask_attr = __ATTR(cpumask, 0444, cpumask_show, NULL);
static struct attribute *plain_attrs[] = { &cpumask_attr.attr, NULL };
static const struct attribute_group plain_group = { .attrs = plain_attrs };
static const struct attribute_group *groups[] = { &plain_group, &caps_group, &format_group, NULL };

static const struct pmu template = {
	.module = THIS_MODULE,
	.capabilities = PERF_PMU_CAP_EXCLUSIVE | PERF_PMU_CAP_ITRACE,
	.attr_groups = groups,
	.task_ctx_nr = perf_sw_context,		/* so that single tasks can be sampled */
	.event_init = vpmu_event_init,
	.add = vpmu_add,
	.del = vpmu_del,
	.start = vpmu_start,
	.stop = vpmu_stop,
	.read = vpmu_read,
	.setup_aux = vpmu_setup_aux,
	.free_aux = vpmu_free_aux,
};

/* --- /dev/virtual_spe --------------------------------------------------------------------------------------------------- */

static long dev_register(struct file *file, struct virtual_spe_reg __user *arg)
{
	struct virtual_spe_reg q;
	struct region *r;
	long pinned, err = -ENOMEM;
	u32 i;

	if (copy_from_user(&q, arg, sizeof(q)))
		return -EFAULT;
	if (!q.pages || q.pages > 65536 || q.hot > q.pages || q.addr & ~PAGE_MASK)
		return -EINVAL;
	r = kzalloc(sizeof(*r), GFP_KERNEL);
	if (!r)
		return -ENOMEM;
	r->page = kvcalloc(q.pages, sizeof(*r->page), GFP_KERNEL);
	r->pfn = kvcalloc(q.pages, sizeof(*r->pfn), GFP_KERNEL);
	r->count = kvcalloc(q.pages, sizeof(*r->count), GFP_KERNEL);
	if (!r->page || !r->pfn || !r->count)
		goto fail;
	pinned = pin_user_pages_fast(q.addr, q.pages, FOLL_WRITE | FOLL_LONGTERM, r->page);
	if (pinned != q.pages) {
		if (pinned > 0)
			unpin_user_pages(r->page, pinned);
		err = pinned < 0 ? pinned : -EFAULT;
		goto fail;
	}
	for (i = 0; i < q.pages; i++)
		r->pfn[i] = page_to_pfn(r->page[i]);
	r->pinned = true;
	r->addr = q.addr;
	r->pages = q.pages;
	r->hot = q.hot;
	r->tgid = current->tgid;
	r->mm = current->mm;
	mutex_lock(&regions_lock);
	for (i = 0; i < REGIONS && regions[i]; i++)
		;
	if (i < REGIONS) {
		file->private_data = r;
		smp_store_release(&regions[i], r);
	}
	mutex_unlock(&regions_lock);
	if (i < REGIONS)
		return 0;
	err = -ENOSPC;
	unpin_user_pages(r->page, r->pages);
fail:
	kvfree(r->page);
	kvfree(r->pfn);
	kvfree(r->count);
	kfree(r);
	return err;
}

static long dev_counts(struct file *file, struct virtual_spe_counts __user *arg)
{
	struct virtual_spe_counts q;
	struct region *r = file->private_data;
	u32 i;

	if (copy_from_user(&q, arg, sizeof(q)))
		return -EFAULT;
	if (!r || r->addr != q.addr)
		return -ENOENT;
	for (i = 0; i < r->pages; i++) {
		u64 pair[2] = { atomic64_read(&r->count[i]), r->pfn[i] };

		if (put_user(pair[0], (u64 __user *)q.counts + i) || put_user(pair[1], (u64 __user *)q.frames + i))
			return -EFAULT;
	}
	return 0;
}

static long dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case VIRTUAL_SPE_REGISTER:
		return file->private_data ? -EBUSY : dev_register(file, (void __user *)arg);
	case VIRTUAL_SPE_COUNTS:
		return dev_counts(file, (void __user *)arg);
	}
	return -ENOTTY;
}

/* A region's counts outlive it. */
static int dev_release(struct inode *inode, struct file *file)
{
	struct region *r = file->private_data;

	if (r) {
		WRITE_ONCE(r->mm, NULL);
		synchronize_rcu();		/* the timers run with interrupts off */
		unpin_user_pages(r->page, r->pages);
		r->pinned = false;
	}
	return 0;
}

static int dev_open(struct inode *inode, struct file *file)
{
	file->private_data = NULL;
	return 0;
}

static const struct file_operations dev_fops = {
	.owner = THIS_MODULE, .open = dev_open, .unlocked_ioctl = dev_ioctl, .release = dev_release,
};
static struct miscdevice dev = { .minor = MISC_DYNAMIC_MINOR, .name = "virtual_spe", .fops = &dev_fops, .mode = 0666 };

/* --- debugfs --------------------------------------------------------------------------------------------------------- */

static ssize_t log_read(struct file *file, char __user *buf, size_t n, loff_t *pos)
{
	return simple_read_from_buffer(buf, n, pos, record_log,
				       min(atomic_read(&record_count), LOG_MAX) * sizeof(*record_log));
}
static const struct file_operations log_fops = { .owner = THIS_MODULE, .read = log_read };

static ssize_t auxlog_read(struct file *file, char __user *buf, size_t n, loff_t *pos)
{
	return simple_read_from_buffer(buf, n, pos, aux_log, min(atomic_read(&aux_count), AUXLOG_MAX) * sizeof(*aux_log));
}
static const struct file_operations auxlog_fops = { .owner = THIS_MODULE, .read = auxlog_read };

static int stats_show(struct seq_file *s, void *v)
{
	int i;

	seq_printf(s, "records %d\ndropped %lld\ntruncated %lld\ncollided %lld\nbegin_failed %lld\nfiltered %lld\nwraps %lld\nbegins %lld\nends %lld\n",
		   atomic_read(&record_count), atomic64_read(&dropped), atomic64_read(&truncated), atomic64_read(&collided),
		   atomic64_read(&begin_failed), atomic64_read(&filtered), atomic64_read(&wraps), atomic64_read(&begins),
		   atomic64_read(&ends));
	for (i = 0; i < min(atomic_read(&ring_count), RINGS); i++)
		seq_printf(s, "ring %d cpu %d pages %d overwrite %d\n", i, ring_table[i].cpu, ring_table[i].nr_pages,
			   ring_table[i].overwrite);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

static int pfncounts_show(struct seq_file *s, void *v)
{
	u32 i, k;

	mutex_lock(&regions_lock);
	for (i = 0; i < REGIONS && regions[i]; i++)
		for (k = 0; k < regions[i]->pages; k++)
			if (atomic64_read(&regions[i]->count[k]))
				seq_printf(s, "0x%lx %lld\n", regions[i]->pfn[k], atomic64_read(&regions[i]->count[k]));
	mutex_unlock(&regions_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(pfncounts);

/* Refused while pages are registered. No event may be open. */
static ssize_t reset_write(struct file *file, const char __user *buf, size_t n, loff_t *pos)
{
	u32 i, kept = 0;

	mutex_lock(&regions_lock);
	for (i = 0; i < REGIONS; i++)
		kept += regions[i] && regions[i]->pinned;
	if (kept) {
		mutex_unlock(&regions_lock);
		return -EBUSY;
	}
	for (i = 0; i < REGIONS; i++) {
		struct region *r = regions[i];

		WRITE_ONCE(regions[i], NULL);
		if (!r)
			continue;
		synchronize_rcu();
		kvfree(r->page);
		kvfree(r->pfn);
		kvfree(r->count);
		kfree(r);
	}
	mutex_unlock(&regions_lock);
	atomic_set(&record_count, 0);
	atomic_set(&aux_count, 0);
	atomic_set(&ring_count, 0);
	atomic64_set(&dropped, 0);
	atomic64_set(&truncated, 0);
	atomic64_set(&collided, 0);
	atomic64_set(&begin_failed, 0);
	atomic64_set(&filtered, 0);
	atomic64_set(&wraps, 0);
	atomic64_set(&begins, 0);
	atomic64_set(&ends, 0);
	return n;
}
static const struct file_operations reset_fops = { .owner = THIS_MODULE, .write = reset_write };

static struct dentry *dir;

static int __init virtual_spe_init(void)
{
	int cpu, err, i;

	record_log = vzalloc(LOG_MAX * sizeof(*record_log));
	aux_log = vzalloc(AUXLOG_MAX * sizeof(*aux_log));
	if (!record_log || !aux_log) {
		err = -ENOMEM;
		goto fail;
	}
	for_each_possible_cpu(cpu) {
		struct unit *u = per_cpu_ptr(&units, cpu);

		u->random = 0x9e3779b97f4a7c15ULL * (cpu + 1);
		hrtimer_init(&u->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
		u->timer.function = tick;
	}
	err = misc_register(&dev);
	if (err)
		goto fail;
	for (i = 0; i < (units_wanted == 2 ? 2 : 1); i++) {
		struct vpmu *v = &vpmus[i];

		for_each_possible_cpu(cpu)
			if (cpu + spare < num_possible_cpus() &&
			    (units_wanted != 2 || cpu * 2 / num_possible_cpus() == i))
				cpumask_set_cpu(cpu, &v->mask);
		v->pmu = template;
		snprintf(v->name, sizeof(v->name), "arm_spe_%d", i);
		err = perf_pmu_register(&v->pmu, v->name, -1);
		if (err) {
			pr_err("%s: %d\n", v->name, err);
			return 0;	/* the first may be in use */
		}
	}
	dir = debugfs_create_dir("virtual_spe", NULL);
	debugfs_create_file("log", 0400, dir, NULL, &log_fops);
	debugfs_create_file("auxlog", 0400, dir, NULL, &auxlog_fops);
	debugfs_create_file("stats", 0400, dir, NULL, &stats_fops);
	debugfs_create_file("pfncounts", 0400, dir, NULL, &pfncounts_fops);
	debugfs_create_file("reset", 0200, dir, NULL, &reset_fops);
	return 0;
fail:
	vfree(record_log);
	vfree(aux_log);
	return err;
}
module_init(virtual_spe_init);

/* No exit: the machine is thrown away. */
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("arm_spe_0 without the hardware, for tests");
