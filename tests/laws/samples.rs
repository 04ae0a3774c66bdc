//! Sample records of any shape, against a table of the fields in the kernel's order.

use decoder::ByteOrder;
use decoder::perf::{Attr, ReadFormat, Sample, SampleType, Trailer};

use super::Choices;

/// How many bytes a field takes, as the kernel's `perf_output_sample` writes it.
#[derive(Clone, Copy)]
enum Rule {
    /// One word.
    Word,
    /// A word, unless another field has written it already.
    WordUnless(u32),
    /// Counter values.
    Read,
    /// A count of words, and the words.
    Words,
    /// A size in 32 bits, and as many bytes.
    Raw,
    /// A count, perhaps an index, entries of three words, perhaps a word more for each.
    Branches,
    /// An ABI, and the registers of this mask unless it is 0.
    Registers(fn(&Attr) -> u64),
    /// A size, and unless it is 0 as many bytes and a word.
    Stack,
    /// A size, and as many bytes.
    Bytes,
}

/// The bits of `sample_type` in the order of their fields.
const FIELDS: [(u32, Rule); 25] = [
    (16, Rule::Word), // IDENTIFIER
    (0, Rule::Word),  // IP
    (1, Rule::Word),  // TID
    (2, Rule::Word),  // TIME
    (3, Rule::Word),  // ADDR
    (6, Rule::Word),  // ID
    (9, Rule::Word),  // STREAM_ID
    (7, Rule::Word),  // CPU
    (8, Rule::Word),  // PERIOD
    (4, Rule::Read),
    (5, Rule::Words), // CALLCHAIN
    (10, Rule::Raw),
    (11, Rule::Branches),
    (12, Rule::Registers(|attr| attr.sample_regs_user)),
    (13, Rule::Stack),
    (24, Rule::Word),           // WEIGHT_STRUCT
    (14, Rule::WordUnless(24)), // WEIGHT
    (15, Rule::Word),           // DATA_SRC
    (17, Rule::Word),           // TRANSACTION
    (18, Rule::Registers(|attr| attr.sample_regs_intr)),
    (19, Rule::Word),  // PHYS_ADDR
    (21, Rule::Word),  // CGROUP
    (22, Rule::Word),  // DATA_PAGE_SIZE
    (23, Rule::Word),  // CODE_PAGE_SIZE
    (20, Rule::Bytes), // AUX
];

/// Reads bodies of any bytes, and bodies that are written to fit, by the table and by
/// [`Sample::parse`]. Both say the same, also of what is refused.
pub fn samples(data: &[u8]) {
    let mut choices = Choices::from_start(data);
    let order = if choices.flag() { ByteOrder::Big } else { ByteOrder::Little };
    // Fields that newer kernels may add are rare, as are those that make a body long.
    let newer = choices.byte() == 0xff;
    let known = u64::from(choices.u32() & choices.u32()) & ((1 << 25) - 1);
    let attr = Attr {
        sample_type: SampleType::from_bits_retain(known | u64::from(newer) << 25),
        read_format: ReadFormat::from_bits_retain(u64::from(choices.byte())),
        branch_sample_type: u64::from(choices.byte()) << 15,
        sample_regs_user: u64::from(choices.u16()),
        sample_regs_intr: choices.u64() & choices.u64(),
        ..Attr::default()
    };
    let written = write(&attr, order, &mut choices);
    let whole = compare(&written, &attr, order);
    assert!(whole, "what is written to fit is read");
    for len in (0..written.len()).rev().take(40) {
        assert!(!compare(&written[..len], &attr, order), "{len} of {} bytes", written.len());
    }
    let longer = [&written[..], &[0; 8]].concat();
    assert_eq!(compare(&longer, &attr, order), newer, "longer than its fields");

    compare(choices.rest(), &attr, order);
    trailer(choices.rest(), attr.sample_type.bits(), order);
    trailer(&written, attr.sample_type.bits(), order);
}

fn number(bytes: &[u8], order: ByteOrder) -> u64 {
    let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    match order {
        ByteOrder::Little => bytes.iter().rev().fold(0, fold),
        ByteOrder::Big => bytes.iter().fold(0, fold),
    }
}

fn has(attr: &Attr, bit: u32) -> bool {
    attr.sample_type.bits() >> bit & 1 == 1
}

/// Words of the READ field behind a first one that may count: all but that one.
fn read_words(format: u64, first: u64) -> Option<u64> {
    let times = (format & 0b11).count_ones();
    let each = 1 + (format & 0b1_0100).count_ones();
    match format >> 3 & 1 {
        1 => first.checked_mul(each.into())?.checked_add(times.into()),
        _ => Some(u64::from(times + each - 1)),
    }
}

/// Bytes of a field that starts `body`; `None` if that cannot be told or cannot be.
fn len(rule: Rule, body: &[u8], attr: &Attr, order: ByteOrder) -> Option<u64> {
    let word = |at: usize| body.get(at..at + 8).map(|bytes| number(bytes, order));
    let words = |count: u64| count.checked_mul(8)?.checked_add(8);
    match rule {
        Rule::Word => Some(8),
        Rule::WordUnless(bit) => Some(if attr.sample_type.bits() >> bit & 1 == 1 { 0 } else { 8 }),
        Rule::Read => words(read_words(attr.read_format.bits(), word(0)?)?),
        Rule::Words => words(word(0)?),
        Rule::Raw => Some(4 + number(body.get(..4)?, order)),
        Rule::Branches => {
            let per_branch = 3 + (attr.branch_sample_type >> 19 & 1);
            let index = attr.branch_sample_type >> 17 & 1;
            words(word(0)?.checked_mul(per_branch)?.checked_add(index)?)
        }
        Rule::Registers(mask) => {
            words(if word(0)? == 0 { 0 } else { mask(attr).count_ones().into() })
        }
        Rule::Stack => word(0)?.checked_add(if word(0)? == 0 { 8 } else { 16 }),
        Rule::Bytes => word(0)?.checked_add(8),
    }
}

/// Where every field stands: the whole table, then what is asked for is picked out.
fn naive<'a>(body: &'a [u8], attr: &Attr, order: ByteOrder) -> Option<Sample<'a>> {
    let mut fields: [Option<&[u8]>; 25] = [None; 25];
    let mut rest = body;
    for (bit, rule) in FIELDS.into_iter().filter(|(bit, _)| has(attr, *bit)) {
        let len = usize::try_from(len(rule, rest, attr, order)?).ok()?;
        let field;
        (field, rest) = rest.split_at_checked(len)?;
        fields[bit as usize] = Some(field);
    }
    if !rest.is_empty() && attr.sample_type.bits() < 1 << 25 {
        return None;
    }
    let word = |bit: usize| fields[bit].map(|field| number(field, order));
    let half = |bit: usize, at: usize| fields[bit].map(|field| narrow(&field[at..at + 4], order));
    Some(Sample {
        ip: word(0),
        pid_tid: half(1, 0).zip(half(1, 4)),
        time: word(2),
        addr: word(3),
        cpu: half(7, 0).filter(|cpu| *cpu != u32::MAX),
        raw: fields[10].map(|field| &field[4..]),
        weight: word(24).map(|weight| weight % (1 << 32)).or_else(|| word(14)),
        data_src: word(15),
        phys_addr: word(19),
        data_page_size: word(22),
    })
}

fn narrow(bytes: &[u8], order: ByteOrder) -> u32 {
    u32::try_from(number(bytes, order)).expect("four bytes")
}

/// Whether the body is a sample, which both must say alike.
fn compare(body: &[u8], attr: &Attr, order: ByteOrder) -> bool {
    let want = naive(body, attr, order);
    assert_eq!(Sample::parse(body, attr, order), want, "{attr:?} {order:?} {body:02x?}");
    want.is_some()
}

/// A body that fits the attribute: counts and sizes are small, all else is as the choices say.
fn write(attr: &Attr, order: ByteOrder, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    let put = |body: &mut Vec<u8>, value: u64| match order {
        ByteOrder::Little => body.extend(value.to_le_bytes()),
        ByteOrder::Big => body.extend(value.to_be_bytes()),
    };
    for (_, rule) in FIELDS.into_iter().filter(|(bit, _)| has(attr, *bit)) {
        let start = body.len();
        match rule {
            Rule::Word | Rule::WordUnless(_) => put(&mut body, choices.u64()),
            // A count of values only in a group.
            Rule::Read if attr.read_format.bits() >> 3 & 1 == 0 => put(&mut body, choices.u64()),
            Rule::Read | Rule::Words | Rule::Branches => put(&mut body, choices.below(4) as u64),
            Rule::Registers(_) => put(&mut body, choices.below(3) as u64),
            Rule::Stack | Rule::Bytes => put(&mut body, choices.below(5) as u64 * 4),
            Rule::Raw => {
                let size = u32::from(choices.byte() % 29);
                match order {
                    ByteOrder::Little => body.extend(size.to_le_bytes()),
                    ByteOrder::Big => body.extend(size.to_be_bytes()),
                }
            }
        }
        let len = len(rule, &body[start..], attr, order).expect("the count is there, and small");
        let end = start + usize::try_from(len).expect("small");
        body.truncate(end);
        body.resize_with(end, || choices.byte());
    }
    body
}

/// A trailer is a few words at the end; the table has them in their order.
fn trailer(body: &[u8], sample_type: u64, order: ByteOrder) {
    let bits: Vec<u32> =
        [1, 2, 6, 9, 7, 16].into_iter().filter(|bit| sample_type >> bit & 1 == 1).collect();
    let want = body.len().checked_sub(8 * bits.len()).map(|start| {
        let word = |bit: u32| {
            let at = bits.iter().position(|other| *other == bit)?;
            body[start..].chunks(8).nth(at)
        };
        Trailer {
            pid_tid: word(1).map(|word| (narrow(&word[..4], order), narrow(&word[4..], order))),
            time: word(2).map(|word| number(word, order)),
            cpu: word(7).map(|word| narrow(&word[..4], order)).filter(|cpu| *cpu != u32::MAX),
        }
    });
    let got = Trailer::parse(body, SampleType::from_bits_retain(sample_type), order);
    assert_eq!(got, want, "{sample_type:#x} {order:?} {body:02x?}");
}
