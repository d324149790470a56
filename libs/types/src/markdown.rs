//! Text of others in Markdown: shown, and not obeyed.

/// Characters that begin or end something in the middle of a line.
const MARKS: &[char] = &['\\', '`', '*', '[', ']', '<', '>', '~', '&', '|'];

/// The text on one line, as it is read: no link, tag or emphasis comes of it, but spans of code stay such.
pub fn inline(text: &str) -> String {
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().map(visible).collect();
    let (mut told, mut rest) = (String::with_capacity(text.len()), text.as_str());
    while let Some(start) = rest.find('`') {
        let (before, span) = rest.split_at(start);
        told.push_str(&escaped(before));
        let fence = span.len() - span.trim_start_matches('`').len();
        let end = end_of_code(span, fence);
        told.push_str(&end.map_or_else(|| escaped(&span[..fence]), |end| span[..end].to_owned()));
        rest = &span[end.unwrap_or(fence)..];
    }
    told + &escaped(rest)
}

/// Where the span ends that a text begins: after as many backticks, no more and no fewer.
fn end_of_code(span: &str, fence: usize) -> Option<usize> {
    let mut at = fence;
    while let Some(start) = span[at..].find('`').map(|start| at + start) {
        let run = span[start..].len() - span[start..].trim_start_matches('`').len();
        at = start + run;
        if run == fence {
            return Some(at);
        }
    }
    None
}

fn escaped(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    let mut before = ' ';
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let in_a_word =
            before.is_alphanumeric() && characters.peek().is_some_and(|next| next.is_alphanumeric());
        if MARKS.contains(&character) || (character == '_' && !in_a_word) {
            told.push('\\');
        }
        told.push(character);
        before = character;
    }
    told
}

/// Control characters, and marks that turn the direction of what follows, hide what a text says.
fn visible(character: char) -> char {
    let turns = matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if turns || character.is_control() { '\u{fffd}' } else { character }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_shown_and_not_obeyed() {
        let cases = [
            ("plain my_file-2.rs (3 KiB)", "plain my_file-2.rs (3 KiB)"),
            ("<script>x</script>", "\\<script\\>x\\</script\\>"),
            ("[x](http:evil) ![y](z)", "\\[x\\](http:evil) !\\[y\\](z)"),
            ("_a_ **b** ~c~ \\", "\\_a\\_ \\*\\*b\\*\\* \\~c\\~ \\\\"),
            ("a\n# b\u{202e}c\u{1b}[1m", "a # b\u{fffd}c\u{fffd}\\[1m"),
        ];
        for (text, told) in cases {
            assert_eq!(inline(text), told);
        }
    }

    #[test]
    fn code_stays_code_and_a_lone_backtick_begins_none() {
        let cases = [
            ("`a <b>` and <c>", "`a <b>` and \\<c\\>"),
            ("`` a `b` c `` [d]", "`` a `b` c `` \\[d\\]"),
            ("a`b <i>", "a\\`b \\<i\\>"),
            ("``a` <i>", "\\`\\`a\\` \\<i\\>"),
        ];
        for (text, told) in cases {
            assert_eq!(inline(text), told);
        }
    }
}
