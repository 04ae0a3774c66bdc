#!/usr/bin/env python3
"""truth.py: turn the text of perf into truth files (used by remake-truth).

truth.py spe SCRIPT DUMP       one line for each SPE record, from `perf script --itrace=i1i` and `perf report -D`
truth.py samples SCRIPT FIELDS [EVENT]
                               one line for each sample, from `perf script -F FIELDS` (only of EVENT)
truth.py packets DUMP          one line for each SPE packet, from `perf report -D`
truth.py pfncounts TSV         frame counts of the lines of a table that have a physical address
"""
import re
import sys

PACKET = re.compile(r"^\.  ([0-9a-f]{8}):  ((?:[0-9a-f]{2} )+) *(.*)$")
AUXTRACE = re.compile(r"PERF_RECORD_AUXTRACE size: .* idx: (\d+)  tid: (-?\d+)  cpu: (-?\d+)$")
# tid cpu time addr data_src text weight ip phys_addr, in the order in which perf prints them.
RECORD = re.compile(r"^ *(-?\d+)/(-?\d+) +\[(\d+)\] +(?:(\d+)\.(\d{9}): +)?instructions: +([0-9a-f]+) +([0-9a-f]+) \|.*?"
                    r"BLK +N/A +(\d+) +([0-9a-f]+) +([0-9a-f]+) *$")
SAMPLE = re.compile(r"^ *(-?\d+)/(-?\d+) +(?:\[(\d+)\] +)?(\d+)\.(\d{9}): +(\S+): +([0-9a-f]+) +([0-9a-f]+) \|.*?BLK +N/A +(?:W(\d+) +)?"
                    r"([0-9a-f]+) +([0-9a-f]+)((?: +(?:N/A|\d+[KMG]?))*) *$")


def packets(dump):
    """Packets of perf's dump: (cpu, offset, bytes, text)."""
    cpu = None
    for line in open(dump, errors="replace"):
        line = line.rstrip("\n")
        m = AUXTRACE.search(line)
        if m:
            cpu = int(m[3])
            continue
        m = PACKET.match(line)
        if m and cpu is not None:
            yield cpu, int(m[1], 16), bytes.fromhex(m[2]), m[3].strip()


def records(dump):
    """Packets of each finished record, by CPU."""
    out, now = {}, {}
    for cpu, _, raw, text in packets(dump):
        if raw[0] == 0:
            continue
        out.setdefault(cpu, [])
        now.setdefault(cpu, []).append((raw, text))
        if raw[0] in (0x01, 0x71):
            out[cpu].append(now.pop(cpu))
    if any(now.values()):
        raise SystemExit("unfinished record")
    return out


def one(packets, test):
    found = [p for p in packets if test(p[0])]
    if len(found) > 1:
        raise SystemExit(f"packet twice in a record: {found}")
    return found[0] if found else None


def value(raw):
    return int.from_bytes(raw[1:], "little")


def spe(script, dump):
    samples = {}
    for line in open(script):
        m = RECORD.match(line)
        if not m:
            raise SystemExit("not understood: " + line)
        samples.setdefault(int(m[3]), []).append(m)
    timed = any(m[4] for s in samples.values() for m in s)
    print("# cpu", "tid", "time_ns", "ip", "vaddr", "paddr", "op", "source_raw", "data_src", "weight", "context", "ticks", "events", "op_bytes", "op_text", sep="\t")
    dumped = records(dump)
    if sorted(dumped) != sorted(samples):
        raise SystemExit("CPUs differ")
    for cpu in sorted(samples):
        mine = samples[cpu]
        if not timed:
            # Without timestamps perf 6.1 gives a sample of nothing at the start of each queue.
            if any(int(x, 16) for x in mine[0].group(6, 7, 8, 9, 10)):
                raise SystemExit("first sample of a queue is not empty")
            mine = mine[1:]
        if len(mine) != len(dumped[cpu]):
            raise SystemExit(f"CPU {cpu}: {len(mine)} samples, {len(dumped[cpu])} records")
        for m, p in zip(mine, dumped[cpu]):
            def present(packet, text):
                if not packet and int(text, 16):
                    raise SystemExit("perf prints a value that has no packet: " + m[0])
                return "0x%x" % int(text, 16) if packet else "-"
            pc, va, pa = (one(p, lambda r, h=h: r[0] == h) for h in (0xB0, 0xB2, 0xB3))
            # Only bits 51:0: perf makes the top of code and data addresses canonical.
            for packet, text in ((pc, m[9]), (va, m[6]), (pa, m[10])):
                if packet and (value(packet[0]) ^ int(text, 16)) & (1 << 52) - 1:
                    raise SystemExit("script and dump differ: " + m[0])
            total = one(p, lambda r: r[0] == 0x98)
            if (value(total[0]) if total else 0) != int(m[8]):
                raise SystemExit("script and dump differ in latency: " + m[0])
            op = one(p, lambda r: r[0] & 0xFC == 0x48)
            name = {"LD": "load", "ST": "store", "B": "branch"}.get(op[1].split()[0], "other") if op else "-"
            if name in ("load", "store") and "AT" in op[1].split():
                name = "atomic"
            source = one(p, lambda r: r[0] & 0xCF == 0x43)
            context = one(p, lambda r: r[0] & 0xFC == 0x64)
            ticks = one(p, lambda r: r[0] == 0x71)
            events = one(p, lambda r: r[0] & 0xCF == 0x42)
            print(cpu, m[2] if m[2] != "-1" else "-", int(m[4] + m[5]) if m[4] else "-", present(pc, m[9]), present(va, m[6]), present(pa, m[10]), name,
                  "0x%x" % value(source[0]) if source else "-", "0x" + m[7], m[8] if total else "-", value(context[0]) if context else "-",
                  value(ticks[0]) if ticks else "-", "0x%x" % value(events[0]) if events else "-", op[0].hex() if op else "-", op[1] if op else "-", sep="\t")


def page_size(text):
    if text == "N/A":
        return 0
    unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1])
    return int(text[:-1]) * unit if unit else int(text)


def samples(script, fields, event=None):
    """`fields` are those that perf was asked for."""
    fields = fields.split(",")
    pages = [f for f in ("data_page_size", "code_page_size") if f in fields]
    print("# event", "pid", "tid", "cpu", "time_ns", "ip", "addr", "phys_addr", "data_src", "weight", "data_page_size", "code_page_size", sep="\t")
    for line in open(script):
        if "weight" in fields:
            line = re.sub(r"(BLK +N/A) +(\d+)", r"\1 W\2", line)
        m = SAMPLE.match(line)
        if not m:
            raise SystemExit("not understood: " + line)
        if event and m[6] != event:
            continue
        sizes = dict(zip(pages, map(page_size, m[12].split())))
        print(m[6], m[1], m[2], int(m[3]) if m[3] else "-", int(m[4] + m[5]), *("0x%x" % int(x, 16) for x in m.group(10, 7, 11, 8)),
              m[9] or "-", sizes.get("data_page_size", "-"), sizes.get("code_page_size", "-"), sep="\t")


def dump_packets(dump):
    print("# offset", "kind", "details", "bytes", sep="\t")
    for _, offset, raw, text in packets(dump):
        kind, _, details = text.partition(" ")
        if text == "Bad packet!":
            kind, details = "BAD", ""
        print("0x%x" % offset, kind, details or "-", raw.hex(), sep="\t")


def pfncounts(tsv):
    """Of the SPE tables loads and stores; of the tables of samples what has an address other than 0."""
    counts = {}
    for line in open(tsv):
        f = line.rstrip("\n").split("\t")
        if line.startswith("#"):
            at, op = f.index("paddr" if "paddr" in f else "phys_addr"), "op" in f and f.index("op")
        elif f[at] not in ("-", "0x0") and (not op or f[op] in ("load", "store", "atomic")):
            pfn = int(f[at], 16) >> 12
            counts[pfn] = counts.get(pfn, 0) + 1
    for pfn in sorted(counts):
        print("0x%x %d" % (pfn, counts[pfn]))


if __name__ == "__main__":
    commands = {"spe": spe, "samples": samples, "packets": dump_packets, "pfncounts": pfncounts}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        raise SystemExit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
