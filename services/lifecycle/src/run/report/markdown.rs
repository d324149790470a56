//! Just enough Markdown: headings, paragraphs, tables, lists and blocks of text.

use std::fmt::Write as _;

use nova_types::markdown::inline;

/// A text under construction.
#[derive(Debug, Default)]
pub(super) struct Document(String);

impl Document {
    pub(super) fn title(&mut self, text: &str) {
        self.line(format_args!("# {}\n", inline(text)));
    }

    pub(super) fn heading(&mut self, text: &str) {
        self.gap();
        self.line(format_args!("## {}\n", inline(text)));
    }

    pub(super) fn paragraph(&mut self, text: &str) {
        self.gap();
        self.line(format_args!("{text}\n"));
    }

    pub(super) fn item(&mut self, text: &str) {
        self.line(format_args!("- {text}"));
    }

    pub(super) fn sub_item(&mut self, text: &str) {
        self.line(format_args!("  - {text}"));
    }

    /// A table; nothing when it has no rows.
    pub(super) fn table<const N: usize>(
        &mut self,
        head: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return;
        }
        self.line(format_args!("| {} |", head.join(" | ")));
        self.line(format_args!("|{}", " --- |".repeat(N)));
        for row in rows {
            let cells: Vec<String> = row.iter().map(|cell| in_a_cell(cell)).collect();
            self.line(format_args!("| {} |", cells.join(" | ")));
        }
    }

    /// Text as it is, between fences that it cannot end.
    pub(super) fn block(&mut self, language: &str, text: &str) {
        let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        self.line(format_args!("{fence}{language}\n{text}\n{fence}"));
    }

    /// Markdown of somebody else, its headings below ours.
    pub(super) fn embed(&mut self, markdown: &str) {
        for line in markdown.lines() {
            let deeper = if line.starts_with('#') { "##" } else { "" };
            self.line(format_args!("{deeper}{line}"));
        }
    }

    /// The whole text, cut when it is longer than `max` bytes. What a file or a command said may not command the
    /// reader's terminal.
    pub(super) fn finish(self, max: usize) -> String {
        let tame = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
        let mut text: String = self.0.chars().map(tame).collect();
        if text.len() > max {
            let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
            text.push_str("\n\n*The report was cut here.*\n");
        }
        text
    }

    /// One empty line between what there is and what comes.
    fn gap(&mut self) {
        let end = self.0.trim_end_matches('\n').len();
        self.0.truncate(end);
        self.0.push_str("\n\n");
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("writing to a String cannot fail");
    }
}

/// Text that stays in its cell: there, a bar separates even within code.
fn in_a_cell(text: &str) -> String {
    inline(text).replace("\\|", "|").replace('|', "\\|")
}

/// Text as a span of code on one line.
pub(super) fn code(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("`{}`", line.replace('`', "'"))
}
