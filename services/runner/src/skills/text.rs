//! How findings speak: sizes, counts and lists in words.
//!
//! What cuts a text masks the secrets in it first: half of a token could not be told from other text.

use super::secret::masked;
use crate::commands::Stream;

/// Bytes in the unit that people read.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ if noun.ends_with('y') => format!("{number} {}ies", &noun[..noun.len() - 1]),
        _ => format!("{number} {noun}s"),
    }
}

/// `a, b, c and 4 more`; `none` when there is nothing.
pub(crate) fn list(items: impl IntoIterator<Item = String>, most: usize) -> String {
    let items: Vec<String> = items.into_iter().collect();
    list_of(&items, items.len(), most)
}

/// The same where only some of `all` items are kept.
pub(crate) fn list_of(kept: &[String], all: usize, most: usize) -> String {
    let shown = kept[..kept.len().min(most)].join(", ");
    match all {
        0 => "none".to_owned(),
        all if all > most => format!("{shown} and {} more", all - most),
        _ => shown,
    }
}

/// The beginning of a text, on one line.
pub(crate) fn short(text: &str, most: usize) -> String {
    cut(&masked(text).split_whitespace().collect::<Vec<_>>().join(" "), most)
}

/// The beginning of a text, in characters.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let text = masked(text);
    let Some((end, _)) = text.char_indices().nth(most) else { return text };
    format!("{}…", &text[..end])
}

/// A span of code in Markdown, on one line, that no backtick in it ends.
pub(crate) fn code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let (fence, space) = ("`".repeat(longest + 1), if longest > 0 { " " } else { "" });
    format!("{fence}{space}{text}{space}{fence}")
}

/// A share in percent with one decimal.
pub(crate) fn percent(part: f64, whole: f64) -> f64 {
    if whole <= 0.0 { 0.0 } else { (part / whole * 1_000.0).round() / 10.0 }
}

/// The end of what a command wrote: whole lines where possible, at most `most` bytes.
pub(crate) fn tail(stream: &Stream, most: usize) -> String {
    let text = masked(String::from_utf8_lossy(&stream.bytes).trim());
    let cut = (text.len().saturating_sub(most)..).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
    if cut == 0 && !stream.dropped { text } else { without_a_beginning(&text[cut..]).to_owned() }
}

/// Leaves out what may be the end of a longer line, or at least of a longer word.
fn without_a_beginning(text: &str) -> &str {
    let word = |c: char| !c.is_whitespace();
    text.split_once('\n')
        .map_or_else(|| text.trim_start_matches(word).trim_start(), |(_, whole_lines)| whole_lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(text: &str, dropped: bool) -> Stream {
        Stream { bytes: text.into(), dropped, unfinished: false }
    }

    #[test]
    fn sizes_are_read_in_units() {
        assert_eq!((bytes(12), bytes(1_536)), ("12 B".to_owned(), "1.5 KiB".to_owned()));
    }

    #[test]
    fn lists_name_what_they_leave_out() {
        assert_eq!(list(["a", "b", "c"].map(String::from), 2), "a, b and 1 more");
        assert_eq!(list([], 2), "none");
    }

    #[test]
    fn short_texts_stay_whole() {
        assert_eq!((short("a\n b", 5).as_str(), short("abcdef", 3).as_str()), ("a b", "abc…"));
    }

    #[test]
    fn tail_begins_at_a_line() {
        assert_eq!(tail(&stream("first line\nsecond\nthird\n", false), 12), "third");
        assert_eq!(tail(&stream("short\n", false), 14), "short");
        assert_eq!(tail(&stream("st line\nsecond\n", true), 14), "second");
        assert_eq!(tail(&stream("st line", true), 14), "line");
    }

    #[test]
    fn what_is_cut_is_masked_before() {
        let token = format!("gh{}{}", "p_", "q8Zr2Lw9Xc4Vb7Nm3Ka6Js5Hd1GfTyUiOpEW");
        assert_eq!(short(&format!("curl {token}"), 12), "curl ghp_… (…");
        let told = tail(&stream(&format!("a\n{token} and then the rest"), false), 30);
        assert!(!told.contains("TyUi"), "{told}");
    }

    #[test]
    fn code_ends_where_it_ends() {
        assert_eq!((code("date").as_str(), code("a `b` c").as_str()), ("`date`", "`` a `b` c ``"));
    }
}
