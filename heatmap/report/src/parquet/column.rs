//! Columns: the values of rows that are not in the file yet, and how a file holds them.

use std::collections::HashMap;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use ::parquet::basic::{LogicalType, Repetition, Type as Physical};
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use ::parquet::errors::{ParquetError, Result};
use ::parquet::file::writer::SerializedRowGroupWriter;
use ::parquet::schema::types::{Type, TypePtr};

/// Names that are spelled out at a time: a column holds their numbers.
const SPELLED: usize = 1024;
/// Definition level of a value that is absent, and of one that is there.
const LEVELS: [i16; 2] = [0, 1];

/// The values of a column, for rows that are not in the file yet.
pub(super) trait Column: Default {
    /// Its type in the field reference.
    #[cfg(test)]
    const TYPE: &'static str;

    /// How the file's schema describes it.
    fn describe(name: &str, is_nullable: bool) -> Result<TypePtr>;

    /// Bytes that its values take.
    fn bytes(&self) -> usize;

    /// Writes all values as the next column of a row group, and forgets them.
    fn write<W: io::Write + Send>(
        &mut self,
        is_nullable: bool,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<()>;
}

/// A type of values that a file holds as they are.
pub(super) trait Plain {
    /// What is given.
    type Given;
    /// What the file holds.
    type Held: DataType;
    /// As in [`Column::TYPE`].
    #[cfg(test)]
    const TYPE: &'static str;

    fn held(given: Self::Given) -> <Self::Held as DataType>::T;

    /// Bytes that what is held has elsewhere.
    fn elsewhere(_: &Self::Given) -> usize {
        0
    }

    /// What readers take it for, where the type of what is held does not say it.
    fn logical() -> Option<LogicalType> {
        None
    }
}

/// Unsigned, 64 bits.
pub(super) enum U64 {}
/// Unsigned, 32 bits.
pub(super) enum U32 {}
/// Nanoseconds; absent beyond the 292 years that an i64 holds, see [`time`].
pub(super) enum I64 {}
/// True or false.
pub(super) enum Bool {}
/// A string that few rows share.
pub(super) enum Text {}

impl Plain for U64 {
    type Given = u64;
    type Held = Int64Type;
    #[cfg(test)]
    const TYPE: &'static str = "u64";

    fn held(given: u64) -> i64 {
        given.cast_signed()
    }

    fn logical() -> Option<LogicalType> {
        Some(LogicalType::integer(64, false))
    }
}

impl Plain for U32 {
    type Given = u32;
    type Held = Int32Type;
    #[cfg(test)]
    const TYPE: &'static str = "u32";

    fn held(given: u32) -> i32 {
        given.cast_signed()
    }

    fn logical() -> Option<LogicalType> {
        Some(LogicalType::integer(32, false))
    }
}

impl Plain for I64 {
    type Given = i64;
    type Held = Int64Type;
    #[cfg(test)]
    const TYPE: &'static str = "i64";

    fn held(given: i64) -> i64 {
        given
    }
}

impl Plain for Bool {
    type Given = bool;
    type Held = BoolType;
    #[cfg(test)]
    const TYPE: &'static str = "bool";

    fn held(given: bool) -> bool {
        given
    }
}

impl Plain for Text {
    type Given = String;
    type Held = ByteArrayType;
    #[cfg(test)]
    const TYPE: &'static str = "string";

    fn held(given: String) -> ByteArray {
        given.into_bytes().into()
    }

    fn elsewhere(given: &String) -> usize {
        given.len()
    }

    fn logical() -> Option<LogicalType> {
        Some(LogicalType::String)
    }
}

/// A column of plain values.
pub(super) struct Values<P: Plain> {
    held: Vec<<P::Held as DataType>::T>,
    /// Of each row, whether it has one.
    levels: Vec<i16>,
    /// Bytes that they have elsewhere.
    elsewhere: usize,
    plain: PhantomData<P>,
}

impl<P: Plain> Default for Values<P> {
    fn default() -> Self {
        Self { held: Vec::new(), levels: Vec::new(), elsewhere: 0, plain: PhantomData }
    }
}

impl<P: Plain> Values<P> {
    pub(super) fn append(&mut self, given: Option<P::Given>) {
        self.levels.push(LEVELS[usize::from(given.is_some())]);
        self.elsewhere += given.as_ref().map_or(0, P::elsewhere);
        self.held.extend(given.map(P::held));
    }
}

impl<P: Plain> Column for Values<P> {
    #[cfg(test)]
    const TYPE: &'static str = P::TYPE;

    fn describe(name: &str, is_nullable: bool) -> Result<TypePtr> {
        leaf(name, P::Held::get_physical_type(), P::logical(), repetition(is_nullable))
    }

    fn bytes(&self) -> usize {
        let held = self.held.len() * size_of::<<P::Held as DataType>::T>();
        held + self.levels.len() * size_of::<i16>() + self.elsewhere
    }

    fn write<W: io::Write + Send>(
        &mut self,
        is_nullable: bool,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<()> {
        let levels = is_nullable.then_some(&*self.levels);
        next::<P::Held, _>(group, &self.held, levels, None)?;
        self.held.clear();
        self.levels.clear();
        self.elsewhere = 0;
        Ok(())
    }
}

/// A column of few different strings, held by number.
#[derive(Default)]
pub(super) struct Names {
    spelled: Vec<ByteArray>,
    numbers: HashMap<Box<str>, u32>,
    held: Vec<u32>,
    /// Of each row, whether it has one.
    levels: Vec<i16>,
    /// Bytes of all names.
    letters: usize,
}

impl Names {
    pub(super) fn append(&mut self, given: Option<&str>) {
        self.levels.push(LEVELS[usize::from(given.is_some())]);
        let Some(name) = given else { return };
        let number = self.numbers.get(name).copied().unwrap_or_else(|| {
            let next = u32::try_from(self.spelled.len()).expect("a group has fewer rows");
            self.letters += name.len();
            self.spelled.push(name.into());
            self.numbers.insert(name.into(), next);
            next
        });
        self.held.push(number);
    }
}

impl Column for Names {
    #[cfg(test)]
    const TYPE: &'static str = "name";

    fn describe(name: &str, is_nullable: bool) -> Result<TypePtr> {
        leaf(name, Physical::BYTE_ARRAY, Some(LogicalType::String), repetition(is_nullable))
    }

    fn bytes(&self) -> usize {
        let names = self.spelled.len() * (size_of::<ByteArray>() + size_of::<(Box<str>, u32)>());
        names
            + 2 * self.letters
            + self.held.len() * size_of::<u32>()
            + self.levels.len() * size_of::<i16>()
    }

    fn write<W: io::Write + Send>(
        &mut self,
        is_nullable: bool,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<()> {
        let mut column = group.next_column()?.ok_or_else(too_many)?;
        let mut held = self.held.iter();
        let mut spelled = Vec::with_capacity(SPELLED);
        for levels in self.levels.chunks(SPELLED) {
            let present = levels.iter().filter(|level| **level == LEVELS[1]).count();
            let names = held.by_ref().take(present);
            spelled.extend(names.map(|number| self.spelled[*number as usize].clone()));
            let levels = is_nullable.then_some(levels);
            column.typed::<ByteArrayType>().write_batch(&spelled, levels, None)?;
            spelled.clear();
        }
        column.close()?;
        *self = Self::default();
        Ok(())
    }
}

/// A column of lists of pages and their counts, absent or of any length.
#[derive(Default)]
pub(super) struct PageCounts {
    pages: Vec<i32>,
    counts: Vec<i64>,
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

impl PageCounts {
    pub(super) fn append(&mut self, given: Option<&[(u16, u32)]>) {
        let pairs = given.unwrap_or_default();
        // What is absent and what is empty are one entry each, which tells them apart.
        if pairs.is_empty() {
            self.definition.push(i16::from(given.is_some()));
            self.repetition.push(0);
        }
        for (at, (page, count)) in pairs.iter().enumerate() {
            self.definition.push(2);
            self.repetition.push(i16::from(at > 0));
            self.pages.push((*page).into());
            self.counts.push((*count).into());
        }
    }
}

impl Column for PageCounts {
    #[cfg(test)]
    const TYPE: &'static str = "list";

    /// A list as the format has it: a group that is absent or not, of groups that repeat, of items.
    fn describe(name: &str, is_nullable: bool) -> Result<TypePtr> {
        let required = Repetition::REQUIRED;
        let number = |bits| Some(LogicalType::integer(bits, false));
        let page = leaf("page", Physical::INT32, number(16), required)?;
        let count = leaf("count", Physical::INT64, number(64), required)?;
        let group = |name, fields, repetition, logical| {
            let builder = Type::group_type_builder(name).with_fields(fields);
            builder.with_repetition(repetition).with_logical_type(logical).build().map(Arc::new)
        };
        let item = group("item", vec![page, count], required, None)?;
        let list = group("list", vec![item], Repetition::REPEATED, None)?;
        debug_assert!(is_nullable, "decisions need not have counts");
        group(name, vec![list], Repetition::OPTIONAL, Some(LogicalType::List))
    }

    fn bytes(&self) -> usize {
        let values = self.pages.len() * (size_of::<i32>() + size_of::<i64>());
        values + self.definition.len() * 2 * size_of::<i16>()
    }

    fn write<W: io::Write + Send>(
        &mut self,
        _: bool,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<()> {
        let (definition, repetition) = (Some(&*self.definition), Some(&*self.repetition));
        next::<Int32Type, _>(group, &self.pages, definition, repetition)?;
        next::<Int64Type, _>(group, &self.counts, definition, repetition)?;
        *self = Self::default();
        Ok(())
    }
}

/// A time, absent beyond the 292 years that an i64 holds.
pub(super) fn time(ns: u64) -> Option<i64> {
    i64::try_from(ns).ok()
}

fn repetition(is_nullable: bool) -> Repetition {
    if is_nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED }
}

fn leaf(
    name: &str,
    physical: Physical,
    logical: Option<LogicalType>,
    repetition: Repetition,
) -> Result<TypePtr> {
    let builder = Type::primitive_type_builder(name, physical).with_repetition(repetition);
    builder.with_logical_type(logical).build().map(Arc::new)
}

/// Writes the next column of a row group.
fn next<T: DataType, W: io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    definition: Option<&[i16]>,
    repetition: Option<&[i16]>,
) -> Result<()> {
    let mut column = group.next_column()?.ok_or_else(too_many)?;
    column.typed::<T>().write_batch(values, definition, repetition)?;
    column.close()
}

fn too_many() -> ParquetError {
    ParquetError::General("there are more columns than the schema has".to_owned())
}
