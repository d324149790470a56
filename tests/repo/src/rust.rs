//! Rust sources as far as the rules look at them: the same text, line by line, with what stands
//! in comments and literals blanked, so that a brace in a string is no brace.

/// Blanks comments, strings and characters.
pub fn code(text: &str) -> String {
    Blanker { rest: text, out: String::with_capacity(text.len()) }.run()
}

/// Blanks the items under `#[cfg(test)]`, too. Takes what [`code`] gives.
pub fn without_tests(code: &str) -> String {
    let mut code = code.to_owned();
    while let Some(start) = code.find("#[cfg(test)]") {
        let end = item_end(&code, start);
        code.replace_range(start..end, &blank(&code[start..end]));
    }
    code
}

/// Where the item that begins at `start` ends: behind its semicolon or its closing brace.
pub fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0_i32;
    for (index, c) in code[start..].char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (c == '}' || c == ';') {
            return start + index + 1;
        }
    }
    code.len()
}

/// Line, from 1, of a place in a text.
pub fn line_of(text: &str, place: usize) -> usize {
    text[..place].matches('\n').count() + 1
}

struct Blanker<'a> {
    rest: &'a str,
    out: String,
}

impl Blanker<'_> {
    fn run(mut self) -> String {
        while let Some(c) = self.rest.chars().next() {
            match self.literal() {
                Some(length) => self.blank(length),
                None => self.keep(c),
            }
        }
        self.out
    }

    /// Length of the comment or literal that begins here.
    fn literal(&self) -> Option<usize> {
        let rest = self.rest;
        if rest.starts_with("//") {
            return Some(rest.find('\n').unwrap_or(rest.len()));
        }
        if rest.starts_with("/*") {
            return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
        }
        if rest.starts_with('"') {
            return Some(quoted(rest, '"'));
        }
        if rest.starts_with('r') && !self.within_a_word() {
            return raw_string(rest);
        }
        rest.starts_with('\'').then(|| character(rest)).flatten()
    }

    /// Whether the character before belongs to a name; `br"…"` is a string all the same.
    fn within_a_word(&self) -> bool {
        let before = self.out.chars().next_back();
        before.is_some_and(|c| (c.is_alphanumeric() && c != 'b') || c == '_')
    }

    fn blank(&mut self, length: usize) {
        self.out.push_str(&blank(&self.rest[..length]));
        self.rest = &self.rest[length..];
    }

    fn keep(&mut self, c: char) {
        self.out.push(c);
        self.rest = &self.rest[c.len_utf8()..];
    }
}

fn blank(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return index + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    let opening = 1 + hashes;
    if !text[opening..].starts_with('"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let end = text[opening + 1..].find(&close);
    Some(end.map_or(text.len(), |end| opening + 1 + end + close.len()))
}

/// A character; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        return Some(quoted(text, '\''));
    }
    let (place, second) = chars.next()?;
    (second == '\'').then_some(place + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_literals_and_comments_is_no_code() {
        for text in [
            r##"let a = r#"fn {"#;"##,
            "let a = \"\\\"fn {\";",
            "// fn {",
            "/* fn { */",
            "let a = '{';",
            "let a = '\\'';",
        ] {
            let code = code(text);
            assert!(!code.contains("fn") && !code.contains('{'), "{text} gives {code}");
            assert_eq!(code.len(), text.len());
        }
    }

    #[test]
    fn a_lifetime_is_code() {
        assert_eq!(code("fn a<'a>(b: &'a str) {}"), "fn a<'a>(b: &'a str) {}");
    }

    #[test]
    fn tests_are_cut_off_and_lines_stay() {
        let cut = without_tests("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n");
        assert!(cut.contains("fn a") && !cut.contains("fn b"));
        assert_eq!(cut.lines().position(|line| line.contains("fn c")), Some(5));
    }
}
