//! Certificates rotate while work goes on.

use std::time::Duration;

use nova_testkit::{Nova, eventually};

use crate::metrics::scrape;
use crate::run::orchestrated;

/// Short enough for every process of a run to get several certificates.
const LIFE: &str = "4";
const DAEMONS: [&str; 5] = ["identity", "policy", "queue", "node", "lifecycle"];

#[test]
fn a_run_goes_on_while_every_certificate_rotates() {
    let nova = Nova::new();
    let mut up = nova.command(&["up"]);
    up.env("NOVA_IDENTITY__CERTIFICATE_SECONDS", LIFE);
    assert!(up.output().unwrap().status.success());
    let pids = DAEMONS.map(|daemon| nova.pid_of(daemon));
    let first = DAEMONS.map(|daemon| not_after(&nova, daemon).expect("it has a certificate"));
    orchestrated(&nova, &[]);
    for (daemon, first) in DAEMONS.into_iter().zip(first) {
        eventually(&format!("{daemon} has another certificate"), Duration::from_secs(60), || {
            not_after(&nova, daemon).filter(|end| *end > first)
        });
    }
    orchestrated(&nova, &[]);
    assert_eq!(pids, DAEMONS.map(|daemon| nova.pid_of(daemon)), "no daemon died of it");
}

/// When a daemon's certificate ends, seconds since the epoch.
fn not_after(nova: &Nova, daemon: &str) -> Option<f64> {
    let page = scrape(nova, daemon);
    let line = page.lines().find(|line| line.starts_with("nova_tls_certificate_not_after_seconds"))?;
    line.rsplit_once(' ')?.1.parse().ok()
}
