// The IDE in a real Chromium that can reach only the service.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, shoot } from "./chromium.mjs";
import { start } from "./service.mjs";

let services, browser;
before(async () => {
  const [service, live, short, cookies] = await Promise.all([
    start(),
    start("examples/test_schema"),
    start("todo-api", { ACCESS_TOKEN_TTL: "4s" }),
    start("todo-api", { ACCESS_TOKEN_TTL: "1s", REFRESH_TOKEN_COOKIE: "on" }),
  ]);
  services = { service, live, short, cookies };
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await Promise.all(Object.values(services ?? {}).map((service) => service.stop()));
});

const PASSWORD = "correct horse battery staple";

/** A page that reaches one server alone, with what it wanted from others and what it complains about. */
async function open(server, width = 1400) {
  const context = await browser.newContext({ viewport: { width, height: 900 } });
  const page = await context.newPage();
  const foreign = [];
  const complaints = [];
  const operations = [];
  await page.route("**/*", (route) => {
    const url = new URL(route.request().url());
    if (url.host === server.address || url.protocol === "data:") return route.continue();
    foreign.push(url.href);
    return route.abort();
  });
  page.on("request", (request) => request.method() === "POST" && operations.push(request.postData()));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(`http://${server.address}/graphiql`);
  const run = page.locator("button.graphiql-execute-button");
  const result = page.locator(".graphiql-response .result-window");
  const editor = page.locator(".graphiql-query-editor");
  return {
    page,
    run,
    result,
    editor,
    /** Operations sent so far whose document contains a text. */
    count: (text) => operations.filter((body) => body?.includes(text)).length,
    token: () => page.evaluate(() => sessionStorage.getItem("todo-api:access-token")),
    // The editor follows the tab a moment later.
    async openTab(name) {
      await page.locator(".graphiql-tab-button", { hasText: name }).click();
      await editor.locator(".cm-def", { hasText: name }).waitFor();
    },
    // GraphiQL sends the previous operationName for some 100 ms after a change of its editor.
    async runUntil(seen) {
      for (let tries = 0; tries < 30; tries++) {
        await run.click();
        const found = await seen.waitFor({ timeout: 1000 }).then(() => true, () => false);
        if (found) return;
      }
      assert.fail(`it never came: ${await result.textContent()}`);
    },
    /** Runs the subscription in the tab, and creates todos until one is seen. */
    async watch(email, title) {
      const seen = result.getByText(`"${title}"`);
      for (let tries = 0; tries < 30; tries++) {
        // Running, it is the button to stop.
        if ((await run.getAttribute("aria-label")).startsWith("Execute")) await run.click();
        await createTodo(server, email, title);
        if (await seen.waitFor({ timeout: 1000 }).then(() => true, () => false)) return;
      }
      assert.fail(`it never came: ${await result.textContent()}`);
    },
    async close() {
      await context.close();
      assert.deepEqual(foreign, [], "another host was asked for");
      assert.deepEqual(complaints, [], "the console complains");
    },
  };
}

/** Runs an operation without the IDE. */
async function ask(server, query, token) {
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const response = await fetch(server.url, { method: "POST", headers, body: JSON.stringify({ query }) });
  return response.json();
}

async function register(server, email) {
  const input = `{ email: "${email}", password: "${PASSWORD}", name: "Ada" }`;
  const { data } = await ask(server, `mutation { register(input: ${input}) { accessToken } }`);
  return data.register.accessToken;
}

async function createTodo(server, email, title) {
  const login = await ask(server, `mutation { login(input: { email: "${email}", password: "${PASSWORD}" }) { accessToken } }`);
  const { errors } = await ask(server, `mutation { createTodo(input: { title: "${title}" }) { eventId } }`, login.data.login.accessToken);
  assert.equal(errors, undefined);
}

async function untilExpired(server, token) {
  let reason;
  while (reason !== "EXPIRED") reason = (await ask(server, "{ me { id } }", token)).errors?.[0].extensions.reason;
}

/** Signs in by the strip, with the keyboard. */
async function signIn(page, email, password = PASSWORD) {
  await page.getByLabel("Email").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.keyboard.press("Enter");
}

test("all prepared tabs run by clicking, with every other host blocked", async () => {
  const { page, run, runUntil, watch, openTab, result, close } = await open(services.service);
  await openTab("Register");
  await run.click();
  await result.getByText('"accessToken"').waitFor();
  await page.getByText("Signed in as ada@example.com").waitFor();
  await openTab("LogIn");
  await runUntil(result.getByText('"login"'));
  await openTab("Me");
  await runUntil(result.getByText('"me"'));
  await result.getByText('"ada@example.com"').waitFor();
  await result.getByText('"cost"').waitFor();
  await openTab("CreateTodo");
  await runUntil(result.getByText('"Buy milk"'));
  await openTab("Todos");
  await runUntil(result.getByText('"endCursor"'));
  await result.getByText('"Buy milk"').first().waitFor();

  await openTab("LiveChanges");
  await watch("ada@example.com", "Buy bread");

  // The schema has been read: the documentation knows the types.
  await page.getByLabel("Show Documentation Explorer").click();
  await page.locator(".graphiql-doc-explorer").getByText("Mutation", { exact: true }).first().waitFor();
  await shoot(page, "graphiql");
  await close();
});

test("a subscription of any schema runs over the WebSocket", async () => {
  const { page, runUntil, editor, result, close } = await open(services.live);
  await editor.locator(".CodeMirror-code").click();
  await page.keyboard.press("Control+A");
  await page.keyboard.type("subscription Count { count(to: 3) ");
  await page.keyboard.press("Escape");
  await editor.locator(".cm-def", { hasText: "Count" }).waitFor();
  await runUntil(result.locator(".cm-number", { hasText: /^3$/ }));
  await close();
});

test("the strip signs in and out by the keyboard alone, with the focus in sight", async () => {
  await register(services.service, "grace@example.com");
  const { page, token, close } = await open(services.service);
  const focused = () =>
    page.evaluate(() => {
      const { outlineStyle } = getComputedStyle(document.activeElement);
      return `${document.activeElement.name || document.activeElement.textContent} ${outlineStyle}`;
    });
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "email solid");
  await page.keyboard.type("grace@example.com");
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "password solid");
  await page.keyboard.type("wrong horse battery staple");
  await page.keyboard.press("Enter");
  await page.getByRole("status").getByText(/password/i).waitFor();
  await page.keyboard.press("Control+A");
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press("Enter");
  await page.getByText("Signed in as grace@example.com").waitFor();
  assert.equal(await focused(), "Sign out solid");

  const signedOut = await token();
  await page.keyboard.press("Enter");
  await page.getByText("Signed out.").waitFor();
  assert.equal(await focused(), "email solid");
  assert.equal(await token(), null);
  const { errors } = await ask(services.service, "{ me { id } }", signedOut);
  assert.equal(errors[0].extensions.reason, "REVOKED");

  // The strip is no trap: what follows it is GraphiQL.
  for (const expected of ["password solid", "Sign in solid"]) {
    await page.keyboard.press("Tab");
    assert.equal(await focused(), expected);
  }
  await page.keyboard.press("Tab");
  assert.ok(await page.evaluate(() => document.getElementById("graphiql").contains(document.activeElement)));
  await close();
});

test("an expired token is refreshed once and the request repeated", async () => {
  await register(services.short, "ada@example.com");
  const { page, runUntil, openTab, result, count, token, close } = await open(services.short);
  await signIn(page, "ada@example.com");
  await page.getByText("Signed in as").waitFor();
  await openTab("Me");
  await untilExpired(services.short, await token());
  await runUntil(result.getByText('"ada@example.com"'));
  assert.ok(!(await result.textContent()).includes("EXPIRED"));

  // Simultaneous requests share one refresh.
  await untilExpired(services.short, await token());
  const refreshes = count("mutation Refresh");
  const answers = await page.evaluate(async () => {
    const { fetchWithSession } = await import("/graphiql/session.js");
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ query: "{ me { email } }" });
    const ask = async () => (await fetchWithSession("/graphql", { method: "POST", headers, body })).json();
    return Promise.all([ask(), ask(), ask()]);
  });
  assert.deepEqual(answers.map(({ data }) => data.me.email), Array(3).fill("ada@example.com"));
  assert.equal(count("mutation Refresh"), refreshes + 1);

  const stored = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
  assert.ok(!stored.includes("todo_rt_"), "the refresh token is in storage");
  await close();
});

test("live changes outlast their token, and none is missed meanwhile", async () => {
  await register(services.short, "grace@example.com");
  const { page, watch, openTab, result, token, close } = await open(services.short);
  await signIn(page, "grace@example.com");
  await page.getByText("Signed in as").waitFor();
  await openTab("LiveChanges");
  await watch("grace@example.com", "First");
  const first = await token();
  await untilExpired(services.short, first);
  await createTodo(services.short, "grace@example.com", "Second");
  await result.getByText('"Second"').waitFor();
  assert.notEqual(await token(), first);
  await close();
});

test("a reload keeps the session; in browser mode also after the token has expired", async () => {
  for (const [name, lasts] of [["short", false], ["cookies", true]]) {
    const server = services[name];
    await register(server, "lin@example.com");
    const { page, token, close } = await open(server);
    await signIn(page, "lin@example.com");
    await page.getByText("Signed in as lin@example.com").waitFor();
    await untilExpired(server, await token());
    await page.reload();
    await page.getByText(lasts ? "Signed in as lin@example.com" : "Your session has ended. Sign in again.").waitFor();
    await close();
  }
});

test("a session that was ended elsewhere is signed out", async () => {
  await register(services.service, "mary@example.com");
  const { page, runUntil, openTab, result, token, close } = await open(services.service);
  await signIn(page, "mary@example.com");
  await page.getByText("Signed in as mary@example.com").waitFor();
  await ask(services.service, "mutation { logout { revokedSessionIds } }", await token());
  await openTab("Todos");
  await runUntil(result.getByText('"UNAUTHENTICATED"'));
  await page.getByText("Your session has ended. Sign in again.").waitFor();
  await close();
});

test("a window of 320 pixels shows everything without scrolling sideways", async () => {
  await register(services.service, "joan@example.com");
  const { page, runUntil, openTab, result, close } = await open(services.service, 320);
  await signIn(page, "joan@example.com");
  await page.getByText("Signed in as joan@example.com").waitFor();
  await openTab("Me");
  await runUntil(result.getByText('"joan@example.com"'));
  for (const part of ["#sign-out", ".graphiql-query-editor", ".graphiql-editor-tools", ".graphiql-execute-button", ".result-window"]) {
    const { x, width, height } = await page.locator(part).boundingBox();
    assert.ok(x >= 0 && width > 30 && height > 15 && x + width <= 320, part);
  }
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 320);
  await shoot(page, "graphiql-narrow", { fullPage: true });
  await close();
});
