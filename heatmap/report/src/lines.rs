//! A list on its way out, one line after the other.

use std::io;

/// Bytes gathered before they are written: large enough that system calls cost nothing
/// beside the digits, small enough to stay in the cache.
const GATHERED: usize = 64 << 10;

/// Writes lines through one buffer that is reused.
pub(super) struct Lines<W> {
    out: W,
    buffer: Vec<u8>,
}

impl<W: io::Write> Lines<W> {
    /// Starts with `header`, which may be empty or ends in a newline.
    pub(super) fn new(out: W, header: &str) -> Self {
        let mut buffer = Vec::with_capacity(GATHERED + 1024);
        buffer.extend_from_slice(header.as_bytes());
        Self { out, buffer }
    }

    /// Appends what `line` appends, newline included.
    #[inline]
    pub(super) fn line(&mut self, line: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        line(&mut self.buffer);
        if self.buffer.len() >= GATHERED {
            let written = self.out.write_all(&self.buffer);
            self.buffer.clear();
            return written;
        }
        Ok(())
    }

    /// Writes the rest.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.out.flush()
    }
}

/// Whether a byte of `text` is one of those that need care. Looks at all of them, which is
/// faster than stopping at the first: there is none nearly always.
#[inline]
pub(super) fn any_byte(text: &str, needs_care: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(false, |found, byte| found | needs_care(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lines_arrive_in_order_whatever_the_buffer_holds() {
        let mut out = Vec::new();
        let mut want = String::from("# head\n");
        let mut lines = Lines::new(&mut out, &want);
        for number in 0..40_000 {
            let line = format!("line {number}\n");
            lines.line(|buffer| buffer.extend_from_slice(line.as_bytes())).unwrap();
            want.push_str(&line);
        }
        lines.finish().unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn errors_of_the_output_come_back() {
        let mut full = [0; 10];
        let mut lines = Lines::new(&mut full[..], "");
        lines.line(|buffer| buffer.extend_from_slice(b"more than ten bytes\n")).unwrap();
        assert_eq!(lines.finish().unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}
