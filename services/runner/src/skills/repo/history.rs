//! `repo.history`: commits, who made them, since when, and how many a month.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::git::{Repository, records, shown};
use crate::skills::{Finding, Outcome, Request, SkillError, text};

/// Commits looked at, newest first.
const COMMITS: usize = 200_000;
/// Authors named at most.
const AUTHORS: usize = 20;
/// Characters of a name that are told.
const NAME: usize = 100;
/// Months told at most, newest.
const MONTHS: usize = 36;

/// The history of the present branch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HistoryFinding {
    /// Commits, at most 200,000.
    pub commits: usize,
    /// Of them merges.
    pub merges: usize,
    /// How many people made them.
    pub authors: usize,
    /// Who made most, at most 20.
    pub top_authors: Vec<Author>,
    /// Day of the first commit, `YYYY-MM-DD`.
    pub first: Option<String>,
    /// Day of the last commit.
    pub last: Option<String>,
    /// Days since the first commit.
    pub age_days: i64,
    /// Days since the last commit.
    pub idle_days: i64,
    /// Commits by month, `YYYY-MM`, the newest 36 that have any.
    pub months: BTreeMap<String, usize>,
    /// What is missing from this history, in words.
    pub note: Option<String>,
}

/// Somebody who made commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Author {
    /// Name.
    pub name: String,
    /// Commits.
    pub commits: usize,
}

/// Serves `repo.history`.
pub fn run(request: &Request) -> Result<Outcome, SkillError> {
    let repository = super::open(request)?;
    Outcome::of(&examine(&repository, request.now)?)
}

fn examine(repository: &Repository, now: i64) -> Result<HistoryFinding, SkillError> {
    if repository.head().is_none() {
        return Ok(HistoryFinding { note: repository.gaps(), ..HistoryFinding::default() });
    }
    let most = format!("--max-count={COMMITS}");
    let format = "--format=%ct%x1f%cs%x1f%p%x1f%aE%x1f%aN";
    let answer = repository.git(&["log", "-z", "--use-mailmap", &most, format, "HEAD"])?;
    let log: Vec<Commit> =
        records(&answer.bytes, 0).filter_map(|record| Commit::parse(&shown(record))).collect();
    let mut finding = summarise(&log, now);
    finding.note = repository.gaps().or((answer.truncated || log.len() == COMMITS)
        .then(|| format!("only the newest {} commits were looked at", log.len())));
    Ok(finding)
}

struct Commit {
    seconds: i64,
    day: String,
    merge: bool,
    email: String,
    name: String,
}

impl Commit {
    fn parse(record: &str) -> Option<Self> {
        let [seconds, day, parents, email, name] = record.trim().split('\x1f').collect::<Vec<_>>()[..] else {
            return None;
        };
        Some(Self {
            seconds: seconds.parse().ok()?,
            day: day.to_owned(),
            merge: parents.contains(' '),
            email: email.to_lowercase(),
            name: name.to_owned(),
        })
    }
}

fn summarise(log: &[Commit], now: i64) -> HistoryFinding {
    let first = log.iter().min_by_key(|commit| commit.seconds);
    let last = log.iter().max_by_key(|commit| commit.seconds);
    let days = |commit: Option<&Commit>| commit.map_or(0, |commit| (now - commit.seconds).max(0) / 86_400);
    let authors = authors(log);
    HistoryFinding {
        commits: log.len(),
        merges: log.iter().filter(|commit| commit.merge).count(),
        authors: authors.len(),
        top_authors: authors.into_iter().take(AUTHORS).map(Author::short).collect(),
        first: first.map(|commit| commit.day.clone()),
        last: last.map(|commit| commit.day.clone()),
        age_days: days(first),
        idle_days: days(last),
        months: months(log),
        note: None,
    }
}

impl Author {
    fn short(self) -> Self {
        Self { name: text::short(&self.name, NAME), ..self }
    }
}

fn authors(log: &[Commit]) -> Vec<Author> {
    let mut by_email: HashMap<&str, Author> = HashMap::new();
    for commit in log {
        let author = Author { name: commit.name.clone(), commits: 0 };
        by_email.entry(&commit.email).or_insert(author).commits += 1;
    }
    let mut authors: Vec<Author> = by_email.into_values().collect();
    authors.sort_by(|a, b| b.commits.cmp(&a.commits).then_with(|| a.name.cmp(&b.name)));
    authors
}

fn months(log: &[Commit]) -> BTreeMap<String, usize> {
    let mut months = BTreeMap::new();
    for month in log.iter().filter_map(|commit| commit.day.get(..7)) {
        *months.entry(month.to_owned()).or_default() += 1;
    }
    while months.len() > MONTHS {
        months.pop_first();
    }
    months
}

impl Finding for HistoryFinding {
    fn summary(&self) -> String {
        let note = self.note.as_deref().map(|note| format!("; {note}")).unwrap_or_default();
        let (Some(first), Some(last)) = (&self.first, &self.last) else {
            return format!("no history{note}");
        };
        let top = self.top_authors.iter().map(|author| format!("{} {}", author.name, author.commits));
        format!(
            "{} by {} from {first} to {last} ({} old, last change {} ago); most by {}{note}",
            text::count(self.commits as u64, "commit"),
            text::count(self.authors as u64, "author"),
            days(self.age_days),
            days(self.idle_days),
            text::list(top, 3),
        )
    }
}

fn days(days: i64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

#[cfg(test)]
mod tests {
    use crate::skills::repo;
    use crate::skills::repo::fixture::{Fixture, request_about};

    #[test]
    fn commits_authors_and_months_are_counted() {
        let fixture = Fixture::new().file("a", "1").commit("One").file("a", "2").commit("Two");
        fixture.git(&[
            "-c",
            "user.email=bob@example.org",
            "-c",
            "user.name=Bob",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "x",
        ]);
        let data = repo::history::run(&fixture.request("{}")).unwrap().data;
        assert_eq!((&data["commits"], &data["authors"]), (&3.into(), &2.into()));
        assert_eq!(data["top_authors"][0], serde_json::json!({"name": "Ada", "commits": 2}));
        assert_eq!(data["months"].as_object().unwrap().values().next().unwrap(), 3);
    }

    #[test]
    fn repository_without_commits_has_no_history() {
        let outcome = repo::history::run(&Fixture::new().request("{}")).unwrap();
        assert_eq!(outcome.summary, "no history; the repository has no commit yet");
    }

    #[test]
    fn shallow_clone_says_what_is_missing() {
        let fixture = Fixture::new().file("a", "1").commit("One").file("a", "2").commit("Two");
        let clone = fixture.clone_into("shallow", &["--depth=1"]);
        let data = repo::history::run(&request_about(&clone, "{}")).unwrap().data;
        assert_eq!(data["commits"], 1);
        assert!(data["note"].as_str().unwrap().contains("shallow"));
    }
}
