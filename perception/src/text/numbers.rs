//! Spelled-out English numbers to digits (openai/whisper `EnglishNumberNormalizer`).
//!
//! Numbers are decimal digit strings of any length: the reference counts without bound.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::python::{SPACE, pattern, words};

const ONES: [&str; 19] = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] = [
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];
/// Power of ten of each multiplier.
const MULTIPLIERS: [(&str, usize); 12] = [
    ("hundred", 2),
    ("thousand", 3),
    ("million", 6),
    ("billion", 9),
    ("trillion", 12),
    ("quadrillion", 15),
    ("quintillion", 18),
    ("sextillion", 21),
    ("septillion", 24),
    ("octillion", 27),
    ("nonillion", 30),
    ("decillion", 33),
];

struct Rules {
    half: Regex,
    letter_digit: Regex,
    digit_letter: Regex,
    suffix: Regex,
    combine_cents: Regex,
    extract_cents: Regex,
    lone_one: Regex,
    number: Regex,
    digit: Regex,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules {
    half: pattern(&format!(r"\band{SPACE}+a{SPACE}+half\b")),
    letter_digit: pattern(r"([a-z])([0-9])"),
    digit_letter: pattern(r"([0-9])([a-z])"),
    suffix: pattern(&format!(r"([0-9]){SPACE}+(st|nd|rd|th|s)\b")),
    combine_cents: pattern(r"([€£$])([0-9]+) (?:and )?¢([0-9]{1,2})\b"),
    extract_cents: pattern(r"[€£$]0.([0-9]{1,2})\b"),
    lone_one: pattern(r"\b1(s?)\b"),
    number: pattern(r"^\d+(\.\d+)?$"),
    digit: pattern(r"^\d$"),
});

/// The text with its numbers in digits; words are separated by single spaces.
pub(super) fn normalize(text: &str) -> String {
    let prepared = preprocess(text);
    let list: Vec<&str> = words(&prepared).collect();
    postprocess(&Reader::default().read(&list).join(" "))
}

/// "two and a half" becomes "two point five"; digits and letters come apart, ordinal endings do not.
fn preprocess(text: &str) -> String {
    let rules = &*RULES;
    let segments: Vec<&str> = rules.half.split(text).collect();
    let mut parts = Vec::new();
    for (i, segment) in segments.iter().enumerate() {
        let Some(last) = words(segment).last() else {
            continue;
        };
        parts.push(*segment);
        if i + 1 < segments.len() {
            let counts = is_decimal(last) || multiplier(last).is_some();
            parts.push(if counts { "point five" } else { "and a half" });
        }
    }
    let s = parts.join(" ");
    let s = rules.letter_digit.replace_all(&s, "${1} ${2}");
    let s = rules.digit_letter.replace_all(&s, "${1} ${2}");
    rules.suffix.replace_all(&s, "${1}${2}").into_owned()
}

/// "$2 and ¢7" becomes "$2.07", "$0.5" "¢5" (the reference's unescaped dot included), "1" "one".
fn postprocess(text: &str) -> String {
    let rules = &*RULES;
    let s = rules.combine_cents.replace_all(text, |m: &Captures<'_>| {
        format!("{}{}.{:0>2}", &m[1], &m[2], &m[3])
    });
    let s = rules
        .extract_cents
        .replace_all(&s, |m: &Captures<'_>| format!("¢{}", canonical(&m[1])));
    rules.lone_one.replace_all(&s, "one${1}").into_owned()
}

/// The number read so far: a plain integer, or text such as "1.", "007" or "2.5".
#[derive(Debug, Clone)]
enum Value {
    Int(String),
    Text(String),
}

impl Value {
    fn int(n: u32) -> Self {
        Value::Int(n.to_string())
    }

    fn digits(&self) -> &str {
        let (Value::Int(s) | Value::Text(s)) = self;
        s
    }

    fn into_digits(self) -> String {
        let (Value::Int(s) | Value::Text(s)) = self;
        s
    }

    /// `str(value or "")`: zero counts as nothing.
    fn or_empty(value: Option<Value>) -> String {
        match value {
            None => String::new(),
            Some(Value::Int(s)) if s == "0" => String::new(),
            Some(value) => value.into_digits(),
        }
    }

    /// Whether the last `zeros` digits of an integer are zero.
    fn ends_in(&self, zeros: usize) -> bool {
        match self {
            Value::Int(s) => s == "0" || (s.len() > zeros && s.bytes().rev().take(zeros).all(|b| b == b'0')),
            Value::Text(_) => false,
        }
    }

    /// `value + n` where the last `zeros` digits are zero and `n` fits there; else the digits side by side.
    fn join(self, n: u32, zeros: usize) -> Value {
        if !self.ends_in(zeros) {
            return Value::Text(format!("{}{n}", self.digits()));
        }
        let digits = self.into_digits();
        let kept = digits.len().saturating_sub(zeros);
        if digits == "0" {
            return Value::int(n);
        }
        Value::Int(format!("{}{n:0zeros$}", digits.get(..kept).unwrap_or("")))
    }
}

/// Walks over the words and holds the number that is being read.
#[derive(Default)]
struct Reader {
    prefix: Option<char>,
    value: Option<Value>,
    out: Vec<String>,
}

impl Reader {
    fn read(mut self, list: &[&str]) -> Vec<String> {
        let mut skip = false;
        for (i, &current) in list.iter().enumerate() {
            if std::mem::take(&mut skip) {
                continue;
            }
            let previous = i.checked_sub(1).and_then(|j| list.get(j)).copied().unwrap_or("");
            skip = self.word(previous, current, list.get(i + 1).copied());
        }
        self.flush();
        self.out
    }

    /// Takes one word; true when the next one is used up with it.
    fn word(&mut self, previous: &str, current: &str, next: Option<&str>) -> bool {
        if self.arabic(current) {
            return false;
        }
        if is_zero(current) {
            self.value = Some(Value::Text(Value::or_empty(self.value.take()) + "0"));
        } else if let Some(n) = one(current) {
            self.value = Some(self.add_ones(previous, n));
        } else if let Some((n, suffix)) = one_suffixed(current) {
            let value = self.add_ones(previous, n);
            self.emit(value.into_digits() + suffix);
        } else if let Some(n) = ten(current) {
            self.value = Some(self.add_tens(n));
        } else if let Some((n, suffix)) = ten_suffixed(current) {
            let value = self.add_tens(n);
            self.emit(value.into_digits() + suffix);
        } else if let Some(power) = multiplier(current) {
            self.value = Some(self.multiply(power));
        } else if let Some((power, suffix)) = multiplier_suffixed(current) {
            let value = self.multiply(power);
            self.emit(value.into_digits() + suffix);
        } else {
            return self.other(previous, current, next);
        }
        false
    }

    /// Signs, currencies, "percent", "and", "double", "point", and every other word.
    fn other(&mut self, previous: &str, current: &str, next: Option<&str>) -> bool {
        if let Some(sign) = preceding_prefix(current) {
            self.flush();
            if may_be_number(next) {
                self.prefix = Some(sign);
            } else {
                self.emit(current.to_owned());
            }
            return false;
        }
        if let Some(sign) = following_prefix(current) {
            match self.value.take() {
                Some(value) => {
                    self.prefix = Some(sign);
                    self.emit(value.into_digits());
                }
                None => self.emit(current.to_owned()),
            }
            return false;
        }
        match current {
            "per" | "percent" => self.percent(current, next),
            "and" | "double" | "triple" | "point" => self.special(previous, current, next),
            _ => {
                self.flush();
                self.emit(current.to_owned());
                false
            }
        }
    }

    fn percent(&mut self, current: &str, next: Option<&str>) -> bool {
        let Some(value) = self.value.take() else {
            self.emit(current.to_owned());
            return false;
        };
        let two_words = current == "per" && next == Some("cent");
        if current == "percent" || two_words {
            self.emit(value.into_digits() + "%");
        } else {
            self.emit(value.into_digits());
            self.emit(current.to_owned());
        }
        two_words
    }

    fn special(&mut self, previous: &str, current: &str, next: Option<&str>) -> bool {
        let followed = next.filter(|_| may_be_number(next));
        let Some(next) = followed else {
            self.flush();
            self.emit(current.to_owned());
            return false;
        };
        match current {
            "and" if multiplier(previous).is_some() => {}
            "double" | "triple" if one(next).is_some() || is_zero(next) => {
                let digit = one(next).unwrap_or(0).to_string();
                let text = Value::or_empty(self.value.take());
                self.value = Some(Value::Text(
                    text + &digit.repeat(if current == "double" { 2 } else { 3 }),
                ));
                return true;
            }
            "point" => {
                if is_decimal(next) || RULES.number.is_match(next) {
                    self.value = Some(Value::Text(Value::or_empty(self.value.take()) + "."));
                }
            }
            _ => {
                self.flush();
                self.emit(current.to_owned());
            }
        }
        false
    }

    /// Arabic numbers with an optional sign: true when `current` was one.
    fn arabic(&mut self, current: &str) -> bool {
        let sign = current.chars().next().filter(|c| "-+£€$¢".contains(*c));
        let bare = sign.map_or(current, |c| &current[c.len_utf8()..]);
        // A digit of any script, so only ASCII letters and signs are told by a look.
        let digit = bare
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_digit() || !byte.is_ascii());
        if !digit || !RULES.number.is_match(bare) {
            return false;
        }
        if let Some(Value::Text(text)) = &mut self.value
            && text.ends_with('.')
        {
            text.push_str(current);
            return true;
        }
        self.flush();
        self.prefix = sign.or(self.prefix);
        self.value = Some(match shift(bare, 0) {
            Some(digits) => Value::Int(digits),
            None => Value::Text(bare.to_owned()),
        });
        true
    }

    fn add_ones(&mut self, previous: &str, n: u32) -> Value {
        match self.value.take() {
            None => Value::int(n),
            Some(value) if matches!(value, Value::Text(_)) || one(previous).is_some() => {
                let mut digits = value.into_digits();
                if ten(previous).is_some() && n < 10 {
                    digits.pop(); // "twenty" just put a zero there
                }
                Value::Text(digits + &n.to_string())
            }
            Some(value) => value.join(n, if n < 10 { 1 } else { 2 }),
        }
    }

    fn add_tens(&mut self, n: u32) -> Value {
        match self.value.take() {
            None => Value::int(n),
            Some(value) => value.join(n, 2),
        }
    }

    fn multiply(&mut self, power: usize) -> Value {
        let one = || Value::Int(format!("1{}", "0".repeat(power)));
        match self.value.take() {
            None => one(),
            Some(Value::Int(digits)) if digits != "0" => Value::Int(times(&digits, power)),
            Some(value) => match shift(value.digits(), power) {
                Some(digits) => Value::Int(digits),
                None => {
                    self.emit(value.into_digits());
                    one()
                }
            },
        }
    }

    fn flush(&mut self) {
        if let Some(value) = self.value.take() {
            self.emit(value.into_digits());
        }
    }

    fn emit(&mut self, text: String) {
        self.value = None;
        self.out.push(match self.prefix.take() {
            Some(sign) => format!("{sign}{text}"),
            None => text,
        });
    }
}

/// Everything above the last three digits stays; the last three are multiplied ("two hundred thousand").
fn times(digits: &str, power: usize) -> String {
    let split = digits.len().saturating_sub(3);
    let (head, tail) = digits.split_at(split);
    let head = if head.is_empty() {
        String::new()
    } else {
        format!("{head}000")
    };
    add(&head, &format!("{tail}{}", "0".repeat(power)))
}

/// Sum of two digit strings.
fn add(a: &str, b: &str) -> String {
    let (mut a, mut b) = (a.bytes().rev(), b.bytes().rev());
    let mut sum = Vec::new();
    let mut carry = 0;
    loop {
        let (x, y) = (a.next(), b.next());
        if x.is_none() && y.is_none() && carry == 0 {
            break;
        }
        let digit = |d: Option<u8>| d.map_or(0, |d| d - b'0');
        let total = digit(x) + digit(y) + carry;
        sum.push(char::from(b'0' + total % 10));
        carry = total / 10;
    }
    canonical(&sum.into_iter().rev().collect::<String>()).to_owned()
}

/// `number * 10^power` when that is an integer; `None` for text that is no decimal number.
fn shift(number: &str, power: usize) -> Option<String> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let whole: Option<String> = whole.chars().map(ascii_digit).collect();
    let decimals: Option<String> = decimals.chars().map(ascii_digit).collect();
    let (whole, decimals) = (whole?, decimals?);
    if whole.is_empty() && decimals.is_empty() {
        return None;
    }
    let decimals = decimals.trim_end_matches('0');
    if decimals.len() > power {
        return None;
    }
    Some(canonical(&format!("{whole}{decimals:0<power$}")).to_owned())
}

/// Digits without leading zeros.
fn canonical(digits: &str) -> &str {
    let bare = digits.trim_start_matches('0');
    if bare.is_empty() && !digits.is_empty() {
        "0"
    } else {
        bare
    }
}

/// A decimal digit of any script as an ASCII digit: scripts encode theirs as runs of ten.
fn ascii_digit(c: char) -> Option<char> {
    let is_digit = |c: char| RULES.digit.is_match(c.encode_utf8(&mut [0; 4]));
    if c.is_ascii_digit() {
        return Some(c);
    }
    if !is_digit(c) {
        return None;
    }
    let before = (1..60)
        .take_while(|&i| char::from_u32(c as u32 - i).is_some_and(is_digit))
        .count();
    char::from_digit((before % 10) as u32, 10)
}

fn is_zero(word: &str) -> bool {
    matches!(word, "o" | "oh" | "zero")
}

fn one(word: &str) -> Option<u32> {
    ONES.iter().position(|name| *name == word).map(|i| i as u32 + 1)
}

fn one_suffixed(word: &str) -> Option<(u32, &'static str)> {
    match word {
        "zeroth" => return Some((0, "th")),
        "first" => return Some((1, "st")),
        "second" => return Some((2, "nd")),
        "third" => return Some((3, "rd")),
        "fifth" => return Some((5, "th")),
        "twelfth" => return Some((12, "th")),
        "sixes" => return Some((6, "s")),
        "eighth" => return Some((8, "th")),
        "sixs" | "eightth" => return None,
        _ => {}
    }
    if let Some(n) = word.strip_suffix('s').and_then(one) {
        return Some((n, "s"));
    }
    let n = word.strip_suffix("th").and_then(one)?; // "nineth", as in the reference
    (n > 3 && n != 5 && n != 12).then_some((n, "th"))
}

fn ten(word: &str) -> Option<u32> {
    TENS.iter()
        .position(|name| *name == word)
        .map(|i| (i as u32 + 2) * 10)
}

fn ten_suffixed(word: &str) -> Option<(u32, &'static str)> {
    let (stem, suffix) = match word.strip_suffix("ieth") {
        Some(stem) => (stem, "th"),
        None => (word.strip_suffix("ies")?, "s"),
    };
    Some((ten(&format!("{stem}y"))?, suffix))
}

fn multiplier(word: &str) -> Option<usize> {
    MULTIPLIERS
        .iter()
        .find(|(name, _)| *name == word)
        .map(|(_, power)| *power)
}

fn multiplier_suffixed(word: &str) -> Option<(usize, &'static str)> {
    if let Some(power) = word.strip_suffix("th").and_then(multiplier) {
        return Some((power, "th"));
    }
    word.strip_suffix('s')
        .and_then(multiplier)
        .map(|power| (power, "s"))
}

fn preceding_prefix(word: &str) -> Option<char> {
    match word {
        "minus" | "negative" => Some('-'),
        "plus" | "positive" => Some('+'),
        _ => None,
    }
}

fn following_prefix(word: &str) -> Option<char> {
    match word {
        "pound" | "pounds" => Some('£'),
        "euro" | "euros" => Some('€'),
        "dollar" | "dollars" => Some('$'),
        "cent" | "cents" => Some('¢'),
        _ => None,
    }
}

fn is_decimal(word: &str) -> bool {
    one(word).is_some() || ten(word).is_some() || is_zero(word)
}

/// Whether a word belongs to the vocabulary of numbers.
fn is_number_word(word: &str) -> bool {
    is_decimal(word)
        || one_suffixed(word).is_some()
        || ten_suffixed(word).is_some()
        || multiplier(word).is_some()
        || multiplier_suffixed(word).is_some()
        || preceding_prefix(word).is_some()
        || following_prefix(word).is_some()
        || matches!(word, "per" | "percent" | "and" | "double" | "triple" | "point")
}

fn may_be_number(next: Option<&str>) -> bool {
    next.is_some_and(|word| is_number_word(word) || RULES.number.is_match(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_large_and_mixed_numbers() {
        assert_eq!(normalize("two point five million"), "2500000");
        assert_eq!(normalize("one oh one"), "101");
        assert_eq!(normalize("three decillion"), format!("3{}", "0".repeat(33)));
        assert_eq!(normalize("twenty first"), "21st");
    }

    #[test]
    fn digit_strings_add_up() {
        assert_eq!(add("999", "1"), "1000");
        assert_eq!(shift("2.50", 1), Some("25".into()));
        assert_eq!(shift("1.2.3", 3), None);
        assert_eq!(shift("٣٤", 0), Some("34".into()));
    }

    proptest! {
        #[test]
        fn any_words_are_read_without_panic(list in proptest::collection::vec("(one|oh|twenty|sixes|million|thousands|point|and|double|minus|cents|per|[0-9.$¢]{1,4}|\\PC{1,3})", 0..12)) {
            normalize(&list.join(" "));
        }

        #[test]
        fn addition_agrees_with_machine_integers(a in any::<u32>(), b in any::<u32>()) {
            prop_assert_eq!(add(&a.to_string(), &b.to_string()), (u64::from(a) + u64::from(b)).to_string());
        }
    }
}
