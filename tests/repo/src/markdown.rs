//! Markdown as far as the rules look at it.

/// The lines of its fenced code blocks, with line numbers from 1.
pub fn code_lines(text: &str) -> Vec<(usize, &str)> {
    split(text).filter(|(_, _, code)| *code).map(|(number, line, _)| (number, line)).collect()
}

/// What stands between single backticks on a line, in prose and in the remarks of code blocks, with line numbers from 1.
pub fn code_spans(text: &str) -> Vec<(usize, &str)> {
    let lines = split(text).map(|(number, line, _)| (number, line));
    lines
        .flat_map(|(number, line)| line.split('`').skip(1).step_by(2).map(move |span| (number, span)))
        .collect()
}

/// Its headings, without the hashes and without code marks.
pub fn headings(text: &str) -> Vec<String> {
    let lines = split(text).filter(|(_, line, code)| !code && line.starts_with('#'));
    lines.map(|(_, line, _)| line.trim_start_matches('#').trim().replace('`', "")).collect()
}

/// The targets of its links and images, with line numbers from 1.
pub fn links(text: &str) -> Vec<(usize, &str)> {
    let prose = split(text).filter(|(_, _, code)| !code);
    prose.flat_map(|(number, line, _)| targets(line).map(move |target| (number, target))).collect()
}

/// The anchor that a heading makes, as GitHub does it.
pub fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Lines with their numbers, and whether they are code.
fn split(text: &str) -> impl Iterator<Item = (usize, &str, bool)> {
    let mut fenced = false;
    text.lines().zip(1..).filter_map(move |(line, number)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        Some((number, line, fenced || line.starts_with("    ")))
    })
}

fn targets(line: &str) -> impl Iterator<Item = &str> {
    let after = line.split("](").skip(1);
    after.filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A `page`\n\nSee [b](b.md#c).\n\n```\nnova up # [no](link)\n```\n\n    nova down\n";

    #[test]
    fn code_prose_and_links_are_told_apart() {
        assert_eq!(headings(PAGE), ["A page"]);
        assert_eq!(links(PAGE), [(3, "b.md#c")]);
        assert_eq!(
            code_spans("Use `nova up`,\n```\nnova down # not `nova up`\n```\n"),
            [(1, "nova up"), (3, "nova up")]
        );
        assert_eq!(code_lines(PAGE), [(6, "nova up # [no](link)"), (9, "    nova down")]);
    }

    #[test]
    fn an_anchor_is_lower_case_with_dashes() {
        assert_eq!(anchor("What it's for"), "what-its-for");
    }
}
