//! A schema that proves the transports: fields that panic, streams that count, never end or end too early.

use std::time::Duration;

use async_graphql::futures_util::stream::{self, Stream, StreamExt};
use async_graphql::{Object, Schema, Subscription};

pub(crate) type TestSchema = Schema<Query, Mutation, Live>;

/// The schema itself.
pub(crate) fn test_schema() -> TestSchema {
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

    async fn items(&self, #[graphql(default = 20)] first: usize) -> Vec<Item> {
        (0..first).map(|_| Item).collect()
    }
}

pub(crate) struct Item;

#[Object]
impl Item {
    async fn id(&self) -> i32 {
        1
    }

    async fn items(&self, #[graphql(default = 20)] first: usize) -> Vec<Self> {
        (0..first).map(|_| Self).collect()
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
