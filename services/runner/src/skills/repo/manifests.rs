//! What the manifests of package managers say: Cargo, npm, Go, Python.
//!
//! A requirement is unpinned when another machine may resolve it differently: it is no exact
//! version and no lock file fixes it, or it asks for anything at all.

use serde_json::Value;
use toml::Table;

/// What a manifest asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Requirement {
    pub(super) name: String,
    /// As it is written; empty when any version will do.
    pub(super) version: String,
    /// True when it names one exact version or revision.
    pub(super) exact: bool,
}

impl Requirement {
    fn new(name: &str, version: &str, exact: bool) -> Self {
        Self { name: name.to_owned(), version: version.to_owned(), exact }
    }

    /// True when it names no version at all.
    pub(super) fn is_wildcard(&self) -> bool {
        matches!(self.version.as_str(), "" | "*" | "latest" | "x")
    }
}

/// Package managers that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ecosystem {
    Cargo,
    Npm,
    Go,
    Python,
}

impl Ecosystem {
    /// Whose manifest a file is, by its name.
    pub(super) fn of(file_name: &str) -> Option<Self> {
        match file_name {
            "Cargo.toml" => Some(Self::Cargo),
            "package.json" => Some(Self::Npm),
            "go.mod" => Some(Self::Go),
            "pyproject.toml" => Some(Self::Python),
            name if name.starts_with("requirements") && name.ends_with(".txt") => Some(Self::Python),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cargo => "cargo",
            Self::Npm => "npm",
            Self::Go => "go",
            Self::Python => "python",
        }
    }

    /// Names of the lock files, best first.
    pub(super) fn lock_files(self) -> &'static [&'static str] {
        match self {
            Self::Cargo => &["Cargo.lock"],
            Self::Npm => &["package-lock.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock"],
            Self::Go => &["go.sum"],
            Self::Python => &["uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock"],
        }
    }

    /// What a manifest asks for; the error says what is wrong with it.
    pub(super) fn requirements(self, file_name: &str, text: &str) -> Result<Vec<Requirement>, String> {
        match self {
            Self::Cargo => cargo(text),
            Self::Npm => npm(text),
            Self::Go => Ok(go(text)),
            Self::Python if file_name == "pyproject.toml" => pyproject(text),
            Self::Python => Ok(text.lines().filter_map(python).collect()),
        }
    }

    /// How many packages a lock file holds, where it can be counted.
    pub(super) fn locked(self, lock_file: &str, text: &str) -> Option<usize> {
        match lock_file {
            "package-lock.json" => {
                let lock: Value = serde_json::from_str(text).ok()?;
                let packages = lock.get("packages")?.as_object()?;
                Some(packages.keys().filter(|path| path.contains("node_modules/")).count())
            }
            "go.sum" => Some(text.lines().filter(|line| !line.contains("/go.mod ")).count()),
            "Cargo.lock" => {
                Some(text.split("[[package]]").skip(1).filter(|one| one.contains("\nsource = ")).count())
            }
            "uv.lock" | "poetry.lock" | "pdm.lock" => Some(text.matches("[[package]]").count()),
            "yarn.lock" => {
                Some(text.lines().filter(|line| line.trim_start().starts_with("resolved ")).count())
            }
            _ => None,
        }
    }
}

fn table(text: &str) -> Result<Table, String> {
    text.parse::<Table>().map_err(|error| error.message().to_owned())
}

/// Reads all dependency tables of a Cargo manifest; those by path are the repository's own.
fn cargo(text: &str) -> Result<Vec<Requirement>, String> {
    let manifest = table(text)?;
    let mut found = Vec::new();
    cargo_tables(&manifest, &mut found);
    if let Some(workspace) = manifest.get("workspace").and_then(toml::Value::as_table) {
        cargo_tables(workspace, &mut found);
    }
    for target in tables(&manifest, "target") {
        cargo_tables(target, &mut found);
    }
    Ok(found)
}

fn tables<'a>(manifest: &'a Table, key: &str) -> impl Iterator<Item = &'a Table> {
    let table = manifest.get(key).and_then(toml::Value::as_table);
    table.into_iter().flat_map(|table| table.values().filter_map(toml::Value::as_table))
}

fn cargo_tables(manifest: &Table, found: &mut Vec<Requirement>) {
    for key in ["dependencies", "dev-dependencies", "build-dependencies"] {
        if let Some(dependencies) = manifest.get(key).and_then(toml::Value::as_table) {
            found.extend(dependencies.iter().filter_map(|(name, value)| crate_of(name, value)));
        }
    }
}

fn crate_of(name: &str, value: &toml::Value) -> Option<Requirement> {
    let text = |key: &str| value.get(key).and_then(toml::Value::as_str);
    if value.get("path").is_some() || value.get("workspace").is_some() {
        return None;
    }
    let name = text("package").unwrap_or(name);
    if let Some(git) = text("git") {
        return Some(Requirement::new(name, git, text("rev").is_some()));
    }
    let version = value.as_str().or(text("version")).unwrap_or_default();
    Some(Requirement::new(name, version, version.starts_with('=')))
}

fn npm(text: &str) -> Result<Vec<Requirement>, String> {
    let manifest: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let keys = ["dependencies", "devDependencies", "optionalDependencies"];
    let sections = keys.into_iter().filter_map(|key| manifest.get(key)?.as_object());
    let packages =
        sections.flat_map(|section| section.iter().filter_map(|(name, value)| Some((name, value.as_str()?))));
    Ok(packages.filter_map(|(name, version)| package(name, version)).collect())
}

fn package(name: &str, version: &str) -> Option<Requirement> {
    let own = ["workspace:", "file:", "link:"].iter().any(|prefix| version.starts_with(prefix));
    let exact =
        version.starts_with(|first: char| first.is_ascii_digit()) && !version.contains([' ', 'x', '*', '|']);
    (!own).then(|| Requirement::new(name, version, exact))
}

/// Reads `require` lines and blocks; Go's versions are exact, indirect ones are not asked for here.
fn go(text: &str) -> Vec<Requirement> {
    let mut block = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        let entry = match line.strip_prefix("require ") {
            Some("(") => {
                block = true;
                continue;
            }
            Some(entry) => Some(entry),
            None => block.then_some(line),
        };
        block &= line != ")";
        let words: Vec<&str> =
            entry.filter(|entry| !entry.ends_with("// indirect")).unwrap_or("").split(' ').collect();
        if let [name, version, ..] = words[..] {
            found.push(Requirement::new(name, version, true));
        }
    }
    found
}

fn pyproject(text: &str) -> Result<Vec<Requirement>, String> {
    let manifest = table(text)?;
    let project = manifest.get("project").and_then(toml::Value::as_table);
    let lists = project.into_iter().flat_map(|project| {
        let extras = tables_of_lists(project.get("optional-dependencies"));
        project.get("dependencies").into_iter().chain(extras)
    });
    let groups = tables_of_lists(manifest.get("dependency-groups"));
    let entries =
        lists.chain(groups).filter_map(toml::Value::as_array).flatten().filter_map(toml::Value::as_str);
    let poetry = manifest.get("tool").and_then(|tool| tool.get("poetry")?.get("dependencies")?.as_table());
    let poetry = poetry
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "python")
        .filter_map(|(name, value)| crate_of(name, value));
    Ok(entries.filter_map(python).chain(poetry).collect())
}

fn tables_of_lists(value: Option<&toml::Value>) -> impl Iterator<Item = &toml::Value> {
    value.and_then(toml::Value::as_table).into_iter().flat_map(Table::values)
}

/// Reads one requirement in the notation of Python's packages; options and comments are none.
fn python(line: &str) -> Option<Requirement> {
    let line = line.split(" #").next().unwrap_or(line).split(';').next().unwrap_or(line).trim();
    if line.is_empty() || line.starts_with(['#', '-', '.', '/']) {
        return None;
    }
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let version = rest.split(']').next_back().unwrap_or(rest).trim();
    Some(Requirement::new(name, version, version.starts_with("==") && !version.contains('*')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(ecosystem: Ecosystem, file: &str, text: &str) -> Vec<String> {
        let found = ecosystem.requirements(file, text).unwrap();
        found
            .iter()
            .map(|one| format!("{}{}{}", one.name, if one.exact { "=" } else { "~" }, one.version))
            .collect()
    }

    #[test]
    fn cargo_manifests_leave_out_what_is_their_own() {
        let text = "[dependencies]\nserde = \"1\"\nours = { path = \"../ours\" }\nshared.workspace = true\n\
            pinned = { git = \"https://example.org/x\", rev = \"abc\" }\n\
            [workspace.dependencies]\nlog = { version = \"=0.4.1\" }\n[target.'cfg(unix)'.dependencies]\nlibc = \"*\"\n";
        let found = names(Ecosystem::Cargo, "Cargo.toml", text);
        assert_eq!(found, ["pinned=https://example.org/x", "serde~1", "log==0.4.1", "libc~*"]);
    }

    #[test]
    fn npm_ranges_are_no_exact_versions() {
        let text = r#"{"dependencies":{"a":"1.2.3","b":"^1.0.0","own":"workspace:*"},"devDependencies":{"c":"latest"}}"#;
        assert_eq!(names(Ecosystem::Npm, "package.json", text), ["a=1.2.3", "b~^1.0.0", "c~latest"]);
    }

    #[test]
    fn go_modules_ask_for_what_is_direct() {
        let text = "module x\n\nrequire one.org/a v1.0.0\nrequire (\n\ttwo.org/b v2.0.0\n\tthree.org/c v3.0.0 // indirect\n)\nreplace two.org/b => ../b\n";
        assert_eq!(names(Ecosystem::Go, "go.mod", text), ["one.org/a=v1.0.0", "two.org/b=v2.0.0"]);
    }

    #[test]
    fn python_requirements_in_both_notations() {
        let text =
            "# tools\n-r other.txt\nflask==3.0.1 # web\nrequests[socks]>=2 ; python_version > '3'\nrich\n";
        assert_eq!(
            names(Ecosystem::Python, "requirements.txt", text),
            ["flask===3.0.1", "requests~>=2", "rich~"]
        );
        let text = "[project]\ndependencies = [\"httpx>=0.27\"]\n[dependency-groups]\ndev = [\"pytest\"]\n";
        assert_eq!(names(Ecosystem::Python, "pyproject.toml", text), ["httpx~>=0.27", "pytest~"]);
    }

    #[test]
    fn locked_packages_are_counted_without_the_repositorys_own() {
        let lock = "[[package]]\nname = \"ours\"\nversion = \"1\"\n\n[[package]]\nname = \"a\"\nsource = \"registry\"\n";
        assert_eq!(Ecosystem::Cargo.locked("Cargo.lock", lock), Some(1));
        assert_eq!(
            Ecosystem::Npm.locked("package-lock.json", r#"{"packages":{"":{},"node_modules/a":{}}}"#),
            Some(1)
        );
    }
}
