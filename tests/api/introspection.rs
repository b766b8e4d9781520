//! Limits on introspection.

use serde_json::{Value, json};

use crate::support::TestApp;

#[tokio::test]
async fn fields_of_introspection_count_if_they_run_for_each_item_of_a_list() {
    let app = TestApp::start().await;
    let wide = |field: &str| (0..19).map(|n| format!("a{n}: {field} ")).collect::<String>();
    // Seven fields for each wrapper, and six.
    let ty = |wrappers| {
        let fields = "kind name description specifiedByURL isOneOf __typename";
        format!("{}{fields}{}", format!("{fields} ofType {{ ").repeat(wrappers), " }".repeat(wrappers))
    };
    for accepted in [
        format!("{{ {} }}", wide(&format!("__type(name: \"Todo\") {{ {} }}", ty(5)))),
        format!("{{ __schema {{ types {{ fields {{ type {{ {} }} }} }} }} }}", ty(50)),
    ] {
        let answer = app.ask(&accepted, Value::Null).await;
        assert!(answer.body.get("errors").is_none(), "{:#}", answer.body);
    }
    let types = wide(&format!("type {{ {} }}", ty(3)));
    let fields = wide(&format!("fields {{ name description isDeprecated __typename type {{ {} }} }}", ty(3)));
    for refused in [
        format!("{{ __schema {{ types {{ fields {{ {types} }} }} }} }}"),
        format!("{{ __schema {{ types {{ fields {{ type {{ ofType {{ {fields} }} }} }} }} }} }}"),
    ] {
        let answer = app.ask(&refused, Value::Null).await;
        let limit = &answer.error()["extensions"]["limit"];
        assert_eq!((answer.code(), limit), ("OPERATION_TOO_COMPLEX", &json!(500)), "{refused}");
    }
}

#[tokio::test]
async fn no_type_has_more_wrappers_than_the_limit_counts() {
    let app = TestApp::start().await;
    let query = "{ __schema { types { fields { type { ...Type } args { type { ...Type } } } inputFields { type { ...Type } } } } }
        fragment Type on __Type { ofType { ofType { ofType { ofType { kind } } } } }";
    let types = app.ask(query, Value::Null).await.data("__schema").to_string();
    assert!(types.contains(r#"{"ofType":{"ofType":{"ofType":{"ofType":null}}}}"#), "no type has three");
    assert!(!types.contains("kind"), "a type has four");
}
