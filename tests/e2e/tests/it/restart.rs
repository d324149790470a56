//! The supervisor starts again what dies, also when that fails at first.

use std::fs;
use std::process::Command;
use std::time::Duration;

use nova_testkit::{Nova, eventually};

#[test]
fn a_daemon_that_could_not_be_started_again_is_tried_until_it_can() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    let config = nova.home().join("daemons/queue/config.toml");
    fs::remove_file(&config).unwrap();
    fs::create_dir(&config).unwrap();
    kill(nova.pid_of("queue"));
    eventually("the supervisor says what is wrong", Duration::from_secs(60), || {
        let log = fs::read_to_string(nova.home().join("logs/supervisor.log")).ok()?;
        log.contains("cannot be run").then_some(())
    });
    fs::remove_dir(&config).unwrap();
    eventually("the queue is back", Duration::from_secs(60), || {
        (nova.run(&["queue", "ls"]).code == 0).then_some(())
    });
}

#[test]
fn a_collector_that_never_answers_does_not_slow_a_mesh_down() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nova = Nova::new();
    nova.run(&["up", "--otlp", &format!("http://{}", silent.local_addr().unwrap())]).ok();
    nova.run(&["queue", "enqueue", "mail", "send", "--payload", "hello"]).ok();
    nova.run(&["down"]).ok();
}

fn kill(pid: u32) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill is there");
    assert!(status.success());
}
