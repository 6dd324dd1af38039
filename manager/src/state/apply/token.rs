//! Writes tokens. What a token is for is set once: who has it counts on that, and so does who gave it. Pure.

use std::sync::Arc;

use skep_proto::ids::TokenId;
use skep_proto::token::{MOST_TOKENS, StoredToken, Token};

use super::check_version;
use crate::state::{Misfit, State};

impl State {
    pub(super) fn put_token(&mut self, stored: &Arc<StoredToken>) -> Result<(), Misfit> {
        let token = &stored.token;
        let old = self.token(token.id).map(|old| old.token.version);
        check_version(|| name(token), token.version, old)?;
        if old.is_some() {
            return Err(Misfit::SetOnce {
                object: name(token),
                what: "what it is for",
            });
        }
        if self.token_named(&token.spec.name).is_some() {
            return Err(Misfit::NameTaken {
                kind: "token",
                name: token.spec.name.clone(),
            });
        }
        if self.tokens().count() >= MOST_TOKENS {
            return Err(Misfit::TooMany {
                what: "tokens",
                most: MOST_TOKENS,
            });
        }
        let mut new = StoredToken::clone(stored);
        new.token.version = self.meta.index;
        self.index_token(new.token.id, Some(Arc::new(new)));
        Ok(())
    }

    pub(super) fn delete_token(&mut self, id: TokenId, version: u64) -> Result<(), Misfit> {
        let Some(stored) = self.token(id).cloned() else {
            return Err(Misfit::Missing {
                object: format!("token {id}"),
            });
        };
        let token = &stored.token;
        check_version(|| name(token), version, Some(token.version))?;
        self.index_token(id, None);
        Ok(())
    }
}

fn name(token: &Token) -> String {
    format!("token \"{}\"", token.spec.name)
}
