//! Bad input gets the right code, the reason, and the path of the field, for every RPC; nothing is half done.
//!
//! [`CASES`] holds what each service refuses for reasons of its own. Rules that hold wherever a field of that
//! name stands (namespaces, pages, ids, durations, enums) are checked on every request that has one.

mod everywhere;
mod identity;
mod lifecycle;
mod node;
mod policy;
mod queue;

use std::collections::BTreeSet;

use bytes::Bytes;
use nova_client::Mesh;
use nova_e2e::callers::Callers;
use nova_e2e::contracts::{self, Rpc};
use nova_e2e::raw;
use prost::Message;
use prost_types::FieldDescriptorProto;
use prost_types::field_descriptor_proto::Label;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// An id of the right form that nothing has.
const UNKNOWN: &str = "0198c0de-0000-7000-8000-000000000000";

/// A request, and how it is refused.
#[derive(Clone, Debug)]
struct Case {
    rpc: String,
    /// What is wrong with it.
    what: String,
    body: Vec<u8>,
    code: Code,
    reason: &'static str,
    /// The field that is named; empty for none.
    field: String,
}

/// A request that breaks the rule of a field.
fn bad(rpc: &str, what: &str, request: &impl Message, field: &str) -> Case {
    let fails = fails(rpc, what, request, Code::InvalidArgument, "INVALID_ARGUMENT");
    Case { field: field.to_owned(), ..fails }
}

/// A request for what is not there.
fn unknown(rpc: &str, request: &impl Message) -> Case {
    fails(rpc, "an unknown id", request, Code::NotFound, "NOT_FOUND")
}

/// A good request that cannot be done.
fn fails(rpc: &str, what: &str, request: &impl Message, code: Code, reason: &'static str) -> Case {
    let (rpc, what) = (rpc.to_owned(), what.to_owned());
    Case { rpc, what, body: request.encode_to_vec(), code, reason, field: String::new() }
}

fn own_cases() -> Vec<Case> {
    [queue::cases(), lifecycle::cases(), identity::cases(), node::cases(), policy::cases()].concat()
}

#[test]
fn every_rpc_refuses_bad_input_and_names_the_field() {
    let callers = Callers::of_a_new_mesh();
    let (mesh, rpcs, pids) = (callers.everybody(), contracts::rpcs(), callers.pids());
    let mut wrong = Vec::new();
    for case in own_cases().into_iter().chain(everywhere::cases(&rpcs)) {
        let rpc = rpcs.iter().find(|rpc| rpc.name == case.rpc).unwrap_or_else(|| panic!("no {}", case.rpc));
        let answer = callers.block_on(call(&mesh, rpc, &case.body));
        wrong.extend(difference(&case, answer).map(|said| format!("{}: {}: {said}", case.rpc, case.what)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    callers.assert_unharmed(&pids);
}

#[test]
fn every_rpc_with_fields_has_a_case_of_its_own() {
    let covered: BTreeSet<String> = own_cases().into_iter().map(|case| case.rpc).collect();
    let bare = |rpc: &Rpc| everywhere::has_rules_of_its_own(rpc) && !covered.contains(&rpc.name);
    let missing: Vec<_> = contracts::rpcs().into_iter().filter(bare).map(|rpc| rpc.name).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_rpc_that_names_something_that_is_there_has_a_case_where_it_is_not() {
    let absent: BTreeSet<String> =
        own_cases().into_iter().filter(|case| case.code == Code::NotFound).map(|case| case.rpc).collect();
    // What a list is cut down to, and what is registered, need not be there.
    let needs_it =
        |rpc: &Rpc| !["List", "Register"].iter().any(|verb| rpc.name.contains(&format!("/{verb}")));
    let names = |rpc: &Rpc| {
        let singular = rpc.request.field.iter().filter(|field| field.label() != Label::Repeated);
        singular.map(FieldDescriptorProto::name).any(|name| name.ends_with("_id") && name != "request_id")
    };
    let missing: Vec<_> = contracts::rpcs()
        .into_iter()
        .filter(|rpc| needs_it(rpc) && names(rpc) && !absent.contains(&rpc.name))
        .map(|rpc| rpc.name)
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn an_empty_request_is_answered_or_refused_by_a_field() {
    let callers = Callers::of_a_new_mesh();
    let (mesh, pids) = (callers.everybody(), callers.pids());
    let mut wrong = Vec::new();
    for rpc in contracts::rpcs() {
        let Err(status) = callers.block_on(call(&mesh, &rpc, &[])) else { continue };
        let named = status.get_details_bad_request().is_some_and(|bad| !bad.field_violations.is_empty());
        // Who calls is looked at before what is said.
        let right = status.code() == Code::InvalidArgument && named || status.code() == Code::Unauthenticated;
        if !right {
            wrong.push(format!("{}: {status:?}", rpc.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    callers.assert_unharmed(&pids);
}

async fn call(mesh: &Mesh, rpc: &Rpc, body: &[u8]) -> Result<Option<Bytes>, Status> {
    let channel = mesh.channel(rpc.daemon).expect("a daemon of the mesh");
    raw::call(channel, &rpc.name, vec![Bytes::copy_from_slice(body)]).await
}

/// What is wrong with the answer; none when it is the right one.
fn difference(case: &Case, answer: Result<Option<Bytes>, Status>) -> Option<String> {
    let Err(status) = answer else { return Some("it was not refused".to_owned()) };
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    if (status.code(), reason.as_str()) != (case.code, case.reason) {
        let wanted = format!("{:?} {}", case.code, case.reason);
        return Some(format!("wanted {wanted}, was {:?} {reason}: {}", status.code(), status.message()));
    }
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    let fields: Vec<_> = violations.into_iter().map(|violation| violation.field).collect();
    let named = case.field.is_empty() || fields.contains(&case.field);
    (!named).then(|| format!("wanted the field {}, was {fields:?}", case.field))
}
