//! Generated code and description are those of the `.proto` file, and the description is as it
//! was reviewed. `UPDATE_GEN=1 cargo test -p proto` makes them anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

const PROTO: &str = "folioscope/v1/heatmap.proto";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn descriptors() -> FileDescriptorSet {
    let mut compiler = protox::Compiler::new([root()]).expect("the folder is there");
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file(PROTO).unwrap_or_else(|error| panic!("{error:?}"));
    compiler.file_descriptor_set()
}

fn ours(set: &FileDescriptorSet) -> &FileDescriptorProto {
    set.file.iter().find(|file| file.name() == PROTO).expect("it was compiled")
}

/// Compares a file with what it should be, or writes it.
fn compare(path: &Path, wanted: &[u8]) {
    if std::env::var_os("UPDATE_GEN").is_some() {
        std::fs::write(path, wanted).expect("it can be written");
    }
    let found = std::fs::read(path).unwrap_or_default();
    let name = path.strip_prefix(root()).unwrap_or(path).display();
    assert!(found == wanted, "{name} is out of date: UPDATE_GEN=1 cargo test -p proto");
}

#[test]
fn generated_code_is_up_to_date() {
    let mut set = descriptors();
    let folder = tempfile::tempdir().expect("a folder");
    tonic_prost_build::configure()
        .emit_rerun_if_changed(false)
        .out_dir(folder.path())
        .compile_fds(set.clone())
        .expect("code is generated");
    let made = folder.path().join("folioscope.v1.rs");
    compare(&root().join("src/gen/folioscope.v1.rs"), &std::fs::read(made).expect("it is there"));
    set.file.iter_mut().for_each(|file| file.source_code_info = None);
    compare(&root().join("src/gen/folioscope.v1.bin"), &set.encode_to_vec());
}

#[test]
fn the_interface_is_the_one_that_was_reviewed() {
    let set = descriptors();
    let file = ours(&set);
    let mut text = format!("package {}\n", file.package());
    for service in &file.service {
        writeln!(text, "\nservice {}", service.name()).expect("text grows");
        for method in &service.method {
            let stream = if method.server_streaming() { "stream " } else { "" };
            let (name, input) = (method.name(), method.input_type());
            writeln!(text, "  {name}({input}) -> {stream}{}", method.output_type())
                .expect("text grows");
        }
    }
    for message in &file.message_type {
        describe_message(message, "", &mut text);
    }
    for list in &file.enum_type {
        describe_enum(list, "", &mut text);
    }
    compare(&root().join("tests/interface.txt"), text.as_bytes());
}

fn describe_enum(list: &prost_types::EnumDescriptorProto, scope: &str, text: &mut String) {
    writeln!(text, "\nenum {scope}{}", list.name()).expect("text grows");
    for value in &list.value {
        writeln!(text, "  {} {}", value.number(), value.name()).expect("text grows");
    }
}

fn describe_message(message: &DescriptorProto, scope: &str, text: &mut String) {
    writeln!(text, "\nmessage {scope}{}", message.name()).expect("text grows");
    for field in &message.field {
        writeln!(text, "  {}", describe_field(field, message)).expect("text grows");
    }
    let scope = format!("{scope}{}.", message.name());
    message.nested_type.iter().for_each(|nested| describe_message(nested, &scope, text));
    message.enum_type.iter().for_each(|nested| describe_enum(nested, &scope, text));
}

fn describe_field(field: &FieldDescriptorProto, message: &DescriptorProto) -> String {
    let kind = match field.r#type() {
        Type::Message | Type::Enum => field.type_name().to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    let label = match (field.label(), field.proto3_optional(), field.oneof_index) {
        (Label::Repeated, ..) => "repeated ".to_owned(),
        (_, true, _) => "optional ".to_owned(),
        (_, _, Some(at)) => {
            format!(
                "oneof {} ",
                message.oneof_decl[usize::try_from(at).expect("not negative")].name()
            )
        }
        _ => String::new(),
    };
    format!("{} {label}{kind} {}", field.number(), field.name())
}

#[test]
fn everything_is_named_and_described_by_the_rules() {
    let set = descriptors();
    let file = ours(&set);
    for method in &file.service[0].method {
        let name = |kind: &str| format!(".folioscope.v1.{}{kind}", method.name());
        assert_eq!(method.input_type(), name("Request"));
        assert_eq!(method.output_type(), name("Response"));
    }
    let nested = file.message_type.iter().flat_map(|message| &message.enum_type);
    for list in file.enum_type.iter().chain(nested) {
        let prefix = format!("{}_", list.name().to_uppercase());
        assert!(list.value.iter().all(|value| value.name().starts_with(&prefix)), "{prefix}");
        assert_eq!(
            (list.value[0].number(), list.value[0].name()),
            (0, &*format!("{prefix}UNSPECIFIED"))
        );
    }
    // Every place of a service, method, message, field, enum and value has a comment.
    let info = file.source_code_info.as_ref().expect("it was asked for");
    let described = |path: &[i32]| {
        info.location
            .iter()
            .any(|location| location.path == path && !location.leading_comments().trim().is_empty())
    };
    let number = |at: usize| i32::try_from(at).expect("few");
    for (at, message) in file.message_type.iter().enumerate() {
        assert!(described(&[4, number(at)]), "{}", message.name());
        for (field_at, field) in message.field.iter().enumerate() {
            let path = [4, number(at), 2, number(field_at)];
            assert!(described(&path), "{}.{}", message.name(), field.name());
        }
        for (enum_at, list) in message.enum_type.iter().enumerate() {
            assert!(described(&[4, number(at), 4, number(enum_at)]), "{}", list.name());
            for (value_at, value) in list.value.iter().enumerate() {
                let path = [4, number(at), 4, number(enum_at), 2, number(value_at)];
                assert!(described(&path), "{}", value.name());
            }
        }
    }
    for (at, list) in file.enum_type.iter().enumerate() {
        assert!(described(&[5, number(at)]), "{}", list.name());
        for (value_at, value) in list.value.iter().enumerate() {
            assert!(described(&[5, number(at), 2, number(value_at)]), "{}", value.name());
        }
    }
    for (at, method) in file.service[0].method.iter().enumerate() {
        assert!(described(&[6, 0, 2, number(at)]), "{}", method.name());
    }
}
