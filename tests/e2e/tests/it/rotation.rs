//! Certificates rotate while work goes on.

use std::time::Duration;

use nova_testkit::{Nova, eventually};

use crate::run::orchestrated;

/// Short enough for every process of a run to get several certificates.
const LIFE: &str = "4";

#[test]
fn a_run_goes_on_while_every_certificate_rotates() {
    let nova = Nova::new();
    let mut up = nova.command(&["up"]);
    up.env("NOVA_IDENTITY__CERTIFICATE_SECONDS", LIFE);
    assert!(up.output().unwrap().status.success());
    for _ in 0..2 {
        orchestrated(&nova, &[]);
    }
    let daemons = ["identity", "policy", "queue", "node", "lifecycle"];
    let before = daemons.map(|daemon| nova.pid_of(daemon));
    eventually("every daemon has renewed its certificate", Duration::from_secs(60), || {
        let traces = nova.run(&["--json", "status"]).json();
        traces["daemons"].as_array()?.iter().all(|daemon| daemon["ready"] == true).then_some(())
    });
    assert_eq!(before, daemons.map(|daemon| nova.pid_of(daemon)), "no daemon died of it");
}
