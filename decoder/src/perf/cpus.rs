//! Sets of CPUs, and how recordings write them (`tools/lib/perf/include/perf/event.h`,
//! `perf_record_cpu_map_data`; lists as the kernel prints them).

use core::fmt;

use crate::cost;
use crate::cursor::{ByteOrder, Cursor};

/// CPUs with numbers below [`CpuSet::MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuSet {
    /// Bit `n` of word `w` is CPU `64 * w + n`; the last word is not 0.
    words: Vec<u64>,
}

impl CpuSet {
    /// The most CPUs that a kernel is built for (`NR_CPUS` of x86 with `MAXSMP`). Greater numbers
    /// come only from damage, and are passed over.
    pub const MAX: u32 = 1 << 13;

    /// Adds a CPU.
    pub fn insert(&mut self, cpu: u32) {
        if cpu < Self::MAX {
            self.add_word((cpu / 64) as usize, 1 << (cpu % 64));
        }
    }

    /// Adds the CPUs from `first` to `last`, as far as there can be such.
    fn insert_range(&mut self, first: u32, last: u32) {
        let last = last.min(Self::MAX - 1);
        cost::bytes((last / 8) as usize);
        for at in first / 64..=last / 64 {
            let (from, to) = (first.max(64 * at), last.min(64 * at + 63));
            if from <= to {
                self.add_word(at as usize, u64::MAX >> (63 - (to - from)) << (from % 64));
            }
        }
    }

    /// Adds all CPUs of another set.
    pub fn extend(&mut self, other: &Self) {
        (0..).zip(&other.words).for_each(|(at, word)| self.add_word(at, *word));
    }

    fn add_word(&mut self, at: usize, word: u64) {
        if word != 0 && at < Self::MAX as usize / 64 {
            self.words.resize(self.words.len().max(at + 1), 0);
            self.words[at] |= word;
        }
    }

    /// Number of CPUs.
    pub fn len(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The CPUs in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let bits = |(at, word): (u32, &u64)| {
            let word = *word;
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| 64 * at + bit)
        };
        (0..).zip(&self.words).flat_map(bits)
    }

    /// Reads a list as the kernel prints it and perf takes it: `0-3,8`. `None` if it is none, or
    /// names a CPU that cannot be, or many CPUs again and again.
    pub fn parse(text: &str) -> Option<Self> {
        let (mut cpus, mut named) = (Self::default(), 0);
        for range in text.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            if first > last || last >= Self::MAX {
                return None;
            }
            named += last - first + 1;
            if named > 2 * Self::MAX {
                return None;
            }
            cpus.insert_range(first, last);
        }
        Some(cpus)
    }

    /// Reads the data of CPU_MAP and EVENT_UPDATE. `None` if it is cut, of an unknown kind, or
    /// stands for any CPU.
    pub(crate) fn of_map(data: &[u8], order: ByteOrder) -> Option<Self> {
        const LIST: u16 = 0;
        const MASK: u16 = 1;
        const RANGE: u16 = 2;
        const ANY: u16 = u16::MAX;
        let mut at = Cursor::new(data, order);
        let mut cpus = Self::default();
        match at.u16()? {
            LIST => {
                for _ in 0..at.u16()? {
                    let cpu = at.u16()?;
                    if cpu == ANY {
                        return None;
                    }
                    cpus.insert(cpu.into());
                }
            }
            MASK => {
                let (count, size) = (at.u16()?, at.u16()?);
                // Words of 8 bytes stand behind filling.
                let wide = size == 8;
                if wide {
                    at.u32()?;
                }
                for word in 0..count.into() {
                    if wide {
                        cpus.add_word(word, at.u64()?);
                    } else {
                        cpus.add_word(word / 2, u64::from(at.u32()?) << (word % 2 * 32));
                    }
                }
            }
            RANGE => {
                let (any, _filling) = (at.u8()?, at.u8()?);
                let (first, last) = (at.u16()?, at.u16()?);
                if any != 0 {
                    return None;
                }
                cpus.insert_range(first.into(), last.into());
            }
            _ => return None,
        }
        Some(cpus)
    }
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        let mut set = Self::default();
        cpus.into_iter().for_each(|cpu| set.insert(cpu));
        set
    }
}

/// As the kernel prints it: `0-3,8`.
impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().peekable();
        let mut comma = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while cpus.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written() {
        for text in ["0", "1", "0-3,8", "5,7,9-10", "63-64,127-128", "8191"] {
            assert_eq!(CpuSet::parse(text).map(|cpus| cpus.to_string()).as_deref(), Some(text));
        }
        let cpus = CpuSet::parse("2,0-1, 7").unwrap();
        assert_eq!((cpus.to_string().as_str(), cpus.len()), ("0-2,7", 4));
        assert_eq!(cpus.iter().collect::<Vec<_>>(), [0, 1, 2, 7]);
        for bad in ["", "x", "3-1", "0-8192", "0-4294967295", "1,,2", "-1"] {
            assert_eq!(CpuSet::parse(bad), None, "{bad:?}");
        }
    }

    /// The layouts of `perf_record_cpu_map_data`; the range is one that perf 6.1 wrote.
    #[test]
    fn maps_of_each_kind() {
        let list = [0u16, 3, 1, 0, 70].map(u16::to_le_bytes).concat();
        let mask = |size: u16, words: &[u8]| {
            [&[1u16, 2, size].map(u16::to_le_bytes).concat(), words].concat()
        };
        let narrow = mask(4, &[0xf0, 0, 0, 0, 1, 0, 0, 0x80]);
        let wide = mask(8, &[[0; 4].as_slice(), &[3; 1], &[0; 7], &[1; 1], &[0; 7]].concat());
        let range = [2, 0, 0, 0, 0, 0, 1, 0];
        let read = |data: &[u8]| CpuSet::of_map(data, ByteOrder::Little).map(|set| set.to_string());
        for (data, want) in [
            (list.as_slice(), "0-1,70"),
            (&narrow, "4-7,32,63"),
            (&wide, "0-1,64"),
            (&range, "0-1"),
        ] {
            assert_eq!(read(data).as_deref(), Some(want));
            for len in 0..data.len() {
                let cut = read(&data[..len]);
                assert!(cut.is_none() || data == range && len >= 8, "{want} cut at {len}");
            }
        }
        let big = [0u16, 2, 9, 4].map(u16::to_be_bytes).concat();
        let big = CpuSet::of_map(&big, ByteOrder::Big).map(|set| set.to_string());
        assert_eq!(big.as_deref(), Some("4,9"));
        // Any CPU, as -1 or as a flag; a kind of which nothing is known.
        assert_eq!(read(&[0u16, 1, u16::MAX].map(u16::to_le_bytes).concat()), None);
        assert_eq!(read(&[2, 0, 1, 0, 0, 0, 0, 0]), None);
        assert_eq!(read(&[9, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn numbers_that_cannot_be_take_no_memory() {
        let set = [u32::MAX, CpuSet::MAX].into_iter().collect::<CpuSet>();
        assert!(set.is_empty() && set.words.is_empty());
        let all = [2u16, 0, 0, u16::MAX].map(u16::to_le_bytes).concat();
        let all = CpuSet::of_map(&all, ByteOrder::Little).unwrap();
        assert_eq!(all.len(), CpuSet::MAX);
    }
}
