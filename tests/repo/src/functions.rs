//! How long functions are.

use crate::rust;

/// A function with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Line of its `fn`, from 1.
    pub line: usize,
    /// Lines from `fn` to the closing brace.
    pub lines: usize,
}

/// The functions in what [`rust::code`] gives, inner ones too.
pub fn functions(code: &str) -> Vec<Function> {
    let places = code.match_indices("fn ").map(|(place, _)| place);
    places.filter(|place| !continues_a_word(code, *place)).filter_map(|place| function(code, place)).collect()
}

fn continues_a_word(code: &str, place: usize) -> bool {
    code[..place].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

fn function(code: &str, place: usize) -> Option<Function> {
    let rest = &code[place + 3..];
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if name.is_empty() {
        return None;
    }
    let end = rust::item_end(code, place);
    if code[..end].ends_with(';') {
        return None;
    }
    let lines = code[place..end].matches('\n').count() + 1;
    Some(Function { name, line: rust::line_of(code, place), lines })
}

/// The value below which `percent` of the values lie. 0 of none.
pub fn percentile(values: &[usize], percent: usize) -> usize {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let index = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(index).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_as_long_as_its_lines() {
        let code =
            "fn a(b: [u8; 2]) -> u8 {\n    let c = || { 1 };\n    c()\n}\ntrait T { fn d(); }\nfn e() {}\n";
        let found = functions(code);
        let found: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
        assert_eq!(found, [("a", 1, 4), ("e", 6, 1)]);
    }

    #[test]
    fn percentiles_are_of_the_sorted_values() {
        assert_eq!(percentile(&[5, 1, 3], 50), 3);
        assert_eq!(percentile(&[], 90), 0);
    }
}
