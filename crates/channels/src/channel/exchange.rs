//! The key exchange of a channel (11.4): who begins, who answers, and what is done when nobody does.

use std::time::Duration;

use ccf_crypto::{
    key::{EphemeralKey, PublicKey},
    random,
};

use super::{Channel, Phase, Refusal};
use crate::{
    frame::{self, FrameKind, OutgoingFrame},
    handshake::{CURVE, Handshake, SALT_LEN, Share},
    identity::verify,
    keys::{ReceiveKey, SendKey, derive},
    limits::{INITIATION_GAP, SEEN_INITIATIONS_MAX},
};

impl Channel {
    /// There is no key where one is needed: begins an exchange unless one is under way.
    pub(super) fn start(&mut self, now: Duration, out: &mut Vec<OutgoingFrame>) {
        match self.phase {
            Phase::Inactive => self.initiate(now, out),
            // Both keys are there, or the limit has just taken them and begun an exchange.
            Phase::Established => {}
            Phase::Initiated { .. } | Phase::WaitingForFinal { .. } => self.renew_stalled(now, out),
        }
    }

    /// Begins the exchange anew if the one under way has taken too long.
    pub(super) fn renew_stalled(&mut self, now: Duration, out: &mut Vec<OutgoingFrame>) {
        if let Phase::Initiated { retry_at, .. } | Phase::WaitingForFinal { retry_at, .. } = self.phase
            && now >= retry_at
        {
            self.initiate(now, out);
        }
    }

    /// Begins an exchange if messages arrive and none could be opened for a while: then the two sides do not have the same keys.
    /// Keys stay in use until the exchange replaces them, so that somebody who sends rubbish to a silent channel gains nothing.
    pub(super) fn renew_deaf(&mut self, now: Duration, out: &mut Vec<OutgoingFrame>) {
        if self.is_established() && now >= self.last_opened + INITIATION_GAP {
            self.initiate(now, out);
        }
    }

    /// Replaces keys that were used half as often as they may be; gives them up at the limit.
    pub(super) fn roll_over(&mut self, now: Duration, out: &mut Vec<OutgoingFrame>) {
        let used = self.send.as_ref().map_or(0, SendKey::next_nonce)
            + self.receive.as_ref().map_or(0, ReceiveKey::last_nonce);
        if used >= self.message_limit / 2 && self.is_established() {
            self.initiate(now, out);
        } else if used >= self.message_limit {
            self.send = None;
            self.receive = None;
            // If this side has begun already, its exchange may still end well.
            if !matches!(self.phase, Phase::Initiated { .. }) {
                self.initiate(now, out);
            }
        }
    }

    pub(super) fn receive_handshake(
        &mut self,
        now: Duration,
        payload: &[u8],
        out: &mut Vec<OutgoingFrame>,
    ) -> Result<(), Refusal> {
        match Handshake::parse(payload).ok_or(Refusal::Malformed)? {
            Handshake::Init { share, signature, certificate_pem, salt } => {
                self.receive_init(now, &share, signature, certificate_pem, salt, out)
            }
            Handshake::Response { share, signature, certificate_pem } => {
                self.receive_response(now, &share, signature, certificate_pem, out)
            }
            Handshake::Final { signature } => self.receive_final(now, signature),
        }
    }

    /// A new own key, a new salt.
    fn initiate(&mut self, now: Duration, out: &mut Vec<OutgoingFrame>) {
        // Without randomness nothing is sent and the next message tries again.
        self.phase = Phase::Inactive;
        let Ok(key) = EphemeralKey::generate(CURVE) else { return };
        let Ok(salt) = random::bytes::<SALT_LEN>() else { return };
        let Some(share) = Share::of(&key) else { return };
        let Ok(signature) = self.identity.sign(share.bytes()) else { return };
        let certificate_pem = self.identity.certificate_pem().as_bytes();
        let init = Handshake::Init { share, signature: &signature, certificate_pem, salt: &salt };
        if self.push_handshake(&init, out) {
            self.phase = Phase::Initiated { key, share, salt, retry_at: now + INITIATION_GAP };
        }
    }

    fn receive_init(
        &mut self,
        now: Duration,
        share: &Share,
        signature: &[u8],
        certificate_pem: &[u8],
        salt: &[u8],
        out: &mut Vec<OutgoingFrame>,
    ) -> Result<(), Refusal> {
        let mark = mark(share);
        if self.seen.contains(&mark) {
            return Err(Refusal::Replayed);
        }
        let peer_key = self.check(certificate_pem, share.bytes(), signature)?;
        if self.seen.len() == SEEN_INITIATIONS_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(mark);
        // Both began: the exchange of the higher id goes on (quirk Q2).
        if matches!(self.phase, Phase::Initiated { .. }) && *self.identity.id() > self.peer {
            // Its init may have been lost, and this node may have nothing more to send.
            self.renew_stalled(now, out);
            return Err(Refusal::NotAwaited);
        }

        // Always a fresh key: answering twice with one would give the same keys twice, and with them the same nonces.
        let key = EphemeralKey::generate(CURVE).map_err(|_| Refusal::Local)?;
        let own_share = Share::of(&key).ok_or(Refusal::Local)?;
        let secret = key.agree(share.point()).map_err(|_| Refusal::Malformed)?;
        let (send, receive) =
            derive(&secret, salt, self.identity.id(), &self.peer).map_err(|_| Refusal::Local)?;
        let signed = [own_share.bytes(), share.bytes()].concat();
        let signature = self.identity.sign(&signed).map_err(|_| Refusal::Local)?;
        let certificate_pem = self.identity.certificate_pem().as_bytes();
        let response = Handshake::Response { share: own_share, signature: &signature, certificate_pem };
        if !self.push_handshake(&response, out) {
            return Err(Refusal::Local);
        }
        self.send = Some(send);
        self.phase =
            Phase::WaitingForFinal { share: own_share, peer_key, receive, retry_at: now + INITIATION_GAP };
        self.flush(out);
        Ok(())
    }

    fn receive_response(
        &mut self,
        now: Duration,
        share: &Share,
        signature: &[u8],
        certificate_pem: &[u8],
        out: &mut Vec<OutgoingFrame>,
    ) -> Result<(), Refusal> {
        let Phase::Initiated { share: own_share, .. } = &self.phase else { return Err(Refusal::NotAwaited) };
        let signed = [share.bytes(), own_share.bytes()].concat();
        self.check(certificate_pem, &signed, signature)?;
        let signature = self.identity.sign(share.bytes()).map_err(|_| Refusal::Local)?;
        // From here on the own key is used up: a peer that signs a point off the curve has ended this exchange.
        let Phase::Initiated { key, salt, .. } = std::mem::replace(&mut self.phase, Phase::Inactive) else {
            return Err(Refusal::NotAwaited);
        };
        let secret = key.agree(share.point()).map_err(|_| Refusal::Malformed)?;
        let (send, receive) =
            derive(&secret, &salt, self.identity.id(), &self.peer).map_err(|_| Refusal::Local)?;
        if !self.push_handshake(&Handshake::Final { signature: &signature }, out) {
            return Err(Refusal::Local);
        }
        self.send = Some(send);
        self.receive = Some(receive);
        self.last_opened = now;
        self.phase = Phase::Established;
        self.flush(out);
        Ok(())
    }

    fn receive_final(&mut self, now: Duration, signature: &[u8]) -> Result<(), Refusal> {
        let Phase::WaitingForFinal { share, peer_key, .. } = &self.phase else {
            return Err(Refusal::NotAwaited);
        };
        if !verify(peer_key, share.bytes(), signature) {
            return Err(Refusal::Signature);
        }
        if let Phase::WaitingForFinal { receive, .. } = std::mem::replace(&mut self.phase, Phase::Established)
        {
            self.receive = Some(receive);
            self.last_opened = now;
        }
        Ok(())
    }

    /// The peer's key, if the certificate is the peer's and the signature is by it.
    fn check(&self, certificate_pem: &[u8], signed: &[u8], signature: &[u8]) -> Result<PublicKey, Refusal> {
        let key = self.identity.check_peer(&self.peer, certificate_pem).ok_or(Refusal::Certificate)?;
        if verify(&key, signed, signature) { Ok(key) } else { Err(Refusal::Signature) }
    }

    fn push_handshake(&self, message: &Handshake<'_>, out: &mut Vec<OutgoingFrame>) -> bool {
        let payload = message.encode();
        let Some(mut head) =
            frame::begin(FrameKind::Handshake, self.identity.id(), payload.len(), payload.len())
        else {
            return false;
        };
        head.extend_from_slice(&payload);
        out.push(OutgoingFrame { head: head.into(), entries: Vec::new() });
        true
    }
}

/// Tells inits apart: no two have the same share, unless one is a copy.
fn mark(share: &Share) -> [u8; 16] {
    share.point().get(1..17).and_then(|x| x.try_into().ok()).unwrap_or_default()
}
