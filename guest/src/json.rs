//! JSON: the documents in the store, and the objects that servers and scripts send.
//!
//! Built on `miniserde`, which dispatches dynamically and so takes a fraction of the size of `serde` in the component. It takes no stack for nesting, however deep.

use std::{borrow::Cow, mem, str};

use miniserde::{
    Deserialize, Serialize,
    de::{Map, Seq, Visitor},
    json, make_place,
};

/// Reads a document; `None` where the bytes are no UTF-8, no JSON or not of this shape. Unknown fields are skipped, and an
/// `Option` may be missing.
pub fn read<T: Deserialize>(bytes: &[u8]) -> Option<T> {
    json::from_str(str::from_utf8(bytes).ok()?).ok()
}

/// Writes a document.
pub fn write(document: &dyn Serialize) -> Vec<u8> {
    json::to_string(document).into_bytes()
}

/// An object that somebody else wrote. Its fields are read one by one: one of another type than expected is as good as missing.
pub struct Fields(Vec<(String, Field)>);

/// A field's value, as far as it matters.
enum Field {
    Text(String),
    Whole(u64),
    Number(f64),
    Other,
}

impl Fields {
    /// Reads an object; `None` where the bytes are no UTF-8, no JSON or another value.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        read(bytes)
    }

    /// Returns the last value under a name.
    fn get(&self, name: &str) -> Option<&Field> {
        let found = self.0.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, field)| field)
    }

    /// Returns the text of a field.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Field::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the whole number in a field.
    pub fn whole(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Field::Whole(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the number in a field, which may be written as digits in a string.
    #[expect(
        clippy::cast_precision_loss,
        reason = "times and spans are far below 2^53"
    )]
    pub fn number(&self, name: &str) -> Option<f64> {
        Some(match self.get(name)? {
            Field::Whole(number) => *number as f64,
            Field::Number(number) => *number,
            Field::Text(digits) => digits.trim().parse::<u64>().ok()? as f64,
            Field::Other => return None,
        })
    }
}

impl Deserialize for Fields {
    fn begin(out: &mut Option<Self>) -> &mut dyn Visitor {
        Place::new(out)
    }
}

impl Visitor for Place<Fields> {
    fn map(&mut self) -> miniserde::Result<Box<dyn Map + '_>> {
        Ok(Box::new(FieldsBuilder {
            out: &mut self.out,
            fields: Vec::new(),
            name: String::new(),
            value: None,
        }))
    }
}

/// Collects the fields of an object.
struct FieldsBuilder<'a> {
    out: &'a mut Option<Fields>,
    fields: Vec<(String, Field)>,
    name: String,
    value: Option<Field>,
}

impl FieldsBuilder<'_> {
    fn keep_last(&mut self) {
        if let Some(value) = self.value.take() {
            self.fields.push((mem::take(&mut self.name), value));
        }
    }
}

impl Map for FieldsBuilder<'_> {
    fn key(&mut self, name: &str) -> miniserde::Result<&mut dyn Visitor> {
        self.keep_last();
        name.clone_into(&mut self.name);
        Ok(Place::new(&mut self.value))
    }

    fn finish(&mut self) -> miniserde::Result<()> {
        self.keep_last();
        *self.out = Some(Fields(mem::take(&mut self.fields)));
        Ok(())
    }
}

impl Visitor for Place<Field> {
    fn null(&mut self) -> miniserde::Result<()> {
        self.out = Some(Field::Other);
        Ok(())
    }

    fn boolean(&mut self, _: bool) -> miniserde::Result<()> {
        self.null()
    }

    fn string(&mut self, text: &str) -> miniserde::Result<()> {
        self.out = Some(Field::Text(text.to_owned()));
        Ok(())
    }

    fn nonnegative(&mut self, number: u64) -> miniserde::Result<()> {
        self.out = Some(Field::Whole(number));
        Ok(())
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "times and spans are far below 2^53"
    )]
    fn negative(&mut self, number: i64) -> miniserde::Result<()> {
        self.float(number as f64)
    }

    fn float(&mut self, number: f64) -> miniserde::Result<()> {
        self.out = Some(Field::Number(number));
        Ok(())
    }

    fn seq(&mut self) -> miniserde::Result<Box<dyn Seq + '_>> {
        self.null()?;
        <dyn Visitor>::ignore().seq()
    }

    fn map(&mut self) -> miniserde::Result<Box<dyn Map + '_>> {
        self.null()?;
        <dyn Visitor>::ignore().map()
    }
}

/// A value that stands in a document as one string.
pub trait Text: Sized {
    /// Returns the string.
    fn to_text(&self) -> Cow<'_, str>;

    /// Reads the string; `None` where it is none of this type.
    fn from_text(text: &str) -> Option<Self>;
}

make_place!(Place);

impl<T: Text> Visitor for Place<T> {
    fn string(&mut self, text: &str) -> miniserde::Result<()> {
        self.out = T::from_text(text);
        self.out.as_ref().map(|_| ()).ok_or(miniserde::Error)
    }
}

/// Returns what reads a string into a place.
pub fn visitor<T: Text>(out: &mut Option<T>) -> &mut dyn Visitor {
    Place::new(out)
}

/// Stores a type as its [`Text`].
macro_rules! stored_as_text {
    ($type:ty) => {
        impl miniserde::Serialize for $type {
            fn begin(&self) -> miniserde::ser::Fragment<'_> {
                miniserde::ser::Fragment::Str($crate::json::Text::to_text(self))
            }
        }

        impl miniserde::Deserialize for $type {
            fn begin(out: &mut Option<Self>) -> &mut dyn miniserde::de::Visitor {
                $crate::json::visitor(out)
            }
        }
    };
}

pub(crate) use stored_as_text;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_far_as_they_can_be() {
        let fields = Fields::read(
            br#"{"text":"t","whole":7,"digits":" 7 ","half":0.5,"minus":-1,"null":null}"#,
        )
        .expect("an object");
        assert_eq!(
            (fields.text("text"), fields.text("whole")),
            (Some("t"), None)
        );
        assert_eq!(
            (fields.whole("whole"), fields.whole("half")),
            (Some(7), None)
        );
        assert_eq!(
            ["whole", "digits", "half", "minus", "text", "null", "none"]
                .map(|name| fields.number(name)),
            [
                Some(7.0),
                Some(7.0),
                Some(0.5),
                Some(-1.0),
                None,
                None,
                None
            ]
        );
    }

    #[test]
    fn other_bytes_are_no_object() {
        for bytes in [
            &b""[..],
            b"[]",
            b"1",
            b"{",
            b"{}{}",
            b"\xff\xfe",
            b"{\"a\":\"\xff\"}",
        ] {
            assert!(Fields::read(bytes).is_none());
        }
    }

    #[test]
    fn nesting_takes_no_stack() {
        let deep = |inner: &str| {
            let (open, close) = (r#"{"a":["#.repeat(200_000), "]}".repeat(200_000));
            format!("{open}{inner}{close}")
        };
        assert!(Fields::read(deep("1").as_bytes()).is_some());
        assert!(Fields::read(deep("x").as_bytes()).is_none());
    }

    #[test]
    fn huge_numbers_are_numbers_or_refused() {
        let digits = "9".repeat(1000);
        for number in [
            "18446744073709551616",
            "-9223372036854775809",
            "1e308",
            "1e309",
            "1e99999999999",
            "1e-99999999999",
            "-0",
            &digits,
        ] {
            let read = Fields::read(format!(r#"{{"n":{number}}}"#).as_bytes());
            if let Some(number) = read.and_then(|fields| fields.number("n")) {
                assert!(number.is_finite(), "{number}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_get_an_answer(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60), text in "[\\[\\]{}:,\"\\\\0-9eE.+ntu-]{0,40}") {
            let _ = Fields::read(&bytes);
            let _ = Fields::read(text.as_bytes());
        }
    }
}
