//! The configuration file that `init` writes: every setting with its value and its explanation.

use super::Effective;

/// Columns at which the explanations are broken.
const WIDTH: usize = 90;

/// The text of a configuration file that gives every setting the value it has in `settings`.
pub fn template(settings: &[Effective]) -> String {
    let mut file = comment(
        "Settings of this Phix node. Each can also be given as an environment variable, which wins \
         over this file, and as a flag, which wins over both: `connections-max` is \
         PHIX_CONNECTIONS_MAX and --connections-max. Try a change with `phix-node check-config` \
         before you restart the node.",
    );
    for Effective { setting, text, .. } in settings {
        file.push('\n');
        file += &comment(&setting.help());
        file += &comment(&format!("Must be {}. Default: {}", setting.allowed(), setting.default));
        file += &format!("{} = {}\n", setting.name, literal(text));
    }
    file
}

/// `text` as a comment, broken at spaces.
fn comment(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if line.len() + 1 + word.len() > WIDTH {
            lines.push(format!("# {word}"));
        } else {
            *line += " ";
            *line += word;
        }
    }
    lines.join("\n") + "\n"
}

/// `text` as a TOML value: numbers and truths bare, the rest in quotes.
fn literal(text: &str) -> String {
    let digits = text.replace('_', "");
    if digits.parse::<i64>().is_ok() {
        return digits;
    }
    if text.parse::<bool>().is_ok() {
        return text.to_owned();
    }
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Origin, Sources, TABLE, resolve};
    use super::*;

    fn written(text: &str) -> Vec<Effective> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("phix-node.toml");
        fs::write(&path, text).unwrap();
        resolve(&Sources { file: Some(path), ..Sources::default() }).unwrap().1
    }

    #[test]
    fn the_generated_file_gives_every_setting_its_default() {
        let defaults = resolve(&Sources::default()).unwrap().1;
        let file = template(&defaults);
        let read = written(&file);
        assert_eq!(read.len(), TABLE.len());
        for Effective { setting, text, origin } in read {
            assert_eq!(text, setting.default, "{}", setting.name);
            assert!(matches!(origin, Origin::File(_)), "{} is not in the file", setting.name);
        }
        let flat = file.replace("\n# ", " ");
        assert!(TABLE.iter().all(|setting| flat.contains(&setting.help())));
        assert!(file.lines().all(|line| line.len() <= 100));
    }

    #[test]
    fn given_values_are_written_with_their_type() {
        let flags = vec![
            ("listen", "[::1]:9".into()),
            ("capacity", "4_096".into()),
            ("keys-dir", "a \"quoted\" \\ path".into()),
        ];
        let given = resolve(&Sources { flags, ..Sources::default() }).unwrap().1;
        let file = template(&given);
        assert!(file.contains("\nlisten = \"[::1]:9\"\n"));
        assert!(file.contains("\ncapacity = 4096\n"));
        assert!(file.contains("\npin = false\n"));
        let read = written(&file);
        let keys = read.iter().find(|each| each.setting.name == "keys-dir").unwrap();
        assert_eq!(keys.text, "a \"quoted\" \\ path");
    }
}
