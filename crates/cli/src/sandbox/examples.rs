//! Example requests of an application, printed as curl lines that can be copied.
//!
//! An application may have a file `examples.txt` beside its `app.json`. Each line is a comment (`# text`) or a request:
//! who sends it (`user0`, `member1`, `anyone`), method, path, and a JSON body if there is one. `{user0}` and
//! `{member0}` in path and body stand for the identifiers of users and members.

use serde_json::Value;
use std::path::Path;

/// Largest number of requests made up for an application without examples.
const MADE_UP_MAX: usize = 5;

/// What the lines refer to.
pub struct Surroundings<'a> {
    /// `host:port` of the node.
    pub address: &'a str,
    /// Folder of keys and certificates, as it is to be shown.
    pub common: &'a Path,
    /// Identifiers of members, in order.
    pub members: &'a [String],
    /// Identifiers of users, in order.
    pub users: &'a [String],
}

/// Turns the text of an `examples.txt` into lines for a shell.
///
/// # Errors
/// A sentence that names the line.
pub fn curl_lines(text: &str, surroundings: &Surroundings<'_>) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            lines.push(line.to_owned());
            continue;
        }
        let wrong = |what: &str| format!("examples.txt, line {}: {what}: {line}", number + 1);
        let mut words = line.splitn(4, ' ').map(str::trim);
        let (Some(who), Some(method), Some(path)) = (words.next(), words.next(), words.next()) else {
            return Err(wrong("must be WHO METHOD PATH [BODY]"));
        };
        if !path.starts_with('/') {
            return Err(wrong("the path must begin with /"));
        }
        let path = surroundings.fill_in(path);
        let body = words.next().map(|body| surroundings.fill_in(body));
        if !is_person(who) {
            return Err(wrong("the sender must be userN, memberN or anyone"));
        }
        // A sandbox with fewer people leaves out what they would send.
        match surroundings.identity(who) {
            Some(identity) if !path.contains('{') => {
                lines.push(surroundings.curl(&identity, method, &path, body.as_deref()));
            }
            _ => lines.push(format!("# (needs more members or users) {line}")),
        }
    }
    Ok(lines)
}

fn is_person(who: &str) -> bool {
    let numbered = |kind: &str| who.strip_prefix(kind).is_some_and(|n| n.parse::<u16>().is_ok());
    who == "anyone" || numbered("user") || numbered("member")
}

/// Reads for an application without examples: its `GET` endpoints without parameters.
#[must_use]
pub fn made_up(bundle: &Value, surroundings: &Surroundings<'_>) -> Vec<String> {
    let endpoints = bundle["metadata"]["endpoints"].as_object();
    let is_read = |methods: &Value| {
        methods.as_object().is_some_and(|methods| methods.keys().any(|verb| verb.eq_ignore_ascii_case("get")))
    };
    let who = surroundings.identity("user0").unwrap_or_default();
    endpoints
        .into_iter()
        .flatten()
        .filter(|(path, methods)| !path.contains('{') && is_read(methods))
        .take(MADE_UP_MAX)
        .map(|(path, _)| surroundings.curl(&who, "GET", &format!("/app{path}"), None))
        .collect()
}

impl Surroundings<'_> {
    /// A curl line.
    #[must_use]
    pub fn curl(&self, identity: &str, method: &str, path: &str, body: Option<&str>) -> String {
        let file = |name: &str| shell_word(&self.common.join(name).to_string_lossy());
        let mut line = format!("curl --cacert {}", file("service_cert.pem"));
        if !identity.is_empty() {
            let (cert, key) = (format!("{identity}_cert.pem"), format!("{identity}_privk.pem"));
            line += &format!(" --cert {} --key {}", file(&cert), file(&key));
        }
        if method != "GET" {
            line += &format!(" -X {method}");
        }
        line += &format!(" {}", shell_word(&format!("https://{}{path}", self.address)));
        if let Some(body) = body {
            line += &format!(" -H 'content-type: application/json' -d {}", shell_word(body));
        }
        line
    }

    /// The prefix of the key files of `who`; empty for `anyone`, `None` for somebody who does not exist.
    fn identity(&self, who: &str) -> Option<String> {
        if who == "anyone" {
            return Some(String::new());
        }
        let known = |kind: &str, count: usize| {
            who.strip_prefix(kind).and_then(|n| n.parse::<usize>().ok()).is_some_and(|n| n < count)
        };
        (known("user", self.users.len()) || known("member", self.members.len())).then(|| who.to_owned())
    }

    fn fill_in(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (kind, ids) in [("user", self.users), ("member", self.members)] {
            for (index, id) in ids.iter().enumerate() {
                text = text.replace(&format!("{{{kind}{index}}}"), id);
            }
        }
        text
    }
}

/// A word that a POSIX shell reads back as `text`.
#[must_use]
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_surroundings<T>(common: &str, f: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        f(&Surroundings {
            address: "127.0.0.1:8000",
            common: Path::new(common),
            members: &["aa".to_owned()],
            users: &["bb".to_owned(), "cc".to_owned()],
        })
    }

    #[test]
    fn requests_become_curl_lines() {
        let text = "# Open an account\nmember0 PUT /app/account/{user1}/x\n\nuser0 POST /app/t {\"to\": \"{user1}\"}\nanyone GET /app/commit\n";
        let lines = with_surroundings("w/common", |s| curl_lines(text, s)).unwrap();
        assert_eq!(lines[0], "# Open an account");
        assert_eq!(
            lines[1],
            "curl --cacert w/common/service_cert.pem --cert w/common/member0_cert.pem --key w/common/member0_privk.pem -X PUT https://127.0.0.1:8000/app/account/cc/x"
        );
        assert!(
            lines[3].ends_with(r#"-H 'content-type: application/json' -d '{"to": "cc"}'"#),
            "{}",
            lines[3]
        );
        assert_eq!(lines[4], "curl --cacert w/common/service_cert.pem https://127.0.0.1:8000/app/commit");
    }

    #[test]
    fn broken_lines_are_named() {
        for (text, word) in [
            ("somebody GET /app/x", "the sender must be"),
            ("user0 GET", "must be"),
            ("user0 GET app/x", "begin with /"),
        ] {
            let error = with_surroundings("c", |s| curl_lines(text, s)).unwrap_err();
            assert!(error.contains(word) && error.contains("line 1"), "{error}");
        }
    }

    #[test]
    fn requests_of_people_who_are_not_there_become_comments() {
        let lines =
            with_surroundings("c", |s| curl_lines("user7 GET /app/x\nuser0 GET /app/{user9}\n", s)).unwrap();
        assert!(lines.iter().all(|line| line.starts_with("# (needs")), "{lines:?}");
    }

    #[test]
    fn words_survive_the_shell() {
        for text in ["plain", "with space", "quo'te", "$HOME `x`", ""] {
            let output = std::process::Command::new("sh")
                .arg("-c")
                .arg(format!("printf %s {}", shell_word(text)))
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }

    #[test]
    fn reads_are_made_up_from_the_bundle() {
        let bundle = serde_json::json!({"metadata": {"endpoints": {
            "/a": {"get": {}}, "/b": {"post": {}}, "/c/{id}": {"GET": {}},
        }}});
        let lines = with_surroundings("c", |s| made_up(&bundle, s));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].ends_with("https://127.0.0.1:8000/app/a"));
    }
}
