//! The logging application: messages by number, private and public. The standard workload of tests and
//! measurements, and a sample of a native application (applications specification, section 14.1).
//!
//! Private messages live in `records`, public ones in `public:records`; with `?scope=X` the name gets the suffix
//! `-X`.
#![forbid(unsafe_code)]

mod callers;
mod etag;
mod historical;
mod indexed;
mod ordinary;
mod private;
mod proofs;
mod public;
mod records;
mod waiting;

use ccf_sdk::{Frontend, InvalidTemplate, Registry, authn, indexing::Indexing, openapi::ApiInfo};

/// The application's endpoints; its index of public messages is installed in `indexing`.
///
/// # Errors
/// [`InvalidTemplate`] never happens with the paths of this application; a test makes sure.
pub fn endpoints(indexing: Option<&dyn Indexing>) -> Result<Registry, InvalidTemplate> {
    let mut app = Registry::new(Frontend::App);
    app.set_info(ApiInfo {
        title: "CCF Sample Logging App".to_owned(),
        description: "This application implements a simple, securely replicated message log.".to_owned(),
        version: "2.8.3".to_owned(),
    });
    private::install(&mut app)?;
    public::install(&mut app)?;
    waiting::install(&mut app)?;
    callers::install(&mut app)?;
    ordinary::install(&mut app)?;
    historical::install(&mut app)?;
    indexed::install(&mut app, indexing)?;
    proofs::install(&mut app)?;
    Ok(app)
}

/// The policies of most endpoints.
fn standard() -> [authn::Policy; 3] {
    [authn::jwt(), authn::user_cert(), authn::user_cose_sign1()]
}
