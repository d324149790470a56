//! What secrets look like, and how a text is told without their values.
//!
//! Of what has a known form, nothing leaves a skill but masked: see [`masked`], which each finding and each error
//! passes on its way out. What has no known form cannot be told from other text.

mod likely;
mod masked;
mod patterns;

pub(crate) use masked::{masked, masked_value};
pub(super) use patterns::Form;

use patterns::Patterns;

/// A value that looks like a secret; where it stands, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// What it looks like.
    pub(super) form: &'static Form,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Found {
    /// What is shown instead: of a token the prefix that tells its kind, of a password nothing, and the length of both.
    pub(super) fn mask(&self, text: &str) -> String {
        let value = &text[self.start..self.end];
        let shown: String = value.chars().take(self.form.shown).collect();
        if shown == value { shown } else { format!("{shown}… ({} characters)", value.chars().count()) }
    }
}

/// Finds the secrets of a file, in order; `path` tells whether values stand there without quotes.
pub(super) fn in_file(path: &str, text: &str) -> Vec<Found> {
    let patterns =
        if patterns::is_configuration(path) { Patterns::configuration() } else { Patterns::source() };
    find(patterns, text, |form, value| (form.likely)(value) && !likely::is_placeholder(value))
}

fn find(patterns: &Patterns, text: &str, is_secret: impl Fn(&Form, &str) -> bool) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for (form, regex) in patterns.matching(text) {
        for value in regex.captures_iter(text).filter_map(|captures| captures.get(1)) {
            let known = found.iter().any(|one| one.start < value.end() && value.start() < one.end);
            if !known && is_secret(form, value.as_str()) {
                found.push(Found { form, start: value.start(), end: value.end() });
            }
        }
    }
    found.sort_by_key(|one| one.start);
    found
}
