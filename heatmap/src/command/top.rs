//! `folioscope top`: what a daemon sees, as it changes.

use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use proto::v1;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Bar, BarChart, BarGroup, Block, Paragraph, Row, Table};

use super::Outcome;
use super::health::ServiceOptions;
use super::messages::Messages;
use crate::client;
use crate::filter::ChunkOrder;
use crate::report::thousands;

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
    interval: crate::query::Duration,
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
            print!("{}", as_text(&view));
            return Ok(Outcome::Done);
        }
        let mut terminal = ratatui::try_init().context("cannot draw on this terminal")?;
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

fn head(view: &View) -> Vec<Line<'_>> {
    let status = &view.status;
    let (state, color) = state_of(view);
    let path = status.inputs.first().map_or("", |input| input.path.as_str());
    let memory = status.memory.unwrap_or_default();
    let epoch = status.clock.as_ref().and_then(|clock| clock.epoch);
    let ledger = status.ledger.unwrap_or_default();
    let rate = view.rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"));
    let mut lines = vec![
        Line::from(vec![
            Span::styled("folioscope ", Style::new().add_modifier(Modifier::BOLD)),
            Span::raw(format!("{}  input {path} ", view.address)),
            Span::styled(state, Style::new().fg(color).add_modifier(Modifier::BOLD)),
        ]),
        Line::from(format!(
            "epoch {}  records {} ({rate}/s)  counted {}  blocks {}  memory {} of {} MiB",
            epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string()),
            thousands(ledger.records),
            thousands(ledger.counted),
            thousands(view.distribution.folios),
            memory.used_bytes >> 20,
            memory.limit_bytes >> 20,
        )),
    ];
    if let Some(losses) = losses(&ledger) {
        let style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
        lines.push(Line::styled(format!("LOST  {losses}"), style));
    }
    if !status.reason.is_empty() {
        lines.push(Line::styled(status.reason.as_str(), Style::new().fg(Color::Yellow)));
    }
    if let Some(trouble) = &view.trouble {
        lines.push(Line::styled(format!("no news: {trouble}"), Style::new().fg(Color::Yellow)));
    }
    lines
}

fn draw(view: &View, frame: &mut Frame<'_>) {
    let head = head(view);
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
    let chart = |title: &'static str, rows: &[v1::DistributionRow]| {
        let bars: Vec<_> = rows
            .iter()
            .map(|row| Bar::default().value(row.folios).label(Line::from(row.from.to_string())))
            .collect();
        BarChart::default()
            .block(Block::bordered().title(title))
            .bar_width(4)
            .bar_gap(0)
            .data(BarGroup::default().bars(&bars))
    };
    let touched = chart("blocks by touched pages, %", &view.distribution.touched_distribution);
    frame.render_widget(touched, left);
    let hot = chart("blocks by hot chunks, %", &view.distribution.hot_distribution);
    frame.render_widget(hot, right);

    let rows = view.folios.iter().map(|folio| Row::new(cells(folio)));
    let widths = [14, 12, 8, 12, 13, 8, 8].map(Constraint::Length);
    let names = Row::new(["PFN", "accesses", "pages", "hot", "verdict", "backing", "age"]);
    let table = Table::new(rows, widths)
        .header(names.style(Style::new().add_modifier(Modifier::BOLD)))
        .block(Block::bordered().title("hottest blocks of 2 MiB"));
    frame.render_widget(table, list);
    frame.render_widget(Paragraph::new("q: quit"), keys);
}

fn cells(folio: &v1::Folio) -> [String; 7] {
    let fraction = folio.fraction.unwrap_or_default();
    let verdict = fraction.verdict().as_str_name().trim_start_matches("VERDICT_").to_lowercase();
    let backing = folio.backing().as_str_name().trim_start_matches("BACKING_").to_lowercase();
    let age = fraction.age.map_or_else(
        || "-".to_owned(),
        |age| format!("{}.{} s", age.seconds, age.nanos / 100_000_000),
    );
    [
        format!("{:#x}", fraction.folio_pfn),
        thousands(fraction.accesses),
        format!("{}/512", folio.touched_pages),
        format!("{}/{} {:>3} %", fraction.hot_chunks, fraction.chunks, fraction.hot_percent),
        verdict,
        backing,
        age,
    ]
}

/// One view, as a terminal of 100 columns would show it.
fn as_text(view: &View) -> String {
    let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(100, 40))
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

    #[test]
    fn a_view_shows_losses_folios_and_state() {
        let fraction = v1::HotFraction {
            folio_pfn: 0x1200,
            hot_percent: 12,
            hot_chunks: 62,
            chunks: 512,
            accesses: 12_345,
            verdict: v1::Verdict::Sparse.into(),
            ..v1::HotFraction::default()
        };
        let input = v1::InputStatus {
            path: "-".to_owned(),
            state: v1::input_status::State::Running.into(),
            ..v1::InputStatus::default()
        };
        let ledger = v1::Ledger { records: 20_000, lost: 7, ..v1::Ledger::default() };
        let view = View {
            address: "unix:/x".to_owned(),
            status: v1::GetStatusResponse {
                ledger: Some(ledger),
                inputs: vec![input],
                ..v1::GetStatusResponse::default()
            },
            folios: vec![v1::Folio {
                fraction: Some(fraction),
                touched_pages: 70,
                ..v1::Folio::default()
            }],
            ..View::default()
        };
        let text = as_text(&view);
        for wanted in [
            "running",
            "records 20,000",
            "LOST  lost 7",
            "0x1200",
            "12,345",
            "70/512",
            "62/512",
            "sparse",
        ] {
            assert!(text.contains(wanted), "{wanted} is missing:\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100));
    }
}
