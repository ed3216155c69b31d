//! The messages of PostgreSQL's protocol (chapter "Frontend/Backend Protocol") that a fault is planted in: it changes the
//! text of the statements it is about, in `Parse` and in `Query`, and nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Edit, STATEMENTS};

/// Changes the text of statements, and counts how often it did.
pub struct Rewriter {
    edits: Vec<(&'static Edit, AtomicUsize)>,
    /// A statement went by that an edit is about, and what it changes was not in it.
    strangers: AtomicUsize,
}

impl Rewriter {
    /// Plants these edits.
    pub fn new(edits: &'static [Edit]) -> Self {
        let edits = edits.iter().map(|edit| (edit, AtomicUsize::new(0))).collect();
        Rewriter { edits, strangers: AtomicUsize::new(0) }
    }

    /// Why what was raced was not the mutant, if it was not.
    pub fn failure(&self) -> Option<String> {
        if self.strangers.load(Ordering::Relaxed) > 0 {
            return Some("the service sends other statements than the ones this table was written for".to_owned());
        }
        let idle = self.edits.iter().find(|(_, planted)| planted.load(Ordering::Relaxed) == 0);
        idle.map(|(edit, _)| format!("the service never sent `{}`, so its fault was never planted", edit.statement))
    }

    /// The body of a `Parse` or `Query` with its statement's text changed; nothing where it stays as it is.
    pub fn body(&self, kind: u8, body: &[u8]) -> Option<Vec<u8>> {
        let (name, text, rest) = parts(kind, body)?;
        let text = std::str::from_utf8(text).ok()?;
        let changed = self.text(text)?;
        Some([name, changed.as_bytes(), rest].concat())
    }

    fn text(&self, text: &str) -> Option<String> {
        let statement = statement(text)?;
        let mut changed = None;
        for (edit, planted) in self.edits.iter().filter(|(edit, _)| edit.statement == statement) {
            let before = changed.as_deref().unwrap_or(text);
            if before.contains(edit.find) {
                changed = Some(before.replacen(edit.find, edit.replace, 1));
                planted.fetch_add(1, Ordering::Relaxed);
            } else {
                self.strangers.fetch_add(1, Ordering::Relaxed);
            }
        }
        changed
    }
}

/// Which of our statements this is: by a piece of code that no other has, so that it is known with and without its
/// comments, alone and inside a transaction's text.
fn statement(text: &str) -> Option<&'static str> {
    STATEMENTS.iter().find(|(_, mark)| text.contains(mark)).map(|(name, _)| *name)
}

/// The prepared statement's name with its end, the text, and what follows it.
fn parts(kind: u8, body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let name_length = match kind {
        b'P' => body.iter().position(|byte| *byte == 0)? + 1,
        b'Q' => 0,
        _ => return None,
    };
    let (name, after) = body.split_at(name_length);
    let (text, rest) = after.split_at(after.iter().position(|byte| *byte == 0)?);
    Some((name, text, rest))
}

/// What a `Parse` prepares: the name it gives, and which of our statements it is.
pub fn prepared(body: &[u8]) -> Option<(Vec<u8>, &'static str)> {
    let (name, text, _) = parts(b'P', body)?;
    Some((name.to_vec(), statement(std::str::from_utf8(text).ok()?)?))
}

/// The name of the prepared statement that a `Bind` executes, with its end.
pub fn bound(body: &[u8]) -> Option<&[u8]> {
    let portal_length = body.iter().position(|byte| *byte == 0)? + 1;
    let after = body.get(portal_length..)?;
    after.get(..=after.iter().position(|byte| *byte == 0)?)
}

/// A `Bind` whose first value of sixteen bytes is another id; its last two bytes, which tell the item, stay.
pub fn with_fresh_id(body: &[u8]) -> Option<Vec<u8>> {
    let statement = bound(body)?;
    // The portal's name, the statement's name, the formats, the values.
    let mut at = body.iter().position(|byte| *byte == 0)? + 1 + statement.len();
    let two = |at: usize| Some(usize::from(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?)));
    at += 2 + 2 * two(at)?;
    let count = two(at)?;
    at += 2;
    for _ in 0..count {
        let length = i32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?);
        at += 4;
        if length == 16 {
            let mut changed = body.to_vec();
            changed.get_mut(at..at + 14)?.copy_from_slice(&uuid::Uuid::now_v7().as_bytes()[..14]);
            return Some(changed);
        }
        at += usize::try_from(length).unwrap_or(0);
    }
    None
}

/// A message as it travels: its kind, its length, which counts itself, its body.
pub fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&[kind], length.to_be_bytes().as_slice(), body].concat()
}

/// A `Query` of the simple protocol.
pub fn query(sql: &str) -> Vec<u8> {
    framed(b'Q', &[sql.as_bytes(), &[0]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDITS: &[Edit] = &[
        Edit { statement: "refuse", find: "true", replace: "not true" },
        Edit { statement: "refuse", find: "false", replace: "" },
    ];

    #[test]
    fn the_text_of_a_parse_is_changed_and_its_name_and_types_stay() {
        let rewriter = Rewriter::new(EDITS);
        let body = b"name\0with refusing_item as (select true, false)\0\0\x01\0\0\0\x17";
        let changed = rewriter.body(b'P', body).unwrap();
        assert_eq!(changed, b"name\0with refusing_item as (select not true, )\0\0\x01\0\0\0\x17");
        assert_eq!(rewriter.failure(), None);
        assert_eq!(prepared(&changed), Some((b"name\0".to_vec(), "refuse")));
    }

    #[test]
    fn the_text_of_a_query_is_changed_inside_its_transaction() {
        let changed = Rewriter::new(EDITS).body(b'Q', b"begin; refusing_item as true false; commit\0").unwrap();
        assert_eq!(changed, b"begin; refusing_item as not true ; commit\0");
    }

    #[test]
    fn other_statements_and_other_messages_stay() {
        let rewriter = Rewriter::new(EDITS);
        assert_eq!(rewriter.body(b'Q', b"select true, false\0"), None);
        assert_eq!(rewriter.body(b'B', b"\0refusing_item as true false\0"), None);
        assert_eq!(rewriter.body(b'P', b"no end"), None);
        assert_eq!(rewriter.body(b'Q', b"\xff refusing_item as true\0"), None);
        assert!(rewriter.failure().is_some_and(|why| why.contains("never sent `refuse`")));
    }

    #[test]
    fn a_statement_of_another_version_is_noticed() {
        let rewriter = Rewriter::new(EDITS);
        assert_eq!(rewriter.body(b'Q', b"refusing_item as (select 1)\0"), None);
        assert!(rewriter.failure().is_some_and(|why| why.contains("other statements")));
    }

    #[test]
    fn a_fresh_id_keeps_its_last_bytes_and_everything_around_it() {
        let bind = |id: &[u8]| {
            let values = [&[0, 2], 4_i32.to_be_bytes().as_slice(), b"word", &16_i32.to_be_bytes(), id].concat();
            [b"portal\0name\0", [0, 1, 0, 1].as_slice(), &values, &[0, 1, 0, 1]].concat()
        };
        let body = bind(&[7; 16]);
        let changed = with_fresh_id(&body).unwrap();
        let at = body.windows(16).position(|bytes| bytes == [7; 16]).unwrap();
        assert_ne!(changed[at..at + 14], [7; 14]);
        assert_eq!(bind(&changed[at..at + 16]), changed);
        assert_eq!(changed[at + 14..at + 16], [7; 2]);
        assert_eq!(with_fresh_id(b"\0name\0\0\0\0\0"), None);
    }

    #[test]
    fn a_bind_names_its_statement() {
        assert_eq!(bound(b"portal\0sqlx_s_1\0\0\0"), Some(b"sqlx_s_1\0".as_slice()));
        assert_eq!(bound(b"\0\0\0\0"), Some(b"\0".as_slice()));
        assert_eq!(bound(b"cut"), None);
    }
}
