//! Messages of the interface as JSON, with the types of a report: numbers are exact integers,
//! page frames and addresses text in hexadecimal, enumerations their names in a report, points in
//! time and durations decimal seconds in text, and what is absent is null.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor,
    ReflectMessage, Value,
};
use serde_json::{Map, json};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).expect("a test compares it with its source")
});

fn descriptor(name: &str) -> MessageDescriptor {
    let name = format!("folioscope.v1.{name}");
    POOL.get_message_by_name(&name).expect("the name is one of the interface")
}

/// A message, by its name in the interface.
pub(super) fn of(name: &str, message: &impl Message) -> serde_json::Value {
    let bytes = message.encode_to_vec();
    let message = DynamicMessage::decode(descriptor(name), &bytes[..]).expect("just encoded");
    object(&message)
}

fn object(message: &DynamicMessage) -> serde_json::Value {
    let descriptor = message.descriptor();
    if let "google.protobuf.Timestamp" | "google.protobuf.Duration" = descriptor.full_name() {
        let part = |name: &str| message.get_field_by_name(name).map(|value| value.into_owned());
        let seconds = part("seconds").and_then(|value| value.as_i64()).unwrap_or(0);
        let nanos = part("nanos").and_then(|value| value.as_i32()).unwrap_or(0);
        return json!(format!("{seconds}.{nanos:09}"));
    }
    let mut object = Map::new();
    for field in descriptor.fields() {
        let absent = field.supports_presence() && !message.has_field(&field);
        // Of alternatives, only the one that there is.
        let alternative = field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic());
        if absent && alternative {
            continue;
        }
        let value = if absent {
            serde_json::Value::Null
        } else {
            value(&field, &message.get_field(&field))
        };
        object.insert(field.name().to_owned(), value);
    }
    object.into()
}

/// Whether a field's numbers are page frames or addresses.
fn is_address(name: &str) -> bool {
    matches!(name, "pfn" | "pfns" | "vaddr" | "physical_address")
        || name.ends_with("_pfn")
        || name.ends_with("_pfns")
}

fn value(field: &FieldDescriptor, found: &Value) -> serde_json::Value {
    match found {
        Value::Bool(truth) => json!(truth),
        Value::U32(number) => json!(number),
        Value::I32(number) => json!(number),
        Value::I64(number) => json!(number),
        Value::U64(number) if is_address(field.name()) => json!(format!("{number:#x}")),
        Value::U64(number) => json!(number),
        Value::F64(number) => json!(number),
        Value::String(text) => json!(text),
        Value::EnumNumber(number) => match field.kind() {
            Kind::Enum(kind) => {
                let prefix = format!("{}_", kind.name().to_uppercase());
                let name = kind.get_value(*number).map(|value| value.name().to_owned());
                name.filter(|_| *number != 0)
                    .map(|name| json!(name.trim_start_matches(&prefix).to_lowercase()))
                    .unwrap_or(serde_json::Value::Null)
            }
            _ => json!(number),
        },
        Value::Message(message) => object(message),
        Value::List(values) => values.iter().map(|item| value(field, item)).collect(),
        _ => serde_json::Value::Null,
    }
}

/// A question from the parameters of a URL.
///
/// # Errors
/// The parameter that is wrong, and why.
pub(super) fn question<M: Message + Default>(
    name: &str,
    parameters: &[(String, String)],
) -> Result<M, (String, String)> {
    let descriptor = descriptor(name);
    let mut message = DynamicMessage::new(descriptor.clone());
    for (parameter, text) in parameters {
        // It opens the page, and is no part of a question.
        if parameter == "token" {
            continue;
        }
        let wrong = |why: &str| (parameter.clone(), why.to_owned());
        let field = descriptor
            .get_field_by_name(parameter)
            .ok_or_else(|| wrong("the question has no such field"))?;
        if field.cardinality() == Cardinality::Repeated {
            let mut values = match message.get_field(&field).into_owned() {
                Value::List(values) => values,
                _ => Vec::new(),
            };
            for item in text.split(',').filter(|item| !item.is_empty()) {
                values.push(scalar(&field, item).ok_or_else(|| wrong(&expected(&field)))?);
            }
            message.set_field(&field, Value::List(values));
        } else {
            let value = scalar(&field, text).ok_or_else(|| wrong(&expected(&field)))?;
            message.set_field(&field, value);
        }
    }
    M::decode(&message.encode_to_vec()[..]).map_err(|error| (String::new(), error.to_string()))
}

fn expected(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Enum(_) => "expected one of its names".to_owned(),
        Kind::Bool => "expected true or false".to_owned(),
        _ => "expected a number, decimal or 0x...".to_owned(),
    }
}

fn scalar(field: &FieldDescriptor, text: &str) -> Option<Value> {
    let number = || match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    Some(match field.kind() {
        Kind::Uint64 => Value::U64(number()?),
        Kind::Uint32 => Value::U32(number()?.try_into().ok()?),
        Kind::Int32 => Value::I32(text.parse().ok()?),
        Kind::Bool => Value::Bool(text.parse().ok()?),
        Kind::String => Value::String(text.to_owned()),
        Kind::Enum(kind) => {
            let name = format!("{}_{}", kind.name().to_uppercase(), text.to_uppercase());
            Value::EnumNumber(kind.get_value_by_name(&name)?.number())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::v1;

    #[test]
    fn types_are_those_of_a_report() {
        let fraction = v1::HotFraction {
            folio_pfn: 0x1200,
            accesses: u64::MAX,
            verdict: v1::Verdict::Sparse.into(),
            age: Some(prost_types::Duration { seconds: 1, nanos: 5 }),
            ..v1::HotFraction::default()
        };
        let value = of("HotFraction", &fraction);
        assert_eq!(value["folio_pfn"], "0x1200");
        assert_eq!(value["accesses"], u64::MAX);
        assert_eq!(value["verdict"], "sparse");
        assert_eq!(value["age"], "1.000000005");
        assert_eq!(value["window"], serde_json::Value::Null);
        assert_eq!(value["hot_percent"], 0);
    }

    #[test]
    fn parameters_make_a_question() {
        let parameters = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
        };
        let request: v1::BatchGetHotFractionsRequest = question(
            "BatchGetHotFractionsRequest",
            &parameters(&[("pfns", "0x200,1"), ("pfns", "7"), ("order", "4"), ("token", "x")]),
        )
        .unwrap();
        assert_eq!((request.pfns, request.order), (vec![0x200, 1, 7], Some(4)));
        let request: v1::ListFoliosRequest = question(
            "ListFoliosRequest",
            &parameters(&[("verdicts", "sparse,hot"), ("order_by", "pfn")]),
        )
        .unwrap();
        assert_eq!(request.verdicts, [v1::Verdict::Sparse as i32, v1::Verdict::Hot as i32]);
        for (list, field) in [
            (&[("pfn", "x")][..], "pfn"),
            (&[("order", "-1")], "order"),
            (&[("what", "1")], "what"),
            (&[("pfn", "0x1ffffffffffffffff")], "pfn"),
        ] {
            let refused =
                question::<v1::GetHotFractionRequest>("GetHotFractionRequest", &parameters(list));
            assert_eq!(refused.unwrap_err().0, field);
        }
    }
}
