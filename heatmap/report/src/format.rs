//! The formats of every command that prints data.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use clap::builder::PossibleValue;

/// How data is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// For people and for line-by-line tools.
    #[default]
    Text,
    /// One object; of lists, one object a line.
    Json,
    /// A header line, then one line a row; empty is absent.
    Csv,
    /// A Parquet file; needs a file to write to.
    Parquet,
}

impl Format {
    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// Fails where this program was built without the format, so that a command can say so
    /// before it reads its input.
    ///
    /// # Errors
    /// [`std::io::ErrorKind::Unsupported`], with what to do instead.
    pub fn available(self) -> std::io::Result<()> {
        #[cfg(not(feature = "parquet"))]
        if self == Self::Parquet {
            return Err(parquet_is_absent());
        }
        Ok(())
    }
}

/// The answer of a program without Parquet.
#[cfg(not(feature = "parquet"))]
pub(super) fn parquet_is_absent() -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::Unsupported,
        "this program was built without Parquet: use --format csv or json, or build it with \
         the cargo feature `parquet`",
    )
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown format `{0}`: expected text, json, csv or parquet")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::value_variants()
            .iter()
            .copied()
            .find(|format| format.name() == name)
            .ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Text, Self::Json, Self::Csv, Self::Parquet]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused() {
        for &format in Format::value_variants() {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        let error = "yaml".parse::<Format>().unwrap_err();
        assert_eq!(error.to_string(), "unknown format `yaml`: expected text, json, csv or parquet");
    }

    #[test]
    fn parquet_is_available_or_refused_with_a_remedy() {
        for format in [Format::Text, Format::Json, Format::Csv] {
            assert!(format.available().is_ok());
        }
        let refused = Format::Parquet.available().err();
        assert_eq!(refused.is_none(), cfg!(feature = "parquet"));
        if let Some(error) = refused {
            assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
            assert!(error.to_string().contains("--format csv"), "{error}");
        }
    }
}
