//! The certificate that peers present: self-signed, ECDSA P-256, for the loopback, made anew for each comparison.
//!
//! Owns its files. The key never leaves the comparison's folder and is worth nothing elsewhere.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// PEM of the certificate.
    pub cert: PathBuf,
    /// PEM of its key.
    pub key: PathBuf,
    /// Both in one file, as HAProxy wants them.
    pub both: PathBuf,
}

/// Makes one by `openssl`.
///
/// # Errors
/// When there is no `openssl`, it fails, or the files cannot be written.
pub fn make(folder: &Path) -> io::Result<Certificate> {
    fs::create_dir_all(folder)?;
    let files = Certificate {
        cert: folder.join("cert.pem"),
        key: folder.join("key.pem"),
        both: folder.join("both.pem"),
    };
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]);
    command.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    command.arg("-keyout").arg(&files.key).arg("-out").arg(&files.cert);
    let done = command.stdin(Stdio::null()).output().map_err(|cause| {
        io::Error::new(cause.kind(), format!("cannot run openssl ({cause}); `cargo xtask setup` installs it"))
    })?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(io::Error::other(format!("openssl made no certificate: {}", said.trim())));
    }
    fs::write(&files.both, [fs::read(&files.cert)?, fs::read(&files.key)?].concat())?;
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_certificate_with_its_key() {
        let folder = std::env::temp_dir().join(format!("erlmcp-certificate-{}", std::process::id()));
        let files = make(&folder).unwrap();
        let both = fs::read_to_string(&files.both).unwrap();
        assert!(both.contains("BEGIN CERTIFICATE") && both.contains("PRIVATE KEY"), "{both}");
        let text = Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(&files.cert).output();
        let text = String::from_utf8(text.unwrap().stdout).unwrap();
        assert!(text.contains("prime256v1") && text.contains("127.0.0.1"), "{text}");
        fs::remove_dir_all(folder).unwrap();
    }
}
