//! `folioscope top`: what a daemon sees, as it changes.

use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use client::messages::Messages;
use heatmap::ChunkOrder;
use heatmap::{Backing, NOT_JUDGED, Verdict};
use proto::v1;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Bar, BarChart, BarGroup, Block, Paragraph, Row, Table};
use report::layout::thousands;

use super::health::ServiceOptions;
use super::outcome::Outcome;

/// Blocks that are asked for: more than fit any terminal.
const ASKED: i32 = 200;

#[derive(Debug, Args)]
pub(super) struct Top {
    #[command(flatten)]
    service: ServiceOptions,
    /// Chunk order, 0 to 9: a chunk is 2^N pages
    #[arg(long, value_name = "N", default_value = "0")]
    order: ChunkOrder,
    /// How often the daemon is asked
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    interval: heatmap::Duration,
    /// Print one view as text, 100 columns wide, and end
    #[arg(long)]
    once: bool,
}

/// What is shown.
#[derive(Clone, Debug, Default)]
struct View {
    address: String,
    status: v1::GetStatusResponse,
    distribution: v1::GetDistributionResponse,
    folios: Vec<v1::Folio>,
    /// Records in a second.
    rate: Option<f64>,
    /// Why there are no news.
    trouble: Option<String>,
}

impl Top {
    pub(super) fn run(&self, _messages: &Messages) -> anyhow::Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot start")?;
        let address = self.service.address();
        let channel = runtime.block_on(client::connect(&address))?;
        let mut client = client::heatmap(channel);
        let mut view = View { address: address.to_string(), ..View::default() };
        runtime.block_on(self.ask(&mut client, &mut view));
        if self.once {
            print!("{}", as_text(&view, (100, 40)));
            return Ok(Outcome::Done);
        }
        let mut terminal = ratatui::try_init()
            .context("cannot draw on this terminal; --once prints the view and ends")?;
        let result = (|| {
            let interval = Duration::from_nanos(self.interval.ns).max(Duration::from_millis(100));
            let mut asked = Instant::now();
            loop {
                terminal.draw(|frame| draw(&view, frame))?;
                if event::poll(interval.saturating_sub(asked.elapsed()))?
                    && let Event::Key(key) = event::read()?
                    && key.kind == KeyEventKind::Press
                {
                    let control = key.modifiers.contains(KeyModifiers::CONTROL);
                    match key.code {
                        KeyCode::Char('q') | KeyCode::Esc => break,
                        KeyCode::Char('c') if control => break,
                        _ => {}
                    }
                }
                if asked.elapsed() >= interval {
                    let (before, since) = (records(&view), asked.elapsed());
                    asked = Instant::now();
                    runtime.block_on(self.ask(&mut client, &mut view));
                    #[expect(clippy::cast_precision_loss, reason = "it is shown to three digits")]
                    let new = records(&view).saturating_sub(before) as f64;
                    view.rate = Some(new / since.as_secs_f64());
                }
            }
            anyhow::Ok(())
        })();
        ratatui::restore();
        result.map(|()| Outcome::Done)
    }

    async fn ask(
        &self,
        client: &mut v1::heatmap_service_client::HeatmapServiceClient<tonic::transport::Channel>,
        view: &mut View,
    ) {
        let order = Some(u32::from(self.order.get()));
        let result = async {
            view.status = client.get_status(v1::GetStatusRequest {}).await?.into_inner();
            let question = v1::GetDistributionRequest { order, hot_threshold: None };
            view.distribution = client.get_distribution(question).await?.into_inner();
            let question = v1::ListFoliosRequest {
                order,
                page_size: ASKED,
                ..v1::ListFoliosRequest::default()
            };
            view.folios = client.list_folios(question).await?.into_inner().folios;
            Ok::<_, tonic::Status>(())
        };
        view.trouble = result.await.err().map(|status| status.message().to_owned());
    }
}

fn records(view: &View) -> u64 {
    view.status.ledger.as_ref().map_or(0, |ledger| ledger.records)
}

/// What was lost, if anything was.
fn losses(ledger: &v1::Ledger) -> Option<String> {
    let all = [
        ("lost", ledger.lost),
        ("skipped bytes", ledger.skipped_bytes),
        ("cut off bytes", ledger.cut_off_bytes),
        ("missing bytes", ledger.aux_missing_bytes),
        ("truncated", ledger.aux_truncated),
        ("collisions", ledger.aux_collision),
        ("partial", ledger.aux_partial),
        ("over budget", ledger.over_budget),
        ("late", ledger.late),
    ];
    let some: Vec<_> = all
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {}", thousands(*count)))
        .collect();
    (!some.is_empty()).then(|| some.join(", "))
}

fn state_of(view: &View) -> (&'static str, Color) {
    use v1::input_status::State;
    match view.status.inputs.first().map(v1::InputStatus::state) {
        Some(State::Running) => ("running", Color::Green),
        Some(State::Stalled) => ("STALLED: nothing comes", Color::Yellow),
        Some(State::Ended) => ("ended", Color::Yellow),
        Some(State::Failed) => ("FAILED", Color::Red),
        _ => ("waiting for the first data", Color::Yellow),
    }
}

fn head(view: &View, columns: usize) -> Vec<Line<'_>> {
    let status = &view.status;
    let (state, color) = state_of(view);
    let path = status.inputs.first().map_or("", |input| input.path.as_str());
    let memory = status.memory.unwrap_or_default();
    let epoch = status.clock.as_ref().and_then(|clock| clock.epoch);
    let ledger = status.ledger.clone().unwrap_or_default();
    let rate = view.rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"));
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let (red, yellow) = (bold.fg(Color::Red), Style::new().fg(Color::Yellow));
    let names = [
        Span::styled("folioscope", bold),
        Span::raw(view.address.as_str()),
        Span::raw(format!("input {path}")),
        Span::styled(state, bold.fg(color)),
    ];
    let mut lines = flow(names, "  ", columns);
    let numbers = [
        format!("epoch {}", epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string())),
        format!("records {} ({rate}/s)", thousands(ledger.records)),
        format!("counted {}", thousands(ledger.counted)),
        format!("blocks {}", thousands(view.distribution.folios)),
        format!("memory {} of {} MiB", memory.used_bytes >> 20, memory.limit_bytes >> 20),
    ];
    lines.extend(flow(numbers.map(Span::raw), "  ", columns));
    let sentence = |text: &str, style: Style| {
        let words: Vec<_> =
            text.split(' ').map(|word| Span::styled(word.to_owned(), style)).collect();
        flow(words, " ", columns)
    };
    if let Some(losses) = losses(&ledger) {
        lines.extend(sentence(&format!("LOST {losses}"), red));
    }
    for reason in &ledger.recording_incomplete {
        lines.extend(sentence(&format!("NOT COMPLETE: {reason}"), red));
    }
    if !status.reason.is_empty() {
        lines.extend(sentence(&status.reason, yellow));
    }
    if let Some(trouble) = &view.trouble {
        lines.extend(sentence(&format!("no news: {trouble}"), yellow));
    }
    lines
}

/// Items one after another, in as many lines as they take. Of an item that is wider than a line,
/// such as a path, the end is kept.
fn flow<'a>(
    items: impl IntoIterator<Item = Span<'a>>,
    gap: &'static str,
    columns: usize,
) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    for mut item in items {
        let excess = item.width().saturating_sub(columns);
        if excess > 0 {
            let end: String = item.content.chars().skip(excess + 1).collect();
            item.content = format!("\u{2026}{end}").into();
        }
        match lines.last_mut() {
            Some(line) if line.width() + gap.len() + item.width() <= columns => {
                line.push_span(gap);
                line.push_span(item);
            }
            _ => lines.push(item.into()),
        }
    }
    lines
}

fn draw(view: &View, frame: &mut Frame<'_>) {
    let head = head(view, frame.area().width.into());
    let height = u16::try_from(head.len()).unwrap_or(u16::MAX);
    let areas = Layout::vertical([
        Constraint::Length(height),
        Constraint::Length(9),
        Constraint::Min(3),
        Constraint::Length(1),
    ]);
    let [top, middle, list, keys] = areas.areas(frame.area());
    frame.render_widget(Paragraph::new(head), top);

    let [left, right] =
        Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(middle);
    let shown = &view.distribution;
    let right = if bar_width(right) < LEAST_BAR {
        middle
    } else {
        let touched = chart("blocks by touched pages, %", &shown.touched_distribution, left);
        frame.render_widget(touched, left);
        right
    };
    let hot = chart("blocks by hot chunks, %", &shown.hot_distribution, right);
    frame.render_widget(hot, right);

    let block = Block::bordered().title("hottest blocks of 2 MiB");
    let room = block.inner(list).width.into();
    frame.render_widget(table(&view.folios, room).block(block), list);
    frame.render_widget(Paragraph::new("q: quit"), keys);
}

/// Columns of a bar that has room for its label.
const LEAST_BAR: u16 = 3;

/// Columns of each of ten bars within a frame.
fn bar_width(area: Rect) -> u16 {
    area.width.saturating_sub(2) / 10
}

/// A distribution, all ten bars of it.
fn chart(title: &'static str, rows: &[v1::DistributionRow], area: Rect) -> BarChart<'static> {
    let width = bar_width(area);
    let bars: Vec<_> = rows
        .iter()
        .map(|row| {
            let label = Line::from(row.from.to_string());
            Bar::default().value(row.folios).text_value(short(row.folios, width)).label(label)
        })
        .collect();
    BarChart::default()
        .block(Block::bordered().title(title))
        .bar_width(width)
        .bar_gap(0)
        .data(BarGroup::default().bars(&bars))
}

/// A number in so many columns; nothing where it does not fit.
fn short(value: u64, columns: u16) -> String {
    let forms = [(1, ""), (1_000, "k"), (1_000_000, "M")];
    let forms = forms.iter().filter(|(unit, _)| value >= *unit);
    forms
        .map(|(unit, name)| format!("{}{name}", value / unit))
        .find(|form| form.len() <= columns.into())
        .unwrap_or_default()
}

/// The columns of the list: name, least width, whether numbers are aligned at their ends, and, of
/// those that a narrow terminal does without, which goes first.
const COLUMNS: [(&str, usize, bool, Option<u8>); 10] = [
    ("PFN", 11, false, None),
    ("accesses", 10, true, None),
    ("visits", 8, true, Some(1)),
    ("pages", 7, true, Some(6)),
    ("hot", 13, true, None),
    ("cold", 5, true, Some(3)),
    ("verdict", 12, false, None),
    ("steady", 6, false, Some(4)),
    ("backing", 7, false, Some(5)),
    ("age", 7, true, Some(2)),
];

/// The list, in `room` columns.
fn table(folios: &[v1::Folio], room: usize) -> Table<'static> {
    let rows: Vec<_> = folios.iter().map(cells).collect();
    let widths: [usize; COLUMNS.len()] = core::array::from_fn(|column| {
        let most = rows.iter().map(|cells| cells[column].len()).max().unwrap_or(0);
        most.max(COLUMNS[column].1)
    });
    let mut shown: Vec<usize> = (0..COLUMNS.len()).collect();
    // A space between two columns.
    let taken = |shown: &[usize]| shown.iter().map(|column| widths[*column] + 1).sum::<usize>();
    while taken(&shown) > room + 1 {
        let gone = shown.iter().filter_map(|column| COLUMNS[*column].3.map(|turn| (turn, *column)));
        let Some((_, gone)) = gone.min() else { break };
        shown.retain(|column| *column != gone);
    }
    let row = |cells: &[String; COLUMNS.len()]| {
        Row::new(shown.iter().map(|column| {
            let cell = Text::from(cells[*column].clone());
            if COLUMNS[*column].2 { cell.right_aligned() } else { cell }
        }))
    };
    let names = row(&COLUMNS.map(|(name, ..)| name.to_owned()));
    let widths = shown.iter().map(|column| u16::try_from(widths[*column]).unwrap_or(u16::MAX));
    Table::new(rows.iter().map(row), widths.map(Constraint::Length))
        .header(names.style(Style::new().add_modifier(Modifier::BOLD)))
}

fn cells(folio: &v1::Folio) -> [String; COLUMNS.len()] {
    let fraction = folio.fraction.unwrap_or_default();
    let verdict = (fraction.verdict().word())
        .and_then(Verdict::from_name)
        .map_or(NOT_JUDGED, Verdict::words)
        .to_owned();
    let backing = folio.backing().word().unwrap_or(Backing::Unknown.name()).to_owned();
    let age = fraction.age.map_or_else(
        || "-".to_owned(),
        |age| format!("{}.{} s", age.seconds, age.nanos / 100_000_000),
    );
    [
        format!("{:#x}", fraction.folio_pfn),
        thousands(fraction.accesses),
        thousands(fraction.visits),
        format!("{}/512", folio.touched_pages),
        format!("{}/{} {:>3} %", fraction.hot_chunks, fraction.chunks, fraction.hot_percent),
        fraction.cold_share.map_or_else(|| "-".to_owned(), |share| format!("{share} %")),
        verdict,
        if fraction.steady() { "yes" } else { "no" }.to_owned(),
        backing,
        age,
    ]
}

/// One view, as a terminal of this size would show it.
fn as_text(view: &View, (columns, rows): (u16, u16)) -> String {
    let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(columns, rows))
        .expect("a terminal in memory has no errors");
    terminal.draw(|frame| draw(view, frame)).expect("a terminal in memory has no errors");
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in buffer.content.chunks(usize::from(buffer.area.width)) {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a daemon that lost something shows of these folios.
    fn view(folios: Vec<v1::Folio>) -> View {
        let input = v1::InputStatus {
            path: "/var/lib/recordings/perf.data".to_owned(),
            state: v1::input_status::State::Running.into(),
            ..v1::InputStatus::default()
        };
        let ledger = v1::Ledger { records: 20_000, lost: 7, ..v1::Ledger::default() };
        let rows = (0..10).map(|row| v1::DistributionRow {
            from: 10 * row,
            to: 10 * row + 10,
            folios: 1200 - 100 * u64::from(row),
        });
        let rows: Vec<_> = rows.collect();
        View {
            address: "unix:/run/folioscope/folioscope.sock".to_owned(),
            status: v1::GetStatusResponse {
                ledger: Some(ledger),
                inputs: vec![input],
                memory: Some(v1::MemoryStatus {
                    limit_bytes: 12_052 << 20,
                    ..v1::MemoryStatus::default()
                }),
                ..v1::GetStatusResponse::default()
            },
            distribution: v1::GetDistributionResponse {
                touched_distribution: rows.clone(),
                hot_distribution: rows,
                ..v1::GetDistributionResponse::default()
            },
            folios,
            ..View::default()
        }
    }

    fn folio(folio_pfn: u64, hot_chunks: u32, verdict: v1::Verdict) -> v1::Folio {
        let fraction = v1::HotFraction {
            folio_pfn,
            hot_percent: hot_chunks * 100 / 512,
            hot_chunks,
            chunks: 512,
            accesses: 12_345,
            verdict: verdict.into(),
            ..v1::HotFraction::default()
        };
        let backing = v1::Backing::Hugetlb.into();
        v1::Folio { fraction: Some(fraction), touched_pages: 70, backing, ..v1::Folio::default() }
    }

    fn folios() -> Vec<v1::Folio> {
        vec![
            folio(0x8_20db_8000, 512, v1::Verdict::Hot),
            folio(0x1200, 62, v1::Verdict::Unsplittable),
            folio(0x200, 1, v1::Verdict::Sparse),
        ]
    }

    #[test]
    fn a_view_shows_losses_folios_and_state() {
        for columns in [60, 80, 100, 200] {
            let text = as_text(&view(folios()), (columns, 24));
            for wanted in [
                "/folioscope.sock",
                "/perf.data",
                "running",
                "records 20,000",
                "memory 0 of 12052 MiB",
                "LOST lost 7",
                "0x820db8000",
                "12,345",
                "70/512",
                " 512/512 100 % ",
                "  62/512  12 % ",
                "   1/512   0 % ",
                "unsplittable",
                "sparse",
            ] {
                assert!(text.contains(wanted), "{columns}: {wanted} is missing:\n{text}");
            }
            assert!(text.lines().all(|line| line.chars().count() <= columns.into()));
            let ends = text.lines().filter_map(|line| line.find(" % "));
            let ends: Vec<_> = ends.collect();
            assert!(ends.len() == 3 && ends.iter().all(|end| *end == ends[0]), "{text}");
            assert_eq!(text.contains("hugetlb"), columns >= 80, "{columns}:\n{text}");
        }
    }

    #[test]
    fn all_ten_bars_are_shown_with_their_numbers() {
        let labels = "0 10 20 30 40 50 60 70 80 90";
        for (columns, charts) in [(60, 1), (63, 1), (64, 2), (80, 2), (100, 2), (200, 2)] {
            let text = as_text(&view(Vec::new()), (columns, 24));
            let words: Vec<_> =
                text.split([' ', '\n', '\u{2502}']).filter(|word| !word.is_empty()).collect();
            let found = words.join(" ").matches(labels).count();
            assert_eq!(found, charts, "{columns}:\n{text}");
            assert!(text.contains("blocks by hot chunks, %"), "{text}");
            for wanted in ["300", "900"] {
                assert_eq!(text.matches(wanted).count(), charts, "{columns}: {wanted}\n{text}");
            }
        }
    }

    #[test]
    fn numbers_in_few_columns() {
        let rows = [
            (999, 3, "999"),
            (1000, 4, "1000"),
            (1000, 3, "1k"),
            (123_456, 4, "123k"),
            (123_456, 3, ""),
            (2_345_678, 3, "2M"),
            (0, 3, ""),
        ];
        for (value, columns, wanted) in rows {
            assert_eq!(short(value, columns), wanted, "{value} in {columns}");
        }
    }

    #[test]
    fn what_is_wider_than_a_line_keeps_its_end() {
        let flowed = |columns| -> Vec<_> {
            let items = ["one", "two", "/a/long/path"].map(Span::raw);
            flow(items, " ", columns).iter().map(ToString::to_string).collect()
        };
        assert_eq!(flowed(20), ["one two /a/long/path"]);
        assert_eq!(flowed(19), ["one two", "/a/long/path"]);
        assert_eq!(flowed(7), ["one two", "\u{2026}g/path"]);
    }
}
