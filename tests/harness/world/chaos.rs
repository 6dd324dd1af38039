//! What goes wrong in a simulated world, and how it ends.

use skep_proto::ids::NodeId;

use super::machine::Machine;
use super::{Mail, TICK, World};

impl World {
    /// Perhaps something goes wrong in this tick, or goes right again.
    pub(super) fn suffer(&mut self) {
        let now = self.now;
        if self.rng.in_thousand(150) {
            let state = &self.replicas[self.leader.as_ref().map_or(0, |leader| leader.replica)];
            self.user.ask(state, &mut self.rng, now);
        }
        if self.rng.in_thousand(10) {
            self.depose();
        }
        let nodes: Vec<NodeId> = self.machines.keys().copied().collect();
        for node in nodes {
            let (die, cut) = (self.rng.in_thousand(4), self.rng.in_thousand(6));
            let (start, mend) = (self.rng.in_thousand(20), self.rng.in_thousand(40));
            let Some(machine) = self.machines.get_mut(&node) else {
                continue;
            };
            if machine.alive && die {
                machine.alive = false;
                self.summary.deaths += 1;
            } else if !machine.alive && start {
                machine.start(now);
            }
            if !machine.cut && cut {
                machine.cut = true;
                self.summary.cuts += 1;
            } else if machine.cut && mend {
                machine.cut = false;
            }
        }
    }

    /// The leader is lost. What it proposed last was committed up to some point, nobody knows which.
    fn depose(&mut self) {
        let Some(leader) = self.leader.take() else {
            return;
        };
        let kept = self.rng.index(leader.flight.len() + 1);
        for flight in leader.flight.into_iter().take(kept) {
            self.append(leader.replica, flight.entry);
        }
        self.elect_at = self.now + self.rng.below(10) * TICK;
        self.summary.leaders_lost += 1;
    }

    /// All faults end.
    pub(super) fn heal(&mut self) {
        self.faults = false;
        let now = self.now;
        for machine in self.machines.values_mut() {
            machine.cut = false;
            if !machine.alive {
                machine.start(now);
            }
        }
    }

    /// Sends something from or to a machine: it is lost, comes later or comes twice.
    pub(super) fn post(&mut self, node: NodeId, mail: Mail) {
        let cut = self.machines.get(&node).is_none_or(|machine| machine.cut);
        if cut || (self.faults && self.rng.in_thousand(50)) {
            return;
        }
        if self.faults && self.rng.in_thousand(50) {
            let late = self.rng.below(2000);
            self.put(mail.clone(), late);
        }
        let late = if self.faults { self.rng.below(300) } else { 0 };
        self.put(mail, late);
    }

    fn put(&mut self, mail: Mail, late: u64) {
        self.posted += 1;
        self.mail.insert((self.now + late, self.posted), mail);
    }

    /// What is due arrives.
    pub(super) fn deliver(&mut self) {
        let later = self.mail.split_off(&(self.now + 1, 0));
        for mail in std::mem::replace(&mut self.mail, later).into_values() {
            match mail {
                Mail::ToLeader(beat) => {
                    let reachable = |machine: &Machine| !machine.cut && machine.boot == beat.boot;
                    let heard = self.machines.get(&beat.node).is_some_and(reachable);
                    if let Some(leader) = self.leader.as_mut().filter(|_| heard) {
                        let state = &self.replicas[leader.replica];
                        leader.hear(beat, state, self.now);
                    }
                }
                Mail::ToMachine(node, assignment, contents) => {
                    if let Some(machine) = self.machines.get_mut(&node)
                        && machine.alive
                        && !machine.cut
                    {
                        machine.obey(assignment, contents);
                    }
                }
            }
        }
    }
}
