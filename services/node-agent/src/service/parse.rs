//! From the wire: what is checked here holds in the domain.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use nova_proto::node::v1 as pb;
use nova_types::{AgentId, ProcessId, Violation, Violations, wire};

use crate::process::{Limits, Program, RUNNER, Restart, Spec};

const MOST_ARGS: usize = 1_024;
const MOST_VARIABLES: usize = 256;
/// Bytes of all arguments together, and of all variables: the kernel takes no more than 2 MiB of both.
const MOST_BYTES: usize = 256 * 1024;
/// Bytes of one argument or variable: the kernel takes no more than 128 KiB.
const LONGEST: usize = 64 * 1024;
const LONGEST_PATH: usize = 4_096;

/// What to run.
pub(super) fn spec(spec: Option<pb::ProcessSpec>) -> Result<Spec, Violations> {
    let Some(spec) = spec else { return Err(Violation::new("spec", "must be set").into()) };
    let mut nested = Violations::new();
    let parsed = fields(spec, &mut nested);
    let mut violations = Violations::new();
    violations.extend_within("spec", nested);
    violations.finish()?;
    parsed.ok_or_else(|| Violation::new("spec", "must be whole").into())
}

/// All of these.
pub(super) fn labels(labels: HashMap<String, String>) -> Result<BTreeMap<String, String>, Violation> {
    wire::labels("labels", &labels)?;
    Ok(labels.into_iter().collect())
}

fn fields(spec: pb::ProcessSpec, violations: &mut Violations) -> Option<Spec> {
    let restart = violations.take(restart(spec.restart));
    let id = violations.take(ProcessId::parse("process_id", &spec.process_id));
    let program = violations.take(program(&spec.program));
    let agent = violations.take(agent(&spec.agent_id));
    let labels = violations.take(labels(spec.labels));
    let working_directory = violations.take(directory(&spec.working_directory));
    check_args(&spec.args, violations);
    check_environment(&spec.environment, violations);
    Some(Spec {
        id: id?,
        program: program?,
        args: spec.args,
        environment: spec.environment.into_iter().collect(),
        working_directory: working_directory?,
        restart: restart?,
        agent: agent?,
        limits: spec.limits.as_ref().map(limits).unwrap_or_default(),
        labels: labels?,
    })
}

fn program(program: &str) -> Result<Program, Violation> {
    if program == RUNNER {
        return Ok(Program::Runner);
    }
    absolute("program", program, "must be an absolute path, or nova-runner").map(Program::Path)
}

fn directory(directory: &str) -> Result<Option<PathBuf>, Violation> {
    if directory.is_empty() {
        return Ok(None);
    }
    let field = "working_directory";
    let path = absolute(field, directory, "must be an absolute path")?;
    if path.is_dir() {
        Ok(Some(path))
    } else {
        Err(Violation::new(field, format!("{directory:?} is no directory")))
    }
}

fn absolute(field: &str, path: &str, rule: &str) -> Result<PathBuf, Violation> {
    wire::text(field, path, 1..=LONGEST_PATH)?;
    let holds = !path.contains('\0') && Path::new(path).is_absolute();
    Violation::require(holds, field, &format!("{path:?} {rule}"))?;
    Ok(PathBuf::from(path))
}

fn restart(restart: i32) -> Result<Restart, Violation> {
    match pb::RestartPolicy::try_from(restart) {
        Ok(pb::RestartPolicy::Unspecified | pb::RestartPolicy::Never) => Ok(Restart::Never),
        Ok(pb::RestartPolicy::OnFailure) => Ok(Restart::OnFailure),
        Err(_) => Err(Violation::new("restart", format!("{restart} is not a RestartPolicy"))),
    }
}

fn agent(agent: &str) -> Result<Option<AgentId>, Violation> {
    if agent.is_empty() { Ok(None) } else { AgentId::parse("agent_id", agent).map(Some) }
}

fn limits(limits: &pb::ProcessLimits) -> Limits {
    let given = |limit: u64| (limit > 0).then_some(limit);
    Limits {
        memory_bytes: given(limits.memory_bytes),
        cpu_seconds: given(limits.cpu_seconds),
        open_files: given(limits.open_files),
    }
}

fn check_args(args: &[String], violations: &mut Violations) {
    violations.require(args.len() <= MOST_ARGS, "args", "must be at most 1,024");
    let bytes: usize = args.iter().map(String::len).sum();
    violations.require(bytes <= MOST_BYTES, "args", "must be at most 256 KiB together");
    for (index, arg) in args.iter().enumerate().take(MOST_ARGS) {
        violations.require(
            is_passable(arg),
            &format!("args[{index}]"),
            "must be at most 64 KiB, without NUL",
        );
    }
}

fn check_environment(environment: &HashMap<String, String>, violations: &mut Violations) {
    violations.require(environment.len() <= MOST_VARIABLES, "environment", "must be at most 256 variables");
    let bytes: usize = environment.iter().map(|(name, value)| name.len() + value.len()).sum();
    violations.require(bytes <= MOST_BYTES, "environment", "must be at most 256 KiB together");
    for (name, value) in environment.iter().take(MOST_VARIABLES) {
        let shown: String = name.chars().take(64).collect();
        let field = format!("environment[{shown:?}]");
        violations.require(
            is_name(name),
            &field,
            "name must be letters, digits and _, and not begin with a digit",
        );
        violations.require(is_passable(value), &field, "must be at most 64 KiB, without NUL");
    }
}

fn is_passable(text: &str) -> bool {
    text.len() <= LONGEST && !text.contains('\0')
}

fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=256).contains(&name.len())
        && name.chars().all(good)
        && !name.starts_with(|c: char| c.is_ascii_digit())
}
