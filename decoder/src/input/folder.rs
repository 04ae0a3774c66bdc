//! `perf.data` folders: a file `data` with the header, and `data.0`, `data.1`, ... with records
//! only (`tools/perf/util/data.c`).

use std::path::{Path, PathBuf};

use super::Packing;
use crate::Error;

/// Endings of compressed files, and the command that writes them out decompressed.
const PACKED: [(&str, &str); 5] = [
    (".gz", "gzip -dc"),
    (".zst", "zstd -dc"),
    (".xz", "xz -dc"),
    (".bz2", "bzip2 -dc"),
    (".lz4", "lz4 -dc"),
];

/// N of a file `data.N`.
fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("data.")?;
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Refuses a file of a folder whose first bytes say that it is compressed.
pub(crate) fn check_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let Some(packing) = Packing::of(bytes) else { return Ok(()) };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Err(Error::PackedInFolder { program: packing.program(), plain: format!("{name}.plain"), name })
}

/// The files of a folder: `data`, then `data.N` by number. Others are passed over.
pub(crate) fn data_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let io = |source| Error::Io { action: "cannot list the folder", source };
    let mut numbered = Vec::new();
    let mut packed = Vec::new();
    let mut has_data = false;
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        // Whatever is no file, links followed, holds no records: a FIFO would wait for ever.
        if !std::fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        has_data |= name == "data";
        if let Some(number) = number_of(name) {
            numbered.push((number, folder.join(name)));
        }
        let plain = PACKED.iter().find_map(|(ending, program)| {
            let plain = name.strip_suffix(ending)?;
            (plain == "data" || number_of(plain).is_some()).then_some((plain, *program))
        });
        packed.extend(plain.map(|(plain, program)| (plain.to_owned(), name.to_owned(), program)));
    }
    // One that was kept beside what came out of it is not missed.
    packed.retain(|(plain, ..)| !folder.join(plain).exists());
    packed.sort();
    if let Some((plain, name, program)) = packed.into_iter().next() {
        return Err(Error::PackedInFolder { name, program, plain });
    }
    if !has_data {
        return Err(Error::NoDataInFolder);
    }
    numbered.sort();
    let data = core::iter::once(folder.join("data"));
    Ok(data.chain(numbered.into_iter().map(|(_, path)| path)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_in_the_order_of_their_numbers() {
        let folder = std::env::temp_dir().join(format!("folioscope-folder-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let empty = data_files(&folder);
        for name in ["data.10", "data.9", "data", "data.x", "data.", "kcore_dir", "data.0"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        std::fs::create_dir(folder.join("data.3")).unwrap();
        let files = data_files(&folder);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(empty, Err(Error::NoDataInFolder)));
        let names: Vec<_> =
            files.unwrap().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["data", "data.0", "data.9", "data.10"]);
    }
    #[test]
    fn a_compressed_file_that_would_be_missed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let files = |add: &[&str]| {
            add.iter().for_each(|name| std::fs::write(folder.path().join(name), "").unwrap());
            data_files(folder.path()).map(|files| files.len()).map_err(|error| error.to_string())
        };
        assert_eq!(files(&["data", "data.0", "data.0.gz", "data.gz", "data.x.gz", "a.gz"]), Ok(2));
        let refused = files(&["data.1.zst"]).unwrap_err();
        assert!(refused.contains("\"data.1.zst\"") && refused.contains("zstd -dc"), "{refused}");
        assert!(check_file(Path::new("a/data.1"), b"PERFILE2").is_ok());
        let refused = check_file(Path::new("a/data.1"), b"\x1f\x8b\x08").unwrap_err().to_string();
        assert!(refused.contains("\"data.1\"") && refused.contains("gzip -dc"), "{refused}");
    }
}
