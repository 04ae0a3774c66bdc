//! Parquet files. PFNs, addresses and counts of accesses or pages are u64, times i64, small
//! numbers (CPU, process, latency in cycles, percent, chunks, orders) u32, names dictionary
//! strings; absent is null. The file's key-value metadata has the schema's name under
//! `schema`; a report's also has `report`, the JSON report without its rows, so that no
//! number leaves without its ledger.

use std::borrow::Borrow;
use std::io;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{
    Array, ArrayBuilder, ArrayRef, BooleanBuilder, Int64Builder, ListBuilder, RecordBatch,
    StringBuilder, StringDictionaryBuilder, StructBuilder, UInt16Builder, UInt32Builder,
    UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema, SchemaRef};
use decoder::Pfn;

use super::decisions::Decision;
use super::records::RecordRow;
use super::{Report, TopFolio, csv, decisions, pages as page_list, records};
use crate::verdict::Verdict;

/// Rows gathered before they are encoded.
const BATCH_ROWS: usize = 16 << 10;

/// Rows of one row group: what the encoder holds in memory, about 60 bytes a record.
const ROW_GROUP_ROWS: usize = 256 << 10;

/// Types of the columns of pages.
const PAGE_TYPES: [DataType; 2] = [DataType::UInt64, DataType::UInt64];

/// Bytes of one row group, for decisions with 512 counts each.
const ROW_GROUP_BYTES: usize = 64 << 20;

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
    let mut columns = TopColumns::default();
    let types = columns.types();
    let nullable = ["mapping_order_max", "first_ns", "last_ns", "cold_share", "steady"];
    let fields = fields(&csv::TOP_COLUMNS, &types, &nullable);
    let mut file = File::new(out, super::SCHEMA, fields, Some(without_rows))?;
    for row in rows {
        columns.append(row.borrow());
        if columns.accesses.len() == BATCH_ROWS {
            file.write(columns.finish())?;
        }
    }
    file.write(columns.finish())?;
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
    let mut file =
        File::new(out, page_list::SCHEMA, fields(&page_list::COLUMNS, &PAGE_TYPES, &[]), None)?;
    let mut pfns = UInt64Builder::new();
    let mut counts = UInt64Builder::new();
    for (pfn, count) in pages {
        pfns.append_value(pfn.get());
        counts.append_value(count.into());
        if pfns.len() == BATCH_ROWS {
            file.write(vec![Arc::new(pfns.finish()), Arc::new(counts.finish())])?;
        }
    }
    file.write(vec![Arc::new(pfns.finish()), Arc::new(counts.finish())])?;
    file.finish()
}

/// Columns that every record has a value for.
const ALWAYS: [&str; 3] = ["op", "queue", "guest"];

/// Records on their way into a file.
pub(super) struct Records<W: io::Write + Send> {
    file: File<W>,
    columns: RecordColumns,
}

impl<W: io::Write + Send> Records<W> {
    pub(super) fn new(out: W) -> io::Result<Self> {
        let columns = RecordColumns::default();
        let types = columns.types();
        let nullable: Vec<_> =
            records::COLUMNS.into_iter().filter(|column| !ALWAYS.contains(column)).collect();
        let fields = fields(&records::COLUMNS, &types, &nullable);
        Ok(Self { file: File::new(out, records::SCHEMA, fields, None)?, columns })
    }

    pub(super) fn write(&mut self, row: &RecordRow<'_>) -> io::Result<()> {
        self.columns.append(row);
        if self.columns.op.len() == BATCH_ROWS {
            self.file.write(self.columns.finish())?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.file.write(self.columns.finish())?;
        self.file.finish()
    }
}

/// Decisions on their way into a file. `counts` is a list of structures of page and count.
pub(super) struct Decisions<W: io::Write + Send> {
    file: File<W>,
    columns: DecisionColumns,
    counts: Option<ListBuilder<StructBuilder>>,
}

/// With counts a row has up to 512 pairs: fewer rows are as many bytes.
const DECISION_BATCH_ROWS: usize = 1 << 10;

impl<W: io::Write + Send> Decisions<W> {
    pub(super) fn new(out: W, counts: bool) -> io::Result<Self> {
        let columns = DecisionColumns::default();
        let mut types = columns.types();
        let counts = counts.then(counts_builder);
        if let Some(counts) = &counts {
            types.push(counts.finish_cloned().data_type().clone());
        }
        let names = &decisions::COLUMNS[..types.len()];
        let fields = fields(names, &types, &["pid", "vaddr", "cold_share", "steady", "counts"]);
        Ok(Self { file: File::new(out, decisions::SCHEMA, fields, None)?, columns, counts })
    }

    pub(super) fn write(&mut self, decision: &Decision) -> io::Result<()> {
        self.columns.append(decision);
        if let Some(counts) = &mut self.counts {
            append_counts(counts, decision.counts.as_deref());
        }
        if self.columns.verdict.len() == DECISION_BATCH_ROWS {
            self.write_batch()?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.write_batch()?;
        self.file.finish()
    }

    fn write_batch(&mut self) -> io::Result<()> {
        let mut columns = self.columns.finish();
        if let Some(counts) = &mut self.counts {
            columns.push(Arc::new(counts.finish()));
        }
        self.file.write(columns)
    }
}

/// One builder for each column, in the order of the schema.
macro_rules! columns {
    ($type:ident($row:ident: $row_type:ty) { $($column:ident: $builder:ty => $append:expr,)* }) => {
        #[derive(Default)]
        struct $type {
            $($column: $builder,)*
        }

        impl $type {
            fn append(&mut self, $row: &$row_type) {
                $(self.$column.append_option($append);)*
            }

            fn finish(&mut self) -> Vec<ArrayRef> {
                vec![$(Arc::new(self.$column.finish()),)*]
            }

            fn types(&self) -> Vec<DataType> {
                vec![$(self.$column.finish_cloned().data_type().clone(),)*]
            }
        }
    };
}

/// A column of few different strings.
type Names = StringDictionaryBuilder<Int32Type>;

columns! {
    TopColumns(folio: TopFolio) {
        folio_pfn: UInt64Builder => Some(folio.folio_pfn.get()),
        accesses: UInt64Builder => Some(folio.accesses),
        loads: UInt64Builder => Some(folio.loads),
        stores: UInt64Builder => Some(folio.stores),
        atomics: UInt64Builder => Some(folio.atomics),
        unknown_op: UInt64Builder => Some(folio.unknown_op),
        touched_pages: UInt64Builder => Some(folio.touched_pages.into()),
        peak: UInt64Builder => Some(folio.peak),
        hot_chunks: UInt32Builder => Some(folio.hot_chunks),
        chunks: UInt32Builder => Some(folio.chunks),
        hot_percent: UInt32Builder => Some(folio.hot_percent),
        verdict: Names => folio.verdict.map(Verdict::as_str),
        mapping_order_max: UInt32Builder => folio.mapping_order_max.map(u32::from),
        backing: Names => Some(folio.backing.name()),
        first_ns: Int64Builder => folio.first_ns.and_then(time),
        last_ns: Int64Builder => folio.last_ns.and_then(time),
        visits: UInt64Builder => Some(folio.evidence.visits),
        cold_visits: UInt64Builder => Some(folio.evidence.cold_visits),
        cold_share: UInt32Builder => folio.evidence.cold_share,
        proposable: BooleanBuilder => Some(folio.evidence.proposable),
        steady: BooleanBuilder => folio.evidence.steady,
        left_out: BooleanBuilder => Some(folio.evidence.left_out),
    }
}

columns! {
    RecordColumns(row: RecordRow<'_>) {
        time_ns: Int64Builder => row.time_ns.and_then(time),
        cpu: UInt32Builder => row.cpu,
        pid: UInt32Builder => row.pid,
        tid: UInt32Builder => row.tid,
        event: Names => row.event,
        op: Names => Some(row.op),
        ip: UInt64Builder => row.ip,
        vaddr: UInt64Builder => row.vaddr,
        paddr: UInt64Builder => row.paddr,
        latency: UInt32Builder => row.latency,
        source: Names => row.source,
        flags: Names => row.flags_or_absent(),
        queue: Names => Some(row.queue),
        tlb: Names => row.tlb,
        page_size: UInt64Builder => row.page_size,
        issue_latency: UInt32Builder => row.issue_latency,
        translation_latency: UInt32Builder => row.translation_latency,
        guest: BooleanBuilder => Some(row.guest),
    }
}

columns! {
    DecisionColumns(decision: Decision) {
        folio_pfn: UInt64Builder => Some(decision.folio_pfn.get()),
        order: UInt32Builder => Some(decision.order),
        hot_threshold: UInt32Builder => Some(decision.hot_threshold),
        hot_percent: UInt32Builder => Some(decision.hot_percent),
        hot_chunks: UInt32Builder => Some(decision.hot_chunks),
        chunks: UInt32Builder => Some(decision.chunks),
        accesses: UInt64Builder => Some(decision.accesses),
        verdict: Names => Some(decision.verdict.as_str()),
        backing: Names => Some(decision.backing.name()),
        unverified: BooleanBuilder => Some(decision.unverified),
        hot_bitmap: StringBuilder => Some(decision.hot_bitmap.as_str()),
        pid: UInt32Builder => decision.pid,
        vaddr: UInt64Builder => decision.vaddr,
        visits: UInt64Builder => Some(decision.evidence.visits),
        cold_visits: UInt64Builder => Some(decision.evidence.cold_visits),
        cold_share: UInt32Builder => decision.evidence.cold_share,
        proposable: BooleanBuilder => Some(decision.evidence.proposable),
        steady: BooleanBuilder => decision.evidence.steady,
        left_out: BooleanBuilder => Some(decision.evidence.left_out),
    }
}

/// A time, absent beyond the 292 years that an i64 holds.
fn time(ns: u64) -> Option<i64> {
    i64::try_from(ns).ok()
}

fn counts_builder() -> ListBuilder<StructBuilder> {
    let pair = Fields::from(vec![
        Field::new("page", DataType::UInt16, false),
        Field::new("count", DataType::UInt64, false),
    ]);
    let item = Field::new("item", DataType::Struct(pair.clone()), false);
    ListBuilder::new(StructBuilder::from_fields(pair, 0)).with_field(item)
}

fn append_counts(list: &mut ListBuilder<StructBuilder>, counts: Option<&[(u16, u32)]>) {
    let pairs = list.values();
    for &(page, count) in counts.unwrap_or_default() {
        if let Some(pages) = pairs.field_builder::<UInt16Builder>(0) {
            pages.append_value(page);
        }
        if let Some(counts) = pairs.field_builder::<UInt64Builder>(1) {
            counts.append_value(count.into());
        }
        pairs.append(true);
    }
    list.append(counts.is_some());
}

fn fields(names: &[&str], types: &[DataType], nullable: &[&str]) -> Vec<Field> {
    names
        .iter()
        .zip(types)
        .map(|(name, data_type)| Field::new(*name, data_type.clone(), nullable.contains(name)))
        .collect()
}

/// A file that is being written, row group by row group.
struct File<W: io::Write + Send> {
    writer: ArrowWriter<W>,
    schema: SchemaRef,
}

impl<W: io::Write + Send> File<W> {
    fn new(out: W, name: &str, fields: Vec<Field>, report: Option<String>) -> io::Result<Self> {
        let mut metadata = vec![KeyValue::new("schema".to_owned(), name.to_owned())];
        metadata.extend(report.map(|report| KeyValue::new("report".to_owned(), report)));
        let properties = WriterProperties::builder()
            .set_created_by(concat!("folioscope ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .set_key_value_metadata(Some(metadata))
            .build();
        let schema = Arc::new(Schema::new(fields));
        let writer =
            ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties)).map_err(as_io)?;
        Ok(Self { writer, schema })
    }

    fn write(&mut self, columns: Vec<ArrayRef>) -> io::Result<()> {
        let batch =
            RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(io::Error::other)?;
        self.writer.write(&batch).map_err(as_io)
    }

    fn finish(mut self) -> io::Result<()> {
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
    let told = |data_type: &DataType| match data_type {
        DataType::UInt64 => "u64",
        DataType::UInt32 => "u32",
        DataType::Int64 => "i64",
        DataType::Boolean => "bool",
        DataType::Utf8 => "string",
        DataType::Dictionary(..) => "name",
        DataType::List(_) => "list",
        other => panic!("the field reference has no name for {other}"),
    };
    let with_names = |names: &[&str], types: Vec<DataType>| -> Vec<(String, String)> {
        assert_eq!(names.len(), types.len());
        let pairs = names.iter().zip(&types);
        pairs.map(|(name, kind)| ((*name).to_owned(), told(kind).to_owned())).collect()
    };
    let mut decided = DecisionColumns::default().types();
    decided.push(counts_builder().finish_cloned().data_type().clone());
    vec![
        ("Report rows", with_names(&csv::TOP_COLUMNS, TopColumns::default().types())),
        ("Pages", with_names(&page_list::COLUMNS, PAGE_TYPES.to_vec())),
        ("Records", with_names(&records::COLUMNS, RecordColumns::default().types())),
        ("Decisions", with_names(&decisions::COLUMNS, decided)),
    ]
}

#[cfg(test)]
mod tests {
    use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use ::parquet::basic::Type;
    use arrow::array::{AsArray, BooleanArray, Int64Array, StringArray, UInt32Array, UInt64Array};
    use arrow::datatypes::{UInt16Type, UInt64Type};

    use super::super::{DecisionWriter, Format, RecordWriter, examples};
    use super::*;

    struct ReadBack {
        rows: RecordBatch,
        metadata: Vec<(String, String)>,
        groups: usize,
        physical: Vec<(String, Type)>,
    }

    fn read(file: Vec<u8>) -> ReadBack {
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes(file)).unwrap();
        let schema = Arc::clone(builder.schema());
        let metadata = builder.metadata().file_metadata();
        let pairs = metadata.key_value_metadata().unwrap();
        let pairs =
            pairs.iter().map(|pair| (pair.key.clone(), pair.value.clone().unwrap())).collect();
        let physical = metadata
            .schema_descr()
            .columns()
            .iter()
            .map(|column| (column.path().string(), column.physical_type()))
            .collect();
        let groups = builder.metadata().num_row_groups();
        let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
        let rows = arrow::compute::concat_batches(&schema, &batches).unwrap();
        ReadBack { rows, metadata: pairs, groups, physical }
    }

    fn bytes(file: Vec<u8>) -> impl ::parquet::file::reader::ChunkReader + 'static {
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

    fn types(rows: &RecordBatch) -> Vec<(String, DataType, bool)> {
        let fields = rows.schema();
        let fields = fields.fields().iter();
        fields
            .map(|field| (field.name().clone(), field.data_type().clone(), field.is_nullable()))
            .collect()
    }

    fn names_type() -> DataType {
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
    }

    fn u64s(rows: &RecordBatch, column: &str) -> Vec<Option<u64>> {
        let column = rows.column_by_name(column).unwrap();
        column.as_any().downcast_ref::<UInt64Array>().unwrap().iter().collect()
    }

    fn u32s(rows: &RecordBatch, column: &str) -> Vec<Option<u32>> {
        let column = rows.column_by_name(column).unwrap();
        column.as_any().downcast_ref::<UInt32Array>().unwrap().iter().collect()
    }

    fn i64s(rows: &RecordBatch, column: &str) -> Vec<Option<i64>> {
        let column = rows.column_by_name(column).unwrap();
        column.as_any().downcast_ref::<Int64Array>().unwrap().iter().collect()
    }

    fn names<'a>(rows: &'a RecordBatch, column: &str) -> Vec<Option<&'a str>> {
        let column = rows.column_by_name(column).unwrap().as_dictionary::<Int32Type>();
        column.downcast_dict::<StringArray>().unwrap().into_iter().collect()
    }

    #[test]
    fn report_rows_come_back_with_types_nulls_and_ledger() {
        let model = examples::small();
        let mut file = Vec::new();
        report(&model, &model.top, &mut file).unwrap();
        let back = read(file);
        let u64s_of = |column| u64s(&back.rows, column);
        let column_types: Vec<_> = types(&back.rows);
        let want = |name: &str, data_type, nullable| (name.to_owned(), data_type, nullable);
        assert_eq!(
            column_types,
            [
                want("folio_pfn", DataType::UInt64, false),
                want("accesses", DataType::UInt64, false),
                want("loads", DataType::UInt64, false),
                want("stores", DataType::UInt64, false),
                want("atomics", DataType::UInt64, false),
                want("unknown_op", DataType::UInt64, false),
                want("touched_pages", DataType::UInt64, false),
                want("peak", DataType::UInt64, false),
                want("hot_chunks", DataType::UInt32, false),
                want("chunks", DataType::UInt32, false),
                want("hot_percent", DataType::UInt32, false),
                want("verdict", names_type(), false),
                want("mapping_order_max", DataType::UInt32, true),
                want("backing", names_type(), false),
                want("first_ns", DataType::Int64, true),
                want("last_ns", DataType::Int64, true),
                want("visits", DataType::UInt64, false),
                want("cold_visits", DataType::UInt64, false),
                want("cold_share", DataType::UInt32, true),
                want("proposable", DataType::Boolean, false),
                want("steady", DataType::Boolean, true),
                want("left_out", DataType::Boolean, false),
            ]
        );
        assert_eq!(back.physical[11], ("verdict".to_owned(), Type::BYTE_ARRAY));
        assert_eq!(u64s_of("folio_pfn"), [Some(0x820d_b800), Some(0)]);
        assert_eq!(u64s_of("accesses"), [Some(u64::MAX), Some(7)]);
        assert_eq!(u64s_of("stores"), [Some(5), Some(0)]);
        assert_eq!(u32s(&back.rows, "mapping_order_max"), [Some(9), None]);
        assert_eq!(i64s(&back.rows, "first_ns"), [Some(1_000_000_000), None]);
        assert_eq!(names(&back.rows, "verdict"), [Some("sparse"), Some("undersampled")]);
        assert_eq!(names(&back.rows, "backing"), [Some("thp"), Some("unknown")]);
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
        assert_eq!(back.rows.num_rows() as u64, count);
        assert!(u64s(&back.rows, "pfn").into_iter().eq((0..count).map(|pfn| Some(pfn * 7))));
        assert!(
            u64s(&back.rows, "count").into_iter().all(|count| count == Some(u64::from(u32::MAX)))
        );
        assert!(back.metadata.contains(&("schema".to_owned(), "folioscope.pages/1".to_owned())));
    }

    #[test]
    fn no_rows_are_a_file_of_their_schema() {
        let mut file = Vec::new();
        pages([], &mut file).unwrap();
        let back = read(file);
        assert_eq!(back.rows.num_rows(), 0);
        assert_eq!(types(&back.rows).len(), 2);
        let mut file = Vec::new();
        RecordWriter::new(Format::Parquet, &mut file).unwrap().finish().unwrap();
        assert_eq!(types(&read(file).rows).len(), records::COLUMNS.len());
    }

    #[test]
    fn records_come_back_with_types_and_nulls() {
        let mut file = Vec::new();
        let mut writer = RecordWriter::new(Format::Parquet, &mut file).unwrap();
        examples::records().iter().for_each(|row| writer.write(row).unwrap());
        writer.finish().unwrap();
        let back = read(file);
        let want = [
            ("time_ns", DataType::Int64),
            ("cpu", DataType::UInt32),
            ("pid", DataType::UInt32),
            ("tid", DataType::UInt32),
            ("event", names_type()),
            ("op", names_type()),
            ("ip", DataType::UInt64),
            ("vaddr", DataType::UInt64),
            ("paddr", DataType::UInt64),
            ("latency", DataType::UInt32),
            ("source", names_type()),
            ("flags", names_type()),
            ("queue", names_type()),
            ("tlb", names_type()),
            ("page_size", DataType::UInt64),
            ("issue_latency", DataType::UInt32),
            ("translation_latency", DataType::UInt32),
            ("guest", DataType::Boolean),
        ];
        let always = ["op", "queue", "guest"];
        let want =
            want.map(|(name, data_type)| (name.to_owned(), data_type, !always.contains(&name)));
        assert_eq!(types(&back.rows), want);
        // Beyond an i64 there is no time.
        assert_eq!(i64s(&back.rows, "time_ns"), [Some(1_000_000_001), None, None]);
        assert_eq!(u32s(&back.rows, "tid"), [Some(42), None, Some(0)]);
        assert_eq!(
            u64s(&back.rows, "paddr"),
            [Some(0x8_20db_8abc), None, Some(0x00ff_ffff_ffff_ffff)]
        );
        assert_eq!(names(&back.rows, "op"), [Some("load/simd"), Some("access"), Some("store")]);
        assert_eq!(names(&back.rows, "source"), [Some("l1"), None, Some("unknown(0x2f)")]);
        assert_eq!(names(&back.rows, "flags"), [Some("l1-hit,tlb-access"), None, Some("partial")]);
        let queues = [Some("spe1/cpu3"), Some("samples"), Some("pt0/cpu4294967295/tid0")];
        assert_eq!(names(&back.rows, "queue"), queues);
        assert_eq!(names(&back.rows, "tlb"), [Some("l2"), None, Some("walk")]);
        assert_eq!(u64s(&back.rows, "page_size"), [Some(2 << 20), None, Some(u64::MAX)]);
        assert_eq!(u32s(&back.rows, "issue_latency"), [Some(4), None, Some(0)]);
        assert_eq!(u32s(&back.rows, "translation_latency"), [Some(18), None, Some(u32::MAX)]);
        let guests: &BooleanArray = back.rows.column_by_name("guest").unwrap().as_boolean();
        assert_eq!(guests.iter().collect::<Vec<_>>(), [Some(true), Some(false), Some(false)]);
        let schema = ("schema".to_owned(), "folioscope.records/1".to_owned());
        assert!(back.metadata.contains(&schema));
    }

    #[test]
    fn records_fill_several_batches() {
        let row = examples::records()[0];
        let count = BATCH_ROWS + 1;
        let mut file = Vec::new();
        let mut writer = RecordWriter::new(Format::Parquet, &mut file).unwrap();
        for time in 0..count as u64 {
            writer.write(&RecordRow { time_ns: Some(time), ..row }).unwrap();
        }
        writer.finish().unwrap();
        let back = read(file);
        let times = i64s(&back.rows, "time_ns");
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
            let columns: Vec<_> = types(&back.rows).into_iter().map(|field| field.0).collect();
            assert_eq!(columns, decisions::COLUMNS[..19 + usize::from(with_counts)]);
            assert_eq!(u32s(&back.rows, "pid"), [Some(41), None, Some(41)]);
            assert_eq!(
                names(&back.rows, "verdict"),
                [Some("sparse"), Some("unsplittable"), Some("sparse")]
            );
            let unverified = back.rows.column_by_name("unverified").unwrap();
            let unverified: &BooleanArray = unverified.as_boolean();
            assert_eq!(
                unverified.iter().collect::<Vec<_>>(),
                [Some(true), Some(false), Some(true)]
            );
            let bitmaps = back.rows.column_by_name("hot_bitmap").unwrap().as_string::<i32>();
            assert_eq!(bitmaps.iter().flatten().collect::<Vec<_>>(), ["04", "1", "04"]);
            let schema = ("schema".to_owned(), "folioscope.decisions/1".to_owned());
            assert!(back.metadata.contains(&schema));
            if !with_counts {
                continue;
            }
            let counts = back.rows.column_by_name("counts").unwrap().as_list::<i32>();
            assert!(counts.is_null(2));
            let first = counts.value(0);
            let first = first.as_struct();
            assert_eq!(first.column(0).as_primitive::<UInt16Type>().values(), &[128, 191]);
            assert_eq!(first.column(1).as_primitive::<UInt64Type>().values(), &[39_793, 1]);
        }
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
