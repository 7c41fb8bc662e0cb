//! `ccf.gov`, `ccf.tcbHexToPolicy` and `snp_attestation`.

use crate::console::Console;
use crate::engine::module::ExportError;
use crate::engine::runtime::Runtime;
use crate::engine::value::{JsResult, Scope, Val};
use crate::globals::FUNCTIONS;
use crate::host::{Host, Kind};
use crate::limits::Limits;

/// Functions a constitution must export, with the bounds of their `length` and their parameters.
const EXPORTS: [(&str, u32, u32, &str); 3] = [
    ("apply", 2, 2, "proposal, proposalId"),
    ("resolve", 3, 4, "proposal, proposerId, votes[, proposalId]"),
    ("validate", 1, 1, "input"),
];

pub(super) fn validate_constitution<'s>(
    scope: Scope<'s>,
    _this: &Val<'s>,
    args: &[Val<'s>],
) -> JsResult<Val<'s>> {
    let Some(text) = args.first().filter(|a| a.is_string()) else {
        return Err(scope.throw_type("Argument must be a string"));
    };
    match check_constitution(&text.to_text()?) {
        Ok(()) => Ok(scope.boolean(true)),
        Err(reason) => Err(scope.throw_type(&reason)),
    }
}

/// Checks that a text is a constitution (governance specification, section 7.6): a module with the three
/// functions. Evaluated in a bare interpreter.
///
/// # Errors
/// What is wrong with it.
pub fn check_constitution(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("constitution is empty".to_owned());
    }
    let bare = Runtime::new(Host::new(Kind::Bare, Console::silent()), FUNCTIONS);
    let mut bare = bare.map_err(|error| error.to_string())?;
    bare.enter(|scope| {
        let name = "proposed constitution";
        let compiled = scope.limited(&Limits::default(), || scope.declare_module(name, text));
        let first = EXPORTS[0].0;
        let module = compiled.map_err(|_| {
            format!(
                "proposed constitution does not export a function named {first}: Failed to compile proposed constitution"
            )
        })?;
        let evaluated = scope.limited(&Limits::default(), || module.evaluate());
        evaluated.map_err(|error| format!("proposed constitution fails when it is loaded: {error}"))?;
        for (export, least, most, parameters) in EXPORTS {
            let function = match module.export(export) {
                Ok(function) if function.is_function() => function,
                Ok(_) | Err(ExportError::Missing | ExportError::Thrown) => {
                    return Err(format!(
                        "proposed constitution does not export a function named {export}: Failed to find export \
                         '{export}' in module 'proposed constitution'"
                    ));
                }
            };
            let length = function.get("length").ok().and_then(|n| n.as_number()).unwrap_or(-1.0);
            if length < f64::from(least) || length > f64::from(most) {
                let plural = |n: f64| if n == 1.0 { "arg" } else { "args" };
                let expected = if least == most {
                    format!("{least} {}", plural(f64::from(least)))
                } else {
                    format!("between {least} and {most} args")
                };
                return Err(format!(
                    "proposed constitution exports function {export} with {length} {}, expected {expected} \
                     ({parameters})",
                    plural(length)
                ));
            }
        }
        Ok(())
    })
}

/// Members of a TCB policy and the byte, counted from the least significant end, that holds each.
const LEGACY_LAYOUT: &[(&str, usize)] = &[("microcode", 7), ("snp", 6), ("tee", 1), ("boot_loader", 0)];
const TURIN_LAYOUT: &[(&str, usize)] =
    &[("microcode", 7), ("snp", 3), ("tee", 2), ("boot_loader", 1), ("fmc", 0)];

pub(super) fn tcb_hex_to_policy<'s>(
    scope: Scope<'s>,
    _this: &Val<'s>,
    args: &[Val<'s>],
) -> JsResult<Val<'s>> {
    let [cpuid, tcb] = args else { return Err(scope.throw_type("Arguments are missing")) };
    let (cpuid, tcb) = (cpuid.to_text()?, tcb.to_text()?);
    let Some(layout) = u32::from_str_radix(&cpuid, 16).ok().filter(|_| cpuid.len() == 8).and_then(tcb_layout)
    else {
        return Err(scope.throw_internal(&format!("Unknown CPU: {cpuid}")));
    };
    let Some(value) = u64::from_str_radix(&tcb, 16).ok().filter(|_| tcb.len() == 16) else {
        return Err(scope.throw_internal(&format!("Not a TCB version of 16 hex digits: {tcb}")));
    };
    let policy = scope.object()?;
    policy.set("hexstring", scope.string(&tcb)?)?;
    let bytes = value.to_le_bytes();
    for (name, at) in layout {
        policy.set(name, scope.number(f64::from(bytes[*at])))?;
    }
    Ok(policy)
}

fn tcb_layout(cpuid: u32) -> Option<&'static [(&'static str, usize)]> {
    let family = (cpuid >> 8 & 0xf) + (cpuid >> 20 & 0xff);
    let model = (cpuid >> 16 & 0xf) << 4 | cpuid >> 4 & 0xf;
    match (family, model) {
        (0x19, 0x01 | 0x11) => Some(LEGACY_LAYOUT),
        (0x1a, 0x02) => Some(TURIN_LAYOUT),
        _ => None,
    }
}

pub(super) fn verify_snp_attestation<'s>(
    scope: Scope<'s>,
    _this: &Val<'s>,
    _args: &[Val<'s>],
) -> JsResult<Val<'s>> {
    Err(scope.throw_range("Verification of SEV-SNP attestation is not available on this node"))
}
