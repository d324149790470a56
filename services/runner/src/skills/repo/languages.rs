//! `repo.languages`: what the repository is written in, by share of code.

use serde::Serialize;

use super::census::{self, Census};
use super::language;
use super::tree::{Coverage, Limits, Tree};
use crate::skills::{Finding, Outcome, Request, SkillError, text};

/// The languages of a repository.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LanguagesFinding {
    /// The language of most code; unset where there is none.
    pub primary: Option<&'static str>,
    /// Programming languages, largest share first.
    pub code: Vec<Share>,
    /// Data and prose, largest first; shares are of these.
    pub other: Vec<Share>,
    /// What was looked at.
    pub coverage: Coverage,
}

/// A language's part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Share {
    /// Language.
    pub language: &'static str,
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
    /// Lines.
    pub lines: u64,
    /// Share of the bytes, in percent.
    pub percent: f64,
}

/// Serves `repo.languages`.
pub fn run(request: &Request) -> Result<Outcome, SkillError> {
    let repository = super::open(request)?;
    let tree = Tree::list(&repository, Limits::default())?;
    let census = census::take(&tree);
    let code = shares(&census, language::is_code);
    let other = shares(&census, |name| !language::is_code(name));
    let primary = code.first().map(|share| share.language);
    Outcome::of(&LanguagesFinding { primary, code, other, coverage: census.coverage })
}

fn shares(census: &Census, of: impl Fn(&str) -> bool) -> Vec<Share> {
    let chosen = census.languages.iter().filter(|(name, _)| of(name));
    let whole: u64 = chosen.clone().map(|(_, amount)| amount.bytes).sum();
    let mut shares: Vec<Share> = chosen
        .map(|(&language, amount)| Share {
            language,
            files: amount.files,
            bytes: amount.bytes,
            lines: amount.lines,
            percent: text::percent(amount.bytes as f64, whole as f64),
        })
        .collect();
    shares.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.language.cmp(b.language)));
    shares
}

impl Finding for LanguagesFinding {
    fn summary(&self) -> String {
        let part = |share: &Share| format!("{} {} %", share.language, share.percent);
        let Some(primary) = self.primary else {
            return format!("no code; other files: {}", text::list(self.other.iter().map(part), 5));
        };
        format!("mostly {primary}: {}", text::list(self.code.iter().map(part), 6))
    }
}

#[cfg(test)]
mod tests {
    use crate::skills::repo;
    use crate::skills::repo::fixture::Fixture;

    #[test]
    fn most_code_decides_and_prose_does_not_count() {
        let fixture = Fixture::new()
            .file("a.rs", "x".repeat(75))
            .file("b.go", "x".repeat(25))
            .file("README.md", "x".repeat(500));
        let outcome = repo::languages::run(&fixture.request("{}")).unwrap();
        assert_eq!(outcome.data["primary"], "Rust");
        assert_eq!(outcome.data["code"][1]["percent"], 25.0);
        assert_eq!(outcome.summary, "mostly Rust: Rust 75 %, Go 25 %");
    }
}
