//! Every RPC and every field is explained.

use nova_repo::contracts::{self, Documented};

#[test]
fn each_rpc_has_a_comment() {
    assert_documented(&contracts::rpcs());
}

#[test]
fn each_field_has_a_comment() {
    assert_documented(&contracts::fields());
}

#[track_caller]
fn assert_documented(things: &[Documented]) {
    assert!(things.len() > 40, "only {} were found", things.len());
    let bare: Vec<_> =
        things.iter().filter(|thing| thing.comment.is_empty()).map(|thing| &thing.name).collect();
    assert!(bare.is_empty(), "without a comment: {bare:#?}");
}
