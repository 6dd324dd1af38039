//! Who asked: goes with a call through its doors to the entry it leads to.
//!
//! The daemon that a user talks to looks at its socket who that is and says so in the call's metadata; what a
//! client says of itself there is thrown away. Who comes from outside is named by the token that was shown. Managers
//! believe each other.

use std::future::Future;

use tonic::codegen::http::HeaderMap;

/// In a call's metadata: who asked, as `user@host` or `token:NAME@ADDRESS`.
pub const HEADER: &str = "skep-by";
/// Longest name that is kept, in bytes.
const LONGEST: usize = 128;

tokio::task_local! {
    static ASKED: String;
}

/// Does `call` for whoever its metadata names.
pub(crate) async fn remembered<F: Future>(headers: &HeaderMap, call: F) -> F::Output {
    let by = headers.get(HEADER).and_then(|value| value.to_str().ok());
    let by = by.filter(|by| by.len() <= LONGEST).unwrap_or_default();
    ASKED.scope(by.to_owned(), call).await
}

/// Who asked for what is being done, as `user@host` or `token:NAME@ADDRESS`; empty where nobody did.
pub fn asked() -> String {
    ASKED.try_with(String::clone).unwrap_or_default()
}

/// What begins the name of whoever came by a token. No user has such a name: it cannot hold a colon.
const TOKEN: &str = "token:";

/// Who comes by a token, from an address.
pub(crate) fn of_token(name: &str, from: &str) -> String {
    format!("{TOKEN}{name}@{from}")
}

/// Who is written down as having asked: who came by a token is that, whoever the client says it is.
pub(crate) fn author(claimed: String) -> String {
    let asked = asked();
    match asked.starts_with(TOKEN) {
        true => asked,
        false => claimed,
    }
}

#[cfg(test)]
mod tests {
    use tonic::codegen::http::HeaderValue;

    use super::*;

    #[tokio::test]
    async fn who_asked_is_known_within_the_call_alone() {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_static("anna@host"));
        assert_eq!(remembered(&headers, async { asked() }).await, "anna@host");
        assert_eq!(asked(), "");
        let long = "x".repeat(LONGEST + 1);
        headers.insert(HEADER, HeaderValue::from_str(&long).expect("a header"));
        assert_eq!(remembered(&headers, async { asked() }).await, "");
        assert_eq!(remembered(&HeaderMap::new(), async { asked() }).await, "");
    }

    #[tokio::test]
    async fn a_token_is_not_hidden_behind_what_a_client_says() {
        let claimed = || author("root@node-1".to_owned());
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_static("anna@host"));
        let said = remembered(&headers, async { claimed() }).await;
        assert_eq!(said, "root@node-1");
        let token = HeaderValue::from_str(&of_token("ci", "10.0.0.9")).expect("a header");
        headers.insert(HEADER, token);
        let said = remembered(&headers, async { claimed() }).await;
        assert_eq!(said, "token:ci@10.0.0.9");
    }
}
