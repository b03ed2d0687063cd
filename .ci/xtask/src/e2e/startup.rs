//! What keeps the gateway from starting: one line on standard error that says what and how to mend it, and exit 1.
//!
//! Owns the broken surroundings. Never accepts a second line, except one per error of a configuration.

use std::ffi::OsString;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::process::{ServerSpec, free_addr};
use super::{Context, Outcome};

const END_LIMIT: Duration = Duration::from_secs(10);
/// Root without the rights that root has beyond those of any user: files' modes and low ports count again. Better than
/// another user, who might not reach the tree that this stands in.
const WITHOUT_RIGHTS: [&str; 3] = [
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search,-net_bind_service",
    "--inh-caps=-dac_override,-dac_read_search,-net_bind_service",
];
/// Enough for the process to run at all and too few to serve with; and one that fails early.
const DESCRIPTORS: [u32; 4] = [8, 16, 24, 40];

/// A way not to start.
struct Broken {
    name: String,
    wrapper: Vec<OsString>,
    args: Vec<OsString>,
    /// What the line must say: what is wrong, and the remedy.
    says: Vec<String>,
}

impl Broken {
    fn new(name: impl Into<String>, args: &[&str], says: &[&str]) -> Self {
        let says = says.iter().map(|text| (*text).to_owned()).collect();
        Self { name: name.into(), wrapper: Vec::new(), args: words(args), says }
    }

    fn within(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = words(wrapper);
        self
    }

    /// As a user without special rights, which everybody but root is anyway.
    fn without_rights(self) -> Self {
        if rustix::process::geteuid().is_root() { self.within(&WITHOUT_RIGHTS) } else { self }
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

pub(super) fn run(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    // Held for as long as the suite runs.
    let (taken, taken_admin) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let mut all = addresses(&taken.local_addr()?.to_string(), &taken_admin.local_addr()?.to_string());
    all.extend(files(context)?);
    all.extend(rights(context)?);
    for count in DESCRIPTORS {
        let broken = Broken::new(format!("{count} descriptors"), &[], &["descriptor", "ulimit -n"]);
        all.push(broken.within(&["prlimit", &format!("--nofile={count}:{count}"), "--"]));
    }
    for broken in all {
        let line = ends_with_one_line(context, &broken.name.replace(' ', "-"), &broken.wrapper, &broken.args);
        let result = line.and_then(|line| {
            for text in &broken.says {
                ensure!(line.contains(text.as_str()), "the line says nothing of `{text}`: {line}");
            }
            Ok(())
        });
        outcome.case(broken.name, result);
    }
    outcome.case("each error of a configuration has its line", many_errors(context));
    usage(context, &mut outcome);
    Ok(outcome)
}

/// Addresses that others have, or that are not this host's.
fn addresses(taken: &str, taken_admin: &str) -> Vec<Broken> {
    let in_use = |what: &str, at: &str, knob: &str| {
        Broken::new(format!("{what} in use"), &[knob, at], &[at, "in use", "ss -ltnp", knob])
    };
    let embedded = format!("runtime.embedded.address={taken}");
    vec![
        in_use("address", taken, "--listen"),
        in_use("admin address", taken_admin, "--admin"),
        Broken::new(
            "embedded node's address in use",
            &["--set", &embedded],
            &[taken, "in use", "embedded.address"],
        ),
        Broken::new(
            "address of another host",
            &["--listen", "192.0.2.1:8080"],
            &["192.0.2.1:8080", "no interface", "--listen"],
        ),
    ]
}

/// Configurations that are not there or cannot be read.
fn files(context: &Context) -> Result<Vec<Broken>> {
    let missing = context.scratch.join("missing").display().to_string();
    let file = context.write("a-file", "listeners: []\n")?.display().to_string();
    let secret = context.write("secret/runtime.yaml", "driver: auto\n")?;
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000))?;
    let folder = secret.parent().context("the folder of a file")?.display().to_string();
    let log = context.write("log/runtime.yaml", "log: {path: /nonexistent/erlmcp.log}\n")?;
    let access = context.write("access/runtime.yaml", "access_log: {path: /nonexistent/access.log}\n")?;
    let folder_of = |path: &std::path::Path| path.parent().map(|path| path.display().to_string());
    let (log, access) = (folder_of(&log).unwrap_or_default(), folder_of(&access).unwrap_or_default());
    Ok(vec![
        Broken::new(
            "no such folder",
            &["--config", &missing],
            &[&missing, "no such folder", "name a folder"],
        ),
        Broken::new("a file for a folder", &["--config", &file], &[&file, "folder", "name a folder"]),
        Broken::new(
            "unreadable file",
            &["--config", &folder],
            &["runtime.yaml", "Permission denied", "readable"],
        )
        .without_rights(),
        Broken::new("no folder for the log", &["--config", &log], &["/nonexistent/erlmcp.log", "log.path"]),
        Broken::new(
            "no folder for the access log",
            &["--config", &access],
            &["/nonexistent/access.log", "access_log.path"],
        ),
    ])
}

/// What only root may do.
fn rights(context: &Context) -> Result<Vec<Broken>> {
    let closed = context.scratch.join("closed");
    std::fs::create_dir_all(&closed)?;
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o555))?;
    let socket = format!("unix:{}", closed.join("gateway.sock").display());
    let mut all = vec![Broken::new(
        "no right to make a socket file",
        &["--listen", &socket],
        &["gateway.sock", "Permission denied", "--listen"],
    )];
    let first: u32 = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .context("read the first port that anyone may have")?
        .trim()
        .parse()
        .context("read a port")?;
    if first > 80 {
        all.push(Broken::new(
            "no right to a low port",
            &["--listen", "127.0.0.1:80"],
            &["127.0.0.1:80", "Permission denied", "CAP_NET_BIND_SERVICE"],
        ));
    }
    Ok(all.into_iter().map(|broken| broken.without_rights()).collect())
}

/// The only line that a gateway prints before it ends with 1.
///
/// # Errors
/// When it does not end, ends otherwise, or prints more or less than one line.
pub(super) fn ends_with_one_line(
    context: &Context,
    name: &str,
    wrapper: &[OsString],
    args: &[OsString],
) -> Result<String> {
    let mut lines = ends_with_lines(context, name, wrapper, args)?;
    match (lines.pop(), lines.len()) {
        (Some(line), 0) => Ok(line),
        (Some(last), more) => bail!("{} lines instead of one:\n{}\n{last}", more + 1, lines.join("\n")),
        (None, _) => bail!("it printed nothing"),
    }
}

/// Runs `erlmcp run`, on free addresses where `args` name none; its lines.
fn ends_with_lines(
    context: &Context,
    name: &str,
    wrapper: &[OsString],
    args: &[OsString],
) -> Result<Vec<String>> {
    let mut words = wrapper.to_vec();
    words.extend([context.binary.clone().into(), "run".into()]);
    for flag in ["--listen", "--admin"] {
        if args.iter().all(|arg| arg != flag) {
            words.extend([flag.into(), free_addr()?.to_string().into()]);
        }
    }
    words.extend_from_slice(args);
    let (program, args) = words.split_first().context("compose the command")?;
    let mut server = ServerSpec::new(program).args(args).dir(&context.scratch).start(context.log(name))?;
    let status = server.wait(END_LIMIT)?;
    let output = server.output();
    ensure!(status.code() == Some(1), "{status} instead of exit 1:\n{output}");
    Ok(output.lines().map(str::to_owned).collect())
}

fn many_errors(context: &Context) -> Result<()> {
    let runtime = "driver: rocket\ncpus: many\nbuffers: {small: {count: 3}}\ncolour: blue\n";
    let file = context.write("many/runtime.yaml", runtime)?;
    context.write("many/load-balancer.yaml", "load_balancer:\n  nodes:\n    - {host: a, prot: 1}\n")?;
    let folder = file.parent().context("the folder of a file")?.display().to_string();
    let lines = ends_with_lines(context, "many-errors", &[], &words(&["--config", &folder]))?;
    let wanted = [
        ("runtime.yaml:1:9", "rocket"),
        ("runtime.yaml:2:7", "many"),
        ("runtime.yaml:3:", "count"),
        ("runtime.yaml:4:1", "colour"),
        ("load-balancer.yaml:3:", "prot"),
    ];
    for (place, what) in wanted {
        ensure!(
            lines.iter().any(|line| line.contains(place) && line.contains(what)),
            "no line for {what} at {place}:\n{}",
            lines.join("\n")
        );
    }
    ensure!(
        lines.iter().all(|line| line.contains(".yaml:")),
        "lines that name no place:\n{}",
        lines.join("\n")
    );
    Ok(())
}

/// Wrong use of the command line ends with 2 and says what was wrong with it.
fn usage(context: &Context, outcome: &mut Outcome) {
    let free = free_addr().map(|addr| addr.to_string()).unwrap_or_default();
    let cases: [(&[&str], &str); 6] = [
        (&["run", "--no-such-flag"], "--no-such-flag"),
        (&["run", "--driver", "rocket"], "io_uring"),
        (&["run", "--listen", "nowhere"], "nowhere"),
        (&["run", "--upstream", "ftp://a"], "ftp://"),
        (&["run", "--listen", &free, "--set", "no-equals"], "PATH=VALUE"),
        (&["no-such-command"], "no-such-command"),
    ];
    for (args, says) in cases {
        let done = Command::new(&context.binary).args(args).output();
        let result = done.context("run it").and_then(|done| {
            let text = String::from_utf8_lossy(&done.stderr);
            ensure!(done.status.code() == Some(2), "{} instead of exit 2: {text}", done.status);
            ensure!(text.contains(says), "it says nothing of `{says}`: {text}");
            Ok(())
        });
        outcome.case(format!("usage: {}", args.join(" ").replace(&free, "ADDR")), result);
    }
}
