//! Tokens: their table, and what is asked of it. Pure.

use std::sync::Arc;

use skep_proto::ids::TokenId;
use skep_proto::token::StoredToken;

use super::State;

impl State {
    /// A token, also one that is over.
    pub fn token(&self, id: TokenId) -> Option<&Arc<StoredToken>> {
        self.tokens.get(&id)
    }

    /// All tokens, ascending by id.
    pub fn tokens(&self) -> impl Iterator<Item = &Arc<StoredToken>> {
        self.tokens.values()
    }

    /// The token of this name.
    pub fn token_named(&self, name: &str) -> Option<&Arc<StoredToken>> {
        let id = self.index.token_names.get(name)?;
        self.tokens.get(id)
    }

    pub(super) fn index_token(&mut self, id: TokenId, new: Option<Arc<StoredToken>>) {
        if let Some(old) = self.tokens.remove(&id) {
            self.index.token_names.remove(&old.token.spec.name);
        }
        if let Some(stored) = new {
            let name = stored.token.spec.name.clone();
            self.index.token_names.insert(name, id);
            self.tokens.insert(id, stored);
        }
    }
}
