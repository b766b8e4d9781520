// Apollo Client against the real binary: links, persisted queries, batches, errors.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, test } from "node:test";
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { BatchHttpLink } from "@apollo/client/link/batch-http";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { start } from "./service.mjs";

let service;
before(async () => {
  service = await start();
});
after(() => service.stop());

const PASSWORD = "correct horse battery staple";
const REGISTER = gql`
  mutation Register($input: RegisterInput!) {
    register(input: $input) {
      accessToken
      user {
        id
        email
      }
    }
  }
`;
const ME = gql`
  query Me {
    me {
      id
      email
    }
  }
`;

/** A client that counts its requests. */
function connect(link) {
  const requests = [];
  const counted = (uri, options) => {
    requests.push({ uri: String(uri), method: options.method, body: options.body });
    return fetch(uri, options);
  };
  const client = new ApolloClient({ link: link(counted), cache: new InMemoryCache() });
  return { client, requests };
}

async function register(client, email) {
  const variables = { input: { email, password: PASSWORD, name: "Ada" } };
  const { data } = await client.mutate({ mutation: REGISTER, variables });
  return data.register;
}

test("register, then me with the token", async () => {
  let headers = {};
  const { client } = connect((fetch) =>
    ApolloLink.from([
      new ApolloLink((operation, forward) => {
        operation.setContext({ headers });
        return forward(operation);
      }),
      new HttpLink({ uri: service.url, fetch }),
    ]),
  );
  assert.equal((await client.query({ query: ME })).data.me, null);
  const session = await register(client, "ada@example.com");
  headers = { authorization: `Bearer ${session.accessToken}` };
  await client.clearStore();
  assert.deepEqual((await client.query({ query: ME })).data.me.id, session.user.id);
});

test("errors carry their codes, whatever the status", async () => {
  const { client } = connect((fetch) => new HttpLink({ uri: service.url, fetch }));
  const codeOf = (promise) =>
    promise.then(
      () => assert.fail("it succeeded"),
      (error) => {
        assert.ok(CombinedGraphQLErrors.is(error), String(error));
        return error.errors[0].extensions.code;
      },
    );
  await register(client, "grace@example.com");
  assert.equal(await codeOf(register(client, "GRACE@example.com")), "EMAIL_TAKEN");
  assert.equal(await codeOf(register(client, "nobody")), "BAD_USER_INPUT");
  assert.equal(await codeOf(client.query({ query: gql`{ nothing }` })), "GRAPHQL_VALIDATION_FAILED");
});

test("automatic persisted queries: the document is sent once, then its hash by GET", async () => {
  const sha256 = (text) => createHash("sha256").update(text).digest("hex");
  const { client, requests } = connect((fetch) =>
    ApolloLink.from([
      new PersistedQueryLink({ sha256, useGETForHashedQueries: true }),
      new HttpLink({ uri: service.url, fetch }),
    ]),
  );
  for (let n = 0; n < 3; n++) {
    const { data } = await client.query({ query: gql`query Persisted { me { id name } }`, fetchPolicy: "no-cache" });
    assert.equal(data.me, null);
  }
  assert.deepEqual(requests.map((request) => request.method), ["GET", "POST", "GET", "GET"]);
  assert.ok(requests.filter((request) => request.method === "GET").every(({ uri }) => !uri.includes("query=")));
});

test("simultaneous operations are sent as one batch", async () => {
  const { client, requests } = connect((fetch) => new BatchHttpLink({ uri: service.url, fetch, batchInterval: 20, batchMax: 10 }));
  const queries = [1, 2, 3].map((n) => client.query({ query: gql(`query Q${n} { a${n}: me { id } }`) }));
  const answers = (await Promise.all(queries)).map(({ data }) => data);
  assert.deepEqual(answers, [{ a1: null }, { a2: null }, { a3: null }]);
  assert.equal(requests.length, 1);
  assert.equal(JSON.parse(requests[0].body).length, 3);
});
