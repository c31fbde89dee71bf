//! SPDX licence expressions: `MIT OR (Apache-2.0 AND Unicode-3.0)`; `AND` binds before `OR`.

/// True if `text` can be met with licences that `allowed` accepts. A licence with an exception
/// (`A WITH B`) is asked for as one name.
pub(super) fn satisfied(text: &str, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    // Old manifests write `MIT/Apache-2.0` for a choice.
    let spaced = text.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut parser = Parser { words: spaced.split_whitespace().collect(), at: 0, allowed };
    let met = parser.choice()?;
    match parser.peek() {
        None => Ok(met),
        Some(word) => Err(format!("`{word}` is out of place")),
    }
}

struct Parser<'a> {
    words: Vec<&'a str>,
    at: usize,
    allowed: &'a dyn Fn(&str) -> bool,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    fn accept(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn next(&mut self) -> Result<&'a str, String> {
        let word = self.peek().ok_or("it ends too early")?;
        self.at += 1;
        Ok(word)
    }

    fn choice(&mut self) -> Result<bool, String> {
        let mut met = self.all()?;
        while self.accept("OR") {
            met |= self.all()?;
        }
        Ok(met)
    }

    fn all(&mut self) -> Result<bool, String> {
        let mut met = self.one()?;
        while self.accept("AND") {
            met &= self.one()?;
        }
        Ok(met)
    }

    fn one(&mut self) -> Result<bool, String> {
        if self.accept("(") {
            let met = self.choice()?;
            return if self.accept(")") { Ok(met) } else { Err("a `)` is missing".to_owned()) };
        }
        let name = self.next()?;
        if matches!(name, "OR" | "AND" | "WITH" | ")") {
            return Err(format!("`{name}` is out of place"));
        }
        if self.accept("WITH") {
            let exception = self.next()?;
            return Ok((self.allowed)(&format!("{name} WITH {exception}")));
        }
        // `A+` leaves the choice between A and its later versions.
        Ok((self.allowed)(name.strip_suffix('+').unwrap_or(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(text: &str) -> Result<bool, String> {
        satisfied(text, &|licence| matches!(licence, "A" | "B" | "A WITH X"))
    }

    #[test]
    fn choices_need_one_and_lists_need_all() {
        assert_eq!(met("A"), Ok(true));
        assert_eq!(met("C"), Ok(false));
        assert_eq!(met("A OR C"), Ok(true));
        assert_eq!(met("C/A"), Ok(true));
        assert_eq!(met("A AND C"), Ok(false));
        assert_eq!(met("A AND B"), Ok(true));
        assert_eq!((met("A+"), met("C+")), (Ok(true), Ok(false)));
    }

    #[test]
    fn and_binds_before_or() {
        assert_eq!(met("A OR C AND D"), Ok(true));
        assert_eq!(met("(A OR C) AND D"), Ok(false));
        assert_eq!(met("(A OR C) AND B"), Ok(true));
    }

    #[test]
    fn exceptions_belong_to_their_licence() {
        assert_eq!(met("A WITH X"), Ok(true));
        assert_eq!(met("B WITH X"), Ok(false));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for text in ["", "A OR", "A B", "(A", "A)", "OR A", "A WITH"] {
            assert!(met(text).is_err(), "{text}");
        }
    }
}
