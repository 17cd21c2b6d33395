//! A line cut into tokens: words, quoted texts, settings `name=value`, and semicolons; and its
//! comment. Words are everything between blanks; a comment begins at a `#` that begins a word.

/// A token and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// From 1, in characters.
    pub column: u32,
    /// What it is.
    pub kind: TokenKind,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TokenKind {
    Word(String),
    Quoted(String),
    Setting { name: String, value: String, quoted: bool },
    Semicolon,
}

impl TokenKind {
    /// As a reader is shown it.
    pub fn show(&self) -> String {
        match self {
            TokenKind::Word(word) => word.clone(),
            TokenKind::Quoted(text) => super::value::quoted(text),
            TokenKind::Setting { name, value, .. } => format!("{name}={value}"),
            TokenKind::Semicolon => ";".to_owned(),
        }
    }
}

/// A line's tokens, and its comment without the sign.
pub struct Lexed {
    /// In order.
    pub tokens: Vec<Token>,
    /// If it has one.
    pub comment: Option<String>,
    /// The column behind its last token.
    pub end: u32,
}

struct Letters<'a> {
    letters: std::iter::Peekable<std::str::Chars<'a>>,
    column: u32,
}

impl Letters<'_> {
    fn peek(&mut self) -> Option<char> {
        self.letters.peek().copied()
    }

    fn next(&mut self) -> Option<char> {
        self.column += 1;
        self.letters.next()
    }

    /// The text up to the closing quote, which is taken; the opening one was.
    fn quoted(&mut self) -> Result<String, (u32, String)> {
        let opened = self.column - 1;
        let mut text = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(text),
                Some('\\') => match self.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some('0') => text.push('\0'),
                    Some(plain @ ('"' | '\\')) => text.push(plain),
                    _ => {
                        let what = "expected one of \\\" \\\\ \\n \\t \\r \\0 after a backslash";
                        return Err((self.column - 1, what.to_owned()));
                    }
                },
                Some(letter) => text.push(letter),
                None => {
                    return Err((
                        opened,
                        "expected a closing `\"`: this quote is never closed".to_owned(),
                    ));
                }
            }
        }
    }
}

fn is_setting_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
}

/// Cuts a line; on failure tells where and why.
pub fn lex(line: &str) -> Result<Lexed, (u32, String)> {
    let mut letters = Letters { letters: line.chars().peekable(), column: 1 };
    let mut tokens = Vec::new();
    let mut end = 1;
    while let Some(letter) = letters.peek() {
        let column = letters.column;
        match letter {
            letter if letter.is_whitespace() => {
                letters.next();
                continue;
            }
            '#' => {
                let comment: String = letters.letters.skip(1).collect();
                return Ok(Lexed { tokens, comment: Some(comment.trim_end().to_owned()), end });
            }
            ';' => {
                letters.next();
                tokens.push(Token { column, kind: TokenKind::Semicolon });
            }
            '"' => {
                letters.next();
                let kind = TokenKind::Quoted(letters.quoted()?);
                tokens.push(Token { column, kind });
            }
            _ => tokens.push(Token { column, kind: word(&mut letters)? }),
        }
        end = letters.column;
    }
    Ok(Lexed { tokens, comment: None, end })
}

fn word(letters: &mut Letters<'_>) -> Result<TokenKind, (u32, String)> {
    let mut text = String::new();
    while let Some(letter) = letters.peek() {
        if letter.is_whitespace() || matches!(letter, ';' | '"') {
            break;
        }
        letters.next();
        if letter == '=' && is_setting_name(&text) {
            return setting(text, letters);
        }
        text.push(letter);
    }
    Ok(TokenKind::Word(text))
}

fn setting(name: String, letters: &mut Letters<'_>) -> Result<TokenKind, (u32, String)> {
    if letters.peek() == Some('"') {
        letters.next();
        return Ok(TokenKind::Setting { name, value: letters.quoted()?, quoted: true });
    }
    let mut value = String::new();
    while let Some(letter) = letters.peek() {
        if letter.is_whitespace() || matches!(letter, ';' | '"') {
            break;
        }
        value.push(letter);
        letters.next();
    }
    Ok(TokenKind::Setting { name, value, quoted: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_words_texts_settings_and_a_comment() {
        let lexed = lex("put \"a key\" v=1 x=\"y z\" ; | -> # why").expect("legal");
        let shown: Vec<String> = lexed
            .tokens
            .iter()
            .map(|token| format!("{}:{}", token.column, token.kind.show()))
            .collect();
        assert_eq!(shown, ["1:put", "5:\"a key\"", "13:v=1", "17:x=y z", "25:;", "27:|", "29:->"]);
        assert_eq!(lexed.comment.as_deref(), Some(" why"));
    }

    #[test]
    fn an_open_quote_and_an_unknown_escape_are_refused_where_they_are() {
        assert_eq!(lex("put \"a").err().map(|(column, _)| column), Some(5));
        assert_eq!(lex("put \"a\\q\"").err().map(|(column, _)| column), Some(8));
    }
}
