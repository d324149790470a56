//! Ids of which only the first digits are given.

use anyhow::bail;

use crate::failure::{Misuse, NotFound};

/// Ids among which one is looked for: the latest.
pub(crate) const LATEST: u32 = 1_000;

/// Whether `id` may be how a longer one of hex digits and dashes begins.
pub(crate) fn may_begin(id: &str, whole: usize) -> bool {
    (1..whole).contains(&id.len()) && id.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

/// The one of the `known` ids that begins so, whatever its case; `what` names one of them, such as `run`.
pub(crate) fn complete<'a>(
    what: &str,
    start: &str,
    known: impl Iterator<Item = &'a str>,
) -> anyhow::Result<String> {
    let start = start.to_ascii_lowercase();
    let found: Vec<_> = known.filter(|id| id.starts_with(&start)).collect();
    match found.as_slice() {
        [id] => Ok((*id).to_owned()),
        [] => bail!(NotFound(format!("no {what} begins with {start:?}"))),
        many => Err(Misuse::of(format!("{} {what}s begin with {start:?}; give more digits", many.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_by_how_it_alone_begins() {
        let known = || ["01a223ea-1", "01a223ea-2", "01b0"].into_iter();
        assert_eq!(complete("run", "01B", known()).unwrap(), "01b0");
        assert!(complete("run", "01a223ea", known()).unwrap_err().is::<Misuse>());
        assert!(complete("run", "02", known()).unwrap_err().is::<NotFound>());
    }

    #[test]
    fn what_is_no_part_of_an_id_is_left_to_its_daemon() {
        assert!(may_begin("01a223ea-", 36) && !may_begin("", 36) && !may_begin("latest", 36));
        assert!(!may_begin("01999999-9999-7999-8999-999999999999", 36));
    }
}
