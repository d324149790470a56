//! What makes no sense is refused before any mesh is looked for.

use serde_json::Value;

use crate::harness::Nova;

/// Wrong usage: exit code 2, and standard error says what would be right.
#[track_caller]
fn check_usage(args: &str, told: &str) {
    let ended = Nova::new().run(args);
    assert_eq!(ended.code, 2, "{args}: {}", ended.stderr);
    assert!(ended.stderr.contains(told), "{args}: {}", ended.stderr);
}

/// A command that fails, with its exit code and what it says.
#[track_caller]
fn check_failure(nova: &Nova, args: &str, code: i32, told: &str) {
    let ended = nova.run(args);
    assert_eq!(ended.code, code, "{args}: {}", ended.stderr);
    assert!(ended.stderr.contains(told), "{args}: {}", ended.stderr);
}

#[test]
fn a_value_that_is_none_of_the_possible_ones_is_refused_with_them() {
    check_usage("agents ls --state asleep", "[possible values: registered, starting, idle");
    check_usage("queue tasks --state gone", "[possible values: waiting, ready, leased");
    check_usage("memory put hello --kind vague", "[possible values: sensory, working");
    check_usage("identity token worker/a --role king", "[possible values: operator, developer");
    check_usage("completions tcl", "[possible values: bash");
}

#[test]
fn a_number_out_of_range_is_refused() {
    check_usage("queue enqueue q k --priority 10", "10 is not in 0..=9");
    check_usage("queue enqueue q k --max-attempts 0", "0 is not in 1..=100");
    check_usage("queue enqueue q k --backoff-factor 11", "must be a number from 1 to 10");
    check_usage("queue tasks --limit 0", "0 is not in 1..=1000000");
    check_usage("node logs p --tail 10001", "10001 is not in 1..=10000");
}

#[test]
fn a_length_of_time_needs_its_unit() {
    check_usage("queue enqueue q k --delay 5", "must be a length of time such as 500ms, 5s, 1h30m or 7d");
    check_usage("identity token worker/a --role worker --ttl=-1s", "must be a length of time");
}

#[test]
fn a_store_and_a_collector_are_refused_before_anything_starts() {
    for command in ["up", "orchestrate plan.yaml"] {
        check_usage(&format!("{command} --store postgres://localhost"), "must be sqlite or a Redis");
        check_usage(&format!("{command} --store redis-sentinel://a"), "must name the service");
        check_usage(
            &format!("{command} --otlp localhost:4317"),
            "must be http://host:port or https://host:port",
        );
    }
}

#[test]
fn a_plan_that_is_wrong_is_refused_before_a_mesh_is_brought_up() {
    let nova = Nova::new();
    nova.write("plan.yaml", b"apiVersion: nova/v1\nkind: Plan\nmetadata: {name: p}\nspec:\n  phases: 7\n");
    check_failure(&nova, "orchestrate plan.yaml", 2, "plan.yaml:5");
}

#[test]
fn a_pair_needs_its_equals_sign() {
    check_usage("orchestrate plan.yaml --input repo", "must be key=value");
    check_usage("queue enqueue q k --metadata =v", "must be key=value");
}

#[test]
fn what_is_required_is_asked_for() {
    check_usage("memory put hello", "--kind");
    check_usage("identity token worker/a", "--role");
    check_usage("node telemetry --interval 1s", "--watch");
    check_usage("orchestrate plan.yaml --detach --report r.md", "cannot be used with");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let nova = Nova::new();
    nova.write("plan.yaml", b"kind: Plan");
    nova.write("list.json", b"[]");
    nova.write("broken.json", b"{");
    nova.write("latin1.yaml", &[0xe4]);
    check_failure(&nova, "orchestrate missing.yaml", 2, "cannot read missing.yaml");
    check_failure(&nova, "orchestrate latin1.yaml", 2, "latin1.yaml is no UTF-8 text");
    check_failure(&nova, "orchestrate plan.yaml --input-file list.json", 2, "must hold a JSON object");
    check_failure(&nova, "orchestrate plan.yaml --input-file broken.json", 2, "broken.json is no JSON");
    check_failure(&nova, "orchestrate plan.yaml --input a=1 --input a=2", 2, "\"a\" is given twice");
    check_failure(&nova, "policy put missing.rego", 2, "cannot read missing.rego");
    check_failure(&nova, "queue enqueue q k --payload @missing", 2, "cannot read missing");
}

#[test]
fn a_usage_names_what_is_missing_and_no_more() {
    check_usage("queue enqueue", "Usage: nova queue enqueue <QUEUE> <KIND>");
}

#[test]
fn a_command_on_many_tasks_says_that_a_queue_may_be_named_instead() {
    for command in ["cancel", "redrive", "purge"] {
        check_usage(&format!("queue {command}"), "<TASK|--queue <QUEUE>>");
    }
}

#[test]
fn what_tasks_are_like_goes_with_their_queue() {
    let task = "01999999-9999-7999-8999-999999999999";
    for (command, option) in
        [("cancel", "--kind send"), ("redrive", "--error E"), ("purge", "--older-than 1h")]
    {
        check_usage(&format!("queue {command} {task} {option}"), "cannot be used with");
    }
    check_usage(&format!("queue purge {task} --state dead"), "cannot be used with");
    check_usage("queue purge --queue mail", "--state <STATE>");
}

#[test]
fn what_says_nothing_is_not_taken_for_something() {
    check_usage("queue enqueue q k --request-id=", "a value is required for '--request-id <ID>'");
    check_usage("queue enqueue q k --unique-key=", "a value is required for '--unique-key <KEY>'");
    // A variable that is not set would choose everything.
    check_usage("queue cancel --queue q --kind=", "a value is required for '--kind <KIND>'");
    check_usage("queue redrive --queue q --error=", "a value is required for '--error <REASON>'");
    check_usage("queue tasks --queue=", "a value is required for '--queue <QUEUE>'");
    check_usage("queue watch --cursor=", "a value is required for '--cursor <CURSOR>'");
}

#[test]
fn an_option_that_needs_another_says_so() {
    check_usage("queue enqueue q k --unique-for 1h", "--unique-key <KEY>");
    check_usage("queue enqueue q k --run-after-failure", "--after <TASK>");
    check_usage("queue config mail --burst 5", "--rate <N/TIME>");
    check_usage("queue config mail --group-burst 5", "--group-rate <N/TIME>");
}

#[test]
fn a_limit_says_by_which_word_it_is_lifted() {
    check_usage("queue config mail --max-running some", "must be a whole number above 0, or none");
    check_usage("queue config mail --rate 100", "must be a number and a time, such as 100/1s, or none");
    check_usage("queue config mail --max-tasks none", "must be a whole number above 0, or default");
    check_usage("queue config mail --weight gold", "must be group=share, or default");
}

#[test]
fn a_queue_in_the_place_of_a_task_is_told_how_it_is_named() {
    for command in ["cancel", "redrive", "purge"] {
        check_usage(&format!("queue {command} mail"), "for the tasks of a queue say --queue NAME");
    }
}

#[test]
fn a_method_that_no_daemon_has_is_told_with_the_one_that_was_meant() {
    let check = "policy check --subject agent/orion --method";
    check_usage(&format!("{check} QueueService/enqueue"), "did you mean nova.queue.v1.QueueService/Enqueue?");
    check_usage(&format!("{check} nova.queue.v1.QueueService/Steal"), "no daemon has this method");
}

#[test]
fn a_trace_that_is_not_there_is_not_found() {
    let nova = Nova::new();
    check_failure(&nova, "trace", 5, "no trace is recorded in");
    check_failure(&nova, "trace 00000000", 5, "no trace is recorded in");
}

#[test]
fn what_does_not_need_a_home_makes_none() {
    let nova = Nova::new();
    for (args, code) in
        [("completions bash", 0), ("down", 0), ("status", 3), ("queue enqueue q k", 3), ("trace", 5)]
    {
        let ended = nova.run(&format!("{args} --home fresh"));
        assert_eq!(ended.code, code, "{args}: {}", ended.stderr);
        assert!(!nova.has("fresh"), "{args} makes a home");
    }
}

#[test]
fn what_changes_a_mesh_wants_one_that_runs() {
    let nova = Nova::new();
    for args in [
        "queue enqueue q k",
        "queue watch",
        "agents set-state orion idle",
        "memory put hello --kind semantic",
        "policy delete authz.rego",
        "identity token worker/mailer --role worker",
        "workflow watch 0198",
        "node ps",
    ] {
        check_failure(&nova, args, 3, "no mesh runs in");
    }
}

#[test]
fn a_file_is_read_no_further_than_a_call_can_carry() {
    let nova = Nova::new();
    for command in ["orchestrate /dev/zero", "queue enqueue q k --payload @/dev/zero"] {
        let ended = nova.run(command);
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        assert!(ended.stderr.contains("cannot read /dev/zero: it is larger than 4 MiB"), "{}", ended.stderr);
    }
}

#[test]
fn nobody_need_read_what_is_wrong() {
    let nova = Nova::new();
    for (command, code) in [("down", 0), ("status", 3), ("workflow check missing.yaml", 2)] {
        assert_eq!(nova.run_unread(command), code, "{command}");
    }
}

#[test]
fn a_program_reads_json_where_no_mesh_runs() {
    let nova = Nova::new();
    let error = |args: &str| {
        let ended = nova.run(args);
        let told: Value = serde_json::from_str(&ended.stderr).unwrap_or_else(|_| panic!("{}", ended.stderr));
        assert_eq!(told["error"]["exit_code"], ended.code, "{args}: {told}");
        told["error"]["reason"].clone()
    };
    assert_eq!(error("status --json"), "");
    assert_eq!(error("trace 00000000 --json"), "NOT_FOUND");
    let down: Value = serde_json::from_str(&nova.run("down --json").stdout).expect("JSON");
    assert_eq!(down["stopped_pid"], Value::Null);
}

#[test]
fn a_report_has_a_place_before_the_run_begins() {
    let nova = Nova::new();
    for (place, why) in [
        ("/tmp", ": /tmp is a folder"),
        ("/nowhere/report.md", ": there is no folder /nowhere"),
        ("/proc/report.md", " /proc/report.md: "),
    ] {
        let ended = nova.run(&format!("orchestrate plan.yaml --report {place}"));
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("cannot write the report{why}")), "{}", ended.stderr);
    }
}
