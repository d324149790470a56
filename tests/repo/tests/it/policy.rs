//! Every RPC has a rule in the default policy, and a test that is denied without it.

use std::collections::BTreeSet;

use nova_repo::contracts;
use nova_repo::files;

/// RPCs that any identity may call, so that nobody with one is denied. May only shrink.
const OPEN_TO_EVERY_IDENTITY: &[&str] = &["nova.identity.v1.IdentityService/GetBundle"];

/// Entries of the policy that are no RPCs of ours.
const STANDARD: &[&str] = &["grpc.reflection."];

fn names() -> BTreeSet<String> {
    contracts::rpcs().into_iter().map(|rpc| rpc.name).collect()
}

/// The quoted methods of the policy's table: the lines `"package.Service/Method": {…}`.
fn permitted() -> BTreeSet<String> {
    let policy = files::file("deploy/policies/authz.rego").text;
    let table = policy.split_once("permitted := {").expect("the policy has a table").1;
    let entries = table.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\": {"));
    entries.map(|(method, _)| method.to_owned()).collect()
}

#[test]
fn each_rpc_has_a_policy_rule() {
    let permitted = permitted();
    let missing: Vec<_> = names().into_iter().filter(|name| !permitted.contains(name)).collect();
    assert!(missing.is_empty(), "only an administrator may call {missing:#?}: add them to the table");
}

#[test]
fn no_policy_rule_is_for_an_rpc_that_does_not_exist() {
    let names = names();
    let ours = |method: &String| !STANDARD.iter().any(|standard| method.starts_with(standard));
    let unknown: Vec<_> = permitted().into_iter().filter(ours).filter(|name| !names.contains(name)).collect();
    assert!(unknown.is_empty(), "no RPC is named {unknown:#?}");
}

/// The test calls every RPC that the descriptors name, but for the exceptions in its own text.
#[test]
fn the_exceptions_of_the_denied_test_only_shrink() {
    let test = files::file("tests/e2e/tests/it/denied.rs").text;
    assert!(test.contains("contracts::rpcs()"), "the test must go over every RPC of the descriptors");
    let list = test.split_once("OPEN_TO_EVERY_IDENTITY: &[&str] = &[").expect("the test has a list").1;
    let list = list.split_once("];").expect("which ends").0;
    let exceptions: Vec<_> = list.split('"').skip(1).step_by(2).collect();
    let grown: Vec<_> = exceptions.iter().filter(|name| !OPEN_TO_EVERY_IDENTITY.contains(name)).collect();
    assert!(grown.is_empty(), "{grown:?} must be denied to somebody");
    let names = names();
    assert!(exceptions.iter().all(|name| names.contains(*name)), "{exceptions:?}");
}
