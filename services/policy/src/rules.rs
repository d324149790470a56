//! The rules of a module's text, as far as coverage needs them: where each begins, what its
//! body is, and which conditions stand on lines of their own.
//!
//! regorus tells which lines an evaluation reached. A condition held when what comes after it
//! in the same body was reached; the value of a rule is reached last. So that this can be told
//! of `value if condition` too, such a line is split before it is evaluated.

use std::collections::BTreeSet;

/// A text with every condition on a line of its own.
#[derive(Debug)]
pub(crate) struct Split {
    pub(crate) rego: String,
    /// For each line of `rego` its line in the original, from 1.
    original: Vec<u32>,
}

/// Splits `head := value if condition` after `if`.
pub(crate) fn split(rego: &str) -> Split {
    let mut lines: Vec<(u32, &str)> = Vec::new();
    for (line, number) in rego.lines().zip(1..) {
        match condition_of(line) {
            Some(at) => lines.extend([(number, &line[..at]), (number, &line[at..])]),
            None => lines.push((number, line)),
        }
    }
    let rego = lines.iter().map(|(_, text)| *text).collect::<Vec<_>>().join("\n");
    Split { rego, original: lines.iter().map(|(number, _)| *number).collect() }
}

/// Where the condition of a rule on one line begins.
fn condition_of(line: &str) -> Option<usize> {
    let starts_rule = line.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let at = line.rfind(" if ")? + " if ".len();
    let quotes = line[..at].matches('"').count() + line[..at].matches('`').count();
    (starts_rule && quotes.is_multiple_of(2) && !line[at..].trim_start().starts_with('{')).then_some(at)
}

/// A rule of a split text: lines from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) head: u32,
    pub(crate) body: Vec<u32>,
    /// Whether it has conditions; a fact has none.
    pub(crate) conditional: bool,
    /// Whether it gives a value when no other rule does.
    pub(crate) default: bool,
    pub(crate) name: String,
}

impl Split {
    /// The line in the original.
    pub(crate) fn original(&self, line: u32) -> u32 {
        let index = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
        self.original.get(index).copied().unwrap_or(line)
    }

    /// Every rule, from the top.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = Vec::new();
        for (line, number) in self.rego.lines().zip(1..) {
            let continues = rules.last().is_some_and(|rule| rule.conditional && rule.body.is_empty());
            if line.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && !(continues && is_tail(self, number))
            {
                rules.extend(rule_at(line, number));
            } else if let Some(rule) = rules.last_mut() {
                rule.body.push(number);
            }
        }
        rules
    }
}

/// Whether the line is the condition that was split off the line before.
fn is_tail(split: &Split, line: u32) -> bool {
    line > 1 && split.original(line) == split.original(line - 1)
}

fn rule_at(line: &str, head: u32) -> Option<Rule> {
    let default = line.starts_with("default ");
    let signature = line.strip_prefix("default ").unwrap_or(line);
    let end = signature.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(signature.len());
    let name = signature[..end].to_owned();
    if ["package", "import"].contains(&name.as_str()) {
        return None;
    }
    let trimmed = line.trim_end();
    let conditional = trimmed.ends_with(" if") || trimmed.ends_with(" if {");
    Some(Rule { head, body: Vec::new(), conditional, default, name })
}

/// What an evaluation reached, and what it did not, of the lines that can be.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    pub(crate) yes: BTreeSet<u32>,
    pub(crate) no: BTreeSet<u32>,
}

impl Rule {
    /// Whether anything of it was looked at.
    pub(crate) fn was_reached(&self, reached: &Reached) -> bool {
        self.lines().any(|line| reached.yes.contains(&line))
    }

    /// Whether it gave its value. One without a value of its own held when its last condition was reached.
    pub(crate) fn held(&self, reached: &Reached) -> bool {
        if !self.conditional || reached.yes.contains(&self.head) {
            return self.was_reached(reached);
        }
        let last =
            self.body.iter().rev().find(|line| reached.yes.contains(line) || reached.no.contains(line));
        !reached.no.contains(&self.head) && last.is_some_and(|line| reached.yes.contains(line))
    }

    /// Whether the condition on this line held: what comes after it was reached.
    pub(crate) fn line_held(&self, line: u32, reached: &Reached) -> bool {
        self.held(reached) || self.body.iter().any(|later| *later > line && reached.yes.contains(later))
    }

    /// Its lines, the head first.
    pub(crate) fn lines(&self) -> impl Iterator<Item = u32> + '_ {
        std::iter::once(self.head).chain(self.body.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGO: &str =
        "package p\n\nallow := \"why\" if input.x\n\ndeny if {\n\tinput.y\n}\n\ntable := {\n\t\"a\": 1,\n}";

    #[test]
    fn a_condition_gets_a_line_of_its_own_that_leads_back() {
        let split = split(REGO);
        assert!(split.rego.contains("allow := \"why\" if \ninput.x\n"));
        assert_eq!((split.original(3), split.original(4), split.original(6)), (3, 3, 5));
    }

    #[test]
    fn the_word_if_in_a_text_splits_nothing() {
        let rego = "package p\nwhy := \"ask if in doubt\"";
        assert_eq!(split(rego).rego, rego);
    }

    #[test]
    fn rules_are_found_with_their_bodies() {
        let names: Vec<_> =
            split(REGO).rules().into_iter().map(|rule| (rule.name, rule.conditional)).collect();
        let expected = [("allow", true), ("deny", true), ("table", false)];
        assert_eq!(names, expected.map(|(name, conditional)| (name.to_owned(), conditional)));
    }
}
