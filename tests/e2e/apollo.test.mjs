// Apollo Client against the real binary: sessions and errors.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, gql, HttpLink, InMemoryCache } from "@apollo/client";
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

const connect = (link) => new ApolloClient({ link, cache: new InMemoryCache() });

async function register(client, email) {
  const variables = { input: { email, password: PASSWORD, name: "Ada" } };
  const { data } = await client.mutate({ mutation: REGISTER, variables });
  return data.register;
}

test("register, then me with the token", async () => {
  let headers = {};
  const tokenLink = new ApolloLink((operation, forward) => {
    operation.setContext({ headers });
    return forward(operation);
  });
  const client = connect(ApolloLink.from([tokenLink, new HttpLink({ uri: service.url })]));
  assert.equal((await client.query({ query: ME })).data.me, null);
  const session = await register(client, "ada@example.com");
  headers = { authorization: `Bearer ${session.accessToken}` };
  await client.clearStore();
  assert.deepEqual((await client.query({ query: ME })).data.me.id, session.user.id);
});

test("errors carry their codes, whatever the status", async () => {
  const client = connect(new HttpLink({ uri: service.url }));
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
