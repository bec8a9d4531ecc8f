//! Finds attributes among tokens, and the code that only tests see.

use crate::lexer::{Token, TokenKind};

/// `#[…]` or `#![…]`.
pub struct Attribute<'a> {
    /// `#![…]`, which speaks about what it stands in.
    pub inner: bool,
    /// The tokens between the brackets.
    pub content: &'a [Token],
    /// Where it starts, counted from 1.
    pub line: usize,
    /// Index of the token after its closing bracket.
    pub end: usize,
}

impl Attribute<'_> {
    /// Whether it is, or under some condition becomes, the attribute of this name.
    pub fn applies(&self, name: &str) -> bool {
        match self.content {
            [first, ..] if first.is_ident(name) => true,
            [first, rest @ ..] if first.is_ident("cfg_attr") => {
                rest.windows(2).any(|pair| match pair {
                    [before, token] => before.is_punct(',') && token.is_ident(name),
                    _ => false,
                })
            }
            _ => false,
        }
    }

    /// Whether this name occurs anywhere in it.
    pub fn mentions(&self, name: &str) -> bool {
        self.content.iter().any(|token| token.is_ident(name))
    }

    /// `cfg(test)`, or `cfg(all(test, …))`: true only in tests.
    fn is_test_only(&self) -> bool {
        let names: Vec<&str> = self
            .content
            .iter()
            .filter_map(|token| match &token.kind {
                TokenKind::Ident(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        matches!(
            names.as_slice(),
            ["cfg", "test"] | ["cfg", "all", "test", ..]
        )
    }
}

/// The attribute that starts at this token, if one does.
pub fn attribute_at(tokens: &[Token], start: usize) -> Option<Attribute<'_>> {
    let hash = tokens.get(start).filter(|token| token.is_punct('#'))?;
    let inner = tokens.get(start + 1)?.is_punct('!');
    let open = if inner { start + 2 } else { start + 1 };
    tokens.get(open).filter(|token| token.is_punct('['))?;
    let end = after_group(tokens, open);
    let content = tokens.get(open + 1..end.saturating_sub(1))?;
    Some(Attribute {
        inner,
        content,
        line: hash.line,
        end,
    })
}

/// Every attribute, wherever it stands.
pub fn attributes(tokens: &[Token]) -> impl Iterator<Item = Attribute<'_>> {
    (0..tokens.len()).filter_map(|start| attribute_at(tokens, start))
}

/// Tokens without what is compiled for tests only, and the names of modules in files of their own
/// that are for tests only.
pub fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let mut kept = Vec::new();
    let mut test_modules = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match attribute_at(tokens, at) {
            Some(attribute) if !attribute.inner && attribute.is_test_only() => {
                let mut item = attribute.end;
                while let Some(further) = attribute_at(tokens, item) {
                    item = further.end;
                }
                let end = after_item(tokens, item);
                if let Some(name) = module_in_own_file(tokens.get(item..end).unwrap_or_default()) {
                    test_modules.push(name);
                }
                at = end.max(at + 1);
            }
            _ => {
                kept.push(token.clone());
                at += 1;
            }
        }
    }
    (kept, test_modules)
}

/// `mod name;` has its code elsewhere.
fn module_in_own_file(item: &[Token]) -> Option<String> {
    let [.., keyword, name, end] = item else {
        return None;
    };
    match &name.kind {
        TokenKind::Ident(text) if keyword.is_ident("mod") && end.is_punct(';') => {
            Some(text.clone())
        }
        _ => None,
    }
}

const ITEM_KEYWORDS: [&str; 17] = [
    "async",
    "const",
    "enum",
    "extern",
    "fn",
    "impl",
    "let",
    "macro_rules",
    "mod",
    "pub",
    "static",
    "struct",
    "trait",
    "type",
    "union",
    "unsafe",
    "use",
];

/// Index after the item, statement, field or variant that starts here.
fn after_item(tokens: &[Token], start: usize) -> usize {
    let mut head = start;
    if tokens.get(head).is_some_and(|token| token.is_ident("pub")) {
        head += 1;
        if tokens.get(head).is_some_and(|token| token.is_punct('(')) {
            head = after_group(tokens, head);
        }
    }
    let is_item = tokens
        .get(head)
        .is_some_and(|token| ITEM_KEYWORDS.iter().any(|keyword| token.is_ident(keyword)));
    let mut at = start;
    while let Some(token) = tokens.get(at) {
        match token.kind {
            TokenKind::Punct('{') => {
                let end = after_group(tokens, at);
                if is_item {
                    return end;
                }
                at = end;
            }
            TokenKind::Punct('(' | '[') => at = after_group(tokens, at),
            TokenKind::Punct(';') => return at + 1,
            // A field or variant ends at its comma, the last one before the enclosing bracket.
            TokenKind::Punct(',') if !is_item => return at + 1,
            TokenKind::Punct('}' | ')' | ']') => return at,
            _ => at += 1,
        }
    }
    at
}

/// Index after the bracket that closes the one here.
fn after_group(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = open;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.kind {
            TokenKind::Punct('(' | '[' | '{') => depth += 1,
            TokenKind::Punct(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexer::lex;

    fn kept_names(source: &str) -> Vec<String> {
        let (kept, _) = without_tests(&lex(source));
        kept.into_iter()
            .filter_map(|token| match token.kind {
                TokenKind::Ident(text) => Some(text),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn code_for_tests_is_left_out_and_what_follows_is_kept() {
        let source = "fn a() {} #[cfg(test)] #[path = \"x\"] mod tests { fn b() { {} } } fn c() {}";
        assert_eq!(kept_names(source), ["fn", "a", "fn", "c"]);
        assert_eq!(
            kept_names("#[cfg(test)] extern crate std; fn c() {}"),
            ["fn", "c"]
        );
        assert_eq!(
            kept_names("#[cfg(all(test, unix))] fn a<T, U>(x: [u8; 3]) {} c"),
            ["c"]
        );
    }

    #[test]
    fn a_field_for_tests_hides_only_itself() {
        let source = "struct S { #[cfg(test)] pub(crate) probe: Probe, price: Kept }";
        assert_eq!(kept_names(source), ["struct", "S", "price", "Kept"]);
        assert_eq!(
            kept_names("enum E { A, #[cfg(test)] B { x: u8 } } c"),
            ["enum", "E", "A", "c"]
        );
        let source = "match a { #[cfg(test)] A { .. } => probe(), B => kept() }";
        assert_eq!(kept_names(source), ["match", "a", "B", "kept"]);
    }

    #[test]
    fn what_is_not_for_tests_is_kept() {
        assert!(kept_names("#[cfg(not(test))] fn a() {}").contains(&"a".to_owned()));
        assert!(kept_names("#[cfg(any(test, unix))] fn a() {}").contains(&"a".to_owned()));
    }

    #[test]
    fn a_test_module_in_its_own_file_is_named() {
        let (_, modules) = without_tests(&lex("#[cfg(test)] mod tests; #[cfg(test)] mod b {}"));
        assert_eq!(modules, ["tests"]);
    }

    #[test]
    fn an_attribute_behind_a_condition_applies() {
        let tokens = lex("#[cfg_attr(unix, ignore)] fn a() {}");
        assert!(attributes(&tokens).any(|attribute| attribute.applies("ignore")));
        let tokens = lex("#[cfg(ignore)] fn a() {}");
        assert!(!attributes(&tokens).any(|attribute| attribute.applies("ignore")));
    }
}
