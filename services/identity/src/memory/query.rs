//! What is searched for, in words: no text is a syntax error.

use std::collections::{BTreeMap, HashSet};

use nova_types::{MemoryId, Namespace};

use super::Memory;

/// More distinct words than these do not make a search better, only slower.
pub(crate) const WORDS_MAX: usize = 64;

/// One page of a search.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Search {
    pub(crate) namespace: Namespace,
    /// Empty lists the newest first.
    pub(crate) query: String,
    /// All of these must be on a memory.
    pub(crate) labels: BTreeMap<String, String>,
    /// Where the page before ended.
    pub(crate) after: Option<Position>,
    pub(crate) limit: usize,
}

/// Where a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// So many hits were shown; they are ordered by score, which moves as memories are added.
    Hits(u32),
    /// Up to this memory, in the order of time.
    Memory(MemoryId),
}

/// A memory that was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hit {
    pub(crate) memory: Memory,
    /// BM25, higher is better; 0 in a list.
    pub(crate) score: f64,
}

/// A page of hits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hits {
    /// Best first, or newest first. Large memories make a page shorter than its limit.
    pub(crate) hits: Vec<Hit>,
    /// Whether there are more.
    pub(crate) more: bool,
}

/// The distinct words of a text, in order: letters, digits, and the accents that belong to them.
pub(crate) fn words(text: &str) -> Vec<&str> {
    let mut seen = HashSet::new();
    let words = text.split(|character: char| !is_of_word(character)).filter(|word| !word.is_empty());
    words.filter(|word| seen.insert(*word)).take(WORDS_MAX).collect()
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || ('\u{300}'..='\u{36f}').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_is_left_of_any_syntax() {
        assert_eq!(
            words("disk NEAR(\"full\", 5) OR text:* -cpu^2"),
            ["disk", "NEAR", "full", "5", "OR", "text", "cpu", "2"]
        );
        assert_eq!(words("café café\u{0301} naïve"), ["café", "café\u{0301}", "naïve"]);
        assert!(words("\" ' * ( \0 --").is_empty());
    }

    #[test]
    fn a_word_counts_once_and_only_so_many_count() {
        assert_eq!(words("a a b a"), ["a", "b"]);
        let many: String = (0..200).map(|number| format!("{number} ")).collect();
        assert_eq!(words(&many).len(), WORDS_MAX);
    }
}
