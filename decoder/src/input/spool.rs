//! Bytes that come once and are needed in any order: saved in a file without a name.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};

use crate::Error;

/// How much is written at a time.
const BUFFER: usize = 256 << 10;

/// Writes all that `reader` gives into a file that nobody else sees and that is gone once it is
/// closed, however this process ends. It lies in the folder for temporary files (`TMPDIR`).
///
/// # Errors
/// If there are more than `most` bytes, reading fails, or the folder takes no file or no more.
pub(crate) fn spool(reader: &mut impl Read, most: u64) -> Result<File, Error> {
    let folder = std::env::temp_dir();
    let cannot_write = |source| Error::Spool { folder: folder.clone(), source };
    // O_TMPFILE, or where the file system has none, a file whose name is taken away at once.
    let mut file = tempfile::tempfile_in(&folder).map_err(cannot_write)?;
    let mut buffer = vec![0; BUFFER];
    let mut left = most;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(file),
            Ok(len) => {
                left = left.checked_sub(len as u64).ok_or(Error::TooLargeToSpool { most })?;
                file.write_all(&buffer[..len]).map_err(cannot_write)?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::Io { action: "cannot read", source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn all_bytes_up_to_the_limit_in_a_file_without_a_name() {
        let bytes: Vec<u8> = (0..=255).cycle().take(BUFFER + 1000).collect();
        let file = spool(&mut &bytes[..], bytes.len() as u64).unwrap();
        let mut read = vec![0; bytes.len()];
        file.read_exact_at(&mut read, 0).unwrap();
        assert!(read == bytes);
        let metadata = file.metadata().unwrap();
        assert_eq!((metadata.len(), metadata.nlink()), (bytes.len() as u64, 0));
        let most = bytes.len() as u64 - 1;
        let error = spool(&mut &bytes[..], most).unwrap_err();
        assert!(matches!(error, Error::TooLargeToSpool { most: found } if found == most));
    }
}
