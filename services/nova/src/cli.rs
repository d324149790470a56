//! What people type.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands;
use crate::failure;
use crate::home::Home;
use crate::waiting::told;

/// The operations plane for autonomous agents.
#[derive(Debug, Parser)]
#[command(name = "nova", version, propagate_version = true, after_help = BELOW)]
pub(crate) struct Cli {
    /// Folder of the mesh's state, certificates and records [env: NOVA_HOME] [default: in the platform's data folder].
    #[arg(long, global = true, value_name = "DIR", help_heading = EVERYWHERE)]
    home: Option<PathBuf>,
    /// Print JSON instead of tables, also of errors.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const EVERYWHERE: &str = "Options of every command";
const BELOW: &str = "Environment:
  NOVA_TOKEN  Bearer token to call the mesh with, instead of the operator's certificate

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no mesh or not reachable, 4 denied, 5 not found.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring a mesh up on this machine and leave it running.
    Up(commands::up::Up),
    /// Stop the mesh that runs here.
    Down(commands::down::Down),
    /// Show the mesh's daemons, their health and their memory.
    Status(commands::status::Status),
    /// Run a plan, on the mesh that runs here or on one brought up for the run.
    Orchestrate(commands::orchestrate::Orchestrate),
    /// Show agents and their history.
    Agents(commands::agents::Agents),
    /// Enqueue and follow tasks, run queues, keep schedules.
    Queue(commands::queue::Queue),
    /// Show runs of plans, and check plans.
    Workflow(commands::workflow::Workflow),
    /// Store, read and search memories.
    Memory(commands::memory::Memory),
    /// Show decisions and policies, and change policies.
    Policy(commands::policy::Policy),
    /// Show identities, and make tokens for workers.
    Identity(commands::identity::Identity),
    /// Show this host and its processes.
    Node(commands::node::Node),
    /// Show a recorded trace as a waterfall.
    Trace(commands::trace::Trace),
    /// Print a completion script for a shell.
    Completions(commands::completions::Completions),
}

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) home: Home,
    pub(crate) json: bool,
}

impl Cli {
    /// Runs the command.
    pub(crate) fn run(self) -> ExitCode {
        let outcome = Home::at(self.home).and_then(|home| {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(self.command.run(Context { home, json: self.json }))
        });
        outcome.unwrap_or_else(|error| failure::report(&error, self.json))
    }
}

impl Command {
    async fn run(self, context: Context) -> anyhow::Result<ExitCode> {
        let home = &context.home;
        match self {
            Self::Up(command) => command.run(&context).await,
            Self::Down(command) => command.run(&context).await,
            Self::Status(command) => command.run(&context).await,
            Self::Orchestrate(command) => command.run(&context).await,
            Self::Agents(command) => told(home, command.run(&context)).await,
            Self::Queue(command) => told(home, command.run(&context)).await,
            Self::Workflow(command) => told(home, command.run(&context)).await,
            Self::Memory(command) => told(home, command.run(&context)).await,
            Self::Policy(command) => told(home, command.run(&context)).await,
            Self::Identity(command) => told(home, command.run(&context)).await,
            Self::Node(command) => told(home, command.run(&context)).await,
            Self::Trace(command) => command.run(&context),
            Self::Completions(command) => command.run(),
        }
    }
}

/// What the mesh runs of its own executable; people have no need of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Internal {
    /// `nova serve DAEMON …`: one daemon.
    Serve,
    /// `nova agent …`: an agent's process.
    Agent,
    /// `nova supervise …`: the parent of a mesh.
    Supervise,
}

impl Internal {
    /// The internal command that `args` name.
    pub(crate) fn of(args: &[OsString]) -> Option<Self> {
        match args.get(1)?.to_str()? {
            "serve" => Some(Self::Serve),
            "agent" => Some(Self::Agent),
            "supervise" => Some(Self::Supervise),
            _ => None,
        }
    }

    /// Runs it.
    pub(crate) fn run(self, args: Vec<OsString>) -> ExitCode {
        match self {
            Self::Serve => serve(&args[2..]),
            Self::Agent => nova_runner::main_with(args[1..].to_vec()),
            Self::Supervise => crate::supervisor::main(&args[1..]),
        }
    }
}

fn serve(args: &[OsString]) -> ExitCode {
    let name = args.first().and_then(|name| name.to_str()).unwrap_or_default();
    // A usage names the program as it was called.
    let program = OsString::from(format!("nova serve {name}"));
    let args = std::iter::once(program).chain(args.iter().skip(1).cloned()).collect();
    match name {
        "queue" => nova_runtime::main_with::<nova_queue::QueueDaemon>(args),
        "lifecycle" => nova_runtime::main_with::<nova_lifecycle::LifecycleDaemon>(args),
        "policy" => nova_runtime::main_with::<nova_policy::PolicyDaemon>(args),
        "identity" => nova_runtime::main_with::<nova_identity::IdentityDaemon>(args),
        "node" => nova_runtime::main_with::<nova_node_agent::NodeAgentDaemon>(args),
        _ => {
            tell!("nova serve: name one of queue, lifecycle, policy, identity, node");
            ExitCode::from(2)
        }
    }
}
