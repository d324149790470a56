//! How findings speak: sizes, counts and lists in words.

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
    let shown = items.iter().take(most).cloned().collect::<Vec<_>>().join(", ");
    match items.len() {
        0 => "none".to_owned(),
        all if all > most => format!("{shown} and {} more", all - most),
        _ => shown,
    }
}

/// The beginning of a text, on one line.
pub(crate) fn short(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((end, _)) = line.char_indices().nth(most) else { return line };
    format!("{}…", &line[..end])
}

/// A share in percent with one decimal.
pub(crate) fn percent(part: f64, whole: f64) -> f64 {
    if whole <= 0.0 { 0.0 } else { (part / whole * 1_000.0).round() / 10.0 }
}

/// The end of what a command wrote: whole lines where possible, at most `most` bytes.
pub(crate) fn tail(output: &[u8], most: usize) -> String {
    let cut = &output[output.len().saturating_sub(most)..];
    let text = String::from_utf8_lossy(cut);
    let text = text.trim();
    match (cut.len() < output.len(), text.split_once('\n')) {
        (true, Some((_, whole_lines))) => whole_lines.to_owned(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(tail(b"first line\nsecond\nthird\n", 14), "third");
        assert_eq!(tail(b"short\n", 14), "short");
    }
}
