//! Checks on one text file: its first line, sizes, words that must not stand in it.
//!
//! Owns the limits. Function sizes are read by indentation, which rustfmt (a step of the same test run) makes exact.

use super::{Finding, Text};

/// A file nearing this wants an owning type pulled out of it.
const FILE_LINES_WARN: usize = 600;
const FILE_LINES_MAX: usize = 900;
const FUNCTION_LINES_WARN: usize = 70;
const FUNCTION_LINES_MAX: usize = 150;

/// The one folder whose code may be `unsafe`.
const UNSAFE_FOLDER: &str = "dataplane/ring/";

pub(super) fn check(file: &Text) -> Vec<Finding> {
    let mut found = machine_paths(file);
    if file.path.ends_with(".md") {
        found.extend(one_title(file));
    }
    if file.path.ends_with(".rs") {
        found.extend(opens_with_docs(file));
        found.extend(file_size(file));
        found.extend(function_sizes(file));
        found.extend(forbidden_words(file));
    }
    found
}

fn opens_with_docs(file: &Text) -> Option<Finding> {
    let opens = file.text.starts_with("//! ");
    (!opens)
        .then(|| Finding::error(&file.path, "opens without `//!`: say what it owns and what it never does"))
}

fn file_size(file: &Text) -> Option<Finding> {
    let lines = file.text.lines().count();
    let what = format!("{lines} lines: which owning type wants its own file?");
    if lines > FILE_LINES_MAX {
        return Some(Finding::error(&file.path, format!("{what} ({FILE_LINES_MAX} at most)")));
    }
    (lines > FILE_LINES_WARN).then(|| Finding::warning(&file.path, what))
}

fn function_sizes(file: &Text) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut open: Vec<(usize, usize, &str)> = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let rest = line.trim_start();
        if let Some(name) = function_name(rest) {
            open.push((indent, index, name));
        }
        // A declaration without a body ends where it stands.
        if open.last().is_some_and(|(at, _, _)| *at == indent && rest.ends_with(';')) {
            open.pop();
        }
        if rest == "}" && open.last().is_some_and(|(at, _, _)| *at == indent) {
            let Some((_, start, name)) = open.pop() else { continue };
            let lines = index - start + 1;
            let place = format!("{}:{}", file.path, start + 1);
            // A test may be a long table of cases.
            if lines > FUNCTION_LINES_MAX && !is_test(&file.path) {
                found.push(Finding::error(
                    place,
                    format!("`{name}` has {lines} lines ({FUNCTION_LINES_MAX} at most)"),
                ));
            } else if lines > FUNCTION_LINES_WARN {
                found.push(Finding::warning(
                    place,
                    format!("`{name}` has {lines} lines: decide apart from doing?"),
                ));
            }
        }
    }
    found
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// The name in a line that begins a function.
fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    let qualifier = |word: &str| {
        matches!(word, "pub" | "const" | "async" | "unsafe" | "extern" | "\"C\"")
            || (word.starts_with("pub(") && word.ends_with(')'))
    };
    let word = words.find(|word| !qualifier(word))?;
    let name = (word == "fn").then(|| words.next()).flatten()?;
    Some(&name[..name.find(['(', '<']).unwrap_or(name.len())])
}

fn forbidden_words(file: &Text) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let code = line.trim_start();
        let place = || format!("{}:{}", file.path, index + 1);
        if code.starts_with(concat!("#[", "allow(")) || code.starts_with(concat!("#![", "allow(")) {
            found.push(Finding::error(place(), "a bare allow: write `#[expect(lint, reason = \"…\")]`"));
        }
        for word in
            [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("FIX", "ME"), concat!("XX", "X")]
        {
            if code.contains(word) {
                found.push(Finding::error(
                    place(),
                    format!("`{word}`: do it, or file it and say nothing here"),
                ));
            }
        }
        if !file.path.starts_with(UNSAFE_FOLDER) && is_unsafe(code) {
            found.push(Finding::error(place(), format!("unsafe code outside {UNSAFE_FOLDER}")));
        }
    }
    found
}

fn is_unsafe(code: &str) -> bool {
    let comment_or_attribute = code.starts_with("//") || code.starts_with('#');
    let mut parts = code.split(concat!("un", "safe"));
    let before = parts.next().unwrap_or_default();
    let starts_word = before.is_empty() || before.ends_with([' ', '(', '{']);
    let block = |rest: &str| [" {", " fn ", " impl ", " extern "].iter().any(|after| rest.starts_with(after));
    !comment_or_attribute && starts_word && parts.any(block)
}

/// Paths that only one machine has.
fn machine_paths(file: &Text) -> Vec<Finding> {
    const PATHS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for path in PATHS {
            let named = line.match_indices(path).any(|(at, _)| {
                // Within a longer path or address it is somebody else's folder of that name.
                let longer =
                    line[..at].ends_with(|before: char| before.is_alphanumeric() || "._-}/".contains(before));
                !longer && line[at + path.len()..].starts_with(|after: char| after.is_alphanumeric())
            });
            if named {
                found.push(Finding::error(
                    format!("{}:{}", file.path, index + 1),
                    format!("a path of one machine, {path}"),
                ));
            }
        }
    }
    found
}

fn one_title(file: &Text) -> Option<Finding> {
    let mut fenced = false;
    let mut titles = 0;
    for line in file.text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        titles += usize::from(!fenced && line.starts_with("# "));
    }
    let good = titles == 1 && file.text.starts_with("# ");
    (!good).then(|| Finding::error(&file.path, format!("{titles} titles: one `# ` title, on the first line")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> Text {
        Text { path: path.into(), text: text.into() }
    }

    fn errors(path: &str, text: &str) -> usize {
        check(&file(path, text)).iter().filter(|finding| finding.error).count()
    }

    fn function(lines: usize) -> String {
        format!(
            "//! x\nimpl A {{\n    pub(crate) async fn long<T>(\n{}    }}\n}}\n",
            "        x();\n".repeat(lines - 2)
        )
    }

    #[test]
    fn a_file_opens_with_its_purpose() {
        assert_eq!(errors("a/src/x.rs", "use a;\n"), 1);
        assert_eq!(errors("a/src/x.rs", "//! Owns a.\nuse a;\n"), 0);
    }

    #[test]
    fn sizes() {
        let of = |lines: usize| check(&file("x.rs", &format!("//! x\n{}", "x\n".repeat(lines - 1))));
        assert!(of(FILE_LINES_WARN).is_empty());
        assert!(!of(FILE_LINES_WARN + 1)[0].error);
        assert!(of(FILE_LINES_MAX + 1)[0].error);
        let long = |lines| check(&file("x.rs", &function(lines)));
        assert!(long(FUNCTION_LINES_WARN).is_empty());
        assert_eq!(long(FUNCTION_LINES_WARN + 1)[0].place, "x.rs:3");
        assert!(long(FUNCTION_LINES_WARN + 1)[0].what.contains("`long` has 71 lines"));
        assert!(long(FUNCTION_LINES_MAX + 1)[0].error);
        assert!(!check(&file("a/tests/x.rs", &function(FUNCTION_LINES_MAX + 1)))[0].error);
    }

    #[test]
    fn a_declaration_is_no_function_body() {
        let text =
            format!("//! x\ntrait A {{\n    fn short(&self);\n{}}}\n", "    const X: u8;\n".repeat(200));
        assert_eq!(check(&file("x.rs", &text)), []);
        let wrapped = format!(
            "//! x\ntrait A {{\n    fn short(\n        a: u8,\n    );\n{}}}\n",
            "    const X: u8;\n".repeat(200)
        );
        assert_eq!(check(&file("x.rs", &wrapped)), []);
    }

    #[test]
    fn words_that_must_not_stand() {
        for line in [
            concat!("#[", "allow(dead_code)]"),
            concat!("    #![", "allow(dead_code)]"),
            concat!("todo", "!()"),
            concat!("// FIX", "ME: later"),
            concat!("let x = un", "safe { y() };"),
            concat!("un", "safe impl Send for X {}"),
        ] {
            assert_eq!(errors("a/src/x.rs", &format!("//! x\n{line}\n")), 1, "{line}");
        }
        let raw = concat!("//! x\nlet x = un", "safe { y() };\n");
        assert_eq!(errors("dataplane/ring/src/x.rs", raw), 0);
        assert_eq!(errors("a/src/x.rs", "//! x\n#[expect(dead_code, reason = \"y\")]\n"), 0);
    }

    #[test]
    fn paths_of_a_machine() {
        for path in [concat!("see /ro", "ot/x"), concat!("\"/wo", "rk/main\""), concat!("/ho", "me/jane/x")] {
            assert_eq!(errors("a.yaml", path), 1, "{path}");
        }
        assert_eq!(errors("a.yaml", "https://example.org/work/shop and /home/ itself"), 0);
    }

    #[test]
    fn one_title_on_the_first_line() {
        assert_eq!(errors("README.md", "# a\n\n```sh\n# comment\n```\n"), 0);
        assert_eq!(errors("README.md", "# a\n# b\n"), 1);
        assert_eq!(errors("README.md", "text\n# a\n"), 1);
    }
}
