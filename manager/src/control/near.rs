//! Names that somebody may have meant. Pure.

/// So many are told.
const TOLD: usize = 3;

/// Those of `names` that are `wanted` with few letters changed, nearest first.
pub(super) fn near<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let most = (wanted.chars().count() / 3).max(2);
    let mut found: Vec<(usize, &str)> = names
        .map(|name| (distance(wanted, name), name))
        .filter(|(far, _)| *far <= most)
        .collect();
    found.sort_unstable();
    found.into_iter().take(TOLD).map(|(_, name)| name).collect()
}

/// Letters to be put in, taken out or changed (Levenshtein), row by row.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut left = line + 1;
        let mut next = vec![left];
        for (there, over) in other.chars().zip(row.windows(2)) {
            let &[corner, above] = over else { continue };
            let changed = corner + usize::from(there != letter);
            left = changed.min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_few_letters_changed_are_told_nearest_first() {
        let names = ["db-password", "db-passwd", "cert", "db_password2"];
        assert_eq!(
            near("db_password", names.into_iter()),
            ["db-password", "db_password2", "db-passwd"]
        );
        assert!(near("key", names.into_iter()).is_empty());
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
    }
}
