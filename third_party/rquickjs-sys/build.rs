//! Builds QuickJS-ng for Linux.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=quickjs");
    let target = env::var("TARGET").expect("set by cargo");
    let bindings = Path::new("src/bindings").join(format!("{target}.rs"));
    assert!(bindings.exists(), "no bindings of QuickJS for {target}: add {}", bindings.display());
    let out = env::var("OUT_DIR").expect("set by cargo");
    let text = format!("macro_rules! bindings_env {{\n    (\"TARGET\") => {{ \"{target}\" }};\n}}\n");
    fs::write(Path::new(&out).join("bindings.rs"), text).expect("OUT_DIR can be written");
    cc::Build::new()
        .warnings(false)
        .define("_GNU_SOURCE", None)
        .files(["libregexp.c", "libunicode.c", "quickjs.c", "dtoa.c"].map(|file| Path::new("quickjs").join(file)))
        .compile("libquickjs.a");
}
