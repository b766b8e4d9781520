// Browser mode with Apollo Client as it comes: no header of our own, the refresh token in a cookie.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ApolloClient, CombinedGraphQLErrors, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { BatchHttpLink } from "@apollo/client/link/batch-http";
import { start } from "./service.mjs";

const APP = "https://app.example.com";

let service;
before(async () => {
  service = await start("todo-api", {
    REFRESH_TOKEN_COOKIE: "on",
    REFRESH_TOKEN_COOKIE_SAME_SITE: "none",
    CORS_ALLOWED_ORIGINS: `${APP}:443/`,
  });
});
after(() => service.stop());

/** A browser's fetch on a page of `origin`: a cookie jar, the header `Origin`, and a preflight where one is due. */
function browser(origin) {
  let jar = "language=d\u00e9; theme=dark";
  const simple = ["accept", "accept-language", "content-language"];
  return async (uri, options = {}) => {
    const headers = new Headers(options.headers);
    const type = (headers.get("content-type") ?? "").split(";")[0];
    const forms = ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];
    const unsafe = [...headers.keys()].filter((name) =>
      name === "content-type" ? !forms.includes(type) : !simple.includes(name),
    );
    if (unsafe.length > 0) {
      const preflight = await fetch(uri, {
        method: "OPTIONS",
        headers: {
          origin,
          "access-control-request-method": options.method ?? "GET",
          "access-control-request-headers": unsafe.sort().join(","),
        },
      });
      const allowed = (preflight.headers.get("access-control-allow-headers") ?? "").toLowerCase().split(",");
      const passes =
        preflight.headers.get("access-control-allow-origin") === origin &&
        preflight.headers.get("access-control-allow-credentials") === "true" &&
        unsafe.every((name) => allowed.includes(name));
      if (!passes) throw new TypeError("blocked by CORS");
    }
    headers.set("origin", origin);
    // Header values are bytes: fetch sends this one as Latin-1.
    headers.set("cookie", jar);
    const response = await fetch(uri, { ...options, headers });
    for (const cookie of response.headers.getSetCookie()) {
      assert.match(cookie, /^__Host-.*; Secure; SameSite=None$/);
      const [pair] = cookie.split(";");
      const others = jar.split("; ").filter((known) => known.split("=")[0] !== pair.split("=")[0]);
      jar = [...others, ...(cookie.includes("Max-Age=0;") ? [] : [pair])].join("; ");
    }
    return response;
  };
}

const REGISTER = gql`
  mutation Register($email: String!) {
    register(input: { email: $email, password: "correct horse battery staple", name: "Ada" }) {
      accessToken
      refreshToken
    }
  }
`;
const REFRESH = gql`
  mutation Refresh {
    refreshSession {
      accessToken
      refreshToken
      user {
        email
      }
    }
  }
`;
const LOGOUT = gql`
  mutation Logout {
    logout {
      revokedSessionIds
    }
  }
`;

for (const [name, Link] of Object.entries({ HttpLink, BatchHttpLink })) {
  test(`${name} registers, refreshes and logs out by cookie, without headers of its own`, async () => {
    const link = new Link({ uri: service.url, credentials: "include", fetch: browser(APP) });
    const client = new ApolloClient({ link, cache: new InMemoryCache() });
    const email = `${name}@example.com`;
    const registered = (await client.mutate({ mutation: REGISTER, variables: { email } })).data.register;
    assert.equal(registered.refreshToken, "");
    for (let n = 0; n < 3; n++) {
      const { refreshToken, user } = (await client.mutate({ mutation: REFRESH })).data.refreshSession;
      assert.deepEqual([refreshToken, user.email], ["", email]);
    }
    assert.equal((await client.mutate({ mutation: LOGOUT })).data.logout.revokedSessionIds.length, 1);
    await assert.rejects(client.mutate({ mutation: REFRESH }), (error) => {
      assert.ok(CombinedGraphQLErrors.is(error), String(error));
      return error.errors[0].extensions.reason === "MISSING";
    });
  });
}

test("a page of another origin does not pass the preflight, and none of its forms is accepted", async () => {
  const evil = browser("https://evil.example");
  const link = new HttpLink({ uri: service.url, credentials: "include", fetch: evil });
  const client = new ApolloClient({ link, cache: new InMemoryCache() });
  await assert.rejects(client.mutate({ mutation: REFRESH }), /blocked by CORS/);
  const body = JSON.stringify({ query: "mutation { refreshSession { accessToken } }" });
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]) {
    const response = await evil(service.url, { method: "POST", headers: { "content-type": type }, body });
    assert.equal(response.status, 415, type);
  }
});

test("a blank Authorization header is nobody", async () => {
  const link = new HttpLink({ uri: service.url, headers: { authorization: "" } });
  const client = new ApolloClient({ link, cache: new InMemoryCache() });
  const { data } = await client.query({ query: gql`query Me { me { id } }` });
  assert.equal(data.me, null);
});
