//! Errors of the operating system, with what an operator can do about them, in one line.

use std::io;

use rustix::io::Errno;

/// `cannot WHAT: WHY; REMEDY`. `knob` names the setting that decides, for errors that have no remedy of their own.
pub(crate) fn failed(what: &str, error: &io::Error, knob: &str) -> anyhow::Error {
    anyhow::anyhow!("cannot {what}: {error}; {}", remedy(error, knob))
}

fn remedy(error: &io::Error, knob: &str) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::ADDRINUSE) => format!("stop what uses it (`ss -ltnp` shows it) or change {knob}"),
        Some(Errno::ADDRNOTAVAIL) => format!("no interface of this host has that address; change {knob}"),
        Some(Errno::ACCESS | Errno::PERM) => {
            format!(
                "this user may not; grant it, for ports below 1024 with CAP_NET_BIND_SERVICE, or change {knob}"
            )
        }
        Some(Errno::MFILE | Errno::NFILE) => {
            "no descriptor is free; raise `ulimit -n` or fs.file-max, or LimitNOFILE= of the unit".to_owned()
        }
        Some(Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN) => {
            "the system is out of memory, threads or locked memory; raise `ulimit -l`, `ulimit -u`".to_owned()
        }
        Some(Errno::NOENT | Errno::NOTDIR) => format!("create the folder, or change {knob}"),
        Some(Errno::AFNOSUPPORT) => format!("this host has no such address family; change {knob}"),
        _ => format!("check {knob}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_what_why_and_the_remedy() {
        let error = io::Error::from(Errno::ADDRINUSE);
        let line = failed("listen on 127.0.0.1:80", &error, "--listen").to_string();
        assert!(line.starts_with("cannot listen on 127.0.0.1:80: Address already in use"), "{line}");
        assert!(line.ends_with("or change --listen") && !line.contains('\n'), "{line}");
        for errno in [Errno::ACCESS, Errno::MFILE, Errno::NOMEM, Errno::NOENT, Errno::IO] {
            assert!(!failed("x", &errno.into(), "y").to_string().contains('\n'));
        }
    }
}
