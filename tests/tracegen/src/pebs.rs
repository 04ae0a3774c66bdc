//! Records of Intel's precise event-based sampling as the processor writes them into its buffer: fixed ones (Intel SDM,
//! volume 3), adaptive ones, and fragments of architectural PEBS (`arch/x86/include/asm/perf_event.h` of Linux).

/// What a record tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The instruction.
    pub ip: u64,
    /// Linear address of the data.
    pub address: u64,
    /// Data source word.
    pub source: u64,
    /// Latency word.
    pub latency: u64,
    /// Time-stamp counter.
    pub tsc: u64,
}

/// What nobody reads.
const FILL: u64 = 0xeeee_eeee_eeee_eeee;

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

impl Record {
    /// A record of formats 0 to 3.
    pub fn fixed(&self, format: u8) -> Vec<u8> {
        let mut words = vec![0x0246, self.ip + 4]; // RFLAGS, RIP
        words.resize(18, FILL); // registers
        if format >= 1 {
            words.extend([1, self.address, self.source, self.latency]);
        }
        if format >= 2 {
            words.extend([self.ip, 0]);
        }
        if format >= 3 {
            words.push(self.tsc);
        }
        bytes(&words)
    }

    /// An adaptive record. `more` are groups beside basic and memory, as bits of the first word, and how many words
    /// they take, which stand behind.
    pub fn adaptive(&self, more: u64, behind: &[u64]) -> Vec<u8> {
        let size = 0x40 + 8 * behind.len() as u64;
        let basic = [size << 48 | more | 1, self.ip, 1, self.tsc];
        let memory = [self.address, self.source, self.latency, 0];
        bytes(&[&basic[..], &memory, behind].concat())
    }

    /// A record of architectural PEBS in one fragment.
    pub fn fragment(&self) -> Vec<u8> {
        bytes(&[&[1 << 63 | 1 << 62 | 0x80, 0][..], &self.basic(), &self.aux()].concat())
    }

    /// The same in three fragments: the one in the middle is a null fragment.
    pub fn fragments(&self) -> Vec<u8> {
        let first = [&[1 << 63 | 1 << 31 | 0x40, 0][..], &self.basic()].concat();
        let last = [&[1 << 62 | 0x50, 0][..], &self.aux()].concat();
        bytes(&[&first[..], &[0x10, 0], &last].concat())
    }

    fn basic(&self) -> [u64; 6] {
        [self.ip, 1, self.tsc, FILL, FILL, FILL]
    }

    fn aux(&self) -> [u64; 8] {
        [self.address, FILL, FILL, FILL, FILL, self.source, self.latency, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_the_address() {
        let record = Record { ip: 1, address: 0xadd, source: 2, latency: 3, tsc: 4 };
        let at = |bytes: &[u8], at: usize| u64::from(bytes[at + 1]) << 8 | u64::from(bytes[at]);
        let sizes = [0, 1, 2, 3].map(|format| record.fixed(format).len());
        assert_eq!(sizes, [0x90, 0xb0, 0xc0, 0xc8]);
        assert_eq!(at(&record.fixed(3), 0x98), 0xadd);
        let adaptive = record.adaptive(2, &[0; 18]);
        assert_eq!((adaptive.len(), at(&adaptive, 0x20)), (0xd0, 0xadd));
        assert_eq!((record.fragment().len(), at(&record.fragment(), 0x40)), (0x80, 0xadd));
        assert_eq!((record.fragments().len(), at(&record.fragments(), 0x60)), (0xa0, 0xadd));
    }
}
