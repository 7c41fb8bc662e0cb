//! Work in the engine's own loops ends when the script's time is over, like loops of the script.

use crate::service::{Service, body, body_json};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Each runs without end, or for minutes, unless it is interrupted.
const SCRIPTS: &[(&str, &str)] = &[
    ("reverse", "Array.prototype.reverse.call({ length: 2 ** 53 - 1 })"),
    ("copy-within", "Array.prototype.copyWithin.call({ length: 2 ** 53 - 1 }, 0, 1)"),
    ("splice", "Array.prototype.splice.call({ length: 2 ** 53 - 2 }, 0, 1)"),
    ("unshift", "Array.prototype.unshift.call({ length: 2 ** 53 - 3 }, 1)"),
    ("shift", "Array.prototype.shift.call({ length: 2 ** 53 - 1 })"),
    ("join", "new Array(2 ** 32 - 1).join('')"),
    (
        "text",
        "String({ toString: Array.prototype.toString, join: Array.prototype.join, length: 2 ** 53 - 1 })",
    ),
    ("flat", "new Array(2 ** 32 - 1).flat()"),
    ("flat-inner", "[new Array(2 ** 32 - 1)].flat(Infinity)"),
    ("concat", "[].concat(new Array(2 ** 32 - 1))"),
    ("slice", "Array.prototype.slice.call({ length: 2 ** 32 - 1 })"),
    ("index-of", "Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1)"),
    ("last-index-of", "Array.prototype.lastIndexOf.call({ length: 2 ** 53 - 1 }, 1)"),
    ("includes", "Array.prototype.includes.call({ length: 2 ** 53 - 1 }, 1)"),
    ("every", "Array.prototype.every.call({ length: 2 ** 53 - 1 }, () => true)"),
    (
        "fill",
        "Array.prototype.fill.call({ set length(x) {}, get length() { return 2 ** 53 - 1; } }, 0, 2 ** 40)",
    ),
    ("sort", "Array.prototype.sort.call({ length: 2 ** 32 - 1 })"),
    ("to-reversed", "Array.prototype.toReversed.call({ length: 2 ** 32 - 1 })"),
    ("from", "Array.from({ length: 2 ** 32 - 1 })"),
    ("apply", "for (;;) Math.max.apply(null, { length: 60000 })"),
    ("search", "('a'.repeat(4e6) + 'c').indexOf('a'.repeat(2e6) + 'b')"),
    ("search-back", "('c' + 'a'.repeat(4e6)).lastIndexOf('b' + 'a'.repeat(2e6))"),
    ("search-in", "('a'.repeat(4e6) + 'c').includes('a'.repeat(2e6) + 'b')"),
    ("split", "('a'.repeat(4e6) + 'c').split('a'.repeat(2e6) + 'b')"),
    ("replace", "('a'.repeat(4e6) + 'c').replaceAll('a'.repeat(2e6) + 'b', '')"),
    ("sort-long", "const s = 'a'.repeat(2e6); [...new Array(50000)].map((_, i) => s).sort()"),
    ("compare", "const s = 'a'.repeat(4e6), t = s + 'b', u = s + 'c'; t.at(0); u.at(0); for (;;) t < u;"),
    ("equal", "const s = 'a'.repeat(4e6), t = s + 'b', u = s + 'c'; t.at(0); u.at(0); for (;;) t === u;"),
    ("concatenate", "const s = 'a'.repeat(4e6); for (;;) (s + 'x').at(0)"),
    ("key", "const s = 'a'.repeat(4e6), o = {}; for (;;) o[s]"),
    ("repeat", "for (;;) 'a'.repeat(4e6)"),
    ("big-product", "const x = (1n << 500000n) - 1n; for (;;) x * x"),
    ("big-quotient", "const x = (1n << 1000000n) - 1n, y = (1n << 500000n) - 1n; for (;;) x / y"),
    ("big-text", "const x = (1n << 1000000n) - 1n; for (;;) `${x}`"),
    ("big-parse", "const t = '7'.repeat(300000); for (;;) BigInt(t)"),
    ("big-power", "for (;;) 3n ** 600000n"),
    ("json", "const a = Array(1000).fill(Array(1000).fill(1)); for (;;) JSON.stringify(a)"),
    (
        "json-wide",
        "const a = []; for (let i = 0; i < 20; i++) a.push(Array(65536).fill(a[i - 1] ?? 1)); JSON.stringify(a[19])",
    ),
    ("regular-expression", "/(x+x+)+y/.test('x'.repeat(60))"),
    ("wait", "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)"),
    ("iterate", "new Set({ [Symbol.iterator]: () => ({ next: () => ({ value: 1 }) }) })"),
    ("typed", "const a = new Uint8Array(8e6); for (;;) a.sort()"),
];

/// How they may end.
const ENDS: [&str; 4] = [
    "InternalError: interrupted",
    "InternalError: out of memory",
    "RangeError: invalid array length",
    "TypeError: cannot block in this thread",
];

#[test]
fn the_time_limit_holds_in_the_engines_own_loops() {
    let mut source = String::from("export function fine() { return { body: 'fine' }; }\n");
    for (index, (_, script)) in SCRIPTS.iter().enumerate() {
        source += &format!("export function f{index}() {{ {script}; return {{ body: 'ended' }}; }}\n");
    }
    let mut endpoints: Vec<(String, String)> = vec![("/fine".into(), "fine".into())];
    endpoints.extend(
        SCRIPTS.iter().enumerate().map(|(index, (name, _))| (format!("/{name}"), format!("f{index}"))),
    );
    let endpoints: Vec<(&str, &str, &str, Value)> = endpoints
        .iter()
        .map(|(path, function)| ("get", path.as_str(), function.as_str(), json!({})))
        .collect();
    let service = Service::with_app(&source, &endpoints);
    service.options(json!({
        "max_execution_time_ms": 100, "max_heap_bytes": 100_000_000, "return_exception_details": true,
    }));
    let mut wrong = Vec::new();
    for (name, _) in SCRIPTS {
        let started = Instant::now();
        let response = service.get(&format!("/app/{name}"));
        let took = started.elapsed();
        let text = body(&response);
        // Some have an end, which a fast machine may reach in time.
        let in_time = response.status == 200 && text == "ended";
        let stopped = response.status == 500 && {
            let details = &body_json(&response)["error"]["details"][0]["message"];
            ENDS.iter().any(|end| details == end)
        };
        if !in_time && !stopped || took > Duration::from_secs(5) {
            wrong.push(format!("{name}: {} {text} after {took:?}", response.status));
        }
        assert_eq!(body(&service.get("/app/fine")), "fine", "after {name}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
