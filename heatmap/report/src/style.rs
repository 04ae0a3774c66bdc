//! How wide and how colourful text is.

/// How text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Colours and block characters of UTF-8; otherwise plain ASCII.
    pub color: bool,
    /// Columns of the terminal. The layout needs [`Style::LEAST_WIDTH`] and does not grow
    /// beyond [`Style::MOST_WIDTH`].
    pub width: usize,
}

impl Style {
    /// Columns that a heat line with its frame and margin needs, and a little more.
    pub const LEAST_WIDTH: usize = 76;

    /// Wider text is tiring to read.
    pub const MOST_WIDTH: usize = 100;

    /// Columns that are used.
    pub fn width(self) -> usize {
        self.width.clamp(Self::LEAST_WIDTH, Self::MOST_WIDTH)
    }
}

impl Default for Style {
    /// Plain, 80 columns.
    fn default() -> Self {
        Self { color: false, width: 80 }
    }
}
