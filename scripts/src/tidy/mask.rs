//! Blanks what is not code in a Rust source: comments, and the insides of string and character
//! literals. Line breaks and columns stay, so a finding in the mask is a place in the file.

/// Stands in a mask for each character inside of a literal.
pub const LITERAL: char = '\u{1}';

/// The source with comments turned into spaces and the insides of literals into `LITERAL`.
pub fn mask(source: &str) -> String {
    let mut masker = Masker { rest: source, out: String::with_capacity(source.len()) };
    while let Some(next) = masker.rest.chars().next() {
        masker.step(next);
    }
    masker.out
}

struct Masker<'a> {
    rest: &'a str,
    out: String,
}

impl Masker<'_> {
    fn step(&mut self, next: char) {
        if self.rest.starts_with("//") {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.blank(end, ' ');
        } else if self.rest.starts_with("/*") {
            self.blank(block_comment_end(self.rest), ' ');
        } else if let Some(hashes) = raw_string_hashes(self.rest, &self.out) {
            let opening = self.rest.find('"').map_or(self.rest.len(), |quote| quote + 1);
            self.keep(opening);
            let closing = format!("\"{}", "#".repeat(hashes));
            let end = self.rest.find(&closing).unwrap_or(self.rest.len());
            self.blank(end, LITERAL);
            self.keep(closing.len());
        } else if next == '"' {
            self.literal('"');
        } else if next == '\'' && is_character(self.rest) {
            self.literal('\'');
        } else {
            self.keep(next.len_utf8());
        }
    }

    /// Blanks a literal between its quotes, which may be escaped inside of it.
    fn literal(&mut self, quote: char) {
        self.keep(1);
        let mut is_escaped = false;
        let end = self.rest.find(|c| {
            let ends = c == quote && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            ends
        });
        self.blank(end.unwrap_or(self.rest.len()), LITERAL);
        self.keep(1);
    }

    fn keep(&mut self, bytes: usize) {
        let (kept, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.out.push_str(kept);
        self.rest = rest;
    }

    fn blank(&mut self, bytes: usize, with: char) {
        let (blanked, rest) = self.rest.split_at(bytes);
        self.out.extend(blanked.chars().map(|c| if c == '\n' { c } else { with }));
        self.rest = rest;
    }
}

fn block_comment_end(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// How many `#` a raw string that begins here has, if one does. `before` is what stands left of it:
/// the `r` of a name is no prefix.
fn raw_string_hashes(text: &str, before: &str) -> Option<usize> {
    let is_in_name = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let text = text.strip_prefix('b').or_else(|| text.strip_prefix('c')).unwrap_or(text);
    let after = text.strip_prefix('r').filter(|_| !is_in_name)?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// Whether the quote here opens a character and not a lifetime: `'a'` and `'\n'`, but not `'a`.
fn is_character(text: &str) -> bool {
    let mut inside = text[1..].chars();
    match inside.next() {
        Some('\\') => true,
        Some(_) => inside.next() == Some('\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &str) {
        assert_eq!(mask(source).replace(LITERAL, "_"), expected);
    }

    #[test]
    fn comments_are_blank_and_lines_stay() {
        check("a // b\nc", "a     \nc");
        check("a /* b /* c\n */ d */ e", "a          \n         e");
    }

    #[test]
    fn literals_are_blank_between_their_quotes() {
        check(r#"f("a\"b", 'c', '\'', b"d")"#, r#"f("____", '_', '__', b"_")"#);
        check("r#\"a\"b\"# + r\"c\\\"", "r#\"___\"# + r\"__\"");
        check("\"a // b\nc\"", "\"______\n_\"");
    }

    #[test]
    fn lifetimes_and_names_are_code() {
        check(
            "fn f<'a>(for_r: &'a str) { number\"x\" }",
            "fn f<'a>(for_r: &'a str) { number\"_\" }",
        );
    }

    #[test]
    fn an_open_end_is_no_panic() {
        for open in ["\"a", "/* a", "r#\"a", "'", "'\\", "// a", "é\"é"] {
            assert_eq!(mask(open).chars().count(), open.chars().count());
        }
    }
}
