//! Errors travel in headers, of which a peer takes 16 KiB and often no more than 8: what is said is bounded.

use nova_types::{Violation, Violations};

/// Bytes of a message. Percent encoding can make three of each.
const MESSAGE: usize = 1_024;
/// Bytes of all violations together.
const VIOLATIONS: usize = 3_072;
/// Bytes of one field's path, and of one rule.
const TEXT: usize = 512;

/// The message, cut when it is long.
pub(crate) fn message(message: &str) -> String {
    cut(message, MESSAGE)
}

/// The first violations, each cut when it is long, and how many are left out.
pub(crate) fn violations(violations: Violations) -> (Vec<Violation>, usize) {
    let mut room = VIOLATIONS;
    let mut kept = Vec::new();
    let mut left_out = 0;
    for violation in violations {
        let violation = Violation::new(cut(&violation.field, TEXT), cut(&violation.rule, TEXT));
        match room.checked_sub(violation.field.len() + violation.rule.len()) {
            Some(left) if left_out == 0 => {
                room = left;
                kept.push(violation);
            }
            _ => left_out += 1,
        }
    }
    (kept, left_out)
}

fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most - '…'.len_utf8()).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_violations_fit_into_a_header() {
        let mut many = Violations::new();
        for index in 0..10_000 {
            many.push(Violation::new(format!("tasks[{index}].queue"), "ä".repeat(1_000)));
        }
        let (kept, left_out) = violations(many);
        assert_eq!(kept.len() + left_out, 10_000);
        assert!(!kept.is_empty());
        let bytes: usize = kept.iter().map(|violation| violation.field.len() + violation.rule.len()).sum();
        assert!(bytes <= VIOLATIONS);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let cut = message(&"ä".repeat(2_000));
        assert!(cut.len() <= MESSAGE && cut.ends_with("ä…"));
        assert_eq!(message("short"), "short");
    }
}
