//! `repo.secrets`: keys and tokens left in the work tree. A finding never holds the value itself.

use std::sync::LazyLock;

use regex::{Regex, RegexSet};
use serde::Serialize;

use super::tree::{Coverage, Limits, Tree};
use crate::skills::{Finding, Outcome, Request, SkillError, text};

/// Secrets reported at most.
const MOST: usize = 200;
/// An assigned value is random enough from here on, in bits per character.
const ENTROPY: f64 = 3.5;

/// Kind of secret, the pattern that shows it, and the group that is the secret.
const PATTERNS: &[(&str, &str)] = &[
    ("AWS access key", r"\b((?:AKIA|ASIA)[0-9A-Z]{16})\b"),
    ("GitHub token", r"\b(gh[pousr]_[A-Za-z0-9]{36,255})\b"),
    ("GitHub fine-grained token", r"\b(github_pat_[A-Za-z0-9_]{40,255})\b"),
    ("GitLab token", r"\b(glpat-[A-Za-z0-9_-]{20,})"),
    ("Slack token", r"\b(xox[abprs]-[A-Za-z0-9-]{20,})"),
    ("Slack webhook", r"(https://hooks\.slack\.com/services/T[A-Za-z0-9]+/B[A-Za-z0-9]+/[A-Za-z0-9]{20,})"),
    ("Stripe key", r"\b([sr]k_live_[A-Za-z0-9]{20,})\b"),
    ("Google API key", r"\b(AIza[0-9A-Za-z_-]{35})"),
    ("npm token", r"\b(npm_[A-Za-z0-9]{36})\b"),
    ("PyPI token", r"\b(pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,})"),
    ("Hugging Face token", r"\b(hf_[A-Za-z]{34})\b"),
    ("Anthropic key", r"\b(sk-ant-[A-Za-z0-9_-]{32,})"),
    ("OpenAI key", r"\b(sk-(?:proj-)?[A-Za-z0-9]{32,})\b"),
    ("SendGrid key", r"\b(SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})"),
    ("JSON web token", r"\b(eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})"),
    ("private key", r"(-----BEGIN (?:[A-Z]+ )?PRIVATE KEY(?: BLOCK)?-----)\s*\n\s*[A-Za-z0-9+/=:]"),
    ("password in a URL", r"://[^/\s:@'\x22<>{}$]{1,128}:([^/\s:@'\x22<>{}$%]{6,128})@[A-Za-z0-9.-]+"),
    (
        ASSIGNMENT,
        r#"(?i)(?:secret|token|passw(?:or)?d|passphrase|api_?key|access_?key|private_?key|credential)[a-z0-9_]*["']?\s*(?::|=|:=|=>)\s*["']([A-Za-z0-9+/=_.~!@#%^&*-]{16,256})["']"#,
    ),
];
const ASSIGNMENT: &str = "random value under a secret's name";

/// Parts of values that stand for a secret and are none.
const PLACEHOLDERS: &[&str] = &[
    "example",
    "changeme",
    "placeholder",
    "dummy",
    "your",
    "xxxx",
    "test",
    "fake",
    "sample",
    "redacted",
    "12345678",
];

static SET: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new(PATTERNS.iter().map(|(_, pattern)| pattern))
        .expect("the patterns are constants that a test compiles")
});
static EACH: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let compile = |pattern| Regex::new(pattern).expect("the patterns are constants that a test compiles");
    PATTERNS.iter().map(|(_, pattern)| compile(pattern)).collect()
});

/// The secrets of a work tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretsFinding {
    /// By path and line, at most 200.
    pub secrets: Vec<Secret>,
    /// How many there are in all.
    pub found: usize,
    /// What was looked at.
    pub coverage: Coverage,
}

/// Where something that looks like a secret stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Secret {
    /// What it looks like.
    pub kind: &'static str,
    /// Path from the top.
    pub path: String,
    /// Line, from 1.
    pub line: usize,
    /// The value, masked: its first characters and its length.
    pub masked: String,
}

/// Serves `repo.secrets`.
pub fn run(request: &Request) -> Result<Outcome, SkillError> {
    let repository = super::open(request)?;
    let tree = Tree::list(&repository, Limits { bytes: 64 << 20, ..Limits::default() })?;
    Outcome::of(&examine(&tree))
}

fn examine(tree: &Tree<'_>) -> SecretsFinding {
    let mut secrets = Vec::new();
    let mut found = 0;
    let coverage = tree.read(|file, text| {
        let here = search(&file.path, text);
        found += here.len();
        secrets.extend(here.into_iter().take(MOST - secrets.len()));
    });
    SecretsFinding { secrets, found, coverage }
}

/// Finds the secrets of one file.
fn search(path: &str, text: &str) -> Vec<Secret> {
    let mut spans: Vec<(usize, Secret)> = Vec::new();
    for index in &SET.matches(text) {
        let kind = PATTERNS[index].0;
        for value in EACH[index].captures_iter(text).filter_map(|found| found.get(1)) {
            let known = spans.iter().any(|(start, _)| (value.start()..value.end()).contains(start));
            if !known && is_secret(kind, value.as_str()) {
                let line = text[..value.start()].matches('\n').count() + 1;
                let masked = mask(kind, value.as_str());
                spans.push((value.start(), Secret { kind, path: path.to_owned(), line, masked }));
            }
        }
    }
    spans.sort_by_key(|(start, _)| *start);
    spans.into_iter().map(|(_, secret)| secret).collect()
}

/// Leaves out what only stands for a secret.
fn is_secret(kind: &str, value: &str) -> bool {
    let lower = value.to_lowercase();
    let placeholder = PLACEHOLDERS.iter().any(|word| lower.contains(word));
    match kind {
        "private key" => true,
        ASSIGNMENT => !placeholder && entropy(value) >= ENTROPY && value.chars().any(|c| c.is_ascii_digit()),
        _ => !placeholder,
    }
}

/// Shannon's entropy of a value, in bits per character.
fn entropy(value: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in value.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let length = value.len() as f64;
    let shares = counts.iter().filter(|&&count| count > 0).map(|&count| f64::from(count) / length);
    -shares.map(|share| share * share.log2()).sum::<f64>()
}

/// Shows of a token the prefix that tells its kind, of a password nothing, and the length of both.
fn mask(kind: &str, value: &str) -> String {
    let shown: String = match kind {
        "private key" => return value.to_owned(),
        "password in a URL" | ASSIGNMENT => String::new(),
        _ => value.chars().take(4).collect(),
    };
    format!("{shown}… ({} characters)", value.chars().count())
}

impl Finding for SecretsFinding {
    fn summary(&self) -> String {
        let note = self.coverage.note.as_deref().map(|note| format!("; {note}")).unwrap_or_default();
        if self.found == 0 {
            let files = text::count(self.coverage.read as u64, "text file");
            return format!("no secrets in {files} of the work tree, whose history was not searched{note}");
        }
        let places =
            self.secrets.iter().map(|secret| format!("{} in {}:{}", secret.kind, secret.path, secret.line));
        format!("{}: {}{note}", text::count(self.found as u64, "likely secret"), text::list(places, 5))
    }

    fn importance(&self) -> f64 {
        if self.found > 0 { 0.95 } else { 0.5 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skills::repo::fixture::Fixture;

    /// Letters and digits that repeat nothing; put together here, so that this file holds no secret.
    fn random(length: usize) -> String {
        "q8Zr2Lw9Xc4Vb7Nm3Ka6Js5Hd1GfTyUiOpEWQzCvBnMlKjH".chars().cycle().take(length).collect()
    }

    fn github_token() -> String {
        format!("{}p_{}", "gh", random(36))
    }

    #[test]
    fn token_is_found_and_its_value_is_nowhere_in_the_finding() {
        let fixture = Fixture::new()
            .file("ok.rs", "fn main() {}\n")
            .file("deploy/.env", format!("A=1\nT={}\n", github_token()));
        let outcome = run(&fixture.request("{}")).unwrap();
        let secret = &outcome.data["secrets"][0];
        assert_eq!((&secret["kind"], &secret["path"]), (&"GitHub token".into(), &"deploy/.env".into()));
        assert_eq!((&secret["line"], &secret["masked"]), (&2.into(), &"ghp_… (40 characters)".into()));
        let told = format!("{}{}", outcome.summary, outcome.data);
        assert!(!told.contains(&random(8)), "{told}");
    }

    #[test]
    fn kinds_are_told_apart() {
        let cases = [
            (format!("AKI{}", "AQ8ZR2LW9XC4VB7NM"), "AWS access key"),
            (format!("-----BEGIN RSA {} KEY-----\nMIIE", "PRIVATE"), "private key"),
            (format!("postgres://app:{}@db.internal/x", random(12)), "password in a URL"),
            (format!("client_secret = \"{}\"", random(32)), ASSIGNMENT),
            (format!("{{\"apiKey\": \"{}\"}}", random(32)), ASSIGNMENT),
        ];
        for (text, kind) in cases {
            let found = search("file", &text);
            assert_eq!(found.iter().map(|secret| secret.kind).collect::<Vec<_>>(), [kind], "{text}");
        }
    }

    #[test]
    fn what_stands_for_a_secret_is_none() {
        let cases = [
            "password = \"${PASSWORD_FROM_ENV}\"",
            "token: \"your-token-goes-here-0\"",
            "secret = \"aaaaaaaaaaaaaaaaaaaaaaa1\"",
            "postgres://user:<password>@host/x",
            "fn token(secret: &str) -> String {",
        ];
        for text in cases {
            assert_eq!(search("file", text), [], "{text}");
        }
    }

    #[test]
    fn a_token_under_a_secrets_name_is_one_secret() {
        assert_eq!(search("file", &format!("api_token = \"{}\"", github_token())).len(), 1);
    }
}
