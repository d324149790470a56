//! What is wrong with a request, field by field.

use std::fmt;

/// One field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, such as `tasks[0].queue`.
    pub field: String,
    /// The value where it helps, and the rule that it breaks.
    pub rule: String,
}

impl Violation {
    /// A violation of `rule` by `field`.
    pub fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.into() }
    }

    /// Fails with a violation of `rule` by `field` unless `holds`.
    pub fn require(holds: bool, field: &str, rule: &str) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self::new(field, rule)) }
    }

    /// The same violation, seen from the message that holds the field: `prefix.field`.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        self.field = format!("{prefix}.{}", self.field);
        self
    }

    /// The same violation, seen from the list that holds the message, or the value itself when its field is empty:
    /// `list[index].field`.
    #[must_use]
    pub fn at(mut self, list: &str, index: usize) -> Self {
        let dot = if self.field.is_empty() { "" } else { "." };
        self.field = format!("{list}[{index}]{dot}{}", self.field);
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.rule)
    }
}

impl std::error::Error for Violation {}

/// Gathers violations, so that a caller learns of all of them at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the value out of a check, or notes its violation.
    pub fn take<T>(&mut self, checked: Result<T, Violation>) -> Option<T> {
        checked.map_err(|violation| self.0.push(violation)).ok()
    }

    /// The values of two checks, or all that is wrong with them.
    pub fn both<A, B>(a: Result<A, Violation>, b: Result<B, Violation>) -> Result<(A, B), Self> {
        match (a, b) {
            (Ok(a), Ok(b)) => Ok((a, b)),
            (a, b) => Err(Self(a.err().into_iter().chain(b.err()).collect())),
        }
    }

    /// Notes a violation.
    pub fn push(&mut self, violation: Violation) {
        self.0.push(violation);
    }

    /// Notes a violation of `rule` by `field` unless `holds`.
    pub fn require(&mut self, holds: bool, field: &str, rule: &str) {
        if !holds {
            self.0.push(Violation::new(field, rule));
        }
    }

    /// Notes the violations of a nested message, each with `prefix.` before its field.
    pub fn extend_within(&mut self, prefix: &str, nested: Violations) {
        self.0.extend(nested.0.into_iter().map(|violation| violation.within(prefix)));
    }

    /// Fails when anything was noted.
    pub fn finish(self) -> Result<(), Violations> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was noted, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Violation> {
        self.0.iter()
    }
}

impl From<Violation> for Violations {
    fn from(violation: Violation) -> Self {
        Self(vec![violation])
    }
}

impl IntoIterator for Violations {
    type Item = Violation;
    type IntoIter = std::vec::IntoIter<Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{violation}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}

/// The value as a message shows it: quoted, and cut when it is long.
pub fn shown(value: &str) -> String {
    let mut text: String = value.chars().take(40).collect();
    if text.len() < value.len() {
        text.push('…');
    }
    format!("{text:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_checks_give_their_values_or_all_that_is_wrong() {
        let check = |holds, field| Violation::require(holds, field, "must hold").map(|()| field);
        assert_eq!(Violations::both(check(true, "a"), check(true, "b")), Ok(("a", "b")));
        let found = Violations::both(check(false, "a"), check(false, "b")).unwrap_err();
        assert_eq!(found.to_string(), "a: must hold; b: must hold");
    }
}
