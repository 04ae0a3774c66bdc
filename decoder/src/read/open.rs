//! An input that has been opened: a file, a folder or a pipe, compressed or not.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::raw_buffers::decode_raw;
use super::{STREAM_SIZE, decode_bytes, decode_read, header_size};
use crate::input::{Incoming, Mapping, Packing, check_file, data_files};
use crate::raw::Raw;
use crate::{Error, InputKind, Options, Recording, Shard, Sink};

/// The length that is asked for a pipe: what any process may ask for, unless the system's
/// administrator has set another limit.
const PIPE_LEN: usize = 1 << 20;

/// An input that has been opened.
#[derive(Debug)]
pub struct Input {
    form: Form,
}

#[derive(Debug)]
enum Form {
    File(File),
    Folder(Vec<PathBuf>),
    Pipe(File),
}

impl Input {
    /// Opens a file, a folder or a FIFO.
    ///
    /// # Errors
    /// What the system says, or that a folder holds no data.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { action: "cannot open", source };
        if std::fs::metadata(path).map_err(io)?.is_dir() {
            return Ok(Self { form: Form::Folder(data_files(path)?) });
        }
        Self::from_file(File::open(path).map_err(io)?)
    }

    /// Takes an open file: a regular one is mapped, anything else is read as it comes.
    ///
    /// # Errors
    /// What the system says.
    pub fn from_file(file: File) -> Result<Self, Error> {
        let io = |source| Error::Io { action: "cannot open", source };
        let regular = file.metadata().map_err(io)?.is_file();
        Ok(Self { form: if regular { Form::File(file) } else { Form::Pipe(file) } })
    }

    /// Decodes everything into `sink`. Positions are numbered from `first_file` on.
    ///
    /// # Errors
    /// If there is no record stream in it, or reading fails. Damage inside is no error.
    pub fn decode<S: Shard>(
        self,
        first_file: u32,
        options: &Options,
        sink: &mut S,
    ) -> Result<Recording, Error> {
        match self.form {
            Form::Pipe(file) => {
                // A pipe that holds more takes fewer changes between its writer and us. One that
                // stays as it is, or is none, does as well.
                let _ = rustix::pipe::fcntl_setpipe_size(&file, PIPE_LEN);
                decode_incoming(&mut &file, first_file, options, sink)
            }
            Form::File(file) => match Mapping::new(&file)? {
                Some(mapping) => {
                    let mut bytes = mapping.bytes();
                    let decoded = match Packing::of(bytes) {
                        Some(_) => decode_incoming(&mut bytes, first_file, options, sink),
                        None => decode_bytes(&[bytes], first_file, options, sink),
                    };
                    mapping.check()?;
                    decoded
                }
                None => decode_incoming(&mut &file, first_file, options, sink),
            },
            Form::Folder(paths) => {
                let mut mappings = Vec::new();
                for path in &paths {
                    let io = |source| Error::Io { action: "cannot open a data file", source };
                    let no_room = || std::io::Error::other("there is no room to map all of them");
                    let file = File::open(path).map_err(io)?;
                    let mapping = Mapping::new(&file)?.ok_or_else(|| io(no_room()))?;
                    check_file(path, mapping.bytes())?;
                    mappings.push(mapping);
                }
                let files: Vec<_> = mappings.iter().map(Mapping::bytes).collect();
                let decoded = decode_bytes(&files, first_file, options, sink);
                mappings.iter().try_for_each(Mapping::check)?;
                decoded.map(|recording| Recording { kind: InputKind::Folder, ..recording })
            }
        }
    }
}

impl Input {
    /// Decodes bytes without a container into `sink`, see [`decode_raw`]. Their positions have the
    /// number `file`.
    ///
    /// # Errors
    /// If it is a folder, a recording of perf's, or reading fails.
    pub fn decode_raw(self, raw: Raw, file: u32, sink: &mut impl Sink) -> Result<Recording, Error> {
        let mut decode = |mut reader: File| {
            let mut incoming = Incoming::new(&mut reader)?;
            let mut recording = decode_raw(&mut incoming, raw, file, sink)?;
            incoming.tell(&mut recording);
            Ok(recording)
        };
        match self.form {
            Form::Folder(_) => Err(raw.not_raw()),
            Form::Pipe(buffer) => decode(buffer),
            Form::File(buffer) => Ok(Recording { kind: InputKind::File, ..decode(buffer)? }),
        }
    }
}

/// Whether an input that begins with these bytes is compressed, whether it can be read or not.
/// Eight bytes are enough.
pub fn is_packed(head: &[u8]) -> bool {
    Packing::of(head).is_some()
}

/// Decodes what comes, compressed or not: a stream as it comes, a file once all of it has come
/// and is saved.
fn decode_incoming<S: Shard>(
    reader: &mut dyn Read,
    first_file: u32,
    options: &Options,
    sink: &mut S,
) -> Result<Recording, Error> {
    let mut incoming = Incoming::new(reader)?;
    let is_file = matches!(header_size(incoming.head()), Some(size) if size != STREAM_SIZE);
    let mut recording = if is_file {
        let saved = incoming.spool(options.max_spool)?;
        let no_room = || std::io::Error::other("there is no room to map it");
        let mapping = Mapping::new(&saved)?
            .ok_or_else(|| Error::Io { action: "cannot read what was saved", source: no_room() })?;
        let decoded = decode_bytes(&[mapping.bytes()], first_file, options, sink);
        mapping.check()?;
        decoded?
    } else {
        decode_read(&mut incoming, first_file, options, sink)?
    };
    incoming.tell(&mut recording);
    Ok(recording)
}
