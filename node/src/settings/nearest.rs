//! The name that someone probably meant.

/// Of `names`, the one closest to `wrong`, if any is close enough to be worth suggesting.
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = plain(wrong);
    let (distance, name) = names
        .into_iter()
        .map(|name| (distance(&wrong, &plain(name)), name))
        .min_by_key(|&(distance, _)| distance)?;
    // Half of the letters wrong is no misspelling.
    (distance * 2 <= name.len().min(wrong.len())).then_some(name)
}

/// The letters that count: case and the kind of hyphen do not.
fn plain(name: &str) -> String {
    name.to_lowercase().replace('_', "-")
}

/// Letters to insert, delete or replace in order to turn `a` into `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("listen", "listen"), 0);
    }

    #[test]
    fn suggests_what_is_close_and_nothing_else() {
        let names = ["listen", "link", "replay-capacity"];
        assert_eq!(nearest("lisen", names), Some("listen"));
        assert_eq!(nearest("REPLAY_CAPACTIY", names), Some("replay-capacity"));
        assert_eq!(nearest("database", names), None);
    }
}
