//! Clients that write as fast as the service answers, until they are told to stop.

use super::book::Book;
use crate::messages;
use ccf_cli::{
    http_client::{HttpClient, Protocol},
    tls::TlsFiles,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Writers that wait for each commit.
const PATIENT: u64 = 5;

/// Keys of one writer.
const KEYS: u64 = 12;

/// Writes between two questions of the writer that does not wait for commits.
const BATCH: usize = 20;

/// An answer that does not come within this is no promise.
const PATIENCE: Duration = Duration::from_secs(20);

/// A writer that has found no node waits this long.
const PAUSE: Duration = Duration::from_millis(5);

/// Running writers.
pub(super) struct Writers {
    stop: Arc<AtomicBool>,
    /// Writes reported as committed so far.
    pub(super) promised: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Book>>,
}

/// What each writer has.
struct Writer {
    addresses: Vec<String>,
    files: TlsFiles,
    stop: Arc<AtomicBool>,
    promised: Arc<AtomicU64>,
    book: Book,
    number: u64,
}

impl Writers {
    /// Starts writers that continue `book`.
    pub(super) fn start(addresses: &[String], files: &TlsFiles, book: &Book) -> Writers {
        let (stop, promised) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = |number: u64| {
            let keys = number * KEYS..(number + 1) * KEYS;
            let pages = keys.map(|id| (id, book.pages.get(&id).copied().unwrap_or_default())).collect();
            let writer = Writer {
                addresses: addresses.to_vec(),
                files: files.clone(),
                stop: Arc::clone(&stop),
                promised: Arc::clone(&promised),
                book: Book { pages },
                number,
            };
            thread::spawn(move || if number < PATIENT { writer.wait_for_each() } else { writer.ask_later() })
        };
        let threads = (0..=PATIENT).map(thread).collect();
        Writers { stop, promised, threads }
    }

    /// Ends them; what they wrote, and how many promises they got.
    pub(super) fn stop(self) -> (Book, u64) {
        self.stop.store(true, Ordering::Release);
        let mut book = Book::default();
        for thread in self.threads {
            book.pages.extend(thread.join().unwrap().pages);
        }
        (book, self.promised.load(Ordering::Acquire))
    }
}

impl Writer {
    fn connect(&self, attempt: u64) -> HttpClient {
        let index = usize::try_from((self.number + attempt) % self.addresses.len() as u64).unwrap();
        let client = HttpClient::new(&self.addresses[index], &self.files, Protocol::Http1).unwrap();
        client.with_patience(PATIENCE)
    }

    fn next(&mut self, write: u64) -> (u64, u64) {
        let id = self.number * KEYS + write % KEYS;
        let page = self.book.pages.get_mut(&id).unwrap();
        page.attempted += 1;
        (id, page.attempted)
    }

    fn keep_promise(&mut self, id: u64, count: u64) {
        let page = self.book.pages.get_mut(&id).unwrap();
        page.promised = page.promised.max(count);
        self.promised.fetch_add(1, Ordering::AcqRel);
    }

    fn wait_for_each(mut self) -> Book {
        let (mut client, mut write, mut failures) = (self.connect(0), 0, 0);
        while !self.stop.load(Ordering::Acquire) {
            let (id, count) = self.next(write);
            write += 1;
            match messages::send(&mut client, id, &Book::message(count)) {
                Ok(reply) if messages::is_committed(&reply) => self.keep_promise(id, count),
                _ => {
                    failures += 1;
                    thread::sleep(PAUSE);
                    client = self.connect(failures);
                }
            }
        }
        self.book
    }

    fn ask_later(mut self) -> Book {
        let (mut client, mut write, mut failures) = (self.connect(0), 0, 0);
        while !self.stop.load(Ordering::Acquire) {
            let mut batch = Vec::new();
            let mut last = None;
            for _ in 0..BATCH {
                let (id, count) = self.next(write);
                write += 1;
                let body = serde_json::json!({"id": id, "msg": Book::message(count)}).to_string();
                match client.post("/app/log/private", "application/json", body) {
                    Ok(reply) if reply.status.is_success() => {
                        last = reply.tx_id().map(str::to_owned);
                        batch.push((id, count));
                    }
                    // Others may follow in another view: nothing is known about the batch.
                    _ => {
                        batch.clear();
                        break;
                    }
                }
            }
            let is_committed = match (&last, batch.is_empty()) {
                (Some(last), false) => self.becomes_committed(&mut client, last),
                _ => false,
            };
            if is_committed {
                batch.into_iter().for_each(|(id, count)| self.keep_promise(id, count));
            } else {
                failures += 1;
                thread::sleep(PAUSE);
                client = self.connect(failures);
            }
        }
        self.book
    }

    /// Asks until the status of a transaction is known.
    fn becomes_committed(&self, client: &mut HttpClient, tx_id: &str) -> bool {
        while !self.stop.load(Ordering::Acquire) {
            let Ok(reply) = client.get(&format!("/app/tx?transaction_id={tx_id}")) else { return false };
            match reply.json()["status"].as_str() {
                Some("Committed") => return true,
                Some("Pending" | "Unknown") => thread::sleep(Duration::from_millis(1)),
                _ => return false,
            }
        }
        false
    }
}
