use async_graphql::http::GraphiQLSource;
use axum::response::Html;

/// The GraphQL IDE.
pub(super) async fn page() -> Html<String> {
    Html(GraphiQLSource::build().endpoint("/graphql").title("todo-api").finish())
}
