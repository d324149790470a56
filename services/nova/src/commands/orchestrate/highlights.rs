//! What a report says matters most, for the end of a run: who looks at the terminal need not open the file for it.

/// The heading of the section, at whatever depth.
const HEADING: &str = "What matters most";
/// Lines that are told.
const MOST: usize = 8;

/// The items of the section as plain text, and how many more there are; none of a report without one.
pub(super) fn of(report: &str) -> (Vec<String>, usize) {
    let mut items = report
        .lines()
        .skip_while(|line| !is_heading(line) || line.trim_start_matches('#').trim() != HEADING)
        .skip(1)
        .take_while(|line| !is_heading(line))
        .filter_map(|line| line.strip_prefix("- "))
        .map(plain);
    let told = items.by_ref().take(MOST).collect();
    (told, items.count())
}

fn is_heading(line: &str) -> bool {
    line.starts_with('#')
}

/// Markdown without emphasis, and without the strokes that keep text from being obeyed.
fn plain(markdown: &str) -> String {
    let mut text = String::with_capacity(markdown.len());
    let mut characters = markdown.chars().filter(|character| *character != '*').peekable();
    while let Some(character) = characters.next() {
        let escapes = character == '\\' && characters.peek().is_some_and(char::is_ascii_punctuation);
        text.extend(if escapes { characters.next() } else { Some(character) });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "# r\n\n## Findings: summary\n\n### What matters most\n\n- **secrets** (repo.secrets, lumina): \
        2 in a\\_b\\[1\\]\n- **tests** (repo.tests, echo): tests fail\n\n### foundation\n\n- **cpu** (host.cpu, nova): 2 cores\n";

    #[test]
    fn the_section_is_told_as_plain_text() {
        let told = ["secrets (repo.secrets, lumina): 2 in a_b[1]", "tests (repo.tests, echo): tests fail"];
        assert_eq!(of(REPORT), (told.map(str::to_owned).into(), 0));
    }

    #[test]
    fn a_report_without_the_section_tells_nothing() {
        assert_eq!(of("# r\n\n- an item\n"), (Vec::new(), 0));
    }

    #[test]
    fn what_is_too_long_is_counted() {
        let many = format!("## {HEADING}\n{}", "- one\n".repeat(MOST + 3));
        assert_eq!((of(&many).0.len(), of(&many).1), (MOST, 3));
    }
}
