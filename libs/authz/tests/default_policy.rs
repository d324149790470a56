//! The default policies: their own tests pass, and they know every method of the mesh.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeSet;
use std::time::Duration;

use nova_authz::{Asked, Engine, Module, Snapshot, verify};
use nova_rpc::Credential;
use prost::Message as _;
use prost_types::FileDescriptorSet;

const AUTHZ: &str = include_str!("../../../deploy/policies/authz.rego");
const TESTS: &str = include_str!("../../../deploy/policies/authz_test.rego");
const DATA: &str = include_str!("../../../deploy/policies/data.json");

fn default_policy() -> Snapshot {
    let module = |id: &str, rego: &str| Module { id: id.to_owned(), rego: rego.to_owned() };
    Snapshot::new(vec![module("authz.rego", AUTHZ), module("authz_test.rego", TESTS)], DATA).unwrap()
}

fn engine() -> Engine {
    Engine::new(default_policy(), Duration::from_secs(5), 1_000).unwrap()
}

fn asked(subject: &str, roles: &[&str], method: &str) -> Asked {
    Asked {
        subject: subject.to_owned(),
        roles: roles.iter().map(ToString::to_string).collect(),
        credential: Credential::Certificate,
        service: "queue".to_owned(),
        method: method.to_owned(),
    }
}

fn methods_of_the_mesh() -> BTreeSet<String> {
    let descriptors = FileDescriptorSet::decode(nova_proto::DESCRIPTORS).unwrap();
    let mut methods = BTreeSet::new();
    for file in &descriptors.file {
        for service in &file.service {
            for method in &service.method {
                methods.insert(format!("{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    methods
}

fn methods_in_the_table() -> BTreeSet<String> {
    let keys = AUTHZ.lines().filter_map(|line| line.strip_prefix("\t\"nova.")?.split_once("\":"));
    keys.map(|(method, _roles)| format!("nova.{method}")).collect()
}

#[test]
fn its_own_tests_pass() {
    assert_eq!(verify(&default_policy()), Ok(17));
}

#[test]
fn it_has_a_rule_for_every_method_and_for_no_other() {
    assert_eq!(methods_in_the_table(), methods_of_the_mesh());
}

#[test]
fn a_denial_names_who_and_what_and_the_way_out() {
    let answer = engine().evaluate(&asked(
        "spiffe://nova.local/agent/orion",
        &["agent"],
        "nova.queue.v1.QueueService/Enqueue",
    ));
    assert!(!answer.allow && answer.fault.is_none());
    assert!(answer.why.contains("spiffe://nova.local/agent/orion"), "{}", answer.why);
    assert_eq!(
        &*answer.remedy,
        "it would be allowed with one of the roles: developer, lifecycle, operator, worker"
    );
}

#[test]
fn the_operator_is_bound_by_data_when_it_shows_its_certificate() {
    let method = "nova.policy.v1.PolicyService/PutPolicy";
    let engine = engine();
    let certified = asked("spiffe://nova.local/user/operator", &[], method);
    let by_token = Asked { credential: Credential::Token, ..certified.clone() };
    assert!(engine.decide(&certified).0.allow);
    assert!(!engine.decide(&by_token).0.allow, "what is remembered of one does not hold for the other");
}

#[test]
fn nobody_else_is_bound() {
    let method = "nova.policy.v1.PolicyService/PutPolicy";
    assert!(!engine().evaluate(&asked("spiffe://nova.local/user/eve", &[], method)).allow);
}
