//! The token that lets in whoever has it.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use subtle::ConstantTimeEq;

/// The token: what the file has, or a new one, which is kept there.
pub(super) fn read_or_make(file: Option<&Path>) -> anyhow::Result<String> {
    if let Some(path) = file {
        match std::fs::read_to_string(path) {
            Ok(text) => return known_token(path, text.trim()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("{}: cannot read", path.display()));
            }
        }
    }
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).context("the system gives no random numbers")?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    if let Some(path) = file {
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        file.and_then(|mut file| writeln!(file, "{token}"))
            .with_context(|| format!("{}: cannot keep the token there", path.display()))?;
    }
    Ok(token)
}

/// A token that was kept.
fn known_token(path: &Path, token: &str) -> anyhow::Result<String> {
    use std::os::unix::fs::PermissionsExt;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    anyhow::ensure!(
        token.len() >= 16 && token.bytes().all(is_plain),
        "{}: a token has at least 16 characters, all of them letters, digits, - or _",
        path.display()
    );
    let mode = std::fs::metadata(path).map_or(0, |data| data.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others may read the token: chmod 600 mends it");
    }
    Ok(token.to_owned())
}

/// Whether two tokens are the same, in a time that does not tell where they differ.
pub(super) fn is_same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}
