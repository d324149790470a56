//! How commands print: tables for people, JSON for programs, both on standard output.
//!
//! What a mesh holds was written by others, so that control characters in it are shown and
//! not obeyed. A reader that goes away (`nova queue tasks | head`) is an error of its own
//! kind, which ends the command without a word.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde::Serialize;

use crate::cli::Context;
use crate::failure;

/// Prints a table, or with `--json` its records.
pub(crate) fn rows<const N: usize>(
    context: &Context,
    headers: [&str; N],
    rows: Vec<[String; N]>,
    records: &impl Serialize,
) -> anyhow::Result<()> {
    if context.json { json(records) } else { table(&headers, rows.into_iter().map(Vec::from)) }
}

/// Prints one thing, a line for each field that is not empty, or with `--json` its record.
pub(crate) fn fields(
    context: &Context,
    fields: &[(&str, String)],
    record: &impl Serialize,
) -> anyhow::Result<()> {
    if context.json {
        return json(record);
    }
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        let below = format!("\n{:width$}  ", "");
        line(&format!("{name:width$}  {}", printable(value).trim_end().replace('\n', &below)))?;
    }
    Ok(())
}

/// Columns of space between those of a table.
const GAP: u16 = 2;

/// Prints a table without borders; a line for each row when nobody looks at it on a terminal. On one, prose is wrapped
/// between words; ids and URLs stay whole, to be copied, and the terminal wraps where that is wider than it is.
pub(crate) fn table(headers: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> anyhow::Result<()> {
    line(&arranged(headers, rows).trim_fmt())
}

fn arranged(headers: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    let coloured = colours_are_wanted();
    table.set_header(headers.iter().map(|name| heading(name, coloured)));
    let mut narrowest: Vec<u16> = headers.iter().map(|name| longest_word(name)).collect();
    for row in rows {
        let row: Vec<String> = row.iter().map(|text| printable(text)).collect();
        for (narrowest, text) in narrowest.iter_mut().zip(&row) {
            *narrowest = unbroken(text).max(*narrowest);
        }
        table.add_row(row.iter().map(|text| cell(text, coloured)));
    }
    for (column, narrowest) in table.column_iter_mut().zip(narrowest) {
        let whole_words = Width::Fixed(narrowest.saturating_add(GAP));
        column.set_padding((0, GAP)).set_constraint(ColumnConstraint::LowerBoundary(whole_words));
    }
    table
}

/// A text as short as this stays on its line: an age, a size, a state.
const SHORT: usize = 16;

/// Characters that stay together.
fn unbroken(text: &str) -> u16 {
    let whole = text.chars().count();
    if whole <= SHORT { whole as u16 } else { longest_word(text) }
}

/// Its length, characters.
fn longest_word(text: &str) -> u16 {
    let longest = text.split_whitespace().map(|word| word.chars().count()).max();
    longest.unwrap_or_default().try_into().unwrap_or(u16::MAX)
}

/// Whether a person looks on, at a terminal that can move its cursor.
pub(crate) fn is_animated() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    !dumb && io::stdout().is_terminal() && io::stderr().is_terminal()
}

/// Whether the user has not refused colours (<https://no-color.org>).
pub(crate) fn colours_are_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn heading(name: &str, dim: bool) -> Cell {
    if dim { Cell::new(name).add_attribute(Attribute::Dim) } else { Cell::new(name) }
}

/// A cell, coloured if that is wanted, and standard output is a terminal.
fn cell(text: &str, coloured: bool) -> Cell {
    match colour(text).filter(|_| coloured) {
        Some(colour) => Cell::new(text).fg(colour),
        None => Cell::new(text),
    }
}

/// Colours for the words that states and verdicts are made of.
fn colour(word: &str) -> Option<Color> {
    match word {
        "succeeded" | "completed" | "allow" | "idle" => Some(Color::Green),
        "failed" | "dead" | "deny" | "denied" | "error" | "unreachable" => Some(Color::Red),
        "running" | "leased" | "active" | "queued" | "starting" => Some(Color::Cyan),
        "fell_back" | "backing_off" | "stopping" | "draining" | "waiting" => Some(Color::Yellow),
        _ => None,
    }
}

/// Prints a record, indented.
pub(crate) fn json(record: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(record)?)
}

/// Prints a record on one line.
pub(crate) fn json_line(record: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string(record)?)
}

/// Prints a line, and sends it off.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// For a command that has more to do than to print: that nobody reads any more is no error.
pub(crate) fn regardless_of_readers(printed: anyhow::Result<()>) -> anyhow::Result<()> {
    match printed {
        Err(error) if failure::reader_is_gone(&error) => Ok(()),
        printed => printed,
    }
}

/// Prints text that somebody else wrote: as it is into a file or pipe, printable on a terminal.
pub(crate) fn foreign(text: &str) -> anyhow::Result<()> {
    let text = text.trim_end_matches('\n');
    if io::stdout().is_terminal() { line(&printable(text)) } else { line(text) }
}

/// Text in which control characters but the line's end, and marks that turn its direction, are shown, as `\u{1b}`.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => shown.push('\n'),
            '\t' => shown.push(' '),
            hidden if hidden.is_control() || turns(hidden) => shown.extend(hidden.escape_default()),
            visible => shown.push(visible),
        }
    }
    shown
}

/// Whether a character changes the direction of those that follow, so that a name reads as another.
fn turns(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal of this width is shown of two runs.
    fn on_a_terminal(width: u16) -> String {
        let note = "expected: fell_back: the skill is not there, and nobody else has it";
        let row = |id: &str| vec![id.to_owned(), note.to_owned(), "00f067aa0ba902b7".repeat(2)];
        let rows = ["01999999-9999-7999-8999-999999999999", "01a223ea-0000-7000-8000-000000000000"].map(row);
        arranged(&["RUN", "NOTE", "TRACE"], rows).set_width(width).trim_fmt()
    }

    #[test]
    fn a_narrow_terminal_breaks_no_word() {
        for width in [20, 80, 100] {
            let shown = on_a_terminal(width);
            for whole in
                ["01a223ea-0000-7000-8000-000000000000", "00f067aa0ba902b700f067aa0ba902b7", "expected:"]
            {
                assert!(shown.contains(whole), "{width}:\n{shown}");
            }
        }
    }

    #[test]
    fn prose_is_wrapped_to_fit_a_terminal() {
        let shown = on_a_terminal(100);
        assert!(
            shown.lines().count() > 3 && shown.lines().all(|line| line.chars().count() <= 100),
            "{shown}"
        );
        assert_eq!(on_a_terminal(200).lines().count(), 3);
    }

    #[test]
    fn an_escape_sequence_is_shown_and_not_obeyed() {
        assert_eq!(printable("red \u{1b}[31m\rline\nnext"), "red \\u{1b}[31m\\rline\nnext");
    }

    #[test]
    fn a_mark_that_turns_the_text_is_shown_and_not_obeyed() {
        assert_eq!(printable("exe.\u{202e}gpj\u{2066}\u{200f}"), "exe.\\u{202e}gpj\\u{2066}\\u{200f}");
    }
}
