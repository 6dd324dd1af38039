//! Amounts of bytes, as Docker shows them.

/// As `12.5MiB`.
pub fn binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// As `12.5MB`.
pub fn decimal(bytes: u64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB"])
}

#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
fn scaled(bytes: u64, step: f64, units: &[&str]) -> String {
    let (mut amount, mut unit) = (bytes as f64, 0);
    while amount >= step && unit + 1 < units.len() {
        amount /= step;
        unit += 1;
    }
    let digits = if amount >= 100.0 || unit == 0 {
        0
    } else if amount >= 10.0 {
        1
    } else {
        2
    };
    format!(
        "{amount:.digits$}{}",
        units.get(unit).copied().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_as_docker_shows_them() {
        assert_eq!(binary(0), "0B");
        assert_eq!(binary(1536), "1.50KiB");
        assert_eq!(binary(12 << 20), "12.0MiB");
        assert_eq!(binary(300 << 20), "300MiB");
        assert_eq!(decimal(1_234), "1.23kB");
    }
}
