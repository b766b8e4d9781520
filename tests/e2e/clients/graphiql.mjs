// The service's own IDE.
import assert from "node:assert/strict";
import { byHand, enter } from "./browser.mjs";
import { newAccount } from "./world.mjs";

export const name = "GraphiQL at `/graphiql`";

async function open(page, server, account) {
  await page.goto(`http://${server.address}/graphiql`);
  await page.getByLabel("Email").fill(account.email);
  await page.getByLabel("Password").fill(account.password);
  await page.keyboard.press("Enter");
  await page.getByText(`Signed in as ${account.email}`).waitFor();
  const result = page.locator(".graphiql-response .result-window");
  return {
    result,
    async run(document) {
      const editor = page.locator(".graphiql-query-editor");
      await enter(page, editor.locator(".CodeMirror-code"), document);
      await editor.locator(".cm-def").first().waitFor();
      const button = page.locator("button.graphiql-execute-button");
      // GraphiQL sends the previous operationName for some 100 ms after a change of its editor.
      do {
        await button.click();
        await page.waitForFunction(() => {
          const stoppable = document.querySelector("button.graphiql-execute-button").ariaLabel.startsWith("Stop");
          return stoppable || document.querySelector(".result-window").textContent.includes("{");
        });
      } while ((await result.textContent()).includes("Unknown operation"));
    },
  };
}

export const { query, mutation, subscription } = byHand(open);

/** An IDE that is older than its access token still answers. */
export async function refresh({ short, browser }) {
  const account = await newAccount(short);
  const page = await browser.newPage();
  const { run, result } = await open(page, short, account);
  const token = () => page.evaluate(() => sessionStorage.getItem("todo-api:access-token"));
  const first = await token();
  await account.expire();
  while ((await token()) === first) {
    await run("query Me { me { email } }");
    await result.getByText(account.email).waitFor();
  }
  assert.ok(!(await result.textContent()).includes("EXPIRED"));
  await page.close();
}
