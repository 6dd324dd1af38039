//! Metrics for Prometheus, at /metrics on an address of its own. Plain HTTP: keep it on an address that only
//! the watcher reaches.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::node::Node;

/// Connections at a time; more wait.
const CONNECTIONS: usize = 16;
/// A client gets so long to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// And to have taken the answer: who is slower leaves its place to others.
const AT_MOST: Duration = Duration::from_secs(30);
/// What the text is, as Prometheus asks for it.
const TEXT: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Serves metrics of `node` until `stop`.
///
/// # Errors
/// Names the address that is taken.
pub async fn serve(
    address: SocketAddr,
    node: Arc<Node>,
    stop: CancellationToken,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot serve metrics at {address}; choose another with --metrics-addr")
    })?;
    let address = listener.local_addr()?;
    tokio::spawn(stop.run_until_cancelled_owned(accept(listener, node)));
    Ok(address)
}

async fn accept(listener: TcpListener, node: Arc<Node>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let node = node.clone();
                tokio::spawn(async move {
                    converse(stream, node).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "metrics cannot be asked for just now");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, node: Arc<Node>) {
    let service = service_fn(move |request| {
        let node = node.clone();
        async move { Ok::<_, Infallible>(answer(&request, &node).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(AT_MOST, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "somebody who asked for metrics went away"),
        Err(_) => tracing::debug!("somebody who asked for metrics took too long"),
    }
}

async fn answer(request: &Request<Incoming>, node: &Node) -> Response<Full<Bytes>> {
    let said = |status, text: String| {
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/metrics" {
        return said(
            StatusCode::NOT_FOUND,
            "the metrics are at /metrics\n".into(),
        );
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = said(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET is answered\n".into(),
        );
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match text(node).await {
        Ok(text) => {
            let mut response = said(StatusCode::OK, text);
            response.headers_mut().insert(CONTENT_TYPE, TEXT);
            response
        }
        Err(error) => said(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// Label and value of one line.
type Label = Vec<(&'static str, String)>;

/// What is shown now. Gauges are read when they are asked for; histograms go on.
async fn text(node: &Node) -> Result<String, std::fmt::Error> {
    let mut all = Registry::default();
    for (name, help, value) in own_gauges() {
        family(&mut all, name, help, [(Vec::new(), value)]);
    }
    let registry = all.sub_registry_with_prefix("skep");
    skep_manager::measures::measures().register(registry);
    skep_worker::measures::measures().register(registry);
    skep_netd::measures::measures().register(registry);
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    family(registry, "build", "The daemon's version", [(version, 1)]);
    node.read_gauges(&mut |name, help, lines| family(registry, name, help, lines))
        .await;
    let mut text = String::new();
    encode(&mut text, &all)?;
    Ok(text)
}

/// Registers a gauge with a line for each of `lines`; one line without labels is a gauge of its own.
fn family(
    registry: &mut Registry,
    name: &str,
    help: &str,
    lines: impl IntoIterator<Item = (Label, i64)>,
) {
    let mut lines: Vec<_> = lines.into_iter().collect();
    if let Some((_, value)) = lines.pop_if(|(label, _)| label.is_empty()) {
        let alone = Gauge::<i64>::default();
        alone.set(value);
        return registry.register(name, help, alone);
    }
    let family = Family::<Label, Gauge>::default();
    for (label, value) in lines {
        family.get_or_create(&label).set(value);
    }
    registry.register(name, help, family);
}

/// This program's own memory, files and threads, by the names that all exporters use.
fn own_gauges() -> Vec<(&'static str, &'static str, i64)> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<i64>().ok()
    };
    let files = std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count());
    vec![
        (
            "process_resident_memory_bytes",
            "Memory that the daemon holds",
            field("VmRSS:").unwrap_or(0).saturating_mul(1024),
        ),
        (
            "process_open_fds",
            "Open files of the daemon",
            i64::try_from(files).unwrap_or(i64::MAX),
        ),
        (
            "process_threads",
            "Threads of the daemon",
            field("Threads:").unwrap_or(0),
        ),
    ]
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
