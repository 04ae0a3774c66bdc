//! The kernel's base page, which decides how large a PMD block is.

use core::fmt;
use core::str::FromStr;

use decoder::Recording;

/// A base page size: 4, 16 or 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize {
    shift: u32, // 12, 14 or 16
}

impl PageSize {
    const SIZES: [(Self, &'static str); 3] = [
        (Self { shift: 12 }, "4KiB"),
        (Self { shift: 14 }, "16KiB"),
        (Self { shift: 16 }, "64KiB"),
    ];

    /// What was given, else what the first recorded kernel release says, else 4 KiB; and whether
    /// that is only assumed.
    pub fn of(given: Option<Self>, recordings: &[Recording]) -> (Self, bool) {
        let releases =
            recordings.iter().filter_map(|recording| recording.features.os_release.as_deref());
        let x86 = recordings.iter().any(|recording| recording.features.arch() == Some("x86_64"));
        let [(small, _), ..] = Self::SIZES;
        match given.or(releases.filter_map(Self::of_release).next()) {
            Some(size) => (size, false),
            None => (small, !x86),
        }
    }

    /// That of the kernel that runs here.
    pub fn of_this_host() -> Option<Self> {
        let bytes = decoder::page_map::ProcessOptions::default().page_bytes;
        Self::SIZES.into_iter().map(|(size, _)| size).find(|size| 1 << size.shift == bytes)
    }

    /// Kernels with larger pages say so in their release: `6.8.0-31-generic-64k`.
    fn of_release(release: &str) -> Option<Self> {
        let sizes = [("64k", 16), ("16k", 14)];
        let mut words = release.split(|letter: char| !letter.is_ascii_alphanumeric());
        let shift = words.find_map(|word| {
            sizes.iter().find(|(name, _)| *name == word).map(|(_, shift)| *shift)
        })?;
        Some(Self { shift })
    }

    /// Whether a PMD block is 2 MiB.
    pub const fn is_4k(self) -> bool {
        self.shift == 12
    }

    /// Bytes that one PMD entry maps: a page of 8-byte entries, each for one page.
    pub const fn pmd_block_bytes(self) -> u64 {
        1 << (self.shift - 3 + self.shift)
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} KiB", 1 << (self.shift - 10))
    }
}

/// A size that no kernel has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\": a base page is 4KiB, 16KiB or 64KiB")]
pub struct BadPageSize(String);

impl FromStr for PageSize {
    type Err = BadPageSize;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::SIZES
            .into_iter()
            .find(|(size, name)| *name == text || (1u64 << size.shift).to_string() == text)
            .map(|(size, _)| size)
            .ok_or_else(|| BadPageSize(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pmd_block_of_every_page_size() {
        let block = |text: &str| text.parse::<PageSize>().unwrap().pmd_block_bytes() >> 20;
        assert_eq!([block("4KiB"), block("16KiB"), block("65536")], [2, 32, 512]);
        assert!("8KiB".parse::<PageSize>().is_err());
    }

    #[test]
    fn the_release_tells_larger_pages() {
        let shift = |release| PageSize::of_release(release).map(|size| size.shift);
        assert_eq!(shift("5.14.0-427.el9.aarch64+64k"), Some(16));
        assert_eq!(shift("6.8.0-31-generic-64k"), Some(16));
        assert_eq!(shift("6.8.0+64k-debug"), Some(16));
        assert_eq!(shift("6.8.0-31-generic"), None);
    }
}
