// The README's recipe for Apollo Client: refresh once for all queries that fail, and retry them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { ErrorLink } from "@apollo/client/link/error";
import { from, switchMap } from "rxjs";
import { start } from "./service.mjs";

let service;
before(async () => {
  service = await start("todo-api", { ACCESS_TOKEN_TTL: "1s" });
});
after(() => service.stop());

const REGISTER = gql`
  mutation Register {
    register(input: { email: "ada@example.com", password: "correct horse battery staple", name: "Ada" }) {
      accessToken
      refreshToken
      expiresAt
    }
  }
`;
const REFRESH = gql`
  mutation Refresh($refreshToken: String!) {
    refreshSession(input: { refreshToken: $refreshToken }) {
      accessToken
      refreshToken
    }
  }
`;
const ME = gql`
  query Me {
    me {
      email
    }
  }
`;

test("queries with an expired token refresh it once and are retried", async () => {
  let session;
  let refreshes = 0;
  let refreshing;
  async function refresh() {
    refreshes += 1;
    const { refreshToken } = session;
    const { data } = await client.mutate({ mutation: REFRESH, variables: { refreshToken } });
    session = data.refreshSession;
  }
  const refreshLink = new ErrorLink(({ error, operation, forward }) => {
    const expired =
      CombinedGraphQLErrors.is(error) && error.errors.some(({ extensions }) => extensions?.reason === "EXPIRED");
    if (!expired || operation.operationName === "Refresh") return;
    refreshing ??= refresh().finally(() => (refreshing = undefined));
    return from(refreshing).pipe(switchMap(() => forward(operation)));
  });
  const tokenLink = new ApolloLink((operation, forward) => {
    if (session) operation.setContext({ headers: { authorization: `Bearer ${session.accessToken}` } });
    return forward(operation);
  });
  const link = ApolloLink.from([refreshLink, tokenLink, new HttpLink({ uri: service.url })]);
  const client = new ApolloClient({ link, cache: new InMemoryCache() });
  session = (await client.mutate({ mutation: REGISTER })).data.register;

  const expired = async () => {
    const headers = { "content-type": "application/json", authorization: `Bearer ${session.accessToken}` };
    const body = JSON.stringify({ query: "{ me { email } }" });
    const { errors } = await (await fetch(service.url, { method: "POST", headers, body })).json();
    return errors?.[0].extensions.reason === "EXPIRED";
  };
  while (!(await expired()));

  const ask = () => client.query({ query: ME, fetchPolicy: "no-cache", context: { queryDeduplication: false } });
  const answers = await Promise.all([ask(), ask(), ask()]);
  assert.deepEqual(answers.map(({ data }) => data.me.email), Array(3).fill("ada@example.com"));
  assert.equal(refreshes, 1);
});
