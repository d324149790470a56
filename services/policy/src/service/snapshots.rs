//! The stream by which daemons learn of revisions.

use std::pin::Pin;

use futures::StreamExt as _;
use nova_proto::policy::v1 as pb;
use nova_rpc::Error;
use tokio_stream::wrappers::WatchStream;
use tonic::Status;

use super::{PolicyApi, parse};

pub(crate) type Stream =
    Pin<Box<dyn futures::Stream<Item = Result<pb::WatchSnapshotsResponse, Status>> + Send>>;

/// The active revision, then every later one; what is overtaken before it is sent is left out.
pub(crate) fn watch(
    api: &PolicyApi,
    caller: &str,
    request: pb::WatchSnapshotsRequest,
) -> Result<Stream, Error> {
    parse::revision("revision", &request.revision)?;
    let watching = api.watchers.enter(caller)?;
    let mut known = request.revision;
    let responses = WatchStream::new(api.revisions.watch()).map(move |active| {
        let _while_it_streams = &watching;
        let news = active.snapshot.revision() != known;
        active.snapshot.revision().clone_into(&mut known);
        Ok(pb::WatchSnapshotsResponse { snapshot: news.then(|| active.snapshot.as_ref().into()) })
    });
    Ok(Box::pin(responses.take_until(api.shutdown.clone().cancelled_owned())))
}
