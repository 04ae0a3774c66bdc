//! Parquet files. PFNs, addresses and counts of accesses or pages are u64, times i64, small
//! numbers (CPU, process, latency in cycles, percent, chunks, orders) u32, names strings from a
//! dictionary; absent is null. The file's key-value metadata has the schema's name under
//! `schema`; a report's also has `report`, the JSON report without its rows, so that no
//! number leaves without its ledger.

mod column;

use std::borrow::Borrow;
use std::io;
use std::sync::Arc;

use ::parquet::basic::{Compression, Repetition, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::types::{Type, TypePtr};
use decoder::Pfn;
use heatmap::{Decision, Report, TopFolio, Verdict};

use self::column::{Bool, Column, I64, Names, PageCounts, Text, U32, U64, Values, time};
use super::rows::RecordRow;
use super::schema::{self, RECORD_COLUMNS};

/// Rows of one row group: what is held in memory until it is written, about 120 bytes a record.
const ROW_GROUP_ROWS: usize = 128 << 10;
/// Bytes of one row group, for decisions with 512 counts each.
const ROW_GROUP_BYTES: usize = 16 << 20;
/// How many rows come between two looks at the bytes.
const LOOKED_AT: usize = 64;

/// Columns of a report's rows that may be absent.
const TOP_NULLABLE: [&str; 6] =
    ["verdict", "mapping_order_max", "first_ns", "last_ns", "cold_share", "steady"];

/// Writes the rows of a report, and the report without its [`Report::top`].
///
/// # Errors
/// Those of `out`.
pub fn report<W: io::Write + Send, F: Borrow<TopFolio>>(
    report: &Report,
    rows: impl IntoIterator<Item = F>,
    out: W,
) -> io::Result<()> {
    let mut without_rows = Vec::new();
    super::json::report(&head(report), &mut without_rows)?;
    let without_rows = String::from_utf8_lossy(&without_rows).into_owned();
    let columns = TopColumns::default();
    let mut file = File::new(out, schema::REPORT, columns, &TOP_NULLABLE, Some(without_rows))?;
    for row in rows {
        file.write(|columns| columns.append(row.borrow()))?;
    }
    file.finish()
}

/// The report without its rows, each of which has 512 counters that nobody wants copied.
fn head(report: &Report) -> Report {
    Report {
        input: report.input.clone(),
        reason: report.reason.clone(),
        notes: report.notes.clone(),
        ledger: report.ledger.clone(),
        records_by_source: report.records_by_source.clone(),
        unreadable: report.unreadable.clone(),
        coverage: report.coverage.clone(),
        top: Vec::new(),
        ..*report
    }
}

/// Writes pages in the order given.
///
/// # Errors
/// Those of `out`.
pub fn pages<W: io::Write + Send>(
    pages: impl IntoIterator<Item = (Pfn, u32)>,
    out: W,
) -> io::Result<()> {
    let mut file = File::new(out, schema::PAGES, PageColumns::default(), &[], None)?;
    for page in pages {
        file.write(|columns| columns.append(&page))?;
    }
    file.finish()
}

/// Columns that every record has a value for.
const ALWAYS: [&str; 3] = ["op", "queue", "guest"];

/// Records on their way into a file.
pub(super) struct Records<W: io::Write + Send>(File<W, RecordColumns>);

impl<W: io::Write + Send> Records<W> {
    pub(super) fn new(out: W) -> io::Result<Self> {
        let nullable: Vec<_> =
            RECORD_COLUMNS.into_iter().filter(|column| !ALWAYS.contains(column)).collect();
        File::new(out, schema::RECORDS, RecordColumns::default(), &nullable, None).map(Self)
    }

    pub(super) fn write(&mut self, row: &RecordRow<'_>) -> io::Result<()> {
        self.0.write(|columns| columns.append(row))
    }

    pub(super) fn finish(self) -> io::Result<()> {
        self.0.finish()
    }
}

/// Decisions on their way into a file.
pub(super) struct Decisions<W: io::Write + Send>(File<W, DecisionsAndCounts>);

/// Columns of decisions that may be absent.
const DECISION_NULLABLE: [&str; 5] = ["pid", "vaddr", "cold_share", "steady", "counts"];

impl<W: io::Write + Send> Decisions<W> {
    pub(super) fn new(out: W, counts: bool) -> io::Result<Self> {
        let columns = DecisionsAndCounts {
            decisions: DecisionColumns::default(),
            counts: counts.then(PageCounts::default),
        };
        File::new(out, schema::DECISIONS, columns, &DECISION_NULLABLE, None).map(Self)
    }

    pub(super) fn write(&mut self, decision: &Decision) -> io::Result<()> {
        self.0.write(|columns| {
            columns.decisions.append(decision);
            if let Some(counts) = &mut columns.counts {
                counts.append(decision.counts.as_deref());
            }
        })
    }

    pub(super) fn finish(self) -> io::Result<()> {
        self.0.finish()
    }
}

/// The columns of a file.
trait Columns {
    /// How the file's schema describes them.
    fn describe(&self, nullable: &[&str]) -> Result<Vec<TypePtr>, ParquetError>;

    /// Bytes that their values take.
    fn bytes(&self) -> usize;

    /// Writes all values into a row group, and forgets them. `fields` is what
    /// [`Columns::describe`] said.
    fn write<W: io::Write + Send>(
        &mut self,
        fields: &[TypePtr],
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError>;
}

/// The columns of a type of rows, in the order of the schema.
macro_rules! columns {
    ($type:ident($row:ident: $row_type:ty) { $($column:ident: $kind:ty => $append:expr,)* }) => {
        #[derive(Default)]
        struct $type {
            $($column: $kind,)*
        }

        impl $type {
            fn append(&mut self, $row: &$row_type) {
                $(self.$column.append($append);)*
            }

            /// Their names, and their types in the field reference.
            #[cfg(test)]
            const REFERENCE: &[(&str, &str)] =
                &[$((stringify!($column), <$kind as Column>::TYPE),)*];
        }

        impl Columns for $type {
            fn describe(&self, nullable: &[&str]) -> Result<Vec<TypePtr>, ParquetError> {
                let is_nullable = |name| nullable.contains(&name);
                Ok(vec![$({
                    let name = stringify!($column);
                    <$kind as Column>::describe(name, is_nullable(name))?
                },)*])
            }

            fn bytes(&self) -> usize {
                [$(self.$column.bytes(),)*].iter().sum()
            }

            fn write<W: io::Write + Send>(
                &mut self,
                fields: &[TypePtr],
                group: &mut SerializedRowGroupWriter<'_, W>,
            ) -> Result<(), ParquetError> {
                let mut nullable = fields.iter().map(|field| is_nullable(field));
                $(self.$column.write(nullable.next().unwrap_or(false), group)?;)*
                Ok(())
            }
        }
    };
}

columns! {
    TopColumns(folio: TopFolio) {
        folio_pfn: Values<U64> => Some(folio.folio_pfn.get()),
        accesses: Values<U64> => Some(folio.accesses),
        loads: Values<U64> => Some(folio.loads),
        stores: Values<U64> => Some(folio.stores),
        atomics: Values<U64> => Some(folio.atomics),
        unknown_op: Values<U64> => Some(folio.unknown_op),
        touched_pages: Values<U64> => Some(folio.touched_pages.into()),
        peak: Values<U64> => Some(folio.peak),
        hot_chunks: Values<U32> => Some(folio.hot_chunks),
        chunks: Values<U32> => Some(folio.chunks),
        hot_percent: Values<U32> => Some(folio.hot_percent),
        verdict: Names => folio.verdict.map(Verdict::as_str),
        mapping_order_max: Values<U32> => folio.mapping_order_max.map(u32::from),
        backing: Names => Some(folio.backing.name()),
        first_ns: Values<I64> => folio.first_ns.and_then(time),
        last_ns: Values<I64> => folio.last_ns.and_then(time),
        visits: Values<U64> => Some(folio.evidence.visits),
        cold_visits: Values<U64> => Some(folio.evidence.cold_visits),
        cold_share: Values<U32> => folio.evidence.cold_share,
        proposable: Values<Bool> => Some(folio.evidence.proposable),
        steady: Values<Bool> => folio.evidence.steady,
        left_out: Values<Bool> => Some(folio.evidence.left_out),
    }
}

columns! {
    RecordColumns(row: RecordRow<'_>) {
        time_ns: Values<I64> => row.time_ns.and_then(time),
        cpu: Values<U32> => row.cpu,
        pid: Values<U32> => row.pid,
        tid: Values<U32> => row.tid,
        event: Names => row.event,
        op: Names => Some(row.op),
        ip: Values<U64> => row.ip,
        vaddr: Values<U64> => row.vaddr,
        paddr: Values<U64> => row.paddr,
        latency: Values<U32> => row.latency,
        source: Names => row.source,
        flags: Names => row.flags_or_absent(),
        queue: Names => Some(row.queue),
        tlb: Names => row.tlb,
        page_size: Values<U64> => row.page_size,
        issue_latency: Values<U32> => row.issue_latency,
        translation_latency: Values<U32> => row.translation_latency,
        guest: Values<Bool> => Some(row.guest),
    }
}

columns! {
    DecisionColumns(decision: Decision) {
        folio_pfn: Values<U64> => Some(decision.folio_pfn.get()),
        order: Values<U32> => Some(decision.order),
        hot_threshold: Values<U32> => Some(decision.hot_threshold),
        hot_percent: Values<U32> => Some(decision.hot_percent),
        hot_chunks: Values<U32> => Some(decision.hot_chunks),
        chunks: Values<U32> => Some(decision.chunks),
        accesses: Values<U64> => Some(decision.accesses),
        verdict: Names => Some(decision.verdict.as_str()),
        backing: Names => Some(decision.backing.name()),
        unverified: Values<Bool> => Some(decision.unverified),
        hot_bitmap: Values<Text> => Some(decision.hot_bitmap.clone()),
        pid: Values<U32> => decision.pid,
        vaddr: Values<U64> => decision.vaddr,
        visits: Values<U64> => Some(decision.evidence.visits),
        cold_visits: Values<U64> => Some(decision.evidence.cold_visits),
        cold_share: Values<U32> => decision.evidence.cold_share,
        proposable: Values<Bool> => Some(decision.evidence.proposable),
        steady: Values<Bool> => decision.evidence.steady,
        left_out: Values<Bool> => Some(decision.evidence.left_out),
    }
}

columns! {
    PageColumns(page: (Pfn, u32)) {
        pfn: Values<U64> => Some(page.0.get()),
        count: Values<U64> => Some(page.1.into()),
    }
}

/// The columns of decisions, and the counts where they are asked for.
struct DecisionsAndCounts {
    decisions: DecisionColumns,
    counts: Option<PageCounts>,
}

impl Columns for DecisionsAndCounts {
    fn describe(&self, nullable: &[&str]) -> Result<Vec<TypePtr>, ParquetError> {
        let mut fields = self.decisions.describe(nullable)?;
        if self.counts.is_some() {
            fields.push(PageCounts::describe("counts", true)?);
        }
        Ok(fields)
    }

    fn bytes(&self) -> usize {
        self.decisions.bytes() + self.counts.as_ref().map_or(0, Column::bytes)
    }

    fn write<W: io::Write + Send>(
        &mut self,
        fields: &[TypePtr],
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        self.decisions.write(fields, group)?;
        self.counts.as_mut().map_or(Ok(()), |counts| counts.write(true, group))
    }
}

fn is_nullable(field: &Type) -> bool {
    field.get_basic_info().repetition() == Repetition::OPTIONAL
}

/// A file that is being written, row group by row group.
struct File<W: io::Write + Send, C> {
    writer: SerializedFileWriter<W>,
    fields: Vec<TypePtr>,
    columns: C,
    /// Rows that are not in the file yet.
    rows: usize,
}

impl<W: io::Write + Send, C: Columns> File<W, C> {
    fn new(
        out: W,
        name: &str,
        columns: C,
        nullable: &[&str],
        report: Option<String>,
    ) -> io::Result<Self> {
        let mut metadata = vec![KeyValue::new("schema".to_owned(), name.to_owned())];
        metadata.extend(report.map(|report| KeyValue::new("report".to_owned(), report)));
        let properties = WriterProperties::builder()
            .set_created_by(concat!("folioscope ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_key_value_metadata(Some(metadata))
            .build();
        let fields = columns.describe(nullable).map_err(as_io)?;
        let root = Type::group_type_builder("schema").with_fields(fields.clone()).build();
        let root = Arc::new(root.map_err(as_io)?);
        let writer = SerializedFileWriter::new(out, root, Arc::new(properties)).map_err(as_io)?;
        Ok(Self { writer, fields, columns, rows: 0 })
    }

    /// Takes in a row, which `append` adds to the columns.
    fn write(&mut self, append: impl FnOnce(&mut C)) -> io::Result<()> {
        append(&mut self.columns);
        self.rows += 1;
        let is_looked_at = self.rows.is_multiple_of(LOOKED_AT);
        if self.rows == ROW_GROUP_ROWS || is_looked_at && self.columns.bytes() >= ROW_GROUP_BYTES {
            self.write_group()?;
        }
        Ok(())
    }

    fn write_group(&mut self) -> io::Result<()> {
        if core::mem::take(&mut self.rows) == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group().map_err(as_io)?;
        self.columns.write(&self.fields, &mut group).map_err(as_io)?;
        group.close().map_err(as_io)?;
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.write_group()?;
        // `into_inner` would hide the kind of the output's error.
        self.writer.finish().map_err(as_io)?;
        self.writer.inner_mut().flush()
    }
}

/// The error of the output itself where there is one, so that its kind survives.
fn as_io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(source) => io::Error::other(source),
        },
        error => io::Error::other(error),
    }
}

/// Names and types of all columns, by the sections of the field reference.
#[cfg(test)]
pub(super) fn columns() -> Vec<(&'static str, Vec<(String, String)>)> {
    let counts = ("counts", PageCounts::TYPE);
    let owned = |(name, kind): &(&str, &str)| ((*name).to_owned(), (*kind).to_owned());
    let all = |names: &[&str], known: &[(&str, &str)]| -> Vec<(String, String)> {
        assert!(known.iter().map(|(name, _)| name).eq(names), "as in CSV");
        known.iter().map(owned).collect()
    };
    let decided = [DecisionColumns::REFERENCE, &[counts]].concat();
    vec![
        ("Report rows", all(&super::csv::TOP_COLUMNS, TopColumns::REFERENCE)),
        ("Pages", all(&schema::PAGE_COLUMNS, PageColumns::REFERENCE)),
        ("Records", all(&RECORD_COLUMNS, RecordColumns::REFERENCE)),
        ("Decisions", all(&schema::DECISION_COLUMNS, &decided)),
    ]
}

#[cfg(test)]
mod tests {
    use ::parquet::basic::{Encoding, LogicalType, Type as Physical};
    use ::parquet::file::reader::{FileReader, SerializedFileReader};
    use ::parquet::record::{Field, Row};

    use super::super::{DecisionWriter, Format, RecordWriter, examples};
    use super::*;

    struct ReadBack {
        rows: Vec<Row>,
        metadata: Vec<(String, String)>,
        groups: usize,
        /// Columns: their names, their types as the field reference has them, whether they may be
        /// absent.
        types: Vec<(String, &'static str, bool)>,
    }

    fn read(file: Vec<u8>) -> ReadBack {
        let reader = SerializedFileReader::new(bytes(file)).unwrap();
        let metadata = reader.metadata().file_metadata();
        let pairs = metadata.key_value_metadata().unwrap();
        let pairs = pairs.iter().map(|it| (it.key.clone(), it.value.clone().unwrap())).collect();
        let dictionaries: Vec<_> = reader.metadata().row_groups().iter().collect();
        let is_dictionary = |name: &str| {
            dictionaries.iter().flat_map(|group| group.columns()).any(|column| {
                column.column_path().string() == name
                    && column.encodings().any(|it| it == Encoding::RLE_DICTIONARY)
            })
        };
        let fields = metadata.schema().get_fields().iter();
        let types = fields.map(|field| {
            let name = field.name().to_owned();
            let told = told(field);
            assert!(
                told != "string" || reader.metadata().num_row_groups() == 0 || is_dictionary(&name)
            );
            (name, told, is_nullable(field))
        });
        ReadBack {
            rows: reader.get_row_iter(None).unwrap().map(Result::unwrap).collect(),
            metadata: pairs,
            groups: reader.metadata().num_row_groups(),
            types: types.collect(),
        }
    }

    /// What a reader takes a column for.
    fn told(field: &Type) -> &'static str {
        let logical = field.get_basic_info().logical_type_ref();
        if !field.is_primitive() {
            assert_eq!(logical, Some(&LogicalType::List));
            return "list";
        }
        let is = |other: LogicalType| logical == Some(&other);
        match field.get_physical_type() {
            Physical::INT64 if is(LogicalType::integer(64, false)) => "u64",
            Physical::INT64 if logical.is_none() => "i64",
            Physical::INT32 if is(LogicalType::integer(32, false)) => "u32",
            Physical::BOOLEAN => "bool",
            Physical::BYTE_ARRAY if is(LogicalType::String) => "string",
            other => panic!("{other} as {logical:?}"),
        }
    }

    fn bytes(file: Vec<u8>) -> std::fs::File {
        let path = std::env::temp_dir().join(format!(
            "folioscope-report-{}-{:?}.parquet",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::write(&path, file).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file
    }

    fn column<'a, T>(
        back: &'a ReadBack,
        name: &str,
        value: impl Fn(&'a Field) -> Option<T>,
    ) -> Vec<Option<T>> {
        let field = |row: &'a Row| row.get_column_iter().find(|(it, _)| *it == name).unwrap().1;
        let fields = back.rows.iter().map(field);
        let known = |field: &'a Field| match field {
            Field::Null => None,
            there => Some(value(there).unwrap_or_else(|| panic!("{name}: {there}"))),
        };
        fields.map(known).collect()
    }

    fn u64s(back: &ReadBack, name: &str) -> Vec<Option<u64>> {
        column(back, name, |field| if let Field::ULong(it) = field { Some(*it) } else { None })
    }

    fn u32s(back: &ReadBack, name: &str) -> Vec<Option<u32>> {
        column(back, name, |field| if let Field::UInt(it) = field { Some(*it) } else { None })
    }

    fn i64s(back: &ReadBack, name: &str) -> Vec<Option<i64>> {
        column(back, name, |field| if let Field::Long(it) = field { Some(*it) } else { None })
    }

    fn bools(back: &ReadBack, name: &str) -> Vec<Option<bool>> {
        column(back, name, |field| if let Field::Bool(it) = field { Some(*it) } else { None })
    }

    fn names<'a>(back: &'a ReadBack, name: &str) -> Vec<Option<&'a str>> {
        column(back, name, |field| if let Field::Str(it) = field { Some(&**it) } else { None })
    }

    #[test]
    fn report_rows_come_back_with_types_nulls_and_ledger() {
        let model = examples::small();
        let mut file = Vec::new();
        report(&model, &model.top, &mut file).unwrap();
        let back = read(file);
        let u64s_of = |column| u64s(&back, column);
        let want = |name: &str, told, nullable| (name.to_owned(), told, nullable);
        assert_eq!(
            back.types,
            [
                want("folio_pfn", "u64", false),
                want("accesses", "u64", false),
                want("loads", "u64", false),
                want("stores", "u64", false),
                want("atomics", "u64", false),
                want("unknown_op", "u64", false),
                want("touched_pages", "u64", false),
                want("peak", "u64", false),
                want("hot_chunks", "u32", false),
                want("chunks", "u32", false),
                want("hot_percent", "u32", false),
                want("verdict", "string", true),
                want("mapping_order_max", "u32", true),
                want("backing", "string", false),
                want("first_ns", "i64", true),
                want("last_ns", "i64", true),
                want("visits", "u64", false),
                want("cold_visits", "u64", false),
                want("cold_share", "u32", true),
                want("proposable", "bool", false),
                want("steady", "bool", true),
                want("left_out", "bool", false),
            ]
        );
        assert_eq!(u64s_of("folio_pfn"), [Some(0x820d_b800), Some(0)]);
        assert_eq!(u64s_of("accesses"), [Some(u64::MAX), Some(7)]);
        assert_eq!(u64s_of("stores"), [Some(5), Some(0)]);
        assert_eq!(u32s(&back, "mapping_order_max"), [Some(9), None]);
        assert_eq!(i64s(&back, "first_ns"), [Some(1_000_000_000), None]);
        assert_eq!(names(&back, "verdict"), [Some("sparse"), Some("undersampled")]);
        assert_eq!(names(&back, "backing"), [Some("thp"), Some("unknown")]);
        let value =
            |key: &str| back.metadata.iter().find(|pair| pair.0 == key).map(|pair| pair.1.as_str());
        assert_eq!(value("schema"), Some("folioscope.report/1"));
        let report: serde_json::Value = serde_json::from_str(value("report").unwrap()).unwrap();
        assert_eq!(report["ledger"]["records"], model.ledger.records);
        assert_eq!(report["top"], serde_json::json!([]));
    }

    #[test]
    fn pages_come_back_in_order_over_several_batches_and_row_groups() {
        let count = ROW_GROUP_ROWS as u64 + 3;
        let pages_in = (0..count).map(|pfn| (Pfn::new_truncate(pfn * 7), u32::MAX));
        let mut file = Vec::new();
        pages(pages_in, &mut file).unwrap();
        let back = read(file);
        assert_eq!(back.groups, 2);
        assert_eq!(back.rows.len() as u64, count);
        assert!(u64s(&back, "pfn").into_iter().eq((0..count).map(|pfn| Some(pfn * 7))));
        assert!(u64s(&back, "count").into_iter().all(|count| count == Some(u64::from(u32::MAX))));
        assert!(back.metadata.contains(&("schema".to_owned(), "folioscope.pages/1".to_owned())));
    }

    #[test]
    fn no_rows_are_a_file_of_their_schema() {
        let mut file = Vec::new();
        pages([], &mut file).unwrap();
        let back = read(file);
        assert_eq!(back.rows.len(), 0);
        assert_eq!(back.types.len(), 2);
        let mut file = Vec::new();
        RecordWriter::new(Format::Parquet, &mut file).unwrap().finish().unwrap();
        assert_eq!(read(file).types.len(), RECORD_COLUMNS.len());
    }

    #[test]
    fn records_come_back_with_types_and_nulls() {
        let mut file = Vec::new();
        let mut writer = RecordWriter::new(Format::Parquet, &mut file).unwrap();
        examples::records().iter().for_each(|row| writer.write(row).unwrap());
        writer.finish().unwrap();
        let back = read(file);
        let want = [
            ("time_ns", "i64"),
            ("cpu", "u32"),
            ("pid", "u32"),
            ("tid", "u32"),
            ("event", "string"),
            ("op", "string"),
            ("ip", "u64"),
            ("vaddr", "u64"),
            ("paddr", "u64"),
            ("latency", "u32"),
            ("source", "string"),
            ("flags", "string"),
            ("queue", "string"),
            ("tlb", "string"),
            ("page_size", "u64"),
            ("issue_latency", "u32"),
            ("translation_latency", "u32"),
            ("guest", "bool"),
        ];
        let always = ["op", "queue", "guest"];
        let want = want.map(|(name, told)| (name.to_owned(), told, !always.contains(&name)));
        assert_eq!(back.types, want);
        // Beyond an i64 there is no time.
        assert_eq!(i64s(&back, "time_ns"), [Some(1_000_000_001), None, None]);
        assert_eq!(u32s(&back, "tid"), [Some(42), None, Some(0)]);
        assert_eq!(u64s(&back, "paddr"), [Some(0x8_20db_8abc), None, Some(0x00ff_ffff_ffff_ffff)]);
        assert_eq!(names(&back, "op"), [Some("load/simd"), Some("access"), Some("store")]);
        assert_eq!(names(&back, "source"), [Some("l1"), None, Some("unknown(0x2f)")]);
        assert_eq!(names(&back, "flags"), [Some("l1-hit,tlb-access"), None, Some("partial")]);
        let queues = [Some("spe1/cpu3"), Some("samples"), Some("pt0/cpu4294967295/tid0")];
        assert_eq!(names(&back, "queue"), queues);
        assert_eq!(names(&back, "tlb"), [Some("l2"), None, Some("walk")]);
        assert_eq!(u64s(&back, "page_size"), [Some(2 << 20), None, Some(u64::MAX)]);
        assert_eq!(u32s(&back, "issue_latency"), [Some(4), None, Some(0)]);
        assert_eq!(u32s(&back, "translation_latency"), [Some(18), None, Some(u32::MAX)]);
        assert_eq!(bools(&back, "guest"), [Some(true), Some(false), Some(false)]);
        let schema = ("schema".to_owned(), "folioscope.records/1".to_owned());
        assert!(back.metadata.contains(&schema));
    }

    #[test]
    fn records_fill_several_groups() {
        let row = examples::records()[0];
        let count = ROW_GROUP_ROWS + 1;
        let mut file = Vec::new();
        let mut writer = RecordWriter::new(Format::Parquet, &mut file).unwrap();
        for time in 0..count as u64 {
            writer.write(&RecordRow { time_ns: Some(time), ..row }).unwrap();
        }
        writer.finish().unwrap();
        let back = read(file);
        assert_eq!(back.groups, 2);
        let times = i64s(&back, "time_ns");
        assert!(times.into_iter().eq((0..count as i64).map(Some)));
    }

    #[test]
    fn decisions_come_back_with_counts_only_where_asked_for() {
        for with_counts in [false, true] {
            let mut file = Vec::new();
            let mut writer = DecisionWriter::new(Format::Parquet, &mut file, with_counts).unwrap();
            for decision in examples::decisions() {
                writer.write(&decision).unwrap();
            }
            writer.write(&Decision { counts: None, ..examples::decisions().remove(0) }).unwrap();
            writer.finish().unwrap();
            let back = read(file);
            let columns: Vec<_> = back.types.iter().map(|field| &field.0).collect();
            assert_eq!(columns, schema::DECISION_COLUMNS[..19 + usize::from(with_counts)]);
            assert_eq!(u32s(&back, "pid"), [Some(41), None, Some(41)]);
            let verdicts = [Some("sparse"), Some("unsplittable"), Some("sparse")];
            assert_eq!(names(&back, "verdict"), verdicts);
            assert_eq!(bools(&back, "unverified"), [Some(true), Some(false), Some(true)]);
            assert_eq!(names(&back, "hot_bitmap"), [Some("04"), Some("1"), Some("04")]);
            let schema = ("schema".to_owned(), "folioscope.decisions/1".to_owned());
            assert!(back.metadata.contains(&schema));
            if !with_counts {
                continue;
            }
            let pairs = |field: &Field| match field {
                Field::ListInternal(list) => Some(list.elements().iter().map(pair).collect()),
                _ => None,
            };
            let counts: Vec<Option<Vec<(u16, u64)>>> = column(&back, "counts", pairs);
            let told = examples::decisions().into_iter().map(|decision| decision.counts);
            let wide = |(page, count): (u16, u32)| (page, u64::from(count));
            let mut told: Vec<_> = told
                .map(|counts| counts.map(|list| list.into_iter().map(wide).collect()))
                .collect();
            told.push(None);
            assert_eq!(counts, told);
            assert_eq!(counts[0].as_deref(), Some(&[(128, 39_793), (191, 1)][..]));
        }
    }

    fn pair(field: &Field) -> (u16, u64) {
        let Field::Group(pair) = field else { panic!("{field}") };
        let fields: Vec<_> = pair.get_column_iter().collect();
        match fields[..] {
            [(page, Field::UShort(number)), (count, Field::ULong(times))] => {
                assert_eq!((&**page, &**count), ("page", "count"));
                (*number, *times)
            }
            _ => panic!("{pair}"),
        }
    }

    /// What is absent, what is empty and what is long come back as they were, over several groups.
    #[test]
    fn counts_of_any_length_come_back() {
        let lists: Vec<Option<Vec<(u16, u32)>>> = (0..9000_u32)
            .map(|row| {
                let len =
                    if row % 3 == 0 { 512 } else { u16::try_from(row % 3).expect("small") - 1 };
                (row % 7 > 0).then(|| (0..len).map(|page| (page, row + u32::from(page))).collect())
            })
            .collect();
        let mut file = Vec::new();
        let mut writer = Decisions::new(&mut file, true).unwrap();
        let decision = examples::decisions().remove(0);
        for counts in &lists {
            writer.write(&Decision { counts: counts.clone(), ..decision.clone() }).unwrap();
        }
        writer.finish().unwrap();
        let back = read(file);
        assert!(back.groups > 1, "{} rows are one group", lists.len());
        let pairs = |field: &Field| match field {
            Field::ListInternal(list) => Some(list.elements().iter().map(pair).collect::<Vec<_>>()),
            _ => None,
        };
        let wide = |(page, count): &(u16, u32)| (*page, u64::from(*count));
        let want = lists.iter().map(|list| list.as_ref().map(|it| it.iter().map(wide).collect()));
        assert!(column(&back, "counts", pairs).into_iter().eq(want));
    }

    #[test]
    fn errors_of_the_output_keep_their_kind() {
        struct Closed;
        impl io::Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = pages([(Pfn::new_truncate(1), 1)], Closed).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{error:?}");
    }
}
