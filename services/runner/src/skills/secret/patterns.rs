//! The known forms of secrets: tokens by their prefix, keys by their frame, values by the name before them.

use std::sync::LazyLock;

use regex::{Regex, RegexSet};

use super::likely::{always, password, random, unquoted};

/// A form that a secret may have.
#[derive(Debug)]
pub(crate) struct Form {
    /// What it looks like, for people.
    pub(crate) kind: &'static str,
    /// Characters of the value that may be shown.
    pub(super) shown: usize,
    /// Whether a value is likely to be one.
    pub(super) likely: fn(&str) -> bool,
    /// What shows it; the first group is the value.
    pattern: &'static str,
}

const fn token(kind: &'static str, pattern: &'static str) -> Form {
    Form { kind, shown: 4, likely: always, pattern }
}

const fn hidden(kind: &'static str, likely: fn(&str) -> bool, pattern: &'static str) -> Form {
    Form { kind, shown: 0, likely, pattern }
}

/// What is a secret wherever it stands.
static TOKENS: &[Form] = &[
    token("AWS access key", r"\b((?:AKIA|ASIA)[0-9A-Z]{16})\b"),
    token("GitHub token", r"\b(gh[pousr]_[A-Za-z0-9]{36,255})\b"),
    token("GitHub fine-grained token", r"\b(github_pat_[A-Za-z0-9_]{40,255})\b"),
    token("GitLab token", r"\b(glpat-[A-Za-z0-9_-]{20,})"),
    token("Slack token", r"\b(xox[abprs]-[A-Za-z0-9-]{20,})"),
    hidden(
        "Slack webhook",
        always,
        r"https://hooks\.slack\.com/services/(T[A-Za-z0-9]+/B[A-Za-z0-9]+/[A-Za-z0-9]{20,})",
    ),
    token("Stripe key", r"\b([sr]k_live_[A-Za-z0-9]{20,})\b"),
    token("Google API key", r"\b(AIza[0-9A-Za-z_-]{35})"),
    token("npm token", r"\b(npm_[A-Za-z0-9]{36})\b"),
    token("PyPI token", r"\b(pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,})"),
    token("Hugging Face token", r"\b(hf_[A-Za-z]{34})\b"),
    token("Anthropic key", r"\b(sk-ant-[A-Za-z0-9_-]{32,})"),
    token("OpenAI key", r"\b(sk-(?:(?:proj|svcacct|admin)-[A-Za-z0-9_-]{32,}|[A-Za-z0-9]{32,}))"),
    token("SendGrid key", r"\b(SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})"),
    token("JSON web token", r"\b(eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})"),
    hidden(
        "password in a URL",
        always,
        r"://[^/\s:@'\x22<>{}$]{1,128}:([^/\s:@'\x22<>{}$%]{6,128})@[A-Za-z0-9.-]+",
    ),
    hidden(
        "authorization header",
        random,
        r#"(?i)\bauthorization["']?\s*[:=]\s*["']?(?:bearer|basic|token)\s+([A-Za-z0-9+/=_.~-]{16,})"#,
    ),
];

/// What is looked for in any file.
static QUOTED: &[Form] = &[
    Form {
        kind: "private key",
        shown: 64,
        likely: always,
        pattern: r"(-----BEGIN (?:[A-Z]+ )?PRIVATE KEY(?: BLOCK)?-----)\s*(?:\n|\\n)\s*[A-Za-z0-9+/=:]",
    },
    hidden(
        "random value under a secret's name",
        random,
        r#"(?i)(?:secret|token|passw(?:or)?d|passphrase|api_?key|access_?key|private_?key|credential)[a-z0-9_]*["']?\s*(?::|=|:=|=>)\s*["']([A-Za-z0-9+/=_.~!@#%^&*-]{16,256})["']"#,
    ),
];

/// What is looked for where values stand without quotes, up to the end of their line.
static LINES: &[Form] = &[
    hidden(
        "password in a configuration file",
        password,
        r#"(?im)^[ \t]*(?:(?:export|set|env|-)[ \t]+)?["']?(?:[a-z0-9_./:-]*(?:passw(?:or)?d|passphrase|pwd)|(?:[a-z0-9_./:-]*[_.-])?pass)(?:[_.-]?(?:base|value|prod|dev|staging|[0-9]+))*["']?[ \t]*[:=][ \t]*["']?([^\s"']{8,})["']?[ \t]*(?:[ \t][#;].*)?\r?$"#,
    ),
    hidden(
        "key in a configuration file",
        unquoted,
        r#"(?im)^[ \t]*(?:(?:export|set|env|-)[ \t]+)?["']?[a-z0-9_./:-]*(?:secret|token|(?:api|access|private|encryption|signing)[_.-]?key|credential)s?(?:[_.-]?(?:key|base|value|prod|dev|staging|[0-9]+))*["']?[ \t]*[:=][ \t]*["']?([^\s"']{16,})["']?[ \t]*(?:[ \t][#;].*)?\r?$"#,
    ),
];

/// What is masked in any other text: private keys first, since a token may seem to be in one.
static FRAMED: &[Form] = &[
    hidden(
        "private key",
        always,
        r"(?s)-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\s|\\n|\\r)*([A-Za-z0-9+/=].+?)(?:-----END|\z)",
    ),
    hidden("end of a private key", always, r"\A([A-Za-z0-9+/=\s]+)-----END (?:[A-Z0-9]+ )*PRIVATE KEY"),
];

/// And values under a secret's name anywhere in a line.
static LOOSE: &[Form] = &[
    hidden(
        "password",
        password,
        r#"(?i)(?:passw(?:or)?d|passphrase|pwd|[_.-]pass)(?:[_.-]?(?:base|value|prod|dev|staging|[0-9]+))*["']?[ \t]*(?::=|=>|[:=])[ \t]*["']?([^\s"']{8,})"#,
    ),
    hidden(
        "key",
        unquoted,
        r#"(?i)(?:secret|token|(?:api|access|private|encryption|signing)[_.-]?key|credential)s?(?:[_.-]?(?:key|base|value|prod|dev|staging|[0-9]+))*["']?[ \t]*(?::=|=>|[:=])[ \t]*["']?([^\s"']{16,})"#,
    ),
];

/// Forms with their compiled patterns.
#[derive(Debug)]
pub(super) struct Patterns {
    set: RegexSet,
    each: Vec<(&'static Form, Regex)>,
}

impl Patterns {
    /// For files in which values stand in quotes.
    pub(super) fn source() -> &'static Self {
        static SOURCE: LazyLock<Patterns> = LazyLock::new(|| Patterns::of(&[TOKENS, QUOTED]));
        &SOURCE
    }

    /// For files in which they need none.
    pub(super) fn configuration() -> &'static Self {
        static CONFIGURATION: LazyLock<Patterns> = LazyLock::new(|| Patterns::of(&[TOKENS, QUOTED, LINES]));
        &CONFIGURATION
    }

    /// For any other text.
    pub(super) fn text() -> &'static Self {
        static TEXT: LazyLock<Patterns> = LazyLock::new(|| Patterns::of(&[FRAMED, TOKENS, LOOSE]));
        &TEXT
    }

    fn of(forms: &[&'static [Form]]) -> Self {
        let forms = || forms.iter().copied().flatten();
        let set = RegexSet::new(forms().map(|form| form.pattern));
        let compile = |form: &'static Form| (form, Regex::new(form.pattern).expect(COMPILED));
        Self { set: set.expect(COMPILED), each: forms().map(compile).collect() }
    }

    /// The forms that a text has, those first that tell most.
    pub(super) fn matching(&self, text: &str) -> impl Iterator<Item = (&'static Form, &Regex)> {
        self.set.matches(text).into_iter().map(|index| (self.each[index].0, &self.each[index].1))
    }
}

const COMPILED: &str = "the patterns are constants that tests compile";

/// True for the files in which a value needs no quotes.
pub(super) fn is_configuration(path: &str) -> bool {
    const EXTENSIONS: &[&str] =
        &["ini", "cfg", "cnf", "conf", "config", "yaml", "yml", "properties", "toml", "tfvars", "env"];
    const NAMES: &[&str] = &[".npmrc", ".pypirc", ".envrc", ".s3cfg", ".boto", "credentials", "config"];
    let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    name.starts_with(".env.") || EXTENSIONS.contains(&extension) || NAMES.contains(&name.as_str())
}
