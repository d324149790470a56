//! The one file in which an authority lives: the root certificate, its key, and the key that signs tokens, as PEM.
//!
//! One file, because its replacement is one rename: there is no moment with half an authority.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::AuthorityError;

const FILE: &str = "authority.pem";
const LOCK: &str = "authority.lock";
const PEM_LINE: usize = 64;

/// What the file holds.
pub(super) struct Material {
    pub(super) root: CertificateDer<'static>,
    pub(super) root_key: PrivatePkcs8KeyDer<'static>,
    pub(super) token_key: PrivatePkcs8KeyDer<'static>,
}

impl Material {
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, AuthorityError> {
        let corrupt = |rule: &str| AuthorityError::Corrupt { path: path.to_owned(), rule: rule.to_owned() };
        let root =
            CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| corrupt("no root certificate"))?;
        let mut keys = PrivatePkcs8KeyDer::pem_slice_iter(text.as_bytes());
        let mut key = |missing| keys.next().and_then(Result::ok).ok_or_else(|| corrupt(missing));
        Ok(Self { root, root_key: key("no key of the root")?, token_key: key("no key of the tokens")? })
    }
}

/// Reads the file in `dir`, or writes what `generate` makes when there is none; a lock makes racing processes agree.
pub(super) fn read_or_create(
    dir: &Path,
    generate: impl FnOnce() -> Result<String, AuthorityError>,
) -> Result<(PathBuf, String), AuthorityError> {
    let path = dir.join(FILE);
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))?;
    let lock = private_file(&dir.join(LOCK)).map_err(at(dir))?;
    lock.lock().map_err(at(dir))?;
    match fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = generate()?;
            write(dir, &path, &text).map_err(at(&path))?;
            Ok((path, text))
        }
        Err(error) => Err(at(&path)(error)),
    }
}

/// PEM (RFC 7468) of some DER.
pub(super) fn pem(kind: SectionKind, der: &[u8]) -> String {
    let label = match kind {
        SectionKind::PrivateKey => "PRIVATE KEY",
        _ => "CERTIFICATE",
    };
    let encoded = STANDARD.encode(der);
    let lines: Vec<&str> = encoded
        .as_bytes()
        .chunks(PEM_LINE)
        .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Durable before it is visible, and visible at once.
fn write(dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = private_file(&draft)?;
    file.set_len(0)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(dir)?.sync_all()
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

fn at(path: &Path) -> impl Fn(io::Error) -> AuthorityError + '_ {
    move |source| AuthorityError::File { path: path.to_owned(), source }
}
