//! What stands around the record stream of a file: attributes, ids, feature sections.

use super::session::Session;
use crate::cursor::Cursor;
use crate::perf::attr::{Attr, MIN_LEN};
use crate::perf::header::{FileHeader, Section};
use crate::{Error, TraceOffset};

/// Where a file's header says where its records start.
const DATA_OFFSET: u64 = 40;

impl FileHeader {
    /// The record stream. A recorder that died left its size 0: then it reaches to the end.
    pub(crate) fn records<'a>(&self, file: &'a [u8]) -> Result<&'a [u8], Error> {
        if self.data.offset > file.len() as u64 {
            return Err(Error::BadHeader {
                field: "record section",
                offset: TraceOffset(DATA_OFFSET),
                expected: "a place in the file",
                found: self.data.offset,
            });
        }
        let size = if self.data.size == 0 { u64::MAX } else { self.data.size };
        Ok(Section { size, ..self.data }.of(file).0)
    }
}

/// Reads what stands around the record stream of a file: attributes, ids, feature sections.
pub(crate) fn tables(header: &FileHeader, file: &[u8], session: &mut Session) {
    let (records, whole) = header.data.of(file);
    if header.data.size != 0 && !whole {
        session.cut_short = true;
        session.problems.add(
            format!(
                "record section of {} bytes of which the file has {}",
                header.data.size,
                records.len()
            ),
            header.data.offset,
            "the records that there are are read",
        );
    }
    attributes(header, file, session);
    if header.data.size > 0 {
        let end = feature_sections(header, file, session);
        let behind = end.and_then(|end| (file.len() as u64).checked_sub(end));
        if let Some(behind) = behind.filter(|behind| *behind > 0) {
            session.problems.add(
                format!("{behind} bytes behind the last section of the file"),
                end.unwrap_or_default(),
                "they are ignored; give files that were joined one by one",
            );
        }
    }
}

/// Reads the attribute table and the ids that its entries point to.
fn attributes(header: &FileHeader, file: &[u8], session: &mut Session) {
    /// An attribute of the least size, and the section of its ids.
    const LEAST: u64 = MIN_LEN + 16;
    let order = session.order();
    let at = header.attrs.offset;
    let (table, whole) = header.attrs.of(file);
    let stride = usize::try_from(header.attr_size).ok();
    let Some(stride) = stride.filter(|_| header.attr_size >= LEAST) else {
        let what = format!("attribute size of {}, expected {LEAST} at least", header.attr_size);
        session.problems.add(what, at, "the events are unknown");
        return;
    };
    if !whole || table.is_empty() || table.len() % stride != 0 {
        let size = header.attrs.size;
        let what = format!(
            "attribute table of {size} bytes, expected a multiple of {stride} that the file has"
        );
        session.problems.add(what, at, "the events in it that are whole are read");
    }
    // Sections that overlap, which no recorder writes, could say the same ids any number of times.
    let mut ids_left = file.len();
    for (number, entry) in table.chunks_exact(stride).enumerate() {
        let at = header.attrs.offset + (number * stride) as u64;
        let (attr, ids) = entry.split_at(stride - 16);
        let mut ids = Cursor::new(ids, order);
        let section = (|| Some(Section { offset: ids.u64()?, size: ids.u64()? }))();
        match (Attr::parse(attr, order), section) {
            (Some((attr, _)), Some(section)) => {
                let (ids, mut whole) = section.of(file);
                whole &= ids.len() <= ids_left;
                let ids = &ids[..ids.len().min(ids_left)];
                ids_left -= ids.len();
                if !whole {
                    session.problems.add("ids beyond the end of the file", at, "samples of this event may be missing");
                }
                session.attribute(attr, ids, at);
            }
            _ => session.problems.add(
                format!("attribute that says it is longer than its {stride} bytes, or shorter than {MIN_LEN}"),
                at,
                "its event is not read",
            ),
        }
    }
}

/// Reads the feature sections that stand behind the records. Returns where the last section of the
/// file ends, of all kinds; `None` if the table of feature sections is cut.
fn feature_sections(header: &FileHeader, file: &[u8], session: &mut Session) -> Option<u64> {
    let mut last = [header.attrs, header.data].map(|section| section.end()).into_iter().max()?;
    let order = session.order();
    let table = header.data.offset.checked_add(header.data.size);
    let bits = (0..256u64)
        .zip(header.features.iter().flat_map(|word| (0..64).map(move |bit| word >> bit & 1 == 1)));
    let bits = bits.filter(|(_, set)| *set).map(|(bit, _)| bit);
    for (entry, bit) in bits.enumerate() {
        let offset = table.and_then(|table| table.checked_add(16 * entry as u64));
        let entry = offset.map(|offset| Section { offset, size: 16 }.of(file));
        let Some((bytes, true)) = entry else {
            session.problems.add(
                "feature table beyond the end of the file",
                table.unwrap_or(u64::MAX),
                "machine and event names are unknown",
            );
            return None;
        };
        let mut words = Cursor::new(bytes, order);
        let section = Section { offset: words.u64()?, size: words.u64()? };
        last = last.max(section.end()).max(offset?.saturating_add(16));
        match section.of(file) {
            (bytes, true) => session.feature(bit, bytes, section.offset),
            _ => session.problems.add(
                format!("feature section {bit} beyond the end of the file"),
                section.offset,
                "it is ignored",
            ),
        }
    }
    Some(last)
}
