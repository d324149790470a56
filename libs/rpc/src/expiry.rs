//! Ends an open stream when the identity that opened it ends, or its deadline passes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

use crate::Error;

/// When a stream is ended, and with what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiry {
    at: Instant,
    why: fn() -> Error,
}

impl Expiry {
    /// The caller's identity ends then.
    pub(crate) fn of_identity(at: Instant) -> Self {
        let why = || Error::unauthenticated("the identity has expired; open the stream again with a new one");
        Self { at, why }
    }

    /// The caller waits no longer.
    pub(crate) fn of_deadline(at: Instant) -> Self {
        Self { at, why: Error::deadline_exceeded }
    }

    /// The one that comes first.
    pub(crate) fn first(of: [Option<Self>; 2]) -> Option<Self> {
        of.into_iter().flatten().min_by_key(|expiry| expiry.at)
    }

    fn trailers(self) -> HeaderMap {
        let mut trailers = HeaderMap::new();
        if Status::from((self.why)()).add_header(&mut trailers).is_err() {
            tracing::error!("a status could not be written into trailers");
        }
        trailers
    }
}

/// A body that ends with an error at a moment, unless it ended before.
pub(crate) struct UntilExpiry {
    inner: Body,
    expiry: Expiry,
    /// Set when the body first has to wait: most are there at once, and need no timer.
    timer: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl UntilExpiry {
    pub(crate) fn wrap(inner: Body, expiry: Expiry) -> Body {
        Body::new(Self { inner, expiry, timer: None, ended: false })
    }

    fn end(&mut self) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.ended = true;
        Poll::Ready(Some(Ok(Frame::trailers(self.expiry.trailers()))))
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
        let at = self.expiry.at;
        // A stream that always has something to say never comes to wait.
        if at <= Instant::now() {
            return self.end();
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if timer.as_mut().poll(cx).is_pending() { Poll::Pending } else { self.end() }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt as _;

    use super::*;

    fn in_a_minute() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn endless<S>(frames: S) -> Body
    where
        S: futures::Stream<Item = Result<Frame<Bytes>, Status>> + Send + 'static,
    {
        Body::new(http_body_util::StreamBody::new(frames))
    }

    /// The status that a body ends with.
    async fn status_of(mut body: Body) -> String {
        loop {
            let frame = body.frame().await.expect("it ends with a status").unwrap();
            if let Ok(trailers) = frame.into_trailers() {
                return trailers["grpc-status"].to_str().unwrap().to_owned();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_its_identity_or_at_its_deadline() {
        for (expiry, status) in
            [(Expiry::of_identity(in_a_minute()), "16"), (Expiry::of_deadline(in_a_minute()), "4")]
        {
            let silent = endless(futures::stream::pending());
            assert_eq!(status_of(UntilExpiry::wrap(silent, expiry)).await, status);
        }
    }

    #[tokio::test]
    async fn a_stream_that_never_pauses_ends_all_the_same() {
        let busy = endless(futures::stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(b"more")))));
        let soon = Expiry::of_deadline(Instant::now() + Duration::from_millis(10));
        assert_eq!(status_of(UntilExpiry::wrap(busy, soon)).await, "4");
    }

    #[test]
    fn what_comes_first_ends_a_stream() {
        let (soon, later) = (in_a_minute(), in_a_minute() + Duration::from_secs(1));
        let first = Expiry::first([Some(Expiry::of_identity(later)), Some(Expiry::of_deadline(soon))]);
        assert_eq!(first.unwrap().at, soon);
        assert!(Expiry::first([None, None]).is_none());
    }

    #[tokio::test]
    async fn an_answer_that_is_there_is_not_touched() {
        let body = Body::new(http_body_util::Full::new(Bytes::from_static(b"answer")));
        let whole = UntilExpiry::wrap(body, Expiry::of_identity(in_a_minute())).collect().await.unwrap();
        assert_eq!(whole.to_bytes(), "answer");
    }
}
