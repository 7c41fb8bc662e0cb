//! The session a request belongs to: one per connection, owned by one worker.

mod certificate;
mod interface;

pub use certificate::CallerCertificate;
pub use interface::{
    ACCEPTED_ENDPOINTS_CACHE_MAX, AcceptedEndpoints, InterfaceRules, InvalidPattern, OperatorFeature,
};

use ccf_types::View;
use std::sync::{Arc, LazyLock};

/// Where the requests of a session come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client's connection to one of this node's interfaces.
    Client,
    /// Another node that forwarded a client's request.
    Forwarded,
    /// The node itself.
    Internal,
}

/// One connection's state: who calls, through which interface, and what earlier requests fixed.
#[derive(Debug)]
pub struct Session {
    id: u64,
    origin: Origin,
    http2: bool,
    interface: Arc<InterfaceRules>,
    certificate: Option<Arc<CallerCertificate>>,
    /// The view in which the first request of the session was executed.
    pub(crate) view: Option<View>,
    /// Whether a request of this session was forwarded: then later reads are forwarded too.
    pub(crate) forwarded: bool,
}

impl Session {
    /// A client's session. `certificate` is the leaf the client proved to possess, in DER.
    #[must_use]
    pub fn new(id: u64, interface: Arc<InterfaceRules>, certificate: Option<&[u8]>) -> Session {
        Session {
            id,
            origin: Origin::Client,
            http2: false,
            interface,
            certificate: certificate.map(|der| Arc::new(CallerCertificate::new(der))),
            view: None,
            forwarded: false,
        }
    }

    /// A session whose requests arrive over HTTP/2.
    #[must_use]
    pub fn over_http2(mut self) -> Session {
        self.http2 = true;
        self
    }

    /// A session for requests another node forwarded, or the node makes itself: interface rules and
    /// redirections do not apply.
    #[must_use]
    pub fn internal(id: u64, origin: Origin, certificate: Option<&[u8]>) -> Session {
        Session::of_caller(id, origin, certificate.map(|der| Arc::new(CallerCertificate::new(der))))
    }

    /// As [`internal`](Self::internal), for a caller whose certificate was read before.
    #[must_use]
    pub fn of_caller(id: u64, origin: Origin, certificate: Option<Arc<CallerCertificate>>) -> Session {
        static INTERNAL: LazyLock<Arc<InterfaceRules>> =
            LazyLock::new(|| Arc::new(InterfaceRules::open("internal")));
        Session { origin, certificate, ..Session::new(id, Arc::clone(&INTERNAL), None) }
    }

    /// A session whose first request was executed in `view`, at another node perhaps.
    #[must_use]
    pub fn begun_in(mut self, view: View) -> Session {
        self.view = Some(view);
        self
    }

    /// The view in which its first request was executed or forwarded.
    #[must_use]
    pub fn view(&self) -> Option<View> {
        self.view
    }

    /// The session's number, for log lines and messages.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where the requests come from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Whether the connection speaks HTTP/2.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// The interface that accepted the connection.
    #[must_use]
    pub fn interface(&self) -> &InterfaceRules {
        &self.interface
    }

    /// The caller's certificate, if one was presented.
    #[must_use]
    pub fn certificate(&self) -> Option<&Arc<CallerCertificate>> {
        self.certificate.as_ref()
    }
}
