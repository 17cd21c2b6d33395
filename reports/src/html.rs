//! Text in HTML and in scripts inside of HTML. Everything that a run brings passes here.

use serde::Serialize;

/// Text as the content of an element or of a quoted attribute. Characters that have no place in a
/// document are shown by their code.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(it),
            it if is_hidden(it) => escaped.push_str(&format!("\\u{{{:x}}}", u32::from(it))),
            it => escaped.push(it),
        }
    }
    escaped
}

/// Controls, and what would turn or hide the text around it.
fn is_hidden(it: char) -> bool {
    it.is_control()
        || matches!(u32::from(it), 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x2069 | 0xfeff)
        || matches!(u32::from(it), 0xfdd0..=0xfdef | 0xfffe | 0xffff)
}

/// Data as the content of a `script` element that holds JSON: nothing in it can end the element.
pub fn embedded(data: &impl Serialize) -> String {
    let json = serde_json::to_string(data).expect("a view is plain data with text for keys");
    json.replace('<', "\\u003c").replace("\u{2028}", "\\u2028").replace("\u{2029}", "\\u2029")
}

/// The frame of a document that loads nothing: its policy forbids it.
pub fn document(title: &str, style: &str, body: &str) -> String {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                  img-src data:; base-uri 'none'; form-action 'none'";
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(title)
    )
}

/// A whole number with thin spaces between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

/// Nanoseconds as seconds, in whole digits: `12.345678`.
pub fn seconds(nanos: u64, digits: usize) -> String {
    let scale = 10_u64.pow(9 - digits.min(9) as u32);
    let rounded = nanos / scale + u64::from(nanos % scale >= scale.div_ceil(2));
    if digits == 0 {
        return rounded.to_string();
    }
    let unit = 10_u64.pow(digits.min(9) as u32);
    format!("{}.{:0digits$}", rounded / unit, rounded % unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup_or_turns_the_text_around_it() {
        assert_eq!(escape("<b a='\"'>&"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
        assert_eq!(escape("a\u{202e}b\u{0}"), "a\\u{202e}b\\u{0}");
    }

    #[test]
    fn embedded_data_cannot_end_its_element() {
        let text = embedded(&"</script><!--\u{2028}");
        assert!(!text.contains('<'), "{text}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), "</script><!--\u{2028}");
    }

    #[test]
    fn seconds_are_rounded() {
        assert_eq!(seconds(12_345_678_900, 6), "12.345679");
        assert_eq!(seconds(1_999_999_999, 1), "2.0");
        assert_eq!(seconds(500_000_000, 0), "1");
        assert_eq!(grouped(1_234_567), "1\u{2009}234\u{2009}567");
    }
}
