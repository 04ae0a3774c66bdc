#!/usr/bin/env python3
"""perf-readable.py IN OUT: put the content of an SPE trace into a container that perf 6.1 reads.

The SPE bytes and the other records keep their content and order; only what is around them changes:

- stream form becomes file form (same byte order); HEADER_ATTR and HEADER_FEATURE become tables;
- attributes are cut or padded to 112 bytes (perf 6.1 refuses more than 128); ADDR, WEIGHT, DATA_SRC
  and PHYS_ADDR are set in every sample_type, since `perf script -F` wants them in all events (these
  bits do not change the layout of any record: SPE files hold no SAMPLE records);
- AUXTRACE_INFO version 2 becomes version 1, mapped per CPU or per thread as the pieces tell;
- COMPRESSED (81) and COMPRESSED2 (83) are replaced by what they hold (needs the `zstd` command);
- the AUXTRACE pieces of one queue become one AUXTRACE at the place of the first piece, since perf
  6.1 loses a record that is cut inside a packet;
- an index of the AUXTRACE records is written (feature 18), feature 27 (compression) is dropped.

A description of what was changed goes to standard error.
"""
import struct
import subprocess
import sys

SPE = 4
ATTR = 112
ADDR, WEIGHT, DATA_SRC, PHYS_ADDR = 1 << 3, 1 << 14, 1 << 15, 1 << 19


def unzstd(data):
    """perf record leaves its zstd frame unfinished: if so, end it with an empty last block."""
    for end in (b"", b"\x01\0\0"):
        run = subprocess.run(["zstd", "-dcq"], input=data + end, capture_output=True)
        if run.returncode == 0:
            return run.stdout
    raise SystemExit("zstd: " + run.stderr.decode())


class Trace:
    """Header, attributes, features and records (type, misc, body, payload) of a perf.data file."""

    def __init__(self, data):
        self.e = e = {b"PERFILE2": "<", b"2ELIFREP": ">"}[data[:8]]
        self.stream = struct.unpack_from(e + "Q", data, 8)[0] == 16
        self.attrs, self.features, self.records = [], {}, []
        self.compressed = []
        pos, end = 16, len(data)
        if not self.stream:
            attr_size, at, size, pos, length = struct.unpack_from(e + "5Q", data, 16)
            for entry in range(at, at + size, attr_size):
                ids, ids_size = struct.unpack_from(e + "2Q", data, entry + attr_size - 16)
                self.attrs.append((data[entry:entry + attr_size - 16], data[ids:ids + ids_size]))
            end = pos + length
            table = end
            for bit in range(256):
                if struct.unpack_from(e + "Q", data, 72 + bit // 64 * 8)[0] >> bit % 64 & 1:
                    off, size = struct.unpack_from(e + "2Q", data, table)
                    table += 16
                    self.features[bit] = data[off:off + size]
        self.walk(data, pos, end)

    def walk(self, data, pos, end):
        e, zstd, done, rest = self.e, b"", 0, b""
        while pos + 8 <= end:
            kind, misc, size = struct.unpack_from(e + "IHH", data, pos)
            if size < 8 or pos + size > end:
                raise SystemExit(f"record of size {size} at {pos}")
            body = data[pos + 8:pos + size]
            pos += size
            payload = b""
            if kind == 71:
                length = struct.unpack_from(e + "Q", body)[0]
                payload = data[pos:pos + length]
                pos += length
            elif kind == 66:
                length = (struct.unpack_from(e + "I", body)[0] + 7) // 8 * 8
                payload = data[pos:pos + length]
                pos += length
            if kind in (81, 83):
                self.compressed.append(kind)
                zstd += body if kind == 81 else body[8:8 + struct.unpack_from(e + "Q", body)[0]]
                out = unzstd(zstd)
                rest = rest + out[done:]
                done = len(out)
                inner = 0
                while inner + 8 <= len(rest):
                    k, m, s = struct.unpack_from(e + "IHH", rest, inner)
                    if s < 8:
                        raise SystemExit("bad record inside a compressed one")
                    if inner + s > len(rest):
                        break
                    self.records.append((k, m, rest[inner + 8:inner + s], b""))
                    inner += s
                rest = rest[inner:]
            elif kind == 64:
                size = struct.unpack_from(e + "I", body, 4)[0]
                self.attrs.append((body[:size], body[size:]))
            elif kind == 80:
                feature = struct.unpack_from(e + "Q", body)[0]
                if len(body) > 8:
                    self.features[feature] = body[8:]
            else:
                self.records.append((kind, misc, body, payload))


def main(src, dst):
    data = open(src, "rb").read()
    t = Trace(data)
    e, changed = t.e, []
    if t.stream:
        changed.append("stream form to file form")
    if t.compressed:
        changed.append("records of type " + ", ".join(map(str, sorted(set(t.compressed)))) + " unpacked")
    sizes = {struct.unpack_from(e + "I", a, 4)[0] for a, _ in t.attrs}
    if sizes != {ATTR}:
        changed.append(f"attributes of {max(sizes)} bytes to {ATTR}")

    # Join the pieces of each queue, without the zero bytes that round a piece up to 8.
    queues, pieces = {}, 0
    for kind, _, body, payload in t.records:
        if kind != 71:
            continue
        _, offset, ref, idx, tid, cpu, _ = struct.unpack(e + "QQQIIII", body)
        pieces += 1
        q = queues.setdefault((idx, tid, cpu), {"start": offset, "ref": ref, "bytes": b""})
        gap = offset - q["start"] - len(q["bytes"])
        if gap < -7 or gap > 0:
            raise SystemExit(f"pieces of queue {idx} do not join: gap {gap}")
        q["bytes"] = q["bytes"][:offset - q["start"]] + payload
    if pieces != len(queues):
        changed.append(f"{pieces} AUXTRACE pieces to {len(queues)}")
    per_cpu = any(cpu != 0xFFFFFFFF for _, _, cpu in queues)

    out = bytearray(104)
    ids = []
    for _, i in t.attrs:
        ids.append((len(out), len(i)))
        out += i
    attrs_at = len(out)
    for (a, _), (off, size) in zip(t.attrs, ids):
        a = bytearray(a[:ATTR].ljust(ATTR, b"\0"))
        struct.pack_into(e + "I", a, 4, ATTR)
        sample_type = struct.unpack_from(e + "Q", a, 24)[0]
        struct.pack_into(e + "Q", a, 24, sample_type | ADDR | WEIGHT | DATA_SRC | PHYS_ADDR)
        out += a + struct.pack(e + "2Q", off, size)
    attrs_size = len(out) - attrs_at
    data_at = len(out)
    index, seen = [], set()
    for kind, misc, body, payload in t.records:
        if kind == 70:
            priv = struct.unpack(e + "II%dQ" % ((len(body) - 8) // 8), body)
            if priv[0] != SPE:
                raise SystemExit("not an SPE trace")
            if len(priv) > 4:
                changed.append("AUXTRACE_INFO version 2 to 1")
                body = struct.pack(e + "IIQQ", SPE, 0, priv[4], int(per_cpu))
        elif kind == 71:
            key = struct.unpack_from(e + "III", body, 24)
            if key in seen:
                continue
            seen.add(key)
            q = queues[key]
            payload = q["bytes"] + bytes(-len(q["bytes"]) % 8)
            body = struct.pack(e + "QQQIIII", len(payload), q["start"], q["ref"], *key, 0)
            index.append(len(out))
        out += struct.pack(e + "IHH", kind, misc, 8 + len(body)) + body + payload
    data_size = len(out) - data_at
    t.features.pop(27, None)
    t.features[18] = struct.pack(e + "Q", len(index)) + b"".join(struct.pack(e + "QQ", i, 48) for i in index)
    at = len(out) + 16 * len(t.features)
    table, sections = b"", b""
    for bit in sorted(t.features):
        table += struct.pack(e + "QQ", at + len(sections), len(t.features[bit]))
        sections += t.features[bit]
    out += table + sections
    magic = b"PERFILE2" if e == "<" else b"2ELIFREP"
    bits = sum(1 << b for b in t.features)
    out[:104] = magic + struct.pack(e + "9Q", 104, ATTR + 16, attrs_at, attrs_size, data_at, data_size, 0, 0,
                                    bits & (1 << 64) - 1) + struct.pack(e + "3Q", *(bits >> s & (1 << 64) - 1 for s in (64, 128, 192)))
    open(dst, "wb").write(out)
    print("; ".join(changed) or "nothing but sample_type", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
