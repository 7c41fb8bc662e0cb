//! A node whose application is installed by governance, in JavaScript.
#![forbid(unsafe_code)]

use ccf_node::Application;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    std::process::exit(ccf_node::run(Application::js_generic()));
}
