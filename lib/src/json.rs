//! JSON read strictly and kept exactly: an object's members are seen as they came, and a number stays its digits.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// An object's members, in the order in which they came. No name has a meaning of its own here.
pub(crate) struct Members(pub Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Members;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

/// The text of a JSON value without what has no meaning: white space, escapes that need not be, the order of members.
/// Refuses a member that is given twice, and more than `depth_max` arrays and objects in each other.
pub(crate) fn canonical(json: &str, depth_max: usize) -> Result<String, String> {
    let mut text = String::with_capacity(json.len());
    write(json, depth_max, depth_max, &mut text)?;
    Ok(text)
}

fn write(json: &str, depth_left: usize, depth_max: usize, out: &mut String) -> Result<(), String> {
    let deeper = || depth_left.checked_sub(1).ok_or_else(|| format!("must not be nested deeper than {depth_max}"));
    let wrong = |error: serde_json::Error| error.to_string();
    match json.trim_start().as_bytes().first() {
        Some(b'{') => {
            let depth_left = deeper()?;
            let Members(mut members) = serde_json::from_str(json).map_err(wrong)?;
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            out.push('{');
            for (place, (name, value)) in members.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                    if members[place - 1].0 == *name {
                        return Err(format!("must not have the member {name:?} twice"));
                    }
                }
                write_text(name, out)?;
                out.push(':');
                write(value.get(), depth_left, depth_max, out)?;
            }
            out.push('}');
        }
        Some(b'[') => {
            let depth_left = deeper()?;
            let values: Vec<Box<RawValue>> = serde_json::from_str(json).map_err(wrong)?;
            out.push('[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write(value.get(), depth_left, depth_max, out)?;
            }
            out.push(']');
        }
        Some(b'"') => write_text(&serde_json::from_str::<String>(json).map_err(wrong)?, out)?,
        _ => out.push_str(json.trim()),
    }
    Ok(())
}

fn write_text(text: &str, out: &mut String) -> Result<(), String> {
    out.push_str(&serde_json::to_string(text).map_err(|error| error.to_string())?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::canonical;

    #[rstest]
    #[case(
        r#" { "b" : 1.10 , "a" : [ 12345678901234567890 , 1.7976931348623157e308, -0.0 ] } "#,
        r#"{"a":[12345678901234567890,1.7976931348623157e308,-0.0],"b":1.10}"#
    )]
    #[case(r#"{"\u0061":"\u00e9\/"}"#, r#"{"a":"é/"}"#)]
    #[case(r#"{"\u0000":"\u0000"}"#, r#"{"\u0000":"\u0000"}"#)]
    #[case(
        r#"{"$serde_json::private::RawValue":"{}","$serde_json::private::Number":"1"}"#,
        r#"{"$serde_json::private::Number":"1","$serde_json::private::RawValue":"{}"}"#
    )]
    fn a_value_keeps_its_meaning_and_its_digits(#[case] json: &str, #[case] expected: &str) {
        assert_eq!(canonical(json, 3).as_deref(), Ok(expected));
        assert_eq!(canonical(expected, 3).as_deref(), Ok(expected));
    }

    #[rstest]
    #[case(r#"{"a":1,"b":{"c":1,"\u0063":2}}"#, "twice")]
    #[case("[[[[]]]]", "deeper than 3")]
    #[case(r#"["\ud800"]"#, "hex escape")]
    fn what_could_not_be_read_back_is_refused(#[case] json: &str, #[case] expected: &str) {
        assert!(canonical(json, 3).is_err_and(|why| why.contains(expected)), "{json}");
    }
}
