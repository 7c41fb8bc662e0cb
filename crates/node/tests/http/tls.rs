//! TLS: versions, client certificates, protocols offered, certificates that come and change.

use crate::support::*;
use ccf_node::http::Authority;
use rustls::{
    ProtocolVersion, SupportedProtocolVersion,
    pki_types::{CertificateDer, pem::PemObject},
    version::{TLS12, TLS13},
};
use std::{
    io::{Read, Write},
    process::{Command, Stdio},
};

#[test]
fn client_certificates_of_every_kind_are_taken_and_shown() {
    static ONLY_12: [&SupportedProtocolVersion; 1] = [&TLS12];
    static ONLY_13: [&SupportedProtocolVersion; 1] = [&TLS13];
    let running = start(|_, _| ());
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let pair = certificate(algorithm);
        let der = CertificateDer::from_pem_slice(pair.0.as_bytes()).unwrap();
        for (versions, expected) in
            [(&ONLY_12, ProtocolVersion::TLSv1_2), (&ONLY_13, ProtocolVersion::TLSv1_3)]
        {
            let hello = Hello { versions, certificate: Some(pair.clone()), ..Hello::default() };
            let mut stream = hello.connect(running.address);
            ask(&mut stream, "GET /certificate HTTP/1.1\r\n\r\n");
            let seen = running.echo.connections.lock().unwrap().pop().unwrap();
            assert_eq!(seen.peer_certificate.as_deref(), Some(der.as_ref()), "{algorithm:?} {expected:?}");
            assert_eq!(&*seen.interface, "main");
            assert_eq!(stream.conn.protocol_version(), Some(expected));
        }
    }
    let mut anonymous = tls(running.address);
    ask(&mut anonymous, "GET / HTTP/1.1\r\n\r\n");
    assert_eq!(running.echo.connections.lock().unwrap().pop().unwrap().peer_certificate, None);
}

/// Runs OpenSSL with words separated by blanks; `None` if it is not installed.
fn openssl(words: &str, input: &str) -> Option<String> {
    let child = Command::new("openssl")
        .args(words.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.ok()?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Some(String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned())
}

/// Another implementation, with one group at a time. (In TLS 1.2 the list of groups must also name the curve of
/// the server's certificate.)
#[test]
fn clients_of_openssl_are_served_in_every_group() {
    let running = start(|_, _| ());
    for (groups, version) in [
        ("P-521", "-tls1_3"),
        ("P-384", "-tls1_3"),
        ("P-256", "-tls1_3"),
        ("P-521:P-384", "-tls1_2"),
        ("P-384", "-tls1_2"),
    ] {
        let words =
            format!("s_client -connect {} -groups {groups} {version} -quiet -ign_eof", running.address);
        let Some(text) = openssl(&words, "GET /close HTTP/1.1\r\n\r\n") else { return };
        assert!(text.ends_with("GET /close\n"), "{groups} {version}: {text}");
    }
}

/// A version 1 certificate is odd but well-formed.
#[test]
fn old_client_certificates_are_taken() {
    let running = start(|_, _| ());
    let folder = std::env::temp_dir().join(format!("ccf-node-http-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let at = folder.display();
    for words in [
        format!("ecparam -name prime256v1 -genkey -noout -out {at}/key"),
        format!("req -new -key {at}/key -subj /CN=old -out {at}/csr"),
        format!("x509 -req -in {at}/csr -signkey {at}/key -days 1 -out {at}/cert"),
    ] {
        if openssl(&words, "").is_none() {
            return;
        }
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let words = format!(
            "s_client -connect {} -cert {at}/cert -key {at}/key {version} -quiet -ign_eof",
            running.address
        );
        let text = openssl(&words, "GET /close HTTP/1.1\r\n\r\n").unwrap();
        assert!(text.ends_with("GET /close\n"), "{version}: {text}");
        assert!(running.echo.connections.lock().unwrap().pop().unwrap().peer_certificate.is_some());
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn protocols_offered_that_do_not_fit_are_passed_over() {
    let running = start(|_, _| ());
    for (offered, selected) in [
        (vec!["http/1.1", "h2"], Some(&b"http/1.1"[..])),
        (vec!["h2"], None),
        (vec!["x"], None),
        (vec![], None),
    ] {
        let alpn = offered.iter().map(|p| p.as_bytes().to_vec()).collect();
        let mut stream = Hello { alpn, ..Hello::default() }.connect(running.address);
        assert!(ask(&mut stream, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 "));
        assert_eq!(stream.conn.alpn_protocol(), selected, "{offered:?}");
    }
}

#[test]
fn certificates_come_and_change_while_sessions_go_on() {
    let running = start_without_certificate(|_, _| ());
    assert!(is_closed(&mut tcp(running.address)));
    // Another authority's certificate changes nothing.
    running.server.set_certificate(Authority::Node, &identity(&rcgen::PKCS_ECDSA_P256_SHA256)).unwrap();
    assert!(is_closed(&mut tcp(running.address)));

    let mut sessions = Vec::new();
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ECDSA_P256_SHA256] {
        running.server.set_certificate(Authority::Service, &identity(algorithm)).unwrap();
        let mut session = tls(running.address);
        ask(&mut session, "GET / HTTP/1.1\r\n\r\n");
        sessions.push(session);
    }
    let seen: Vec<_> = sessions.iter().map(|s| s.conn.peer_certificates().unwrap()[0].clone()).collect();
    assert_ne!(seen[0], seen[1]);
    for session in &mut sessions {
        assert!(ask(session, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn sessions_are_not_resumed() {
    let running = start(|_, _| ());
    let config = std::sync::Arc::new(Hello::default().config());
    for _ in 0..3 {
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let connection = rustls::ClientConnection::new(config.clone(), name).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, tcp(running.address));
        ask(&mut stream, "GET / HTTP/1.1\r\n\r\n");
        let kind = stream.conn.handshake_kind();
        assert!(!matches!(kind, None | Some(rustls::HandshakeKind::Resumed)), "{kind:?}");
    }
}

#[test]
fn garbage_instead_of_tls_ends_the_session_only() {
    let running = start(|_, _| ());
    let huge_record = [&[22, 3, 1, 0xff, 0xff][..], &[0; 70_000]].concat();
    let endless_hello = [&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &[0; 200_000]].concat();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 100],
        &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0],
        &huge_record,
        &endless_hello,
    ] {
        let mut stream = tcp(running.address);
        let _ = stream.write_all(garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        // Perhaps an alert, then the end.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() < 100);
    }
    // Damage after the handshake.
    let mut session = tls(running.address);
    ask(&mut session, "GET / HTTP/1.1\r\n\r\n");
    session
        .sock
        .write_all(&[23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20])
        .unwrap();
    let mut rest = Vec::new();
    assert!(session.read_to_end(&mut rest).is_err());
    until(|| running.server.metrics().active == 0);
    ask(&mut tls(running.address), "GET / HTTP/1.1\r\n\r\n");
}
