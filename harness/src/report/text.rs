//! Text that others wrote, made fit to be shown: what a terminal, a page or a parser would obey is spelt out.

/// Control characters, and those that turn the direction of writing or are no characters at all, as `\u{…}`.
pub fn spelt_out(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_obeyed(letter) {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    shown
}

fn is_obeyed(letter: char) -> bool {
    let turns =
        matches!(letter, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks = matches!(letter, '\u{2028}' | '\u{2029}');
    let nothing = (letter as u32) & 0xfffe == 0xfffe;
    letter.is_control() && !matches!(letter, '\n' | '\t') || turns || breaks || nothing
}

/// For XML, in text and in attributes alike: a line's end would be read as a space there.
pub fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in spelt_out(text).chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// JSON inside a script element: nothing in it can end the element.
pub fn script_json(value: &impl serde::Serialize) -> String {
    let json = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// Microseconds as milliseconds, with as many digits as say something.
pub fn ms(us: u64) -> String {
    let ms = us as f64 / 1_000.0;
    match us {
        0 => "0 ms".to_owned(),
        1..10_000 => format!("{ms:.2} ms"),
        10_000..100_000 => format!("{ms:.1} ms"),
        100_000..1_000_000 => format!("{ms:.0} ms"),
        1_000_000..100_000_000 => format!("{:.2} s", ms / 1_000.0),
        _ => format!("{:.0} s", ms / 1_000.0),
    }
}

/// A count and its noun.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count as u64), if count == 1 { one } else { many })
}

/// Digits in threes.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_would_obey_is_spelt_out() {
        assert_eq!(spelt_out("a\u{1b}[31m\u{202e}b\u{0}\u{ffff}\r\n"), "a\\u{1b}[31m\\u{202e}b\\u{0}\\u{ffff}\\u{d}\n");
        assert_eq!(xml("<a b='c'>\"&\n"), "&lt;a b=&apos;c&apos;&gt;&quot;&amp;&#10;");
        assert_eq!(script_json(&"</script><!--"), "\"\\u003c/script>\\u003c!--\"");
    }

    #[test]
    fn numbers_are_as_long_as_they_say_something() {
        assert_eq!([ms(0), ms(7), ms(12_345), ms(123_456)], ["0 ms", "0.01 ms", "12.3 ms", "123 ms"]);
        assert_eq!([ms(1_234_567), ms(123_456_789)], ["1.23 s", "123 s"]);
        assert_eq!([grouped(7), grouped(1_000), grouped(1_234_567)], ["7", "1,000", "1,234,567"]);
    }
}
