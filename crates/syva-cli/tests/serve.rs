//! Predictions over HTTP, asked for by a plain client over a loopback socket.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Place;
use serde_json::{Value, json};

/// A server, which is ended with the test.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn new(place: &Place, model: &str) -> Self {
        let mut command = place.syva(["serve", model, "--port", "0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.split("http://").nth(1).unwrap_or_else(|| panic!("{line}")).split(' ').next().unwrap().into();
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    fn get(&self, path: &str) -> (u16, Value) {
        ask(&mut self.connect(), "GET", path, "")
    }

    fn predict(&self, body: &Value) -> (u16, Value) {
        ask(&mut self.connect(), "POST", "/predict", &body.to_string())
    }

    /// What is said of a request that cannot be answered: the message, the row, and the column.
    #[track_caller]
    fn refuses(&self, body: &Value, says: &str, row: Option<u64>, column: Option<&str>) {
        let (status, answer) = self.predict(body);
        let error = &answer["error"];
        assert_eq!(status, 400, "{answer}");
        assert!(error["message"].as_str().unwrap().contains(says), "'{says}' is missing in {error}");
        assert_eq!((error["row"].as_u64(), error["column"].as_str()), (row, column), "{error}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request over a connection that stays open, and reads the answer.
fn ask(stream: &mut TcpStream, method: &str, path: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    read_answer(stream)
}

fn read_answer(stream: &mut TcpStream) -> (u16, Value) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("'{line}'")).parse().unwrap();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        match line.trim().to_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(("content-type", kind)) => assert_eq!(kind, "application/json"),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

fn train(place: &Place) {
    let mut table = "height,colour,sold,built,kind,price\n".to_string();
    for i in 0..120 {
        let (height, colour) = (i * 37 % 50, ["red", "blue", "green"][i * 7 % 3]);
        let height_cell = if i % 9 == 0 { String::new() } else { format!("{height}.5") };
        let built = format!("20{:02}-0{}-11", i % 20, i % 9 + 1);
        let sold = ["True", "False"][i % 2];
        let kind = if height > 25 { "tall" } else { "short" };
        table += &format!("{height_cell},{colour},{sold},{built},{kind},{}\n", 10 * height + 3);
    }
    place.write("t.csv", table);
    let flags = "--epochs 3 --hidden 8 --quiet";
    place.run(&format!("train --data t.csv --target kind --ignore price {flags} --out kinds")).succeeds();
    place
        .run(&format!("train --data t.csv --target price --ignore kind --head gaussian {flags} --out prices"))
        .succeeds();
}

#[test]
fn rows_of_a_table_are_predicted_as_by_the_command() {
    let place = Place::new();
    train(&place);
    place.write(
        "new.csv",
        "height,colour,sold,built\n12.5,red,True,2019-03-04\n,black,False,2001-01-01\n40,,True,2010-12-31\n",
    );
    let rows = json!([
        { "height": 12.5, "colour": "red", "sold": true, "built": "2019-03-04", "other": [1] },
        { "height": null, "colour": "black", "sold": "False", "built": "2001-01-01" },
        { "height": "40", "colour": "", "sold": "True", "built": "2010-12-31" },
    ]);
    let server = Server::new(&place, "kinds");
    let wanted = place.run("predict kinds new.csv --json").succeeds().json();
    let (status, answer) = server.predict(&rows);
    assert_eq!(status, 200, "{answer}");
    for (found, wanted) in answer["predictions"].as_array().unwrap().iter().zip(&wanted) {
        assert_eq!(found["prediction"], wanted["prediction"]);
        for name in ["short", "tall"] {
            assert_eq!(found["probabilities"][name], wanted[format!("probability:{name}")]);
        }
    }
    assert_eq!(answer["predictions"].as_array().unwrap().len(), 3);
    let notes = answer["notes"][0].as_str().unwrap();
    assert!(notes.contains("column 'colour': a row has a text that the training data did not have, such as 'black'"));
    // One row by itself, and rows as a member, over one connection.
    let mut stream = server.connect();
    for body in [rows[0].clone(), json!([rows[0]]), json!({ "rows": [rows[0]] })] {
        let (status, one) = ask(&mut stream, "POST", "/predict", &body.to_string());
        assert_eq!((status, &one["predictions"][0]), (200, &answer["predictions"][0]));
    }
    // Many rows at once are the same rows.
    let many: Vec<&Value> = (0..4000).map(|_| &rows[0]).collect();
    let (status, all) = server.predict(&json!(many));
    assert_eq!((status, &all["predictions"][3999]), (200, &answer["predictions"][0]));

    let prices = Server::new(&place, "prices/model.safetensors");
    let wanted = place.run("predict prices new.csv --json").succeeds().json();
    let (_, answer) = prices.predict(&rows);
    assert_eq!(answer["predictions"][1]["prediction"], wanted[1]["prediction"]);
    assert_eq!(answer["predictions"][1]["deviation"], wanted[1]["deviation"]);
}

#[test]
fn what_is_wrong_with_a_request_is_named() {
    let place = Place::new();
    train(&place);
    let server = Server::new(&place, "kinds");
    let row = |height: Value, built: Value| json!({ "height": height, "colour": "red", "sold": true, "built": built });
    let good = row(json!(1), json!("2019-03-04"));
    server.refuses(
        &json!([good, row(json!("high"), Value::Null)]),
        "\"high\" is not a number",
        Some(2),
        Some("height"),
    );
    server.refuses(&row(json!(true), Value::Null), "true is not a number", Some(1), Some("height"));
    server.refuses(&row(json!("inf"), Value::Null), "is not a number", Some(1), Some("height"));
    server.refuses(&row(Value::Null, json!("2019-13-04")), "not a date like 2024-05-31", Some(1), Some("built"));
    server.refuses(&row(Value::Null, json!([1])), "[1] is no text", Some(1), Some("built"));
    let renamed = json!([good, { "hieght": 1, "colour": "red", "sold": true, "built": null }]);
    server.refuses(&renamed, "did you mean 'hieght'?", Some(2), Some("height"));
    server.refuses(&json!([good, 5]), "row 2 is no object", Some(2), None);
    server.refuses(&json!([]), "there are no rows", None, None);
    server.refuses(&json!(5), "give rows as a list of objects", None, None);
    server.refuses(&json!(vec![0; 10_001]), "more than 10000", None, None);
    let (status, answer) = ask(&mut server.connect(), "POST", "/predict", "{\"height\": ");
    assert!(status == 400 && answer["error"]["message"].as_str().unwrap().contains("no JSON"), "{answer}");
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(ask(&mut server.connect(), "POST", "/predict", &nested).0, 400);
    assert_eq!(server.get("/predict").0, 405);
    assert_eq!(server.get("/nothing").0, 404);
    // A body beyond the limit is refused before it is sent.
    let mut stream = server.connect();
    write!(stream, "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n[").unwrap();
    assert_eq!(read_answer(&mut stream).0, 413);
    // After all that, it still answers.
    assert_eq!(server.predict(&good).0, 200);
}

#[test]
fn a_network_on_images_takes_numbers_and_says_what_it_is() {
    let place = Place::new();
    place.finished("digits");
    let server = Server::new(&place, "digits");
    assert_eq!(server.get("/health"), (200, json!({ "status": "ok" })));
    let (_, model) = server.get("/model");
    assert_eq!((model["network"].as_str(), &model["shape"]), (Some("784-10"), &json!([28, 28])));
    let (flat, square) = (vec![7; 784], vec![vec![7; 28]; 28]);
    let (status, answer) = server.predict(&json!({ "inputs": [flat, square] }));
    assert_eq!((status, &answer["predictions"][0]), (200, &answer["predictions"][1]));
    assert_eq!(answer["predictions"][0]["probabilities"].as_array().unwrap().len(), 10);
    assert!(answer["predictions"][0]["prediction"].as_u64().unwrap() < 10);
    assert_eq!(server.predict(&json!({ "inputs": flat })).0, 200);
    server.refuses(
        &json!({ "inputs": [flat, [1, 2]] }),
        "row 2: it has 2 numbers, and the network reads 784",
        Some(2),
        None,
    );
    server.refuses(&json!({ "inputs": [["a"]] }), "row 1: \"a\" is not a number", Some(1), None);
    server.refuses(&json!({ "inputs": [[1e300]] }), "beyond 32-bit floats", Some(1), None);
    server.refuses(&json!({ "rows": [flat] }), "give {\"inputs\"", None, None);
    let (_, openapi) = server.get("/openapi.json");
    assert_eq!(openapi["openapi"], "3.1.0");
    assert_eq!(openapi["components"]["schemas"]["Row"]["maxItems"], 784);
    assert!(openapi["paths"]["/predict"]["post"]["responses"]["400"].is_object());
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_after_what_is_asked_for() {
    let place = Place::new();
    place.finished("digits");
    for signal in ["TERM", "INT"] {
        let mut server = Server::new(&place, "digits");
        // A connection that is open, and a request that is half sent.
        let (mut idle, mut half) = (server.connect(), server.connect());
        assert_eq!(ask(&mut idle, "GET", "/health", "").0, 200);
        let body = json!({ "inputs": vec![1; 784] }).to_string();
        let (first, rest) = body.split_at(100);
        write!(half, "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{first}", body.len()).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let status = Command::new("kill").args(["-s", signal, &server.child.id().to_string()]).status().unwrap();
        assert!(status.success());
        std::thread::sleep(Duration::from_millis(200));
        write!(half, "{rest}").unwrap();
        assert_eq!(read_answer(&mut half).0, 200, "a request in progress is answered");
        let begin = Instant::now();
        let code = loop {
            match server.child.try_wait().unwrap() {
                Some(status) => break status.code(),
                None if begin.elapsed() > Duration::from_secs(5) => panic!("it goes on after {signal}"),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        assert_eq!(code, Some(0));
        assert!(TcpStream::connect(&server.address).is_err());
    }
}

#[test]
fn what_cannot_be_served_is_refused() {
    let place = Place::new();
    place.finished("digits");
    place.run("serve absent").fails(1, &["absent", "no such file"]);
    place.run("serve digits --host nowhere.invalid").fails(2, &["host: 'nowhere.invalid' is no address"]);
    place.run("serve digits --port 70000").fails(2, &["70000"]);
    let server = Server::new(&place, "digits");
    let port = server.address.rsplit(':').next().unwrap();
    place.run(&format!("serve digits --port {port}")).fails(1, &[port, "in use"]);
}
