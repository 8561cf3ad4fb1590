//! Numbers, as strictly as Redis reads them, and as it writes them.

use super::resp::Resp;

/// The integer that `text` is: decimal digits, no sign but a minus, no leading zeros, no blanks.
pub(super) fn parse(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = digits == b"0" && digits.len() == text.len()
        || digits.first().is_some_and(|digit| (b'1'..=b'9').contains(digit));
    if !canonical || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// As [`parse`], with the server's error.
pub(super) fn integer(text: &[u8]) -> Result<i64, Resp> {
    parse(text).ok_or_else(|| Resp::error("ERR value is not an integer or out of range"))
}

/// A double in as few digits as tell it from all others, as Redis 8 writes it: whole if it is a 64-bit
/// integer or has few zeros at its end, with an exponent if it is far from 1.
pub(super) fn shortest(number: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "compared right after")]
    let whole = number as i64;
    #[expect(clippy::cast_precision_loss, reason = "what is lost makes the comparison fail")]
    #[expect(clippy::float_cmp, reason = "exactly that integer is meant")]
    if whole as f64 == number && whole != i64::MAX {
        return whole.to_string();
    }
    let text = format!("{:e}", number.abs());
    let (Some((mantissa, exponent)), true) = (text.split_once('e'), number.is_finite()) else {
        return number.to_string().to_lowercase();
    };
    let sign = if number < 0.0 { "-" } else { "" };
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = exponent - (count - 1);
    let repeat = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    if zeros >= 0 && exponent < count + 7 {
        return format!("{sign}{digits}{}", repeat(zeros));
    }
    if zeros < 0 && (zeros > -7 || exponent.abs() < 4) {
        return match usize::try_from(exponent + 1) {
            Ok(point) if point > 0 => format!("{sign}{}.{}", &digits[..point], &digits[point..]),
            Ok(_) | Err(_) => format!("{sign}0.{}{digits}", repeat(-exponent - 1)),
        };
    }
    let point = if digits.len() > 1 { "." } else { "" };
    format!("{sign}{}{point}{}e{exponent:+}", &digits[..1], &digits[1..])
}
