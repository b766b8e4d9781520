use proptest::test_runner::{Config, TestRunner};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::support::{Owner, TestApp, documents};

#[tokio::test(flavor = "multi_thread")]
async fn random_documents_and_variables_never_cause_an_internal_error() {
    let app = TestApp::with(&["--rate-limits=off"]).await;
    let ada = Owner::new(&app, "ada@example.com").await;
    ada.create("a").await;
    let client = Client::new();
    let ask = async |query: String, variables: Value| {
        let body = json!({ "query": query, "variables": variables });
        let request = client.post(app.url("/graphql")).bearer_auth(&ada.token).json(&body);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let answer: Value = response.json().await.unwrap();
        assert!(status == 200, "{status}: {body} {answer}");
        for error in answer["errors"].as_array().into_iter().flatten() {
            assert_ne!(error["extensions"]["code"], "INTERNAL_SERVER_ERROR", "{body} {answer}");
        }
    };
    let mut runner = TestRunner::new(Config { cases: 1_000, failure_persistence: None, ..Config::default() });
    let strategy = (documents::document(), documents::variables());
    let outcome = block_in_place(|| {
        runner.run(&strategy, |(query, variables)| {
            Handle::current().block_on(ask(query, variables));
            Ok(())
        })
    });
    outcome.unwrap();
}
