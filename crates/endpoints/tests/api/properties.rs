//! Properties of routing and decoding, against naive models.

use ccf_endpoints::{Params, PathTemplate, Query, decode_query};
use proptest::prelude::*;

/// A template of captures with separators, and values free of `/` and of the separators.
fn filled() -> impl Strategy<Value = (String, Vec<(String, String)>, String)> {
    let part = ("[a-c]{0,3}", "[0-9a-zA-Z%._~]{1,6}", prop::sample::select(vec!["/", "-", ":", "/x/"]));
    prop::collection::vec(part, 1..6).prop_map(|parts| {
        let (mut template, mut path, mut values) = (String::from("/"), String::from("/"), Vec::new());
        for (i, (literal, value, separator)) in parts.into_iter().enumerate() {
            let name = format!("p{i}");
            template.push_str(&format!("{literal}{{{name}}}{separator}"));
            path.push_str(&format!("{literal}{value}{separator}"));
            values.push((name, value));
        }
        (template, values, path)
    })
}

/// The model of matching: the regular expression that the specification describes.
fn model(template: &str) -> naive::Model {
    naive::Model::new(template)
}

mod naive {
    /// Tries every way to cut the path, taking the longest first.
    pub(crate) struct Model(Vec<Piece>);

    enum Piece {
        Byte(u8),
        Capture(Option<u8>),
    }

    impl Model {
        pub(crate) fn new(template: &str) -> Model {
            let (mut pieces, mut rest) = (Vec::new(), template.as_bytes());
            while let Some((&byte, tail)) = rest.split_first() {
                rest = tail;
                if byte == b'{' {
                    let close = rest.iter().position(|&b| b == b'}').unwrap();
                    rest = &rest[close + 1..];
                    pieces.push(Piece::Capture(rest.first().copied().filter(|&b| b != b'/')));
                } else {
                    pieces.push(Piece::Byte(byte));
                }
            }
            Model(pieces)
        }

        pub(crate) fn captures<'p>(&self, path: &'p str) -> Option<Vec<&'p str>> {
            let mut found = Vec::new();
            go(&self.0, path, &mut found).then_some(found)
        }
    }

    fn go<'p>(pieces: &[Piece], path: &'p str, found: &mut Vec<&'p str>) -> bool {
        match pieces.split_first() {
            None => path.is_empty(),
            Some((Piece::Byte(byte), rest)) => {
                path.as_bytes().first() == Some(byte) && go(rest, &path[1..], found)
            }
            Some((Piece::Capture(stop), rest)) => {
                let allowed = |b: u8| b != b'/' && Some(b) != *stop;
                let longest = path.bytes().take_while(|&b| allowed(b)).count();
                for length in (1..=longest).rev() {
                    found.push(&path[..length]);
                    if go(rest, &path[length..], found) {
                        return true;
                    }
                    found.pop();
                }
                false
            }
        }
    }
}

fn captured(template: &str, path: &str) -> Option<Vec<String>> {
    let template = PathTemplate::parse(template).unwrap();
    let captures = template.captures(path.as_bytes())?;
    let params = Params::new(&template, path.as_bytes(), captures);
    Some(params.iter().map(|(_, value)| String::from_utf8(value.to_vec()).unwrap()).collect())
}

proptest! {
    #[test]
    fn what_was_put_in_comes_out((template, values, path) in filled()) {
        let expected: Vec<_> = values.into_iter().map(|(_, value)| value).collect();
        let found = captured(&template, &path);
        let modelled = model(&template).captures(&path).map(|v| v.into_iter().map(str::to_owned).collect::<Vec<_>>());
        prop_assert_eq!(&found, &modelled);
        prop_assert_eq!(found, Some(expected));
    }

    #[test]
    fn matching_agrees_with_the_model(
        template in "/([ab-]{0,2}(\\{x\\})?[ab/-]{0,2})(\\{y\\})?[ab/]{0,1}",
        path in "/[ab/-]{0,8}",
    ) {
        prop_assume!(!template.contains("}{"));
        let expected = model(&template).captures(&path).map(|v| v.into_iter().map(str::to_owned).collect::<Vec<_>>());
        prop_assert_eq!(captured(&template, &path), expected);
    }

    #[test]
    fn any_text_is_parsed_or_refused(template in "[/{}a:-]{0,12}", path in "[/{}a:-]{0,12}") {
        if let Ok(template) = PathTemplate::parse(&template) {
            let _ = template.captures(path.as_bytes());
        }
    }

    #[test]
    fn encoded_bytes_are_decoded(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let encoded: String = bytes.iter().map(|b| format!("%{b:02x}")).collect();
        prop_assert_eq!(decode_query(encoded.as_bytes()).into_owned(), bytes);
    }

    #[test]
    fn decoding_never_grows_and_keeps_plain_text(raw in prop::collection::vec(any::<u8>(), 0..60)) {
        let decoded = decode_query(&raw);
        prop_assert!(decoded.len() <= raw.len());
        if !raw.contains(&b'%') && !raw.contains(&b'+') {
            prop_assert_eq!(decoded.as_ref(), &raw[..]);
        }
        for (name, value) in Query::new(&decoded).iter() {
            prop_assert!(!name.contains(&b'&') && !value.contains(&b'&') && !name.contains(&b'='));
        }
    }
}
