//! The first revision: what `deploy/policies` holds, built into the daemon.

use nova_authz::{Module, Snapshot};

const AUTHZ: &str = include_str!("../../../deploy/policies/authz.rego");
const AUTHZ_TEST: &str = include_str!("../../../deploy/policies/authz_test.rego");
const DATA: &str = include_str!("../../../deploy/policies/data.json");

/// The revision that is active until somebody changes it.
pub(crate) fn default_policy() -> Snapshot {
    let module = |id: &str, rego: &str| Module { id: id.to_owned(), rego: rego.to_owned() };
    let modules = vec![module("authz.rego", AUTHZ), module("authz_test.rego", AUTHZ_TEST)];
    Snapshot::new(modules, DATA).expect("the tests of this crate load it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_revision_passes_its_own_tests() {
        assert!(nova_authz::verify(&default_policy()).is_ok_and(|passed| passed > 10));
    }
}
