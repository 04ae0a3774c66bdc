//! The field reference, `docs/fields.md`, against the code.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{DecisionWriter, Format, RecordWriter, csv, examples, json, pages, schema};

const REFERENCE: &str = include_str!("../../../docs/fields.md");

/// The cells of a section's table, by the name of the field, in order.
fn table(section: &str) -> Vec<(String, Vec<String>)> {
    let heading = format!("\n## {section}\n");
    let (_, text) = REFERENCE.split_once(&heading).expect("the section is there");
    let text = text.split("\n## ").next().unwrap_or_default();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let mut cells = row.trim_end_matches('|').split('|').map(|cell| cell.trim().to_owned());
        let name = cells.next().unwrap_or_default().trim_end_matches('`').to_owned();
        (name, cells.collect())
    })
    .collect()
}

fn names(section: &str) -> Vec<String> {
    table(section).into_iter().map(|(name, _)| name).collect()
}

/// Whether a value has the type that the reference says.
fn fits(value: &Value, told: &str) -> bool {
    let (kind, nullable) = match told.strip_suffix(" or null") {
        Some(kind) => (kind, true),
        None => (told, false),
    };
    match value {
        Value::Null => nullable,
        Value::Bool(_) => kind == "boolean",
        Value::Number(number) => kind == "integer" && number.is_u64(),
        Value::String(_) => kind == "string",
        Value::Array(_) => kind == "list",
        Value::Object(_) => kind == "object",
    }
}

/// Panics unless the rows have the fields of a section, in its order, with its types.
fn check_rows(section: &str, columns: &[&str], rows: &[Value]) {
    let reference = table(section);
    assert_eq!(names(section), columns, "docs/fields.md, {section}");
    assert!(!rows.is_empty());
    for row in rows {
        let row = row.as_object().expect("an object");
        for (name, cells) in &reference {
            let Some(value) = row.get(name) else { panic!("{section}: {name} is not in {row:?}") };
            assert!(fits(value, &cells[0]), "{section}: {name} is {value}, not {}", cells[0]);
        }
        assert_eq!(row.len(), reference.len(), "{section}: {row:?}");
    }
}

fn lines(text: &[u8]) -> Vec<Value> {
    let text = core::str::from_utf8(text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_reference_has_the_report_s_fields() {
    let mut model = examples::small();
    model.records_by_source =
        vec![("arm_spe".to_owned(), *model.ledger), ("sample".to_owned(), *model.ledger)];
    let mut out = Vec::new();
    json::report(&model, &mut out).unwrap();
    let report: Value = serde_json::from_slice(&out).unwrap();
    let mut found = BTreeMap::new();
    for (name, value) in report.as_object().unwrap() {
        if let ("input" | "verdicts" | "latency", Value::Object(parts)) = (name.as_str(), value) {
            found.extend(parts.iter().map(|(part, value)| (format!("{name}.{part}"), value)));
        }
        if !matches!(name.as_str(), "input" | "verdicts") {
            found.insert(name.clone(), value);
        }
    }
    let reference: BTreeMap<_, _> = table("Report").into_iter().collect();
    let keys = |names: &mut dyn Iterator<Item = &String>| names.cloned().collect::<Vec<_>>();
    assert_eq!(keys(&mut reference.keys()), keys(&mut found.keys()), "docs/fields.md, Report");
    for (name, value) in found {
        let told = &reference[&name][0];
        assert!(fits(value, told), "{name} is {value}, not {told}");
    }
    check_rows("Report rows", &csv::TOP_COLUMNS, report["top"].as_array().unwrap());
    let mut ledger: Vec<_> = model.ledger.fields().map(|(name, _)| name).collect();
    ledger.push("recording_incomplete");
    assert_eq!(names("Ledger"), ledger, "docs/fields.md, Ledger");
}

#[test]
fn the_reference_has_the_fields_of_lists() {
    let mut out = Vec::new();
    let page = decoder::Pfn::new_truncate(0x8_20db_8abc);
    pages::write(Format::Json, [(page, 7)], &mut out).unwrap();
    check_rows("Pages", &schema::PAGE_COLUMNS, &lines(&out));

    let mut out = Vec::new();
    let mut writer = RecordWriter::new(Format::Json, &mut out).unwrap();
    examples::records().iter().for_each(|row| writer.write(row).unwrap());
    writer.finish().unwrap();
    check_rows("Records", &schema::RECORD_COLUMNS, &lines(&out));

    let mut out = Vec::new();
    let mut writer = DecisionWriter::new(Format::Json, &mut out, true).unwrap();
    examples::decisions().iter().for_each(|row| writer.write(row).unwrap());
    writer.finish().unwrap();
    check_rows("Decisions", &schema::DECISION_COLUMNS, &lines(&out));
}

/// Which fields are page frames or addresses is said by their names.
#[test]
fn identities_are_strings_in_json_and_integers_in_parquet() {
    for section in ["Report rows", "Pages", "Records", "Decisions"] {
        for (name, cells) in table(section) {
            let is_identity = name.ends_with("pfn") || name.ends_with("addr") || name == "ip";
            let told = cells[0].trim_end_matches(" or null");
            if is_identity {
                assert_eq!((told, cells[1].as_str()), ("string", "u64"), "{section}: {name}");
            } else if told == "string" {
                assert!(["name", "string"].contains(&cells[1].as_str()), "{section}: {name}");
            }
        }
    }
}

#[cfg(feature = "parquet")]
#[test]
fn the_reference_has_parquet_s_types() {
    for (section, columns) in super::parquet::columns() {
        let told: Vec<_> =
            table(section).into_iter().map(|(name, cells)| (name, cells[1].clone())).collect();
        assert_eq!(told, columns, "docs/fields.md, {section}");
    }
}
