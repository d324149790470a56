//! `repo.build`: how the repository is built and tested, told by its files; nothing is run.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::tree::{Limits, Tree};
use crate::skills::{Finding, Outcome, Request, SkillError, text};

/// How a repository is built and tested.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BuildFinding {
    /// Build systems at the top, the one to prefer first.
    pub systems: Vec<BuildSystem>,
    /// Manifests further down, by the name of their build system.
    pub nested: BTreeMap<&'static str, usize>,
    /// Configurations of continuous integration, at most 50.
    pub ci: Vec<String>,
    /// How many of these there are in all.
    pub ci_count: usize,
    /// Recipes for container images, at most 50.
    pub containers: Vec<String>,
    /// How many of these there are in all.
    pub containers_count: usize,
}

/// Files of a kind named at most.
const NAMED: usize = 50;

/// A build system that is used at the top of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuildSystem {
    /// Name.
    pub system: &'static str,
    /// File that shows it.
    pub manifest: String,
    /// Command that builds.
    pub build: Option<String>,
    /// Command that tests.
    pub test: Option<String>,
}

/// File at the top, name, and the commands that build and test.
const SYSTEMS: &[(&str, &str, Option<&str>, Option<&str>)] = &[
    ("Cargo.toml", "cargo", Some("cargo build"), Some("cargo test")),
    ("go.mod", "go", Some("go build ./..."), Some("go test ./...")),
    ("package.json", "npm", None, None),
    ("pyproject.toml", "python", Some("python -m build"), Some("python -m pytest")),
    ("setup.py", "python", Some("python -m build"), Some("python -m pytest")),
    ("pom.xml", "maven", Some("mvn -B package"), Some("mvn -B test")),
    ("build.gradle", "gradle", Some("gradle build"), Some("gradle test")),
    ("build.gradle.kts", "gradle", Some("gradle build"), Some("gradle test")),
    (
        "CMakeLists.txt",
        "cmake",
        Some("cmake -B build && cmake --build build"),
        Some("ctest --test-dir build"),
    ),
    ("mix.exs", "mix", Some("mix compile"), Some("mix test")),
    ("build.zig", "zig", Some("zig build"), Some("zig build test")),
    ("Makefile", "make", None, None),
    ("tests/run", "script", None, Some("tests/run")),
    ("run_tests.sh", "script", None, Some("sh run_tests.sh")),
];

/// Serves `repo.build`.
pub fn run(request: &Request) -> Result<Outcome, SkillError> {
    let repository = super::open(request)?;
    Outcome::of(&examine(&Tree::list(&repository, Limits::default())?))
}

/// Looks at the files of a tree.
pub(super) fn examine(tree: &Tree<'_>) -> BuildFinding {
    let has = |path: &str| tree.files.iter().any(|file| file.path == path);
    let mut finding = BuildFinding::default();
    for (manifest, system, build, test) in SYSTEMS.iter().filter(|(manifest, ..)| has(manifest)) {
        let (build, test) = (build.map(str::to_owned), test.map(str::to_owned));
        let known = BuildSystem { system, manifest: (*manifest).to_owned(), build, test };
        finding.systems.push(known.with_own_commands(tree));
    }
    for file in &tree.files {
        finding.note(&file.path);
    }
    finding
}

impl BuildSystem {
    /// Takes the commands from the manifest where it names them.
    fn with_own_commands(mut self, tree: &Tree<'_>) -> Self {
        let text = tree.text_of(&self.manifest).unwrap_or_default();
        if self.system == "npm" {
            let tool = package_tool(tree);
            self.build = script(&text, "build").then(|| format!("{tool} run build"));
            self.test = script(&text, "test").then(|| format!("{tool} test"));
        }
        if self.system == "make" {
            self.build = Some("make".to_owned());
            self.test = ["test", "check"]
                .into_iter()
                .find(|target| has_target(&text, target))
                .map(|t| format!("make {t}"));
        }
        self
    }
}

fn package_tool(tree: &Tree<'_>) -> &'static str {
    let has = |path: &str| tree.files.iter().any(|file| file.path == path);
    let locks = [("pnpm-lock.yaml", "pnpm"), ("yarn.lock", "yarn")];
    locks.into_iter().find(|(lock, _)| has(lock)).map_or("npm", |(_, tool)| tool)
}

/// True when a package has a script; npm writes one that only fails, which is none.
fn script(manifest: &str, name: &str) -> bool {
    let manifest: Value = serde_json::from_str(manifest).unwrap_or_default();
    manifest["scripts"][name].as_str().is_some_and(|script| !script.contains("no test specified"))
}

fn has_target(makefile: &str, target: &str) -> bool {
    makefile
        .lines()
        .any(|line| line.strip_prefix(target).is_some_and(|rest| rest.trim_start().starts_with(':')))
}

impl BuildFinding {
    /// The command that tests the repository, where one is known.
    pub(super) fn test_command(&self) -> Option<&str> {
        self.systems.iter().find_map(|system| system.test.as_deref())
    }

    fn note(&mut self, path: &str) {
        let name = path.rsplit('/').next().unwrap_or(path);
        if is_ci(path) {
            name_and_count(path, &mut self.ci, &mut self.ci_count);
        }
        if name.starts_with("Dockerfile") || name.starts_with("Containerfile") {
            name_and_count(path, &mut self.containers, &mut self.containers_count);
        }
        if let Some((_, system, ..)) = SYSTEMS.iter().find(|(manifest, ..)| *manifest == name && path != name)
        {
            *self.nested.entry(system).or_default() += 1;
        }
    }
}

fn name_and_count(path: &str, named: &mut Vec<String>, count: &mut usize) {
    *count += 1;
    if named.len() < NAMED {
        named.push(path.to_owned());
    }
}

fn is_ci(path: &str) -> bool {
    const FILES: &[&str] =
        &[".gitlab-ci.yml", "Jenkinsfile", ".travis.yml", "azure-pipelines.yml", ".ci/run"];
    path.starts_with(".github/workflows/") || path.starts_with(".circleci/") || FILES.contains(&path)
}

impl Finding for BuildFinding {
    fn summary(&self) -> String {
        let systems = self.systems.iter().map(|system| {
            let command =
                |command: &Option<String>| command.clone().unwrap_or_else(|| "no command".to_owned());
            format!("{} (build: {}, test: {})", system.system, command(&system.build), command(&system.test))
        });
        let built = match self.systems.is_empty() {
            true => "no known build system at the top".to_owned(),
            false => format!("built by {}", text::list(systems, 3)),
        };
        format!(
            "{built}; CI: {}; containers: {}",
            text::list_of(&self.ci, self.ci_count, 3),
            text::list_of(&self.containers, self.containers_count, 3),
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::skills::repo;
    use crate::skills::repo::fixture::Fixture;

    fn commands(fixture: &Fixture) -> Vec<(String, String, String)> {
        let data = repo::build::run(&fixture.request("{}")).unwrap().data;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
        let systems = data["systems"].as_array().unwrap();
        systems.iter().map(|one| (text(&one["system"]), text(&one["build"]), text(&one["test"]))).collect()
    }

    fn row(system: &str, build: &str, test: &str) -> (String, String, String) {
        (system.to_owned(), build.to_owned(), test.to_owned())
    }

    #[test]
    fn systems_are_told_with_their_commands() {
        let fixture = Fixture::new()
            .file("Cargo.toml", "[package]\n")
            .file("Makefile", "all:\n\ttrue\ncheck: all\n\ttrue\n")
            .file("package.json", r#"{"scripts":{"test":"vitest","build":"tsc"}}"#)
            .file("pnpm-lock.yaml", "");
        let expected = [
            row("cargo", "cargo build", "cargo test"),
            row("npm", "pnpm run build", "pnpm test"),
            row("make", "make", "make check"),
        ];
        assert_eq!(commands(&fixture), expected);
    }

    #[test]
    fn script_that_only_fails_is_no_test() {
        let script = r#"{"scripts":{"test":"echo \"Error: no test specified\" && exit 1"}}"#;
        assert_eq!(commands(&Fixture::new().file("package.json", script)), [row("npm", "-", "-")]);
    }

    #[test]
    fn a_repository_that_nothing_builds_says_so() {
        let outcome = repo::build::run(&Fixture::new().file("a.txt", "a\n").request("{}")).unwrap();
        assert_eq!(outcome.summary, "no known build system at the top; CI: none; containers: none");
    }

    #[test]
    fn however_many_recipes_there_are_few_are_named_and_all_are_counted() {
        let many = (0..200).fold(Fixture::new(), |fixture, number| {
            let name = "x".repeat(200);
            fixture.file(&format!(".circleci/{name}/{number}/Dockerfile.production"), "FROM scratch\n")
        });
        let outcome = repo::build::run(&many.request("{}")).unwrap();
        for kind in ["ci", "containers"] {
            assert_eq!(outcome.data[kind].as_array().unwrap().len(), 50);
            assert_eq!(outcome.data[format!("{kind}_count")], 200);
        }
        assert!(outcome.summary.ends_with("and 197 more"), "{}", outcome.summary);
        assert!(outcome.data.to_string().len() < 100 << 10);
    }

    #[test]
    fn pipelines_containers_and_nested_manifests_are_noted() {
        let fixture = Fixture::new()
            .file(".github/workflows/ci.yml", "on: push\n")
            .file("deploy/Dockerfile", "FROM scratch\n")
            .file("libs/a/Cargo.toml", "[package]\n");
        let data = repo::build::run(&fixture.request("{}")).unwrap().data;
        assert_eq!(data["ci"][0], ".github/workflows/ci.yml");
        assert_eq!(data["containers"][0], "deploy/Dockerfile");
        assert_eq!(data["nested"]["cargo"], 1);
    }
}
