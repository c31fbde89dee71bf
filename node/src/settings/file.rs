//! The configuration file: settings at top level, one to a line.

use std::fs;
use std::path::Path;

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
            Fault::refused(format!("{origin}: `{name}` must be {allowed}, as a single value."))
        })?;
        check(setting, text, origin)
    };
    found.into_iter().map(one).collect()
}

fn contents(path: &Path) -> Result<String, Fault> {
    let cannot = |why: String| {
        Fault::refused(format!(
            "The configuration file {} cannot be read ({why}): make one with `phix-node init` or \
             point --dir or --config at the right place.",
            path.display(),
        ))
    };
    let size = fs::metadata(path).map_err(|error| cannot(error.to_string()))?.len();
    if size > SIZE_MAX {
        return Err(cannot(format!("it has {size} bytes, which no such file has")));
    }
    fs::read_to_string(path).map_err(|error| cannot(error.to_string()))
}

/// A single value as the text that a flag would give.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string())
            .into(),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
