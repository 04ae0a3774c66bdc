//! Lines for people: colours that do not count as width, columns, wrapping, numbers.

use super::style::Style;

/// What a piece of text is, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// The head of a section.
    Title,
    /// Something is missing or wrong.
    Bad,
    /// Nothing is.
    Good,
    /// What must be known to read the numbers.
    Note,
    /// Explanation, read once.
    Faint,
    /// A bar or a block of heat.
    Heat,
}

impl Paint {
    /// Selects the colour: SGR parameters.
    const fn code(self) -> &'static str {
        match self {
            Self::Title => "1",
            Self::Bad => "1;31",
            Self::Good => "32",
            Self::Note => "36",
            Self::Faint => "2",
            Self::Heat => "38;5;208",
        }
    }
}

/// One line under construction.
#[derive(Clone, Debug)]
pub struct Line {
    text: String,
    width: usize,
    style: Style,
}

impl Line {
    /// An empty line.
    pub fn new(style: Style) -> Self {
        Self { text: String::new(), width: 0, style }
    }

    /// Columns so far, colour codes not counted.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Adds text as it is.
    pub fn push(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self.width += text.chars().count();
        self
    }

    /// Adds text in a colour, where there are colours.
    pub fn paint(mut self, paint: Paint, text: &str) -> Self {
        if !self.style.color || text.is_empty() {
            return self.push(text);
        }
        self.text.extend(["\x1b[", paint.code(), "m"]);
        self = self.push(text);
        self.text.push_str("\x1b[0m");
        self
    }

    /// Appends `text`, which brings its own colour codes and is `width` columns wide.
    pub fn raw(mut self, text: &str, width: usize) -> Self {
        self.text.push_str(text);
        self.width += width;
        self
    }

    /// Fills with blanks up to `column`.
    pub fn to(self, column: usize) -> Self {
        let blanks = column.saturating_sub(self.width);
        self.push(&" ".repeat(blanks))
    }

    /// Appends `text` so that it ends before `column`.
    pub fn right(self, text: &str, column: usize) -> Self {
        self.to(column.saturating_sub(text.chars().count())).push(text)
    }

    /// The line as it is printed, without blanks at its end.
    pub fn finish(&self) -> &str {
        self.text.trim_end_matches(' ')
    }
}

/// `head`, then `text` wrapped behind it; further lines start under `text`, or two columns
/// in where the head leaves too little room.
pub fn hanging(head: Line, paint: Option<Paint>, text: &str) -> Vec<Line> {
    const LEAST: usize = 20;
    let style = head.style;
    let mut lines = Vec::new();
    let (mut line, indent) = if head.width + LEAST <= style.width() {
        let indent = head.width;
        (head, indent)
    } else {
        lines.push(head);
        (Line::new(style).to(2), 2)
    };
    for part in wrap(text, style.width() - indent) {
        line = match paint {
            Some(paint) => line.paint(paint, &part),
            None => line.push(&part),
        };
        lines.push(std::mem::replace(&mut line, Line::new(style).to(indent)));
    }
    lines
}

/// `text` in lines of at most `width` columns; at least one. Words that are too long for a
/// line are cut.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let mut letters: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + letters.len() > width {
            lines.push(String::new());
            used = 0;
        }
        while letters.len() > width {
            let rest = letters.split_off(width);
            if let Some(line) = lines.last_mut() {
                line.extend(letters);
            }
            lines.push(String::new());
            letters = rest;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            used += letters.len();
            line.extend(letters);
        }
    }
    lines
}

/// Two blocks of lines, beside each other where they fit, else one after the other.
pub fn side_by_side(left: Vec<Line>, right: Vec<Line>, style: Style) -> Vec<Line> {
    const GAP: usize = 3;
    let widest = |lines: &[Line]| lines.iter().map(Line::width).max().unwrap_or(0);
    let column = (widest(&left) + GAP).max(style.width() / 2 + GAP / 2);
    let mut lines = left;
    if column + widest(&right) > style.width() {
        if !right.is_empty() {
            lines.push(Line::new(style));
        }
        lines.extend(right);
        return lines;
    }
    while lines.len() < right.len() {
        lines.push(Line::new(style));
    }
    let mut right = right.into_iter();
    lines
        .into_iter()
        .map(|line| match right.next() {
            Some(beside) => line.to(column).raw(&beside.text, beside.width),
            None => line,
        })
        .collect()
}

/// `text` in at most `width` columns: what is too much goes out of its middle, since paths
/// tell most at their ends.
pub fn shorten(text: &str, width: usize) -> String {
    const GAP: &str = "...";
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(GAP.len());
    let head = kept / 3;
    let tail = letters.len() - (kept - head);
    letters[..head]
        .iter()
        .copied()
        .chain(GAP.chars())
        .chain(letters[tail..].iter().copied())
        .collect()
}

/// Text from outside as a terminal may show it: control characters, and in plain form all
/// that is not ASCII, are escaped as Rust does it.
pub fn clean(text: &str, style: Style) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            ' '..='~' => clean.push(letter),
            _ if style.color => clean.extend(letter.escape_debug()),
            _ => clean.extend(letter.escape_default()),
        }
    }
    clean
}

/// A number with a comma between thousands.
pub fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and what it counts: `1 page`, `2 pages`.
pub fn counted(value: u64, one: &str, more: &str) -> String {
    format!("{} {}", thousands(value), if value == 1 { one } else { more })
}

/// `part` of `whole` in percent as [`share`] shows it, in tenths of a percent.
fn shown_tenths(part: u64, whole: u64) -> u128 {
    let (part, whole) = (u128::from(part), u128::from(whole).max(1));
    let rounded = |steps: u128| (part * steps * 2 + whole) / (whole * 2);
    match rounded(1000) {
        tenths @ 0..100 => tenths,
        _ => rounded(100) * 10,
    }
}

/// `part` of `whole` in percent, rounded half up, with one decimal where it is under 10; nothing
/// for 0.
pub fn share(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return String::new();
    }
    match shown_tenths(part, whole) {
        0 => "<0.1 %".to_owned(),
        tenths @ 1..100 => format!("{}.{} %", tenths / 10, tenths % 10),
        tenths => format!("{} %", tenths / 10),
    }
}

/// A part of 1 in percent, as [`share`] shows parts of a number; `0 %` for 0.
pub fn percent(part: f64) -> String {
    /// Parts of a whole that are told apart.
    const WHOLE: u64 = 1_000_000_000;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the cast saturates, and what is beyond a part in 10^9 is not shown"
    )]
    let parts = (part * WHOLE as f64).round() as u64;
    if parts == 0 { "0 %".to_owned() } else { share(parts, WHOLE) }
}

/// Whether the parts of a whole add up to 100 % as [`share`] shows them. `<0.1 %` adds nothing.
pub fn shares_add_up(parts: impl IntoIterator<Item = u64>, whole: u64) -> bool {
    let shown: Vec<_> =
        parts.into_iter().filter(|part| *part > 0).map(|part| shown_tenths(part, whole)).collect();
    whole == 0 || !shown.contains(&0) && shown.iter().sum::<u128>() == 1000
}

/// A point in time as perf prints it: seconds, six decimals.
pub fn seconds(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns % 1_000_000_000 / 1000)
}

/// A length of time in the largest unit that leaves digits before the point.
pub fn duration(ns: u64) -> String {
    let (unit, name) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (1_000, "us"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    format!(
        "{}.{:03} {name}",
        thousands(ns / unit),
        u128::from(ns % unit) * 1000 / u128::from(unit)
    )
}

/// A bar for `value`, `width` columns at `full`. What is not 0 is never nothing.
pub fn bar(value: u64, full: u64, width: usize, style: Style) -> String {
    const EIGHTHS: [&str; 8] =
        ["", "\u{258f}", "\u{258e}", "\u{258d}", "\u{258c}", "\u{258b}", "\u{258a}", "\u{2589}"];
    if value == 0 || full == 0 {
        return String::new();
    }
    let parts = |steps: usize| {
        let steps = u128::from(value) * (width * steps) as u128 / u128::from(full);
        usize::try_from(steps).unwrap_or(usize::MAX)
    };
    if style.color {
        let eighths = parts(8).clamp(1, width * 8);
        "\u{2588}".repeat(eighths / 8) + EIGHTHS[eighths % 8]
    } else {
        match parts(2).min(width * 2).div_ceil(2) {
            0 => ".".to_owned(),
            cells => "#".repeat(cells),
        }
    }
}

/// Numbers in ascending order as `0-3,7`; at most `most` ranges, then how many are left out.
pub fn ranges(numbers: &[u32], most: usize) -> String {
    let mut text = String::new();
    let mut shown = 0;
    for run in numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b)).take(most) {
        if shown > 0 {
            text.push_str(", ");
        }
        shown += run.len();
        match run {
            [first, .., last] => text.push_str(&format!("{first}-{last}")),
            _ => text.push_str(&run[0].to_string()),
        }
    }
    if shown < numbers.len() {
        text.push_str(&format!(" and {} more", numbers.len() - shown));
    }
    text
}

/// Bytes in the largest unit, rounded down to a tenth.
pub fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.iter().find(|(unit, _)| bytes >= *unit);
    let Some((unit, name)) = unit else { return format!("{bytes} bytes") };
    let tenths = u128::from(bytes) * 10 / u128::from(*unit);
    match tenths % 10 {
        0 => format!("{} {name}", tenths / 10),
        tenth => format!("{}.{tenth} {name}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Style = Style { color: false, width: 80 };
    const COLOUR: Style = Style { color: true, width: 80 };

    #[test]
    fn numbers_read_well() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (39_794, "39,794")];
        for (value, want) in cases {
            assert_eq!(thousands(value), want);
        }
        assert_eq!(thousands(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(counted(1, "page", "pages"), "1 page");
        assert_eq!(counted(0, "page", "pages"), "0 pages");
        assert_eq!(seconds(1_234_567_890_123), "1234.567890");
        let durations =
            [duration(7), duration(1_500), duration(12_000_000), duration(7_200_500_000_000)];
        assert_eq!(durations, ["7 ns", "1.500 us", "12.000 ms", "7,200.500 s"]);
    }

    #[test]
    fn shares_are_rounded_half_up() {
        let cases = [
            (0, 9, ""),
            (1, 9999, "<0.1 %"),
            (499, 1_000_000, "<0.1 %"),
            (500, 1_000_000, "0.1 %"),
            (234, 10_000, "2.3 %"),
            (235, 10_000, "2.4 %"),
            (9949, 100_000, "9.9 %"),
            (9950, 100_000, "10 %"),
            (1249, 10_000, "12 %"),
            (125, 1000, "13 %"),
            (975, 1000, "98 %"),
            (9949, 10_000, "99 %"),
            (995, 1000, "100 %"),
            (7, 7, "100 %"),
            (u64::MAX, u64::MAX, "100 %"),
            (u64::MAX / 3, u64::MAX, "33 %"),
        ];
        for (part, whole, want) in cases {
            assert_eq!(share(part, whole), want, "{part} of {whole}");
        }
    }

    #[test]
    fn parts_of_one_are_shown_like_shares() {
        let shown = [0.0, 0.0001, 0.0345, 0.0995, 0.125, 0.5, 1.0, 1.5].map(percent);
        assert_eq!(shown, ["0 %", "<0.1 %", "3.5 %", "10 %", "13 %", "50 %", "100 %", "150 %"]);
    }

    #[test]
    fn whether_shares_add_up() {
        assert!(shares_add_up([1, 1], 2));
        assert!(shares_add_up([0; 3], 0));
        assert!(!shares_add_up([1, 1, 1], 3), "33 + 33 + 33");
        assert!(!shares_add_up([1, 99_999], 100_000), "<0.1 + 100");
        assert!(!shares_add_up([48, 1955, 2], 2005), "2.4 + 98 + 0.1");
        assert!(shares_add_up([u64::MAX], u64::MAX));
    }

    #[test]
    fn ranges_join_neighbours_and_end() {
        assert_eq!(ranges(&[], 3), "");
        assert_eq!(ranges(&[5], 3), "5");
        assert_eq!(ranges(&[0, 1, 2, 7, 9, 10], 3), "0-2, 7, 9-10");
        assert_eq!(ranges(&[0, 2, 4, 6, 7], 2), "0, 2 and 3 more");
        assert_eq!(ranges(&[u32::MAX - 1, u32::MAX], 2), "4294967294-4294967295");
    }

    #[test]
    fn bars_show_whatever_is_not_zero() {
        let plain = [0, 1, 49, 50, 51, 99, 100].map(|value| bar(value, 100, 10, PLAIN));
        assert_eq!(plain, ["", ".", "#####", "#####", "#####", "##########", "##########"]);
        assert_eq!(bar(u64::MAX, u64::MAX, 18, PLAIN).len(), 18);
        let colour = [0, 1, 50, 100].map(|value| bar(value, 100, 2, COLOUR));
        assert_eq!(colour, ["", "\u{258f}", "\u{2588}", "\u{2588}\u{2588}"]);
    }

    #[test]
    fn outside_text_cannot_steer_a_terminal() {
        let text = "a\x1b[2J\u{9b}b\u{202e}\u{fc}\n";
        assert_eq!(clean(text, PLAIN), "a\\u{1b}[2J\\u{9b}b\\u{202e}\\u{fc}\\n");
        assert_eq!(clean(text, COLOUR), "a\\u{1b}[2J\\u{9b}b\\u{202e}\u{fc}\\n");
        assert_eq!(clean("it's \"C:\\x\"", COLOUR), "it's \"C:\\x\"");
    }

    #[test]
    fn paths_are_shortened_in_the_middle() {
        assert_eq!(shorten("perf.data", 9), "perf.data");
        assert_eq!(shorten("/srv/traces/2026/node17/perf.data", 21), "/srv/t...17/perf.data");
        assert_eq!(shorten("perf.data", 2), "...");
    }

    #[test]
    fn colour_has_no_width() {
        let line = Line::new(COLOUR).paint(Paint::Bad, "lost").to(6).right("7", 10);
        assert_eq!(line.width(), 10);
        assert_eq!(line.finish(), "\x1b[1;31mlost\x1b[0m     7");
    }

    #[test]
    fn blocks_stand_beside_each_other_where_they_fit() {
        let block = |width: usize| vec![Line::new(PLAIN).to(width - 1).push("x"); 2];
        assert_eq!(side_by_side(block(30), block(30), PLAIN).len(), 2);
        assert_eq!(side_by_side(block(30), block(50), PLAIN).len(), 5);
        assert_eq!(side_by_side(block(30), Vec::new(), PLAIN).len(), 2);
    }

    proptest! {
        #[test]
        fn wrapping_loses_no_letter_and_keeps_the_width(text in "[a-z ]{0,200}", width in 1..40_usize) {
            let lines = wrap(&text, width);
            prop_assert!(lines.iter().all(|line| line.len() <= width));
            let letters = |text: &str| text.replace(' ', "");
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }

        #[test]
        fn shortening_keeps_the_width(text in "\\PC{0,60}", width in 3..40_usize) {
            prop_assert!(shorten(&text, width).chars().count() <= width);
        }
    }

    #[test]
    fn sizes() {
        let cases = [(0, "0 bytes"), (1 << 10, "1 KiB"), (3 << 19, "1.5 MiB"), (1 << 30, "1 GiB")];
        for (bytes, want) in cases {
            assert_eq!(size(bytes), want);
        }
        assert!(size(u64::MAX).ends_with(" GiB"));
    }
}
