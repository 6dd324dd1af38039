//! Which calls the bearers of tokens may make, by their role. Pure.
//!
//! What does not stand here is refused to everybody from outside: a new call is let in by being written down, and
//! a test says so of each that is not.

use skep_proto::token::TokenRole;

/// Who may make a call from outside. Admins may make all that stand here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum May {
    /// Nobody else.
    Admin,
    /// Readers.
    Read,
    /// Readers and, about its services, the bearer of a deploy token.
    ReadOrDeploy,
    /// About its services and within its bounds, the bearer of a deploy token.
    Deploy,
}

/// All calls from outside.
pub const CALLS: &[(&str, May)] = &[
    ("/skep.v1.Control/CreateService", May::Admin),
    ("/skep.v1.Control/UpdateService", May::Deploy),
    ("/skep.v1.Control/RollbackService", May::Deploy),
    ("/skep.v1.Control/ChangeRollout", May::Admin),
    ("/skep.v1.Control/RemoveService", May::Admin),
    ("/skep.v1.Control/ListServices", May::Read),
    ("/skep.v1.Control/GetService", May::ReadOrDeploy),
    ("/skep.v1.Control/WatchService", May::ReadOrDeploy),
    ("/skep.v1.Control/ListTasks", May::ReadOrDeploy),
    ("/skep.v1.Control/GetTask", May::ReadOrDeploy),
    ("/skep.v1.Control/WhyTask", May::ReadOrDeploy),
    ("/skep.v1.Control/ListNodes", May::Read),
    ("/skep.v1.Control/GetNode", May::Read),
    ("/skep.v1.Control/UpdateNode", May::Admin),
    ("/skep.v1.Control/DrainNode", May::Admin),
    ("/skep.v1.Control/RemoveNode", May::Admin),
    ("/skep.v1.Control/RemoveManager", May::Admin),
    ("/skep.v1.Control/CreateNetwork", May::Admin),
    ("/skep.v1.Control/ListNetworks", May::Read),
    ("/skep.v1.Control/GetNetwork", May::Read),
    ("/skep.v1.Control/RemoveNetwork", May::Admin),
    ("/skep.v1.Control/CreateFile", May::Admin),
    ("/skep.v1.Control/ListFiles", May::Read),
    // A secret's content is given to nobody.
    ("/skep.v1.Control/GetFile", May::Read),
    ("/skep.v1.Control/RemoveFile", May::Admin),
    ("/skep.v1.Control/RotateFile", May::Admin),
    ("/skep.v1.Control/PutImage", May::Admin),
    ("/skep.v1.Control/ListImages", May::Read),
    ("/skep.v1.Control/ForgetImage", May::Admin),
    ("/skep.v1.Control/GetCluster", May::Read),
    ("/skep.v1.Control/UpdateCluster", May::Admin),
    // Who has a join token becomes a manager.
    ("/skep.v1.Control/JoinTokens", May::Admin),
    ("/skep.v1.Control/Events", May::Read),
    // A drill stops containers and cuts nodes off.
    ("/skep.v1.Drills/PlanDrill", May::Admin),
    ("/skep.v1.Drills/BeginDrill", May::Admin),
    ("/skep.v1.Drills/WatchDrill", May::Admin),
    ("/skep.v1.Drills/EndDrill", May::Admin),
    ("/skep.v1.Drills/ListDrills", May::Admin),
    ("/skep.v1.Tokens/CreateToken", May::Admin),
    ("/skep.v1.Tokens/ListTokens", May::Read),
    ("/skep.v1.Tokens/GetToken", May::Read),
    ("/skep.v1.Tokens/RemoveToken", May::Admin),
    ("/skep.v1.Streams/Logs", May::Read),
    ("/skep.v1.Streams/Exec", May::Admin),
];

/// Who may make this call; `None`: nobody from outside.
pub fn who(call: &str) -> Option<May> {
    let known = CALLS.iter().find(|(known, _)| *known == call);
    known.map(|(_, may)| *may)
}

/// Whether somebody in this role may make the call, as far as that can be said without looking into it.
pub fn may(role: &TokenRole, call: &str) -> bool {
    match (who(call), role) {
        (None, _) => false,
        (Some(_), TokenRole::Admin) => true,
        (Some(may), TokenRole::Read) => matches!(may, May::Read | May::ReadOrDeploy),
        (Some(may), TokenRole::Deploy(_)) => matches!(may, May::Deploy | May::ReadOrDeploy),
    }
}

/// The call in words: `/skep.v1.Control/ListNodes` is `list nodes`.
pub fn words(call: &str) -> String {
    let name = call.rsplit('/').next().unwrap_or(call);
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
#[path = "rpcs_tests.rs"]
mod tests;
