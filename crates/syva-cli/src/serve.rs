//! `syva serve`: predictions over HTTP, as JSON.
//!
//! ```text
//! POST /predict       rows of a table, or inputs                  [request.rs] ─► predictions [answer.rs]
//! GET  /health        whether it answers
//! GET  /model         what the model reads and predicts           [about.rs]
//! GET  /openapi.json  the same for programs that make clients     [about.rs]
//! ```
//!
//! Small requests are answered where they arrive, so that a single row takes no detour. Large ones go to other threads, as many
//! at a time as there are cores. Whatever a client can make large or slow has a limit.

mod about;
mod answer;
mod request;

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use syva::run::Reached;
use syva::{Error, Predictor, Result, Spec, threads};
use tokio::sync::Semaphore;

use self::request::Bad;
use crate::args::ServeArgs;
use crate::{eval, output};

/// The most bytes of a request's body.
const MOST_BYTES: usize = 8 << 20;
/// The most rows of a request.
const MOST_ROWS: usize = 10_000;
/// The most connections at a time.
const MOST_CONNECTIONS: usize = 1024;
/// What the head of a request may take, or the pause between two requests.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// What a request may take from its head to its answer.
const REQUEST_TIME: Duration = Duration::from_secs(30);
/// What requests in progress may take after the server is asked to stop.
const STOP_TIME: Duration = Duration::from_secs(10);
/// A request of more bytes, or a network of more parameters, is left to other threads.
const SMALL: (usize, usize) = (1 << 14, 1 << 22);

/// What answers.
struct Server {
    predictor: Predictor,
    /// What is said of the model.
    model: Value,
    openapi: Value,
    /// One for each large request that is worked on.
    large: Semaphore,
}

pub fn serve(args: &ServeArgs) -> Result<()> {
    let Reached { file, model, .. } = eval::load(&args.model)?;
    let count = args.threads.unwrap_or_else(threads::cores);
    // A request has one thread, so that others need not wait for it.
    let predictor = Predictor::new(&model)?.with_threads(1);
    let about = about::model(&model, &file);
    let openapi = about::openapi(&model.spec);
    let server = Arc::new(Server { predictor, model: about, openapi, large: Semaphore::new(count) });
    let place = format!("{}:{}", args.host, args.port);
    let refuse =
        |problem: String| Error::setting("host", problem, "name an address of this machine, such as 127.0.0.1");
    let addresses: Vec<SocketAddr> = (args.host.as_str(), args.port)
        .to_socket_addrs()
        .map_err(|error| refuse(format!("'{}' is no address ({error})", args.host)))?
        .collect();
    let listener = TcpListener::bind(&addresses[..]).map_err(Error::io("listen at", &place))?;
    listener.set_nonblocking(true).map_err(Error::io("listen at", &place))?;
    let address = listener.local_addr().map_err(Error::io("listen at", &place))?;
    if !address.ip().is_loopback() {
        output::note("syva: other machines can reach this address, and nothing asks them for a password");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(count).enable_all().build();
    let runtime = runtime.map_err(Error::io("start threads for", &place))?;
    output::line(format_args!(
        "serving {} at http://{address} (POST /predict, GET /openapi.json); Ctrl-C ends it",
        file.display()
    ));
    runtime.block_on(listen(listener, router(server))).map_err(Error::io("listen at", &place))?;
    // What is left of large requests does not keep the program from ending.
    runtime.shutdown_background();
    output::note("syva: stopped");
    Ok(())
}

/// Accepts connections until a signal comes, and then waits for the requests in progress.
async fn listen(listener: TcpListener, router: Router) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (graceful, places) = (GracefulShutdown::new(), Arc::new(Semaphore::new(MOST_CONNECTIONS)));
    let mut stop = std::pin::pin!(stop_signal());
    loop {
        let accept = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accept => accepted,
            () = &mut stop => break,
        };
        let Ok((stream, _)) = accepted else {
            // The client may be gone, or the process has too many files open.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // An answer is one small packet, which should not wait for others.
        let _ = stream.set_nodelay(true);
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(STOP_TIME, graceful.shutdown()).await;
    Ok(())
}

/// Waits for Ctrl-C or a request to end.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler, the signal itself ends the process.
        std::future::pending::<()>().await;
    }
}

fn router(server: Arc<Server>) -> Router {
    let not_found = || async { refused(StatusCode::NOT_FOUND, "there is nothing here; see GET /openapi.json") };
    let not_allowed = || async { refused(StatusCode::METHOD_NOT_ALLOWED, "use the method of GET /openapi.json") };
    Router::new()
        .route("/predict", post(predict))
        .route("/health", get(async || answered(StatusCode::OK, &json!({ "status": "ok" }))))
        .route("/model", get(async |State(server): State<Arc<Server>>| answered(StatusCode::OK, &server.model)))
        .route(
            "/openapi.json",
            get(async |State(server): State<Arc<Server>>| answered(StatusCode::OK, &server.openapi)),
        )
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .layer(from_fn(in_time))
        .with_state(server)
}

/// Refuses bodies that say that they are too long, before they are read, and ends requests that take too long.
async fn in_time(request: Request, next: Next) -> Response {
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MOST_BYTES as u64) {
        return too_large();
    }
    match tokio::time::timeout(REQUEST_TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => refused(StatusCode::REQUEST_TIMEOUT, "the request took too long"),
    }
}

fn too_large() -> Response {
    refused(
        StatusCode::PAYLOAD_TOO_LARGE,
        &format!("the body has more than {MOST_BYTES} bytes; send the rows in parts"),
    )
}

async fn predict(State(server): State<Arc<Server>>, body: std::result::Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => return too_large(),
        Err(rejection) => return refused(rejection.status(), &rejection.body_text()),
    };
    let (bytes, parameters) = SMALL;
    if body.len() <= bytes && server.spec().parameters() <= parameters {
        return server.answer(&body);
    }
    let working = Arc::clone(&server);
    let Ok(_place) = server.large.acquire().await else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping");
    };
    match tokio::task::spawn_blocking(move || working.answer(&body)).await {
        Ok(response) => response,
        Err(_) => refused(StatusCode::INTERNAL_SERVER_ERROR, "the prediction failed"),
    }
}

impl Server {
    fn spec(&self) -> &Spec {
        self.predictor.spec()
    }

    fn answer(&self, body: &[u8]) -> Response {
        let rows = match request::read(body, self.spec(), MOST_ROWS) {
            Ok(rows) => rows,
            Err(bad) => return bad.into_response(),
        };
        match self.predictor.predict(&rows.inputs) {
            Ok(outputs) => match answer::predictions(self.spec(), &outputs) {
                Some(predictions) => {
                    let mut answer = json!({ "predictions": predictions });
                    if !rows.notes.is_empty() {
                        answer["notes"] = json!(rows.notes);
                    }
                    answered(StatusCode::OK, &answer)
                }
                None => refused(StatusCode::INTERNAL_SERVER_ERROR, "the model's outputs are not finite"),
            },
            Err(error) => Bad::of(error.to_string()).into_response(),
        }
    }
}

fn answered(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// The answer that says what is wrong.
fn refused(status: StatusCode, problem: &str) -> Response {
    answered(status, &json!({ "error": { "message": problem } }))
}

impl IntoResponse for Bad {
    fn into_response(self) -> Response {
        let mut error = json!({ "message": self.message });
        if let Some(row) = self.row {
            error["row"] = row.into();
        }
        if let Some(column) = self.column {
            error["column"] = column.into();
        }
        answered(StatusCode::BAD_REQUEST, &json!({ "error": error }))
    }
}
