//! Clients of the registers, as many at once as a test likes, that note what they asked and what they were told.

use crate::{
    history::{Action, Content, Histories, Operation},
    random::Random,
    service::{Caller, wait_for},
};
use ccf_cli::http_client::{HttpClient, Reply};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long an answer may wait for a commit or a confirmation, milliseconds: less than a backup waits for the primary.
const WAIT_MS: &str = "2500";

/// Registers in use at a time. Few, so that clients meet.
const REGISTERS: usize = 3;

/// After so many operations of all clients other registers are used, so that no history grows long.
const OPERATIONS_PER_GENERATION: usize = 240;

/// Between two operations of a client, so that histories span faults rather than megabytes.
const PAUSE: Duration = Duration::from_millis(5);

/// After an operation that failed, before another node is tried.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);

/// What all clients of a test share.
#[derive(Clone)]
pub(crate) struct Arena {
    caller: Caller,
    addresses: Arc<Mutex<Vec<String>>>,
    began: Instant,
    operations: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

/// What one client did.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) histories: Histories,
    /// Transactions that were reported as committed.
    pub(crate) committed: Vec<String>,
    /// Operations with an answer that counts.
    pub(crate) answered: usize,
    /// Operations without.
    pub(crate) unanswered: usize,
    /// Writes of which the service said that they are lost: they are in no history, so that a read of what they wrote fits none.
    pub(crate) lost: usize,
}

impl Arena {
    pub(crate) fn new(caller: Caller) -> Self {
        Arena {
            caller,
            addresses: Arc::default(),
            began: Instant::now(),
            operations: Arc::default(),
            is_over: Arc::default(),
        }
    }

    /// The nodes that clients may ask from now on.
    pub(crate) fn set_addresses(&self, addresses: Vec<String>) {
        *self.addresses.lock().unwrap() = addresses;
    }

    /// Every client ends after its present operation.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Operations that were asked so far.
    pub(crate) fn operations(&self) -> usize {
        self.operations.load(Ordering::Relaxed)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap()
    }

    /// One client: reads that are to be linearizable, writes and replacements that wait for their commit.
    pub(crate) fn play(&self, client: usize, mut random: Random) -> Record {
        let mut record = Record::default();
        let mut session: Option<HttpClient> = None;
        let mut believed: Content = None;
        let mut turn = 0u64;
        while !self.is_over.load(Ordering::Relaxed) {
            turn += 1;
            let address = random.pick(&self.addresses.lock().unwrap()).clone();
            // A session stays at its node for a while, as sessions do.
            if random.below(20) == 0 || session.is_none() {
                session = Some(self.caller.client(&address));
            }
            let Some(connection) = &mut session else { continue };
            let generation = self.operations.fetch_add(1, Ordering::Relaxed) / OPERATIONS_PER_GENERATION;
            let register = format!("{generation}-{}", random.below(REGISTERS));
            let value = (client as u64 + 1) * 1_000_000 + turn;
            let asked = self.now();
            let (reply, action) = match random.below(10) {
                0..4 => (read(connection, &register, true), Action::Read(None)),
                4..7 => (write(connection, &register, value), Action::Write(value)),
                _ => (
                    replace(connection, &register, believed, value),
                    Action::ReplaceUnanswered { from: believed, to: value },
                ),
            };
            if reply.as_ref().is_some_and(is_lost) {
                record.lost += 1;
                session = None;
                thread::sleep(PAUSE_AFTER_FAILURE);
                continue;
            }
            let told = Told::of(reply.as_ref(), action);
            let answered = told.counts.then(|| self.now());
            record.histories.add(&register, Operation { client, asked, answered, action: told.action });
            if let Some(content) = told.content {
                believed = content;
            }
            record.committed.extend(told.committed);
            if told.counts {
                record.answered += 1;
                thread::sleep(PAUSE);
            } else {
                record.unanswered += 1;
                session = None;
                thread::sleep(PAUSE_AFTER_FAILURE);
            }
        }
        record
    }

    /// The content of every register that was used, read at the end through `address`. A read that fails says nothing,
    /// and is repeated: a busy machine may elect a primary once more.
    pub(crate) fn read_all(&self, address: &str, histories: &mut Histories) {
        let registers: Vec<String> = histories.registers().map(|(register, _)| register.to_owned()).collect();
        for register in registers {
            let operation = wait_for("a register to be read at the end", || {
                let asked = self.now();
                let reply = read(&mut self.caller.client(address), &register, true);
                let told = Told::of(reply.as_ref(), Action::Read(None));
                let answered = Some(self.now());
                match told.counts {
                    true => Ok(Operation { client: usize::MAX, asked, answered, action: told.action }),
                    false => Err(format!("{register} at {address}: {reply:?}")),
                }
            });
            histories.add(&register, operation);
        }
    }
}

/// What an answer says about an operation.
struct Told {
    /// Whether the operation happened, and as the answer says.
    counts: bool,
    action: Action,
    /// What the register held then.
    content: Option<Content>,
    committed: Option<String>,
}

impl Told {
    fn of(reply: Option<&Reply>, action: Action) -> Told {
        let nothing = Told { counts: false, action, content: None, committed: None };
        let Some(reply) = reply else { return nothing };
        let status = reply.status.as_u16();
        let waited = reply.headers.get("x-ccf-commit-status").map(|value| value.as_bytes() == b"Committed");
        let committed = (waited == Some(true)).then(|| reply.tx_id().unwrap().to_owned());
        match action {
            Action::Read(_) if status == 200 || is_absent(reply) => {
                let content = reply.json()["value"].as_u64();
                Told { counts: true, action: Action::Read(content), content: Some(content), committed: None }
            }
            Action::Write(value) if status == 200 && committed.is_some() => {
                Told { counts: true, action, content: Some(Some(value)), committed }
            }
            Action::ReplaceUnanswered { from, to } if status == 200 => {
                let found = reply.json()["found"].as_u64();
                // What was replaced counts when it is committed, what was only looked at when it was confirmed.
                if from == found && committed.is_none() {
                    return nothing;
                }
                let content = if from == found { Some(to) } else { found };
                Told {
                    counts: true,
                    action: Action::Replace { from, to, found },
                    content: Some(content),
                    committed,
                }
            }
            _ => nothing,
        }
    }
}

/// Whether the answer says that nothing was written, or never will have been.
fn is_lost(reply: &Reply) -> bool {
    reply.status.as_u16() == 503 && reply.json()["error"]["code"] == "TransactionReplicationFailed"
}

/// Writes until the service says that it is committed.
pub(crate) fn write_committed(caller: &Caller, address: &str, register: &str, value: u64) {
    wait_for("a write to be committed", || {
        let reply = write(&mut caller.client(address), register, value).ok_or("no answer")?;
        let committed = reply.headers.get("x-ccf-commit-status").is_some_and(|it| it == "Committed");
        if committed { Ok(()) } else { Err(reply.refusal()) }
    });
}

/// Whether the application itself says that there is nothing in the register.
pub(crate) fn is_absent(reply: &Reply) -> bool {
    reply.status == 404 && reply.json() == json!({"value": null})
}

/// Reads a register; `None` without an answer.
pub(crate) fn read(client: &mut HttpClient, register: &str, linearizable: bool) -> Option<Reply> {
    let path = format!("/app/register/{register}");
    let headers: &[(&str, &str)] = match linearizable {
        true => &[("x-ccf-consistency", "linearizable"), ("x-ccf-wait-for-commit", WAIT_MS)],
        false => &[],
    };
    client.send_with("GET", &path, headers, bytes::Bytes::new()).ok()
}

/// Writes a register and waits for the commit; `None` without an answer.
pub(crate) fn write(client: &mut HttpClient, register: &str, value: u64) -> Option<Reply> {
    send(client, "PUT", &format!("/app/register/{register}"), &json!({"value": value}))
}

/// Writes a register and asks for nothing but what these headers say.
pub(crate) fn write_with(
    client: &mut HttpClient,
    register: &str,
    value: u64,
    headers: &[(&str, &str)],
) -> Option<Reply> {
    let headers = [&[("content-type", "application/json")], headers].concat();
    let body = json!({"value": value}).to_string();
    client.send_with("PUT", &format!("/app/register/{register}"), &headers, body.into()).ok()
}

fn replace(client: &mut HttpClient, register: &str, from: Content, to: u64) -> Option<Reply> {
    send(client, "POST", &format!("/app/register/{register}/replace"), &json!({"from": from, "to": to}))
}

fn send(client: &mut HttpClient, method: &str, path: &str, body: &Value) -> Option<Reply> {
    let headers = [
        ("content-type", "application/json"),
        ("x-ccf-consistency", "linearizable"),
        ("x-ccf-wait-for-commit", WAIT_MS),
    ];
    client.send_with(method, path, &headers, body.to_string().into()).ok()
}
