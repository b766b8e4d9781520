// Clients with a user interface, driven by clicks and typing in Chromium.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { newAccount } from "./world.mjs";

const TYPES = { ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml" };

/** Serves a package's files and a page on an origin of its own, until the page is closed. */
export async function serve(page, directory, html) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://127.0.0.1");
    try {
      const content = pathname === "/" ? html : await readFile(path.join(directory, path.normalize(pathname)));
      response.setHeader("content-type", pathname === "/" ? "text/html" : TYPES[path.extname(pathname)] ?? "");
      response.end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  page.on("close", () => server.close());
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
}

/** Replaces an editor's text. The browser inserts it at once: typed brackets would be closed twice. */
export async function enter(page, editor, text) {
  await editor.click();
  await page.keyboard.press("Control+A");
  await page.keyboard.insertText(text);
}

/** Cells of a user interface, given `open(page, server, account)`, which returns `run(document)` and its `result`. */
export function byHand(open) {
  const visit = async ({ service, browser }, use) => {
    const account = await newAccount(service);
    const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
    const cell = await use(await open(page, service, account), account);
    await page.close();
    return cell;
  };
  return {
    query: (world) =>
      visit(world, async ({ run, result }, account) => {
        await run("query Me { me { email } }");
        await result.getByText(account.email).first().waitFor();
      }),
    mutation: (world) =>
      visit(world, async ({ run, result }) => {
        await run('mutation Create { createTodo(input: { title: "Milk" }) { todo { title } } }');
        await result.getByText("Milk").first().waitFor();
      }),
    subscription: (world) =>
      visit(world, async ({ run, result }, account) => {
        await run(`subscription Changes { todoChanged(after: "${await account.after()}") { todo { title } } }`);
        for (const title of ["Milk", "Bread"]) {
          await account.createTodo(title);
          await result.getByText(title).first().waitFor();
        }
        return "WebSocket";
      }),
  };
}
