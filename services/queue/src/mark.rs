//! Who a lease was given to, in 64 bits.
//!
//! Tokens are counted, so whoever has had one can guess those of others: what makes a lease its holder's alone is that
//! it remembers who that is. A part of a hash of the name is enough for that, and costs a lease eight bytes: to pass for
//! somebody else a caller would need a name with the same mark, and names are given out by identity, one at a time,
//! while finding one takes some 2⁶⁴ of them.

use sha2::{Digest as _, Sha256};

/// Tells callers apart. The default is nobody's: see [`admits`](Self::admits).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark(u64);

impl Mark {
    /// The mark of the caller with this name: its SPIFFE id. Stores keep it, so it must stay what it is.
    pub fn of(name: &str) -> Self {
        let digest = Sha256::digest(name.as_bytes());
        let first = digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Self(first.max(1))
    }

    /// Whether a lease with this mark is `caller`'s. One with nobody's mark, as leases were before there were marks, is
    /// anybody's.
    pub(crate) fn admits(self, caller: Self) -> bool {
        self.is_nobodys() || self == caller
    }

    /// True of the default.
    pub(crate) fn is_nobodys(self) -> bool {
        self.0 == 0
    }

    /// As stores keep it.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    /// From what a store kept.
    pub(crate) fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_admits_its_holder_alone() {
        let holder = Mark::of("spiffe://nova.local/worker/w");
        assert!(holder.admits(Mark::of("spiffe://nova.local/worker/w")));
        assert!(!holder.admits(Mark::of("spiffe://nova.local/worker/v")));
        assert!(!holder.admits(Mark::default()), "who says nothing of itself is somebody else");
        assert!(Mark::default().admits(holder), "a lease of before is anybody's");
    }

    #[test]
    fn a_mark_that_was_written_is_still_that_of_its_caller() {
        let written = [0x2c, 0xf2, 0x4d, 0xba, 0x5f, 0xb0, 0xa3, 0x0e];
        assert_eq!(Mark::from_bytes(written), Mark::of("hello"));
        assert_eq!(Mark::of("hello").to_bytes(), written);
    }
}
