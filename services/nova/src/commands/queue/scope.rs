//! Where a command acts: a mesh, and a namespace of its queue.

use nova_client::Mesh;

use crate::cli::Context;

/// A namespace of a mesh that was reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) context: &'a Context,
    pub(crate) mesh: &'a Mesh,
    namespace: &'a str,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(context: &'a Context, mesh: &'a Mesh, namespace: &'a str) -> Self {
        Self { context, mesh, namespace }
    }

    /// The namespace, for a request.
    pub(crate) fn namespace(&self) -> String {
        self.namespace.to_owned()
    }
}
