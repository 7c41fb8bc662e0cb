//! A node with the logging application linked in.
#![forbid(unsafe_code)]

use ccf_node::Application;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let application = Application::native("logging", |context| {
        logging::endpoints(Some(context.indexing)).map_err(|e| e.to_string())
    });
    std::process::exit(ccf_node::run(application));
}
