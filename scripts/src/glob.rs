//! Path patterns: `*` stands for anything within one component, `**` for any number of components.

/// True if `path` (components separated by `/`) fits `pattern` as a whole.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    components(&pattern, &path)
}

fn components(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=path.len()).any(|skip| components(rest, &path[skip..])),
        ([first, rest @ ..], [name, names @ ..]) => {
            component(first, name) && components(rest, names)
        }
        _ => false,
    }
}

fn component(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| component(tail, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_in_their_component() {
        assert!(matches("a/*.rs", "a/b.rs"));
        assert!(!matches("a/*.rs", "a/b/c.rs"));
        assert!(!matches("a/*.rs", "a/b.rs.bak"));
        assert!(matches("a/avx*.rs", "a/avx512.rs"));
        assert!(matches("a/*", "a/é"));
    }

    #[test]
    fn double_stars_span_components() {
        assert!(matches("a/**", "a/b/c.rs"));
        assert!(matches("a/**/avx*.rs", "a/avx2.rs"));
        assert!(matches("a/**/avx*.rs", "a/x25519/avx2.rs"));
        assert!(!matches("a/**/avx*.rs", "b/x25519/avx2.rs"));
        assert!(!matches("a/b.rs", "a/b.rs/c"));
    }
}
