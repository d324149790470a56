//! The command line of a daemon.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

use crate::config::{Config, ConfigError, Settings};

/// A daemon of the Nova mesh.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Command {
    /// TOML file with a [runtime] table and one of the daemon's own name.
    #[arg(long, env = "NOVA_CONFIG")]
    config: Option<PathBuf>,
    /// A setting, such as runtime.listen=127.0.0.1:7101; wins over file and environment.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print the settings that would be used, as a file, and end.
    #[arg(long)]
    dump_config: bool,
}

pub(crate) enum Parsed<C> {
    Run(Box<Settings<C>>),
    Printed,
}

impl Command {
    #[expect(clippy::print_stdout, reason = "printing is what --dump-config asks for")]
    pub(crate) fn parse<C: Config>(name: &str, args: Vec<OsString>) -> Result<Parsed<C>, ConfigError> {
        let command = Self::parse_from(args);
        let settings = Settings::load(name, command.config.as_ref(), &command.set)?;
        if command.dump_config {
            print!("{}", settings.dump(name)?);
            return Ok(Parsed::Printed);
        }
        Ok(Parsed::Run(Box::new(settings)))
    }
}
