//! Finds the line of a value in YAML (or JSON) text.
//!
//! The parser knows where it stands when a visitor fails. So a visitor walks down the path and
//! fails on purpose when it has arrived: the error's location is the answer.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Line, from 1, of the value at `path` (segments of a JSON pointer); of the nearest
/// value above it that exists.
pub(super) fn line_of(text: &str, path: &[String]) -> usize {
    (0..=path.len()).rev().find_map(|length| find(text, &path[..length])).unwrap_or(1)
}

fn find(text: &str, path: &[String]) -> Option<usize> {
    let walked = Walk { path }.deserialize(serde_norway::Deserializer::from_str(text));
    walked.err()?.location().map(|location| location.line())
}

/// Fails at the end of `path`, and succeeds when there is no such value.
struct Walk<'a> {
    path: &'a [String],
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Walk<'_> {
    /// What a scalar means: arrived, or no such path.
    fn scalar<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.path.is_empty() { Err(E::custom("here")) } else { Ok(()) }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.path.split_first() else { return Err(A::Error::custom("here")) };
        while let Some(key) = map.next_key::<serde_norway::Value>()? {
            if key.as_str() == Some(first) {
                map.next_value_seed(Walk { path: rest })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.path.split_first() else { return Err(A::Error::custom("here")) };
        let wanted = first.parse::<usize>().unwrap_or(usize::MAX);
        for _ in 0..wanted {
            if items.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        items.next_element_seed(Walk { path: rest })?;
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.scalar()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.scalar()
    }
}

#[cfg(test)]
mod tests {
    use super::line_of;

    const TEXT: &str = "a: 1\nb:\n  - x: one\n    y: two\n  - {x: three,\n     y: four}\n";

    #[test]
    fn a_path_leads_to_its_line() {
        for (pointer, line) in [("a", 1), ("b/0/x", 3), ("b/0/y", 4), ("b/1", 5), ("b/1/y", 6), ("", 1)] {
            assert_eq!(line_of(TEXT, &segments(pointer)), line, "{pointer}");
        }
    }

    #[test]
    fn a_value_that_is_not_there_is_found_at_its_parent() {
        assert_eq!(line_of(TEXT, &segments("b/0/z")), 3);
        assert_eq!(line_of(TEXT, &segments("c")), 1);
    }

    #[test]
    fn json_is_yaml() {
        assert_eq!(line_of("{\n \"a\": {\n  \"b\": 1}}", &segments("a/b")), 3);
    }

    fn segments(pointer: &str) -> Vec<String> {
        pointer.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
    }
}
