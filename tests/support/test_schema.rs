//! A schema for tests of transports and language: panicking fields, streams that count, never end or end too early,
//! interfaces, unions, and inputs of every kind.

use std::time::Duration;

use async_graphql::futures_util::stream::{self, Stream, StreamExt};
use async_graphql::{
    Enum, ID, InputObject, Interface, Json, Object, Schema, Subscription, Union, ValidationMode,
};

pub(crate) type TestSchema = Schema<Query, Mutation, Live>;

/// Builds the schema as the service runs it, behind its own validation.
pub(crate) fn test_schema() -> TestSchema {
    Schema::build(Query, Mutation, Live).validation_mode(ValidationMode::Fast).finish()
}

/// Builds the schema with async-graphql's validation.
#[allow(dead_code, reason = "the example shares this file")]
pub(crate) fn strict_schema() -> TestSchema {
    Schema::build(Query, Mutation, Live).finish()
}

#[expect(clippy::panic, reason = "what it is for")]
fn fail() -> i32 {
    panic!("a resolver panics")
}

pub(crate) struct Query;

#[Object]
impl Query {
    async fn hello(&self) -> &'static str {
        "world"
    }

    async fn panic(&self) -> i32 {
        fail()
    }

    async fn items(&self, #[graphql(default = 20)] first: usize, last: Option<usize>) -> Vec<Item> {
        (0..last.unwrap_or(first).min(100)).map(|_| Item).collect()
    }

    /// Answers its arguments as they were received.
    async fn echo(
        &self,
        everything: Option<Everything>,
        colors: Option<Vec<Color>>,
        ids: Option<Vec<Option<ID>>>,
        #[graphql(default = true)] flag: bool,
    ) -> Json<serde_json::Value> {
        let colors = colors.map(|colors| {
            colors
                .iter()
                .map(|color| {
                    async_graphql::resolver_utils::enum_value(*color).into_json().unwrap_or_default()
                })
                .collect::<Vec<_>>()
        });
        Json(
            serde_json::json!({ "everything": everything.map(Everything::into_json), "colors": colors, "ids": ids, "flag": flag }),
        )
    }

    async fn pets(&self) -> Vec<Pet> {
        vec![Pet::Dog(Dog), Pet::Cat(Cat)]
    }

    async fn named(&self) -> Named {
        Named::Dog(Dog)
    }

    /// Answers after those that need not wait.
    async fn late(&self) -> &'static str {
        tokio::task::yield_now().await;
        "late"
    }

    /// Fails.
    async fn nullable_failure(&self) -> async_graphql::Result<Option<i32>> {
        tokio::task::yield_now().await;
        Err("it fails".into())
    }

    /// Fails, too.
    async fn failure(&self) -> async_graphql::Result<i32> {
        tokio::task::yield_now().await;
        Err("it fails".into())
    }
}

impl Everything {
    fn into_json(self) -> serde_json::Value {
        let color = self
            .color
            .map(|color| async_graphql::resolver_utils::enum_value(color).into_json().unwrap_or_default());
        serde_json::json!({
            "required": self.required, "defaulted": self.defaulted, "text": self.text, "float": self.float,
            "id": self.id, "color": color, "numbers": self.numbers, "matrix": self.matrix,
            "inner": self.inner.map(|inner| inner.into_json()),
        })
    }
}

/// What `echo` takes, with a field of every kind.
#[derive(InputObject)]
pub(crate) struct Everything {
    required: i32,
    #[graphql(default = 7)]
    defaulted: i32,
    text: Option<String>,
    float: Option<f64>,
    id: Option<ID>,
    color: Option<Color>,
    numbers: Option<Vec<Option<i32>>>,
    matrix: Option<Vec<Vec<i32>>>,
    inner: Option<Box<Everything>>,
}

#[derive(Clone, Copy, Enum, Eq, PartialEq)]
pub(crate) enum Color {
    Red,
    Green,
}

/// Something with a name.
#[derive(Interface)]
#[graphql(field(name = "name", ty = "&str"))]
pub(crate) enum Named {
    Dog(Dog),
    Cat(Cat),
}

/// A dog or a cat.
#[derive(Union)]
pub(crate) enum Pet {
    Dog(Dog),
    Cat(Cat),
}

pub(crate) struct Dog;

#[Object]
impl Dog {
    async fn name(&self) -> &'static str {
        "Rex"
    }

    async fn size(&self) -> i32 {
        60
    }

    async fn friend(&self) -> Named {
        Named::Cat(Cat)
    }
}

pub(crate) struct Cat;

#[Object]
impl Cat {
    async fn name(&self) -> &'static str {
        "Tom"
    }

    async fn size(&self) -> Option<&'static str> {
        Some("small")
    }

    async fn lives(&self, #[graphql(default = 9)] at_most: i32) -> i32 {
        at_most.min(9)
    }
}

pub(crate) struct Item;

#[Object]
impl Item {
    async fn id(&self) -> i32 {
        1
    }

    async fn items(&self, #[graphql(default = 20)] first: usize) -> Vec<Self> {
        (0..first.min(100)).map(|_| Self).collect()
    }
}

pub(crate) struct Mutation;

#[Object]
impl Mutation {
    async fn add(&self, a: i32, b: i32) -> i32 {
        a + b
    }

    async fn slow(&self, milliseconds: u64) -> bool {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        true
    }
}

pub(crate) struct Live;

#[Subscription]
impl Live {
    /// Counts from 1 and ends.
    async fn count(&self, to: i32) -> impl Stream<Item = i32> {
        stream::iter(1..=to)
    }

    /// Says nothing.
    async fn silence(&self) -> impl Stream<Item = i32> {
        stream::pending()
    }

    /// Panics after the first value.
    async fn panic(&self) -> impl Stream<Item = i32> {
        stream::iter(0..2).map(|n| if n == 0 { 0 } else { fail() })
    }
}
