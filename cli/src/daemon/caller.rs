//! Who speaks to the daemon through its socket: the system says so, not the client.

use nix::unistd::{Uid, User};
use tonic::codegen::http::{HeaderValue, Request};
use tonic::transport::server::UdsConnectInfo;

use skep_manager::by;

/// What the system writes where nobody has logged in.
const NOBODY: u32 = u32::MAX;

/// Puts into the call's metadata who makes it, in place of anything that says so already.
pub fn name<B>(request: &mut Request<B>, host: &str) {
    request.headers_mut().remove(by::HEADER);
    let connection = request.extensions().get::<UdsConnectInfo>();
    let Some(peer) = connection.and_then(|it| it.peer_cred) else {
        return;
    };
    let login = peer.pid().and_then(login_of);
    let text = described(&user(peer.uid()), login.map(user).as_deref(), host);
    if let Ok(value) = HeaderValue::from_str(&text) {
        request.headers_mut().insert(by::HEADER, value);
    }
}

/// `user@host`; who logged in as another, as with sudo, is `login@host as user`.
fn described(user: &str, login: Option<&str>, host: &str) -> String {
    match login {
        Some(login) if login != user => format!("{login}@{host} as {user}"),
        _ => format!("{user}@{host}"),
    }
}

/// The user who logged in where this program was started.
fn login_of(pid: i32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/loginuid")).ok()?;
    text.trim().parse().ok().filter(|uid| *uid != NOBODY)
}

fn user(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_became_another_is_told_as_both() {
        assert_eq!(described("anna", None, "n1"), "anna@n1");
        assert_eq!(described("anna", Some("anna"), "n1"), "anna@n1");
        assert_eq!(described("root", Some("anna"), "n1"), "anna@n1 as root");
    }

    #[test]
    fn what_a_client_says_of_itself_is_thrown_away() {
        let mut request = Request::new(());
        let claim = HeaderValue::from_static("mallory@n1");
        request.headers_mut().insert(by::HEADER, claim);
        name(&mut request, "n1");
        assert!(!request.headers().contains_key(by::HEADER));
    }

    #[test]
    fn users_have_names_and_others_their_number() {
        assert_eq!(user(0), "root");
        assert_eq!(user(4_000_000_000), "4000000000");
    }
}
