//! Splits Rust source into tokens, so that a rule about code does not stumble over a comment or a
//! string. It knows just enough of the language for that and never fails: what it does not
//! understand becomes punctuation.

/// One token and where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is, with its text where that matters.
    pub kind: TokenKind,
    /// Counted from 1.
    pub line: usize,
}

/// The kinds of token that the rules tell apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKind {
    /// A name or keyword; a raw identifier without its `r#`.
    Ident(String),
    /// A number with its suffix.
    Number(String),
    /// A string, byte string, C string or character, without its text.
    Quoted,
    /// `'name`.
    Lifetime,
    /// Any other single character.
    Punct(char),
}

impl Token {
    /// Whether it is this name or keyword.
    pub fn is_ident(&self, name: &str) -> bool {
        matches!(&self.kind, TokenKind::Ident(text) if text == name)
    }

    /// Whether it is this character.
    pub fn is_punct(&self, character: char) -> bool {
        self.kind == TokenKind::Punct(character)
    }
}

/// The tokens of a source text; comments and white space are gone.
pub fn lex(source: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        chars: source.chars().collect(),
        at: 0,
        line: 1,
        tokens: Vec::new(),
    };
    lexer.run();
    lexer.tokens
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn bump(&mut self) -> char {
        let current = self.peek(0);
        if current == '\n' {
            self.line += 1;
        }
        self.at += 1;
        current
    }

    fn bump_while(&mut self, accept: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while self.at < self.chars.len() && accept(self.peek(0)) {
            text.push(self.bump());
        }
        text
    }

    fn run(&mut self) {
        while self.at < self.chars.len() {
            let line = self.line;
            let kind = match (self.peek(0), self.peek(1)) {
                ('/', '/') => {
                    self.bump_while(|c| c != '\n');
                    continue;
                }
                ('/', '*') => {
                    self.block_comment();
                    continue;
                }
                (c, _) if c.is_whitespace() => {
                    self.bump();
                    continue;
                }
                ('"', _) => self.string(),
                ('\'', _) => self.quote(),
                (c, _) if c.is_ascii_digit() => self.number(),
                (c, _) if is_name_start(c) => self.name(),
                _ => TokenKind::Punct(self.bump()),
            };
            self.tokens.push(Token { kind, line });
        }
    }

    /// Block comments nest.
    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => {
                    depth += 1;
                    self.bump();
                }
                ('*', '/') => {
                    depth -= 1;
                    self.bump();
                }
                _ => {}
            }
            self.bump();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) -> TokenKind {
        self.bump();
        while self.at < self.chars.len() {
            match self.bump() {
                '\\' => {
                    self.bump();
                }
                '"' => break,
                _ => {}
            }
        }
        TokenKind::Quoted
    }

    /// From the first `#` or `"` after the prefix; nothing inside is an escape.
    fn raw_string(&mut self) -> TokenKind {
        let hashes = self.bump_while(|c| c == '#').len();
        self.bump();
        while self.at < self.chars.len() {
            if self.bump() == '"' && (0..hashes).all(|ahead| self.peek(ahead) == '#') {
                for _ in 0..hashes {
                    self.bump();
                }
                break;
            }
        }
        TokenKind::Quoted
    }

    /// A character or a lifetime: `'a'` closes, `'a` does not.
    fn quote(&mut self) -> TokenKind {
        self.bump();
        if self.peek(0) == '\\' {
            self.bump();
            self.bump();
            self.bump_while(|c| c != '\'' && c != '\n');
            self.bump();
            return TokenKind::Quoted;
        }
        if self.peek(1) == '\'' {
            self.bump();
            self.bump();
            return TokenKind::Quoted;
        }
        self.bump_while(is_name_part);
        TokenKind::Lifetime
    }

    fn number(&mut self) -> TokenKind {
        let mut text = self.bump_while(is_name_part);
        let after_dot = matches!(self.tokens.last(), Some(token) if token.is_punct('.'));
        // `1.5` is one number; `1..5`, `1.max(2)` and the fields of `pair.0.1` are not.
        if !after_dot && self.peek(0) == '.' && self.peek(1).is_ascii_digit() {
            text.push(self.bump());
            text.push_str(&self.bump_while(is_name_part));
        }
        let exponent = text.ends_with(['e', 'E']) && !text.starts_with("0x");
        if exponent && matches!(self.peek(0), '+' | '-') {
            text.push(self.bump());
            text.push_str(&self.bump_while(is_name_part));
        }
        TokenKind::Number(text)
    }

    fn name(&mut self) -> TokenKind {
        let text = self.bump_while(is_name_part);
        match (text.as_str(), self.peek(0), self.peek(1)) {
            ("r" | "br" | "cr", '"', _) | ("r" | "br" | "cr", '#', '"' | '#') => self.raw_string(),
            ("b" | "c", '"', _) => self.string(),
            ("b", '\'', _) => self.quote(),
            ("r", '#', _) => {
                self.bump();
                TokenKind::Ident(self.bump_while(is_name_part))
            }
            _ => TokenKind::Ident(text),
        }
    }
}

fn is_name_start(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn is_name_part(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idents(source: &str) -> Vec<String> {
        lex(source)
            .into_iter()
            .filter_map(|token| match token.kind {
                TokenKind::Ident(text) => Some(text),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn skips_comments_and_strings() {
        let source = r##"
            // std one
            /* std /* nested std */ still std */
            let a = "std \" std"; let b = r#"std " std"#; let c = b"std"; let d = br"std\";
            after
        "##;
        assert_eq!(
            idents(source),
            ["let", "a", "let", "b", "let", "c", "let", "d", "after"]
        );
    }

    #[test]
    fn tells_characters_from_lifetimes() {
        let kinds: Vec<_> = lex(r"'a' 'b '\'' b'x' '\u{1F600}' end")
            .into_iter()
            .map(|t| t.kind)
            .collect();
        assert_eq!(
            kinds,
            [
                TokenKind::Quoted,
                TokenKind::Lifetime,
                TokenKind::Quoted,
                TokenKind::Quoted,
                TokenKind::Quoted,
                TokenKind::Ident("end".into()),
            ]
        );
    }

    #[test]
    fn tells_floats_from_ranges_methods_and_fields() {
        let numbers: Vec<_> = lex("1.5 0..10 1.max(2) pair.0.1 2f64 1e-3 0xfe")
            .into_iter()
            .filter_map(|token| match token.kind {
                TokenKind::Number(text) => Some(text),
                _ => None,
            })
            .collect();
        assert_eq!(
            numbers,
            ["1.5", "0", "10", "1", "2", "0", "1", "2f64", "1e-3", "0xfe"]
        );
    }

    #[test]
    fn counts_lines_across_strings_and_comments() {
        let tokens = lex("a\n\"x\ny\"\n/* \n */ b");
        assert_eq!(tokens.last().map(|token| token.line), Some(5));
    }

    #[test]
    fn a_raw_identifier_is_its_name() {
        assert_eq!(idents("r#type"), ["type"]);
    }

    #[test]
    fn ends_where_the_text_ends_even_if_nothing_closes() {
        for source in ["\"open", "/* open", "r#\"open", "'", "b'", "1e", "'\\"] {
            lex(source);
        }
    }
}
