//! Bytes into lines, of bounded length.

/// Bytes of a line that are kept; what is longer is cut.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// Splits a stream into lines, however its bytes arrive.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    partial: Vec<u8>,
}

impl LineSplitter {
    /// Takes bytes in and gives the lines that are complete by them.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.append(&bytes[..end]);
            lines.push(self.take());
            bytes = &bytes[end + 1..];
        }
        self.append(bytes);
        lines
    }

    /// The last line, when the stream ended without its end.
    pub(crate) fn finish(&mut self) -> Option<String> {
        (!self.partial.is_empty()).then(|| self.take())
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = MAX_LINE_BYTES - self.partial.len();
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn take(&mut self) -> String {
        let bytes = std::mem::take(&mut self.partial);
        let text = String::from_utf8_lossy(&bytes);
        text.strip_suffix('\r').unwrap_or(&text).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_arrive_in_pieces() {
        let mut splitter = LineSplitter::default();
        assert!(splitter.feed(b"he").is_empty());
        assert_eq!(splitter.feed(b"llo\r\n\nwor"), ["hello", ""]);
        assert_eq!(splitter.finish(), Some("wor".to_owned()));
        assert_eq!(splitter.finish(), None);
    }

    #[test]
    fn a_line_without_end_does_not_grow_without_bound() {
        let mut splitter = LineSplitter::default();
        for _ in 0..10 {
            assert!(splitter.feed(&[b'x'; 10_000]).is_empty());
        }
        assert_eq!(splitter.feed(b"\nnext\n"), ["x".repeat(MAX_LINE_BYTES), "next".to_owned()]);
    }
}
