//! Against an HTTP server of a few lines that says what it is told to.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::kafka::{Secret, TlsConfig};
use crate::supervise::Task;

const SECRET: &str = "s%sésame=+";
/// `{"sub":"u","iat":1,"exp":4102444800}`
const JWT: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1IiwiaWF0IjoxLCJleHAiOjQxMDI0NDQ4MDB9.sig";

struct Idp {
    endpoint: String,
    seen: Arc<Mutex<Vec<String>>>,
    _task: Task<()>,
}

async fn idp(answer: String) -> Idp {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/token?tenant=a", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = seen.clone();
    let task = supervise::spawn("identity provider", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            let mut part = [0; 4096];
            while !ended(&request) {
                match stream.read(&mut part).await {
                    Ok(read) if read > 0 => request.extend_from_slice(&part[..read]),
                    _ => break,
                }
            }
            requests.lock().unwrap().push(String::from_utf8(request).unwrap());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    Idp { endpoint, seen, _task: task }
}

fn ended(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let head = head.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok()).unwrap_or(0);
    body.len() >= length
}

fn http(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

fn settings(endpoint: &str) -> ClientCredentials {
    ClientCredentials {
        endpoint: endpoint.to_owned(),
        client_id: "my id".into(),
        client_secret: Secret::new(SECRET),
        scope: Some("a b&audience=c".into()),
        urlencode: false,
        tls: TlsConfig::default(),
        connect_timeout: Duration::from_secs(2),
        read_timeout: Duration::from_millis(500),
    }
}

async fn refused(answer: String) -> Error {
    let idp = idp(answer).await;
    let error = Endpoint::new(settings(&idp.endpoint)).fetch().await.unwrap_err();
    let shown = format!("{error} {error:?} {:?}", error.hint());
    assert!(!shown.contains("sésame"), "{shown}");
    error
}

#[tokio::test]
async fn it_is_asked_as_java_asks() {
    let idp =
        idp(http("200 OK", "application/json", &format!("{{\"access_token\":\" {JWT} \",\"expires_in\":5}}"))).await;
    let token = Endpoint::new(settings(&idp.endpoint)).fetch().await.unwrap();
    assert_eq!(token.expose(), JWT);
    // The JWT's own end counts, not what the endpoint says beside it.
    assert!(token.left(SystemTime::now()) > Duration::from_secs(1_000_000));
    let encoded = ClientCredentials { urlencode: true, ..settings(&idp.endpoint) };
    Endpoint::new(encoded).fetch().await.unwrap();
    let seen = idp.seen.lock().unwrap();
    let (head, body) = seen[0].split_once("\r\n\r\n").unwrap();
    let header = |pair: &str| format!("authorization: Basic {}", STANDARD.encode(pair));
    assert!(head.starts_with("POST /token?tenant=a HTTP/1.1"), "{head}");
    assert!(head.contains(&header(&format!("my id:{SECRET}"))), "{head}");
    assert!(head.contains("content-type: application/x-www-form-urlencoded"), "{head}");
    assert_eq!(body, "grant_type=client_credentials&scope=a+b&audience=c");
    let (head, body) = seen[1].split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&header("my+id:s%25s%C3%A9same%3D%2B")), "{head}");
    assert_eq!(body, "grant_type=client_credentials&scope=a+b%26audience%3Dc");
}

#[tokio::test]
async fn other_answers_with_a_token() {
    for (body, seconds) in [
        (format!("{{\"id_token\":\"{JWT}\"}}"), 1_000_000),
        ("{\"access_token\":\"opaque/+==\",\"expires_in\":100}".to_owned(), 90),
        ("{\"access_token\":\"opaque\",\"expires_in\":\"100\"}".to_owned(), 90),
    ] {
        let idp = idp(http("201 Created", "text/plain", &body)).await;
        let token = Endpoint::new(settings(&idp.endpoint)).fetch().await.unwrap();
        assert!(token.left(SystemTime::now()) > Duration::from_secs(seconds));
    }
}

#[tokio::test]
async fn every_refusal_is_named() {
    let echo = format!("{{\"error\":\"invalid_client\",\"error_description\":\"no\\n{SECRET} \"}}");
    let json = "application/json";
    for (answer, words, retriable) in [
        (http("401 Unauthorized", json, &echo), "it answered 401, invalid_client: no [hidden]", false),
        (http("400 Bad Request", json, "{\"error\":\"invalid_scope\"}"), "it answered 400, invalid_scope", false),
        (http("403 Forbidden", json, "{\"errorCode\":\"E1\",\"errorSummary\":\"s\"}"), "it answered 403, E1: s", false),
        (http("404 Not Found", "text/html", "<html>"), "it answered 404", false),
        (http("503 Service Unavailable", "text/html", ""), "it answered 503", true),
        (http("302 Found\r\nlocation: http://127.0.0.1:1/", "text/html", ""), "redirects are not followed", false),
        (http("200 OK", "text/html", "<html>"), "not JSON", true),
        (http("200 OK", json, "{}"), "without access_token", true),
        (http("200 OK", json, "{\"access_token\":\"opaque\"}"), "can't be used: not a JWT", true),
        (http("200 OK", json, "{\"access_token\":\"a b\",\"expires_in\":9}"), "can't be used", true),
        (http("200 OK", json, &" ".repeat(MAX_ANSWER + 1)), "more than 1048576 bytes", false),
        ("\0\0garbage\r\n\r\n".into(), "HTTP", true),
    ] {
        let error = refused(answer).await;
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert_eq!((error.retriable(), error.code()), (retriable, "KAFKA-CREDENTIALS"), "{error}");
        assert!(error.hint().is_some());
    }
}

#[tokio::test]
async fn nobody_there_and_no_answer_are_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    // Accepted by the system, answered by nobody.
    let settings = ClientCredentials {
        connect_timeout: Duration::from_millis(100),
        read_timeout: Duration::from_millis(100),
        ..settings(&format!("http://{addr}/token"))
    };
    let error = Endpoint::new(settings.clone()).fetch().await.unwrap_err();
    assert!(error.to_string().contains("no answer in time") && error.retriable(), "{error}");
    // TLS where none is spoken.
    let patient = Duration::from_secs(20);
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = format!("https://{}/token", plain.local_addr().unwrap());
    let _plain = supervise::spawn("no TLS here", async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = Endpoint::new(ClientCredentials {
        endpoint: tls,
        read_timeout: patient,
        connect_timeout: patient,
        ..settings.clone()
    })
    .fetch()
    .await
    .unwrap_err();
    assert!(error.to_string().contains("InvalidContentType") && error.hint().is_some(), "{error}");
    drop(listener);
    let error = Endpoint::new(settings).fetch().await.unwrap_err();
    assert!(error.to_string().contains("refused") && error.retriable(), "{error}");
    assert!(error.hint().unwrap().contains("no proxy"), "{error}");
}
