//! Request methods: exactly those of llhttp's HTTP table, in its numeric order, which the `allow` header
//! shows (applications specification, sections 1.1 and 1.4).

use std::{fmt, str::FromStr};

/// The text is no HTTP method of the table; methods are upper-case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown HTTP method")]
pub struct UnknownMethod;

macro_rules! methods {
    ($($variant:ident = $number:literal, $text:literal;)*) => {
        /// A request method. Ordered as in llhttp.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)] // the variants are the method names
        pub enum Method { $($variant = $number),* }

        impl Method {
            /// Every method, in numeric order.
            pub const ALL: &[Method] = &[$(Method::$variant),*];

            /// The method as it stands in a request line.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Method::$variant => $text),* }
            }

            /// The method of a request line's first word.
            ///
            /// # Errors
            /// [`UnknownMethod`] for anything else than the exact upper-case text.
            pub fn parse(text: &[u8]) -> Result<Method, UnknownMethod> {
                $(if text == $text.as_bytes() { return Ok(Method::$variant); })*
                Err(UnknownMethod)
            }
        }
    };
}

methods! {
    Delete = 0, "DELETE";
    Get = 1, "GET";
    Head = 2, "HEAD";
    Post = 3, "POST";
    Put = 4, "PUT";
    Connect = 5, "CONNECT";
    Options = 6, "OPTIONS";
    Trace = 7, "TRACE";
    Copy = 8, "COPY";
    Lock = 9, "LOCK";
    Mkcol = 10, "MKCOL";
    Move = 11, "MOVE";
    Propfind = 12, "PROPFIND";
    Proppatch = 13, "PROPPATCH";
    Search = 14, "SEARCH";
    Unlock = 15, "UNLOCK";
    Bind = 16, "BIND";
    Rebind = 17, "REBIND";
    Unbind = 18, "UNBIND";
    Acl = 19, "ACL";
    Report = 20, "REPORT";
    Mkactivity = 21, "MKACTIVITY";
    Checkout = 22, "CHECKOUT";
    Merge = 23, "MERGE";
    MSearch = 24, "M-SEARCH";
    Notify = 25, "NOTIFY";
    Subscribe = 26, "SUBSCRIBE";
    Unsubscribe = 27, "UNSUBSCRIBE";
    Patch = 28, "PATCH";
    Purge = 29, "PURGE";
    Mkcalendar = 30, "MKCALENDAR";
    Link = 31, "LINK";
    Unlink = 32, "UNLINK";
    Source = 33, "SOURCE";
    Query = 46, "QUERY";
}

impl Method {
    /// The method as the key of an OpenAPI path item or of `app.json`.
    #[must_use]
    pub fn lower_case(self) -> String {
        self.as_str().to_ascii_lowercase()
    }
}

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(text: &str) -> Result<Self, UnknownMethod> {
        Method::parse(text.as_bytes())
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_case_matters() {
        for &method in Method::ALL {
            assert_eq!(method.as_str().parse(), Ok(method));
        }
        assert_eq!("get".parse::<Method>(), Err(UnknownMethod));
        assert_eq!("".parse::<Method>(), Err(UnknownMethod));
        assert!(Method::Put < Method::Patch && Method::Delete < Method::Get);
    }
}
