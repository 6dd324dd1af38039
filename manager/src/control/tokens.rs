//! Converts calls about tokens, and answers them.

use std::sync::Arc;
use std::time::Duration;

use skep_proto::channel::root_digest;
use skep_proto::ids::TokenId;
use skep_proto::time::WallTime;
use skep_proto::token::{StoredToken, Token, TokenSpec};
use skep_proto::wire::{self, WireError, WireId, v1};
use skep_proto::{image, validate};
use tonic::{Request, Response, Status};

use super::{Control, refuse, resolve};
use crate::by;
use crate::ring::wall_time;
use crate::state::{Answer, Change};

/// A token lasts for so long at least: a shorter one is a mistake.
const SHORTEST: Duration = Duration::from_secs(1);

fn known<T>(read: Result<T, WireError>) -> Result<T, Status> {
    read.map_err(|error| refuse::malformed(&error))
}

#[tonic::async_trait]
impl v1::tokens_server::Tokens for Control {
    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenAnswer>, Status> {
        let message = request.into_inner();
        let request = known(wire::request_id(&message.request))?;
        let id: TokenId = known(wire::id(&message.id, "id"))?;
        let digest: image::Digest = known(wire::digest(&message.digest, "digest"))?;
        let spec: TokenSpec = known(wire::message(message.spec, "spec"))?;
        validate::token(&spec).map_err(|error| refuse::invalid(&error))?;
        let state = self.read().await?;
        let cluster = self.cluster(&state)?;
        let expires = ends(message.lasts_ms)?;
        if state.answered(request).is_none() {
            let token = Token {
                id,
                version: 0,
                created: wall_time(),
                by: by::asked(),
                expires,
                spec,
            };
            let stored = Arc::new(StoredToken { token, digest });
            self.commit(request, Answer::Done, vec![Change::PutToken(stored)])
                .await?;
        }
        let made = self.ring.stale().token(id).cloned();
        let made =
            made.ok_or_else(|| Status::unavailable("the token is not known here yet; repeat"))?;
        let managers = state.nodes().filter_map(|it| it.manager.as_ref());
        Ok(Response::new(v1::CreateTokenAnswer {
            root_digest: root_digest(&cluster.authority.certificate).to_vec(),
            expires_ms: made.token.expires.map(WallTime::unix_millis),
            managers: managers.map(|it| it.address.to_string()).collect(),
        }))
    }

    async fn list_tokens(
        &self,
        _: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensAnswer>, Status> {
        let state = self.read().await?;
        let tokens = state.tokens().map(|it| v1::Token::from(&it.token));
        Ok(Response::new(v1::ListTokensAnswer {
            tokens: tokens.collect(),
        }))
    }

    async fn get_token(
        &self,
        request: Request<v1::GetTokenRequest>,
    ) -> Result<Response<v1::Token>, Status> {
        let state = self.read().await?;
        let found = resolve::token(&state, &request.into_inner().reference)?;
        Ok(Response::new(v1::Token::from(&found.token)))
    }

    async fn remove_token(
        &self,
        request: Request<v1::RemoveTokenRequest>,
    ) -> Result<Response<v1::RemoveTokenAnswer>, Status> {
        let message = request.into_inner();
        let request = known(wire::request_id(&message.request))?;
        let state = self.read().await?;
        if state.answered(request).is_some() {
            return Ok(Response::new(v1::RemoveTokenAnswer::default()));
        }
        let found = resolve::token(&state, &message.reference)?;
        let (token, version) = (found.token.id, found.token.version);
        let changes = vec![Change::DeleteToken { token, version }];
        self.commit(request, Answer::Done, changes).await?;
        let id = token.to_bytes();
        Ok(Response::new(v1::RemoveTokenAnswer { id }))
    }
}

/// When a token that lasts for so long is over.
fn ends(lasts_ms: Option<u64>) -> Result<Option<WallTime>, Status> {
    let Some(lasts) = lasts_ms else {
        return Ok(None);
    };
    if Duration::from_millis(lasts) < SHORTEST {
        return Err(Status::invalid_argument(format!(
            "--expires: a token lasts for {SHORTEST:?} at least"
        )));
    }
    let ends = wall_time().unix_millis().saturating_add(lasts);
    Ok(Some(WallTime::from_unix_millis(ends)))
}
