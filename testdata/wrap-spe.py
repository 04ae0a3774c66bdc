#!/usr/bin/env python3
"""wrap-spe.py IN OUT [pa] [ts] [midr=0x...]: put bare SPE bytes into the smallest useful perf.data file.

IN has the bytes in hexadecimal; what follows a `#` in a line is for readers.

Little-endian file form: event arm_spe_0// (type 11, 112 bytes; `pa` and `ts` set pa_enable and
ts_enable in config and PHYS_ADDR and TIME in sample_type), event dummy:u, AUXTRACE_INFO version 1,
one AUXTRACE of CPU 0 (zero bytes added up to a multiple of 8), FINISHED_ROUND; features ARCH,
PMU_MAPPINGS, AUXTRACE and, with midr, CPUID. There is no TIME_CONV: the clock of the machines that
wrote the bytes is not known.
"""
import struct
import sys

SPE, ATTR, TYPE = 4, 112, 11


def string(s):
    data = s.encode() + b"\0"
    data += bytes(-len(data) % 64)
    return struct.pack("<I", len(data)) + data


def attr(kind, config, period, sample_type, flags):
    return struct.pack("<IIQQQQQ", kind, ATTR, config, period, sample_type, 0, flags).ljust(ATTR, b"\0")


def main(src, dst, *options):
    payload = bytes.fromhex("".join(line.partition("#")[0] for line in open(src)))
    payload += bytes(-len(payload) % 8)
    pa, ts = "pa" in options, "ts" in options
    midr = next((o[5:] for o in options if o.startswith("midr=")), None)
    # IDENTIFIER, IP, TID, CPU, DATA_SRC as perf sets them for SPE.
    sample_type = 0x18083 | (pa << 19) | (ts << 2)
    out = bytearray(104) + struct.pack("<QQ", 100, 101)
    attrs = len(out)
    # flags: disabled, sample_id_all; the dummy has mmap, comm, task, mmap2, comm_exec, context_switch.
    out += attr(TYPE, ts | pa << 1 | 1 << 16, 1024, sample_type, 1 | 1 << 18) + struct.pack("<QQ", 104, 8)
    out += attr(1, 9, 1, sample_type, 1 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 9 | 1 << 13 | 1 << 18 | 1 << 23 | 1 << 24 | 1 << 26) + struct.pack("<QQ", 112, 8)
    data = len(out)
    out += struct.pack("<IHHIIQQ", 70, 0, 32, SPE, 0, TYPE, 1)
    index = len(out)
    out += struct.pack("<IHHQQQIIII", 71, 0, 48, len(payload), 0, 0, 0, 0xFFFFFFFF, 0, 0) + payload
    out += struct.pack("<IHH", 68, 0, 8)
    size = len(out) - data
    features = {6: string("aarch64"), 16: struct.pack("<II", 2, TYPE) + string("arm_spe_0") + struct.pack("<I", 1) + string("software"),
                18: struct.pack("<QQQ", 1, index, 48)}
    if midr:
        features[9] = string("0x%016x" % int(midr, 0))
    at = len(out) + 16 * len(features)
    for bit in sorted(features):
        out += struct.pack("<QQ", at, len(features[bit]))
        at += len(features[bit])
    for bit in sorted(features):
        out += features[bit]
    out[:104] = b"PERFILE2" + struct.pack("<12Q", 104, ATTR + 16, attrs, 2 * (ATTR + 16), data, size, 0, 0,
                                          sum(1 << b for b in features), 0, 0, 0)
    open(dst, "wb").write(out)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
