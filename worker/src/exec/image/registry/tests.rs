//! What real registries do seldom: tokens that change, streams that break, mirrors that are down.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use skep_proto::image::Digest;

use super::super::blob::digest_of;
use super::super::samples::{Place, Sample, Tar};
use super::fake::{Answer, Asked, Fake};
use super::*;

fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn sample() -> Sample {
    let layer = |seed| Tar::new().file("file", &noise(seed, 200_000)).done();
    Sample::new(&[layer(1), layer(2)])
}

/// What an honest registry answers: by tag `1`, by digest, with ranges.
fn honest(sample: &Sample) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    let whole = sample.digest();
    let blobs = sample.blobs().into_iter();
    let blobs: BTreeMap<Digest, Vec<u8>> =
        blobs.map(|blob| (digest_of(blob), blob.to_vec())).collect();
    move |asked| {
        let wanted = asked.line.rsplit('/').next().unwrap_or_default();
        let digest = match wanted {
            "1" => Some(whole),
            other => other.parse().ok(),
        };
        let Some(body) = digest.and_then(|digest| blobs.get(&digest)) else {
            return Answer::new(404, "{}");
        };
        let from = asked.headers.get("range").and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse::<usize>()
                .ok()
        });
        match from {
            Some(from) => Answer::new(206, &body[from..]).header(
                "content-range",
                &format!("bytes {from}-{}/{}", body.len() - 1, body.len()),
            ),
            None => Answer::new(200, body.clone()),
        }
    }
}

fn image(fake: &Fake) -> Reference {
    Reference::parse(&format!("{}/app:1", fake.address)).unwrap()
}

fn login() -> RegistryAuth {
    RegistryAuth {
        username: "me".into(),
        password: "sesame".into(),
        identity_token: String::new(),
    }
}

fn registries() -> Registries {
    skep_proto::channel::install_provider();
    Registries::default()
}

async fn pull(registries: &Registries, image: &Reference, place: &Place) -> Result<Digest, String> {
    let found = registries
        .resolve(image, None)
        .await
        .map_err(|error| error.to_string())?;
    let source = registries.source(image.at(found.digest), None);
    let held = place.store.fetch(&source, found.digest).await;
    held.map(|held| held.digest)
        .map_err(|error| crate::report::with_causes(&error))
}

#[tokio::test]
async fn an_image_is_pulled_by_tag_and_runs_by_digest() {
    let (place, sample) = (Place::new(), sample());
    let fake = Fake::start(honest(&sample)).await;
    let pulled = pull(&registries(), &image(&fake), &place).await;
    assert_eq!(pulled, Ok(sample.digest()));
    let tags = fake
        .lines()
        .iter()
        .filter(|line| line.ends_with("/manifests/1"))
        .count();
    assert_eq!(tags, 1, "the tag is asked for once: {:?}", fake.lines());
}

#[tokio::test]
async fn a_stream_that_breaks_goes_on_where_it_broke() {
    let (place, sample) = (Place::new(), sample());
    let (answer, broken) = (honest(&sample), Arc::new(AtomicUsize::new(0)));
    let count = broken.clone();
    let fake = Fake::start(move |asked| {
        let mut answer = answer(asked);
        if answer.body.len() > 100_000 {
            count.fetch_add(1, Ordering::SeqCst);
            answer.breaks_after = 100_000;
        }
        answer
    })
    .await;
    assert_eq!(
        pull(&registries(), &image(&fake), &place).await,
        Ok(sample.digest())
    );
    assert!(broken.load(Ordering::SeqCst) >= 2);
    let asked = fake.asked.lock().unwrap().clone();
    assert!(
        asked.iter().any(|one| one.headers.contains_key("range")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_registry_without_ranges_is_resumed_all_the_same() {
    let (place, sample) = (Place::new(), sample());
    let (answer, times) = (honest(&sample), AtomicUsize::new(0));
    let fake = Fake::start(move |asked| {
        let mut plain = asked.clone();
        plain.headers.remove("range");
        let mut answer = answer(&plain);
        if answer.body.len() > 100_000 && times.fetch_add(1, Ordering::SeqCst) < 2 {
            answer.breaks_after = 100_000;
        }
        answer
    })
    .await;
    assert_eq!(
        pull(&registries(), &image(&fake), &place).await,
        Ok(sample.digest())
    );
}

#[tokio::test]
async fn a_busy_registry_is_asked_again_and_one_that_refuses_is_not() {
    let (place, sample) = (Place::new(), sample());
    let (answer, times) = (honest(&sample), AtomicUsize::new(0));
    let fake = Fake::start(move |asked| match asked.line.contains("/blobs/") {
        true if times.fetch_add(1, Ordering::SeqCst) % 2 == 1 => Answer::new(503, ""),
        _ => answer(asked),
    })
    .await;
    assert_eq!(
        pull(&registries(), &image(&fake), &place).await,
        Ok(sample.digest())
    );

    let (place, answer) = (Place::new(), honest(&sample));
    let last = digest_of(&sample.layers[1]).to_string();
    let gone = last.clone();
    let fake = Fake::start(move |asked| match asked.line.contains(&gone) {
        true => Answer::new(404, "{}"),
        false => answer(asked),
    })
    .await;
    let refused = pull(&registries(), &image(&fake), &place)
        .await
        .unwrap_err();
    assert!(
        refused.contains("has no") && refused.contains(&last),
        "{refused}"
    );
    let asked = fake
        .lines()
        .iter()
        .filter(|line| line.contains(&last))
        .count();
    assert_eq!(asked, 1);
}

/// Wants a token that it gives for the right password.
async fn with_tokens(sample: &Sample, realm: Arc<Mutex<String>>) -> Fake {
    let answer = honest(sample);
    let pair = data_encoding::BASE64.encode(b"me:sesame");
    Fake::start(move |asked| {
        let shown = asked
            .headers
            .get("authorization")
            .cloned()
            .unwrap_or_default();
        if asked.line.starts_with("GET /token") {
            return match shown == format!("Basic {pair}") {
                true => Answer::new(200, r#"{"token":"good","expires_in":300}"#),
                false => Answer::new(401, r#"{"errors":[{"message":"who are you"}]}"#),
            };
        }
        match shown.as_str() {
            "Bearer good" => answer(asked),
            _ => Answer::new(401, "{}").header(
                "www-authenticate",
                &format!("Bearer realm=\"{}\",service=\"s\"", realm.lock().unwrap()),
            ),
        }
    })
    .await
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_a_wrong_login_says_what_to_do() {
    let sample = sample();
    let realm: Arc<Mutex<String>> = Arc::default();
    let fake = with_tokens(&sample, realm.clone()).await;
    *realm.lock().unwrap() = format!("http://{}/token", fake.address);
    let (registries, image, auth) = (registries(), image(&fake), login());
    let found = registries.resolve(&image, Some(&auth)).await.unwrap();
    assert_eq!(found.digest, sample.digest());
    registries
        .check(&image.at(found.digest), Some(&auth))
        .await
        .unwrap();
    let tokens: Vec<String> = fake
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("GET /token"))
        .collect();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    assert!(
        tokens[0].contains("scope=repository%3Aapp%3Apull"),
        "{tokens:?}"
    );

    let refused = registries.resolve(&image, None).await.unwrap_err();
    assert!(!refused.passes());
    let text = refused.to_string();
    assert!(
        text.contains("skep login") && text.contains("who are you"),
        "{text}"
    );
    let wrong = RegistryAuth {
        password: "x".into(),
        ..login()
    };
    let host = fake.address.to_string();
    let text = registries
        .login(&host, &wrong)
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("password is wrong"), "{text}");
    registries.login(&host, &auth).await.unwrap();
}

#[tokio::test]
async fn a_mirror_that_is_down_is_passed_by() {
    let (place, sample) = (Place::new(), sample());
    let fake = Fake::start(honest(&sample)).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mirrors = BTreeMap::from([(fake.address.to_string(), vec![format!("http://{nobody}")])]);
    skep_proto::channel::install_provider();
    let registries = Registries::new(RegistrySettings {
        mirrors,
        ..RegistrySettings::default()
    });
    assert_eq!(
        pull(&registries, &image(&fake), &place).await,
        Ok(sample.digest())
    );
}

#[tokio::test]
async fn a_mirror_answers_in_place_of_its_registry_and_sees_no_password() {
    let sample = sample();
    let mirror = Fake::start(honest(&sample)).await;
    let mirrors = BTreeMap::from([(
        "reg.lan".to_owned(),
        vec![format!("http://{}", mirror.address)],
    )]);
    skep_proto::channel::install_provider();
    let registries = Registries::new(RegistrySettings {
        mirrors,
        ..RegistrySettings::default()
    });
    let image = Reference::parse("reg.lan/app:1").unwrap();
    let answered = registries.resolve(&image, Some(&login())).await;
    // The fake takes the query for a part of the tag: what counts is what it saw.
    drop(answered);
    let asked = mirror.asked.lock().unwrap().clone();
    assert!(asked[0].line.ends_with("?ns=reg.lan"), "{asked:?}");
    assert!(
        asked
            .iter()
            .all(|one| !one.headers.contains_key("authorization")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn what_there_is_instead_of_a_missing_tag_is_said() {
    let sample = sample();
    let answer = honest(&sample);
    let fake = Fake::start(move |asked| match asked.line.contains("/app/tags/list") {
        true => Answer::new(200, r#"{"name":"app","tags":["2","1"]}"#),
        false => answer(asked),
    })
    .await;
    let registries = registries();
    let missing = Reference {
        tag: "3".into(),
        ..image(&fake)
    };
    let text = registries
        .resolve(&missing, None)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("app:3") && text.contains("app has 1, 2"),
        "{text}"
    );
    let nothing = Reference {
        repository: "other".into(),
        ..missing
    };
    let text = registries
        .resolve(&nothing, None)
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("no repository other"), "{text}");
}

#[tokio::test]
async fn an_answer_that_is_another_image_is_not_believed() {
    let (sample, wrong) = (sample(), Answer::new(200, "{\"schemaVersion\":2}"));
    let fake = Fake::start(move |_| wrong.clone()).await;
    let asked = image(&fake).at(sample.digest());
    let text = registries()
        .resolve(&asked, None)
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("wrong answer"), "{text}");
}
