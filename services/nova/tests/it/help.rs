//! What `--help` prints: for the whole, and for each command with its own commands.

use std::fmt::Write as _;

use crate::harness::Nova;

/// Commands, each with the commands below it.
const COMMANDS: [(&str, &[&str]); 13] = [
    ("up", &[]),
    ("down", &[]),
    ("status", &[]),
    ("orchestrate", &[]),
    ("agents", &["ls", "show", "history", "set-state"]),
    (
        "queue",
        &[
            "ls",
            "tasks",
            "show",
            "watch",
            "enqueue",
            "cancel",
            "redrive",
            "purge",
            "stats",
            "config",
            "pause",
            "drain",
            "resume",
            "rm",
            "schedules",
            "schedules ls",
            "schedules show",
            "schedules put",
            "schedules pause",
            "schedules resume",
            "schedules delete",
            "workers",
        ],
    ),
    ("workflow", &["ls", "show", "check", "watch", "cancel", "report"]),
    ("memory", &["put", "get", "search"]),
    ("policy", &["status", "ls", "show", "put", "delete", "check", "decisions", "explain"]),
    ("identity", &["ls", "show", "token", "bundle"]),
    ("node", &["show", "telemetry", "ps", "logs"]),
    ("trace", &[]),
    ("completions", &[]),
];

fn help(command: &str) -> String {
    let ended = Nova::new().run(&format!("{command} --help"));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout
}

#[test]
fn the_whole_has_a_help_that_names_every_command() {
    let whole = help("");
    for (command, _) in COMMANDS {
        assert!(whole.contains(&format!("\n  {command} ")), "{command} is not named");
    }
    insta::assert_snapshot!("nova", whole);
}

#[test]
fn each_command_has_a_help() {
    for (command, below) in COMMANDS {
        let mut text = help(command);
        for each in below {
            write!(text, "\n──── {command} {each}\n\n{}", help(&format!("{command} {each}"))).unwrap();
        }
        insta::assert_snapshot!(command, text);
    }
}

#[test]
fn internal_commands_are_not_shown() {
    let whole = help("");
    for internal in ["serve", "supervise"] {
        assert!(!whole.contains(&format!("\n  {internal}")), "{internal} is shown");
    }
}
