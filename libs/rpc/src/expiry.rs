//! Ends an open stream when the identity that opened it ends.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

use crate::Error;

/// A body that ends with UNAUTHENTICATED at a moment, unless it ended before.
pub(crate) struct UntilExpiry {
    inner: Body,
    ends: Instant,
    /// Set when the body first has to wait: most are there at once, and need no timer.
    timer: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl UntilExpiry {
    pub(crate) fn wrap(inner: Body, ends: Instant) -> Body {
        Body::new(Self { inner, ends, timer: None, ended: false })
    }
}

impl HttpBody for UntilExpiry {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let ends = self.ends;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(ends)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.ended = true;
        Poll::Ready(Some(Ok(Frame::trailers(expired()))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn expired() -> HeaderMap {
    let status = Status::from(Error::unauthenticated(
        "the identity has expired; open the stream again with a new one",
    ));
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        tracing::error!("a status could not be written into trailers");
    }
    trailers
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_its_identity() {
        let never = Body::new(http_body_util::StreamBody::new(futures::stream::pending::<
            Result<Frame<Bytes>, Status>,
        >()));
        let ended =
            UntilExpiry::wrap(never, Instant::now() + Duration::from_secs(60)).collect().await.unwrap();
        let trailers = ended.trailers().expect("a status");
        assert_eq!(trailers["grpc-status"], "16");
    }

    #[tokio::test]
    async fn an_answer_that_is_there_is_not_touched() {
        let body = Body::new(http_body_util::Full::new(Bytes::from_static(b"answer")));
        let whole = UntilExpiry::wrap(body, Instant::now()).collect().await.unwrap();
        assert_eq!(whole.to_bytes(), "answer");
    }
}
