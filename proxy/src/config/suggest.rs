//! "Did you mean …?"

/// The candidate that `word` is most likely a slip for.
///
/// Letters, `-` and `_` and case are forgiven; a short word may differ by one letter, a longer
/// one by two.
pub(crate) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = plain(word);
    let allowed = if word.chars().count() > 4 { 2 } else { 1 };
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How a word is compared; clipped, so that a distance costs little whatever the file holds.
pub(super) fn plain(word: &str) -> String {
    word.chars().take(64).map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn either(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [words @ .., last] => format!("{} or {last}", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let keys = ["ttl", "max_body", "set_cookie", "override"];
        for (word, expected) in [
            ("tll", Some("ttl")),
            ("TTL", Some("ttl")),
            ("max-body", Some("max_body")),
            ("setcookie", Some("set_cookie")),
            ("overide", Some("override")),
            ("colour", None),
            ("t", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), expected, "{word}");
        }
    }

    #[test]
    fn lists() {
        assert_eq!(either(&["a"]), "a");
        assert_eq!(either(&["a", "b", "c"]), "a, b or c");
    }
}
