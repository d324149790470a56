//! Which language a file is written in, by its name.

/// Name of a file's language; none when the name does not tell.
pub(super) fn of(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    by_name(name).or_else(|| by_extension(&name.rsplit_once('.')?.1.to_ascii_lowercase()))
}

fn by_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "Dockerfile" | "Containerfile" => "Dockerfile",
        "Makefile" | "GNUmakefile" | "makefile" => "Makefile",
        "CMakeLists.txt" => "CMake",
        "Rakefile" | "Gemfile" => "Ruby",
        "Jenkinsfile" => "Groovy",
        _ => return None,
    })
}

fn by_extension(extension: &str) -> Option<&'static str> {
    let (_, language) = EXTENSIONS.iter().find(|(known, _)| *known == extension)?;
    Some(language)
}

const EXTENSIONS: &[(&str, &str)] = &[
    ("rs", "Rust"),
    ("go", "Go"),
    ("py", "Python"),
    ("pyi", "Python"),
    ("js", "JavaScript"),
    ("mjs", "JavaScript"),
    ("cjs", "JavaScript"),
    ("jsx", "JavaScript"),
    ("ts", "TypeScript"),
    ("mts", "TypeScript"),
    ("tsx", "TypeScript"),
    ("java", "Java"),
    ("kt", "Kotlin"),
    ("kts", "Kotlin"),
    ("scala", "Scala"),
    ("groovy", "Groovy"),
    ("c", "C"),
    ("h", "C"),
    ("cc", "C++"),
    ("cpp", "C++"),
    ("cxx", "C++"),
    ("hpp", "C++"),
    ("hh", "C++"),
    ("cu", "CUDA"),
    ("cs", "C#"),
    ("fs", "F#"),
    ("swift", "Swift"),
    ("m", "Objective-C"),
    ("rb", "Ruby"),
    ("php", "PHP"),
    ("pl", "Perl"),
    ("lua", "Lua"),
    ("r", "R"),
    ("jl", "Julia"),
    ("hs", "Haskell"),
    ("ml", "OCaml"),
    ("ex", "Elixir"),
    ("exs", "Elixir"),
    ("erl", "Erlang"),
    ("clj", "Clojure"),
    ("zig", "Zig"),
    ("nim", "Nim"),
    ("dart", "Dart"),
    ("sh", "Shell"),
    ("bash", "Shell"),
    ("zsh", "Shell"),
    ("ps1", "PowerShell"),
    ("sql", "SQL"),
    ("proto", "Protocol Buffers"),
    ("graphql", "GraphQL"),
    ("rego", "Rego"),
    ("tf", "HCL"),
    ("hcl", "HCL"),
    ("nix", "Nix"),
    ("html", "HTML"),
    ("css", "CSS"),
    ("scss", "SCSS"),
    ("vue", "Vue"),
    ("svelte", "Svelte"),
    ("json", "JSON"),
    ("yaml", "YAML"),
    ("yml", "YAML"),
    ("toml", "TOML"),
    ("xml", "XML"),
    ("md", "Markdown"),
    ("rst", "reStructuredText"),
    ("tex", "TeX"),
    ("ipynb", "Jupyter Notebook"),
];

/// True for what people write programs in, as against data and prose.
pub(super) fn is_code(language: &str) -> bool {
    const OTHER: &[&str] =
        &["JSON", "YAML", "TOML", "XML", "Markdown", "reStructuredText", "TeX", "Jupyter Notebook"];
    !OTHER.contains(&language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_languages() {
        let cases = [
            ("src/main.rs", Some("Rust")),
            ("deploy/Dockerfile", Some("Dockerfile")),
            ("A.PY", Some("Python")),
            ("LICENSE", None),
            ("dir.rs/file", None),
        ];
        for (path, language) in cases {
            assert_eq!(of(path), language, "{path}");
        }
    }
}
