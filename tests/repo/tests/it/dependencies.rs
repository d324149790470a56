//! Who may depend on whom: proto ← types ← rpc ← {client, storage} ← authz ← {runtime, worker} ← services ← nova.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use nova_repo::files;
use serde_json::Value;

const RPC: &[&str] = &["nova-proto", "nova-types", "nova-rpc"];
const CLIENT: &[&str] = &["nova-proto", "nova-types", "nova-rpc", "nova-client"];
const RUNTIME: &[&str] =
    &["nova-proto", "nova-types", "nova-rpc", "nova-client", "nova-storage", "nova-authz"];
const SERVICE: &[&str] = &[
    "nova-proto",
    "nova-types",
    "nova-rpc",
    "nova-client",
    "nova-storage",
    "nova-authz",
    "nova-runtime",
    "nova-worker",
];

/// What a library may depend on. A service may depend on libraries; `nova` also on services.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("nova-proto", &[]),
    ("nova-types", &["nova-proto"]),
    ("nova-rpc", &["nova-proto", "nova-types"]),
    ("nova-client", RPC),
    ("nova-storage", RPC),
    ("nova-authz", CLIENT),
    ("nova-runtime", RUNTIME),
    ("nova-worker", CLIENT),
    ("nova-testkit", SERVICE),
];

/// Libraries whose own tests run against a real daemon, and which.
const TESTED_AGAINST: &[(&str, &str)] = &[("nova-worker", "nova-queue")];

/// Crates that may use SQLite: those with a store of their own beside the key-value store.
const SQL: &[&str] = &["nova-storage", "nova-queue", "nova-identity", "nova"];
/// Crates that may not see gRPC at all.
const NO_GRPC: &[&str] = &["nova-types", "nova-storage"];

/// A crate of the workspace and what it depends on: name and kind (`normal`, `dev`, `build`).
struct Package {
    name: String,
    folder: String,
    dependencies: BTreeSet<(String, String)>,
}

impl Package {
    fn depends_on(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.dependencies.iter().filter(move |(_, found)| found == kind).map(|(name, _)| name.as_str())
    }

    fn ours(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.depends_on(kind).filter(|name| name.starts_with("nova"))
    }

    fn is_service(&self) -> bool {
        self.folder.starts_with("services/") && self.name != "nova"
    }

    fn is_test(&self) -> bool {
        self.folder.starts_with("tests/")
    }
}

fn packages() -> Vec<Package> {
    let root = files::root();
    let mut cargo = Command::new(env!("CARGO"));
    let output =
        cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(&root);
    let output = output.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let package = |package: &Value| {
        let manifest = package["manifest_path"].as_str().unwrap();
        let folder = manifest.strip_prefix(root.to_str().unwrap()).unwrap().trim_start_matches('/');
        Package {
            name: package["name"].as_str().unwrap().to_owned(),
            folder: folder.to_owned(),
            dependencies: package["dependencies"].as_array().unwrap().iter().map(dependency).collect(),
        }
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

fn dependency(dependency: &Value) -> (String, String) {
    let kind = dependency["kind"].as_str().unwrap_or("normal");
    (dependency["name"].as_str().unwrap().to_owned(), kind.to_owned())
}

#[test]
fn a_library_depends_only_on_those_below_it() {
    let allowed: BTreeMap<&str, &[&str]> = LIBRARIES.iter().copied().collect();
    for package in packages().iter().filter(|package| package.folder.starts_with("libs/")) {
        let Some(allowed) = allowed.get(package.name.as_str()) else {
            panic!("{} has no place yet: give it one here", package.name)
        };
        let bad: Vec<_> = package.ours("normal").filter(|name| !allowed.contains(name)).collect();
        assert!(bad.is_empty(), "{} must not depend on {bad:?}", package.name);
    }
}

#[test]
fn no_service_depends_on_another() {
    for package in packages().iter().filter(|package| package.is_service()) {
        let bad: Vec<_> = package.ours("normal").filter(|name| !SERVICE.contains(name)).collect();
        assert!(bad.is_empty(), "{} must not depend on {bad:?}: call it through nova-client", package.name);
    }
}

#[test]
fn only_nova_links_the_services() {
    let packages = packages();
    let services: BTreeSet<_> = packages.iter().filter(|p| p.is_service()).map(|p| p.name.as_str()).collect();
    for package in packages.iter().filter(|package| package.name != "nova" && !package.is_test()) {
        let kinds = ["normal", "build", "dev"];
        let all = kinds.iter().flat_map(|kind| package.ours(kind).map(move |name| (*kind, name)));
        let bad: Vec<_> = all
            .filter(|(_, name)| services.contains(name) && *name != package.name)
            .filter(|(kind, name)| *kind != "dev" || !TESTED_AGAINST.contains(&(&package.name, name)))
            .collect();
        assert!(bad.is_empty(), "{} must not link {bad:?}", package.name);
    }
}

#[test]
fn the_test_kit_is_for_tests_alone() {
    for package in packages().iter().filter(|package| !package.is_test()) {
        assert!(
            !package.ours("normal").any(|name| name == "nova-testkit"),
            "{} may have nova-testkit as a dev-dependency only",
            package.name
        );
    }
}

#[test]
fn only_who_has_a_store_sees_sql() {
    for package in
        packages().iter().filter(|package| package.depends_on("normal").any(|name| name == "rusqlite"))
    {
        assert!(SQL.contains(&package.name.as_str()), "{} must not use rusqlite", package.name);
    }
}

#[test]
fn values_and_stores_know_no_grpc() {
    for package in packages().iter().filter(|package| NO_GRPC.contains(&package.name.as_str())) {
        assert!(!package.depends_on("normal").any(|name| name.starts_with("tonic")), "{}", package.name);
    }
}

#[test]
fn domain_code_knows_neither_grpc_nor_sql() {
    for file in files::with_extension("rs").iter().filter(|file| is_domain(file)) {
        let code = nova_repo::rust::without_tests(&nova_repo::rust::code(&file.text));
        for word in ["tonic::", "tonic_types::", "rusqlite::"] {
            assert!(
                !code.contains(word) || EXCEPTIONS.contains(&(file.path.as_str(), word)),
                "{} uses {word}: it belongs into service/, error.rs or store/",
                file.path
            );
        }
    }
}

/// Files of services that know a protocol though they are neither its service nor its store. May only shrink.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// Sources of services outside the places that speak gRPC or SQL. Command line and runner are clients.
fn is_domain(file: &files::File) -> bool {
    let edges = ["/service/", "/store/", "/ledger/", "/src/lib.rs", "/src/main.rs", "/src/error.rs"];
    file.is_in(&["services/"])
        && !file.is_in(&["services/nova/", "services/runner/"])
        && file.is_source()
        && !edges.iter().any(|edge| file.path.contains(edge))
}
