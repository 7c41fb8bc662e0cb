//! The operations that every transaction or every signature pays for.
//!
//! Compare figures of one run only; `sha256/64` is the floor that the others can be related to.

use std::hint::black_box;

use ccf_crypto::{
    aead::AeadKey,
    cose::{LedgerSignature, SignatureClaims, sign_ledger_root},
    hash::{HmacKey, sha256, sha256_pair},
    key::{Curve, EcKeyPair, PublicKey},
};
use ccf_types::{Digest, TxId};
use criterion::{Criterion, criterion_group, criterion_main};

fn hashes(c: &mut Criterion) {
    let data = vec![7; 1024];
    let (left, right) = (Digest([1; 32]), Digest([2; 32]));
    c.bench_function("sha256/64", |b| b.iter(|| sha256(black_box(&data[..64]))));
    c.bench_function("sha256/1024", |b| b.iter(|| sha256(black_box(&data))));
    c.bench_function("sha256/pair", |b| b.iter(|| sha256_pair(black_box(&left), black_box(&right))));
    let key = HmacKey::new(&[3; 32]);
    c.bench_function("hmac/6", |b| b.iter(|| key.sign(black_box(b"2.1234"))));
}

fn aead(c: &mut Criterion) {
    let key = AeadKey::new(&[5; 32]);
    let mut data = vec![7; 100];
    let aad = [9; 200];
    c.bench_function("aes-256-gcm/new key", |b| b.iter(|| AeadKey::new(black_box(&[5; 32]))));
    c.bench_function("aes-256-gcm/seal 100", |b| {
        b.iter(|| key.seal_in_place(&[1; 12], black_box(&aad), black_box(&mut data)).expect("short enough"));
    });
    let plain = data.clone();
    let tag = key.seal_in_place(&[1; 12], &aad, &mut data).expect("short enough");
    let mut out = plain;
    c.bench_function("aes-256-gcm/open 100", |b| {
        b.iter(|| {
            key.open_into(&[1; 12], black_box(&aad), &tag, black_box(&data), &mut out).expect("authentic");
        });
    });
}

fn signatures(c: &mut Criterion) {
    let key = EcKeyPair::generate(Curve::P384).expect("a key");
    let root = Digest([7; 32]);
    let signature = key.sign_root(&root).expect("a signature");
    let public = key.public_key();
    c.bench_function("p384/sign root", |b| b.iter(|| key.sign_root(black_box(&root)).expect("a signature")));
    c.bench_function("p384/verify root", |b| {
        b.iter(|| public.verify_root(black_box(&root), &signature).expect("valid"));
    });
    c.bench_function("p384/parse public key", |b| {
        b.iter(|| PublicKey::from_spki_der(black_box(public.spki_der())).expect("a key"));
    });
    let claims = SignatureClaims::default();
    let sign = || sign_ledger_root(&key, &claims, 1, TxId::new(2, 4), &root).expect("a signature");
    c.bench_function("cose/sign root", |b| b.iter(sign));
    let cose = sign();
    c.bench_function("cose/verify root", |b| {
        b.iter(|| {
            LedgerSignature::decode(black_box(&cose))
                .expect("well-formed")
                .verify(public, &root)
                .expect("valid");
        });
    });
    let p256 = EcKeyPair::generate(Curve::P256).expect("a key");
    c.bench_function("p256/sign root", |b| b.iter(|| p256.sign_root(black_box(&root)).expect("a signature")));
}

criterion_group!(benches, hashes, aead, signatures);
criterion_main!(benches);
