//! `nova policy check`, as an operator asks it.

use nova_testkit::Nova;

const PUT_MEMORY: &str = "nova.memory.v1.MemoryService/PutMemory";

#[test]
fn a_question_is_asked_with_the_roles_that_follow_from_the_id() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    let check = ["policy", "check", "--subject", "agent/orion", "--method", PUT_MEMORY];
    nova.run(&check).ok();
    let by_token = nova.run(&[&check[..], &["--token"]].concat());
    assert_eq!(by_token.code, 4, "a token has no roles but those in it: {}", by_token.stdout);
    let in_another_role = nova.run(&[&check[..], &["--role", "nobody"]].concat());
    assert_eq!(
        in_another_role.code, 4,
        "a role that is given is asked for alone: {}",
        in_another_role.stdout
    );
}

#[test]
fn a_module_is_shown_also_without_its_ending() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    let [short, whole] = ["authz", "authz.rego"].map(|module| nova.run(&["policy", "show", module]).ok());
    assert_eq!(short, whole);
    assert_eq!(nova.run(&["policy", "show", "nothing"]).code, 5);
}
