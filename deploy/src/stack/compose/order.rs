//! Who comes before whom. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// Names in an order in which each stands behind all it waits for; those that nothing orders go by name.
/// A name that is waited for and is not a key counts for nothing.
///
/// # Errors
/// The first circle that is found, its first name once more at its end.
pub fn order(waits: &BTreeMap<String, Vec<String>>) -> Result<Vec<String>, Vec<String>> {
    let mut walk = Walk {
        waits,
        done: BTreeSet::new(),
        open: Vec::new(),
        order: Vec::new(),
    };
    for name in waits.keys() {
        walk.visit(name)?;
    }
    Ok(walk.order)
}

struct Walk<'a> {
    waits: &'a BTreeMap<String, Vec<String>>,
    done: BTreeSet<&'a str>,
    open: Vec<&'a str>,
    order: Vec<String>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, name: &'a str) -> Result<(), Vec<String>> {
        if self.done.contains(name) {
            return Ok(());
        }
        if let Some(at) = self.open.iter().position(|open| *open == name) {
            let circle = self.open.iter().skip(at).copied().chain([name]);
            return Err(circle.map(str::to_owned).collect());
        }
        let Some(waits) = self.waits.get(name) else {
            return Ok(());
        };
        self.open.push(name);
        for before in waits {
            self.visit(before)?;
        }
        self.open.pop();
        self.done.insert(name);
        self.order.push(name.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(pairs: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        let owned = |(name, waits): &(&str, &[&str])| {
            let waits = waits.iter().map(ToString::to_string).collect();
            (name.to_string(), waits)
        };
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn each_stands_behind_what_it_waits_for() {
        let waits = waits(&[("a", &["c"]), ("b", &[]), ("c", &["b", "gone"])]);
        assert_eq!(order(&waits).unwrap(), ["b", "c", "a"]);
    }

    #[test]
    fn a_circle_is_named() {
        let waits = waits(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]);
        assert_eq!(order(&waits).unwrap_err(), ["b", "c", "b"]);
    }
}
