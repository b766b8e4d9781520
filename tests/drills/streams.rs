//! Streams over HTTP whose clients vanish.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::support::{HttpStream, Proxy, TestApp};

#[tokio::test]
async fn a_stream_whose_client_vanished_ends_within_a_minute() {
    let app = TestApp::with_test_schema(&[]).await;
    let proxy = Proxy::to(app.address.port()).await;
    let accept = ["Accept: text/event-stream".to_owned()];
    let target = "GET /graphql?query=subscription%7Bsilence%7D";
    let mut stream = HttpStream::send_to(proxy.address, target, &accept, "").await;
    stream.data().await;
    let is_open = || {
        let text = app.state.metrics.text(&app.state.database.status(), &[]).unwrap();
        text.lines().any(|line| line == "todo_api_sockets 1")
    };
    assert!(is_open());
    proxy.lose_packets();
    let began = Instant::now();
    while is_open() {
        assert!(began.elapsed() < Duration::from_mins(1), "the client is still believed to be there");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(30), "{:?}", began.elapsed());
}
