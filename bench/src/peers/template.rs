//! Configuration templates: `{{word}}` stands for a text, which keeps the line's indentation.
//!
//! Owns the filling in. A word without a text, and a text without its word, are errors: neither is sent to a program.

/// Fills every `{{word}}` of `template` in. A value of several lines keeps the indentation of its line; a line that
/// holds nothing but a word whose value is empty is left out.
///
/// # Errors
/// The word that has no value, or that the template does not have.
pub(super) fn fill(template: &str, values: &[(&str, String)]) -> Result<String, String> {
    let mut used = vec![false; values.len()];
    let mut text = String::with_capacity(template.len());
    // `{{words}}` in the first lines' comment explains itself.
    for line in template.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let filled = fill_line(line, values, &mut used)?;
        if !(filled.trim().is_empty() && line.contains("{{")) {
            text.push_str(filled.trim_end());
            text.push('\n');
        }
    }
    match used.iter().position(|used| !used) {
        Some(at) => Err(values[at].0.to_owned()),
        None => Ok(text),
    }
}

fn fill_line(line: &str, values: &[(&str, String)], used: &mut [bool]) -> Result<String, String> {
    let indent = &line[..line.len() - line.trim_start().len()];
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((word, after)) = after.split_once("}}") else { return Err(after.to_owned()) };
        let at = values.iter().position(|(name, _)| *name == word).ok_or_else(|| word.to_owned())?;
        used[at] = true;
        text.push_str(before);
        text.push_str(&values[at].1.replace('\n', &format!("\n{indent}")));
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_filled_in_where_they_stand() {
        let template = "# {{words}}\na {\n  {{servers}}\n  {{empty}}\n  port {{port}}, {{port}};\n}\n";
        let values =
            [("servers", "one\ntwo".to_owned()), ("empty", String::new()), ("port", "80".to_owned())];
        assert_eq!(fill(template, &values).unwrap(), "a {\n  one\n  two\n  port 80, 80;\n}\n");
    }

    #[test]
    fn nothing_is_left_open_and_nothing_is_lost() {
        assert_eq!(fill("{{a}}", &[]), Err("a".to_owned()));
        assert_eq!(fill("x", &[("b", "1".to_owned())]), Err("b".to_owned()));
        assert_eq!(fill("{{c", &[]), Err("c".to_owned()));
    }
}
