//! The configuration file: settings at top level, one to a line.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use phix_client::files::{self, words};
use toml::de::{DeTable, DeValue};

use super::find;
use super::source::{Effective, Origin, check, unknown};
use crate::fault::Fault;

/// Larger than any configuration file; more is a file that was given by mistake.
const SIZE_MAX: u64 = 1 << 20;

/// The settings that the file at `path` gives.
///
/// # Errors
/// If it cannot be read, is no TOML, or holds an unknown setting or a value that is not accepted.
pub(super) fn read(path: &Path) -> Result<Vec<Effective>, Fault> {
    let text = contents(path)?;
    let place = |offset: usize| {
        let line = 1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count();
        format!("{}, line {line}", path.display())
    };
    let document = DeTable::parse(&text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let what = error.message().lines().collect::<Vec<_>>().join(", ");
        Fault::refused(format!(
            "{}: this is not TOML ({what}): write each setting as `name = value`, texts in \
             double quotes.",
            place(offset),
        ))
    })?;
    let mut found: Vec<_> = document.get_ref().iter().collect();
    found.sort_by_key(|(key, _)| key.span().start);
    let one = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        let origin = Origin::File(place(key.span().start));
        let setting = find(name).ok_or_else(|| {
            unknown(&format!("{origin}: there is no setting `{name}`"), name, |known| {
                format!("`{}`", known.name)
            })
        })?;
        let text = scalar(value.get_ref()).ok_or_else(|| {
            let allowed = setting.allowed();
            Fault::refused(format!("{origin}: `{name}` must be {allowed}."))
        })?;
        check(setting, text, origin)
    };
    found.into_iter().map(one).collect()
}

fn contents(path: &Path) -> Result<String, Fault> {
    let cannot = |why: &str, remedy: &str| {
        Fault::refused(format!(
            "The configuration file {} cannot be read ({why}): {remedy} or point --dir or --config \
             at the right place.",
            path.display(),
        ))
    };
    let failed = |error: io::Error| {
        let remedy = match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => "make one with `phix-node init`",
            ErrorKind::InvalidData => return cannot("it is not UTF-8", "save it as UTF-8 text"),
            _ => "see that this user may read it",
        };
        cannot(&words(&error), remedy)
    };
    let (file, metadata) = files::open(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(cannot("it is not a regular file", "put one in its place"));
    }
    let mut text = String::new();
    file.take(SIZE_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > SIZE_MAX {
        return Err(cannot("it is larger than any such file", "restore it from a backup"));
    }
    Ok(text)
}

/// A value as the text that a flag would give; several texts have commas between them.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string())
            .into(),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Array(all) => {
            let each = all.iter().map(|one| match one.get_ref() {
                DeValue::String(text) => Some(text.as_ref()),
                _ => None,
            });
            Some(each.collect::<Option<Vec<_>>>()?.join(","))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}
