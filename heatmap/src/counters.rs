//! The 512 counters of one block. Most blocks that are sampled are touched on a few pages:
//! representation follows density, behind one type.

use decoder::PAGES_PER_FOLIO;

/// Touched pages up to which a list is kept; beyond, an array is as small and faster.
const MAX_LISTED: usize = 64;

/// Accesses to each page of a block. A counter is exact up to 2^32 - 1 and stays there.
#[derive(Clone, Debug)]
pub struct Counters(Form);

#[derive(Clone, Debug)]
enum Form {
    /// Touched pages in ascending order with their counts, none of which is 0.
    List(Vec<(u16, u32)>),
    Bytes(Box<[u8; PAGES_PER_FOLIO]>),
    Words(Box<[u32; PAGES_PER_FOLIO]>),
}

impl Default for Counters {
    fn default() -> Self {
        Self(Form::List(Vec::new()))
    }
}

impl Counters {
    /// Adds `count` accesses to a page in 0..512.
    pub fn add(&mut self, page: usize, count: u32) {
        debug_assert!(page < PAGES_PER_FOLIO);
        match &mut self.0 {
            Form::List(list) => {
                // Pages are below 512.
                #[expect(clippy::cast_possible_truncation, reason = "see above")]
                let key = page as u16;
                match list.binary_search_by_key(&key, |(page, _)| *page) {
                    Ok(at) => list[at].1 = list[at].1.saturating_add(count),
                    Err(_) if count == 0 => {}
                    Err(at) if list.len() < MAX_LISTED => list.insert(at, (key, count)),
                    Err(_) => {
                        self.widen();
                        self.add(page, count);
                    }
                }
            }
            Form::Bytes(bytes) => {
                let sum = u32::from(bytes[page]).saturating_add(count);
                match u8::try_from(sum) {
                    Ok(sum) => bytes[page] = sum,
                    Err(_) => {
                        self.widen();
                        self.add(page, count);
                    }
                }
            }
            Form::Words(words) => words[page] = words[page].saturating_add(count),
        }
    }

    /// Goes on to the next form that holds what this one does.
    fn widen(&mut self) {
        let counts = self.to_array();
        self.0 = if matches!(self.0, Form::List(_)) && counts.iter().all(|count| *count <= 0xff) {
            let mut bytes = Box::new([0; PAGES_PER_FOLIO]);
            for (byte, count) in bytes.iter_mut().zip(counts.iter()) {
                *byte = u8::try_from(*count).unwrap_or(u8::MAX);
            }
            Form::Bytes(bytes)
        } else {
            Form::Words(Box::new(counts))
        };
    }

    /// All counters.
    pub fn to_array(&self) -> [u32; PAGES_PER_FOLIO] {
        let mut counts = [0; PAGES_PER_FOLIO];
        match &self.0 {
            Form::List(list) => {
                list.iter().for_each(|(page, count)| counts[usize::from(*page)] = *count);
            }
            Form::Bytes(bytes) => {
                for (count, byte) in counts.iter_mut().zip(bytes.iter()) {
                    *count = u32::from(*byte);
                }
            }
            Form::Words(words) => counts = **words,
        }
        counts
    }

    /// The touched pages, in ascending order, with their counts.
    pub fn touched(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        let (list, bytes, words): (&[(u16, u32)], &[u8], &[u32]) = match &self.0 {
            Form::List(list) => (list, &[], &[]),
            Form::Bytes(bytes) => (&[], &bytes[..], &[]),
            Form::Words(words) => (&[], &[], &words[..]),
        };
        let list = list.iter().map(|(page, count)| (usize::from(*page), *count));
        let bytes = bytes.iter().map(|byte| u32::from(*byte)).enumerate();
        let words = words.iter().copied().enumerate();
        list.chain(bytes).chain(words).filter(|(_, count)| *count > 0)
    }

    /// Adds another block's counters.
    pub fn merge(&mut self, other: &Self) {
        other.touched().for_each(|(page, count)| self.add(page, count));
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::List(list) => list.capacity() * size_of::<(u16, u32)>(),
            Form::Bytes(_) => PAGES_PER_FOLIO,
            Form::Words(_) => PAGES_PER_FOLIO * size_of::<u32>(),
        }
    }

    /// Tests what holds between calls.
    ///
    /// # Panics
    /// If it does not.
    pub fn validate(&self) {
        if let Form::List(list) = &self.0 {
            assert!(list.len() <= MAX_LISTED);
            assert!(list.is_sorted_by(|(a, _), (b, _)| a < b), "ascending, each page once");
            assert!(
                list.iter().all(|(page, count)| usize::from(*page) < PAGES_PER_FOLIO && *count > 0)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_form_counts_like_an_array(
            adds in prop::collection::vec((0usize..512, prop_oneof![1u32..3, 200u32..300, Just(u32::MAX / 2)]), 0..400),
        ) {
            let (mut counters, mut naive) = (Counters::default(), [0u64; PAGES_PER_FOLIO]);
            for (page, count) in adds {
                counters.add(page, count);
                counters.validate();
                naive[page] += u64::from(count);
            }
            let naive = naive.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
            prop_assert_eq!(counters.to_array(), naive);
            let touched: Vec<_> = naive.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
            prop_assert_eq!(counters.touched().collect::<Vec<_>>(), touched);
            let mut merged = Counters::default();
            merged.add(3, 1);
            merged.merge(&counters);
            counters.add(3, 1);
            prop_assert_eq!(merged.to_array(), counters.to_array());
        }
    }

    #[test]
    fn a_counter_stops_at_its_greatest_value() {
        let mut counters = Counters::default();
        counters.add(5, u32::MAX);
        counters.add(5, 1);
        assert_eq!(counters.to_array()[5], u32::MAX);
    }
}
