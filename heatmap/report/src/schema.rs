//! The names of schemas, in JSON and in the metadata of Parquet files, and of the columns of lists.

/// Name of the schema of a report.
pub const REPORT: &str = "folioscope.report/1";

/// Name of the schema of a list of pages.
pub const PAGES: &str = "folioscope.pages/1";

/// Columns of every format but text, which has the same two without names.
pub const PAGE_COLUMNS: [&str; 2] = ["pfn", "count"];

/// Name of the schema of a list of records.
pub const RECORDS: &str = "folioscope.records/1";

/// Columns of every format.
pub const RECORD_COLUMNS: [&str; 18] = [
    "time_ns",
    "cpu",
    "pid",
    "tid",
    "event",
    "op",
    "ip",
    "vaddr",
    "paddr",
    "latency",
    "source",
    "flags",
    "queue",
    "tlb",
    "page_size",
    "issue_latency",
    "translation_latency",
    "guest",
];

/// Name of the schema of a list of decisions.
pub const DECISIONS: &str = "folioscope.decisions/1";

/// Columns of every format; `counts` only where asked for.
pub const DECISION_COLUMNS: [&str; 20] = [
    "folio_pfn",
    "order",
    "hot_threshold",
    "hot_percent",
    "hot_chunks",
    "chunks",
    "accesses",
    "verdict",
    "backing",
    "unverified",
    "hot_bitmap",
    "pid",
    "vaddr",
    "visits",
    "cold_visits",
    "cold_share",
    "proposable",
    "steady",
    "left_out",
    "counts",
];
