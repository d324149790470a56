//! Terms: what few tasks are bound to — a deadline, a unique key, other tasks — and their packed form.

use std::time::Duration;

use uuid::Uuid;

use crate::codec::{Damaged, Packer, Unpacker};

/// Most tasks that a task may wait for, in each of the two ways of naming them.
pub const PARENTS: usize = 64;

/// What a task is bound to; it never changes, and tasks without any carry none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// Longest time until it has completed.
    pub deadline: Option<Duration>,
    /// Keeps others like it away; empty for none.
    pub unique_key: Box<str>,
    /// How long the key does so at most.
    pub unique_for: Option<Duration>,
    /// Tasks that must complete before, each once.
    pub after: Vec<Uuid>,
    /// Start also when one of them fails.
    pub run_after_failure: bool,
}

impl Terms {
    /// True when they bind nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// About the bytes that they take in a message.
    pub fn size(&self) -> usize {
        const ID: usize = 40;
        self.unique_key.len() + self.after.len() * ID
    }

    /// Packs them.
    pub(crate) fn pack(&self) -> Vec<u8> {
        let mut out = Packer::default();
        out.span(self.deadline.unwrap_or_default());
        out.text(&self.unique_key);
        out.span(self.unique_for.unwrap_or_default());
        out.byte(u8::from(self.run_after_failure));
        for parent in &self.after {
            out.0.extend_from_slice(parent.as_bytes());
        }
        out.0
    }

    /// Reads packed terms.
    pub(crate) fn unpack(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut from = Unpacker(bytes);
        let some = |span: Duration| Some(span).filter(|span| !span.is_zero());
        let (deadline, unique_key) = (some(from.span()?), from.text()?.into());
        let (unique_for, run_after_failure) = (some(from.span()?), from.byte()? != 0);
        let (ids, rest) = from.0.as_chunks::<16>();
        if !rest.is_empty() {
            return Err(Damaged);
        }
        let after = ids.iter().map(|id| Uuid::from_bytes(*id)).collect();
        Ok(Self { deadline, unique_key, unique_for, after, run_after_failure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_come_back_as_they_were() {
        let terms = Terms {
            deadline: Some(Duration::from_secs(7)),
            unique_key: "ä".into(),
            unique_for: None,
            after: vec![Uuid::from_u128(1), Uuid::from_u128(u128::MAX)],
            run_after_failure: true,
        };
        assert_eq!(Terms::unpack(&terms.pack()), Ok(terms));
        assert_eq!(Terms::unpack(&Terms::default().pack()), Ok(Terms::default()));
    }

    #[test]
    fn damaged_terms_are_refused() {
        let mut packed = Terms::default().pack();
        packed.push(1);
        assert_eq!(Terms::unpack(&packed), Err(Damaged));
    }
}
