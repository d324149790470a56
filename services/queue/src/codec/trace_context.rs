//! The packed form of a W3C trace context.

use super::{Damaged, Packer, Unpacker};

/// Forms of a trace context.
const NO_TRACE: u8 = 0;
const USUAL_TRACE: u8 = 1;
const ANY_TRACE: u8 = 2;

/// Packs a trace context: in its usual form it is digits, which take half.
pub fn pack_trace(out: &mut Packer, traceparent: &str) {
    if traceparent.is_empty() {
        return out.byte(NO_TRACE);
    }
    match digits(traceparent).filter(|digits| written(digits) == traceparent) {
        Some(digits) => {
            out.byte(USUAL_TRACE);
            out.0.extend_from_slice(&digits);
        }
        None => {
            out.byte(ANY_TRACE);
            out.text(traceparent);
        }
    }
}

/// Trace, span and flags of `00-<trace>-<span>-<flags>`.
fn digits(traceparent: &str) -> Option<[u8; 25]> {
    let mut parts = traceparent.strip_prefix("00-")?.split('-');
    let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
    let mut digits = [0; 25];
    digits[..16].copy_from_slice(&u128::from_str_radix(trace, 16).ok()?.to_be_bytes());
    digits[16..24].copy_from_slice(&u64::from_str_radix(span, 16).ok()?.to_be_bytes());
    digits[24] = u8::from_str_radix(flags, 16).ok()?;
    Some(digits)
}

fn written(digits: &[u8; 25]) -> String {
    let [trace @ .., _, _, _, _, _, _, _, _, flags] = digits;
    let span: [u8; 8] = std::array::from_fn(|at| digits[16 + at]);
    format!("00-{:032x}-{:016x}-{flags:02x}", u128::from_be_bytes(*trace), u64::from_be_bytes(span))
}

/// Reads a packed trace context.
///
/// # Errors
/// The bytes are not one.
pub fn unpack_trace(from: &mut Unpacker<'_>) -> Result<Box<str>, Damaged> {
    match from.byte()? {
        NO_TRACE => Ok(Box::default()),
        USUAL_TRACE => Ok(written(&from.fixed()?).into()),
        _ => Ok(from.text()?.into()),
    }
}
