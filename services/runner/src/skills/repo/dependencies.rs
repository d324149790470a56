//! `repo.dependencies`: what the repository asks of others, and what of it is not pinned.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::manifests::{Ecosystem, Requirement};
use super::tree::{Limits, Tree};
use crate::skills::{Finding, Outcome, Request, SkillError, text};

/// Manifests read at most.
const MANIFESTS: usize = 1_000;
/// Unpinned requirements named at most.
const UNPINNED: usize = 100;
/// Manifests, lock files and unreadable manifests named at most, of each package manager or in all.
const NAMED: usize = 50;
/// Characters that are told of a path, and of anything that a manifest says.
const PATH: usize = 500;
const SAID: usize = 200;

/// The dependencies of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DependenciesFinding {
    /// By package manager: `cargo`, `npm`, `go`, `python`.
    pub ecosystems: BTreeMap<&'static str, Dependencies>,
    /// Distinct packages that are asked for.
    pub direct: usize,
    /// Packages in the lock files; those that cannot be counted left out.
    pub total: usize,
    /// Requirements that another machine may resolve differently, at most 100.
    pub unpinned: Vec<Unpinned>,
    /// How many of these there are in all.
    pub unpinned_count: usize,
    /// Manifests that could not be read, with the reason, at most 50.
    pub unreadable: BTreeMap<String, String>,
    /// How many of these there are in all.
    pub unreadable_count: usize,
    /// What was left out, in words.
    pub note: Option<String>,
}

/// What one package manager is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dependencies {
    /// Paths of the manifests, at most 50.
    pub manifests: Vec<String>,
    /// How many of these there are in all.
    pub manifest_count: usize,
    /// Paths of the lock files, at most 50.
    pub locks: Vec<String>,
    /// How many of these there are in all.
    pub lock_count: usize,
    /// Distinct packages that are asked for.
    pub direct: usize,
    /// Packages in the lock files.
    pub total: usize,
    #[serde(skip)]
    names: BTreeSet<String>,
    #[serde(skip)]
    lock_paths: BTreeSet<String>,
}

/// A requirement that does not say exactly what it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unpinned {
    /// Path of the manifest.
    pub manifest: String,
    /// Package.
    pub name: String,
    /// As it is written; empty when any version will do.
    pub version: String,
}

/// Serves `repo.dependencies`.
pub fn run(request: &Request) -> Result<Outcome, SkillError> {
    let repository = super::open(request)?;
    let tree = Tree::list(&repository, Limits { file_bytes: 16 << 20, ..Limits::default() })?;
    Outcome::of(&examine(&tree))
}

fn examine(tree: &Tree<'_>) -> DependenciesFinding {
    let mut finding = DependenciesFinding::default();
    let mut manifests = tree.files.iter().filter_map(|file| Some((file.path.as_str(), of(&file.path)?)));
    for (path, ecosystem) in manifests.by_ref().take(MANIFESTS) {
        finding.add(tree, path, ecosystem);
    }
    let left = manifests.count();
    finding.note = (left > 0).then(|| format!("{} not read", text::count(left as u64, "manifest")));
    finding.sum();
    finding
}

fn of(path: &str) -> Option<Ecosystem> {
    let vendored = path.split('/').any(|part| part == "node_modules" || part == "vendor");
    Ecosystem::of(path.rsplit('/').next()?).filter(|_| !vendored)
}

impl DependenciesFinding {
    fn add(&mut self, tree: &Tree<'_>, path: &str, ecosystem: Ecosystem) {
        let file_name = path.rsplit('/').next().unwrap_or(path);
        let text = tree.text_of(path).ok_or_else(|| "no text, or too large".to_owned());
        let requirements = match text.and_then(|text| ecosystem.requirements(file_name, &text)) {
            Ok(requirements) => requirements,
            Err(reason) => {
                self.note_unreadable(path, &reason);
                return;
            }
        };
        let lock = lock_of(tree, path, ecosystem);
        let here = self.ecosystems.entry(ecosystem.name()).or_default();
        here.manifest_count += 1;
        if here.manifests.len() < NAMED {
            here.manifests.push(text::cut(path, PATH));
        }
        here.names.extend(requirements.iter().map(|requirement| requirement.name.clone()));
        here.count_lock(tree, lock.as_deref(), ecosystem);
        self.note_unpinned(path, lock.is_some(), requirements);
    }

    fn note_unreadable(&mut self, path: &str, reason: &str) {
        self.unreadable_count += 1;
        if self.unreadable.len() < NAMED {
            self.unreadable.insert(text::cut(path, PATH), text::short(reason, SAID));
        }
    }

    /// `; unreadable: web/package.json`; empty when all could be read.
    fn unreadable(&self) -> String {
        let paths: Vec<String> = self.unreadable.keys().cloned().collect();
        match self.unreadable_count {
            0 => String::new(),
            all => format!("; unreadable: {}", text::list_of(&paths, all, 4)),
        }
    }

    fn note_unpinned(&mut self, path: &str, locked: bool, requirements: Vec<Requirement>) {
        let loose = |one: &Requirement| one.is_wildcard() || !(locked || one.exact);
        for requirement in requirements.into_iter().filter(loose) {
            self.unpinned_count += 1;
            if self.unpinned.len() < UNPINNED {
                let [name, version] =
                    [&requirement.name, &requirement.version].map(|said| text::short(said, SAID));
                self.unpinned.push(Unpinned { manifest: text::cut(path, PATH), name, version });
            }
        }
    }

    fn sum(&mut self) {
        for dependencies in self.ecosystems.values_mut() {
            dependencies.direct = dependencies.names.len();
            dependencies.lock_count = dependencies.lock_paths.len();
            dependencies.locks =
                dependencies.lock_paths.iter().take(NAMED).map(|path| text::cut(path, PATH)).collect();
            self.direct += dependencies.direct;
            self.total += dependencies.total;
        }
    }
}

impl Dependencies {
    fn count_lock(&mut self, tree: &Tree<'_>, lock: Option<&str>, ecosystem: Ecosystem) {
        let Some(path) = lock.filter(|path| !self.lock_paths.contains(*path)) else { return };
        let file_name = path.rsplit('/').next().unwrap_or(path);
        let packages = tree.text_of(path).and_then(|text| ecosystem.locked(file_name, &text));
        self.total += packages.unwrap_or(0);
        self.lock_paths.insert(path.to_owned());
    }
}

/// The lock file beside a manifest, or in a folder above it.
fn lock_of(tree: &Tree<'_>, manifest: &str, ecosystem: Ecosystem) -> Option<String> {
    let mut folder = manifest;
    while !folder.is_empty() {
        folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut names = ecosystem.lock_files().iter().map(|name| format!("{prefix}{name}"));
        let lock =
            names.find(|path| tree.files.binary_search_by(|file| file.path.as_str().cmp(path)).is_ok());
        if lock.is_some() {
            return lock;
        }
    }
    None
}

impl Finding for DependenciesFinding {
    fn summary(&self) -> String {
        let unreadable = self.unreadable();
        if self.ecosystems.is_empty() {
            let which = if self.unreadable_count == 0 { "" } else { " could be read" };
            return format!("no manifest of cargo, npm, go or python{which}{unreadable}");
        }
        let parts =
            self.ecosystems.iter().map(|(name, one)| format!("{name} {} ({} locked)", one.direct, one.total));
        let unpinned = self.unpinned.iter().map(|one| format!("{} in {}", one.name, one.manifest));
        format!(
            "{}: {}; unpinned: {}{unreadable}",
            text::count(self.direct as u64, "direct dependency"),
            text::list(parts, 4),
            text::list(unpinned, 4),
        )
    }

    fn importance(&self) -> f64 {
        if self.unpinned_count > 0 { 0.7 } else { 0.5 }
    }
}

#[cfg(test)]
mod tests {
    use crate::skills::repo;
    use crate::skills::repo::fixture::Fixture;

    #[test]
    fn lock_file_above_pins_a_manifest_and_its_absence_does_not() {
        let fixture = Fixture::new()
            .file("Cargo.lock", "[[package]]\nname = \"serde\"\nsource = \"registry\"\n")
            .file("libs/a/Cargo.toml", "[dependencies]\nserde = \"1\"\nany = \"*\"\n")
            .file("web/package.json", r#"{"dependencies":{"left-pad":"^1.0.0"}}"#);
        let data = repo::dependencies::run(&fixture.request("{}")).unwrap().data;
        assert_eq!(
            (&data["direct"], &data["total"], &data["unpinned_count"]),
            (&3.into(), &1.into(), &2.into())
        );
        let names: Vec<_> = data["unpinned"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["any", "left-pad"]);
    }

    #[test]
    fn credentials_of_a_requirement_are_nowhere_in_the_finding() {
        let token = format!("gh{}{}", "p_", "q8Zr2Lw9Xc4Vb7Nm3Ka6Js5Hd1GfTyUiOpEW");
        let fixture = Fixture::new()
            .file(
                "Cargo.toml",
                format!("[dependencies]\nx = {{ git = \"https://me:{token}@github.com/x/y\" }}\n"),
            )
            .file("requirements.txt", format!("x @ git+https://{token}@github.com/x/y\n"))
            .file(
                "package.json",
                format!(r#"{{"dependencies":{{"x":"git+https://x:hunter2@github.com/x/y#{token}"}}}}"#),
            );
        let outcome = repo::dependencies::run(&fixture.request("{}")).unwrap();
        assert_eq!(outcome.data["unpinned_count"], 3, "{}", outcome.data);
        let told = format!("{}{}", outcome.summary, outcome.data);
        assert!(!told.contains(&token[..12]) && !told.contains("hunter2"), "{told}");
        assert!(told.contains("https://…@github.com/x/y"), "{told}");
    }

    #[test]
    fn however_many_manifests_there_are_few_are_named_and_all_are_counted() {
        let many = (0..60).fold(Fixture::new(), |fixture, number| {
            let fixture = fixture
                .file(&format!("a{number}/package.json"), "{}")
                .file(&format!("a{number}/yarn.lock"), "");
            fixture.file(&format!("b{number}/Cargo.toml"), "[")
        });
        let data = repo::dependencies::run(&many.request("{}")).unwrap().data;
        let npm = &data["ecosystems"]["npm"];
        for (named, count) in
            [(&npm["manifests"], &npm["manifest_count"]), (&npm["locks"], &npm["lock_count"])]
        {
            assert_eq!((named.as_array().unwrap().len(), count), (50, &60.into()));
        }
        assert_eq!(
            (data["unreadable"].as_object().unwrap().len(), &data["unreadable_count"]),
            (50, &60.into())
        );
    }

    #[test]
    fn manifest_that_cannot_be_read_is_named() {
        let fixture = Fixture::new().file("Cargo.toml", "[dependencies\n");
        let outcome = repo::dependencies::run(&fixture.request("{}")).unwrap();
        assert!(outcome.data["unreadable"]["Cargo.toml"].is_string(), "{}", outcome.data);
        let told = "no manifest of cargo, npm, go or python could be read; unreadable: Cargo.toml";
        assert_eq!(outcome.summary, told);
        let outcome = repo::dependencies::run(&fixture.file("a/package.json", "{}").request("{}")).unwrap();
        assert!(outcome.summary.ends_with("unpinned: none; unreadable: Cargo.toml"), "{}", outcome.summary);
    }
}
