//! A log file that is turned when it is full: `log`, `log.1`, `log.2`, … the oldest one goes.
//!
//! Owns the files of one path. Never loses a line to a failed turn: it then writes on into the full file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Mutex;

use tracing_subscriber::fmt::MakeWriter;

use crate::supervise::lock;

/// A file with a bound.
#[derive(Debug)]
pub struct TurnedFile {
    path: PathBuf,
    bytes_max: u64,
    files_max: u32,
    open: Mutex<(File, u64)>,
}

impl TurnedFile {
    /// Opens for appending; at most `files_max` files of about `bytes_max` are kept.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: PathBuf, bytes_max: u64, files_max: u32) -> io::Result<Self> {
        let open = append(&path)?;
        Ok(Self { path, bytes_max, files_max, open: Mutex::new(open) })
    }

    fn numbered(&self, number: u32) -> PathBuf {
        if number == 0 {
            return self.path.clone();
        }
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn turn(&self, open: &mut (File, u64)) -> io::Result<()> {
        for number in (0..self.files_max.saturating_sub(1)).rev() {
            match std::fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.files_max <= 1 {
            open.0.set_len(0)?;
        }
        *open = append(&self.path)?;
        Ok(())
    }
}

fn append(path: &std::path::Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

impl Write for &TurnedFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut open = lock(&self.open);
        if open.1 > 0 && open.1 + line.len() as u64 > self.bytes_max {
            // Not turned is not lost.
            let _ = self.turn(&mut open);
        }
        open.0.write_all(line)?;
        open.1 += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for TurnedFile {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_are_turned_and_the_oldest_goes() {
        let folder = std::env::temp_dir().join(format!("erlmcp-turned-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("log");
        let file = TurnedFile::open(path.clone(), 10, 3).unwrap();
        for line in ["one.....\n", "two.....\n", "three...\n", "four....\n"] {
            (&file).write_all(line.as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert_eq!(
            (read("log"), read("log.1"), read("log.2")),
            ("four....\n".into(), "three...\n".into(), "two.....\n".into())
        );
        assert!(!folder.join("log.3").exists());
        drop(file);
        let again = TurnedFile::open(path, 10, 1).unwrap();
        (&again).write_all(b"five....\n").unwrap();
        assert_eq!(read("log"), "five....\n");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
