//! Texts of foreign programs, made fit to be shown.

/// What is shown instead of a secret.
const BLOT: &str = "***";
/// Lock tokens and API tokens are at least this long; shorter words are words.
const TOKEN_MIN: usize = 16;

/// `text` without the credentials of URLs, and without words that look like tokens.
///
/// A word looks like one if it is long, has a digit and a letter, and nothing but the characters of
/// hexadecimal, base64 and UUIDs. A long name with digits may be blotted out with them: better so.
pub fn redact(text: &str) -> String {
    words(&credentials(text))
}

/// `scheme://user:password@host` without what stands before the `@`.
fn credentials(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + "://".len());
        shown.push_str(head);
        let end = tail.find(|c: char| c == '/' || c.is_whitespace() || "\"'`<>".contains(c));
        let authority = &tail[..end.unwrap_or(tail.len())];
        rest = match authority.rfind('@') {
            Some(at) => {
                shown.push_str(BLOT);
                &tail[at..]
            }
            None => tail,
        };
    }
    shown.push_str(rest);
    shown
}

fn words(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let is_part = |c: char| c.is_ascii_alphanumeric() || "+=-_".contains(c);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let inside = is_part(first);
        let end = rest.find(|c| is_part(c) != inside).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        shown.push_str(if inside && is_token(word) { BLOT } else { word });
        rest = tail;
    }
    shown
}

fn is_token(word: &str) -> bool {
    let has = |is: fn(&char) -> bool| word.chars().any(|c| is(&c));
    word.len() >= TOKEN_MIN && has(char::is_ascii_digit) && has(char::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn credentials_and_tokens_are_not_shown() {
        for (text, shown) in [
            ("redis://me:secret@h:1/0 and x", "redis://***@h:1/0 and x"),
            ("\"rediss://:p@w@h\" redis://h:1", "\"rediss://***@h\" redis://h:1"),
            ("key holds 0f3a9c0011223344556677ff.", "key holds ***."),
            ("550e8400-e29b-41d4-a716-446655440000", "***"),
            (
                "redis.exceptions.ConnectionError: Error 111",
                "redis.exceptions.ConnectionError: Error 111",
            ),
            ("résumé://é@ü", "résumé://***@ü"),
        ] {
            assert_eq!(redact(text), shown);
        }
    }
}
