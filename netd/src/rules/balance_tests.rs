use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::{Balance, Balanced, Programmed, chain_of};
use crate::nft::{Datum, Edit};

/// What the kernel holds, obeying its rules: no element twice, no verdict to a chain that is not there.
#[derive(Default)]
struct Maps {
    elements: BTreeMap<(&'static str, Vec<u8>), Datum>,
    chains: Vec<String>,
}

impl Maps {
    fn commit(&mut self, edits: Vec<Edit>) {
        for edit in edits {
            match edit {
                Edit::PutElement {
                    map, key, value, ..
                } => {
                    if let Datum::Goto(chain) = &value {
                        assert!(self.chains.contains(chain), "no chain {chain}");
                    }
                    assert_eq!(self.elements.insert((map, key), value), None, "put twice");
                }
                Edit::DropElement { map, key, .. } => {
                    self.elements.remove(&(map, key)).unwrap();
                }
                Edit::AddChain { name, .. } => {
                    assert!(!self.chains.contains(&name), "chain {name} twice");
                    self.chains.push(name);
                }
                _ => {}
            }
        }
    }
}

fn balanced(services: &BTreeMap<u8, Vec<u8>>) -> Balanced {
    let mut balanced = Balanced::default();
    for (vip, tasks) in services {
        let tasks = tasks.iter().map(|task| Ipv4Addr::new(10, 0, 2, *task));
        balanced.add_vip(Ipv4Addr::new(10, 0, 1, *vip), tasks);
    }
    balanced
}

fn services() -> impl Strategy<Value = BTreeMap<u8, Vec<u8>>> {
    prop::collection::btree_map(0u8..4, prop::collection::vec(any::<u8>(), 0..5), 0..4)
}

proptest! {
    #[test]
    fn differences_lead_where_a_whole_table_does(all in prop::collection::vec(services(), 1..8)) {
        let mut maps = Maps::default();
        let mut programmed = Programmed::default();
        for services in &all {
            let (edits, next) = programmed.change(balanced(services), Balance::Vip);
            maps.commit(edits);
            programmed = next;
            prop_assert_eq!(&maps.elements, &balanced(services).elements());
        }
        let (edits, _) = programmed.change(programmed.balanced.clone(), Balance::Vip);
        prop_assert_eq!(edits, vec![]);
    }
}

#[test]
fn a_task_that_comes_changes_elements_of_its_service_only() {
    let before = BTreeMap::from([(1, vec![1, 2, 3]), (2, vec![4])]);
    let after = BTreeMap::from([(1, vec![1, 2, 3]), (2, vec![4, 5, 6])]);
    let programmed = Programmed::whole(balanced(&before));
    let (edits, _) = programmed.change(balanced(&after), Balance::Vip);
    // The verdict is replaced, two targets come; the chain for three is there.
    assert_eq!(edits.len(), 4, "{edits:?}");
    assert!(
        !edits
            .iter()
            .any(|edit| matches!(edit, Edit::AddChain { .. }))
    );
    assert_eq!(chain_of(3), "of3");
}
