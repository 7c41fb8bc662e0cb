//! Whatever peers send, a replica neither panics nor gives up what is committed.

use ccf_consensus::{
    AppendEntries, AppendEntriesResponse, ElectionForm, Input, Leadership, Message, RequestVote, VoteResponse,
};
use ccf_simulator::{Cluster, MemoryLog, payload};
use ccf_types::{NodeId, SeqNo, TxId, View};

struct Liar(u64);

impl Liar {
    fn up_to(&mut self, max: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % (max + 1)
    }

    /// Mostly small, so that it hits what exists; sometimes huge.
    fn number(&mut self) -> u64 {
        match self.up_to(30) {
            0 => u64::MAX,
            1 => u64::MAX - 1,
            2 => 1 << 40,
            _ => self.up_to(12),
        }
    }

    fn view(&mut self) -> View {
        if self.up_to(50) == 0 { View(self.number()) } else { View(2 + self.up_to(5)) }
    }

    fn tx_id(&mut self) -> TxId {
        TxId { view: self.view(), seqno: SeqNo(self.number()) }
    }

    fn message(&mut self, honest: (TxId, View)) -> Message {
        let (last, view) = honest;
        match self.up_to(9) {
            0..=2 => Message::AppendEntries(AppendEntries {
                last: TxId { view: last.view, seqno: SeqNo(last.seqno.0 + self.up_to(3)) },
                previous: last,
                view: View(view.0 + self.up_to(1)),
                commit: SeqNo(self.number()),
            }),
            3 => Message::AppendEntries(AppendEntries {
                last: self.tx_id(),
                previous: self.tx_id(),
                view: self.view(),
                commit: SeqNo(self.number()),
            }),
            4 | 5 => Message::AppendEntriesResponse(AppendEntriesResponse {
                view: self.view(),
                last: SeqNo(self.number()),
                success: self.up_to(1) == 0,
            }),
            6 => Message::RequestVote(RequestVote { view: self.view(), last_committable: self.tx_id() }),
            7 => Message::RequestPreVote(RequestVote { view: self.view(), last_committable: self.tx_id() }),
            8 => {
                let response = VoteResponse { view: self.view(), granted: self.up_to(1) == 0 };
                if self.up_to(1) == 0 {
                    Message::RequestVoteResponse(response)
                } else {
                    Message::RequestPreVoteResponse(response)
                }
            }
            _ => Message::ProposeRequestVote(self.view()),
        }
    }

    fn entries(&mut self, message: &Message) -> Vec<u8> {
        let Message::AppendEntries(request) = message else { return Vec::new() };
        let mut bytes = Vec::new();
        for offset in 1..=self.up_to(4) {
            let tx_id = TxId {
                view: request.last.view,
                seqno: SeqNo(request.previous.seqno.0.saturating_add(offset)),
            };
            let (committable, data) = match self.up_to(6) {
                0 | 1 => (true, b"s".to_vec()),
                2 => (false, payload::configuration(&[&self.up_to(3).to_string()])),
                3 => (false, payload::retired_committed(&["2"])),
                _ => (false, payload::data(1)),
            };
            let mut log = MemoryLog::new(payload::decode);
            log.write(tx_id, committable, &data).expect("a known payload");
            bytes.extend(log.bytes(SeqNo(0), SeqNo(1)).expect("it was written"));
        }
        if self.up_to(10) == 0 {
            bytes.pop();
        }
        bytes
    }
}

#[test]
fn lies_never_panic_and_never_undo_a_commit() {
    let mut accepted = 0;
    for seed in 0..150 {
        let mut liar = Liar(seed);
        let mut net = Cluster::started(&["0", "1", "2"], liar.up_to(1) == 0);
        for _ in 0..200 {
            let victim = ["0", "1", "2"][usize::try_from(liar.up_to(2)).unwrap()];
            let from = NodeId::from_text(["0", "1", "2", "9"][usize::try_from(liar.up_to(3)).unwrap()]);
            let replica = &net.node(victim).replica;
            let (commit, before) = (replica.committed(), replica.last());
            let honest = (if liar.up_to(1) == 0 { before } else { commit }, replica.view());
            let message = liar.message(honest);
            let entries = liar.entries(&message);
            let node = net.node_mut(victim);
            node.step(Input::Receive { from: &from, message, entries: &entries });
            if liar.up_to(20) == 0 {
                node.tick(100);
            }
            if node.replica.leadership() == Leadership::Leader {
                node.write(liar.up_to(1) == 0, b"d1").expect("a primary writes");
            }
            accepted += usize::from(node.replica.last() > before);
            node.outbox.clear();
            let kept = node.log.get(commit.seqno).map(|entry| entry.tx_id);
            assert_eq!(kept, Some(commit), "what is committed stays");
        }
    }
    assert!(accepted > 500, "some lies are plausible: {accepted}");
}

#[test]
fn bytes_are_read_or_refused() {
    let mut liar = Liar(5);
    let mut read = 0;
    for _ in 0..200_000 {
        let mut bytes = vec![0; usize::try_from(liar.up_to(60)).unwrap()];
        for byte in &mut bytes {
            *byte = u8::try_from(liar.up_to(3) * liar.up_to(1)).unwrap();
        }
        if let Some(kind) = bytes.first_mut() {
            *kind = u8::try_from(liar.up_to(8)).unwrap();
        }
        if bytes.len() > 8 {
            bytes[1..8].fill(0);
        }
        if let Ok(message) = Message::decode(&bytes) {
            read += 1;
            let form =
                if matches!(bytes.len(), 36 | 21) { ElectionForm::Dev5 } else { ElectionForm::Release };
            let again = message.encode(form);
            assert_eq!(Message::decode(&again), Ok(message));
        }
    }
    assert!(read > 1000, "{read}");
}
