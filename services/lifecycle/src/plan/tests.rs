//! Good plans pass; each bad one is told its line and its rule.

use serde_json::json;

use super::*;

pub(crate) const GOOD: &str = r#"apiVersion: nova/v1
kind: Plan
metadata: {name: check, version: 3}
spec:
  input: {type: object, required: [repo], properties: {repo: {type: string}, deep: {type: boolean, default: true}}}
  agents:
    orion: {role: auditor, capabilities: [host, shell]}
    lumina: {role: writer, capabilities: [memory]}
  phases:
    - name: audit
      instructions: look
      agents: [orion]
      steps:
        - {id: cpu, kind: host.cpu, capability: host, when: input.deep}
        - id: tests
          kind: shell
          capability: shell
          needs: [cpu]
          with: {run: "ls ${input.repo}", cores: "${steps.cpu.result.count}"}
          when: steps.cpu.result.count > 0
          timeout: 10m
          retry: {max_attempts: 3, backoff: {initial: 100ms, factor: 2, max: 1s}}
          fallback: spare
          expect: fell_back
        - {id: spare, kind: note, agent: orion, standby: true, with: {why: "${steps.tests.error.message}"}}
    - name: report
      agents: [lumina]
      steps:
        - {id: summary, kind: memory.summary, capability: memory, needs: [tests]}
"#;

#[test]
fn a_good_plan_is_understood() {
    let plan = parse(GOOD, "good.yaml").unwrap();
    assert_eq!(plan.version(), "3");
    assert_eq!(plan.spec.phases[0].steps[0].target.queue(), "agents.can.host");
    assert_eq!(plan.spec.phases[1].needs, ["audit"]);
    assert_eq!(plan.spec.phases[0].steps[2].target.queue(), "agents.id.orion");
    let again: Plan = serde_json::from_value(serde_json::to_value(&plan).unwrap()).unwrap();
    assert_eq!(again, plan);
}

#[test]
fn json_is_understood_too() {
    let value: Value = serde_norway::from_str(GOOD).unwrap();
    let text = serde_json::to_string_pretty(&value).unwrap();
    assert_eq!(parse(&text, "good.json").unwrap(), parse(GOOD, "").unwrap());
}

#[test]
fn each_mistake_is_told_with_its_line_and_its_rule() {
    for (from, to, field, rule) in [
        ("kind: Plan", "kind: Plane", "kind", "p.yaml:2: \"Plan\" was expected"),
        (
            "needs: [cpu]",
            "needs: [gpu]",
            "spec.phases[0].steps[1].needs[0]",
            "p.yaml:18: there is no step \"gpu\"",
        ),
        ("id: summary", "id: cpu", "spec.phases[1].steps[0].id", "p.yaml:29: id \"cpu\" is used by more"),
        (
            "capability: host, when",
            "capability: gpu, when",
            "spec.phases[0].steps[0].capability",
            "p.yaml:14: no agent of phase",
        ),
        (
            "fallback: spare",
            "fallback: none",
            "spec.phases[0].steps[1].fallback",
            "p.yaml:23: there is no step",
        ),
        ("standby: true, ", "", "spec.phases[0].steps[1].fallback", "must be marked `standby: true`"),
        (
            "agents: [lumina]",
            "agents: [echo]",
            "spec.phases[1].agents[0]",
            "p.yaml:27: there is no agent \"echo\"",
        ),
        ("needs: [cpu]", "needs: [tests]", "spec.phases[0].steps[1]", "waits for itself: tests"),
        ("needs: [tests]", "needs: [spare]", "spec.phases[1].steps[0].needs[0]", "is on standby"),
        ("timeout: 10m", "timeout: ten", "spec.phases[0].steps[1].timeout", "p.yaml:21:"),
        (
            "when: steps.cpu.result.count > 0",
            "when: 1 +",
            "spec.phases[0].steps[1].when",
            "p.yaml:20: expression",
        ),
        (
            "ls ${input.repo}",
            "ls ${input.repo",
            "spec.phases[0].steps[1].with.run",
            "p.yaml:19: `${` without its `}`",
        ),
        ("when: steps.cpu", "when: steps.summary", "spec.phases[0].steps[1].when", "put it in needs"),
        (
            "${steps.cpu.result",
            "${steps.gpu.result",
            "spec.phases[0].steps[1].with.cores",
            "p.yaml:19: there is no step",
        ),
        (
            "deep: {type: boolean, default: true}}}",
            "deeper: {type: boolean}}, additionalProperties: false}",
            "spec.phases[0].steps[0].when",
            "p.yaml:14: there is no input \"deep\"; the plan's inputs are: deeper, repo",
        ),
        (
            "capability: memory,",
            "queue: agents.can.memory,",
            "spec.phases[1].steps[0].queue",
            "p.yaml:29: queue \"agents.can.memory\" is reserved for agents",
        ),
        ("capability: memory,", "", "spec.phases[1].steps[0]", "exactly one of capability, agent and queue"),
        ("    - name: report", "    - name: report\n      needs: [report]", "spec.phases[1].needs", "report"),
        ("input: {type: object", "input: {type: 7", "spec.input", "p.yaml:5: is no JSON schema"),
        ("metadata: {name: check", "metadata: {name: check, color: red", "metadata", "color"),
        ("expect: fell_back", "expect: failed\n          expect: failed", "plan", "duplicate"),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let violations = parse(&text, "p.yaml").expect_err(to);
        let found = violations.iter().any(|v| v.field == field && v.rule.contains(rule));
        assert!(found, "{to}: {violations}");
    }
}

#[test]
fn text_that_is_no_plan_is_refused() {
    for text in ["", "a", "[]", "{", "a: [", "? {a: b}\n: c", "\u{0}", "&a [*a]", "apiVersion: nova/v1"] {
        assert!(parse(text, "").is_err(), "{text:?}");
    }
}

#[test]
fn an_input_gets_its_defaults_and_obeys_its_schema() {
    let plan = parse(GOOD, "").unwrap();
    let input = check_input("input_json", &plan, json!({"repo": "."})).unwrap();
    assert_eq!(input, json!({"repo": ".", "deep": true}));
    let violations = check_input("input_json", &plan, json!({"repo": 7})).unwrap_err();
    assert_eq!(violations.iter().next().unwrap().field, "input_json.repo");
    assert!(parse_input("input_json", "[]").is_err());
}
