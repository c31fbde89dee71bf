//! The picture of a summary, on a terminal and as plain text.

use std::fmt::Write;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Cell, Row, Sparkline, Table};

use super::summary::{COLUMNS, DROP_COLUMNS, Summary, TIME_COLUMNS};

/// What the terminal shows.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    pub(super) summary: Summary,
    /// Packets per second, oldest first.
    pub(super) history: Vec<u64>,
    /// Why there is nothing newer, if there is not.
    pub(super) trouble: Option<String>,
}

const HEAD: Style = Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD);

/// Draws the screen, as much of it as there is room for.
pub(super) fn draw(screen: &Screen, frame: &mut Frame<'_>) {
    let Screen { summary, history, trouble } = screen;
    let shards = summary.shards.len() as u16 + 3;
    let heights = [
        Constraint::Length(1),
        Constraint::Length(shards),
        Constraint::Length(6),
        Constraint::Min(5),
        Constraint::Length(1),
    ];
    let [title, table, rate, rest, foot] = Layout::vertical(heights).areas(frame.area());
    let halves = [Constraint::Percentage(55), Constraint::Percentage(45)];
    let [times, drops] = Layout::horizontal(halves).areas(rest);
    frame.render_widget(Line::styled(summary.title.as_str(), Modifier::BOLD), title);
    grid(frame, table, "Shards", COLUMNS, &summary.shards, 5);
    sparkline(frame, rate, summary.rate, history);
    grid(frame, times, "Times", TIME_COLUMNS, &summary.times, 20);
    grid(frame, drops, "Drops", DROP_COLUMNS, &summary.drops, 20);
    let (line, style) = trouble.as_deref().map_or_else(
        || ("q quits", Style::new().fg(Color::DarkGray)),
        |trouble| (trouble, Style::new().fg(Color::Red)),
    );
    frame.render_widget(Line::styled(line, style), foot);
}

/// A table whose first column holds names and is `first` wide.
fn grid<const N: usize>(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &str,
    head: [&'static str; N],
    rows: &[[String; N]],
    first: u16,
) {
    let cell = |(place, text): (usize, &str)| {
        let side = if place == 0 { Alignment::Left } else { Alignment::Right };
        Cell::from(Text::from(text.to_owned()).alignment(side))
    };
    let body =
        rows.iter().map(|row| Row::new(row.iter().map(String::as_str).enumerate().map(cell)));
    let widths = (0..N).map(|place| match place {
        0 => Constraint::Length(first),
        _ => Constraint::Min(6),
    });
    let table = Table::new(body, widths)
        .header(Row::new(head.into_iter().enumerate().map(cell)).style(HEAD))
        .column_spacing(1)
        .block(Block::bordered().title(title));
    frame.render_widget(table, area);
}

fn sparkline(frame: &mut Frame<'_>, area: Rect, rate: u64, history: &[u64]) {
    let room = usize::from(area.width.saturating_sub(2));
    let shown = &history[history.len().saturating_sub(room)..];
    let most = shown.iter().max().copied().unwrap_or_default();
    let title = format!("Packets in: {rate} per second, at most {most} in this picture");
    let line = Sparkline::default().data(shown).style(Style::new().fg(Color::Green));
    frame.render_widget(line.block(Block::bordered().title(title)), area);
}

/// The summary as text.
pub(super) fn plain(summary: &Summary) -> String {
    let mut text = format!("{}\n\n", summary.title);
    columns(&mut text, COLUMNS, &summary.shards);
    text.push('\n');
    columns(&mut text, TIME_COLUMNS, &summary.times);
    if !summary.drops.is_empty() {
        text.push('\n');
        columns(&mut text, DROP_COLUMNS, &summary.drops);
    }
    text.truncate(text.trim_end().len());
    text
}

fn columns<const N: usize>(text: &mut String, head: [&str; N], rows: &[[String; N]]) {
    let width = |place: usize| {
        let cells = rows.iter().map(|row| row[place].len());
        cells.chain([head[place].len()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let rows = rows.iter().map(|row| row.each_ref().map(String::as_str));
    for row in std::iter::once(head).chain(rows) {
        let _ = write!(text, "{:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(widths).skip(1) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::summary::tests::reading;
    use super::*;

    fn screen(trouble: Option<&str>) -> Screen {
        let summary = Summary::of(Some(&reading(1_000, 10.0)), &reading(3_000, 14.0));
        let trouble = trouble.map(ToOwned::to_owned);
        Screen { summary, history: vec![0, 250, 500, 1_000], trouble }
    }

    fn drawn(screen: &Screen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(screen, frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn everything_fits_on_the_smallest_usual_terminal() {
        let picture = drawn(&screen(None), 110, 24);
        let parts = COLUMNS.iter().chain(&DROP_COLUMNS).chain(&TIME_COLUMNS);
        for part in parts.chain(&["all", "1000", "replay", "late by, now", "Packets in", "q quits"])
        {
            assert!(picture.contains(part), "{part:?} is not in\n{picture}");
        }
        assert!(picture.contains("█"), "{picture}");
    }

    #[test]
    fn a_terminal_of_any_size_is_drawn_on() {
        for width in [1, 7, 60, 250] {
            for height in [1, 4, 12] {
                drawn(&screen(None), width, height);
            }
        }
    }

    #[test]
    fn trouble_is_said_below_what_was_seen_last() {
        let picture = drawn(&screen(Some("it does not answer")), 110, 24);
        assert!(picture.contains("it does not answer") && picture.contains("1000"), "{picture}");
        assert!(!picture.contains("q quits"));
    }

    #[test]
    fn plain_tables_line_up() {
        let text = plain(&screen(None).summary);
        let tables: Vec<Vec<&str>> =
            text.split("\n\n").skip(1).map(|table| table.lines().collect()).collect();
        assert_eq!(tables.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2], "{text}");
        for table in tables {
            assert!(table.iter().all(|line| line.len() == table[0].len()), "{text}");
        }
    }
}
