//! `perf.data` folders: a file `data` with the header, and `data.0`, `data.1`, ... with records
//! only (`tools/perf/util/data.c`).

use std::path::{Path, PathBuf};

use crate::Error;

/// The files of a folder: `data`, then `data.N` by number. Others are passed over.
pub(crate) fn data_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let io = |source| Error::Io { action: "cannot list the folder", source };
    let mut numbered = Vec::new();
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
        let number =
            name.strip_prefix("data.").filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        if let Some(number) = number.and_then(|digits| digits.parse::<u64>().ok()) {
            numbered.push((number, folder.join(name)));
        }
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
}
