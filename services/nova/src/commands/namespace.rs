//! `--namespace`, or `NOVA_NAMESPACE`: where the commands act whose calls have a namespace.

use clap::Args;

/// A namespace.
#[derive(Debug, Args)]
pub(crate) struct Namespace {
    /// Namespace to act in.
    #[arg(
        long,
        global = true,
        env = "NOVA_NAMESPACE",
        hide_env_values = true,
        value_name = "NAME",
        default_value = "default",
        help_heading = "Namespace"
    )]
    namespace: String,
}

impl Namespace {
    /// Its name.
    pub(crate) fn as_str(&self) -> &str {
        &self.namespace
    }

    /// Its name, for a request.
    pub(crate) fn to_request(&self) -> String {
        self.namespace.clone()
    }
}
