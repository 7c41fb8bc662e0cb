//! Several networks of peers in one process, over real sockets.

mod hostile;
mod messages;
mod support;
