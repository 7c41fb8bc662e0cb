//! Responses to bytes.

use ccf_endpoints::{Response, status_reason};

/// The interim answer to `expect: 100-continue`.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The header that transports write.
pub(crate) const CONTENT_LENGTH: &str = "content-length";

/// Appends a response: status line, headers sorted by name with `content-length` among them, body. A long body is left to
/// the caller.
///
/// Answers to HEAD and those with status 204 or 304 go without a body and say `content-length: 0` (node
/// specification, section 14.4), unless an answer to HEAD has a length of its own, as those about files do (section 13.6).
pub(crate) fn encode(out: &mut Vec<u8>, response: &Response, is_head: bool) {
    let body: &[u8] = if is_head || matches!(response.status, 204 | 304) { &[] } else { &response.body };
    let body_bytes = if is_head { 0 } else { response.body_bytes() };
    match response.status {
        200 => out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
        status => {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
            out.push(b' ');
            out.extend_from_slice(status_reason(status).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    let mut length_written = false;
    for (name, value) in response.headers.iter() {
        if name == CONTENT_LENGTH {
            // Of an answer with a body nobody else knows the length.
            if !is_head {
                continue;
            }
            length_written = true;
        }
        if !length_written && name > CONTENT_LENGTH {
            length_written = true;
            write_content_length(out, body_bytes);
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        value.write_to(out);
        out.extend_from_slice(b"\r\n");
    }
    if !length_written {
        write_content_length(out, body_bytes);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

fn write_content_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use ccf_types::{SeqNo, TxId, View};

    fn text(response: &Response, is_head: bool) -> String {
        let mut out = Vec::new();
        encode(&mut out, response, is_head);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn headers_stand_in_order_with_the_length_among_them() {
        let mut response = Response::with_body(200, "application/json", "true");
        response.headers.set("x-ms-ccf-transaction-id", TxId { view: View(2), seqno: SeqNo(14) });
        response.headers.set("allow", "GET");
        assert_eq!(
            text(&response, false),
            "HTTP/1.1 200 OK\r\nallow: GET\r\ncontent-length: 4\r\ncontent-type: application/json\r\n\
             x-ms-ccf-transaction-id: 2.14\r\n\r\ntrue"
        );
        assert_eq!(
            text(&response, true),
            "HTTP/1.1 200 OK\r\nallow: GET\r\ncontent-length: 0\r\ncontent-type: application/json\r\n\
             x-ms-ccf-transaction-id: 2.14\r\n\r\n"
        );
    }

    #[test]
    fn only_an_answer_to_head_has_a_length_of_its_own() {
        let mut response = Response::with_body(200, "text/plain", "body");
        response.headers.set_length_for_head(4000);
        response.headers.set("accept-ranges", "bytes");
        for (is_head, length, body) in [(true, "4000", ""), (false, "4", "body")] {
            assert_eq!(
                text(&response, is_head),
                format!(
                    "HTTP/1.1 200 OK\r\naccept-ranges: bytes\r\ncontent-length: {length}\r\ncontent-type: text/plain\r\n\r\n{body}"
                )
            );
        }
    }

    #[test]
    fn answers_without_body() {
        assert_eq!(
            text(&Response::status(503), false),
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
        );
        for status in [204, 304] {
            let response = Response::with_body(status, "text/plain", "no");
            assert!(
                text(&response, false).ends_with("content-length: 0\r\ncontent-type: text/plain\r\n\r\n")
            );
        }
        let response = Response::status(799);
        assert!(text(&response, false).starts_with("HTTP/1.1 799 Unknown\r\n"));
    }
}
