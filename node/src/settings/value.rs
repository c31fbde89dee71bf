//! What the value of a setting can be. Each type reads itself from text and says in words which
//! texts it accepts, so that a refusal and the documentation cannot differ from the code.

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use phix_client::mixnet::dial::Url;
use phix_io::noise::Pattern;
use phix_io::{LinkChoice, ZeroCopy};

/// A type that settings can have.
pub trait Value: Sized {
    /// Reads it; nothing if the text is not one that [`Value::allowed`] describes.
    fn read(text: &str) -> Option<Self>;
    /// The accepted texts, in words that continue "must be".
    fn allowed() -> String;
}

impl Value for bool {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn allowed() -> String {
        "true or false".into()
    }
}

impl Value for SocketAddr {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn allowed() -> String {
        "an IP address and a port, such as 192.0.2.1:1789 or [::]:1789".into()
    }
}

impl Value for IpAddr {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn allowed() -> String {
        "an IP address without a port, such as 192.0.2.1 or 2001:db8::1".into()
    }
}

impl Value for PathBuf {
    fn read(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }

    fn allowed() -> String {
        "a path".into()
    }
}

impl Value for ZeroCopy {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn allowed() -> String {
        "auto, on or off".into()
    }
}

/// The base URL of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryUrl(Url);

impl DirectoryUrl {
    /// Its parts.
    pub fn url(self) -> Url {
        self.0
    }
}

impl Value for DirectoryUrl {
    fn read(text: &str) -> Option<Self> {
        Url::parse(text, ["http", "https"]).ok().map(Self)
    }

    fn allowed() -> String {
        "a URL such as http://192.0.2.1:8000 or https://directory.example/api".into()
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Count<MIN, MAX> {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number, where it measures something in memory.
    pub const fn size(self) -> usize {
        self.0 as usize
    }
}

impl<const MIN: u64, const MAX: u64> Value for Count<MIN, MAX> {
    fn read(text: &str) -> Option<Self> {
        let separated = text.starts_with('_') || text.ends_with('_') || text.starts_with('+');
        let number: u64 = text.replace('_', "").parse().ok().filter(|_| !separated)?;
        (MIN..=MAX).contains(&number).then_some(Self(number))
    }

    fn allowed() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }
}

/// A length of time of `MIN` to `MAX` seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<const MIN: u64, const MAX: u64>(Duration);

impl<const MIN: u64, const MAX: u64> Span<MIN, MAX> {
    /// The length.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> Value for Span<MIN, MAX> {
    fn read(text: &str) -> Option<Self> {
        let unit = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(unit);
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        let span = Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(millis)?);
        let range = Duration::from_secs(MIN)..=Duration::from_secs(MAX);
        range.contains(&span).then_some(Self(span))
    }

    fn allowed() -> String {
        format!("a number and a unit (ms, s, m or h) such as 5s, {MIN} to {MAX} seconds altogether")
    }
}

/// The word that stands for the absence of a value.
pub trait Word {
    /// As it is written.
    const WORD: &'static str;
}

/// "auto": the node chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auto;
/// "none": there is no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nothing;
/// "any": whatever there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Any;
/// "off": it does not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Off;

impl Word for Auto {
    const WORD: &'static str = "auto";
}
impl Word for Nothing {
    const WORD: &'static str = "none";
}
impl Word for Any {
    const WORD: &'static str = "any";
}
impl Word for Off {
    const WORD: &'static str = "off";
}

/// A value, or the word that stands for its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Or<W, T>(Option<T>, PhantomData<W>);

impl<W, T> Or<W, T> {
    /// The value, if there is one.
    pub fn get(self) -> Option<T> {
        self.0
    }
}

impl<W: Word, T: Value> Value for Or<W, T> {
    fn read(text: &str) -> Option<Self> {
        let value = if text == W::WORD { None } else { Some(T::read(text)?) };
        Some(Self(value, PhantomData))
    }

    fn allowed() -> String {
        format!("\"{}\" or {}", W::WORD, T::allowed())
    }
}

/// Words joined for a sentence: `a`, `a or b`, `a, b or c`.
pub fn alternatives(words: &[impl fmt::Display]) -> String {
    match words {
        [] => String::new(),
        [only] => only.to_string(),
        [head @ .., last] => {
            let head: Vec<String> = head.iter().map(ToString::to_string).collect();
            format!("{} or {last}", head.join(", "))
        }
    }
}

/// An enum whose variants are the words that a setting accepts.
macro_rules! choice {
    (
        $(#[$meta:meta])* $name:ident {
            $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $name {
            /// Every one of them.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// The word for it.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl Value for $name {
            fn read(text: &str) -> Option<Self> {
                match text {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }

            fn allowed() -> String {
                alternatives(&[$(concat!('"', $word, '"')),+])
            }
        }
    };
}

choice! {
    /// What a node does for the network.
    Role {
        /// Takes packets in, delays them, sends them on.
        Mix = "mix",
        /// Lets clients in, and keeps messages for them.
        Entry = "entry",
        /// Is where messages for services behind it end.
        Exit = "exit",
        /// Tells nodes and clients which nodes there are and what each does.
        Directory = "directory",
    }
}

choice! {
    /// Which frame version a node sends.
    Frames {
        /// Version 8, with the key rotation.
        Current = "current",
        /// Version 7, without.
        Legacy = "legacy",
    }
}

choice! {
    /// Which crypto kernels a node uses.
    Crypto {
        /// The fastest that this processor has.
        Auto = "auto",
        /// Those that run everywhere.
        Portable = "portable",
        /// Those for processors with AVX2.
        Avx2 = "avx2",
        /// Those for processors with AVX-512.
        Avx512 = "avx512",
    }
}

choice! {
    /// With whom a node speaks Noise.
    NoiseUse {
        /// With nobody.
        Off = "off",
        /// With those whose key it knows; plainly with the rest.
        AllowPlain = "allow-plain",
        /// With those whose key it knows, and not at all with the rest.
        Required = "required",
    }
}

choice! {
    /// Which Noise protocol a node speaks.
    NoisePattern {
        /// `Noise_XKpsk3_25519_AESGCM_SHA256`.
        Xk = "xk",
        /// `Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s`.
        Ik = "ik",
    }
}

impl NoisePattern {
    /// As the shell calls it.
    pub const fn pattern(self) -> Pattern {
        match self {
            Self::Xk => Pattern::XkPsk3,
            Self::Ik => Pattern::IkPsk2,
        }
    }
}

impl Value for LinkChoice {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn allowed() -> String {
        let words = [Self::Auto, Self::Uring, Self::Epoll].map(|link| format!("\"{link}\""));
        alternatives(&words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_to_their_range() {
        type Batch = Count<1, 64>;
        assert_eq!(Batch::read("64").map(Count::get), Some(64));
        assert_eq!(Count::<1, 5_000>::read("4_096").map(Count::get), Some(4096));
        for wrong in ["0", "65", "-1", "1.5", "", "_1", "1_", "+1", "0x10", "many", " 1"] {
            assert_eq!(Batch::read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn spans_need_a_unit() {
        type Drain = Span<1, 3_600>;
        let seconds = |text| Drain::read(text).map(|span| span.get().as_secs_f64());
        assert_eq!(seconds("5s"), Some(5.0));
        assert_eq!(seconds("1500ms"), Some(1.5));
        assert_eq!(seconds("1h"), Some(3600.0));
        for wrong in ["5", "5 s", "2h", "999ms", "-5s", "s", "", "99999999999999999999h"] {
            assert_eq!(seconds(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_word_may_stand_for_no_value() {
        type Source = Or<Nothing, IpAddr>;
        assert_eq!(Source::read("none").map(Or::get), Some(None));
        assert_eq!(Source::read("::1").map(Or::get), Some("::1".parse().ok()));
        assert_eq!(Source::read("auto"), None);
        assert!(Source::allowed().starts_with("\"none\" or an IP address"));
    }

    #[test]
    fn alternatives_read_as_a_sentence() {
        assert_eq!(LinkChoice::allowed(), "\"auto\", \"io_uring\" or \"epoll\"");
        assert_eq!(Role::allowed(), "\"mix\", \"entry\", \"exit\" or \"directory\"");
    }
}
